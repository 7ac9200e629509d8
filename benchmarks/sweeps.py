"""The cost of a sweep, and whether anything is lost when it is killed.

    python benchmarks/sweeps.py

It prints these times: of a sweep in two processes, compared with the same runs one after
the other; of a run that does nothing; of 100,000 runs on an executor that answers at
once, and of a second call that finds 99,000 of them done, with the memory used. It also
compares the table of a sweep that was killed 20 times (the sweep or one of its workers)
with the table of a sweep that was never stopped.
"""

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from report import add_out, report

from minidqn import Spec, run, sweep, tuned_spec
from minidqn.lab.compare import compare
from minidqn.lab.run import train_and_test

KILLS = 20
HERE = Path(__file__).parent


@dataclass
class Nothing:
    """A run that does nothing."""

    name: str

    def about(self) -> dict[str, Any]:
        return {"seed": self.name}


def nothing(spec: Nothing, folder: Path) -> dict[str, Any]:
    return {"eval_mean": 0.0}


class AtOnce(Executor):
    def submit(  # type: ignore[override]  # only `work` is submitted
        self, function: Callable[..., Any], /, name: str, *_: Any
    ) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(({"seed": name, "eval_mean": 0.0}, b""))
        return future


def seconds(results: Iterator[Any]) -> float:
    start = time.perf_counter()
    for _ in results:
        pass
    return time.perf_counter() - start


def specs(steps: int, count: int) -> list[Spec]:
    return [tuned_spec("CartPole-v1", steps, seed) for seed in range(count)]


def beside_a_row(folder: Path) -> float:
    """The time of 20 CartPole runs in two processes, as a share of that in one."""
    runs = specs(40_000, 20)
    row = seconds(run(spec, folder / spec.name, progress=False) for spec in runs)
    return seconds(sweep(runs, folder / "two", workers=2)) / row


def nothings(count: int) -> Iterator[Nothing]:
    for number in range(count):
        yield Nothing(f"{number % 100}/{number}")


def scale(folder: Path, count: int = 100_000) -> str:
    """The times of the first result, of all, and of a second call with all but 1,000 done."""
    options: Any = {
        "executor": AtOnce(),
        "shared": False,
        "progress": False,
        "task": nothing,
    }
    start = time.perf_counter()
    results = sweep(nothings(count), folder, **options)
    next(results)
    first = time.perf_counter() - start
    whole = seconds(results)
    for spec in nothings(1000):
        (folder / spec.name / "summary.json").unlink()
    again = seconds(sweep(nothings(count), folder, **options))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return f"{first:.2f} s to the first, {whole:.0f} s, again {again:.1f} s; {memory:.0f} MB"


def killed(folder: Path) -> tuple[str, str]:
    """The tables of a sweep that is killed at random moments, and of one that is not."""
    call = f"sweeps.finish(Path({str(folder)!r}))"
    code = f"if __name__ == '__main__': import sweeps; from pathlib import Path; {call}"
    rng = random.Random(0)
    for kill in range(KILLS):
        sweeping = subprocess.Popen(
            [sys.executable, "-c", code], cwd=HERE, stderr=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(1.5, 4.0))
        workers = children(sweeping.pid)
        if kill % 2 == 1 and len(workers) > 1:
            os.kill(workers[-1], signal.SIGKILL)
            time.sleep(rng.uniform(0.0, 2.0))
        sweeping.kill()
        sweeping.wait()
    return finish(folder), finish(folder.with_name("undisturbed"))


def children(pid: int) -> list[int]:
    """The processes that threads of a process have started."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return sorted(int(child) for file in files for child in file.read_text().split())


def finish(folder: Path) -> str:
    """The table of a sweep, which continues where it was stopped."""
    task = partial(train_and_test, share=0.5)
    runs = [replace(spec, test_episodes=20) for spec in specs(40_000, 20)]
    results = sweep(runs, folder, workers=2, task=task)
    return compare([result | {"train_seconds": None} for result in results])[0]


def main() -> None:
    parser = argparse.ArgumentParser(description="What a sweep costs.")
    add_out(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        share = beside_a_row(folder / "row")
        runs = list(nothings(1000))
        each = seconds(sweep(runs, folder / "nothing", task=nothing))
        many = scale(folder / "many")
        stopped, whole = killed(folder / "killed")
    same = "the same table" if stopped == whole else f"another table:\n{stopped}"
    lines = [
        f"20 CartPole runs in two processes take {share:.2f} of their time in a row.",
        f"A run that does nothing takes {each:.1f} ms, the start of the processes "
        "included.",
        f"100,000 runs on an executor that answers at once: {many}.",
        f"Killed {KILLS} times: {same}.\n\n{whole.strip()}",
    ]
    report("\n\n".join(lines), args.out / "sweeps.md")


if __name__ == "__main__":
    main()
