"""Save and load a run: networks, optimiser, replay buffer, counters, history.

A file in the safetensors format holds the arrays, and a line of JSON for the rest.
Loading runs no code, unlike unpickling. A new file is written beside the old one,
flushed to the disk, and then renamed over it. So at every moment there is one complete
checkpoint. If `load` could not read an agent again, it is not written.

This module handles the files; snapshot.py makes and reads their content.
"""

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from minidqn.agent import DQN
from minidqn.assembly import Build
from minidqn.config import DQNConfig
from minidqn.lab.arrays import Stored
from minidqn.lab.history import History
from minidqn.lab.restore import restore
from minidqn.lab.settings import changed, from_here
from minidqn.lab.snapshot import check, choose, examine, take
from minidqn.lab.soundness import CheckpointError
from minidqn.nn.layers import Array

VERDICT = "does not describe an agent"
LEFT_OVER = 3600.0  # seconds; no process writes to a temporary file for longer


def save(
    agent: DQN, path: str | Path, history: History | None = None, *, replay: bool = True
) -> None:
    """Write the agent and the history of its run to a file, completely or not at all.

    With replay=False only the policy is saved: a small file to give away, from which a
    new run can begin. If a schedule is your own function, only its name is saved.

    Raises CheckpointError if `load` could not read the file, for example with NaN among
    the parameters, and OSError if it cannot be written. Then the old file stays.
    """
    if history is None:
        history = History()
    with explained(f"{path} is not written: the agent", "could not be read again"):
        text, arrays = take(agent, history, replay)
        check(agent, text, arrays)
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with replacing(Path(path)) as beside:
        mode = beside.stat().st_mode
        try:
            save_file(contiguous, beside, {"minidqn": text})
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from None
        beside.chmod(mode)  # safetensors makes it private


def load(
    path: str | Path,
    network: Build | None = None,
    *,
    seed: int | None = None,
    num_envs: int | None = None,
    agent: type[DQN] = DQN,
    **changes: Any,
) -> DQN:
    """The agent that `save` wrote, ready to act and to continue learning.

    If the agent was made with your own network, give the function that builds it:
    `network`. If it is of your own class, give the class: `agent`. If it was made with
    your own schedule, give the schedule: load(path, epsilon=my_schedule).

    Keyword arguments replace settings, from the next step on: load(path,
    learning_rate=1e-4, epsilon=0.05). help(DQNConfig) explains them. Settings that the
    networks were made for, such as hidden and quantiles, cannot change, and buffer_size
    cannot become smaller than the steps stored. For a policy, saved with replay=False,
    `seed` and `num_envs` may be given, too: a new run begins from it. A decay counts
    from the step of loading: epsilon=LinearDecay(0.1, 0.02, 10_000).

    Raises CheckpointError if the file is damaged, of another kind, or of another
    version of the format; OSError if it cannot be read; MemoryError if its replay
    buffer does not fit into memory; and ValueError for a setting that cannot change.
    """
    loaded, _ = load_run(
        path, network, seed=seed, num_envs=num_envs, agent=agent, **changes
    )
    return loaded


def load_run(
    path: str | Path,
    network: Build | None = None,
    *,
    seed: int | None = None,
    num_envs: int | None = None,
    agent: type[DQN] = DQN,
    decays_begin: bool = True,
    **changes: Any,
) -> tuple[DQN, History]:
    """The agent that `save` wrote, and the history of its run, for `train` to continue.

    The arguments and the errors are those of `load`. If only the policy was saved, a
    new run begins from it, at step 0, with an empty history. Without `decays_begin`,
    the decays among the changes count from the first step of the run.
    """
    with opened(Path(path)) as (text, arrays):
        with explained(str(path), VERDICT):
            snapshot = examine(text, arrays, network, changes, agent)
        progress = snapshot.header.progress
        if decays_begin and progress is not None:
            changes = from_here(changes, progress.counted)
        try:
            choice = choose(snapshot, changes, seed, num_envs)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        with explained(str(path), VERDICT):
            return restore(snapshot, choice)


def saved_settings(
    path: str | Path,
    network: Build | None = None,
    agent: type[DQN] = DQN,
    **schedules: Any,
) -> tuple[DQNConfig, int, dict[str, int]]:
    """The settings and the seed of what `save` wrote, and Progress.counted, or nothing.

    They stand in front of the arrays, so a large file is read quickly. `schedules` are
    those of your own.
    """
    with opened(Path(path)) as (text, arrays), explained(str(path), VERDICT):
        header = examine(text, arrays, network, schedules, agent).header
    counted = {} if header.progress is None else header.progress.counted
    return changed(header.config, schedules), header.seed, counted


@contextmanager
def explained(subject: str, verdict: str) -> Iterator[None]:
    """Turn an error into a CheckpointError that begins with the subject.

    An unknown file can cause any error: all but CheckpointError get the verdict. An
    OSError stays as it is.
    """
    try:
        yield
    except OSError:
        raise
    except MemoryError as error:
        raise MemoryError(f"{subject} takes too much memory: {error}") from None
    except CheckpointError as error:
        raise CheckpointError(f"{subject} {error}") from None
    except Exception as error:
        raise CheckpointError(f"{subject} {verdict}: {error!r}") from error


class FileArray:
    """An array in an open file: its shape, and its rows, which are read on demand."""

    def __init__(self, file: Any, name: str) -> None:
        self.file = file
        self.name = name
        self.slices = file.get_slice(name)
        self.shape = tuple(self.slices.get_shape())

    def __getitem__(self, rows: Any) -> Array:
        """The rows of a slice, or with [...] the whole array."""
        if rows is ...:
            array: Array = self.file.get_tensor(self.name)
        else:
            array = self.slices[rows]
        return array


@contextmanager
def opened(path: Path) -> Iterator[tuple[str, Stored]]:
    """Open a checkpoint: its text and its arrays, which are valid in the `with`."""
    if path.is_dir():
        files = [str(file) for file in sorted(path.glob("*.safetensors"))]
        raise IsADirectoryError(
            f"'{path}' is a folder: give {' or '.join(files) or 'a file'}"
        )
    with path.open("rb"):
        pass  # raises the system's own error, which names the path
    try:
        file: Any = safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is no safetensors file, or damaged: {error}"
        ) from None
    with file:
        names = list(file.keys())
        text = (file.metadata() or {}).get("minidqn")
        if text is None:
            raise CheckpointError(
                f"{path} was not written by minidqn: it contains {names[:20]}"
            )
        yield text, {name: FileArray(file, name) for name in names}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """An empty file to write to. It becomes `path` at the end, if there is no error.

    If `path` is a link, the file that it points to is replaced. Several processes may
    do this at the same time: each has a separate file.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    target = Path(os.path.realpath(path))
    beside = target.with_name(f"{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        beside.open("xb").close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        remove_left_over(target, beside)
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    if hasattr(os, "O_DIRECTORY"):  # where folders can be opened, flush the new name
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)


def remove_left_over(target: Path, beside: Path) -> None:
    """Remove unfinished files of killed processes, if they are an hour old or more.

    `beside` was made just now, so its time is that of the disk's clock.
    """
    temporary = re.compile(re.escape(target.name) + r"\.[0-9a-f]{16}\.tmp")
    now = beside.stat().st_mtime
    for other in target.parent.iterdir():
        if not temporary.fullmatch(other.name):
            continue
        with suppress(OSError):  # another process removes it, too, or it is another's
            if other.stat().st_mtime < now - LEFT_OVER:
                other.unlink()
