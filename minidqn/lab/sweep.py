"""Many runs: on one core, on all of them, or on a cluster.

One run says little. With the same settings one seed solves the task and another does not, so
settings are compared over many seeds:

    specs = [Spec("CartPole-v1", tuned("CartPole-v1"), 40_000, seed) for seed in range(20)]
    for result in sweep(specs, "runs/seeds"):
        print(result["name"], result["eval_mean"])

`sweep` hands each run to an executor of concurrent.futures, or whatever has its `submit`:
Dask's, loky's, MPI's (see docs/sweeps.md). Without one, it starts processes on this machine.

Nothing is lost. A run saves checkpoints in its folder, and in the end its result. A sweep that
was stopped, in whatever way, goes on when it is called again, to the same bits. If a worker
dies, its run is submitted again.
"""

import hashlib
import os
import pickle
import platform
import sqlite3
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from importlib.metadata import version
from inspect import getfile
from itertools import chain, repeat
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

from threadpoolctl import threadpool_limits

from minidqn.checks import expect
from minidqn.lab import spec as files
from minidqn.lab.processes import Processes
from minidqn.lab.spec import AGENT, CHECKPOINT, SUMMARY, Json, train_and_test
from minidqn.lab.training import bar_for
from minidqn.lab.tuned import examples

Task = Callable[[Any, Path], Json]  # makes the run of a spec in a folder: what came of it
SUBMITTED = 1000  # runs that are given to an executor at a time
FOREVER = 10.0**9  # seconds


def run(spec: Any, folder: str | Path, task: Task = train_and_test) -> Json:
    """Make the run of a spec in `folder`, or read what came of it before.

    If another process is making it, this waits. Raises ValueError if another run is there.
    """
    folder = Path(folder)
    with locked(folder, FOREVER), threadpool_limits(1, user_api="blas"):
        result = finished(spec, folder)
        if not result:
            about = spec.about()
            files.claim(folder, about)
            result = files.normal({"name": spec.name} | about | task(spec, folder))
            files.write_json(folder / SUMMARY, result)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return result


def finished(spec: Any, folder: Path) -> Json:
    """The result of a run, or nothing if it has not ended. ValueError if it is of another one."""
    result = files.read_json(folder / SUMMARY)
    if result:
        about = spec.about()
        before = {name: result.get(name) for name in about}
        files.refuse_other(folder, files.differences(before, about), "another folder")
    return result


