"""What a sweep costs, and whether anything is lost when it is killed.

    python benchmarks/sweeps.py

Prints: the time of a sweep over two processes beside the same runs in a row; of a run that
does nothing; of 100,000 runs on an executor that answers at once, of finding 99,000 of them
done, and the memory that takes; and the table of a sweep that was killed 20 times, the sweep
itself or one of its workers, beside that of one that was never stopped.
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

from learning import RESULTS

from minidqn.lab.compare import compare
from minidqn.lab.spec import Spec, train_and_test
from minidqn.lab.sweep import run, sweep
from minidqn.lab.tuned import tuned_spec

KILLS = 20


@dataclass
class Nothing:
    """A run of no time at all."""

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
    """The time of 20 full CartPole runs in two processes, as a share of that in a row."""
    row = seconds(run(spec, folder / "row" / spec.name) for spec in specs(40_000, 20))
    return seconds(sweep(specs(40_000, 20), folder / "two", workers=2)) / row


def scale(folder: Path, count: int = 100_000) -> str:
    """First result, all of them, and the second time, when all but 1,000 are there."""
    options: Any = {
        "executor": AtOnce(),
        "shared": False,
        "progress": False,
        "task": nothing,
    }
    start = time.perf_counter()
    results = sweep(
        (Nothing(f"{i % 100}/{i}") for i in range(count)), folder, **options
    )
    next(results)
    first, whole = time.perf_counter() - start, seconds(results)
    for i in range(1000):
        (folder / f"{i % 100}/{i}/summary.json").unlink()
    again = seconds(
        sweep((Nothing(f"{i % 100}/{i}") for i in range(count)), folder, **options)
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return f"{first:.2f} s to the first, {whole:.0f} s, again {again:.1f} s; {memory:.0f} MB"


def killed(folder: Path) -> tuple[str, str]:
    """The tables of a sweep that is killed at random moments, and of one that is not."""
    code = (
        f"import sweeps; from pathlib import Path; sweeps.finish(Path({str(folder)!r}))"
    )
    here, rng = Path(__file__).parent, random.Random(0)
    for kill in range(KILLS):
        command = [sys.executable, "-c", f"if __name__ == '__main__': {code}"]
        sweeping = subprocess.Popen(command, cwd=here, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(1.5, 4.0))
        children = (
            Path(f"/proc/{sweeping.pid}/task/{sweeping.pid}/children")
            .read_text()
            .split()
        )
        if kill % 2 and len(children) > 1:
            os.kill(int(children[-1]), signal.SIGKILL)
            time.sleep(rng.uniform(0.0, 2.0))
        sweeping.kill()
        sweeping.wait()
    return finish(folder), finish(folder.with_name("undisturbed"))


def finish(folder: Path) -> str:
    """The table of a sweep, from where it was stopped."""
    task = partial(train_and_test, checkpoint_seconds=0.5)
    runs = [replace(spec, test_episodes=20) for spec in specs(40_000, 20)]
    results = sorted(
        sweep(runs, folder, workers=2, task=task), key=lambda r: int(r["seed"])
    )
    return compare([result | {"train_seconds": None} for result in results])[0]


def main() -> None:
    argparse.ArgumentParser(description="What a sweep costs.").parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        share = beside_a_row(folder)
        each = seconds(
            sweep([Nothing(str(i)) for i in range(1000)], folder / "n", task=nothing)
        )
        many = scale(folder / "many")
        stopped, whole = killed(folder / "killed")
    same = "the same table" if stopped == whole else f"another table:\n{stopped}"
    lines = [
        f"20 CartPole runs in two processes take {share:.2f} of their time in a row.",
        f"A run that does nothing takes {each:.1f} ms, the start of the processes included.",
        f"100,000 runs on an executor that answers at once: {many}.",
        f"Killed {KILLS} times: {same}.\n\n{whole}",
    ]
    (RESULTS / "sweeps.md").write_text("\n\n".join(lines))
    print("\n\n".join(lines))


if __name__ == "__main__":
    main()
