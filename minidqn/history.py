"""What happened in a run: a row for each finished episode, and all that is not yet in a row.

A run that is stopped anywhere and resumed is to end as if it had never been stopped. The
agent holds most of what that takes; the rest is here: the updates since the last row, and
the unfinished episode. That is written down as the number of its reset, which gives the
seed, and the actions taken since. So it can be played again up to where it was, in a new
process, and no environment need ever be saved.
"""

import csv
from array import array
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minidqn.agent import Metrics
from minidqn.layers import Array


class Episode(NamedTuple):
    """One row of a history: a finished episode, and the updates since the row before."""

    step: int  # environment steps of the run when it ended
    episode_return: float  # sum of its rewards, undiscounted
    length: int  # in steps
    epsilon: float  # when it ended
    loss: float  # means over those updates; NaN if there were none
    q: float
    grad_norm: float


class Unfinished:
    """An episode that is going on: the number of its reset, and the actions since."""

    def __init__(self, reset: int, actions: list[int] | None = None) -> None:
        self.reset, self.actions = reset, [] if actions is None else actions


class History:
    """The finished episodes of a run, and what is going on in each of its environments.

    A column is an array, (episodes,): `history["episode_return"]`.
    """

    def __init__(self) -> None:
        self._numbers = array("d")  # the rows, one after another: a long run has many
        self.metrics: list[Metrics] = []  # of the updates since the last row
        self.unfinished: list[Unfinished] = []  # one for each environment

    def append(self, episode: Episode) -> None:
        self._numbers.extend(episode)

    @property
    def rows(self) -> Array:
        """All rows, (episodes, columns), a copy."""
        return np.array(self._numbers).reshape(-1, len(Episode._fields))

    def __len__(self) -> int:
        return len(self._numbers) // len(Episode._fields)

    def __getitem__(self, column: str) -> Array:
        if column not in Episode._fields:
            raise KeyError(f"{column!r}: expected one of {Episode._fields}")
        return np.array(self._numbers[Episode._fields.index(column) :: len(Episode._fields)])

    def mean_return(self, last: int = 100) -> float:
        """Mean return of the last so many episodes; NaN before the first."""
        recent = self._numbers[-last * len(Episode._fields) :][1 :: len(Episode._fields)]
        return sum(recent) / len(recent) if recent else float("nan")

    def write_csv(self, path: str | Path) -> None:
        with Path(path).open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(Episode._fields)
            for step, episode_return, length, *rest in self.rows.tolist():
                lines.writerow(Episode(int(step), episode_return, int(length), *rest))
