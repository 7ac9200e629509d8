"""Numbers that change during training, as functions of the environment step.

A schedule is a plain number, or any function from the step, counted over the whole run,
to a number. (One with an attribute `per` counts updates or episodes.) It keeps no
state, so a resumed run continues with the right value. LinearDecay is a class, not a
closure, so that a checkpoint can store it. Two more decays are in parts/decays.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Schedule = float | Callable[[int], float]


@dataclass(frozen=True)
class LinearDecay:
    """From `start` to `end` in a straight line over `steps` steps, then `end`.

    Raises ValueError if one of them is not a number, or `steps` is not more than 0.
    """

    start: float
    end: float
    steps: float

    def __post_init__(self) -> None:
        make_floats(self, "start", "end", "steps")
        if not self.steps > 0.0:
            raise ValueError(f"steps is {self.steps}: expected more than 0")

    @property
    def bounds(self) -> tuple[float, float]:
        """All values lie between these."""
        return self.start, self.end

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.end
        return self.start + (self.end - self.start) * (step / self.steps)


def make_floats(settings: Any, *names: str) -> None:
    """Turn these fields of a frozen dataclass into floats, which JSON can store."""
    for name in names:
        value = getattr(settings, name)
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{name} is {value!r}: expected a number") from None
        object.__setattr__(settings, name, number)


def value_at(schedule: Schedule, step: int, update: int = 0, episode: int = 0) -> float:
    """The value of a schedule after this many steps, updates and finished episodes.

    A schedule counts steps, unless its attribute `per` is "update" or "episode".
    """
    if not callable(schedule):
        return schedule
    per = getattr(schedule, "per", "step")
    if per == "update":
        return schedule(update)
    if per == "episode":
        return schedule(episode)
    return schedule(step)


def bounds_of(schedule: Schedule) -> tuple[float, ...]:
    """Numbers between which a schedule stays; empty for your own function."""
    if not callable(schedule):
        return (schedule,)
    return getattr(schedule, "bounds", ())
