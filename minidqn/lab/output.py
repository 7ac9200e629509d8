"""Output that cannot end a run.

A terminal may have no sign for ±. A pipe may be closed at its other end, as by
`| head`, and a disk may be full. Then the output is lost, but the run goes on.

On the command line, a warning is one line.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


class Unfailing:
    """A stream, such as sys.stdout, on which writing never raises OSError."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        try:
            self.stream.write(text)
        except OSError:
            self.give_up()
        return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError:
            self.give_up()

    def give_up(self) -> None:
        """Discard all further output, and what is still in the buffer."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def make_unfailing() -> None:
    """Let sys.stdout and sys.stderr accept any text, even if they are closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, Unfailing):
            continue
        if stream is None:  # it was closed before Python began
            # it stays open as long as the process, so there is no `with`
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
        setattr(sys, name, Unfailing(stream))


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show each warning as a line, without the place in the code that gave it."""
    before = warnings.showwarning
    warnings.showwarning = print_warning
    try:
        yield
    finally:
        warnings.showwarning = before


def print_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning; a progress bar stays below it."""
    tqdm.write(f"warning: {' '.join(str(message).split())}", file=sys.stderr)
