"""Many runs: that none is lost, and that each is what it would be alone."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from minidqn import DQNConfig, History, load, read_results
from minidqn.lab import sweep as module
from minidqn.lab.folder import InUseError, OtherRunError, is_in_use, locked
from minidqn.lab.jobs import identity_of
from minidqn.lab.outcome import learning_curve
from minidqn.lab.processes import Processes
from minidqn.lab.run import once, run, train_and_test
from minidqn.lab.spec import Spec
from minidqn.lab.sweep import sweep

ROOT = Path(__file__).parent.parent
CONFIG = DQNConfig(hidden=(8,), batch_size=16, learning_starts=50, buffer_size=500)
STEPS = 300


def specs(count: int, **options: Any) -> list[Spec]:
    return [
        Spec("CartPole-v1", CONFIG, STEPS, seed, test_episodes=2, **options)
        for seed in range(count)
    ]


def quietly(*args: Any, **options: Any) -> list[dict[str, Any]]:
    """All results of a sweep, by name."""
    found = list(sweep(*args, progress=False, **({"workers": 2} | options)))
    return sorted(found, key=lambda result: result["name"])


def alone(spec: Spec, folder: Path) -> dict[str, Any]:
    return run(spec, folder, progress=False, keep_checkpoint=False)


def timeless(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: r[key] for key in r if key != "train_seconds"} for r in results]


class Note:
    """A spec of a task that needs no agent."""

    def __init__(self, name: str, value: float = 0.0) -> None:
        self.name = name
        self.value = value

    def about(self) -> dict[str, Any]:
        return {"value": self.value}


def notes(count: int) -> list[Note]:
    return [Note(f"notes/{i:03}", float(i)) for i in range(count)]


def write_down(note: Note, folder: Path) -> dict[str, Any]:
    (folder / "note.txt").write_text(str(note.value))
    return {"eval_mean": note.value}


class AtOnce(Executor):
    """Answers before it is asked twice; remembers how many were asked."""

    def __init__(self) -> None:
        self.submitted = 0

    def submit(
        self, function: Callable[..., Any], /, *args: Any, **_: Any
    ) -> Future[Any]:
        self.submitted += 1
        future: Future[Any] = Future()
        future.set_result(function(*args))
        return future


def test_each_run_is_what_it_is_alone(tmp_path: Path) -> None:
    together = quietly(specs(3), tmp_path / "together")
    each = [alone(spec, tmp_path / "alone" / spec.name) for spec in specs(3)]
    assert timeless(together) == timeless(each)
    assert len({result["params_sha256"] for result in each}) == 3
    first = each[0]
    assert (first["name"], first["seed"], first["steps"]) == ("CartPole-v1/0", 0, STEPS)
    assert (first["batch_size"], first["test_episodes"]) == (16, 2)
    assert len(first["curve"]["steps"]) == 100
    folder = tmp_path / "together" / "CartPole-v1" / "0"
    left = {file.name for file in folder.iterdir()}
    files = {"agent.safetensors", "history.csv", "tests.csv", "run.json"}
    files |= {"summary.json", ".lock"}
    assert left == files
    assert load(folder / "agent.safetensors").config == CONFIG
    assert json.loads((folder / "summary.json").read_text()) == together[0]
    assert json.loads((folder / "run.json").read_text()) == specs(1)[0].identity()
    assert read_results(tmp_path / "together") == together


class Wrapped(gym.Wrapper[Any, Any, Any, Any]):
    """Around the environment of training only."""


def test_a_run_is_tested_as_its_spec_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests: list[Any] = []

    def play_test(
        agent: Any, env: Any, episodes: int, seed: int, epsilon: float, **options: Any
    ) -> Any:
        is_wrapped = isinstance(env, Wrapped)
        tests.append((is_wrapped, agent.steps, episodes, seed, epsilon, options))
        returns = np.arange(float(episodes))
        return returns, returns, 0

    monkeypatch.setattr("minidqn.lab.outcome.play_test", play_test)
    spec = replace(specs(6)[5], train_wrapper=Wrapped, test_epsilon=0.25)
    spec = replace(spec, test_max_steps=77)
    with spec.make(training=True) as env:
        assert isinstance(env, Wrapped)
    assert alone(spec, tmp_path)["eval_mean"] == 0.5
    options = {"max_steps": 77, "reseed": True, "progress": False}
    assert tests == [(False, STEPS, 2, 5, 0.25, options)]


def test_a_point_of_the_curve_is_the_mean_of_the_last_20_episodes_by_then() -> None:
    history = History()
    for number in range(40):  # they end at steps 8, 16, ... 320, and the run at 400
        history.add_episode(8 * (number + 1), 0.5, float(number**2), 8)
    curve = learning_curve(history, 400)
    assert curve["steps"] == list(range(4, 401, 4))
    for point, moment in zip(curve["mean_return"], curve["steps"], strict=True):
        returns = [number**2 for number in range(40) if 8 * (number + 1) <= moment]
        expected = pytest.approx(np.mean(returns[-20:])) if returns else None
        assert point == expected, moment


# --- What has ended


def fail(note: Any, folder: Path) -> dict[str, Any]:
    raise ArithmeticError(f"no result of {note.name}")


def count_calls(note: Note, folder: Path) -> dict[str, Any]:
    """It fails where there is a file "fail" beside."""
    if (folder.parent / "fail").exists():
        raise ArithmeticError(f"no result of {note.name}")
    with (folder.parent / "calls").open("a") as file:
        file.write(f"{note.name} ")
    return {"eval_mean": note.value}


def test_what_has_ended_is_not_run_again(tmp_path: Path) -> None:
    options: Any = {"executor": AtOnce(), "task": count_calls}
    before = quietly(notes(3), tmp_path, **options)
    (tmp_path / "notes" / "001" / "summary.json").unlink()
    (tmp_path / "notes" / "fail").touch()
    after = quietly(notes(5), tmp_path, **options)
    assert ["failed" in result for result in after] == [False, True, False, True, True]
    assert after[0] == before[0]
    assert "ArithmeticError: no result of notes/001" in after[1]["failed"]
    (tmp_path / "notes" / "fail").unlink()
    again = quietly(notes(5), tmp_path, **options)
    assert [result["eval_mean"] for result in again] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert again[0] == before[0]
    calls = (tmp_path / "notes" / "calls").read_text().split()
    assert sorted(calls) == sorted(
        f"notes/{number}" for number in ("000", "001", "001", "002", "003", "004")
    )
    quietly(notes(5), tmp_path, **options)
    assert options["executor"].submitted == 3 + 3 + 3


def test_results_are_read_where_nobody_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The root user may write anywhere, so writing is made to fail here."""
    before = quietly(notes(3), tmp_path, task=write_down, executor=AtOnce())

    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    for name in ("FileLock", "replacing", "Path.mkdir"):
        monkeypatch.setattr(f"minidqn.lab.folder.{name}", read_only)
    assert quietly(notes(3), tmp_path, task=write_down) == before
    assert quietly(iter(notes(3)), tmp_path, task=write_down) == before
    assert read_results(tmp_path) == before
    with pytest.raises(OSError, match="Read-only"):
        quietly(notes(4), tmp_path, task=write_down)


