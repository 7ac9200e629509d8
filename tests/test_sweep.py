"""Many runs: that none is lost, and that each is what it would be alone."""

import importlib
import itertools
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
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from pebble import ProcessExpired

from minidqn import DQNConfig, History, load
from minidqn.lab import sweep as module
from minidqn.lab.folder import locked, read_json, write_json
from minidqn.lab.processes import Processes
from minidqn.lab.spec import Spec, learning_curve, train_and_test
from minidqn.lab.sweep import run, sweep

CONFIG = DQNConfig(hidden=(8,), batch_size=16, learning_starts=50, buffer_size=500)
STEPS = 300


def specs(count: int, **options: Any) -> list[Spec]:
    return [
        Spec("CartPole-v1", CONFIG, STEPS, s, test_episodes=2, **options)
        for s in range(count)
    ]


def quietly(*args: Any, **options: Any) -> list[dict[str, Any]]:
    """All results of a sweep, by name."""
    found = list(sweep(*args, progress=False, **({"workers": 2} | options)))
    return sorted(found, key=lambda result: result["name"])


def timeless(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: r[key] for key in r if key != "train_seconds"} for r in results]


class Note:
    """A spec of a task that needs no agent."""

    def __init__(self, name: str, value: float = 0.0) -> None:
        self.name, self.value = name, value

    def about(self) -> dict[str, Any]:
        return {"value": self.value}


def notes(count: int) -> list[Note]:
    return [Note(f"notes/{i:03}", float(i)) for i in range(count)]


def write_down(note: Note, folder: Path) -> dict[str, Any]:
    (folder / "note.txt").write_text(str(note.value))
    return {"eval_mean": note.value}


def wait_a_second(note: Note, folder: Path) -> dict[str, Any]:
    time.sleep(1.0)
    return {"eval_mean": note.value}


def fail(note: Any, folder: Path) -> dict[str, Any]:
    raise ArithmeticError(f"no result of {note.name}")


def die_of_one(note: Note, folder: Path) -> dict[str, Any]:
    """The process of note 1 is killed, every time."""
    if note.value == 1.0:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"eval_mean": note.value}


class DiesOnce(gym.Wrapper[Any, Any, Any, Any]):
    """Kills its process at the given step, if no process has died of it before."""

    def __init__(self, env: Any, file: Path, at: int) -> None:
        super().__init__(env)
        self.file, self.left = file, at

    def step(self, action: Any) -> Any:
        self.left -= 1
        if self.left == 0 and not self.file.exists():
            self.file.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


def dies_once(env: Any, file: Path) -> Any:
    return DiesOnce(env, file, 200)


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
    alone = [run(spec, tmp_path / "alone" / spec.name) for spec in specs(3)]
    assert timeless(together) == timeless(alone)
    assert len({result["params_sha256"] for result in alone}) == 3
    first = alone[0]
    assert (first["name"], first["seed"], first["steps"]) == ("CartPole-v1/0", 0, STEPS)
    assert (first["batch_size"], first["test_episodes"]) == (16, 2)
    assert len(first["curve"]) == 100
    folder = tmp_path / "together" / "CartPole-v1" / "0"
    left = {file.name for file in folder.iterdir()}
    assert left == {
        "agent.safetensors",
        "history.csv",
        "run.json",
        "summary.json",
        "lock",
    }
    assert load(folder / "agent.safetensors").config == CONFIG
    assert json.loads((folder / "summary.json").read_text()) == together[0]


class Wrapped(gym.Wrapper[Any, Any, Any, Any]):
    """Around the environment of training only."""


def test_a_run_is_tested_as_its_spec_says(tmp_path: Path, monkeypatch: Any) -> None:
    tests: list[Any] = []

    def evaluate(agent: Any, env: Any, episodes: int, seed: int, **options: Any) -> Any:
        tests.append(
            (isinstance(env, Wrapped), agent.steps, episodes, seed, options["epsilon"])
        )
        return np.arange(float(episodes))

    monkeypatch.setattr("minidqn.lab.spec.evaluate", evaluate)
    spec = replace(specs(6)[5], train_wrapper=Wrapped, test_epsilon=0.25)
    with spec.make(training=True) as env:
        assert isinstance(env, Wrapped)
    assert run(spec, tmp_path)["eval_mean"] == 0.5
    assert tests == [(False, STEPS, 2, 5, 0.25)]


