"""The loops around an agent: `train` lets it act, observe and learn; `evaluate` only acts.

An episode *terminates* when the task itself is over: the pole has fallen. It is
*truncated* when something outside the task cuts it short: a time limit. Either
way the environment is reset; but only a terminated episode is worth nothing from
there on. So both flags go to the agent as they are.

Every reset has a seed of its own, made from the run's seed, the purpose and the
reset's number: any episode of a single environment can be played again without
the others, and tests are not played on the seeds of training.
"""

import csv
import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from minidqn.agent import DQN, Metrics
from minidqn.layers import Array

TRAIN, TEST = 0, 1  # what an episode is for


def episode_seed(seed: int, purpose: int, number: int) -> int:
    """The seed, 32 bits, of one reset in a run; purpose is TRAIN or TEST."""
    return int(np.random.SeedSequence((seed, purpose, number)).generate_state(1)[0])


class Episode(NamedTuple):
    """One row of a history: a finished episode, and the updates since the row before."""

    step: int  # environment steps of the run when it ended
    episode_return: float  # sum of its rewards, undiscounted
    length: int  # in steps
    epsilon: float  # when it ended
    loss: float  # means over those updates; NaN if there were none
    q: float
    grad_norm: float


class History:
    """What happened in training: a row for each finished episode.

    A column is an array, (episodes,): `history["episode_return"]`.
    """

    def __init__(self) -> None:
        self.episodes: list[Episode] = []

    def __len__(self) -> int:
        return len(self.episodes)

    def __getitem__(self, column: str) -> Array:
        if column not in Episode._fields:
            raise KeyError(f"{column!r}: expected one of {Episode._fields}")
        return np.array([getattr(episode, column) for episode in self.episodes])

    def mean_return(self, last: int = 100) -> float:
        """Mean return of the last so many episodes; NaN before the first."""
        recent = [episode.episode_return for episode in self.episodes[-last:]]
        return sum(recent) / len(recent) if recent else float("nan")

    def write_csv(self, path: str | Path) -> None:
        with Path(path).open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(Episode._fields)
            rows.writerows(self.episodes)


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

    `env` is one environment, or a vector of num_envs with NEXT_STEP autoreset: each
    of its steps counts num_envs, less the lanes that were reset, and the last one may
    go a little beyond `steps`. A `history` that is passed in is added to. `on_step` is
    called after every step, `on_episode` after every finished episode. Raises
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
    metrics: list[Metrics] = []  # since the last row of the history
    shown = agent.steps  # by the progress bar

    with (
        threadpool_limits(1, user_api="blas"),  # at these sizes threads only cost
        tqdm(total=last_step, initial=agent.steps, disable=not progress, unit=" steps") as bar,
    ):
        live = _live_in_many(agent, env) if isinstance(env, VectorEnv) else _live_in_one(agent, env)
        for finished in live:
            for _ in range(agent.updates_due):
                metrics.append(agent.learn())

            stop = agent.steps >= last_step
            if finished:
                means = [sum(column) / len(metrics) for column in zip(*metrics, strict=True)]
                means = means or [math.nan] * 3
                metrics.clear()
            for episode_return, length in finished:
                row = Episode(agent.steps, episode_return, length, agent.epsilon, *means)
                history.episodes.append(row)
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


def _live_in_one(agent: DQN, env: gym.Env[Any, Any]) -> Iterator[Finished]:
    """Act and observe, episode after episode; pause after every step."""
    while True:
        obs, _ = env.reset(seed=episode_seed(agent.seed, TRAIN, agent.resets))
        agent.begin(obs)
        episode_return, length, over = 0.0, 0, False
        while not over:
            action = agent.act(obs, agent.epsilon)
            obs, reward, terminated, truncated, _ = env.step(action)
            agent.observe(action, float(reward), obs, terminated, truncated)
            episode_return += float(reward)
            length += 1
            over = terminated or truncated
            yield [(episode_return, length)] if over else []


def _live_in_many(agent: DQN, env: VectorEnv[Any, Any, Any]) -> Iterator[Finished]:
    """The same in every lane at once: a lane that has ended is reset by its next step."""
    obs, _ = env.reset(seed=episode_seed(agent.seed, TRAIN, agent.resets))
    agent.begin(obs)
    returns, lengths = np.zeros(env.num_envs), np.zeros(env.num_envs, int)
    over = np.zeros(env.num_envs, bool)
    while True:
        # While all lanes are reset nothing is decided, and so no random number drawn.
        action = np.zeros(env.num_envs, int) if over.all() else agent.act(obs, agent.epsilon)
        obs, reward, terminated, truncated, _ = env.step(action)
        agent.observe(action, reward, obs, terminated, truncated)
        returns += reward  # 0 from a lane that was reset
        lengths += ~over
        over = terminated | truncated
        yield [(float(returns[i]), int(lengths[i])) for i in np.flatnonzero(over)]
        returns[over], lengths[over] = 0.0, 0


def evaluate(agent: DQN, env: gym.Env[Any, Any], episodes: int = 100, seed: int = 0) -> Array:
    """Returns of greedy test episodes, undiscounted: (episodes,). The agent is left as it is."""
    if isinstance(env, VectorEnv):
        raise TypeError(f"evaluate plays in one environment at a time: got {env}")
    _check_spaces(agent, env.observation_space, env.action_space)
    returns = np.zeros(episodes)
    for episode in range(episodes):
        obs, _ = env.reset(seed=episode_seed(seed, TEST, episode))
        over = False
        while not over:
            obs, reward, terminated, truncated, _ = env.step(agent.act(obs))
            returns[episode] += float(reward)
            over = terminated or truncated
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
        if mode != AutoresetMode.NEXT_STEP:
            raise ValueError(f"autoreset mode {mode}: expected {AutoresetMode.NEXT_STEP}")
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
