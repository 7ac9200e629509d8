"""A run that is stopped anywhere and resumed ends as if it had never been stopped."""

import math
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from minidqn import DQN, History, load_run, save, train
from minidqn.batch import STEP, TRUNCATED
from minidqn.nn.layers import Array
from minidqn.parts.param_noise import NoisyBehaviour
from minidqn.parts.prioritized import PrioritizedSampler
from minidqn.parts.repeat import RepeatedActions

from .conftest import TableEnv
from .test_masks import MaskedEnv
from .test_parts import ALL, PARTS
from .test_training import accounted_steps, agent_for, chain

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "resume.py"
STEPS = 60


def environments(num_envs: int, build: Callable[[], Any] = chain) -> Any:
    if num_envs == 1:
        return build()
    return SyncVectorEnv([build] * num_envs, autoreset_mode=AutoresetMode.DISABLED)


def arrays_of(agent: DQN) -> dict[str, Array]:
    """All arrays that an agent is made of."""
    arrays = {
        "params": agent.online.params,
        "target_params": agent.target.params,
        "adam_m": agent.adam.m,
        "adam_v": agent.adam.v,
    }
    for name, array in agent.replay.arrays.items():
        arrays[f"replay_{name}"] = array
    if isinstance(agent.exploration, RepeatedActions):
        arrays["repeat"] = agent.exploration.state
    if isinstance(agent.behaviour, NoisyBehaviour):
        arrays["noise_seeds"] = agent.behaviour.seeds
        arrays["noise_scales"] = agent.behaviour.scales
    if isinstance(agent.sampler, PrioritizedSampler):
        for name, array in agent.sampler.arrays.items():
            arrays[f"priority_{name}"] = array
    return arrays


def assert_same_arrays(agent: DQN, twin: DQN, **more: Array) -> None:
    """All arrays are the same; `more` are those that only the twin has."""
    ours = arrays_of(agent) | more
    theirs = arrays_of(twin)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], name)


def assert_same(one: tuple[DQN, History], other: tuple[DQN, History]) -> None:
    (agent, history), (twin, twin_history) = one, other
    assert_same_arrays(agent, twin)
    assert agent.rng.bit_generator.state == twin.rng.bit_generator.state
    for name in ("steps", "updates", "episodes", "resets"):
        assert getattr(agent, name) == getattr(twin, name), name
    assert agent.adam.t == twin.adam.t
    np.testing.assert_array_equal(history.rows, twin_history.rows)
    np.testing.assert_array_equal(history.updates, twin_history.updates)