def test_a_folder_may_get_another_name(tmp_path: Path) -> None:
    [before] = quietly([Note("a/0")], tmp_path, task=write_down, executor=AtOnce())
    (tmp_path / "a").rename(tmp_path / "b")
    [after] = quietly([Note("b/0")], tmp_path, task=write_down, executor=AtOnce())
    assert after == before | {"name": "b/0"}


def test_reading_results_makes_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = quietly(specs(2), tmp_path)
    monkeypatch.setattr(Spec, "make", None)
    assert quietly(specs(2), tmp_path) == before


# --- Workers that die


def die_of_one(how: str, note: Note, folder: Path) -> dict[str, Any]:
    """The process of note 1 dies, every time."""
    if note.value == 1.0:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
    return {"eval_mean": note.value}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("killed", "ended by signal 9, Killed"),
        ("ends by itself", "ended with exit code 0"),  # Pebble would wait for ever
    ],
)
def test_a_run_that_always_ends_its_worker_is_given_up_and_no_other(
    tmp_path: Path, how: str, message: str
) -> None:
    task = partial(die_of_one, how)
    zero, one, two = quietly(notes(3), tmp_path, task=task, attempts=2)
    assert re.match(rf"2 times: ProcessDiedError\(.* was {message}'\)$", one["failed"])
    assert (zero["eval_mean"], two["eval_mean"]) == (0.0, 2.0)
    assert not (tmp_path / "notes" / "001" / "summary.json").exists()
    # it has left nothing that forbids another run
    result = quietly(notes(3)[1:2], tmp_path, task=write_down)
    assert result[0]["eval_mean"] == 1.0


