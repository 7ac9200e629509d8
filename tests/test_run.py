"""A run is one thing: made, gone on with, or read."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv

from minidqn import DQN, DQNConfig, History, LinearDecay, Spec, load, load_run, run
from minidqn.lab import outcome
from minidqn.lab import run as run_module
from minidqn.lab.compare import compare
from minidqn.lab.folder import (
    AGENT,
    CHECKPOINT,
    HISTORY,
    LOCK,
    RUN,
    SUMMARY,
    TESTS,
    InUseError,
    OtherRunError,
    locked,
)
from minidqn.lab.run import checkpoints, train_and_test
from minidqn.nn.layers import Array, Linear
from minidqn.nn.network import Network

FILES = {AGENT, CHECKPOINT, HISTORY, LOCK, RUN, SUMMARY, TESTS}


class Corridor(gym.Env[Array, Any]):
    """Seven cells; the exit at the right gives 1, a step costs 0.1. It draws nothing."""

    observation_space = Box(0.0, 6.0, (1,), np.float32)
    action_space: Any = Discrete(2)

    def observation(self) -> Array:
        return np.array([self.cell], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.cell = int(self.np_random.integers(3))
        self.steps = 0
        return self.observation(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        self.cell = max(self.cell + (1 if action == 1 else -1), 0)
        out = self.cell == 6
        reward = 1.0 if out else -0.1
        return self.observation(), reward, out, self.steps >= 30, {}


class Fragile(gym.Wrapper[Any, Any, Any, Any]):
    """Its step number `at` fails, in whichever process; a file says if it did already."""

    def __init__(self, env: Any, at: int, failed: Path) -> None:
        super().__init__(env)
        self.at = at
        self.failed = failed
        self.steps = 0

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.steps == self.at and not self.failed.exists():
            self.failed.touch()
            raise ValueError("the simulator is gone")
        return self.env.step(action)


class Doubled(gym.Wrapper[Any, Any, Any, Any]):
    """Other rewards, in training."""

    def step(self, action: Any) -> Any:
        obs, reward, *rest = self.env.step(action)
        return obs, 2.0 * float(reward), *rest


def corridor(**options: Any) -> Corridor:
    return Corridor(**options)


def fragile(at: int, failed: Path) -> Fragile:
    return Fragile(Corridor(), at, failed)


def small_network(space: Any, n_actions: int) -> Network:
    return Network([Linear(space.shape[0], 3, relu=True), Linear(3, n_actions)])


def saw(step: int) -> float:
    return 1.0 - step % 100 / 100


CONFIG = DQNConfig(
    hidden=(8,),
    n_step=2,
    batch_size=8,
    learning_starts=50,
    buffer_size=250,
    learning_rate=LinearDecay(1e-2, 0.0, 600),
    epsilon=LinearDecay(1.0, 0.1, 100),
)
SPEC = Spec("Corridor", CONFIG, 300, 4, make_env=corridor, test_episodes=5)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens, nothing is trained from here on."""

    def train(*_: Any, **__: Any) -> None:
        raise AssertionError("it trains")

    monkeypatch.setattr(run_module, "train", train)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What came of SPEC when nothing disturbed it."""
    folder = tmp_path_factory.mktemp("whole")
    result = run(SPEC, folder, progress=False)
    yield {"folder": folder, "result": result}
    assert result == json.loads((folder / SUMMARY).read_text())


def without_seconds(result: dict[str, Any]) -> dict[str, Any]:
    return {**result, "train_seconds": None}


def assert_as_whole(whole: dict[str, Any], folder: Path) -> None:
    """The same result, parameters, history and replay buffer, bit by bit."""
    result = json.loads((folder / SUMMARY).read_text())
    assert without_seconds(result) == without_seconds(whole["result"])
    for name in (AGENT, CHECKPOINT, HISTORY):
        assert (folder / name).read_bytes() == (whole["folder"] / name).read_bytes()


def test_a_run_is_made_once(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    result = run(SPEC, tmp_path / "it", progress=False)
    assert {path.name for path in (tmp_path / "it").iterdir()} == FILES
    assert (result["env_id"], result["seed"], result["steps"]) == ("Corridor", 4, 300)
    assert result["updates"] == 251  # one a step, from step 50 on
    assert result["eval_mean"] == pytest.approx(np.mean(result["eval_returns"]))
    assert len(result["eval_returns"]) == 5
    assert result["train_seconds"] > 0.0

    request.getfixturevalue("untrained")
    assert run(SPEC, tmp_path / "it", progress=False) == result


def test_the_last_policy_is_what_was_tested(whole: dict[str, Any]) -> None:
    policy = load(whole["folder"] / AGENT)
    agent, history = load_run(whole["folder"] / CHECKPOINT)
    np.testing.assert_array_equal(policy.online.params, agent.online.params)
    assert (policy.steps, agent.steps, agent.updates) == (0, 300, 251)
    assert agent.config == CONFIG
    lines = (whole["folder"] / HISTORY).read_text().splitlines()
    assert len(lines) == 1 + len(history)
    curve = whole["result"]["curve"]
    returns = curve["mean_return"]
    assert (len(returns), returns[0]) == (100, None)
    assert curve["steps"][-1] == 300
    assert returns[-1] == pytest.approx(history.mean_return(20))
    assert (whole["folder"] / AGENT).stat().st_size < 5_000


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_was_stopped_goes_on(
    tmp_path: Path, whole: dict[str, Any], number: int
) -> None:
    """In the middle of an episode, to the same bits."""

    def stop(agent: DQN, history: History) -> None:
        if agent.steps == 123:
            signal.raise_signal(number)

    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(SPEC, tmp_path, on_step=stop, progress=False)
    finally:
        signal.signal(number, before)
    agent, history = load_run(tmp_path / CHECKPOINT)
    assert agent.steps == 123
    assert len(history.unfinished[0].actions) > 0
    assert not (tmp_path / SUMMARY).exists()

    assert run(SPEC, tmp_path, progress=False)["train_seconds"] is None
    assert_as_whole(whole, tmp_path)


def test_a_run_that_was_killed_goes_on(tmp_path: Path, whole: dict[str, Any]) -> None:
    """From its last checkpoint; the kill itself leaves no time for another one."""
    code = """