def test_a_point_of_the_curve_is_the_mean_of_the_last_20_episodes_by_then() -> None:
    history = History()
    for number in range(40):  # they end at steps 8, 16, ... 320, and the run at 400
        history.add_episode(8 * (number + 1), 0.5, float(number**2), 8)
    curve = learning_curve(history, 400)
    assert len(curve) == 100
    for point, moment in zip(curve, range(4, 401, 4), strict=True):
        returns = [number**2 for number in range(40) if 8 * (number + 1) <= moment]
        assert point == (pytest.approx(np.mean(returns[-20:])) if returns else None), (
            moment
        )


def test_a_checkpoint_is_saved_once_in_so_many_seconds(
    tmp_path: Path, monkeypatch: Any
) -> None:
    seconds, saved = itertools.count(), []  # at each look at the clock, one has passed
    clock = SimpleNamespace(perf_counter=lambda: next(seconds))
    monkeypatch.setattr("minidqn.lab.spec.time", clock)
    monkeypatch.setattr(
        "minidqn.lab.spec.save", lambda agent, *_, **__: saved.append(agent.steps)
    )
    train_and_test(specs(1)[0], tmp_path, checkpoint_seconds=100.0)
    assert saved == [100, 200, 300, 300]  # the last is the policy


def test_what_has_ended_is_not_run_again(tmp_path: Path) -> None:
    before = quietly(notes(3), tmp_path, task=write_down)
    (tmp_path / "notes" / "001" / "summary.json").unlink()
    (tmp_path / "sweep.json").unlink()  # or else the other task's code would be refused
    after = quietly(notes(5), tmp_path, executor=AtOnce(), task=fail)
    assert [("failed" in result) for result in after] == [
        False,
        True,
        False,
        True,
        True,
    ]
    assert after[0] == before[0]
    assert "ArithmeticError: no result of notes/001" in after[1]["failed"]
    again = quietly(
        notes(5), tmp_path, executor=AtOnce(), task=write_down
    )  # same file, same code
    assert [result["eval_mean"] for result in again] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_a_killed_worker_costs_only_what_came_after_the_checkpoint(
    tmp_path: Path,
) -> None:
    """And the run ends on the bits on which it would have ended."""
    wrapper = partial(dies_once, file=tmp_path / "died")
    task = partial(train_and_test, checkpoint_seconds=0.0)
    (dead, other) = quietly(
        [*specs(1, train_wrapper=wrapper), *specs(2)[1:]], tmp_path, task=task
    )
    assert (tmp_path / "died").exists()
    expected = run(specs(1)[0], tmp_path / "alone")
    assert dead["params_sha256"] == expected["params_sha256"]
    assert dead["curve"] == expected["curve"]
    assert dead["train_seconds"] is None  # it was resumed, not begun again
    assert other["train_seconds"] > 0.0


def test_a_run_that_always_kills_its_worker_is_given_up_and_no_other(
    tmp_path: Path,
) -> None:
    zero, one, two = quietly(notes(3), tmp_path, task=die_of_one, attempts=2)
    assert re.match(
        r"2 times: ProcessExpired\(.*\) \{.*'exitcode': -9\b", one["failed"]
    )
    assert (zero["eval_mean"], two["eval_mean"]) == (0.0, 2.0)


def test_a_stopped_sweep_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    script = (
        "from tests.test_sweep import *\n"
        "if __name__ == '__main__':\n"
        "    task = partial(train_and_test, checkpoint_seconds=0.0)\n"
        f"    quietly([replace(s, steps=4000) for s in specs(2)], {str(tmp_path)!r}, task=task)\n"
    )
    (tmp_path / "script.py").write_text(script)
    root = Path(__file__).parent.parent
    env = os.environ | {"PYTHONPATH": str(root)}
    sweeping = subprocess.Popen([sys.executable, tmp_path / "script.py"], env=env)
    checkpoints = [
        tmp_path / f"CartPole-v1/{i}/checkpoint.safetensors" for i in range(2)
    ]
    wait_until(
        lambda: bool(sweeping.poll()) or any(file.exists() for file in checkpoints)
    )
    assert sweeping.poll() is None
    with pytest.raises(ValueError, match=r"is in use: expected no other run there"):
        quietly(notes(1), tmp_path)
    sweeping.kill()
    sweeping.wait()
    wait_until(lambda: str(tmp_path) not in processes())
    assert not (tmp_path / "CartPole-v1/0/summary.json").exists()
    results = quietly([replace(s, steps=4000) for s in specs(2)], tmp_path)
    expected = quietly([replace(s, steps=4000) for s in specs(2)], tmp_path / "other")
    assert any(result["train_seconds"] is None for result in results)
    assert timeless(results) == timeless(expected)


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def processes() -> str:
    """The names of all files that a process has open: a lock, for as long as a run goes on."""
    lines = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            lines += [str(file.readlink()) for file in (folder / "fd").iterdir()]
    return "\n".join(lines)


