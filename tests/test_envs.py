"""One environment, several, or a vector behind the same two calls."""

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from minidqn import (
    DQN,
    DQNConfig,
    History,
    Spec,
    evaluate,
    load,
    load_run,
    run,
    save,
    train,
)
from minidqn.lab.envs import (
    TEST,
    TRAIN,
    OwnEnvs,
    VectorEnvs,
    as_envs,
    episode_seed,
    play,
)
from minidqn.lab.in_use import check_free, in_training
from minidqn.nn.layers import Array

from .conftest import TableEnv
from .test_training import agent_for, chain

# SeedEnv gives every second mask, on purpose
pytestmark = pytest.mark.filterwarnings("ignore:the first step gave a mask")


class SeedEnv(gym.Env[Array, Any]):
    """Shows the seed of its reset, and the steps since; every second one has a mask."""

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


class Seeds(TableEnv):
    """Keeps the seeds of its resets, None where there was none."""

    def __init__(self) -> None:
        super().__init__([[0, 0]], [[1, 1]], limit=5)
        self.seeds: list[int | None] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.seeds.append(seed)
        return super().reset(seed=seed)


@pytest.mark.parametrize("reseed", [True, False])
def test_only_the_first_reset_may_have_a_seed(reseed: bool) -> None:
    """A reset with a seed takes long in Atari's games."""
    env = Seeds()
    learner = agent_for(env)
    train(learner, env, 12, progress=False, reseed=reseed)
    first, *others = env.seeds
    assert first == episode_seed(0, TRAIN, 0)
    assert len(others) == 2
    assert all((seed is None) != reseed for seed in others)

    tested = Seeds()
    evaluate(learner, tested, 3, seed=4, reseed=reseed)
    first, *others = tested.seeds
    assert first == episode_seed(4, TEST, 0)
    assert all((seed is None) != reseed for seed in others)


def test_without_seeds_a_stopped_run_says_that_it_is_another(tmp_path: Path) -> None:
    env = Seeds()
    learner = agent_for(env)
    history = train(learner, env, 13, progress=False, reseed=False)
    save(learner, tmp_path / "it", history)
    learner, history = load_run(tmp_path / "it")
    with pytest.warns(RuntimeWarning, match="an exact resume needs reseed=True, with"):
        train(learner, Seeds(), 10, history=history, progress=False, reseed=False)
    assert learner.steps == 23


def test_a_run_may_reseed_or_not(tmp_path: Path) -> None:
    spec = Spec("Some-v0", agent_for(Seeds()).config, 40, make_env=Seeds)
    results = [
        run(replace(spec, reseed=reseed), tmp_path / str(reseed), progress=False)
        for reseed in (True, False)
    ]
    assert [result["reseed"] for result in results] == [True, False]


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
    assert list(given) == rewards == [0.0, 12.0, 0.0]
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

    def with_an_int(step: Any, action: Any) -> Any:  # a vector gives NumPy's
        return step(int(action))

    # a fixed pair of seeds
    vector.reset = reset  # type: ignore[method-assign, assignment]  # of this one alone
    for env in vector.envs:
        step = partial(with_an_int, env.step)
        env.step = step  # type: ignore[method-assign]  # of this one alone
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
    """Its masks are one array; a vector of Gymnasium's says who gave one."""

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
    expected = r"step 1: reward (is .* shape \(1,\)|has shape \(2, 1\)): expected"
    with pytest.raises(ValueError, match=expected):
        train(agent(num_envs), env, 20, progress=False)


class Counts(gym.Env[Array, Any]):
    """Bytes that count the steps, given as 64-bit integers; episodes of five steps."""

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


# --- Which environments are taken