import os, signal, sys
from pathlib import Path
from minidqn import run
from minidqn.lab import run as run_module
from tests.test_run import CHECKPOINT, SPEC

def kill(agent, history):
    if agent.steps == 200:
        os.kill(os.getpid(), signal.SIGKILL)

run_module.LEAST_SECONDS = 0.0
run(SPEC, sys.argv[1], on_step=kill, progress=False)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[1], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert load_run(tmp_path / CHECKPOINT)[0].steps < 200
    run(SPEC, tmp_path, progress=False)
    assert_as_whole(whole, tmp_path)


def test_an_environment_that_fails_costs_nothing(tmp_path: Path) -> None:
    """The run is saved as far as it has got, and goes on, without a row lost."""
    broken = partial(fragile, 180, tmp_path / "failed")
    spec = replace(SPEC, make_env=broken)
    with pytest.raises(ValueError, match="the simulator is gone") as error:
        run(spec, tmp_path / "it", progress=False)
    assert error.value.__notes__ == ["in step 180 of the run"]
    assert load_run(tmp_path / "it" / CHECKPOINT)[0].steps == 179
    result = run(spec, tmp_path / "it", progress=False)
    assert (result["steps"], result["updates"]) == (300, 251)
    history = load_run(tmp_path / "it" / CHECKPOINT)[1]
    assert history["length"].sum() == history["step"][-1] > 270


def test_a_run_whose_first_step_fails_leaves_a_free_folder(tmp_path: Path) -> None:
    folder = tmp_path / "it"
    spec = replace(SPEC, make_env=partial(fragile, 1, tmp_path / "failed"))
    with pytest.raises(ValueError, match="the simulator is gone"):
        run(spec, folder, progress=False)
    assert {path.name for path in folder.iterdir()} <= {LOCK}
    run(SPEC, folder, progress=False)  # another run may have it


def test_a_test_that_was_stopped_is_made_again(
    tmp_path: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outcome, "play_test", stop)
        with pytest.raises(KeyboardInterrupt):
            run(SPEC, tmp_path, progress=False)
    monkeypatch.setattr(run_module, "train", stop)  # there is nothing left to train
    run(SPEC, tmp_path, progress=False)
    assert_as_whole(whole, tmp_path)


