"""What happened in a run: a row for each ended episode, and what is not in a row yet.

A run that is stopped and resumed must end as if it had never been stopped. Most of what
this takes is in the agent; the rest is here: the updates since the last row, and each
unfinished episode. It is stored as its number, which gives the seed of its reset, and its
actions so far. So a new process can play it again up to the same point, and no
environment has to be saved.
"""

import csv
import math
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidqn.agent import Metrics
from minidqn.nn.layers import Array


class Episode(NamedTuple):
    """One row of a history: an episode that has ended, and the updates since the row before."""

    step: int  # environment steps of the run when it ended
    episode_return: float  # sum of its rewards, undiscounted
    length: int  # in steps
    epsilon: float  # when it ended
    loss: float  # means over those updates; NaN if there were none
    q: float
    grad_norm: float


COLUMNS, METRICS = len(Episode._fields), len(Metrics._fields)


class Unfinished:
    """An episode that is going on: its number in the run, its actions, its return so far."""

    def __init__(self, number: int, actions: Iterable[int] = ()) -> None:
        self.number, self.actions, self.episode_return = (
            number,
            array("i", actions),
            0.0,
        )

    def add(self, action: int, reward: float) -> None:
        self.actions.append(action)
        self.episode_return += float(reward)


class History:
    """The episodes of a run that have ended, and what is going on in each environment.

    A column is an array, (episodes,): history["episode_return"]. The columns are step,
    episode_return, length, epsilon, and the means over the updates since the row before of
    loss, q and grad_norm. The arguments are the `rows`, `updates` and `unfinished` of another.
    """

    def __init__(
        self,
        rows: Any = (),
        updates: Any = (),
        unfinished: Iterable[Unfinished] = (),
    ) -> None:
        # flat arrays, because a long run has many numbers
        self._rows = array("d", np.asarray(rows, np.float64).tobytes())
        self._next_rows = array("d")  # of the same step, not yet counted
        # the metrics of each update since the last row
        self._updates = array("d", np.asarray(updates, np.float64).tobytes())
        self.unfinished = list(unfinished)  # one for each environment

    def add_update(self, metrics: Metrics) -> None:
        """Keep what one update saw for the next row."""
        self._updates.extend(metrics)

    def add_episode(
        self, step: int, epsilon: float, episode_return: float, length: int
    ) -> None:
        """Add a row, in a loop of your own: an episode ended at `step` of the run."""
        list(self.add_ended(step, epsilon, [(episode_return, length)]))

    def add_ended(
        self, step: int, epsilon: float, ended: Iterable[tuple[float, int]]
    ) -> Iterator[None]:
        """Add a row for each episode that ended in this step: (return, length); yield after each.

        Until the last one, len(history) counts only the rows so far, but a save stores all.
        """
        columns = [self._updates[i::METRICS] for i in range(METRICS)]
        means = [
            sum(column) / len(column) if column else math.nan for column in columns
        ]
        del self._updates[:]
        for episode_return, length in ended:
            self._next_rows.extend(
                Episode(step, episode_return, length, epsilon, *means)
            )
        while self._next_rows:
            self._rows.extend(self._next_rows[:COLUMNS])
            del self._next_rows[:COLUMNS]
            yield

    @property
    def updates(self) -> Array:
        """Metrics of the updates since the last row, (updates, 3), a copy."""
        return np.array(self._updates).reshape(-1, METRICS)

    @property
    def rows(self) -> Array:
        """All rows, (episodes, columns), a copy."""
        return np.array(self._rows + self._next_rows).reshape(-1, COLUMNS)

    def __len__(self) -> int:
        return len(self._rows) // COLUMNS

    def __getitem__(self, column: str) -> Array:
        if column not in Episode._fields:
            raise KeyError(f"{column!r}: expected one of {Episode._fields}")
        return np.array(self._rows[Episode._fields.index(column) :: COLUMNS])

    def mean_return(self, last: int = 100) -> float:
        """Mean return of the last so many episodes; NaN before the first."""
        recent = self["episode_return"][-last:]
        return float(recent.mean()) if len(recent) else math.nan

    def episodes(self, start: int = 0) -> list[Episode]:
        """The rows from number `start` on."""
        rows = np.array(self._rows[start * COLUMNS :]).reshape(-1, COLUMNS).tolist()
        return [
            Episode(int(step), r, int(length), *rest) for step, r, length, *rest in rows
        ]

    def __repr__(self) -> str:
        if len(self) == 0:
            return "History(no episode has ended)"
        steps, mean = int(self["step"][-1]), self.mean_return()
        return f"History({len(self)} episodes in {steps} steps, mean of the last 100: {mean:.1f})"

    def write_csv(self, path: str | Path, start: int = 0) -> None:
        """Write a line for each row, below the names of the columns; append those from `start`."""
        with Path(path).open("a" if start else "w", newline="") as file:
            lines = csv.writer(file)
            if start == 0:
                lines.writerow(Episode._fields)
            lines.writerows(self.episodes(start))
