"""The loops around an agent: `train` lets it explore, observe and learn; `evaluate` tests it.

An episode *terminates* when the task itself is over: the pole has fallen. It is
*truncated* when something outside the task cuts it short: a time limit. Either
way the environment is reset; but only a terminated episode is worth nothing from
there on. So both flags go to the agent as they are.
"""

import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from threadpoolctl import threadpool_limits

from minidqn.agent import DQN
from minidqn.lab.envs import TEST, Env, Envs, as_envs, check_spaces, episode_seed, play
from minidqn.lab.expect import expect
from minidqn.lab.history import History, Unfinished
from minidqn.lab.resume import resume
from minidqn.lab.snapshot import DECAYS
from minidqn.nn.layers import Array
from minidqn.schedules import value_at

Watcher = Callable[
    [DQN, History], object
]  # returning True, or what counts as true, stops


def train(
    agent: DQN,
    env: Env,
    steps: int,
    *,
    history: History | None = None,
    on_step: Watcher | Sequence[Watcher] = (),
    on_episode: Watcher | Sequence[Watcher] = (),
    progress: bool = True,
) -> History:
    """Train the agent in `env` for `steps` more environment steps.

    `env` is one environment, or a vector of num_envs with NEXT_STEP autoreset, or a
    SyncVectorEnv with none (DISABLED). A step of a vector counts num_envs steps, minus
    resets, so the last one may exceed `steps`. With the `history` of its run so far, the
    run continues exactly, even in the middle of an episode; without, a new episode begins.
    `on_episode` is called after every episode, when its row is the last of the history,
    and then `on_step` after every step: one watcher or several. Raises ValueError if the
    environment does not fit the agent, or if `steps` is too few for the first update.
    """
    expect(steps >= 1, f"steps is {steps}", "1 or more")
    envs, last_step = as_envs(agent, env), agent.steps + steps
    least = f"enough for the first update, at learning_starts, {agent.config.learning_starts}"
    expect(last_step >= agent.config.learning_starts, f"steps is {steps}", least)
    step_watchers, episode_watchers = (
        [given] if callable(given) else list(given) for given in (on_step, on_episode)
    )
    history = History() if history is None else history
    over = resume(agent, envs, history)
    rate, ends = agent.config.learning_rate, (agent.steps, last_step)
    known = type(rate) in DECAYS.values()  # one of your own may be above 0 in between
    if known and all(
        value_at(rate, at, agent.updates, agent.episodes) == 0.0 for at in ends
    ):
        text = f"learning_rate is 0 from step {agent.steps} to {last_step}, so nothing is learned: "
        warnings.warn(
            text + "save, and load(path, learning_rate=1e-4)", RuntimeWarning, 2
        )
    shown, stop = agent.steps, False  # what the progress bar shows

    with (
        in_training(envs),
        threadpool_limits(1, user_api="blas"),  # threads slow down such small products
        bar_for(progress, total=last_step, initial=agent.steps, unit=" steps") as bar,
    ):
        while not stop:
            over = step(agent, envs, history, over)
            for _ in range(agent.updates_due):
                history.add_update(agent.learn())

            stop = agent.steps >= last_step
            if True in over:
                each = zip(history.unfinished, over, strict=True)
                ended = [
                    (e.episode_return, len(e.actions)) for e, is_over in each if is_over
                ]
                for _ in history.add_ended(agent.steps, agent.epsilon, ended):
                    for watch in episode_watchers:
                        stop |= bool(watch(agent, history))
            for watch in step_watchers:
                stop |= bool(watch(agent, history))

            if (
                stop or agent.steps - shown >= 200
            ):  # more often would cost more than a step
                note = f"epsilon {agent.epsilon:.2f}, mean return {history.mean_return():.1f}"
                bar.set_postfix_str(note, refresh=stop)
                bar.update(agent.steps - shown)
                shown = agent.steps
    return history