def test_another_run_is_refused_and_what_differs_is_named(tmp_path: Path) -> None:
    run(SPEC, tmp_path, progress=False)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for other, message in (
        (replace(SPEC, seed=5), r"with seed 4 instead of 5: expected another folder"),
        (replace(SPEC, steps=400), r"steps 300 instead of 400"),
        (replace(SPEC, test_episodes=6), r"test_episodes 5 instead of 6"),
        (replace(SPEC, solved_at=0.5), r"solved_at None instead of 0.5"),
        (replace(SPEC, config=replace(CONFIG, gamma=0.5)), r"gamma 0.99 instead of 0"),
        (
            replace(SPEC, train_wrapper=Doubled),
            r"train_wrapper None instead of tests.t",
        ),
        (replace(SPEC, network=small_network), r"network None instead of tests.test_r"),
    ):
        with pytest.raises(OtherRunError, match=message):
            run(other, tmp_path, progress=False)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    run(replace(SPEC, name="another name"), tmp_path)  # is the same run


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(InUseError, match=f"{tmp_path} is in use"):
        run(SPEC, tmp_path, progress=False)
    refused = []

    def run_inside(agent: DQN, history: History) -> None:
        if agent.steps == 10:
            with pytest.raises(InUseError):
                run(SPEC, tmp_path, progress=False)
            refused.append(agent.steps)

    run(SPEC, tmp_path, on_step=run_inside, progress=False)
    assert refused == [10]


def test_watchers_change_nothing(tmp_path: Path, whole: dict[str, Any]) -> None:
    seen = []
    watchers = [
        lambda agent, history: seen.append(agent.steps),
        lambda agent, history: None,
    ]
    run(SPEC, tmp_path, on_step=watchers, progress=False)
    assert seen == list(range(1, 301))
    assert len(watchers) == 2  # the list is not touched
    assert_as_whole(whole, tmp_path)


def test_without_its_checkpoint(tmp_path: Path) -> None:
    for _ in range(2):
        run(SPEC, tmp_path, progress=False, keep_checkpoint=False)
        assert {path.name for path in tmp_path.iterdir()} == FILES - {CHECKPOINT}


def test_a_network_of_one_s_own_and_a_schedule_too(tmp_path: Path) -> None:
    config = replace(CONFIG, hidden=DQNConfig.hidden, epsilon=saw)
    spec = replace(SPEC, network=small_network, config=config)
    result = run(spec, tmp_path / "whole", progress=False)
    assert result["network"] == "tests.test_run.small_network"
    assert result["epsilon"] == "tests.test_run.saw"
    stopped = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        run(spec, stopped, on_step=interrupt_at(150), progress=False)
    assert not (stopped / SUMMARY).exists()
    resumed = run(spec, stopped, progress=False)
    assert without_seconds(resumed) == without_seconds(result)
    policy = load(tmp_path / "whole" / AGENT, network=small_network, epsilon=saw)
    assert policy.online.layers[0].size == 6


def interrupt_at(step: int) -> Any:
    def watch(agent: DQN, history: History) -> None:
        if agent.steps == step:
            signal.raise_signal(signal.SIGINT)

    return watch


def test_a_watcher_does_not_end_a_run(tmp_path: Path, whole: dict[str, Any]) -> None:
    """With fewer steps it would be another one, in the folder of this."""
    run(SPEC, tmp_path, on_step=lambda agent, history: True, progress=False)
    assert_as_whole(whole, tmp_path)


