"""Many runs: on one core, on all of them, or on a cluster.

One run says little. With the same settings one seed solves the task and another does not, so
settings are compared over many seeds:

    specs = [Spec("CartPole-v1", tuned("CartPole-v1"), 40_000, seed) for seed in range(20)]
    for result in sweep(specs, "runs/seeds"):
        print(result["name"], result["eval_mean"])

`sweep` hands each run to an executor of concurrent.futures, or whatever has its `submit`:
Dask's, loky's, MPI's (see docs/sweeps.md). Without one, it starts processes on this machine.

Nothing is lost. A run saves checkpoints in its folder, and in the end its result. A sweep that
was stopped, in whatever way, goes on when it is called again. If a worker dies, its run is
submitted again.
"""

import pickle
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import nullcontext
from inspect import getfile
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

from threadpoolctl import threadpool_limits

from minidqn.lab import folder as files
from minidqn.lab.expect import expect
from minidqn.lab.folder import AGENT, CHECKPOINT, SUMMARY, Json
from minidqn.lab.processes import Processes
from minidqn.lab.spec import train_and_test
from minidqn.lab.training import bar_for
from minidqn.lab.tuned import examples

Task = Callable[
    [Any, Path], Json
]  # makes the run of a spec in a folder: what came of it
SUBMITTED = 1000  # runs that are given to an executor at a time


def run(spec: Any, folder: str | Path, task: Task = train_and_test) -> Json:
    """Make the run of a spec in `folder`, or read what came of it before.

    If another process is making it, this waits. Raises ValueError if another run is there.
    """
    folder = Path(folder)
    with files.locked(folder, wait=True), threadpool_limits(1, user_api="blas"):
        result = finished(spec, folder)
        if not result:
            about = files.normal(spec.about())
            files.write_json(folder / "run.json", about)
            about = {"name": spec.name} | about
            result = about | files.normal(task(spec, folder)) | about
            files.write_json(folder / SUMMARY, result)
        for file in folder.glob(f"{CHECKPOINT}*"):
            file.unlink()
    return result


def finished(spec: Any, folder: Path) -> Json:
    """The result of a run, or nothing if it has not ended. ValueError if it is of another one."""
    result = files.read_json(folder / SUMMARY)
    about = files.normal(spec.about())
    before = result or files.read_json(folder / "run.json") or about
    there = {name: before.get(name) for name in about}
    files.refuse_other(
        f"{folder} has another run, with", there, about, "another folder"
    )
    return result


def work(
    name: str, job: bytes, folder: Path | None, policy: bool
) -> tuple[Json, bytes]:
    """A run in a worker: its result, or why it failed; and the file of its policy."""
    with nullcontext(folder) if folder else TemporaryDirectory() as place:
        try:
            spec, task = pickle.loads(job)
            result = run(spec, Path(place) / name, task)
            return result, (Path(place) / name / AGENT).read_bytes() if policy else b""
        except (Exception, SystemExit):
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

    `specs` may be a generator; at most 1,000 are read ahead. With a `task` of your own they may
    be anything that has a name and a method `about`, and can be pickled. Raises ValueError for
    two specs of one name, a folder that is in use, or one with runs of other code or settings,
    and TypeError for a spec that cannot be pickled: in a list, all are checked before any runs.
    """
    expect(attempts >= 1, f"attempts is {attempts}", "1 or more")
    expect(workers is None or workers >= 1, f"workers is {workers}", "1 or more")
    expect(
        not (shared and policies),
        "policies=True",
        "shared=False; else they are in the folder",
    )
    folder, of_task = (
        Path(folder).absolute(),
        Path(getfile(getattr(task, "func", task))),
    )
    sources = (
        *Path(__file__).parents[1].rglob("*.py"),
        *examples().glob("*.py"),
        of_task,
    )
    total = len(specs) if isinstance(specs, Sequence) else None
    expect(total != 0, f"specs is {specs!r}", "one or more")
    for spec, _ in jobs(specs, task) if total else ():
        finished(spec, folder / spec.name)

    def results() -> Generator[Json]:
        place, tested, sum_of_means = folder if shared else None, 0, 0.0
        bar = bar_for(progress, total=total, unit=" runs")

        def todo() -> Iterator[Any]:
            for spec, job in jobs(specs, task):
                yield (
                    spec.name,
                    finished(spec, folder / spec.name),
                    (job, place, policies),
                )
            bar.refresh()  # so that the known results are shown while the others run

        own = Processes(workers) if executor is None else nullcontext(executor)
        with own as engine, files.locked(folder), bar:
            files.same_code(folder, sources)
            for result in outcomes(engine, todo(), attempts, folder):
                if "eval_mean" in result:
                    tested, sum_of_means = (
                        tested + 1,
                        sum_of_means + result["eval_mean"],
                    )
                    bar.set_postfix_str(
                        f"mean {sum_of_means / tested:.1f}", refresh=False
                    )
                bar.update()
                yield result

    return results()


def outcomes(
    engine: Executor, todo: Iterator[Any], attempts: int, folder: Path
) -> Iterator[Json]:
    """The result of each run as it ends. `todo`: name, known result or {}, what `work` takes."""
    running: dict[Future[Any], Any] = {}
    ended: SimpleQueue[Future[Any]] = SimpleQueue()

    def submit(name: str, given: Any, attempt: int) -> None:
        try:
            future = engine.submit(work, name, *given)
        except RuntimeError as error:
            text = (
                f"{engine} takes no more runs; the results so far are kept: sweep again"
            )
            raise RuntimeError(text) from error
        running[future] = name, given, attempt
        future.add_done_callback(ended.put)

    def one() -> Iterator[Json]:
        """The next that ends, unless it has to be submitted again."""
        future = ended.get()
        name, given, attempt = running.pop(future)
        try:
            yield receive(folder, name, *future.result())
        except Exception as error:  # the worker died
            if attempt < attempts or isinstance(
                error, BrokenExecutor
            ):  # then submit raises
                submit(name, given, attempt + 1)
            else:
                yield {
                    "name": name,
                    "failed": f"{attempt} times: {error!r} {vars(error)}",
                }

    try:
        for name, result, given in todo:
            if result:
                yield result
            else:
                submit(name, given, 1)
            while len(running) >= SUBMITTED:
                yield from one()
        while running:
            yield from one()
    finally:
        for future, (name, *_) in running.items():
            if not future.cancel() and future.done() and not future.exception():
                receive(folder, name, *future.result())


def receive(folder: Path, name: str, result: Json, policy: bytes) -> Json:
    """The result with its name; it is written, if a worker did so in another folder."""
    result = {"name": name} | result
    if "failed" not in result and not (folder / name / SUMMARY).exists():
        (folder / name).mkdir(parents=True, exist_ok=True)
        if policy:
            (folder / name / AGENT).write_bytes(policy)
        files.write_json(folder / name / SUMMARY, result)
    return result


def jobs(specs: Iterable[Any], task: Task) -> Iterator[tuple[Any, bytes]]:
    """Each spec, and what a worker gets of it."""
    names = set()
    for spec in specs:
        name = Path(spec.name)
        inside = name.parts and not name.anchor and ".." not in name.parts
        expect(
            inside,
            f"a spec is named {spec.name!r}",
            "the name of a folder in the sweep's",
        )
        expect(
            spec.name not in names,
            f"two specs are named {spec.name!r}",
            "a name for each",
        )
        names.add(spec.name)
        try:
            job = pickle.dumps((spec, task))
        except Exception as error:
            text = f"spec {spec.name!r}: {error}: expected functions and classes"
            raise TypeError(f"{text} from the top level of a module") from error
        yield spec, job
