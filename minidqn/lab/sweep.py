"""Many runs: on one core, on all cores, or on a cluster.

One run says little: with the same settings, one seed solves the task and another does
not. So settings are compared over many seeds:

    specs = [Spec("CartPole-v1", tuned("CartPole-v1"), 20_000, s) for s in range(20)]
    for result in sweep(specs, "runs/seeds"):
        print(result["name"], result["eval_mean"])

`sweep` hands each run to an executor with the interface of concurrent.futures: Dask's,
loky's, MPI's (see docs/sweeps.md). Without one, it starts processes on this machine.

A run saves checkpoints in its folder, and at the end its result. If a sweep is stopped
or killed, it continues when it is called again. If a worker dies, its run is submitted
again.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import ExitStack, nullcontext
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from minidqn.lab.folder import AGENT, RUN, SUMMARY, locked, write_json
from minidqn.lab.identity import Json
from minidqn.lab.jobs import Job, Task, check_specs, jobs, work
from minidqn.lab.processes import Processes, ScriptError
from minidqn.lab.progress import progress_bar
from minidqn.lab.run import train_and_test

SUBMITTED = 1000  # runs that are given to an executor at a time


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
    """Make the run of every spec; yield the results as they come, known ones first.

    Without an `executor`, `workers` processes on this machine make the runs, one for
    each core by default. A result has the run's name, its settings and its figures. The
    result of a failed run has the name and, as "failed", the traceback; the others go
    on. If a worker dies, its run is submitted again, up to `attempts` times in all.

    With `shared=False`, the workers do not use `folder`: each run has a temporary
    folder on its worker's machine, and its result is sent back. With `policies`, its
    last policy is sent back, too.

    `specs` may be a generator; at most 1,000 are read ahead. With your own `task`, they
    may be any objects with a name and a method `about` that can be pickled. Raises
    ValueError for two specs of the same name, invalid settings, or a folder with other
    runs; OSError for a folder that is in use; TypeError for a spec that cannot be
    pickled; and ImportError if a worker cannot import the script. If `specs` is a list,
    all are checked before any run begins.
    """
    check_sweep(workers, attempts, shared, policies)
    place = Path(folder).absolute()
    if isinstance(specs, Sequence):
        check_specs(specs, place, task)
    return results_of(
        specs, place, executor, workers, task, attempts, shared, policies, progress
    )


def check_sweep(
    workers: int | None, attempts: int, shared: bool, policies: bool
) -> None:
    if attempts < 1:
        raise ValueError(f"attempts is {attempts}: expected 1 or more")
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}: expected 1 or more")
    if shared and policies:
        raise ValueError(
            "policies=True: expected shared=False; otherwise they are in the folder"
        )


def results_of(
    specs: Iterable[Any],
    folder: Path,
    executor: Executor | None,
    workers: int | None,
    task: Task,
    attempts: int,
    shared: bool,
    policies: bool,
    progress: bool,
) -> Generator[Json]:
    """The results, and a progress bar."""
    total = len(specs) if isinstance(specs, Sequence) else None
    engine: Any = nullcontext(executor) if executor else Processes(workers)
    bar = progress_bar(progress, "runs", total)
    with ExitStack() as held, engine as running_on, bar:
        place = folder if shared else None
        calls = Calls(running_on, folder, held, place, policies, attempts)
        for result in calls.results(jobs(specs, task, folder), bar.refresh):
            bar.update()
            yield result


class Calls:
    """The runs that an executor is making."""

    def __init__(
        self,
        executor: Executor,
        folder: Path,
        held: ExitStack,
        place: Path | None,
        policies: bool,
        attempts: int,
    ) -> None:
        self.executor = executor
        self.folder = folder
        self.held = held  # the folder's lock, which ends with the sweep
        self.is_held = False  # whether the folder is
        self.place = place  # the folder as workers see it; None if they do not
        self.policies = policies
        self.attempts = attempts
        self.running: dict[Future[Any], tuple[Job, int]] = {}
        self.ended: SimpleQueue[Future[Any]] = SimpleQueue()

    def results(
        self, todo: Iterator[Job], all_submitted: Callable[[], None]
    ) -> Iterator[Json]:
        """The result of each run as it ends."""
        try:
            for job in todo:
                if job.known:
                    yield job.known | {"name": job.name}
                else:
                    self.hold_folder()
                    self.submit(job, 1)
                while len(self.running) >= SUBMITTED:
                    yield from self.next_one()
            all_submitted()
            while self.running:
                yield from self.next_one()
        finally:
            self.keep_what_has_ended()

    def hold_folder(self) -> None:
        """Lock the folder, once a run is made. Reading results needs no lock."""
        if not self.is_held:
            self.held.enter_context(locked(self.folder))
            self.is_held = True

    def submit(self, job: Job, attempt: int) -> None:
        try:
            future = self.executor.submit(
                work, job.name, job.pickled, self.place, self.policies
            )
        except RuntimeError as error:
            raise RuntimeError(
                f"{self.executor} takes no more runs; the results so far are kept: "
                "sweep again"
            ) from error
        self.running[future] = (job, attempt)
        future.add_done_callback(self.ended.put)

    def next_one(self) -> Iterator[Json]:
        """Wait for one run to end: its result, unless it has to be submitted again."""
        future = self.ended.get()
        job, attempt = self.running.pop(future)
        try:
            result, policy = future.result()
        except ScriptError:  # no worker can import the script
            raise
        except Exception as error:  # the worker died
            if attempt < self.attempts or isinstance(error, BrokenExecutor):
                self.submit(job, attempt + 1)  # a broken executor raises
            else:
                yield {"name": job.name, "failed": f"{attempt} times: {error!r}"}
        else:
            yield self.receive(job, result, policy)

    def receive(self, job: Job, result: Json, policy: bytes) -> Json:
        """The result. It is written here, if its worker used another folder."""
        result = {"name": job.name} | result
        folder = self.folder / job.name
        if "failed" not in result and not (folder / SUMMARY).exists():
            folder.mkdir(parents=True, exist_ok=True)
            if policy:
                (folder / AGENT).write_bytes(policy)
            write_json(folder / RUN, job.identity)
            write_json(folder / SUMMARY, result)
        return result

    def keep_what_has_ended(self) -> None:
        """Cancel the runs that have not begun, and keep the results of the others."""
        for future, (job, _) in self.running.items():
            if not future.cancel() and future.done() and not future.exception():
                self.receive(job, *future.result())
