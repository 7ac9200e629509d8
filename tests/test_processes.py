"""Processes that make calls: whatever one of them does, every call has an end."""

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from minidqn.lab.processes import ProcessDiedError, Processes

ROOT = Path(__file__).parent.parent


def test_a_process_that_dies_costs_its_own_call_only() -> None:
    with Processes(2) as executor:
        assert executor.submit(os.getpid).result() != os.getpid()
        with pytest.raises(ProcessDiedError):
            executor.submit(os._exit, 1).result()
        assert executor.submit(divmod, 7, 2).result() == (3, 1)
        with pytest.raises(ZeroDivisionError):  # an error is an answer, too
            executor.submit(divmod, 1, 0).result()


@pytest.mark.parametrize(
    ("function", "argument", "how"),
    [
        (os._exit, 0, "with exit code 0"),  # Pebble and others wait for ever
        (os._exit, 3, "with exit code 3"),
        (signal.raise_signal, signal.SIGKILL, "by signal 9, Killed"),
        (signal.raise_signal, signal.SIGSEGV, "by signal 11, Segmentation fault"),
        (signal.raise_signal, signal.SIGRTMIN + 1, "by signal 35, "),  # it has no name
    ],
)
def test_the_error_says_how_it_ended(function: Any, argument: int, how: str) -> None:
    with Processes(1) as executor:
        died = executor.submit(function, argument)
        with pytest.raises(ProcessDiedError, match=f"a run was ended {how}"):
            died.result(timeout=60)
        assert executor.submit(divmod, 7, 2).result() == (3, 1)


def leave_a_child(seconds: float) -> None:
    """End this process, whose child goes on and has all its files open."""
    if os.fork() == 0:
        time.sleep(seconds)
        os._exit(0)
    os._exit(0)


def test_the_end_of_a_process_is_seen_though_its_child_goes_on() -> None:
    with Processes(1) as executor:
        died = executor.submit(leave_a_child, 30.0)
        with pytest.raises(ProcessDiedError, match="with exit code 0"):
            died.result(timeout=25)


def test_a_process_that_dies_between_two_calls() -> None:
    with Processes(1) as executor:
        pid = executor.submit(os.getpid).result()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ProcessDiedError, match="by signal 9"):
            executor.submit(os.getpid).result()
        assert executor.submit(os.getpid).result() != pid


def test_calls_share_the_processes() -> None:
    with Processes(2) as executor:
        futures = [executor.submit(os.getpid) for _ in range(20)]
        assert len({future.result() for future in futures}) <= 2
    assert Processes().count == os.cpu_count()


class TwoArgumentsError(Exception):
    """An error that pickle writes, and cannot read."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(first)


def raise_it() -> None:
    raise TwoArgumentsError(1, 2)


def answer_a_function() -> Any:
    return lambda: None


def exit_with_words() -> None:
    sys.exit("enough")


def test_what_cannot_be_sent_is_an_error_of_that_call() -> None:
    with Processes(1) as executor:
        pid = executor.submit(os.getpid).result()
        with pytest.raises(
            (AttributeError, TypeError), match=r"pickle|argument|local object"
        ):
            executor.submit(lambda: None).result()
        with pytest.raises(TypeError, match=r"an answer cannot be sent: .*lambda"):
            executor.submit(answer_a_function).result()
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            executor.submit(raise_it).result()
        with pytest.raises(SystemExit, match="enough"):
            executor.submit(exit_with_words).result()
        assert executor.submit(os.getpid).result() == pid  # it has survived them all


def test_calls_that_are_left_at_the_end_are_not_made(tmp_path: Path) -> None:
    with Processes(1) as executor:
        executor.submit(os.getpid).result()
        futures = [executor.submit(time.sleep, 60.0)]
        futures += [executor.submit(Path.touch, tmp_path / str(i)) for i in range(3)]
        while not futures[0].running():
            time.sleep(0.001)
    assert isinstance(futures[0].exception(timeout=0), ProcessDiedError)
    for future in futures[1:]:  # cancelled, or the thread was about to begin it
        with suppress(CancelledError):
            assert isinstance(future.exception(timeout=0), ProcessDiedError)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="have been shut down"):
        executor.submit(os.getpid)
    executor.shutdown()  # again does no harm


@pytest.mark.parametrize("seconds", [0.0, 0.002, 0.02, 0.2])
def test_it_may_end_while_its_processes_are_starting(seconds: float) -> None:
    with Processes(2) as executor:
        futures = [executor.submit(os.getpid) for _ in range(5)]
        time.sleep(seconds)
    assert all(future.done() for future in futures)
    assert executor.processes == []


@pytest.mark.parametrize(
    "end", ["", "os._exit(0)", "os.kill(os.getpid(), 9)", "raise SystemExit(1)"]
)
def test_however_a_script_ends_its_processes_do(end: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import os, time\n"
        "from minidqn.lab.processes import Processes\n"
        "if __name__ == '__main__':\n"
        "    executor = Processes(2)\n"
        "    pids = [executor.submit(os.getpid).result() for _ in range(4)]\n"
        "    futures = [executor.submit(time.sleep, 60) for _ in range(4)]\n"
        "    print(*pids, flush=True)\n"
        f"    {end}\n"
    )
    ended = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.stderr == ""
    pids = {int(pid) for pid in ended.stdout.split()}
    assert pids
    limit = time.monotonic() + 30.0
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < limit
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_ctrl_c_is_for_the_parent() -> None:
    with Processes(1) as executor:
        pid = executor.submit(os.getpid).result()
        sleeping = executor.submit(time.sleep, 0.2)
        os.kill(pid, signal.SIGINT)
        assert sleeping.result() is None
        assert executor.submit(os.getpid).result() == pid


def test_a_script_without_its_guard_ends_with_an_error(tmp_path: Path) -> None:
    """A worker imports the script; it must not start workers of its own."""
    (tmp_path / "script.py").write_text(
        "import os\n"
        "from minidqn.lab.processes import Processes\n"
        "with Processes(1) as executor:\n"
        "    print(executor.submit(os.getpid).result())\n"
    )
    ended = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == 1
    assert re.search(
        r"ScriptError: workers import .*script.py, and this one failed: expected all "
        'that it does below `if __name__ == "__main__":`$',
        ended.stderr.splitlines()[-1],
    )