def kinds_of_training() -> list[tuple[Any, Any]]:
    """An environment to train in, and one that is the same or a part of it."""
    one = chain()
    wrapped = gym.wrappers.TimeLimit(chain(), 3)
    next_step = SyncVectorEnv([chain] * 2)
    disabled = SyncVectorEnv([chain] * 2, autoreset_mode=AutoresetMode.DISABLED)
    of_wrapped = SyncVectorEnv([lambda: gym.wrappers.TimeLimit(chain(), 3)] * 2)
    return [
        (one, one),
        (one, gym.wrappers.TimeLimit(one, 3)),
        (wrapped, wrapped.env),
        (next_step, next_step.envs[0]),
        (next_step, next_step.envs[1]),
        (disabled, disabled.envs[1]),
        (of_wrapped, of_wrapped.envs[0].unwrapped),
    ]


@pytest.mark.parametrize("kind", range(7))
def test_nobody_plays_where_an_agent_is_being_trained(kind: int) -> None:
    env, part = kinds_of_training()[kind]
    num_envs = getattr(env, "num_envs", 1)
    trained, other = agent_for(env, num_envs), agent_for(part)
    free = chain()
    tested = []

    def try_it(agent: DQN, history: History) -> None:
        for play_there in (
            lambda: evaluate(agent, part, 2, progress=False),
            lambda: next(play(agent, part, 0)),
            lambda: train(other, part, 20, progress=False),
        ):
            with pytest.raises(
                ValueError, match=r"is being trained in .*: expected another one"
            ):
                play_there()
        tested.append(evaluate(agent, free, 1, progress=False))

    train(trained, env, 20, on_step=try_it, progress=False)
    assert len(tested) > 5
    assert other.steps == 0
    # after training it is free
    assert len(evaluate(trained, part, 2, progress=False)) == 2
    train(other, part, 20, progress=False)


def test_a_vector_is_taken_with_each_of_its_environments() -> None:
    """To train in a vector while one of its environments is trained in, too."""
    vector = SyncVectorEnv([chain] * 2)
    many = agent_for(vector, 2)

    def try_it(agent: DQN, history: History) -> None:
        with pytest.raises(ValueError, match="is being trained in"):
            train(many, vector, 20, progress=False)

    train(agent_for(chain()), vector.envs[1], 20, on_step=try_it, progress=False)
    assert many.steps == 0
    train(many, vector, 20, progress=False)


def test_runs_in_threads_give_their_own_environments_back() -> None:
    envs = chain(), chain()
    first, second = (in_training(agent_for(env), env) for env in envs)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    check_free(envs[0])
    with pytest.raises(ValueError, match="is being trained in"):
        check_free(envs[1])
    second.__exit__(None, None, None)
    check_free(envs[1])


@pytest.mark.parametrize("fails", ["reset", "step"])
def test_after_an_error_an_environment_is_free(fails: str) -> None:
    class Fails(gym.Wrapper[Any, Any, Any, Any]):
        def reset(self, **arguments: Any) -> Any:
            if fails == "reset":
                raise RuntimeError("no more")
            return super().reset(**arguments)

        def step(self, action: Any) -> Any:
            raise RuntimeError("no more")

    env = Fails(chain())
    with pytest.raises(RuntimeError, match="no more"):
        train(agent_for(env), env, 20, progress=False)
    check_free(env)


def test_an_environment_that_says_it_equals_all_others_is_still_itself() -> None:
    class Equal(TableEnv):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]  # as a class with __eq__ has

    env, other = (Equal([[0, 0]], [[1, 1]], limit=5) for _ in range(2))
    tested = []

    def test_elsewhere(agent: DQN, history: History) -> None:
        tested.append(evaluate(agent, other, 1, progress=False).item())

    train(agent_for(env), env, 20, on_step=test_elsewhere, progress=False)
    assert tested == [5.0] * 20


@pytest.mark.parametrize("kind", [AutoresetMode.DISABLED, AutoresetMode.NEXT_STEP])
def test_a_vector_of_one_environment_several_times_is_refused(kind: Any) -> None:
    env = chain()
    vector = SyncVectorEnv([lambda: env] * 2, autoreset_mode=kind)
    with pytest.raises(ValueError, match="has an environment several times: expected"):
        train(agent_for(vector, 2), vector, 20, progress=False)
