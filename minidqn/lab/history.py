"""What happened in a run: a row for each ended episode, and what is not in a row yet.

A run that is stopped and resumed must end as if it had never been stopped. Most of what
this takes is in the agent. The rest is here: the updates since the last row, and each
episode that is still going on. Such an episode is stored as its number, which gives the
seed of its reset, and its actions so far. A new process can play it again up to the
same point, so no environment has to be saved.
"""

import csv
import math
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidqn.agent import Metrics
from minidqn.lab.scores import Scores
from minidqn.nn.layers import Array


class Episode(NamedTuple):
    """One row: an episode that has ended, and the updates since the row before."""

    step: int  # environment steps of the run when it ended
    episode_return: float  # sum of its rewards, undiscounted
    length: int  # in steps
    epsilon: float  # when it ended
    loss: float  # means over those updates; NaN if there were none
    q: float
    grad_norm: float


COLUMNS = len(Episode._fields)
RETURN = Episode._fields.index("episode_return")
METRICS = len(Metrics._fields)
WINDOW = 20  # episodes: a mean return is over the last 20, wherever minidqn shows one
LONG = 10_000  # a longer episode has a row for each 10,000 steps
NO_UPDATES = (0.0,) * (1 + METRICS)


class Unfinished:
    """An episode that is going on: its number in the run, its actions, its return."""

    def __init__(self, number: int, actions: Iterable[int] = ()) -> None:
        self.number = number
        self.actions = array("i", actions)
        self.episode_return = 0.0  # without what is in a row already: see LONG

    @property
    def steps_without_row(self) -> int:
        """Its steps that are in no row yet; LONG if the last of them is a row's end."""
        steps = len(self.actions)
        in_rows = max(steps - 1, 0) // LONG * LONG
        return steps - in_rows


