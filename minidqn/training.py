"""The loops around an agent: `train` lets it act, observe and learn; `evaluate` only acts.

An episode *terminates* when the task itself is over: the pole has fallen. It is
*truncated* when something outside the task cuts it short: a time limit. Either
way the environment is reset; but only a terminated episode is worth nothing from
there on. So both flags go to the agent as they are.

Every reset has a seed of its own, made from the run's seed, the purpose and the
reset's number: any episode can be played again without the others, which is how a
run goes on in the middle of one, and tests are not played on the seeds of training.
"""

import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeGuard

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from minidqn.agent import DQN
from minidqn.history import Episode, History, Unfinished
from minidqn.layers import Array

TRAIN, TEST = 0, 1  # what an episode is for


def episode_seed(seed: int, purpose: int, number: int) -> int:
    """The seed, 32 bits, of one reset in a run; purpose is TRAIN or TEST."""
    return int(np.random.SeedSequence((seed, purpose, number)).generate_state(1)[0])


Watcher = Callable[[DQN, History], object]  # returning True, or what counts as true, stops
Finished = list[tuple[float, int]]  # return and length of each episode that a step ended


def train(
    agent: DQN,
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
    steps: int,
    *,
    history: History | None = None,
    on_step: Watcher | None = None,
    on_episode: Watcher | None = None,
    progress: bool = True,
) -> History:
    """Let the agent live in `env` for `steps` more environment steps, and learn from them.

    `env` is one environment, or a vector of num_envs with NEXT_STEP autoreset, or a
    SyncVectorEnv with none (DISABLED): each of its steps counts num_envs, less the lanes
    that were reset, and the last one may go a little beyond `steps`. With the `history` of
    its run so far, a run goes on exactly where it was, in the middle of an episode too;
    without, a new episode begins. `on_step` is called after every step, `on_episode` after
    that step for every episode that it finished. Raises
    ValueError if the environment does not fit the agent, or so few steps would leave
    no update at all.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}: expected 1 or more")
    _check_env(agent, env)
    last_step = agent.steps + steps
    if last_step < agent.config.learning_starts:
        raise ValueError(
            f"steps is {steps}: expected more, for learning_starts is "
            f"{agent.config.learning_starts} and there would be no update"
        )
    history = History() if history is None else history
    shown = agent.steps  # by the progress bar

    with (
        threadpool_limits(1, user_api="blas"),  # at these sizes threads only cost
        tqdm(total=last_step, initial=agent.steps, disable=not progress, unit=" steps") as bar,
    ):
        for finished in _live(agent, env, history):
            for _ in range(agent.updates_due):
                history.add_update(agent.learn())

            stop = agent.steps >= last_step
            if finished:
                means = history.take_means()
                for episode_return, length in finished:
                    row = Episode(agent.steps, episode_return, length, agent.epsilon, *means)
                    history.append(row)
            for _ in finished:
                stop |= on_episode is not None and bool(on_episode(agent, history))
            stop |= on_step is not None and bool(on_step(agent, history))

            if stop or agent.steps - shown >= 200:  # more often would cost more than a step
                note = f"epsilon {agent.epsilon:.2f}, mean return {history.mean_return():.1f}"
                bar.set_postfix_str(note, refresh=stop)
                bar.update(agent.steps - shown)
                shown = agent.steps
            if stop:
                break
    return history


def _live(agent: DQN, env: Any, history: History) -> Iterator[Finished]:
    """Let the agent act and observe in `env`; pause after every step."""
    if not isinstance(env, VectorEnv):
        live = _live_in_one(agent, env, history)
    elif _lanes_are_ours(env):
        live = _live_in_several(agent, list(env.envs), history)
    else:
        live = _live_in_vector(agent, env, history)
    try:
        yield from live
    except Exception as error:
        error.add_note(f"after step {agent.steps} of the run")
        raise


def _lanes_are_ours(env: Any) -> TypeGuard[SyncVectorEnv]:
    """Whether we reset each environment of the vector ourselves, with a seed of its own."""
    disabled = env.metadata.get("autoreset_mode") == AutoresetMode.DISABLED
    return isinstance(env, SyncVectorEnv) and disabled


def _live_in_one(agent: DQN, env: gym.Env[Any, Any], history: History) -> Iterator[Finished]:
    """One environment, episode after episode."""
    going_on = _play_again(agent, [env], history)
    while True:
        if going_on:
            ((_, episode_return),) = going_on
            going_on = None
        else:
            obs, info = env.reset(seed=episode_seed(agent.seed, TRAIN, agent.resets))
            agent.begin(obs, info.get("action_mask"))
            history.unfinished = [Unfinished(agent.resets - 1)]
            episode_return = 0.0
        actions, over = history.unfinished[0].actions, False
        while not over:
            action = int(agent.explore()[0])
            obs, reward, terminated, truncated, info = env.step(action)
            mask = info.get("action_mask")
            agent.observe(action, float(reward), obs, terminated, truncated, mask)
            actions.append(action)
            episode_return += float(reward)
            over = terminated or truncated
            yield [(episode_return, len(actions))] if over else []


def _live_in_several(
    agent: DQN, envs: list[gym.Env[Any, Any]], history: History
) -> Iterator[Finished]:
    """Several side by side: while the others step, an environment that has ended is reset."""
    going_on = _play_again(agent, envs, history)
    if not going_on:
        numbers = range(agent.resets, agent.resets + len(envs))
        started = [
            env.reset(seed=episode_seed(agent.seed, TRAIN, number))
            for env, number in zip(envs, numbers, strict=True)
        ]
        first = [obs for obs, _ in started]
        agent.begin(np.stack(first), _stacked_masks([info for _, info in started]))
        agent.resets += len(envs) - 1  # begin has counted one
        history.unfinished = [Unfinished(number) for number in numbers]
        going_on = [(obs, 0.0) for obs in first]
    obs: list[Any] = [obs for obs, _ in going_on]
    infos: list[dict[str, Any]] = [{}] * len(envs)
    returns = [episode_return for _, episode_return in going_on]
    over = agent.replay.ended.tolist()
    while True:
        # While all lanes are reset nothing is decided, and so no random number drawn.
        actions = [0] * len(envs) if all(over) else agent.explore().tolist()
        rewards = [0.0] * len(envs)
        terminated, truncated = [False] * len(envs), [False] * len(envs)
        resets = agent.resets
        for lane, env in enumerate(envs):
            if over[lane]:
                seed = episode_seed(agent.seed, TRAIN, resets)
                obs[lane], infos[lane] = env.reset(seed=seed)
                resets += 1
            else:
                obs[lane], reward, terminated[lane], truncated[lane], infos[lane] = env.step(
                    actions[lane]
                )
                rewards[lane] = float(reward)
        masks = _stacked_masks(infos)
        agent.observe(actions, rewards, np.stack(obs), terminated, truncated, masks)
        for lane in range(len(envs)):
            if over[lane]:
                history.unfinished[lane] = Unfinished(agent.resets)
                agent.resets += 1
                returns[lane] = 0.0
            else:
                history.unfinished[lane].actions.append(actions[lane])
                returns[lane] += rewards[lane]
        over = agent.replay.ended.tolist()
        yield [
            (returns[lane], len(history.unfinished[lane].actions))
            for lane in range(len(envs))
            if over[lane]
        ]


def _live_in_vector(
    agent: DQN, env: VectorEnv[Any, Any, Any], history: History
) -> Iterator[Finished]:
    """Several that reset themselves, in the same way; a seed can be given to all of them only."""
    if history.unfinished and agent.replay.begun:
        warnings.warn(
            f"the unfinished episodes of {env.num_envs} environments start afresh: going on "
            "exactly takes a SyncVectorEnv with autoreset_mode=AutoresetMode.DISABLED",
            RuntimeWarning,
            stacklevel=4,
        )
    obs, info = env.reset(seed=episode_seed(agent.seed, TRAIN, agent.resets))
    agent.begin(obs, _vector_mask(info))
    history.unfinished = [Unfinished(agent.resets - 1) for _ in range(env.num_envs)]
    returns, lengths = np.zeros(env.num_envs), np.zeros(env.num_envs, int)
    over = np.zeros(env.num_envs, bool)
    while True:
        action = np.zeros(env.num_envs, int) if over.all() else agent.explore()
        obs, reward, terminated, truncated, info = env.step(action)
        agent.observe(action, reward, obs, terminated, truncated, _vector_mask(info))
        returns += reward  # 0 from a lane that was reset
        lengths += ~over
        over = terminated | truncated
        yield [(float(returns[i]), int(lengths[i])) for i in np.flatnonzero(over)]
        returns[over], lengths[over] = 0.0, 0


def _stacked_masks(infos: Sequence[dict[str, Any]]) -> Array | None:
    """The action masks of several environments, (lanes, A); None if they give none."""
    masks = [info.get("action_mask") for info in infos]
    shape = next((np.shape(mask) for mask in masks if mask is not None), None)
    if shape is None:
        return None
    return np.stack([np.ones(shape, bool) if mask is None else np.asarray(mask) for mask in masks])


def _vector_mask(info: dict[str, Any]) -> Array | None:
    """The same of a vector environment, which says in "_action_mask" which of them gave one."""
    if "action_mask" not in info:
        return None
    mask: Array = np.where(info["_action_mask"][:, None], info["action_mask"], 1)
    return mask


def _play_again(
    agent: DQN, envs: list[gym.Env[Any, Any]], history: History
) -> list[tuple[Any, float]] | None:
    """Bring each environment to where its unfinished episode was: its observation and return.

    None where there is nothing to go on with, and, after a warning, where an
    environment does not repeat itself.
    """
    unfinished = history.unfinished
    last = max((episode.reset for episode in unfinished), default=-1)
    nothing = agent.replay.over or not agent.replay.begun
    if nothing or len(unfinished) != len(envs) or last != agent.resets - 1:
        return None
    going_on: list[tuple[Any, float]] = []
    for lane, (env, episode) in enumerate(zip(envs, unfinished, strict=True)):
        obs, _ = env.reset(seed=episode_seed(agent.seed, TRAIN, episode.reset))
        rewards, over = [], False
        for action in episode.actions:
            if over:
                break
            obs, reward, terminated, truncated, _ = env.step(action)
            rewards.append(float(reward))
            over = terminated or truncated
        head, stored = agent.replay.head[lane], agent.replay.last_rewards(len(rewards), lane)
        same = over == agent.replay.ended[lane] and len(rewards) == len(episode.actions)
        same &= np.array_equal(np.asarray(obs, head.dtype), head)
        same &= np.array_equal(np.array(rewards[-len(stored) :], np.float32), stored)
        if not same:
            warnings.warn(
                f"this run does not go on exactly: after reset {episode.reset} and "
                f"{len(episode.actions)} actions {env} is at {obs}, where it was at {head}. "
                "Another version, or not deterministic? The unfinished episodes start afresh",
                RuntimeWarning,
                stacklevel=5,
            )
            return None
        going_on.append((obs, sum(rewards)))
    return going_on


def evaluate(
    agent: DQN,
    env: gym.Env[Any, Any],
    episodes: int = 100,
    seed: int = 0,
    epsilon: float = 0.0,
) -> Array:
    """Returns of test episodes, undiscounted: (episodes,). The agent is left as it is.

    Greedy, but for a random action with probability `epsilon`: some games go on for ever
    under a policy that always answers the same.
    """
    if isinstance(env, VectorEnv):
        raise TypeError(f"evaluate plays in one environment at a time: got {env}")
    _check_spaces(agent, env.observation_space, env.action_space)
    returns = np.zeros(episodes)
    rng, agent.rng = agent.rng, np.random.default_rng((seed, TEST))
    try:
        for episode in range(episodes):
            obs, info = env.reset(seed=episode_seed(seed, TEST, episode))
            over = False
            while not over:
                action = agent.act(obs, epsilon, info.get("action_mask"))
                obs, reward, terminated, truncated, info = env.step(action)
                returns[episode] += float(reward)
                over = terminated or truncated
    finally:
        agent.rng = rng
    return returns


@contextmanager
def stop_on_interrupt() -> Iterator[Watcher]:
    """A watcher for `train` that lets the first Ctrl-C end the run between two steps.

    The second Ctrl-C is KeyboardInterrupt again. For the main thread only, as signals are.
    """
    interrupted = False
    previous = signal.getsignal(signal.SIGINT)

    def remember(signum: int, frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, remember)
    try:
        yield lambda agent, history: interrupted
    finally:
        signal.signal(signal.SIGINT, previous)


def _check_env(agent: DQN, env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any]) -> None:
    if isinstance(env, VectorEnv):
        _check_spaces(agent, env.single_observation_space, env.single_action_space)
        num_envs = env.num_envs
        mode = env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.NEXT_STEP and not _lanes_are_ours(env):
            raise ValueError(
                f"autoreset mode {mode}: expected {AutoresetMode.NEXT_STEP}, or a SyncVectorEnv "
                f"with {AutoresetMode.DISABLED}"
            )
    else:
        _check_spaces(agent, env.observation_space, env.action_space)
        num_envs = 1
    if num_envs != agent.replay.lanes:
        raise ValueError(f"{num_envs} environments: expected num_envs={agent.replay.lanes}")


def _check_spaces(agent: DQN, observation_space: Any, action_space: Any) -> None:
    for got, expected in (
        (observation_space, agent.observation_space),
        (action_space, agent.action_space),
    ):
        if got != expected:
            raise ValueError(f"the environment's space is {got}: the agent was made for {expected}")
