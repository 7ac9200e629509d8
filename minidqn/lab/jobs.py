"""The runs of a sweep as jobs, and the function with which a worker makes one."""

import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from minidqn.lab.code import code_of
from minidqn.lab.folder import AGENT, CHECKPOINT, normal, result_in
from minidqn.lab.identity import Json, differences
from minidqn.lab.names import Names
from minidqn.lab.run import once, train_and_test
from minidqn.lab.spec import Spec, plain

# makes the run of a spec in a folder, and returns its result
Task = Callable[[Any, Path], Json]


@dataclass
class Job:
    """A run to be made. Its worker gets only `name` and `pickled`."""

    spec: Any
    name: str
    identity: Json
    pickled: bytes  # spec, task and identity
    known: Json  # its result, if it has ended


def jobs(specs: Iterable[Any], task: Task, folder: Path) -> Iterator[Job]:
    names = Names()
    for spec in specs:
        names.add(spec.name)
        identity = identity_of(spec, task)
        try:
            pickled = pickle.dumps((spec, task, identity))
        except Exception as error:
            raise TypeError(
                f"spec {spec.name!r}: {error}: expected functions and classes from the "
                "top level of a module"
            ) from error
        known = result_in(folder / spec.name, identity)
        yield Job(spec, spec.name, identity, pickled, known)


def identity_of(spec: Any, task: Task) -> Json:
    """The identity of a spec; with another task, it also has the task and its code."""
    if task is train_and_test:
        own: Json = spec.identity()
        return own
    code = code_of(task, type(spec))
    if isinstance(spec, Spec):
        own = spec.identity()
        code = code | own["code"]
    else:
        own = spec.about()
    return normal(own | {"task": plain("task", task), "code": code})


def check_specs(specs: Sequence[Any], folder: Path, task: Task) -> None:
    """Raise an error for a wrong spec, before any run begins."""
    if len(specs) == 0:
        raise ValueError(f"specs is {specs!r}: expected one or more")
    checked = set()
    for job in jobs(specs, task, folder):
        if isinstance(job.spec, Spec) and not job.known:
            # of the runs that differ only in their seeds, one is checked
            kind = str(job.identity | {"seed": None})
            if kind not in checked:
                job.spec.check()
                checked.add(kind)


def work(
    name: str, pickled: bytes, folder: Path | None, policy: bool
) -> tuple[Json, bytes]:
    """Make a run in a worker; return its result or error, and its policy's bytes.

    Without a folder that the sweep shares, the run is made in a temporary one.
    """
    where = nullcontext(folder) if folder else TemporaryDirectory()
    with where as place:
        own = Path(place) / name
        try:
            spec, task, identity = pickle.loads(pickled)
            differ = differences(identity, identity_of(spec, task))
            if differ:
                raise ValueError(
                    f"this worker has {'; '.join(differ)}: expected the same code on "
                    "all machines"
                )
            result = once(spec, identity, own, lambda: task(spec, own), wait=True)
            (own / CHECKPOINT).unlink(missing_ok=True)
            return result, (own / AGENT).read_bytes() if policy else b""
        except (Exception, SystemExit):
            return {"failed": traceback.format_exc()}, b""