def bar_for(progress: bool, **options: Any) -> Any:
    """A progress bar, for a terminal or a notebook; imported here, because that takes a while."""
    from tqdm.auto import tqdm

    return tqdm(disable=not progress, **options)


def step(agent: DQN, envs: Envs, history: History, over: list[bool]) -> list[bool]:
    """Step each environment, or reset it where its episode is `over`; return where it is now."""
    number = 0
    try:
        if True in over:
            number = agent.resets  # of the next episode
            if all(over):
                agent.begin(*envs.reset(number))
                history.unfinished = [Unfinished(number + i) for i in range(len(over))]
                over = [False] * len(over)
        actions = agent.explore()
        outcome, rewards = envs.step(actions, over, number)
        agent.observe(*outcome)
    except Exception as error:
        error.add_note(f"in step {agent.steps + 1} of the run")
        raise
    for i, action in enumerate(actions.tolist()):
        if over[i]:
            history.unfinished[i] = Unfinished(number)
            number += 1
        else:
            history.unfinished[i].add(action, rewards[i])
    return [agent.replay.over] if len(over) == 1 else agent.replay.ended.tolist()


TRAINING: list[Any] = []  # the environments in which agents are being trained


@contextmanager
def in_training(envs: Envs) -> Iterator[None]:
    ours = [env.unwrapped for env in getattr(envs, "envs", ())]
    TRAINING.extend(ours)
    try:
        yield
    finally:
        for env in ours:
            TRAINING.remove(env)


def evaluate(
    agent: DQN,
    env: gym.Env[Any, Any],
    episodes: int = 100,
    seed: int = 0,
    epsilon: float = 0.0,
    *,
    max_steps: int = 100_000,
    progress: bool = True,
) -> Array:
    """Returns of test episodes, undiscounted: (episodes,). The agent is left as it is.

    Greedy, except for a random action with probability `epsilon`: in some games a
    deterministic policy never ends an episode. One that takes longer than `max_steps` is cut
    there, with a warning. A test of more than a second shows its progress.
    """
    expect(
        not isinstance(env, VectorEnv), f"env is {env}", "one environment", TypeError
    )
    free = all(env.unwrapped is not other for other in TRAINING)
    expect(
        free,
        f"{env} is being trained in",
        "another one, made by a second gym.make(...)",
    )
    check_spaces(agent, env.observation_space, env.action_space)
    returns, steps, cut = np.zeros(episodes), 0, 0
    rng, agent.rng = agent.rng, np.random.default_rng((seed, TEST))
    shown: Any = {
        "total": episodes,
        "unit": " episodes",
        "delay": 1,
        "miniters": 0,
        "leave": False,
    }
    try:
        with threadpool_limits(1, user_api="blas"), bar_for(progress, **shown) as bar:
            for episode in range(episodes):
                moves = play(agent, env, episode_seed(seed, TEST, episode), epsilon)
                for step, (reward, over, _) in enumerate(moves):
                    returns[episode] += reward
                    steps += 1
                    if steps % 1000 == 0:
                        bar.set_postfix_str(f"{steps} steps", refresh=False)
                        bar.update(0)
                    if step == max_steps and not over:
                        cut += 1
                        break
                bar.update()
    finally:
        agent.rng = rng
    if cut:
        text = f"{cut} of {episodes} episodes had not ended after {max_steps} steps, and were cut"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    return returns


@contextmanager
def stop_on_interrupt() -> Iterator[Watcher]:
    """A watcher for `train`: the first Ctrl-C stops the run after the current step.

    The second Ctrl-C raises KeyboardInterrupt. Only for the main thread, as signals are.
    """
    interrupted = []
    previous = signal.getsignal(signal.SIGINT)

    def remember(signum: int, frame: object) -> None:
        interrupted.append(signum)
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, remember)
    try:
        yield lambda agent, history: interrupted
    finally:
        signal.signal(signal.SIGINT, previous)
