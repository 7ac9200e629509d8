"""One environment, several, or a vector behind the same two calls."""

import copy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from minidqn import DQN, DQNConfig, evaluate, load, save, train
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
    return DQN(
        SeedEnv.observation_space,
        SeedEnv.action_space,
        config,
        seed=7,
        num_envs=num_envs,
    )


def seed(number: int) -> int:
    return episode_seed(7, TRAIN, number)


def test_one_environment_gives_bare_values() -> None:
    envs = as_envs(agent(), SeedEnv())
    obs, mask = envs.reset(5)
    assert obs.tolist() == [seed(5), 0]
    assert mask is None
    outcome, rewards = envs.step(np.array([2]), [False], 0)
    action, reward, obs, terminated, truncated, mask = outcome
    assert (action, reward, terminated, truncated, rewards) == (
        2,
        12.0,
        False,
        False,
        [12.0],
    )
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


# --- Masks in vectors, and what environments return


class OwnMasks(gym.Env[Array, Any]):
    """Gives `mask` in every step; episodes have five steps."""

    observation_space = Box(-1.0, 1.0, (2,), np.float32)
    action_space = Discrete(3)
    mask: Any = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.steps = 0
        return np.zeros(2, np.float32), {"action_mask": self.mask}

    def step(self, action: Any) -> Any:
        assert self.mask is None or self.mask[action]
        self.steps += 1
        obs, info = np.zeros(2, np.float32), {"action_mask": self.mask}
        return obs, 1.0, self.steps == 5, False, info


def run_with_masks(env: Any, num_envs: int, mask: Any, monkeypatch: Any) -> DQN:
    monkeypatch.setattr(OwnMasks, "mask", mask)
    config = DQNConfig(hidden=(4,), buffer_size=100, batch_size=8, learning_starts=8)
    spaces = OwnMasks.observation_space, OwnMasks.action_space
    agent = DQN(*spaces, config, num_envs=num_envs)
    train(agent, env, 40, progress=False)
    return agent


@pytest.mark.parametrize("num_envs", [1, 2])
@pytest.mark.parametrize("kind", [AutoresetMode.DISABLED, AutoresetMode.NEXT_STEP])
@pytest.mark.parametrize("mask", [[1, 0, 1], (True, False, True), None])
def test_a_mask_may_be_a_list_or_none(
    mask: Any, kind: Any, num_envs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    env: Any = OwnMasks()
    if num_envs > 1:
        env = SyncVectorEnv([OwnMasks] * num_envs, autoreset_mode=kind)
    agent = run_with_masks(env, num_envs, mask, monkeypatch)
    stored = agent.replay.mask.array
    if mask is None:
        assert stored is None
    else:
        assert stored is not None
        assert stored[: agent.replay.count + 1].reshape(-1, 3).tolist() == [
            [True, False, True]
        ] * (num_envs * (agent.replay.count + 1))


class OwnVector(VectorEnv[Any, Any, Any]):
    """A vector of one's own, whose masks are one array; Gymnasium's says who gave one."""

    def __init__(self) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs = 2
        self.single_observation_space = OwnMasks.observation_space
        self.single_action_space = OwnMasks.action_space
        self.masks = np.array([[1, 0, 1], [0, 1, 0]])

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return np.zeros((2, 2), np.float32), {"action_mask": self.masks}

    def step(self, actions: Any) -> Any:
        assert self.masks[[0, 1], actions].all()
        nothing = np.zeros(2, np.bool_)
        obs, info = np.zeros((2, 2), np.float32), {"action_mask": self.masks}
        return obs, np.ones(2), nothing, nothing, info


def test_a_vector_of_ones_own_gives_masks_as_observe_takes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = run_with_masks(OwnVector(), 2, None, monkeypatch)
    assert agent.replay.head_mask.astype(int).tolist() == [[1, 0, 1], [0, 1, 0]]
    assert set(agent.replay.action[: agent.replay.count, 0]) == {0, 2}
    assert set(agent.replay.action[: agent.replay.count, 1]) == {1}


@pytest.mark.parametrize("num_envs", [1, 2])
def test_a_reward_that_is_no_number_is_named_with_its_step(num_envs: int) -> None:
    def make() -> Any:
        return gym.wrappers.TransformReward(
            SeedEnv(), lambda reward: np.array([reward])
        )

    several = SyncVectorEnv([make] * num_envs, autoreset_mode=AutoresetMode.DISABLED)
    env: Any = make() if num_envs == 1 else several
    expected = r"step 1: (action \d, reward \[\d+\.\]: |reward has shape \(2, 1\): )exp"
    with pytest.raises(ValueError, match=expected):
        train(agent(num_envs), env, 20, progress=False)


class Counts(gym.Env[Array, Any]):
    """Bytes that count the steps, given as 64-bit integers; episodes have five steps."""

    observation_space = Box(0, 255, (4,), np.uint8)
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.steps = 0
        return np.full(4, self.steps), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return np.full(4, self.steps), 1.0, self.steps >= 5, False, {}


@pytest.mark.parametrize("frames", [1, 3])
def test_what_may_be_trained_on_may_be_tested_on(frames: int) -> None:
    settings: Any = {"frame_stack": frames, "learning_starts": 64, "buffer_size": 100}
    spaces = Counts.observation_space, Counts.action_space
    actor = DQN(*spaces, DQNConfig(hidden=(4,), **settings))
    train(actor, Counts(), 64, progress=False)
    assert evaluate(actor, Counts(), 2, progress=False).tolist() == [5.0, 5.0]


def test_a_test_episode_shows_the_stacks_that_training_saw() -> None:
    settings: Any = {"frame_stack": 3, "learning_starts": 64, "buffer_size": 100}
    spaces = Counts.observation_space, Counts.action_space
    actor = DQN(*spaces, DQNConfig(hidden=(4,), **settings))
    seen = [stack for _, _, stack in play(actor, Counts(), 0)]
    assert [stack.shape for stack in seen] == [(3, 4)] * 6
    assert {stack.dtype for stack in seen} == {np.dtype(np.uint8)}
    # before the first observation of an episode, it is repeated
    expected = [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert [stack[:, 0].tolist() for stack in seen] == expected

    env = Counts()
    actor.begin(env.reset()[0])
    for stack in seen[1:]:
        obs, reward, terminated, truncated, _ = env.step(0)
        actor.observe(0, reward, obs, terminated, truncated)
        np.testing.assert_array_equal(actor.replay.head_stack[0], stack)


def test_actions_of_another_integer_type_are_the_same_actions(tmp_path: Path) -> None:
    """A saved or copied agent knows the number of actions, not the type they had."""
    small: Any = np.int32

    class Small(Counts):
        action_space = Discrete(2, dtype=small)

    config = DQNConfig(hidden=(4,), learning_starts=64, buffer_size=100)
    actor = DQN(Small.observation_space, Small.action_space, config)
    save(actor, tmp_path / "agent.safetensors")
    for other in (actor, copy.deepcopy(actor), load(tmp_path / "agent.safetensors")):
        for env in (Small(), Counts()):
            assert evaluate(other, env, 1, progress=False) == 5.0
            train(other, env, 64, progress=False)
    three = Small()
    three.action_space = Discrete(3, dtype=small)
    later = Small()
    later.action_space = Discrete(2, start=1)
    for wrong in (three, later):
        with pytest.raises(ValueError, match="the environment's spaces are"):
            evaluate(actor, wrong, 1)
