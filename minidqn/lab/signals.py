"""Ctrl-C and SIGTERM wait for the end of a step.

Python runs a signal's handler between any two of its instructions. So a signal may come
when an agent has observed a step, but its history has not. A file that is saved then
could not be loaded, or would lack an episode. So while a run trains, a signal is only
remembered, and delivered at the end of the step. A second one is delivered at once.

An ignored signal stays ignored: a shell starts programs in the background like this.
Only the main thread gets signals; in another thread, nothing happens here.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Handlers that remember signals. They replace the handlers from before."""

    def __init__(self, numbers: tuple[signal.Signals, ...]) -> None:
        self.numbers = numbers
        self.process = os.getpid()
        self.pending: list[int] = []  # a signal that is not delivered yet
        self.before: dict[int, Any] = {}  # the handlers that were there

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in self.numbers:
            handler = signal.getsignal(number)
            ignored = handler in (signal.SIG_IGN, None)
            waits = isinstance(getattr(handler, "__self__", None), Signals)
            if not ignored and not waits:
                self.before[number] = handler
                signal.signal(number, self.remember)

    def remember(self, number: int, frame: FrameType | None) -> None:
        """The handler: the first signal waits, a second one does not."""
        # a process that was forked in a step, as by an environment, does not wait
        forked = os.getpid() != self.process
        if not self.pending and not forked:
            self.pending.append(number)
            return
        if number in self.pending:
            self.pending.remove(number)  # both are delivered as one
        self.call(number)

    def restore(self) -> None:
        """Restore the handlers from before, except where there is a new one."""
        if self.before:
            number, handler = self.before.popitem()
            try:
                if signal.getsignal(number) == self.remember:
                    signal.signal(number, handler)
            finally:  # even if a signal comes at this moment
                self.restore()

    def call(self, number: int) -> None:
        """Let a signal do what it does without these handlers."""
        self.restore()
        signal.raise_signal(number)
        self.install()  # its handler did not end the run

    def deliver(self) -> None:
        """Deliver the signal that is pending."""
        self.call(self.pending.pop())


@contextmanager
def signals_wait() -> Iterator[Signals]:
    """Signals are delivered at the end of this block, or by `deliver` inside it."""
    signals = Signals(STOPPING)
    try:
        signals.install()
        yield signals
    finally:
        signals.restore()
        for number in signals.pending:
            signal.raise_signal(number)


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[Any, Any], bool]]:
    """A watcher for `train`: the first Ctrl-C stops the run after the current step.

    The second Ctrl-C raises KeyboardInterrupt. It works only in the main thread.
    """
    signals = Signals((signal.SIGINT,))
    try:
        signals.install()
        yield lambda agent, history: bool(signals.pending)
    finally:
        signals.restore()