class History:
    """The episodes of a run that have ended, and what is going on in each environment.

    A column is an array, (episodes,): history["episode_return"]. The columns are step,
    episode_return, length, epsilon, and the means over the updates since the row before
    of loss, q and grad_norm. An episode of more than 10,000 steps has a row for each
    10,000. The arguments are the `rows`, `updates`, `unfinished` and `tests` of another
    history.
    """

    def __init__(
        self,
        rows: Any = (),
        updates: Any = NO_UPDATES,
        unfinished: Iterable[Unfinished] = (),
        tests: Any = (),
    ) -> None:
        # flat arrays, because a long run has many numbers
        self._rows = array("d", np.asarray(rows, np.float64).tobytes())
        # how many updates there were since the last row, and the sums of their metrics
        self._updates = array("d", np.asarray(updates, np.float64).tobytes())
        self.unfinished = list(unfinished)  # one for each environment
        self.tests = Scores(tests)  # tests of the agent during training
        self.just_ended = 0  # rows that were added in the last step
        self.row_due = False  # an unfinished episode has taken LONG steps more

    def begin_all(self, number: int, num_envs: int) -> None:
        """An episode begins in each environment; their numbers start at `number`."""
        self.unfinished = [Unfinished(number + i) for i in range(num_envs)]

    def add_step(
        self,
        actions: Sequence[int],
        rewards: Sequence[float],
        reset: Sequence[bool],
        number: int,
    ) -> None:
        """What each environment did in a step of the run.

        Where it was `reset`, an episode begins instead; their numbers start at
        `number`.
        """
        self.just_ended = 0
        for i, action in enumerate(actions):
            if reset[i]:
                self.unfinished[i] = Unfinished(number)
                number += 1
            else:
                episode = self.unfinished[i]
                episode.actions.append(action)
                episode.episode_return += float(rewards[i])
                if len(episode.actions) % LONG == 0:
                    self.row_due = True

    def add_update(self, metrics: Metrics) -> None:
        """Keep what one update saw for the next row."""
        sums = self._updates
        sums[0] += 1.0
        sums[1] += float(metrics.loss)
        sums[2] += float(metrics.q)
        sums[3] += float(metrics.grad_norm)

    def end_step(self, step: int, epsilon: float, over: Sequence[bool]) -> None:
        """Add a row for each environment whose episode is `over`, or long."""
        means = self.take_means()
        self.row_due = False
        for i, episode in enumerate(self.unfinished):
            length = episode.steps_without_row
            if over[i] or length == LONG:
                row = Episode(step, episode.episode_return, length, epsilon, *means)
                self._rows.extend(row)
                self.just_ended += 1
                episode.episode_return = 0.0

    def add_episode(
        self, step: int, epsilon: float, episode_return: float, length: int
    ) -> None:
        """Add a row, in a loop of your own: an episode ended at `step` of the run."""
        means = self.take_means()
        self._rows.extend(Episode(step, episode_return, length, epsilon, *means))
        self.just_ended = 1

    def take_means(self) -> list[float]:
        """Mean loss, Q and gradient norm of the updates since the last row."""
        count, *sums = self._updates
        self._updates = array("d", NO_UPDATES)
        if count == 0.0:
            return [math.nan] * METRICS
        return [total / count for total in sums]

    @property
    def updates(self) -> Array:
        """Of the updates since the last row: how many, and the sums of their metrics.

        (4,), a copy.
        """
        return np.array(self._updates)

    @property
    def rows(self) -> Array:
        """All rows, (episodes, columns), a copy."""
        return np.array(self._rows).reshape(-1, COLUMNS)

    def __len__(self) -> int:
        return len(self._rows) // COLUMNS

    def __getitem__(self, column: str) -> Array:
        if column not in Episode._fields:
            raise KeyError(f"{column!r}: expected one of {Episode._fields}")
        return np.array(self._rows[Episode._fields.index(column) :: COLUMNS])

    def mean_return(self, last: int = WINDOW) -> float:
        """Mean return of the `last` episodes; NaN before the first."""
        if last < 1:
            raise ValueError(f"last is {last}: expected 1 or more episodes")
        first = max(len(self) - last, 0)
        recent = self._rows[first * COLUMNS + RETURN :: COLUMNS]
        return float(np.mean(recent)) if recent else math.nan

    def episodes(self, start: int = 0) -> list[Episode]:
        """The rows from number `start` on; if it is negative, the last ones."""
        rows = self._rows[start * COLUMNS :]
        episodes = []
        for at in range(0, len(rows), COLUMNS):
            row = Episode._make(rows[at : at + COLUMNS])
            episodes.append(row._replace(step=int(row.step), length=int(row.length)))
        return episodes

    def __repr__(self) -> str:
        if len(self) == 0:
            return "History(no episode has ended)"
        steps = int(self["step"][-1])
        mean = self.mean_return()
        return (
            f"History({len(self)} episodes in {steps} steps, "
            f"mean of the last {WINDOW}: {mean:.1f})"
        )

    def write_csv(self, path: str | Path, start: int = 0) -> None:
        """Write a line for each row, below the names of the columns.

        With `start`, the rows from that number on are appended.
        """
        with Path(path).open("a" if start else "w", newline="") as file:
            lines = csv.writer(file)
            if start == 0:
                lines.writerow(Episode._fields)
            lines.writerows(self.episodes(start))


def rolling_mean(x: Any, window: int = WINDOW) -> Array:
    """The mean of the last `window` entries at each entry, (N,) to (N,).

    At the start, where there are fewer, it is the mean of those.
    """
    sums = np.concatenate([[0.0], np.cumsum(x)])  # (N + 1,): of the first 0, 1, ...
    stop = np.arange(1, len(sums))  # (N,)
    start = np.maximum(stop - window, 0)  # (N,)
    return np.asarray((sums[stop] - sums[start]) / (stop - start))


def read_csv(path: str | Path) -> History:
    """The rows that History.write_csv wrote: to be drawn, not to be gone on with."""
    with Path(path).open(newline="") as file:
        lines = list(csv.reader(file))
    rows = [[float(number) for number in line] for line in lines[1:]]
    return History(rows)
