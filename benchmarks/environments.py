"""The environments of plain_settings.py: how to make each, and which return is good.

Both libraries are trained in what `make` gives: observations are vectors. One of several numbers,
as in FrozenLake, becomes a vector with a 1 at its place, and so does each of Blackjack's three.
MinAtar's pictures are flattened, because without convolutions minidqn takes vectors alone, and
SB3's MlpPolicy flattens them anyway. This module needs no minidqn, so SB3's script can import it.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import DtypeObservation, FlattenObservation
from kinds import (
    LongWait,
    ManyActions,
    NoisyReward,
    OneStep,
    SparseReward,
    Unscaled,
)

Env = gym.Env[Any, Any]


@dataclass(frozen=True)
class Task:
    """An environment, the steps of training, and its test.

    The mean return `good` is one that a user would be content with. An episode of the
    test that has no end of its own is cut after `test_max_steps`.
    """

    make: Callable[[], Env]
    steps: int
    good: float
    test_episodes: int = 100
    test_max_steps: int = 1_000


class ForgetsLastAction(gym.Wrapper[Any, Any, Any, Any]):
    """Clears MinAtar's last action, so that no sticky one comes from before a reset."""

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        game: Any = self.unwrapped
        game.game.last_action = 0
        return self.env.reset(**options)


def make_minatar(game: str) -> Env:
    """A picture of 10 x 10 cells. v0 has all six actions, as in the paper."""
    from minatar.gym import register_envs

    if f"MinAtar/{game}-v0" not in gym.registry:
        register_envs()
    warnings.filterwarnings("ignore", module="gymnasium")  # v1 exists
    return ForgetsLastAction(gym.make(f"MinAtar/{game}-v0"))


def make_cliff_walking() -> Env:
    """It has no time limit of its own, and a policy may walk in circles."""
    return gym.make("CliffWalking-v1", max_episode_steps=200)


def minatar(game: str, reached: float) -> Task:
    """Good is half of what a tuned DQN with convolutions has `reached`.

    That is Young & Tian's (2019) after 1,000,000 steps, read off their plot.
    """
    make_game = partial(make_minatar, game)
    return Task(make_game, 300_000, reached / 2, test_max_steps=10_000)


def gymnasiums(env_id: str, steps: int, good: float, test_episodes: int = 100) -> Task:
    return Task(partial(gym.make, env_id), steps, good, test_episodes)


# Gymnasium's reward_threshold is what its registry counts as solved.
TASKS: dict[str, Task] = {
    "CartPole-v1": gymnasiums("CartPole-v1", 50_000, 475),  # reward_threshold
    "Acrobot-v1": gymnasiums("Acrobot-v1", 100_000, -100),  # reward_threshold
    "MountainCar-v0": gymnasiums("MountainCar-v0", 120_000, -110),  # reward_threshold
    "LunarLander-v3": gymnasiums("LunarLander-v3", 150_000, 200),  # reward_threshold
    # reward_threshold; value iteration gives 0.744 within the limit of 100 steps
    "FrozenLake-v1": gymnasiums("FrozenLake-v1", 50_000, 0.7, 1_000),
    # value iteration gives 7.93; reward_threshold, 8, is more than that
    "Taxi-v4": gymnasiums("Taxi-v4", 100_000, 7),
    # Sutton & Barto, example 6.6: the safe path returns -17, the best one -13
    "CliffWalking-v1": Task(make_cliff_walking, 50_000, -17),
    # the policy of Sutton & Barto, figure 5.2, returns -0.046 (0.004)
    "Blackjack-v1": gymnasiums("Blackjack-v1", 50_000, -0.1, 5_000),
    "MinAtar/Asterix": minatar("Asterix", 8.0),
    "MinAtar/Breakout": minatar("Breakout", 9.0),
    "MinAtar/Freeway": minatar("Freeway", 47.0),
    "MinAtar/Seaquest": minatar("Seaquest", 1.0),
    "MinAtar/SpaceInvaders": minatar("SpaceInvaders", 33.0),
    # their docstrings say why these are good
    "Unscaled": Task(Unscaled, 50_000, 43),
    "SparseReward": Task(SparseReward, 30_000, 0.95),
    "LongWait": Task(LongWait, 60_000, 0.9),
    "ManyActions": Task(ManyActions, 50_000, 18),
    "NoisyReward": Task(NoisyReward, 50_000, 8, 1_000),
    "OneStep": Task(OneStep, 20_000, 0.95, 1_000),
}


def make(name: str) -> Env:
    """The environment, with vectors as observations."""
    env = TASKS[name].make()
    space = env.observation_space
    if not isinstance(space, Box):
        # bytes: with the flattened integers, SB3's buffer for Taxi would take 8 GB
        return DtypeObservation(FlattenObservation(env), np.uint8)
    return env if len(space.shape) == 1 else FlattenObservation(env)


def seed_of_test(seed: int, episode: int) -> int:
    """The seed of an episode of the test: the same as in minidqn's test."""
    return int(np.random.SeedSequence((seed, 1, episode)).generate_state(1)[0])


def mean_return(name: str, act: Callable[[Any], int], seed: int) -> float:
    """The mean return of the test's episodes, of a policy `act`."""
    task = TASKS[name]
    env = make(name)
    returns = []
    for episode in range(task.test_episodes):
        obs, _ = env.reset(seed=seed_of_test(seed, episode))
        total = 0.0
        for _ in range(task.test_max_steps):
            obs, reward, terminated, truncated, _ = env.step(act(obs))
            total += float(reward)
            if terminated or truncated:
                break
        returns.append(total)
    env.close()
    return float(np.mean(returns))


def random_return(name: str) -> float:
    """What random play returns, without a look at action masks."""
    space: Any = make(name).action_space
    space.seed(0)
    return mean_return(name, lambda obs: int(space.sample()), seed=0)
