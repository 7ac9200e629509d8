"""One environment, several, or a vector behind the same two calls."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from minidqn import DQN, DQNConfig
from minidqn.lab.envs import TRAIN, OwnEnvs, VectorEnvs, as_envs, episode_seed, play
from minidqn.nn.layers import Array


class SeedEnv(gym.Env[Array, Any]):
    """Shows the seed of its reset and the steps since; gives a mask in every second one."""

    observation_space = Box(0, 2**32, (2,), np.float64)
    action_space = Discrete(3)
    actions: list[int]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        assert seed is not None
        self.seed, self.steps, self.actions = seed, 0, []
        return self.look()

    def look(self) -> Any:
        info = {"action_mask": np.array([1, 0, 1], np.int8)} if self.steps % 2 else {}
        return np.array([self.seed, self.steps], np.float64), info

    def step(self, action: Any) -> Any:
        assert type(action) is int
        self.steps += 1
        self.actions.append(action)
        obs, info = self.look()
        return obs, 10.0 * self.steps + action, self.steps == 3, False, info


def agent(num_envs: int = 1) -> DQN:
    config = DQNConfig(hidden=(4,), buffer_size=100, batch_size=8, learning_starts=8)
    return DQN(SeedEnv.observation_space, SeedEnv.action_space, config, seed=7, num_envs=num_envs)


def seed(number: int) -> int:
    return episode_seed(7, TRAIN, number)


def test_one_environment_gives_bare_values() -> None:
    envs = as_envs(agent(), SeedEnv())
    obs, mask = envs.reset(5)
    assert obs.tolist() == [seed(5), 0]
    assert mask is None
    outcome, rewards = envs.step(np.array([2]), [False], 0)
    action, reward, obs, terminated, truncated, mask = outcome
    assert (action, reward, terminated, truncated, rewards) == (2, 12.0, False, False, [12.0])
    assert obs.tolist() == [seed(5), 1]
    assert mask.tolist() == [1, 0, 1]


@pytest.mark.parametrize("kind", [AutoresetMode.DISABLED, AutoresetMode.NEXT_STEP])
def test_several_are_reset_where_they_are_over(kind: Any) -> None:
    vector = SyncVectorEnv([SeedEnv] * 3, autoreset_mode=kind)
    if kind == AutoresetMode.NEXT_STEP:
        with pytest.raises(ValueError, match="3 environments: expected num_envs=1"):
            as_envs(agent(1), vector)
        assert isinstance(as_envs(agent(3), vector), VectorEnvs)
        return
    envs = as_envs(agent(3), vector)
    assert isinstance(envs, OwnEnvs)
    obs, mask = envs.reset(5)
    assert obs.tolist() == [[seed(5), 0], [seed(6), 0], [seed(7), 0]]
    assert mask is None
    over = [True, False, True]
    outcome, rewards = envs.step(np.array([1, 2, 0]), over, 8)
    actions, given, obs, terminated, truncated, mask = outcome
    assert actions.tolist() == [1, 2, 0]
    assert given == rewards == [0.0, 12.0, 0.0]
    assert obs.tolist() == [[seed(8), 0], [seed(6), 1], [seed(9), 0]]
    # where no mask is given, all actions are allowed
    assert mask.tolist() == [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    assert not any(terminated) | any(truncated)


def test_a_missing_mask_in_a_vector_allows_everything() -> None:
    class Never(SeedEnv):
        def look(self) -> Any:
            return super().look()[0], {}

    vector = SyncVectorEnv([SeedEnv, Never])
    vector_seeds = vector.reset

    def reset(*, seed: int) -> Any:  # each environment is given one of its own
        return vector_seeds(seed=[seed, seed + 1])

    vector.reset = reset  # type: ignore[method-assign, assignment]  # a fixed pair of seeds
    for env in vector.envs:
        env.step = lambda action, step=env.step: step(int(action))  # type: ignore[method-assign, misc]  # vectors give NumPy's
    envs = as_envs(agent(2), vector)
    obs, mask = envs.reset(5)
    assert obs[0, 0] == seed(5)
    assert mask is None
    outcome, rewards = envs.step(np.array([2, 1]), [False, False], 0)
    assert outcome[-1].tolist() == [[1, 0, 1], [1, 1, 1]]
    assert rewards == outcome[1].tolist() == [12.0, 11.0]


def test_a_test_episode_is_greedy_and_has_the_seed_that_it_was_given() -> None:
    env, actor = SeedEnv(), agent()
    actor.online.params[:] = 0.0
    actor.online.params[-3:] = [0.0, 2.0, 1.0]
    steps = [(reward, over) for reward, over, _ in play(actor, env, 11)]
    # 1 is the best action, but where it is not allowed
    assert steps == [(0.0, False), (11.0, False), (22.0, False), (31.0, True)]
    assert env.actions == [1, 2, 1]
    assert env.seed == 11