def test_an_abandoned_sweep_ends_its_processes(tmp_path: Path) -> None:
    results = sweep(
        [*specs(1), replace(specs(1)[0], steps=10**6, name="long")], tmp_path, workers=2
    )
    first = next(results)
    assert first["name"] == "CartPole-v1/0"
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 10.0  # the long run takes minutes
    with locked(tmp_path):
        pass


def test_results_come_back_by_value(tmp_path: Path) -> None:
    (result,) = quietly(specs(1), tmp_path, shared=False, policies=True)
    folder = tmp_path / "CartPole-v1" / "0"
    assert {file.name for file in folder.iterdir()} == {
        "agent.safetensors",
        "summary.json",
    }
    assert result == json.loads((folder / "summary.json").read_text())
    assert load(folder / "agent.safetensors").seed == 0
    assert quietly(specs(1), tmp_path, shared=False, executor=AtOnce()) == [result]
    quietly(notes(1), tmp_path / "notes", shared=False, task=write_down)
    assert not (tmp_path / "notes" / "notes" / "000" / "note.txt").exists()


def test_it_reads_no_more_specs_than_it_submits(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(module, "SUBMITTED", 5)
    read: list[str] = []

    def generate() -> Iterator[Note]:
        for note in notes(40):
            read.append(note.name)
            yield note

    executor, ahead = AtOnce(), []
    for number, _ in enumerate(
        sweep(generate(), tmp_path, executor=executor, task=write_down, progress=False)
    ):
        ahead.append(len(read) - number)
    assert len(ahead) == executor.submitted == 40
    assert max(ahead) <= 6


def test_known_results_are_shown_while_it_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quietly(notes(1), tmp_path, task=write_down)
    with ThreadPoolExecutor(1) as pool:
        list(sweep(notes(2), tmp_path, executor=pool, task=wait_a_second))
    assert " 1/2 " in capsys.readouterr().err


def test_calls_that_are_left_at_the_end_are_not_made() -> None:
    with Processes(1) as engine:
        futures = [engine.submit(time.sleep, 10.0) for _ in range(3)]
        start = time.monotonic()
    assert time.monotonic() - start < 8.0
    assert all(future.exception() for future in futures if future.done())
    with pytest.raises(RuntimeError, match="not active"):
        engine.submit(time.sleep, 0.0)


@pytest.mark.parametrize("seconds", [0.0, 0.002, 0.004])
def test_a_sweep_that_ends_while_its_processes_are_starting(
    tmp_path: Path, seconds: float
) -> None:
    def generate() -> Iterator[Note]:
        yield from notes(1)
        time.sleep(seconds)
        raise ArithmeticError("no more specs")

    with pytest.raises(ArithmeticError, match="no more specs"):
        quietly(generate(), tmp_path, task=wait_a_second)


def test_as_many_processes_as_asked_for(tmp_path: Path, monkeypatch: Any) -> None:
    counts: list[Any] = []

    class Counted(AtOnce):
        def __init__(self, count: int | None) -> None:
            super().__init__()
            counts.append(count)

    monkeypatch.setattr(module, "Processes", Counted)
    quietly(notes(1), tmp_path, task=write_down, workers=3)
    quietly(notes(1), tmp_path, task=write_down, workers=None)
    assert counts == [3, None]


def test_what_makes_a_run_another_one() -> None:
    (spec,) = specs(1)
    others: dict[str, Any] = {
        "steps": 301,
        "seed": 1,
        "make_env": clip,
        "train_wrapper": Wrapped,
    }
    others |= {
        "test_epsilon": 0.1,
        "test_episodes": 3,
        "config": replace(CONFIG, gamma=0.5),
    }
    for name, value in others.items():
        assert replace(spec, **{name: value}).about() != spec.about(), name
    assert replace(spec, env_id="some_package:CartPole-v1").threshold() == 475.0
    assert replace(spec, env_id="MountainCar-v0", solved_at=-90.0).threshold() == -90.0


def test_the_policy_of_a_run_is_kept_without_its_buffer(tmp_path: Path) -> None:
    run(specs(1)[0], tmp_path)
    assert load(tmp_path / "agent.safetensors").steps == 0
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"specs is \[\]: expected one or more"):
        sweep([], tmp_path)
    with pytest.raises(
        ValueError, match="two specs are named 'CartPole-v1/0': expected a name fo"
    ):
        sweep(specs(1) + specs(1), tmp_path)
    with pytest.raises(
        TypeError, match=r"spec 'CartPole-v1/0': .*lambda.*: expected functions and"
    ):
        sweep(specs(1, make_env=lambda: None), tmp_path)
    with pytest.raises(ValueError, match="attempts is 0: expected 1 or more"):
        sweep(specs(1), tmp_path, attempts=0)
    with pytest.raises(ValueError, match="workers is 0: expected 1 or more"):
        sweep(specs(1), tmp_path, workers=0)
    with pytest.raises(ValueError, match="policies=True: expected shared=False"):
        sweep(specs(1), tmp_path, policies=True)
    with pytest.raises(ValueError, match=r"test_epsilon is 5.0: expected 0 to 1"):
        specs(1, test_epsilon=5.0)
    with pytest.raises(ValueError, match=r"test_episodes is 0: expected 1 or more"):
        replace(specs(1)[0], test_episodes=0)
    here: Any = object()
    with pytest.raises(
        ValueError, match=r"has <object object at 0x.*expected functions, classes"
    ):
        sweep(specs(1, make_env=partial(gym.make, here)), tmp_path)
    assert Spec("a:b/C-v1", CONFIG, STEPS, 7).name == "a.b/C-v1/7"
    for name in ("/tmp/elsewhere", "../elsewhere", ""):
        with pytest.raises(
            ValueError, match=f"a spec is named '{name}': expected the name of a"
        ):
            sweep([Note(name)], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_other_settings_or_other_code_are_refused_by_name(tmp_path: Path) -> None:
    quietly(specs(1), tmp_path)
    for changes, differ in (
        ({"config": replace(CONFIG, gamma=0.5)}, "gamma 0.99"),
        ({"test_episodes": 3}, "test_episodes 2"),
        ({"test_epsilon": 0.5}, "test_epsilon 0.0"),
        ({"train_wrapper": dies_once}, "train_wrapper None"),
    ):
        other = replace(specs(1)[0], **changes)
        with pytest.raises(
            ValueError, match=f"has another run, with {differ}: expected another"
        ):
            sweep([*specs(2)[1:], other], tmp_path)  # before it runs the first
    assert not (tmp_path / "CartPole-v1/1").exists()
    mark = tmp_path / "sweep.json"
    code = json.loads(mark.read_text())
    assert {
        "minidqn/agent.py",
        "examples/cartpole.py",
        "numpy",
        "python",
    } <= code.keys()
    mark.write_text(json.dumps(code | {"numpy": "1.0"}))
    with pytest.raises(
        ValueError, match=r"has another run, with numpy 1.0: expected the same co"
    ):
        quietly(specs(1), tmp_path)
    assert (tmp_path / "CartPole-v1/0/summary.json").exists()


def test_a_task_that_was_changed_since_is_refused(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file, out = tmp_path / "own_task.py", tmp_path / "out"
    file.write_text("def task(note, folder):\n    return {'eval_mean': 1.0}\n")
    options: Any = {
        "executor": AtOnce(),
        "task": importlib.import_module("own_task").task,
    }
    assert quietly(notes(1), out, **options) == quietly(notes(1), out, **options)
    file.write_text("def task(note, folder):\n    return {'eval_mean': 2.0}\n")
    with pytest.raises(
        ValueError, match=r"another run, with .*/own_task.py .*: expected the same"
    ):
        quietly(notes(2), out, **options)


def clip(reward: Any) -> Any:
    return np.clip(reward, -1.0, 1.0)


def test_a_function_within_a_function_has_its_name_in_another_process_too() -> None:
    wrapper = partial(gym.wrappers.TransformReward, func=partial(clip))
    about = replace(specs(1)[0], train_wrapper=wrapper).about()["train_wrapper"]
    assert "0x" not in about
    assert "'func': 'tests.test_sweep.clip () {}'" in about


def test_a_run_that_has_not_ended_is_refused_too(tmp_path: Path) -> None:
    (spec,) = specs(1)
    (tmp_path / spec.name).mkdir(parents=True)
    (tmp_path / spec.name / "run.json").write_text(json.dumps(spec.about()))
    with pytest.raises(
        ValueError, match=r"has another run, with gamma 0.99: expected another"
    ):
        sweep([replace(spec, config=replace(CONFIG, gamma=0.5))], tmp_path)


def test_what_a_worker_cannot_import_is_a_failure_of_that_run(tmp_path: Path) -> None:
    absent = ModuleType("absent")
    exec("def make_env(**options): pass", absent.__dict__)
    absent.make_env.__module__ = "absent"
    sys.modules["absent"] = absent
    try:
        bad = replace(specs(1, make_env=absent.make_env)[0], name="bad/0")
        results = quietly([bad, *specs(1)], tmp_path)
    finally:
        del sys.modules["absent"]
    good, bad_result = results
    assert "No module named 'absent'" in bad_result["failed"]
    assert good["test_episodes"] == 2


def test_an_executor_that_was_shut_down(tmp_path: Path) -> None:
    pool = ThreadPoolExecutor(1)
    results = sweep(specs(1) + notes(1), tmp_path, executor=pool, progress=False)
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
        quietly(notes(1), tmp_path, executor=Broken(), attempts=1)


def test_a_sweep_may_end_in_another_thread(tmp_path: Path) -> None:
    results = sweep(
        notes(2), tmp_path, executor=AtOnce(), task=write_down, progress=False
    )
    next(results)
    with ThreadPoolExecutor(1) as pool:
        assert len(pool.submit(list, results).result()) == 1
    with locked(tmp_path):
        pass


def test_an_executor_of_one_s_own_goes_on_after_the_sweep(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        for folder in ("one", "two"):
            quietly(notes(1), tmp_path / folder, executor=pool, task=write_down)


def test_a_full_disk_is_a_failure_of_that_run(tmp_path: Path, monkeypatch: Any) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("minidqn.lab.folder.write_json", full)
        patch.setattr("minidqn.lab.folder.same_code", lambda *_: None)
        results = quietly(notes(2), tmp_path, executor=AtOnce(), task=write_down)
    assert all("No space left on device" in result["failed"] for result in results)
    assert all("failed" not in r for r in quietly(notes(2), tmp_path, task=write_down))


def hold(folder: Path, seconds: float) -> None:
    with locked(folder):
        time.sleep(seconds)


def test_a_run_waits_while_another_process_makes_it(tmp_path: Path) -> None:
    with Processes(1) as other:
        holding = other.submit(hold, tmp_path / "notes/000", 2.0)
        wait_until(lambda: (tmp_path / "notes/000/lock").exists())
        time.sleep(0.2)
        start = time.monotonic()
        assert run(notes(1)[0], tmp_path / "notes/000", write_down)["eval_mean"] == 0.0
        assert time.monotonic() - start > 1.0
        holding.result()


def test_only_one_holds_a_folder(tmp_path: Path) -> None:
    """Four processes count in a file, each of them 25 times."""
    (tmp_path / "count").write_text("0")
    with Processes(4) as executor:
        for future in [executor.submit(count_up, tmp_path) for _ in range(4)]:
            future.result()
    assert (tmp_path / "count").read_text() == "100"


def test_a_folder_that_cannot_be_locked_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(OSError, match="cannot be locked: unable to open"):
        run(notes(1)[0], tmp_path, write_down)


def test_json_is_written_all_at_once_or_not_at_all(
    tmp_path: Path, monkeypatch: Any
) -> None:
    file = tmp_path / "run.json"
    write_json(file, {"seed": 1})

    def half(path: Path, text: str) -> None:
        path.write_bytes(text[: len(text) // 2].encode())
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", half)
        with pytest.raises(OSError, match="No space left"):
            write_json(file, {"seed": 2})
    assert read_json(file) == {"seed": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def count_up(folder: Path) -> None:
    left = 25
    while left:
        with suppress(ValueError), locked(folder):
            number = int((folder / "count").read_text())
            time.sleep(0.001)
            (folder / "count").write_text(str(number + 1))
            left -= 1


class Tuples(Note):
    def about(self) -> dict[str, Any]:
        return {"value": (1, 2)}


def odd(note: Note, folder: Path) -> dict[str, Any]:
    return {"eval_mean": np.float32(0.5), "value": "another", "name": "another"}


def test_results_need_not_be_json(tmp_path: Path) -> None:
    for _ in range(2):
        (result,) = quietly([Tuples("a/0")], tmp_path, task=odd)
        assert result == {"name": "a/0", "value": [1, 2], "eval_mean": 0.5}


def leave(note: Note, folder: Path) -> dict[str, Any]:
    sys.exit("the environment has had enough")


def test_a_run_that_exits_is_a_failure_of_that_run(tmp_path: Path) -> None:
    (result,) = quietly(notes(1), tmp_path, task=leave)
    assert "SystemExit: the environment has had enough" in result["failed"]


def test_a_checkpoint_at_the_last_step(tmp_path: Path, monkeypatch: Any) -> None:
    """Killed after its last checkpoint, before its result."""
    (spec,) = specs(1)
    with monkeypatch.context() as patch:
        patch.setattr("minidqn.lab.spec.evaluate", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(spec, tmp_path / "run", partial(train_and_test, checkpoint_seconds=0.0))
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
    (
        tmp_path / "run" / "checkpoint.safetensors.tmp"
    ).touch()  # killed while it was written
    result = run(spec, tmp_path / "run")
    assert result["eval_mean"] == run(spec, tmp_path / "other")["eval_mean"]
    assert not list((tmp_path / "run").glob("checkpoint*"))


def test_what_has_ended_is_kept_when_the_sweep_is_closed(tmp_path: Path) -> None:
    results = sweep(
        notes(5), tmp_path, shared=False, executor=AtOnce(), task=write_down
    )
    next(results)
    results.close()
    assert len(list(tmp_path.glob("notes/*/summary.json"))) == 5


def test_a_script_that_ends_ends_its_sweep(tmp_path: Path) -> None:
    script = (
        "from tests.test_sweep import *\n"
        "if __name__ == '__main__':\n"
        "    runs = [replace(s, steps=10**6) for s in specs(2)]\n"
        f"    results = sweep([*notes(1), *runs], {str(tmp_path / 'out')!r}, task=note_or_run)\n"
        "    print(next(results)['name'])\n"
    )
    (tmp_path / "script.py").write_text(script)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, str(tmp_path / "script.py")]
    ended = subprocess.run(
        command, env=env, capture_output=True, timeout=60, check=True
    )
    assert ended.stdout.decode().strip() == "notes/000"


def note_or_run(spec: Any, folder: Path) -> dict[str, Any]:
    return (
        write_down(spec, folder)
        if isinstance(spec, Note)
        else train_and_test(spec, folder)
    )


def test_processes_survive_one_of_them() -> None:
    with Processes(2) as executor:
        first = executor.submit(os.getpid)
        assert first.result() != os.getpid()
        with pytest.raises(ProcessExpired):
            executor.submit(os._exit, 1).result()
        pids = {executor.submit(os.getpid).result() for _ in range(4)}
        assert os.getpid() not in pids
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result()


def test_dask_with_a_killed_worker(tmp_path: Path) -> None:
    """A scheduler and two workers as a user starts them; one is killed in the middle."""
    import distributed

    connect: Any = distributed.Client
    root = str(Path(__file__).parent.parent)
    env = os.environ | {"PYTHONPATH": root, "OPENBLAS_NUM_THREADS": "1"}
    file, started = tmp_path / "scheduler.json", []

    def start(*command: str) -> subprocess.Popen[bytes]:
        whole = [
            sys.executable,
            "-m",
            "distributed.cli.dask_" + command[0],
            *command[1:],
        ]
        started.append(
            subprocess.Popen(whole, env=env, cwd=tmp_path, stderr=subprocess.DEVNULL)
        )
        return started[-1]

    try:
        listen = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        start("scheduler", "--scheduler-file", str(file), *listen)
        wait_until(file.exists)
        about = (
            "--scheduler-file",
            str(file),
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
        )
        workers = [start("worker", *about) for _ in range(2)]
        with connect(scheduler_file=str(file)) as client:
            client.wait_for_workers(2, timeout=60)
            results = []
            for result in sweep(
                specs(20), tmp_path / "dask", executor=client.get_executor()
            ):
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