@given(
    num_envs=st.sampled_from([1, 3]),
    part=st.sampled_from(sorted(PARTS)),
    build=st.sampled_from([chain, MaskedEnv]),
    stops=st.lists(st.integers(9, STEPS - 1), min_size=1, max_size=4, unique=True).map(
        sorted
    ),
    data=st.data(),
)
@settings(max_examples=80)
def test_stopped_anywhere_and_resumed(
    num_envs: int,
    part: str,
    build: Callable[[], Any],
    stops: list[int],
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def new() -> Any:
        return environments(num_envs, build)

    numbers = {"learning_starts": 9, "buffer_size": 40} | PARTS[part]
    path = tmp_path_factory.mktemp("run") / "checkpoint.safetensors"
    agent = agent_for(new(), num_envs, **numbers)
    history = train(agent, new(), STEPS, progress=False)

    env = new()
    twin, twin_history = agent_for(env, num_envs, **numbers), History()
    for stop in [*stops, agent.steps]:
        if twin.steps < stop:
            train(twin, env, stop - twin.steps, history=twin_history, progress=False)
        if data.draw(st.booleans(), label="a new process"):
            save(twin, path, twin_history)
            (twin, twin_history), env = load_run(path), new()
    assert_same((agent, history), (twin, twin_history))


@pytest.mark.parametrize("build", [chain, MaskedEnv])
@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("part", PARTS)
def test_each_part_saved_and_loaded_over_and_over(
    part: str, num_envs: int, build: Callable[[], Any], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    numbers = {"learning_starts": 9, "buffer_size": 40} | PARTS[part]
    agent = agent_for(environments(num_envs, build), num_envs, **numbers)
    history = train(agent, environments(num_envs, build), 120, progress=False)

    twin, twin_history = (
        agent_for(environments(num_envs, build), num_envs, **numbers),
        History(),
    )
    for stop in (20, 21, 50, 83, agent.steps):
        steps, env = stop - twin.steps, environments(num_envs, build)
        if steps > 0:  # three num_envs may go beyond a stop
            train(twin, env, steps, history=twin_history, progress=False)
        save(twin, path, twin_history)
        before, (twin, twin_history) = twin, load_run(path)
        assert type(twin.sampler) is type(before.sampler)
        assert type(twin.exploration) is type(before.exploration)
        assert twin.config == before.config
    assert_same((agent, history), (twin, twin_history))


def test_all_that_the_parts_remember_is_more_than_nothing() -> None:
    """What the tests above compare: repeated actions, priorities, masks."""
    agent = agent_for(environments(3, MaskedEnv), 3, learning_starts=9, **ALL)
    train(agent, environments(3, MaskedEnv), 120, progress=False)
    assert isinstance(agent.exploration, RepeatedActions)
    assert agent.exploration.state.any()
    assert agent.replay.mask.array is not None
    assert not agent.replay.mask.array[: agent.replay.count].all()
    assert isinstance(agent.sampler, PrioritizedSampler)
    assert len(np.unique(agent.sampler.tree)) > 20
    assert agent.sampler.largest != 1.0


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Also in the middle of saving, which takes most of the time here."""
    finished = subprocess.run(
        [sys.executable, str(SCRIPT), "--trials", "2", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    text = (tmp_path / "resume.md").read_text()
    assert "2 of 2 killed runs ended on the same bits" in text


def test_an_environment_that_does_not_repeat_itself() -> None:
    env = chain()
    agent, history = agent_for(env), History()

    def in_mid_episode(agent: DQN, history: History) -> bool:
        return agent.steps >= 20 and not agent.replay.over

    train(agent, env, 40, history=history, on_step=in_mid_episode, progress=False)
    steps = agent.steps
    other = chain()
    half = np.full(3, 0.5, np.float32)
    other.observation = lambda: half  # type: ignore[method-assign]  # other ones
    with pytest.warns(
        RuntimeWarning, match="this run is not resumed exactly: after reset"
    ):
        train(agent, other, 20, history=history, progress=False)
    assert agent.steps == steps + 20


@pytest.mark.parametrize("difference", ["rewards", "an earlier end", "a later end"])
def test_an_environment_that_differs_in_what_no_observation_shows(
    difference: str,
) -> None:
    class Other(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            obs, reward, terminated, truncated, info = super().step(action)
            if difference == "rewards":
                reward = float(reward) + 0.5
            return (
                obs,
                reward,
                terminated,
                truncated or difference == "an earlier end",
                info,
            )

    env = TableEnv([[0, 0]], [[0, 1]], limit=5)  # one state alone
    agent, history = agent_for(env), History()
    at = 23 if difference != "a later end" else 25
    train(agent, env, at, history=history, progress=False)
    if difference == "a later end":  # as if the stored episode had not been cut
        agent.replay.over = False
        agent.replay.kind[agent.replay.kind == TRUNCATED] = STEP
        agent.episodes -= 1
    says = {
        "rewards": "gave the reward 0.5 in step 1 of the episode, where it was 0. Is",
        "an earlier end": "ended the episode in step 1 of it. Is it another version",
        "a later end": "ended the episode in step 5 of it. Is it another version",
    }
    exactly = f"this run is not resumed exactly: .* {says[difference]}"
    with pytest.warns(RuntimeWarning, match=exactly):
        train(agent, Other(env), 5, history=history, progress=False)


def test_a_history_that_another_episode_has_overtaken() -> None:
    agent, history = agent_for(chain()), History()
    train(agent, chain(), 22, history=history, progress=False)
    agent.begin(np.array([0.0, 1.0, 0.0]))  # someone plays with the agent on their own
    agent.observe(0, 0.0, np.array([0.0, 1.0, 0.0]), False, False)
    resets = agent.resets
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(agent, chain(), 1, history=history, progress=False)
    assert agent.resets == resets + 1
    assert history.unfinished[0].number == resets


@pytest.mark.parametrize("length", [30, 1000])
def test_an_episode_longer_than_the_buffer(length: int, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    env = TableEnv([[0, 0]], [[0, 1]], limit=length)
    agent, history = agent_for(env, buffer_size=10), History()
    train(agent, env, length - 5, history=history, progress=False)
    save(agent, path, history)
    agent, history = load_run(path)
    assert len(history) == 0
    assert accounted_steps(agent, history) == length - 5
    train(agent, env, length + 5, history=history, progress=False)
    assert history["length"].tolist() == [length, length]
    whole = agent_for(env, buffer_size=10)
    once = train(whole, env, 2 * length, progress=False)
    assert_same((agent, history), (whole, once))


def test_lanes_of_unequal_length_are_saved_after_every_step(tmp_path: Path) -> None:
    """A stream cut in all num_envs at once, one of them in a bridge, is valid too."""
    path = tmp_path / "checkpoint.safetensors"
    for stop in range(10, 40):
        env = SyncVectorEnv([chain, lambda: chain(limit=3)])
        agent = agent_for(env, 2)
        train(agent, env, stop, progress=False)
        train(agent, env, 6, progress=False)
        save(agent, path)
        assert load_run(path)[0].steps == agent.steps


def test_a_reset_that_fails_leaves_a_run_that_can_be_saved(tmp_path: Path) -> None:
    class Fails(gym.Wrapper[Any, Any, Any, Any]):
        resets = 0

        def reset(self, **arguments: Any) -> Any:
            self.resets += 1
            if self.resets == 5:
                raise RuntimeError("no more")
            return super().reset(**arguments)

    path = tmp_path / "checkpoint.safetensors"
    agent, history = agent_for(chain()), History()
    with pytest.raises(RuntimeError, match="no more"):
        train(agent, Fails(chain()), 60, history=history, progress=False)
    save(agent, path, history)
    agent, history = load_run(path)
    train(agent, chain(), 60 - agent.steps, history=history, progress=False)
    whole = agent_for(chain())
    assert_same((agent, history), (whole, train(whole, chain(), 60, progress=False)))


def test_episodes_that_end_together_are_saved_together(tmp_path: Path) -> None:
    """Their rows come at once, with the same updates: those since the last ones."""
    path = tmp_path / "checkpoint.safetensors"
    env = environments(3)
    agent = agent_for(env, 3)
    ended = []

    def watch(agent: DQN, history: History) -> None:
        if history.just_ended > 0:
            ended.append(history.just_ended)
            save(agent, path, history)
            saved = load_run(path)[1]
            assert len(saved) == len(history) == agent.episodes
            np.testing.assert_array_equal(saved.rows, history.rows)

    history = train(agent, env, 60, on_step=watch, progress=False)
    assert sum(ended) == len(history)
    assert max(ended) > 1
    steps = history["step"]
    for step in set(steps):
        of_step = history.rows[steps == step, 4:]
        np.testing.assert_array_equal(of_step, of_step[:1].repeat(len(of_step), axis=0))
    assert np.isfinite(history["loss"][5:]).all()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_watcher_that_fails_where_several_episodes_end_loses_none(
    error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    whole_agent = agent_for(environments(3), 3)
    whole = train(whole_agent, environments(3), 60, progress=False)
    together = np.unique(whole["step"], return_counts=True)
    assert max(together[1]) > 1
    for step in together[0][together[1] > 1]:
        agent, history = agent_for(environments(3), 3), History()

        def fail_there(agent: DQN, history: History, step: int = step) -> None:
            if agent.steps == step:
                raise error

        with pytest.raises(error):
            train(
                agent,
                environments(3),
                60,
                history=history,
                on_step=fail_there,
                progress=False,
            )
        save(agent, path, history)
        for again in (load_run(path), (agent, history)):  # a new process, and this one
            agent, history = again
            left = 60 - agent.steps
            train(agent, environments(3), left, history=history, progress=False)
            assert_same((whole_agent, whole), (agent, history))


def test_a_vector_that_resets_itself_starts_afresh_with_a_warning() -> None:
    env = SyncVectorEnv([chain, chain])
    agent, history = agent_for(env, 2), History()
    train(agent, env, 30, history=history, progress=False)
    steps = agent.steps
    with pytest.warns(
        RuntimeWarning, match="unfinished episodes of 2 environments start again"
    ):
        train(agent, env, 30, history=history, progress=False)
    assert agent.steps in (steps + 30, steps + 31)  # two at a time


class Faulty(gym.Wrapper[Any, Any, Any, Any]):
    """Does one thing wrong, once, in its 25th step."""

    def __init__(self, env: Any, fault: str) -> None:
        super().__init__(env)
        self.fault, self.steps = fault, 0
        self.shared = np.zeros(3, np.float32)

    def step(self, action: Any) -> Any:
        obs, reward, terminated, truncated, info = super().step(action)
        self.steps += 1
        if self.fault == "harmless":  # all of it legal, if careless
            self.shared[:] = obs
            return (
                self.shared,
                int(float(reward)),
                np.bool_(terminated),
                np.bool_(truncated),
                info,
            )
        if self.steps == 25:
            if self.fault == "nan":
                obs = np.array([0.0, np.nan, 0.0], np.float32)
            if self.fault == "shape":
                obs = np.zeros(4, np.float32)
            if self.fault == "reward":
                reward = math.inf
            if self.fault == "crash":
                raise RuntimeError("the simulator crashed")
        return obs, reward, terminated, truncated, info


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nan", r"step 25: observation has nan at index \(1,\): expected finite"),
        ("shape", r"step 25: observation has shape \(4,\): expected \(3,\)"),
        ("reward", "step 25: reward is inf, .*: expected a finite number"),
        ("crash", "the simulator crashed\nin step 25 of the run"),
    ],
)
def test_a_faulty_environment_poisons_nothing(
    fault: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    agent, history = agent_for(chain()), History()

    def save_at_20(agent: DQN, history: History) -> None:
        if agent.steps == 20:
            save(agent, path, history)

    with pytest.raises((ValueError, RuntimeError), match=message):
        train(agent, Faulty(chain(), fault), 60, history=history, on_step=save_at_20)
    assert agent.steps == 24
    assert np.isfinite(agent.replay.obs).all()

    agent, history = load_run(path)
    train(agent, chain(), 40, history=history, progress=False)
    whole = agent_for(chain())
    assert_same((agent, history), (whole, train(whole, chain(), 60, progress=False)))


def test_a_careless_environment_changes_nothing() -> None:
    agent, careful = agent_for(chain()), agent_for(chain())
    history = train(agent, Faulty(chain(), "harmless"), 60, progress=False)
    assert_same(
        (agent, history), (careful, train(careful, chain(), 60, progress=False))
    )


def test_another_history_starts_a_new_episode() -> None:
    env = chain()
    agent = agent_for(env)
    train(agent, env, 22, progress=False)
    resets = agent.resets
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(agent, env, 1, progress=False)
    assert agent.resets == resets + 1


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    """A limit on file size, which the system enforces, ends the write in the middle."""
    resource = pytest.importorskip(
        "resource", reason="Windows has no limit on file size"
    )
    path = tmp_path / "checkpoint.safetensors"
    agent, history = agent_for(chain()), History()
    train(agent, chain(), 30, history=history, progress=False)
    save(agent, path, history)
    train(agent, chain(), 30, history=history, progress=False)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save(agent, path, history)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == [path]
    assert load_run(path)[0].steps == 30


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_a_folder_that_must_not_be_written(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    agent, history = agent_for(chain()), History()
    train(agent, chain(), 30, history=history, progress=False)
    save(agent, path, history)
    tmp_path.chmod(0o500)
    user = os.geteuid()
    if user == 0:  # root may write anywhere
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError):
            save(agent, path, history)
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == [path]
    assert load_run(path)[0].steps == 30
