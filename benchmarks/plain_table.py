"""The results of plain_settings.py: every run in a file, and a table of them."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from environments import TASKS

MINIDQN = "minidqn"
SB3 = "SB3"
HEADER = """\
Mean return of the last policy, greedy, in episodes never trained on, over the seeds; in brackets,
the worst seed. "good" counts the seeds that reach the good return.

| | steps | random play | good return | minidqn | good | SB3 | good |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


class Row(NamedTuple):
    """A run: its settings, and the mean return of its test."""

    library: str
    env: str
    steps: int
    seed: int
    eval_mean: float


def write_rows(rows: Iterable[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(rows)


def read_rows(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Row(
                row["library"],
                row["env"],
                int(row["steps"]),
                int(row["seed"]),
                float(row["eval_mean"]),
            )
            for row in csv.DictReader(file)
        ]


def table(rows: list[Row], random: Mapping[str, float]) -> str:
    """A line for each environment, and a sentence for each library below.

    `random` is what random play returns in each environment.
    """
    lines = [HEADER]
    for env, chance in random.items():
        good = TASKS[env].good
        its_rows = [row for row in rows if row.env == env]
        steps = its_rows[0].steps
        cells = [env, f"{steps:,}", number(chance), f"{good:g}"]
        for library in (MINIDQN, SB3):
            cells += cells_of(means_of(its_rows, library), good)
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for library in (MINIDQN, SB3):
        its_rows = [row for row in rows if row.library == library]
        if its_rows:
            lines.append(in_all(library, its_rows, random))
    return "\n".join(lines)


def means_of(rows: Iterable[Row], library: str) -> list[float]:
    return [row.eval_mean for row in rows if row.library == library]


def cells_of(means: list[float], good: float) -> list[str]:
    """The mean and the worst seed, and how many seeds are good."""
    if not means:
        return ["", ""]
    count = sum(mean >= good for mean in means)
    mean = float(np.mean(means))
    return [f"{number(mean)} ({number(min(means))})", f"{count} of {len(means)}"]


def number(value: float) -> str:
    """One decimal of a large number, two of a small one."""
    return f"{value:.1f}" if abs(value) >= 10.0 else f"{value:.2f}"


def in_all(library: str, rows: list[Row], random: Mapping[str, float]) -> str:
    """How many runs are good, and how far they get on average.

    How far: 0 is random play, 1 the good return; each run is cut at both. Each
    environment counts the same.
    """
    count = sum(row.eval_mean >= TASKS[row.env].good for row in rows)
    shares = []
    for env in dict.fromkeys(row.env for row in rows):
        means = np.array(means_of([row for row in rows if row.env == env], library))
        way = (means - random[env]) / (TASKS[env].good - random[env])
        shares.append(np.clip(way, 0.0, 1.0).mean())
    return (
        f"{library}: {count} of {len(rows)} runs are good. They go "
        f"{np.mean(shares):.0%} of the way from random play to the good return."
    )
