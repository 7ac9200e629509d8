"""Save and load a run: networks, optimiser, replay buffer, generator, counters, history.

One safetensors file holds the arrays, and beside them a line of JSON for the
rest. Loading runs no code, unlike unpickling. A new file is written beside the
old one, flushed to disk, and then renamed over it, so that at every moment one
complete checkpoint exists.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from minidqn.agent import DQN
from minidqn.lab.finetune import reconfigure
from minidqn.lab.history import History
from minidqn.lab.snapshot import Build, CheckpointError, restore, take


def save(
    agent: DQN, path: str | Path, history: History | None = None, *, replay: bool = True
) -> None:
    """Write the agent to `path`, and the history of its run, all at once or not at all.

    With replay=False only the policy is saved: a small file to give away. Raises
    CheckpointError if a schedule is your own function, because code is not saved, and
    OSError if the file cannot be written.
    """
    text, arrays = take(agent, History() if history is None else history, replay)
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    with replacing(Path(path)) as beside:
        mode = beside.stat().st_mode
        try:
            save_file(contiguous, beside, {"minidqn": text})
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from None
        beside.chmod(mode)  # safetensors makes it private


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """An empty file to write to, which becomes `path` in the end, all at once or not at all."""
    beside = path.with_name(path.name + ".tmp")
    try:
        beside.open(
            "wb"
        ).close()  # raises the system's own error where this is not possible
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    if hasattr(
        os, "O_DIRECTORY"
    ):  # where folders can be opened, flush the new name too
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)


def load(path: str | Path, network: Build | None = None, **changes: Any) -> DQN:
    """The agent that `save` wrote, ready to act and to go on learning.

    `path` is the file. `network` is the function that builds a network of your own: it is
    needed if the agent was made with one. Keyword arguments replace settings, from the next
    step on: load(path, learning_rate=1e-4, epsilon=0.05). help(DQNConfig) explains them; those
    that the networks or the stored steps were made for cannot change (hidden, quantiles, a
    buffer_size smaller than what is stored).

    Raises CheckpointError if the file is damaged, of another kind, or of another version of the
    format, OSError if it cannot be read, and ValueError for a setting that cannot change.
    """
    return load_run(path, network, **changes)[0]


def load_run(
    path: str | Path, network: Build | None = None, **changes: Any
) -> tuple[DQN, History]:
    """The agent that `save` wrote and the history of its run, for `train` to go on with.

    `network` is needed again if the agent was made with one. `changes` replace settings, from
    the next step on: load(path, learning_rate=1e-4). If only the policy was saved, a new run
    begins from it, at step 0. Raises CheckpointError if the file is damaged, of another kind,
    or written by another version of the format, and ValueError for a setting that cannot
    change any more.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names, text = list(file.keys()), (file.metadata() or {}).get("minidqn")
            if text is None:
                raise CheckpointError(
                    f"was not written by minidqn: it contains {names[:20]}"
                )
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}

            def get(name: str, rows: Any = ...) -> Any:
                return (
                    file.get_tensor(name) if rows is ... else file.get_slice(name)[rows]
                )

            agent, history = restore(text, shapes, get, network)
    except OSError:
        raise
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from error
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is no safetensors file, or damaged: {error}"
        ) from error
    except Exception as error:  # an unknown file can be wrong in any way
        raise CheckpointError(
            f"{path} does not describe an agent: {error!r}"
        ) from error
    reconfigure(agent, changes)
    return agent, history
