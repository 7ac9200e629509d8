"""Numbers that change during training, as functions of the environment step.

A schedule is any function from the step, counted over the whole run, to a number; a
plain number stays what it is. (GeometricDecay may count updates or episodes instead.)
It keeps no state, so a run that is resumed goes on where it was. Those here are classes,
not closures, so that a checkpoint can write them down.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from minidqn import checks

Schedule = float | Callable[[int], float]


class Decay:
    """A schedule of three numbers: where it starts, where it ends, and how fast."""

    bounds = property(lambda self: [self.start, self.end])  # of all its values

    def __post_init__(self) -> None:
        checks.decay(self)


@dataclass(frozen=True)
class LinearDecay(Decay):
    """From `start` to `end` in a straight line over `steps` steps, then `end`."""

    start: float
    end: float
    steps: float

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.end
        return self.start + (self.end - self.start) * (step / self.steps)


@dataclass(frozen=True)
class ExponentialDecay(Decay):
    """From `start` towards `end`: the distance shrinks to 1/e in every `time_constant` steps."""

    start: float
    end: float
    time_constant: float

    def __call__(self, step: int) -> float:
        return self.end + (self.start - self.end) * math.exp(-step / self.time_constant)


@dataclass(frozen=True)
class GeometricDecay(Decay):
    """`start`, times `factor` after each step, update or episode, but never below `end`."""

    start: float
    end: float
    factor: float
    per: str = "update"  # or "step", "episode"

    def __call__(self, count: int) -> float:
        return max(self.start * self.factor**count, self.end)


def value_at(schedule: Schedule, step: int, update: int = 0, episode: int = 0) -> float:
    """The value of a schedule after so many steps, updates and finished episodes."""
    if isinstance(schedule, GeometricDecay):
        return schedule({"step": step, "update": update, "episode": episode}[schedule.per])
    return schedule(step) if callable(schedule) else schedule