def test_a_signal_that_ends_nothing_ends_no_run(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    """Whoever has a handler that returns does not get half a run for a whole one."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))

    def watch(agent: DQN, history: History) -> None:
        if agent.steps in (100, 200):
            signal.raise_signal(signal.SIGTERM)

    try:
        run(SPEC, tmp_path, on_step=watch, progress=False)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM, signal.SIGTERM]
    assert_as_whole(whole, tmp_path)


# --- Runs that begin with a saved agent


@pytest.mark.filterwarnings("ignore:epsilon is 1 again")
def test_a_run_that_begins_with_a_policy(tmp_path: Path, whole: dict[str, Any]) -> None:
    """It starts at step 0, with an empty replay buffer, the run's seed and settings."""
    saved = whole["folder"] / AGENT
    config = replace(CONFIG, learning_rate=1e-3, buffer_size=400)
    spec = replace(SPEC, start=saved, config=config, seed=9, steps=120)
    begun: dict[str, Any] = {}

    def look(agent: DQN, history: History) -> None:
        if agent.steps == 1:
            begun["params"] = agent.online.params.copy()
            begun["about"] = (agent.seed, agent.updates, len(history), agent.config)

    result = run(spec, tmp_path, on_step=look, progress=False)
    np.testing.assert_array_equal(begun["params"], load(saved).online.params)
    assert begun["about"] == (9, 0, 0, config)
    assert (result["seed"], result["steps"], result["updates"]) == (9, 120, 71)
    other = run(replace(spec, seed=10), tmp_path / "other", progress=False)
    assert other["params_sha256"] != result["params_sha256"]


def test_a_run_that_begins_with_a_whole_one_goes_on_with_it(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    start = whole["folder"] / CHECKPOINT
    spec = replace(SPEC, start=start, steps=450)
    result = run(spec, tmp_path / "longer", progress=False)
    assert (result["steps"], result["updates"]) == (450, 401)
    straight = run(replace(SPEC, steps=450), tmp_path / "straight", progress=False)
    assert result["params_sha256"] == straight["params_sha256"]
    assert result["eval_returns"] == straight["eval_returns"]
    assert result["curve"] == straight["curve"]
    # another agent to begin with makes it another run
    other = replace(spec, start=whole["folder"] / AGENT)
    with pytest.raises(OtherRunError, match="start "):
        run(other, tmp_path / "longer", progress=False)


def test_what_a_saved_agent_cannot_do_is_known_before(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    spec = replace(SPEC, start=whole["folder"] / AGENT)
    spec.check()
    with pytest.raises(ValueError, match=r"hidden is \(3,\): expected \(8,\), which t"):
        replace(spec, config=replace(CONFIG, hidden=(3,))).check()
    with pytest.raises(ValueError, match="the environment's spaces are"):
        replace(spec, env_id="CartPole-v1", make_env=None).check()
    with pytest.raises(FileNotFoundError):
        replace(spec, start=tmp_path / "nothing").check()
    start = whole["folder"] / CHECKPOINT
    spec = replace(SPEC, start=start, steps=301)
    spec.check()
    with pytest.raises(ValueError, match="steps is 300: expected more than the 300 st"):
        replace(spec, steps=300).check()


# --- The end of a run


def test_it_ends_when_it_is_solved(tmp_path: Path) -> None:
    """The last 20 returns decide; of a run that was stopped, too."""
    spec = replace(SPEC, steps=3000, solved_at=0.2, until_solved=True)
    result = run(spec, tmp_path / "whole", progress=False)
    assert result["steps"] < 3000
    _, history = load_run(tmp_path / "whole" / CHECKPOINT)
    assert history.mean_return(20) >= 0.2
    assert history["step"][-1] == result["steps"]
    earlier = [
        history["episode_return"][end - 20 : end].mean()
        for end in range(20, len(history))
    ]
    assert max(earlier) < 0.2

    stopped = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        run(spec, stopped, on_step=interrupt_at(200), progress=False)
    resumed = run(spec, stopped, progress=False)
    assert without_seconds(resumed) == without_seconds(result)


def test_a_run_that_begins_with_a_solved_one_has_a_checkpoint(tmp_path: Path) -> None:
    """No step is taken; but its files are those of any run."""
    spec = replace(SPEC, steps=3000, solved_at=0.2, until_solved=True)
    first = run(spec, tmp_path / "first", progress=False)
    start = tmp_path / "first" / CHECKPOINT
    result = run(replace(spec, start=start), tmp_path / "again", progress=False)
    assert {path.name for path in (tmp_path / "again").iterdir()} == FILES
    assert result["params_sha256"] == first["params_sha256"]
    again, history = load_run(tmp_path / "again" / CHECKPOINT)
    assert again.steps == first["steps"]
    assert history.mean_return(20) >= 0.2


def test_the_test_is_as_the_spec_says(tmp_path: Path) -> None:
    never_out = replace(CONFIG, learning_rate=1e-9)  # it learns nothing
    spec = replace(
        SPEC, config=never_out, test_episodes=3, test_max_steps=7, test_epsilon=0.5
    )
    with pytest.warns(RuntimeWarning, match="of 3 episodes had not ended after 7 st"):
        result = run(spec, tmp_path, progress=False)
    assert len(result["eval_returns"]) == 3
    assert min(result["eval_returns"]) >= -0.1 * 8


def test_what_no_run_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("steps", 0), ("test_episodes", 0), ("test_max_steps", 0)):
        with pytest.raises(ValueError, match=f"{name} is 0: expected an integer of 1"):
            replace(SPEC, **{name: value})  # type: ignore[arg-type]  # any of them
    with pytest.raises(ValueError, match=r"test_epsilon is 2\.0: expected 0 to 1"):
        replace(SPEC, test_epsilon=2)
    with pytest.raises(ValueError, match="until_solved: expected no train_wrapper"):
        replace(SPEC, until_solved=True, train_wrapper=Doubled)
    with pytest.raises(ValueError, match="steps is 20: expected learning_starts, 50"):
        replace(SPEC, steps=20).check()
    with pytest.raises(gym.error.NameNotFound, match=r"mean: `CartPole`\?$"):
        replace(SPEC, env_id="CartPloe-v1", make_env=None).check()
    says = r"exist\. If a module of yours registers it: my_module:Depot-v0$"
    with pytest.raises(gym.error.NameNotFound, match=says):
        replace(SPEC, env_id="Depot-v0", make_env=None).check()
    with pytest.raises(gym.error.NameNotFound, match=r"exist\.(?!.*module of)"):
        replace(SPEC, env_id="DepotNoFrameskip-v0", make_env=None).check()
    with pytest.raises(ValueError, match="conv"):
        replace(SPEC, config=replace(CONFIG, conv=((8, 3, 1),))).check()


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_run_in_several_environments(wrapped: bool, tmp_path: Path) -> None:
    """Gymnasium's own vector environment, unless something is added to it."""
    wrapper = Doubled if wrapped else None
    spec = Spec("CartPole-v1", CONFIG, 400, num_envs=4, train_wrapper=wrapper)
    with closing(spec.make_training()) as env:
        assert isinstance(env, SyncVectorEnv) == wrapped
    result = run(spec, tmp_path, progress=False)
    agent, history = load_run(tmp_path / CHECKPOINT)
    assert (agent.replay.num_envs, result["num_envs"]) == (4, 4)
    assert 400 <= agent.steps < 404
    assert len(history) > 4
    with pytest.raises(ValueError, match="num_envs is 0: expected an integer of 1 or"):
        replace(spec, num_envs=0)


def test_a_stopped_run_in_several_environments_resumes_exactly(tmp_path: Path) -> None:
    spec = replace(SPEC, num_envs=3)
    whole = run(spec, tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        run(spec, tmp_path / "stopped", on_step=interrupt_at(150), progress=False)
    agent, _ = load_run(tmp_path / "stopped" / CHECKPOINT)
    assert 150 <= agent.steps < 300
    resumed = run(spec, tmp_path / "stopped", progress=False)
    assert without_seconds(resumed) == without_seconds(whole)


def test_environments_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    monkeypatch.setattr(Corridor, "close", lambda self: closed.append(self))
    SPEC.check()
    assert len(closed) == 1
    run(SPEC, tmp_path / "a", progress=False)
    # the check's, training's, that of tests during it, and the test's
    assert len(closed) == 5
    spec = replace(SPEC, make_env=partial(fragile, 9, tmp_path / "failed"))
    with pytest.raises(ValueError, match="the simulator is gone"):
        run(spec, tmp_path / "b", progress=False)
    assert len(closed) == 8  # the check's, training's, and that of tests during it


# --- Checkpoints


def test_checkpoints_take_at_most_their_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock by hand: a step takes 0.1 s, and saving 3 s."""
    clock = 0.0
    saved = []

    def save(agent: Any, path: Path, history: History) -> None:
        nonlocal clock
        saved.append(clock)
        clock += 3.0

    monkeypatch.setattr("time.perf_counter", lambda: clock)
    monkeypatch.setattr(run_module, "save", save)
    watch: Any = checkpoints(tmp_path / CHECKPOINT, share=0.1)
    while clock < 300.0:
        clock += 0.1
        watch(None, None)
    assert 1.0 <= saved[0] < 1.2  # the first is written soon
    assert 8 <= len(saved) <= 10
    assert 3.0 * len(saved) <= 0.1 * 300.0


def test_a_quick_checkpoint_waits_for_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    saved = []
    monkeypatch.setattr("time.perf_counter", lambda: clock)
    monkeypatch.setattr(run_module, "save", lambda *_: saved.append(clock))
    watch: Any = checkpoints(tmp_path / CHECKPOINT, share=0.02)
    while clock < 10.0:
        clock += 0.125
        watch(None, None)
    assert saved == list(range(1, 11))


def test_a_task_may_be_called_without_the_rest(tmp_path: Path) -> None:
    """As a sweep does: it neither writes the result nor holds the folder."""
    result = train_and_test(SPEC, tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {AGENT, CHECKPOINT, HISTORY, TESTS}
    assert result["steps"] == 300


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_what_has_ended_can_be_read_where_nobody_may_write(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes((whole["folder"] / name).read_bytes())
    (tmp_path / LOCK).unlink()
    tmp_path.chmod(0o555)
    try:
        assert run(SPEC, tmp_path, progress=False) == whole["result"]
        assert not (tmp_path / LOCK).exists()
    finally:
        tmp_path.chmod(0o755)


def test_a_result_names_the_matrix_products_of_numpy_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenCV, which Gymnasium loads for Atari, brings a library of its own."""
    numpy, other = str(Path(np.__file__).parent.resolve()), "/lib/opencv.libs/openblas"

    def loaded(*paths: str) -> list[str]:
        """What a result says if these libraries are in memory."""
        libraries = [
            {
                "user_api": "blas",
                "internal_api": "openblas",
                "version": f"1.{number}",
                "filepath": path,
            }
            for number, path in enumerate(paths)
        ]
        monkeypatch.setattr(outcome, "threadpool_info", lambda: libraries)
        return outcome.blas()

    assert loaded(other, f"{numpy}.libs/openblas.so") == ["openblas 1.1 "]
    assert loaded(f"{numpy}/.dylibs/openblas.so", other) == ["openblas 1.0 "]
    assert loaded(other) == ["openblas 1.0 "], "NumPy may use one of the system"


def test_a_run_that_cannot_begin_leaves_no_folder(tmp_path: Path) -> None:
    unknown = replace(SPEC, env_id="Nope-v0", make_env=None)
    with pytest.raises(gym.error.NameNotFound):
        run(unknown, tmp_path / "it", progress=False)
    assert not (tmp_path / "it").exists()


def test_numbers_and_paths_as_one_writes_them(tmp_path: Path) -> None:
    spec = replace(SPEC, steps=3e2, start=str(tmp_path / "agent"))  # type: ignore[arg-type]  # are converted
    assert (spec.steps, type(spec.steps)) == (300, int)
    assert spec.start == tmp_path / "agent"
    for name, value, expected in (
        ("steps", "500", "an integer"),
        ("steps", 2.5, "an integer"),
        ("seed", "1", "an integer"),
        ("env_id", None, "a str"),
        ("config", {}, "a DQNConfig"),
    ):
        says = f"{name} is {value!r}: expected {expected}"
        with pytest.raises((TypeError, ValueError), match=says):
            replace(SPEC, **{name: value})  # type: ignore[arg-type]  # each is wrong


def test_a_test_that_was_cut_does_not_count_as_solved(tmp_path: Path) -> None:
    """Each step costs a little here, so a short episode looks like a good one."""
    spec = replace(SPEC, test_max_steps=2, solved_at=-10.0)
    with pytest.warns(RuntimeWarning, match="had not ended after 2 steps"):
        result = run(spec, tmp_path, progress=False)
    assert result["eval_cut"] == 5
    assert result["eval_mean"] > -10.0
    table, _ = compare([result])
    assert "0 of 1 from -10" in table
