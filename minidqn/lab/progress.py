"""Progress bars, in a terminal or in a notebook.

Numba compiles each of minidqn's loops before its first use, and keeps them on disk. So
the very first run begins with some seconds in which no step is taken. The bar says so.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core.event import Event, Listener, install_listener

from minidqn.agent import DQN
from minidqn.lab.history import History


def progress_bar(shown: bool, unit: str, total: int | None, done: int = 0) -> Any:
    """A bar that has got to `done` of `total`, or that is not `shown` at all."""
    from tqdm.auto import tqdm  # here, because it takes a while

    return tqdm(disable=not shown, total=total, initial=done, unit=f" {unit}")


def bar_of_test(shown: bool, episodes: int) -> Any:
    """A bar that appears after a second, and goes when the test ends."""
    from tqdm.auto import tqdm

    return tqdm(
        disable=not shown,
        total=episodes,
        unit=" episodes",
        delay=1,
        miniters=0,
        leave=False,
    )


class Compiling(Listener):
    """Numba calls it before and after it compiles."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def on_start(self, event: Event) -> None:
        self.bar.set_postfix_str("compiling, once")

    def on_end(self, event: Event) -> None:
        self.bar.unpause()  # the time that remains is estimated without it


@contextmanager
def training_bar(shown: bool, total: int, done: int) -> Iterator[Any]:
    """A bar of the steps of a run, which says when Numba compiles."""
    bar = progress_bar(shown, "steps", total, done)
    with install_listener("numba:compile", Compiling(bar)), bar:
        yield bar


def show(bar: Any, agent: DQN, history: History, refresh: bool) -> None:
    """What a bar says of a run."""
    if bar.disable:
        return
    mean = history.mean_return()
    text = f"epsilon {agent.epsilon:.2f}, mean return {mean:.1f}"
    bar.set_postfix_str(text, refresh=refresh)
