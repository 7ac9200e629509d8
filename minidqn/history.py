"""What happened in a run: a row for each finished episode, and all that is not yet in a row.

A run that is stopped anywhere and resumed is to end as if it had never been stopped. The
agent holds most of what that takes; the rest is here: the updates since the last row, and
the unfinished episode. That is written down as the number of its reset, which gives the
seed, and the actions taken since. So it can be played again up to where it was, in a new
process, and no environment need ever be saved.
"""

import csv
import math
from array import array
from collections.abc import Iterable
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

    def __init__(self, reset: int, actions: Iterable[int] = ()) -> None:
        self.reset, self.actions = reset, array("i", actions)


class History:
    """The finished episodes of a run, and what is going on in each of its environments.

    A column is an array, (episodes,): `history["episode_return"]`.
    """

    def __init__(self) -> None:
        # numbers one after another, for a long run has many
        self._rows = array("d")
        self._updates = array("d")  # the metrics of each update since the last row
        self.unfinished: list[Unfinished] = []  # one for each environment

    def add_update(self, metrics: Metrics) -> None:
        self._updates.extend(metrics)

    def take_means(self) -> list[float]:
        """The means of the metrics since the last time, NaN if there were no updates."""
        width = len(Metrics._fields)
        columns = [self._updates[i::width] for i in range(width)]
        del self._updates[:]
        return [sum(column) / len(column) if column else math.nan for column in columns]

    @property
    def updates(self) -> Array:
        """Metrics of the updates since the last row, (updates, 3), a copy."""
        return np.array(self._updates).reshape(-1, len(Metrics._fields))

    @classmethod
    def restored(cls, rows: Array, updates: Array, unfinished: list[Unfinished]) -> "History":
        """A history from `rows`, `updates` and `unfinished` of another."""
        history = cls()
        history._rows.frombytes(rows.tobytes())
        history._updates.frombytes(updates.tobytes())
        history.unfinished = unfinished
        return history

    def append(self, episode: Episode) -> None:
        self._rows.extend(episode)

    @property
    def rows(self) -> Array:
        """All rows, (episodes, columns), a copy."""
        return np.array(self._rows).reshape(-1, len(Episode._fields))

    def __len__(self) -> int:
        return len(self._rows) // len(Episode._fields)

    def __getitem__(self, column: str) -> Array:
        if column not in Episode._fields:
            raise KeyError(f"{column!r}: expected one of {Episode._fields}")
        return np.array(self._rows[Episode._fields.index(column) :: len(Episode._fields)])

    def mean_return(self, last: int = 100) -> float:
        """Mean return of the last so many episodes; NaN before the first."""
        recent = self["episode_return"][-last:]
        return float(recent.mean()) if len(recent) else math.nan

    def write_csv(self, path: str | Path) -> None:
        with Path(path).open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(Episode._fields)
            for step, episode_return, length, *rest in self.rows.tolist():
                lines.writerow(Episode(int(step), episode_return, int(length), *rest))