@contextmanager
def locked(folder: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold a folder. SQLite's lock works on any system, and ends with a process that is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "lock"
    lock = sqlite3.connect(file, timeout=wait, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        expected = 'no other sweep there; in a script, all below `if __name__ == "__main__":`'
        raise ValueError(f"{folder} is in use ({error}): expected {expected}") from None
    try:
        yield
    finally:
        lock.close()
        file.unlink(missing_ok=True)


def work(name: str, job: bytes, folder: Path | None, policy: bool) -> tuple[Json, bytes]:
    """A run in a worker: its result, or why it failed; and the file of its policy."""
    with TemporaryDirectory() as own:
        place = (folder or Path(own)) / name
        try:
            spec, task = pickle.loads(job)
            return run(spec, place, task), (place / AGENT).read_bytes() if policy else b""
        except Exception:
            return {"failed": traceback.format_exc()}, b""


def sweep(
    specs: Iterable[Any],
    folder: str | Path,
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    task: Task = train_and_test,
    attempts: int = 3,
    shared: bool = True,
    policies: bool = False,
    progress: bool = True,
) -> Generator[Json]:
    """Make the run of every spec; yield the results as they come, first those there already are.

    Without an `executor`, `workers` processes on this machine make the runs, one for each core
    by default. A result is what Spec.outcome gives, with the run's name and settings. Of a run
    that failed it has only the name and, as "failed", the traceback; the others go on. A run
    whose worker died is submitted again, `attempts` times in all.

    Where workers do not share `folder`, with `shared` false, each run has a folder of its own
    there, and its result comes back by value; with `policies`, so does its last policy.

    `specs` may be a generator; it is read as runs end. With a `task` of your own they may be
    anything that has a name and a method `about`, and can be pickled. Raises ValueError for two
    specs of one name, a folder that is in use, or one with results of other code or settings,
    and TypeError for a spec that cannot be pickled: in a list, all are checked before any runs.
    """
    expect(attempts >= 1, f"attempts is {attempts}", "1 or more")
    total = len(specs) if isinstance(specs, Sequence) else None
    expect(total != 0, f"specs is {specs!r}", "one or more")
    for _ in jobs(specs, task) if total else ():
        pass

    def results(folder: Path) -> Generator[Json]:
        engine = executor or Processes(workers or os.cpu_count() or 1)
        place, steps, means = folder if shared else None, 0, [0.0] * 0
        bar = bar_for(progress, total=total, unit=" runs")
        try:
            with locked(folder), bar:
                same_code(folder, task)
                todo = (
                    (spec.name, finished(spec, folder / spec.name), (job, place, policies))
                    for spec, job in jobs(specs, task)
                )
                for result, policy in outcomes(engine, todo, attempts):
                    if not shared:
                        receive(result, policy, folder / result["name"])
                    steps += result.get("steps", 0)
                    means += [result["eval_mean"]] if "eval_mean" in result else []
                    mean = sum(means) / max(len(means), 1)
                    bar.set_postfix_str(f"{steps:,} steps, mean {mean:.1f}", refresh=False)
                    bar.update()
                    yield result
        finally:
            if executor is None:
                engine.shutdown(wait=False, cancel_futures=True)

    return results(Path(folder))


def outcomes(engine: Executor, todo: Iterator[Any], attempts: int) -> Iterator[tuple[Json, bytes]]:
    """The result of each run, and its policy, as they end. `todo`: name, result or {}, work."""
    running: dict[Future[Any], Any] = {}
    ended: SimpleQueue[Future[Any]] = SimpleQueue()

    def submit(name: str, given: Any, attempt: int = 1) -> None:
        try:
            future = engine.submit(work, name, *given)
        except RuntimeError as error:  # it was shut down, or is broken
            text = f"{engine} takes no more runs ({error!r}); the results so far are kept"
            raise RuntimeError(f"{text}: sweep again") from error
        running[future] = name, given, attempt
        future.add_done_callback(ended.put)

    try:
        for name, result, given in chain(todo, repeat(("", {}, None))):
            if result:
                yield result, b""
                continue
            if given:
                submit(name, given)
                if len(running) < SUBMITTED:
                    continue
            if not running:
                return
            future = ended.get()
            name, given, attempt = running.pop(future)
            try:
                result, policy = future.result()
            except Exception as error:  # the worker died
                if attempt < attempts:
                    submit(name, given, attempt + 1)
                    continue
                result, policy = {"failed": f"{attempt} times: {error!r}"}, b""
            yield {"name": name} | result, policy
    finally:
        for future in running:
            future.cancel()


def receive(result: Json, policy: bytes, place: Path) -> None:
    """Write what came from a worker that does not share the folder."""
    if "failed" not in result and not (place / SUMMARY).exists():
        place.mkdir(parents=True, exist_ok=True)
        if policy:
            (place / AGENT).write_bytes(policy)
        files.write_json(place / SUMMARY, result)


def jobs(specs: Iterable[Any], task: Task) -> Iterator[tuple[Any, bytes]]:
    """Each spec, and what a worker gets of it."""
    names = set()
    for spec in specs:
        expect(spec.name not in names, f"two specs are named {spec.name!r}", "a name for each")
        names.add(spec.name)
        try:
            job = pickle.dumps((spec, task))
        except Exception as error:
            expected = "functions and classes from the top level of a module"
            raise TypeError(f"spec {spec.name!r}: {error}: expected {expected}") from error
        yield spec, job


def same_code(folder: Path, task: Task) -> None:
    """Raise ValueError if the results in `folder` are of other code or packages."""
    sources = [
        *Path(__file__).parents[1].rglob("*.py"),
        *examples().glob("*.py"),
        Path(getfile(getattr(task, "func", task))),
    ]
    code = {
        "/".join(file.parts[-2:]): hashlib.sha256(file.read_bytes()).hexdigest() for file in sources
    }
    code |= {name: version(name) for name in ("gymnasium", "numba", "numpy")}
    code["python"] = platform.python_version()
    differ = files.differences(files.read_json(folder / "sweep.json"), code)
    files.refuse_other(folder, differ, "the same code, or another folder")
    files.write_json(folder / "sweep.json", code)
