"""Numbers that change during training, as functions of the environment step.

A schedule is any function from the step, counted over the whole run, to a
number; a plain number stays what it is. Those here are classes, not closures,
so that a checkpoint can write them down. A schedule has no state but the step
(GeometricDecay: or the updates, or the episodes): a run that is stopped and resumed
goes on where it was.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

Schedule = float | Callable[[int], float]


def value_at(schedule: Schedule, step: int, update: int = 0, episode: int = 0) -> float:
    """What a schedule says after so many steps, updates and finished episodes."""
    if isinstance(schedule, GeometricDecay):
        return schedule({"step": step, "update": update, "episode": episode}[schedule.per])
    return schedule(step) if callable(schedule) else schedule


@dataclass(frozen=True)
class LinearDecay:
    """From `start` to `end` in a straight line over `steps` steps, then `end`."""

    start: float
    end: float
    steps: float

    def __post_init__(self) -> None:
        _check(self, positive="steps")

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.end
        return self.start + (self.end - self.start) * (step / self.steps)


@dataclass(frozen=True)
class ExponentialDecay:
    """From `start` towards `end`: the distance shrinks to 1/e in every `time_constant` steps."""

    start: float
    end: float
    time_constant: float

    def __post_init__(self) -> None:
        _check(self, positive="time_constant")

    def __call__(self, step: int) -> float:
        return self.end + (self.start - self.end) * math.exp(-step / self.time_constant)


@dataclass(frozen=True)
class GeometricDecay:
    """`start`, times `factor` after each step, update or episode, but never below `end`."""

    start: float
    end: float
    factor: float
    per: str = "update"  # or "step", "episode"

    def __post_init__(self) -> None:
        _check(self, positive="factor")
        if self.factor > 1.0 or self.per not in ("step", "update", "episode"):
            raise ValueError(
                f"factor {self.factor} per {self.per!r}: expected up to 1, "
                'per "step", "update" or "episode"'
            )

    def __call__(self, count: int) -> float:
        return max(self.start * self.factor**count, self.end)


def known_values(schedule: Schedule) -> list[float]:
    """The values that bound all others: both ends of a decay, none of a function of your own."""
    if isinstance(schedule, LinearDecay | ExponentialDecay | GeometricDecay):
        return [schedule.start, schedule.end]
    return [] if callable(schedule) else [schedule]


def _check(decay: LinearDecay | ExponentialDecay | GeometricDecay, positive: str) -> None:
    """Make every number of a decay a Python float, one of them positive, or raise ValueError."""
    for name, value in vars(decay).copy().items():
        if name == "per":
            continue
        try:
            object.__setattr__(decay, name, float(value))
        except (TypeError, ValueError):
            raise ValueError(f"{name} is {value!r}: expected a number") from None
    if not getattr(decay, positive) > 0:
        raise ValueError(f"{positive} is {getattr(decay, positive)!r}: expected more than 0")
