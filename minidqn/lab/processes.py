"""An executor of processes on this machine that goes on when one of them dies.

ProcessPoolExecutor gives up all calls when one of its processes is killed. Here only the call
of that process fails, with BrokenExecutor, and another process takes its place.
"""

import atexit
import os
import signal
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Lock, RLock, Thread
from typing import Any

from tqdm import tqdm


def serve(calls: Connection) -> None:
    """What a process does: make each call, and send back what it returns or raises."""

    def end_with_parent() -> None:
        parent: Any = parent_process()
        parent.join()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    tqdm.set_lock(RLock())  # or else, if this process is killed, it leaves a semaphore behind
    Thread(target=end_with_parent, daemon=True).start()
    with suppress(EOFError):  # until the parent closes its end
        while True:
            function, args = calls.recv()
            try:
                answer: Any = function(*args), None
            except Exception as error:
                answer = None, error
            calls.send(answer)


class Worker:
    """A process, started when it is first needed, and again when it has died."""

    def __init__(self) -> None:
        self.process: Any = None
        self.starting, self.ended = Lock(), False

    def call(self, function: Callable[..., Any], args: Any) -> Any:
        with self.starting:
            if self.ended:
                raise BrokenExecutor("the executor was shut down")
            if self.process is None or not self.process.is_alive():
                context = get_context("spawn")
                self.pipe, theirs = context.Pipe()
                self.process = context.Process(target=serve, args=(theirs,))
                self.process.start()
                theirs.close()
        try:
            self.pipe.send((function, args))
            result, error = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            raise BrokenExecutor(f"the process ended with exit code {code}") from None
        if error is not None:
            raise error
        return result

    def end(self) -> None:
        with self.starting:  # a process that is just being started cannot be killed
            self.ended = True
            if self.process:
                self.process.kill()
                self.process.join()


class Processes(Executor):
    """Up to `count` processes, one for each core by default, and a thread for each.

    At the end of a `with` they are killed: to have a result, wait for its future before.
    """

    def __init__(self, count: int | None = None) -> None:
        self.calls: SimpleQueue[Any] = SimpleQueue()
        self.ended = False
        self.workers = [Worker() for _ in range(count or os.cpu_count() or 1)]
        for worker in self.workers:
            Thread(target=self._work, args=(worker,), daemon=True).start()
        atexit.register(self.shutdown)

    def submit(self, function: Callable[..., Any], /, *args: Any, **_: Any) -> Future[Any]:
        if self.ended:
            raise RuntimeError("the executor was shut down")
        future: Future[Any] = Future()
        self.calls.put((future, function, args))
        return future

    def _work(self, worker: Worker) -> None:
        while call := self.calls.get():
            future, function, args = call
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(worker.call(function, args))
                except Exception as error:
                    future.set_exception(error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all processes at once; calls that were not made fail with BrokenExecutor."""
        self.ended = True
        for worker in self.workers:
            worker.end()
            self.calls.put(None)
        atexit.unregister(self.shutdown)  # the last line: what interrupts it is made up for at exit
