"""An executor of processes on this machine that goes on when one of them dies.

ProcessPoolExecutor gives up all calls when one of its processes is killed. Here each
process has a thread that waits for its answers. If the process ends before it answers,
only its call fails, with ProcessDiedError. The next call gets a new process. A process
that ends before its first call could not import the script that started it. No other
process could, so the call fails with ScriptError.
"""

import atexit
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from threading import RLock, Thread, current_thread
from typing import Any

from tqdm import tqdm

CONTEXT = get_context("spawn")
SECONDS_PER_LOOK = 1.0  # between checks that a process is still alive


class ProcessDiedError(RuntimeError):
    """The process of a call ended before it had an answer."""


class ScriptError(ImportError):
    """A process cannot import the script that started it."""


class Processes(Executor):
    """Up to `count` processes, one for each core by default; calls start them.

    At the end of a `with`, they are killed, and calls without an answer are cancelled.
    So wait for a call's future inside the `with`.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = count or os.cpu_count() or 1
        self.calls: SimpleQueue[Any] = SimpleQueue()
        self.threads: list[Thread] = []
        self.processes: list[Any] = []  # those that are alive
        self.lock = RLock()  # for self.closed and self.processes
        self.closed = False
        # threads and processes must not keep Python from exiting
        atexit.register(self.shutdown)

    def submit(
        self, function: Callable[..., Any], /, *args: Any, **_: Any
    ) -> Future[Any]:
        if self.closed:
            raise RuntimeError("these processes have been shut down")
        future: Future[Any] = Future()
        self.calls.put((future, function, args))
        if len(self.threads) < self.count:
            thread = Thread(target=self.answer_calls, daemon=True)
            self.threads.append(thread)
            thread.start()
        return future

    def answer_calls(self) -> None:
        """The loop of a thread: hand calls to its process, one by one."""
        process = None
        ready = False
        while True:
            future, function, args = self.calls.get()
            if future is None:  # the end
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if process is None:
                    ready = False
                    process, pipe = self.start_process()
                    ready = receive(process, pipe)
                pipe.send((function, args))
                answer, error = receive(process, pipe)
            except (EOFError, OSError) as reason:
                future.set_exception(self.death_of(process, ready, reason))
                process = None
            except Exception as not_sent:  # the call cannot be pickled
                future.set_exception(not_sent)
            else:
                if error is None:
                    future.set_result(answer)
                else:
                    future.set_exception(error)

    def start_process(self) -> tuple[Any, Connection]:
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=serve, args=(theirs,))
        with self.lock:
            if self.closed:
                raise OSError("shut down")
            process.start()
            self.processes.append(process)
        theirs.close()  # otherwise the end of the process would not be noticed here
        return process, ours

    def death_of(
        self, process: Any, ready: bool, reason: Exception
    ) -> ProcessDiedError | ScriptError:
        """The error for a process that has ended, or could not be started.

        It was `ready` once it had imported the script.
        """
        if process is None:
            return ProcessDiedError(f"no process for a run: {reason}")
        with self.lock:
            if process in self.processes:
                self.processes.remove(process)
                process.kill()
                process.join()
        code = process.exitcode
        if code >= 0 and not ready:
            script = getattr(sys.modules["__main__"], "__file__", "the script")
            return ScriptError(
                f"workers import {script}, and this one failed: expected all that it "
                'does below `if __name__ == "__main__":`'
            )
        how = f"with exit code {code}"
        if code < 0:
            how = f"by signal {-code}, {signal.strsignal(-code)}"
        return ProcessDiedError(f"the process of a run was ended {how}")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self.lock:
            self.closed = True
            for process in self.processes:
                process.kill()
                process.join()
            self.processes.clear()
        with suppress(Empty):
            while True:
                future, *_ = self.calls.get_nowait()
                if future is not None:
                    future.cancel()
        for _ in self.threads:
            self.calls.put((None, None, None))
        for thread in self.threads:
            if thread is not current_thread():
                thread.join()
        atexit.unregister(self.shutdown)


def receive(process: Any, pipe: Connection) -> Any:
    """What a process sends. Raises EOFError or OSError if it ends before.

    The pipe may stay open after the process has ended, if its children hold it open. So
    this also checks whether the process is alive.
    """
    while not pipe.poll(SECONDS_PER_LOOK):
        if not process.is_alive() and not pipe.poll():
            raise EOFError
    return pipe.recv()


def serve(pipe: Connection) -> None:
    """The loop of a process: answer calls until it is killed or its parent ends.

    First it says that it is ready: it has imported the script.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    Thread(target=end_with_parent, daemon=True).start()
    tqdm.set_lock(RLock())  # tqdm's own lock would remain if this process is killed
    pipe.send(True)
    while True:
        try:
            function, args = pipe.recv()
        except EOFError:
            return
        except Exception as error:  # the call needs a module that cannot be imported
            pipe.send((None, error))
            continue
        answer: tuple[Any, BaseException | None]
        try:
            answer = (function(*args), None)
        except BaseException as error:
            answer = (None, error)
        try:
            pipe.send(answer)
        except Exception as error:  # it cannot be pickled
            pipe.send((None, TypeError(f"an answer cannot be sent: {error}")))


def end_with_parent() -> None:
    parent: Any = parent_process()
    parent.join()
    os._exit(1)
