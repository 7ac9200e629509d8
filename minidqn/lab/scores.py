"""Test scores of a run while it trains.

The returns of training have random actions in them, and come from a policy that changes
within the episode. A test is played by one policy, on episodes that it was never
trained on. So the scores of several tests show what has been learned by when.
"""

import csv
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidqn.nn.layers import Array

COLUMNS = ("step", "test_return", "length")  # of the run; of a test episode


class Scores:
    """The tests of a run: a row for each of their episodes, in the order of the steps.

    `rows` are other Scores, or their rows, (N, 3).
    """

    def __init__(self, rows: Any = ()) -> None:
        if isinstance(rows, Scores):
            rows = rows.rows
        self._rows = array("d", np.asarray(rows, np.float64).tobytes())
        self._tests = len(self.steps)

    def add(self, step: int, returns: Array, lengths: Array) -> None:
        """Add a test after `step` steps of the run: its episodes, (N,) and (N,)."""
        if len(self._rows) == 0 or self._rows[-len(COLUMNS)] != step:
            self._tests += 1
        for test_return, length in zip(returns, lengths, strict=True):
            self._rows.extend((step, float(test_return), float(length)))

    @property
    def rows(self) -> Array:
        """All rows, (N, 3), a copy."""
        return np.array(self._rows).reshape(-1, len(COLUMNS))

    def __len__(self) -> int:
        """How many tests there were."""
        return self._tests

    @property
    def steps(self) -> Array:
        """After how many steps of the run each test was made, (T,)."""
        return np.unique(self.rows[:, 0])

    @property
    def returns(self) -> list[Array]:
        """The returns of each test's episodes: T arrays."""
        rows = self.rows
        return [rows[rows[:, 0] == step, 1] for step in self.steps]

    @property
    def means(self) -> Array:
        """The mean return of each test, (T,)."""
        return np.array([returns.mean() for returns in self.returns])

    @property
    def steps_spent(self) -> int:
        """Environment steps of all tests together."""
        return int(self.rows[:, 2].sum())

    @property
    def last_cost(self) -> int:
        """Environment steps of the last test; 0 if there was none."""
        rows = self.rows
        if len(rows) == 0:
            return 0
        return int(rows[rows[:, 0] == rows[-1, 0], 2].sum())

    def about(self) -> dict[str, list[Any]]:
        """As plain lists: the steps, and for each test its mean and its returns."""
        return {
            "steps": self.steps.tolist(),
            "mean_return": self.means.tolist(),
            "returns": [returns.tolist() for returns in self.returns],
        }

    def write_csv(self, path: str | Path) -> None:
        """Write a line for each test episode, below the names of the columns."""
        with Path(path).open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(COLUMNS)
            for step, test_return, length in self.rows.tolist():
                lines.writerow((int(step), test_return, int(length)))


def read_scores(path: str | Path) -> Scores:
    """What Scores.write_csv wrote; no scores if there is no such file."""
    if not Path(path).exists():
        return Scores()
    with Path(path).open(newline="") as file:
        lines: Sequence[list[str]] = list(csv.reader(file))
    return Scores([[float(number) for number in line] for line in lines[1:]])
