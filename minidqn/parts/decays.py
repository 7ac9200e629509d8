"""More decays of a setting during a run; schedules.py has the usual one.

ExponentialDecay    the distance to the end shrinks to 1/e in every time constant
GeometricDecay      multiplied by a factor after each step, update or episode
Delayed             one of these, counted from a later moment of the run
"""

import math
from dataclasses import dataclass
from typing import Any

from minidqn.schedules import make_floats

COUNTS = ("step", "update", "episode")


@dataclass(frozen=True)
class ExponentialDecay:
    """From `start` towards `end`: the distance is 1/e after `time_constant` steps.

    Raises ValueError if one of them is not a number, or `time_constant` not above 0.
    """

    start: float
    end: float
    time_constant: float

    def __post_init__(self) -> None:
        make_floats(self, "start", "end", "time_constant")
        if not self.time_constant > 0.0:
            raise ValueError(
                f"time_constant is {self.time_constant}: expected more than 0"
            )

    @property
    def bounds(self) -> tuple[float, float]:
        """All values lie between these."""
        return self.start, self.end

    def __call__(self, step: int) -> float:
        shrunk = math.exp(-step / self.time_constant)
        return self.end + (self.start - self.end) * shrunk


@dataclass(frozen=True)
class GeometricDecay:
    """`start`, times `factor` after each step, update or episode, but at least `end`.

    `per` says which of these it counts: "step", "update" or "episode". Raises
    ValueError for another `per`, or a `factor` outside (0, 1].
    """

    start: float
    end: float
    factor: float
    per: str = "update"

    def __post_init__(self) -> None:
        make_floats(self, "start", "end", "factor")
        if not 0.0 < self.factor <= 1.0:
            raise ValueError(f"factor is {self.factor}: expected more than 0, up to 1")
        if self.per not in COUNTS:
            raise ValueError(f"per is {self.per!r}: expected one of {COUNTS}")

    @property
    def bounds(self) -> tuple[float, float]:
        """All values lie between these."""
        return self.start, self.end

    def __call__(self, count: int) -> float:
        return max(self.start * self.factor**count, self.end)


@dataclass(frozen=True)
class Delayed:
    """`decay`, counted from `begin` on: it begins in the middle of a run.

    `load` makes it of a decay that it is given. Raises ValueError if `begin` is not a
    number.
    """

    decay: Any
    begin: float

    def __post_init__(self) -> None:
        make_floats(self, "begin")

    @property
    def per(self) -> str:
        """What the decay counts: "step", "update" or "episode"."""
        return str(getattr(self.decay, "per", "step"))

    @property
    def bounds(self) -> tuple[float, float]:
        """All values lie between these."""
        low, high = self.decay.bounds
        return low, high

    def __call__(self, count: int) -> float:
        return float(self.decay(max(count - self.begin, 0)))
