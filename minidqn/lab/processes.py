"""An executor of processes on this machine that goes on when one of them dies.

ProcessPoolExecutor gives up all calls when one process is killed. Here each process is a pool
of its own, so only its own call fails, with BrokenExecutor, and another takes its place.
"""

import os
import signal
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any


def stay_while_open(pipe: Connection) -> None:
    """Let this process end with the one that holds the other end of the pipe."""

    def wait() -> None:
        pipe.poll(None)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other one
    Thread(target=wait, daemon=True).start()


class Process(ProcessPoolExecutor):
    """A pool of one process, which starts when it is first needed, and ends if `pipe` is closed."""

    def __init__(self) -> None:
        theirs, self.pipe = Pipe(duplex=False)
        super().__init__(1, get_context("spawn"), stay_while_open, (theirs,))


class Processes(ThreadPoolExecutor):
    """Up to `count` processes; a thread waits for each of them."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.idle = [Process() for _ in range(count)]
        self.busy: set[Process] = set()

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Any:
        return super().submit(self._call, function, *args, **options)

    def _call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        process = self.idle.pop()
        self.busy.add(process)
        try:
            return process.submit(function, *args, **options).result()
        except BrokenExecutor:
            process = Process()
            raise
        finally:
            self.idle.append(process)
            self.busy.discard(process)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As of any executor; without `wait`, end the processes, whatever they are doing."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        for process in list(self.busy):
            process.pipe.close()
        for process in list(self.idle):
            process.shutdown()