class DiesOnce(gym.Wrapper[Any, Any, Any, Any]):
    """Kills its process at the given step, if no process has died of it before."""

    def __init__(self, env: Any, file: Path, at: int) -> None:
        super().__init__(env)
        self.file = file
        self.left = at

    def step(self, action: Any) -> Any:
        self.left -= 1
        if self.left == 0 and not self.file.exists():
            self.file.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


def dies_once(env: Any, file: Path) -> Any:
    return DiesOnce(env, file, 200)


def with_many_checkpoints(spec: Spec, folder: Path) -> dict[str, Any]:
    """The run with a checkpoint after each step."""
    import minidqn.lab.run as of_run

    of_run.LEAST_SECONDS = 0.0
    return train_and_test(spec, folder, share=1.0)


def test_a_killed_worker_costs_only_what_came_after_the_checkpoint(
    tmp_path: Path,
) -> None:
    """And the run ends on the bits on which it would have ended."""
    wrapper = partial(dies_once, file=tmp_path / "died")
    both = [*specs(1, train_wrapper=wrapper), *specs(2)[1:]]
    dead, other = quietly(both, tmp_path, task=with_many_checkpoints)
    assert (tmp_path / "died").exists()
    expected = alone(specs(1)[0], tmp_path / "alone")
    assert dead["params_sha256"] == expected["params_sha256"]
    assert dead["curve"] == expected["curve"]
    assert dead["train_seconds"] is None  # it was resumed, not begun again
    assert other["train_seconds"] > 0.0


