"""The folder of a run: which run it belongs to, and a lock against other processes.

    run.json                which run it is: its identity
    checkpoint.safetensors  the whole run so far, replay buffer included
    agent.safetensors       the last policy: a small file
    history.csv             a row for each episode of training
    tests.csv               a row for each test episode during training
    summary.json            the result; if it exists, the run has ended

The package filelock keeps other processes out.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from minidqn.lab.checkpoint import replacing
from minidqn.lab.identity import Json, differences

RUN = "run.json"
CHECKPOINT = "checkpoint.safetensors"
AGENT = "agent.safetensors"
HISTORY = "history.csv"
TESTS = "tests.csv"
SUMMARY = "summary.json"
LOCK = ".lock"
PICTURES = (  # of show.py
    "learning_curve.png",
    "value_function.png",
    "filters.png",
    "before_after.gif",
)
WRITTEN = (SUMMARY, AGENT, CHECKPOINT, HISTORY, TESTS, *PICTURES)
MOMENT = 0.25  # seconds: who holds a lock longer than that does not only ask


class OtherRunError(ValueError):
    """A folder holds another run, or something else."""


class InUseError(OSError):
    """Another process makes a run in a folder."""


def normal(content: Json) -> Json:
    """`content` as JSON reads it back. Raises TypeError if JSON cannot hold it."""
    return dict(json.loads(json.dumps(content, default=as_numbers)))


def as_numbers(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(
        f"{value!r} is a {type(value).__name__}: expected numbers, texts, lists and "
        "dictionaries of them"
    )


def read_json(file: Path) -> Json:
    """The content of a file, or {} if there is none. ValueError if it is damaged."""
    if not file.exists():
        return {}
    try:
        content = json.loads(file.read_text("utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"it has a {type(content).__name__}")
    except ValueError as error:
        raise ValueError(
            f"{file} is damaged: {error}. Delete its folder, or take another one"
        ) from None
    return content


def write_json(file: Path, content: Json) -> None:
    with replacing(file) as beside:
        beside.write_text(as_text(content) + "\n", "utf-8")


def as_text(content: Json, indent: str = "") -> str:
    """JSON for people: each name in a line of its own, and each list in one line."""
    if not content:
        return "{}"
    deeper = indent + " "
    lines = []
    for name, value in content.items():
        text = as_text(value, deeper) if isinstance(value, dict) else json.dumps(value)
        lines.append(f"{deeper}{json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def is_free(folder: Path) -> bool:
    """Whether a folder has no files except those of a run that has only begun."""
    if not folder.exists():
        return True
    for file in folder.iterdir():
        unfinished = file.name.endswith(".tmp")  # its process was killed
        if not unfinished and file.name not in (LOCK, RUN):
            return False
    try:
        content = run_in(folder)
    except ValueError:  # a damaged file
        return False
    return not content or is_identity(content)


def is_identity(content: Json) -> bool:
    """Whether the content of a run.json is a run's, and not that of a file of yours."""
    return "code" in content


def remove_unfinished(folder: Path) -> None:
    """Remove unfinished files of killed processes, in a folder that is locked."""
    for name in (RUN, CHECKPOINT, AGENT, SUMMARY):
        for file in folder.glob(f"{name}.*.tmp"):
            file.unlink()


def run_in(folder: Path) -> Json:
    """The identity of the run in a folder, or {}."""
    return read_json(folder / RUN)


def result_in(folder: Path, identity: Json) -> Json:
    """The result of a run, or {} if it has not ended.

    Raises OtherRunError, which names the differences, if another run is there.
    """
    if is_free(folder):
        return {}
    before = run_in(folder)
    if before and is_identity(before):
        differ = differences(before, identity)
        if differ:
            raise OtherRunError(
                f"{folder} has another run, with {'; '.join(differ)}: expected another "
                "folder, which --out names on the command line"
            )
        return read_json(folder / SUMMARY)
    if before:
        raise OtherRunError(
            f"{folder} has a {RUN} that is of no run: expected another folder"
        )
    for name in WRITTEN:
        if (folder / name).exists():
            raise OtherRunError(
                f"{folder} has a file {name}, but no {RUN} that names its run: "
                "expected another folder"
            )
    return {}


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock a folder. The lock ends with its process, even if the process is killed.

    Raises InUseError if another process holds the lock, unless `wait`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        above = [*reversed(folder.parents), folder]
        wrong = next(path for path in above if not path.is_dir())
        raise NotADirectoryError(
            f"{folder} cannot be made: {wrong} is a file, or a link to something that "
            "does not exist"
        ) from None
    file = folder / LOCK
    lock = FileLock(file, timeout=-1 if wait else MOMENT, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise InUseError(
            f"{folder} is in use: expected no other run there; in a script, put all "
            'calls below `if __name__ == "__main__":`'
        ) from None
    except (OSError, NotImplementedError) as error:
        raise OSError(f"{file} cannot be locked: {error}") from error
    try:
        yield
    finally:
        lock.release()


def is_in_use(folder: Path) -> bool:
    """Whether a process has locked a folder at this moment.

    It can only be asked by locking the folder, much shorter than a MOMENT.
    """
    if not folder.exists():
        return False
    try:
        with locked(folder):
            return False
    except InUseError:
        return True


def read_results(folder: str | Path) -> list[Json]:
    """The results of all runs that have ended in a folder, in the order of their names.

    It only reads: neither the code nor the settings of the runs are needed. Raises
    FileNotFoundError if there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    return [{"name": name} | result for name, result in results_below(folder)]


def results_below(folder: Path) -> Iterator[tuple[str, Json]]:
    """The folder of each run that has ended, such as n_step=3/0, and its result."""
    for file in sorted(folder.rglob(SUMMARY)):
        yield file.parent.relative_to(folder).as_posix(), read_json(file)
