"""Programs that measure in turn, and the table of their times.

A *contender* is a program in benchmarks/contenders, in a process of its own. It measures one row
of the table for a moment, and then waits, while the next contender measures. So a machine that is
slower for a while is slower for all of them.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

CONTENDERS = Path(__file__).resolve().parent / "contenders"
MOMENT = 0.15  # seconds for which a contender measures at a time
MICROSECOND = 1e-6
LONG = 1e-2  # seconds: from here on a time is shown in seconds

Row = tuple[str, str]  # what is measured, and who is
Rounds = dict[Row, list[float]]  # seconds (or bytes), one for each round


class Contender:
    """A process that measures one row at a time.

    Its matrix products have one thread, or as many as they have by default. With one_core, the
    whole process stays on one core.
    """

    def __init__(
        self, python: str, script: str, one_thread: bool, one_core: bool = False
    ) -> None:
        environment = dict(os.environ)
        if one_thread:
            environment["OPENBLAS_NUM_THREADS"] = "1"
            environment["OMP_NUM_THREADS"] = "1"
            environment["MKL_NUM_THREADS"] = "1"
        self.script = script
        self.process = subprocess.Popen(
            [python, str(CONTENDERS / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            preexec_fn=stay_on_last_core if one_core else None,
        )

    def ask(self, request: str, *args: Any, seconds: float = MOMENT) -> float:
        """The answer to a request: seconds, or bytes. See contenders/worker.py."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        question = {"row": request, "args": args, "seconds": seconds}
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(
                f"{self.script} ended while it measured {request} {args}"
            )
        return float(answer)


def stay_on_last_core() -> None:
    last = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, [last])


def table(times: Rounds) -> list[str]:
    """A line for each row, with minidqn's share of its time."""
    lines = [
        "| what | who | median (least to most) | minidqn's share of it |",
        "| --- | --- | --- | --- |",
    ]
    for (what, who), values in times.items():
        share = "" if who == "minidqn" else share_of(times[what, "minidqn"], values)
        lines.append(f"| {what} | {who} | {in_words(what, values)} | {share} |")
    return lines


def in_words(what: str, values: list[float]) -> str:
    """The median, and the least and the largest value, in a unit that fits."""
    scale, unit = 1.0, "s"
    if "bytes" in what:
        unit = "B"
    elif np.median(values) <= LONG:
        scale, unit = MICROSECOND, "us"
    low = min(values) / scale
    middle = float(np.median(values)) / scale
    high = max(values) / scale
    return f"{middle:.4g} {unit} ({low:.4g} to {high:.4g})"


def share_of(ours: list[float], values: list[float]) -> str:
    """The ratio of the medians, and the least and the largest ratio within one round."""
    ratios = [a / b for a, b in zip(ours, values, strict=True)]
    middle = np.median(ours) / np.median(values)
    return f"{middle:.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def versions(python: str, *packages: str) -> str:
    """The versions of packages of another Python."""
    code = "import sys; from importlib.metadata import version; "
    code += "print(', '.join(f'{name} {version(name)}' for name in sys.argv[1:]))"
    return subprocess.check_output([python, "-c", code, *packages], text=True).strip()