def test_a_checkpoint_at_the_last_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after its last checkpoint, before its result."""
    [spec] = specs(1)
    with monkeypatch.context() as patch:
        patch.setattr("minidqn.lab.outcome.play_test", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            alone(spec, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
    # one that was killed before has left this
    (tmp_path / "run" / f"checkpoint.safetensors.{16 * 'a'}.tmp").touch()
    result = alone(spec, tmp_path / "run")
    assert result["eval_mean"] == alone(spec, tmp_path / "other")["eval_mean"]
    assert list((tmp_path / "run").glob("checkpoint*")) == []


# --- Sweeps that are stopped


def start_script(folder: Path, *lines: str) -> subprocess.Popen[str]:
    """A script in a process of its own; the lines stand below its guard."""
    body = "".join(f"    {line}\n" for line in lines)
    (folder / "script.py").write_text(
        f"from tests.test_sweep import *\nif __name__ == '__main__':\n{body}"
    )
    return subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def open_files() -> str:
    """All files that a process has open: a lock, for as long as a run goes on."""
    lines = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            lines += [str(file.readlink()) for file in (folder / "fd").iterdir()]
    return "\n".join(lines)


def test_a_stopped_sweep_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    runs = [replace(spec, steps=4000) for spec in specs(2)]
    sweeping = start_script(
        tmp_path,
        "runs = [replace(spec, steps=4000) for spec in specs(2)]",
        "quietly(runs, 'out', task=with_many_checkpoints)",
    )
    files = [out / f"CartPole-v1/{i}/checkpoint.safetensors" for i in range(2)]
    wait_until(
        lambda: sweeping.poll() is not None or any(file.exists() for file in files)
    )
    assert sweeping.poll() is None
    with pytest.raises(InUseError, match=r"is in use: expected no other run there"):
        quietly(notes(1), out, task=write_down)
    sweeping.kill()
    sweeping.communicate()
    wait_until(lambda: str(out) not in open_files())
    assert not (out / "CartPole-v1/0/summary.json").exists()
    results = quietly(runs, out, task=with_many_checkpoints)
    expected = quietly(runs, tmp_path / "other")
    assert any(result["train_seconds"] is None for result in results)
    assert timeless(results) == timeless(expected)


def test_two_processes_into_one_folder(tmp_path: Path) -> None:
    """One makes the runs, and the other says so; or it finds them all made."""
    lines = (
        "runs = [replace(spec, steps=3000) for spec in specs(2)]",
        "print(json.dumps(quietly(runs, 'out', workers=1)))",
    )
    both = [start_script(tmp_path, *lines) for _ in range(2)]
    found = []
    for process in both:
        output, errors = process.communicate(timeout=100)
        if process.returncode == 0:
            found.append(json.loads(output))
        else:
            last = errors.splitlines()[-1]
            assert "InUseError" in last
            assert "out is in use: expected no other run there" in last
    assert found
    runs = [replace(spec, steps=3000) for spec in specs(2)]
    expected = quietly(runs, tmp_path / "other")
    for results in found:
        assert timeless(results) == timeless(expected)
    assert timeless(read_results(tmp_path / "out")) == timeless(expected)


def test_an_abandoned_sweep_ends_its_processes(tmp_path: Path) -> None:
    long = replace(specs(1)[0], steps=10**6, name="long")
    results = sweep([*specs(1), long], tmp_path, workers=2)
    first = next(results)
    assert first["name"] == "CartPole-v1/0"
    results.close()  # the long run takes minutes
    assert not (tmp_path / "long" / "summary.json").exists()
    assert str(tmp_path) not in open_files()
    with locked(tmp_path), locked(tmp_path / "long"):
        pass


def test_a_script_that_ends_ends_its_sweep(tmp_path: Path) -> None:
    sweeping = start_script(
        tmp_path,
        "long = [replace(spec, steps=10**6) for spec in specs(2)]",
        "results = sweep([*notes(1), *long], 'out', task=note_or_run, workers=2)",
        "print(next(results)['name'])",
    )
    output, _ = sweeping.communicate(timeout=60)
    assert output.strip() == "notes/000"
    wait_until(lambda: str(tmp_path) not in open_files())


def note_or_run(spec: Any, folder: Path) -> dict[str, Any]:
    if isinstance(spec, Note):
        return write_down(spec, folder)
    return train_and_test(spec, folder)


def test_what_has_ended_is_kept_when_the_sweep_is_closed(tmp_path: Path) -> None:
    results = sweep(
        notes(5), tmp_path, shared=False, executor=AtOnce(), task=write_down
    )
    next(results)
    results.close()
    assert len(list(tmp_path.glob("notes/*/summary.json"))) == 5
    assert len(list(tmp_path.glob("notes/*/run.json"))) == 5


def wait_a_second(note: Note, folder: Path) -> dict[str, Any]:
    time.sleep(1.0)
    return {"eval_mean": note.value}


@pytest.mark.parametrize("seconds", [0.0, 0.002, 0.02])
def test_a_sweep_that_ends_while_its_processes_are_starting(
    tmp_path: Path, seconds: float
) -> None:
    def generate() -> Iterator[Note]:
        yield from notes(1)
        time.sleep(seconds)
        raise ArithmeticError("no more specs")

    with pytest.raises(ArithmeticError, match="no more specs"):
        quietly(generate(), tmp_path, task=wait_a_second)
    assert not is_in_use(tmp_path)


def test_a_sweep_may_end_in_another_thread(tmp_path: Path) -> None:
    results = sweep(
        notes(2), tmp_path, executor=AtOnce(), task=write_down, progress=False
    )
    next(results)
    with ThreadPoolExecutor(1) as pool:
        assert len(pool.submit(list, results).result()) == 1
    with locked(tmp_path):
        pass


# --- By value


def test_results_come_back_by_value(tmp_path: Path) -> None:
    [result] = quietly(specs(1), tmp_path, shared=False, policies=True)
    folder = tmp_path / "CartPole-v1" / "0"
    files = {"agent.safetensors", "run.json", "summary.json"}
    assert {file.name for file in folder.iterdir()} == files
    assert result == json.loads((folder / "summary.json").read_text())
    assert load(folder / "agent.safetensors").seed == 0
    assert timeless([result]) == timeless([alone(specs(1)[0], tmp_path / "alone")])
    again = quietly(specs(1), tmp_path, shared=False, executor=AtOnce())
    assert again == [result]
    assert quietly(specs(1), tmp_path, executor=AtOnce()) == [result]
    other = replace(specs(1)[0], config=replace(CONFIG, gamma=0.5))
    with pytest.raises(OtherRunError, match=r"with gamma 0\.99 instead of 0\.5: "):
        sweep([other], tmp_path, shared=False)
    quietly(notes(1), tmp_path / "notes", shared=False, task=write_down)
    assert not (tmp_path / "notes" / "notes" / "000" / "note.txt").exists()


class Tuples(Note):
    def about(self) -> dict[str, Any]:
        return {"value": (1, 2)}


def odd(note: Note, folder: Path) -> dict[str, Any]:
    return {"eval_mean": np.float32(0.5), "x": np.arange(3), "name": "another"}


@pytest.mark.parametrize("shared", [True, False])
def test_results_need_not_be_json(tmp_path: Path, shared: bool) -> None:
    expected = {"name": "a/0", "value": [1, 2], "eval_mean": 0.5, "x": [0, 1, 2]}
    for _ in range(2):
        assert quietly([Tuples("a/0")], tmp_path, task=odd, shared=shared) == [expected]


def a_path(note: Note, folder: Path) -> dict[str, Any]:
    return {"where": folder}


def test_a_result_that_json_cannot_hold_is_a_failure_of_that_run(
    tmp_path: Path,
) -> None:
    [result] = quietly(notes(1), tmp_path, task=a_path, executor=AtOnce())
    assert "is a PosixPath: expected numbers, texts, lists" in result["failed"]


# --- How they are handed out


def test_it_reads_no_more_specs_than_it_submits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SUBMITTED", 5)
    read: list[str] = []

    def generate() -> Iterator[Note]:
        for note in notes(40):
            read.append(note.name)
            yield note

    executor = AtOnce()
    ahead = []
    results = sweep(
        generate(), tmp_path, executor=executor, task=write_down, progress=False
    )
    for number, _ in enumerate(results):
        ahead.append(len(read) - number)
    assert len(ahead) == executor.submitted == 40
    assert max(ahead) <= 6


def test_known_results_are_shown_while_it_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quietly(notes(1), tmp_path, task=wait_a_second, executor=AtOnce())
    with ThreadPoolExecutor(1) as pool:
        list(sweep(notes(2), tmp_path, executor=pool, task=wait_a_second))
    assert " 1/2 " in capsys.readouterr().err


def test_the_bar_has_no_mean_over_different_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    list(sweep(notes(2), tmp_path, task=write_down, executor=AtOnce()))
    shown = capsys.readouterr().err
    assert " 2/2 " in shown
    assert "mean" not in shown


def test_as_many_processes_as_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[Any] = []

    class Counted(AtOnce):
        def __init__(self, count: int | None) -> None:
            super().__init__()
            counts.append(count)

    monkeypatch.setattr(module, "Processes", Counted)
    quietly(notes(1), tmp_path, task=write_down, workers=3)
    quietly(notes(1), tmp_path, task=write_down, workers=None)
    assert counts == [3, None]


def test_an_executor_of_one_s_own_goes_on_after_the_sweep(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        for folder in ("one", "two"):
            quietly(notes(1), tmp_path / folder, executor=pool, task=write_down)


def test_an_executor_that_was_shut_down(tmp_path: Path) -> None:
    pool = ThreadPoolExecutor(1)
    results = sweep(specs(2), tmp_path, executor=pool, progress=False)
    pool.shutdown()
    with pytest.raises(RuntimeError, match=r"takes no more runs; .*kept: sweep again"):
        next(results)


class Broken(AtOnce):
    """Its workers have died: it fails what it has, and takes no more."""

    def submit(
        self, function: Callable[..., Any], /, *args: Any, **_: Any
    ) -> Future[Any]:
        if self.submitted:
            raise RuntimeError("broken")
        self.submitted += 1
        future: Future[Any] = Future()
        future.set_exception(BrokenExecutor("all workers died"))
        return future


def test_a_broken_executor_ends_the_sweep_even_if_a_run_has_one_attempt(
    tmp_path: Path,
) -> None:
    with pytest.raises(
        RuntimeError, match="takes no more runs; the results so far are kept"
    ):
        quietly(notes(1), tmp_path, task=write_down, executor=Broken(), attempts=1)


# --- What is refused before any run begins


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"specs is \[\]: expected one or more"):
        sweep([], tmp_path)
    two = "two specs are named 'CartPole-v1/0': expected a name fo"
    with pytest.raises(ValueError, match=two):
        sweep(specs(1) + specs(1), tmp_path)
    with pytest.raises(ValueError, match="attempts is 0: expected 1 or more"):
        sweep(specs(1), tmp_path, attempts=0)
    with pytest.raises(ValueError, match="workers is 0: expected 1 or more"):
        sweep(specs(1), tmp_path, workers=0)
    with pytest.raises(ValueError, match="policies=True: expected shared=False"):
        sweep(specs(1), tmp_path, policies=True)
    with pytest.raises(ValueError, match=r"test_epsilon is 5.0: expected 0 to 1"):
        specs(1, test_epsilon=5.0)
    for name in ("steps", "test_episodes", "test_max_steps"):
        with pytest.raises(ValueError, match=f"{name} is 0: expected an integer of 1"):
            replace(specs(1)[0], **{name: 0})  # type: ignore[arg-type]  # a count
    assert Spec("a:b/C-v1", CONFIG, STEPS, 7).name == "a.b/C-v1/7"
    for name in ("/tmp/elsewhere", "../elsewhere", "", "x/run.json"):
        with pytest.raises(ValueError, match=f"a spec is named '{name}': expected the"):
            sweep([Note(name)], tmp_path, task=write_down)
    assert list(tmp_path.iterdir()) == []


class Unpicklable(Note):
    def __reduce__(self) -> Any:
        raise ArithmeticError("it has a file open")


def test_a_spec_that_cannot_be_sent_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="spec 'x': it has a file open: expected funct"):
        sweep([Note("y"), Unpicklable("x")], tmp_path, task=write_down)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": replace(CONFIG, frame_stack=4, conv=((8, 3, 1),))}, "conv"),
        ({"config": replace(CONFIG, priority_alpha=0.6, n_step=500)}, "n_step"),
        ({"config": replace(CONFIG, learning_starts=400)}, "steps is 300: expected"),
        ({"steps": 30}, "steps is 30: expected"),
        ({"env_id": "CartPoel-v1"}, "CartPoel"),
        ({"env_id": "Pendulum-v1"}, "Box"),  # of actions
        ({"start": Path("absent.safetensors")}, "absent"),
    ],
)
def test_a_bad_setting_ends_the_command_and_forbids_nothing(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    [spec] = specs(1, name="bad/0")
    error = (ValueError, TypeError, OSError, gym.error.Error)
    with pytest.raises(error, match=message):
        sweep([*specs(2), replace(spec, **changes)], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    # a generator is not looked through; its run fails, and forbids nothing either
    with suppress(*error):
        [result] = quietly(iter([replace(spec, **changes)]), tmp_path / "out")
        assert message in result["failed"]
    [result] = quietly([spec], tmp_path / "out")
    assert result["test_episodes"] == 2


def test_each_kind_of_run_is_checked_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []
    monkeypatch.setattr(Spec, "check", lambda spec: checked.append(spec.name))
    kinds: list[dict[str, Any]] = [
        {},
        {"steps": 400},
        {"train_wrapper": Wrapped},
        {"config": replace(CONFIG, gamma=0.5)},
    ]
    runs = []
    for number, changes in enumerate(kinds):
        for spec in specs(3):
            runs.append(replace(spec, name=f"{number}/{spec.seed}", **changes))
    sweep(runs, tmp_path)
    assert checked == ["0/0", "1/0", "2/0", "3/0"]


class FailsAtOnce(gym.Wrapper[Any, Any, Any, Any]):
    def reset(self, **options: Any) -> Any:
        raise ArithmeticError("no episode")


def test_a_run_that_fails_before_its_first_checkpoint_forbids_no_other(
    tmp_path: Path,
) -> None:
    [result] = quietly(specs(1, train_wrapper=FailsAtOnce), tmp_path)
    assert "ArithmeticError: no episode" in result["failed"]
    with pytest.raises(ArithmeticError, match="no episode"):
        alone(specs(1, train_wrapper=FailsAtOnce)[0], tmp_path / "CartPole-v1" / "0")
    [result] = quietly(specs(1), tmp_path)
    assert result["train_wrapper"] is None


def test_other_settings_or_other_code_are_refused_by_name(tmp_path: Path) -> None:
    quietly(specs(1), tmp_path)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"config": replace(CONFIG, gamma=0.5)}, "gamma 0.99 instead of 0.5"),
        ({"test_episodes": 3}, "test_episodes 2 instead of 3"),
        ({"test_epsilon": 0.5}, "test_epsilon 0.0 instead of 0.5"),
        ({"solved_at": 1.0}, "solved_at None instead of 1.0"),
        ({"train_wrapper": Wrapped}, "another code: .*train_wrapper None instead of"),
    ]
    for change, differ in changes:
        other = replace(specs(1)[0], **change)
        with pytest.raises(OtherRunError, match=f"{differ}.*: expected another folder"):
            sweep([*specs(2)[1:], other], tmp_path)  # before it runs the first
    assert not (tmp_path / "CartPole-v1/1").exists()
    with pytest.raises(OtherRunError, match=r"another code: .*; task None instead of"):
        sweep(specs(1), tmp_path, task=with_many_checkpoints)
    file = tmp_path / "CartPole-v1" / "0" / "run.json"
    identity = json.loads(file.read_text())
    identity["code"]["numpy"] = "1.0"
    file.write_text(json.dumps(identity))
    with pytest.raises(
        OtherRunError, match="has another run, with another code: numpy"
    ):
        quietly(specs(1), tmp_path)
    assert len(read_results(tmp_path)) == 1  # reading asks for no code


def test_a_run_that_has_not_ended_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [spec] = specs(1)
    with monkeypatch.context() as patch:
        patch.setattr("minidqn.lab.outcome.play_test", lambda *_, **__: 1 / 0)
        quietly([spec], tmp_path, executor=AtOnce())
    other = replace(spec, config=replace(CONFIG, gamma=0.5))
    with pytest.raises(
        OtherRunError, match=r"with gamma 0\.99 instead of 0\.5: expected "
    ):
        sweep([other], tmp_path)


# --- Code


def test_a_task_that_was_changed_since_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "own_task.py"
    out = tmp_path / "out"

    def load_task(text: str) -> Any:
        file.write_text(text)
        sys.modules.pop("own_task", None)
        importlib.invalidate_caches()
        return importlib.import_module("own_task").task

    text = "def task(note, folder):\n    return {'eval_mean': 1.0}\n"
    options: Any = {"executor": AtOnce()}
    before = quietly(notes(1), out, task=load_task(text), **options)
    assert quietly(notes(1), out, task=load_task(text), **options) == before
    commented = load_task(f"# a comment\n\n{text}")
    assert quietly(notes(1), out, task=commented, **options) == before
    changed = load_task(text.replace("1.0", "2.0"))
    with pytest.raises(
        OtherRunError, match="has another run, with another code: own_t"
    ):
        quietly(notes(2), out, task=changed, **options)
    sys.modules.pop("own_task")


def test_what_a_worker_cannot_import_is_a_failure_of_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fleeting.py").write_text(
        "import gymnasium as gym\n"
        "def make_env(**options):\n    return gym.make('CartPole-v1', **options)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    make_env = importlib.import_module("fleeting").make_env
    bad = replace(specs(1, make_env=make_env)[0], name="bad/0")
    results = sweep([bad, *specs(1)], tmp_path / "out", workers=1, progress=False)
    (tmp_path / "fleeting.py").unlink()
    good, bad_result = sorted(results, key=lambda result: result["name"])
    sys.modules.pop("fleeting")
    assert "No module named 'fleeting'" in bad_result["failed"]
    assert good["test_episodes"] == 2


def test_a_worker_with_other_code_makes_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here, because the file was changed between the start of the sweep and its own."""
    (tmp_path / "changing.py").write_text("def task(note, folder):\n    return {}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    task = importlib.import_module("changing").task
    results = sweep(notes(1), tmp_path, task=task, workers=1, progress=False)
    (tmp_path / "changing.py").write_text(
        "def task(note, folder):\n    return {1: 2}\n"
    )
    [result] = results
    sys.modules.pop("changing")
    assert (
        "this worker has another code: changing: expected the same" in result["failed"]
    )


SWEEP_OF_A_SCRIPT = """
import gymnasium as gym
from minidqn import DQNConfig, Spec, sweep

def make_env(**options):
    return gym.make("CartPole-v1", **options)

if __name__ == "__main__":
    config = DQNConfig(hidden=(8,), batch_size=16, learning_starts=50)
    specs = [
        Spec("CartPole-v1", config, 300, seed, test_episodes=3, make_env=make_env)
        for seed in range(2)
    ]
    for result in sweep(specs, "out", workers=1, progress=False):
        print(result["name"], result["make_env"], result["train_seconds"])
"""


def test_a_script_that_makes_its_own_environment_can_be_called_again(
    tmp_path: Path,
) -> None:
    def call(text: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "mine.py").write_text(text)
        return subprocess.run(
            [sys.executable, "mine.py"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    first = call(SWEEP_OF_A_SCRIPT)
    assert first.stderr == ""
    assert "CartPole-v1/0 mine.make_env" in first.stdout
    assert call(SWEEP_OF_A_SCRIPT).stdout == first.stdout
    assert call(f"# a comment\n{SWEEP_OF_A_SCRIPT}").stdout == first.stdout
    changed = call(SWEEP_OF_A_SCRIPT.replace('-v1", **options', '-v0", **options'))
    assert changed.returncode == 1
    last = changed.stderr.splitlines()[-1]
    assert last.endswith(
        "out/CartPole-v1/0 has another run, with another code: mine (the script itself: "
        "with your functions in a module of their own, it may change): expected "
        "another folder, which --out names on the command line"
    )
    unguarded = SWEEP_OF_A_SCRIPT.replace('__name__ == "__main__"', "True")
    failed = call(unguarded.replace('"out"', '"new"'))
    says = 'in a script, put all calls below `if __name__ == "__main__":`'
    assert says in failed.stderr
    # no worker can import the script, so it is not tried again
    assert failed.returncode == 1
    last = failed.stderr.splitlines()[-1]
    assert last.endswith('expected all that it does below `if __name__ == "__main__":`')
    assert failed.stderr.count("InUseError: ") == 1


# --- Whatever else may fail


def leave(note: Note, folder: Path) -> dict[str, Any]:
    sys.exit("the environment has had enough")


def test_a_run_that_exits_is_a_failure_of_that_run(tmp_path: Path) -> None:
    [result] = quietly(notes(1), tmp_path, task=leave)
    assert "SystemExit: the environment has had enough" in result["failed"]


def test_a_full_disk_is_a_failure_of_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("minidqn.lab.run.write_json", full)
        results = quietly(notes(2), tmp_path, executor=AtOnce(), task=write_down)
    assert all("No space left on device" in result["failed"] for result in results)
    assert all("failed" not in r for r in quietly(notes(2), tmp_path, task=write_down))


def hold(folder: Path, until: Path) -> None:
    with locked(folder):
        while not until.exists():
            time.sleep(0.001)


def test_a_run_waits_while_another_process_makes_it(tmp_path: Path) -> None:
    folder = tmp_path / "notes/000"
    with Processes(1) as other:
        holding = other.submit(hold, folder, tmp_path / "until")
        wait_until(lambda: is_in_use(folder))
        results = sweep(notes(1), tmp_path, task=write_down, workers=1, progress=False)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(list, results)
            time.sleep(1.5)
            assert not waiting.done()
            (tmp_path / "until").touch()
            assert waiting.result()[0]["eval_mean"] == 0.0
        holding.result()


def test_a_run_of_one_s_own_does_not_wait(tmp_path: Path) -> None:
    """`once` is what is below: with a spec and a task of any kind."""
    [note] = notes(1)
    identity = identity_of(note, write_down)
    made = []

    def make() -> dict[str, Any]:
        made.append(note.name)
        return {"eval_mean": 1.0}

    with locked(tmp_path / "a"), pytest.raises(InUseError):
        once(note, identity, tmp_path / "a", make)
    for _ in range(2):
        result = once(note, identity, tmp_path / "a", make)
        assert result == {"name": "notes/000", "value": 0.0, "eval_mean": 1.0}
    assert made == ["notes/000"]


# --- Dask


def test_dask_with_a_killed_worker(tmp_path: Path) -> None:
    """A scheduler and two workers as a user starts them; one is killed on the way."""
    import distributed

    connect: Any = distributed.Client
    env = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    file = tmp_path / "scheduler.json"
    started = []

    def start(command: str, *options: str) -> subprocess.Popen[bytes]:
        whole = [sys.executable, "-m", f"distributed.cli.dask_{command}", *options]
        process = subprocess.Popen(
            whole, env=env, cwd=tmp_path, stderr=subprocess.DEVNULL
        )
        started.append(process)
        return process

    try:
        connection = ("--scheduler-file", str(file), "--no-dashboard")
        start("scheduler", *connection, "--host", "127.0.0.1", "--port", "0")
        wait_until(file.exists)
        one_thread = ("--nthreads", "1", "--no-nanny")
        workers = [start("worker", *connection, *one_thread) for _ in range(2)]
        with connect(scheduler_file=str(file)) as client:
            client.wait_for_workers(2, timeout=60)
            executor = client.get_executor(pure=False)
            results = []
            for result in sweep(specs(20), tmp_path / "dask", executor=executor):
                results.append(result)
                if len(results) == 3:
                    workers[0].kill()
            client.shutdown()
    finally:
        for process in started:
            process.kill()
            process.wait()
    results.sort(key=lambda result: int(result["seed"]))
    serial = quietly(specs(20), tmp_path / "serial", executor=AtOnce())
    serial.sort(key=lambda result: int(result["seed"]))
    assert len(results) == 20
    assert timeless(results) == timeless(serial)
