"""An executor of processes on this machine that goes on when one of them dies.

ProcessPoolExecutor gives up all calls when one of its processes is killed. In Pebble's pool only
the call of that process fails, with ProcessExpired, and another process takes its place. (Pebble
does not see a process that ends by itself with exit code 0: its call is never done.)
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from multiprocessing import get_context, parent_process
from threading import RLock, Thread
from typing import Any

from pebble import ProcessPool
from tqdm import tqdm


def begin() -> None:
    """What each process does first."""

    def end_with_parent() -> None:
        parent: Any = parent_process()
        parent.join()
        os._exit(1)

    tqdm.set_lock(
        RLock()
    )  # or else, if this process is killed, it leaves a semaphore behind
    Thread(target=end_with_parent, daemon=True).start()


class Processes(Executor):
    """`count` processes, one for each core by default; they start with the first call.

    At the end of a `with` they are ended at once: to have a result, wait for its future before.
    A future that has none by then may never be done.
    """

    def __init__(self, count: int | None = None) -> None:
        count = count or os.cpu_count() or 1
        self.pool = ProcessPool(count, initializer=begin, context=get_context("spawn"))

    def submit(
        self, function: Callable[..., Any], /, *args: Any, **_: Any
    ) -> Future[Any]:
        return self.pool.schedule(function, args)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.pool.stop()  # type: ignore[no-untyped-call]  # Pebble gives it no types
        if (
            not sys.is_finalizing()
        ):  # then its threads are gone, and its processes have ended
            self.pool.join()
