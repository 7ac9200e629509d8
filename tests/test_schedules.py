import math

import pytest

from minidqn import DQNConfig
from minidqn.parts.decays import ExponentialDecay, GeometricDecay
from minidqn.schedules import LinearDecay, bounds_of, value_at


def test_linear_decay_reaches_its_end_and_stays() -> None:
    decay = LinearDecay(1.0, 0.1, 100)
    steps = [0, 50, 99, 100, 120, 10**6]
    assert [decay(step) for step in steps] == pytest.approx(
        [1.0, 0.55, 0.109, 0.1, 0.1, 0.1]
    )


def test_exponential_decay_shrinks_the_distance_by_e() -> None:
    decay = ExponentialDecay(0.9, 0.05, 200)
    assert decay(0) == pytest.approx(0.9)
    assert decay(200) == pytest.approx(0.05 + 0.85 / math.e)
    assert decay(10**6) == pytest.approx(0.05)


def test_geometric_decay_counts_what_it_is_told_to() -> None:
    decay = GeometricDecay(1.0, 0.1, 0.5, per="update")
    assert [decay(n) for n in range(5)] == [1.0, 0.5, 0.25, 0.125, 0.1]
    for per, expected in (("step", 0.5), ("update", 0.25), ("episode", 0.125)):
        decay = GeometricDecay(1.0, 0.1, 0.5, per)
        assert value_at(decay, step=1, update=2, episode=3) == expected


@pytest.mark.parametrize(
    ("factor", "per", "message"),
    [
        (1.5, "step", "factor is 1.5: expected more than 0, up to 1"),
        (0.0, "step", "factor is 0.0: expected more than 0, up to 1"),
        (
            0.5,
            "year",
            r"per is 'year': expected one of \('step', 'update', 'episode'\)",
        ),
    ],
)
def test_a_geometric_decay_decays(factor: float, per: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GeometricDecay(1.0, 0.1, factor, per)
    assert GeometricDecay(0.5, 0.1, 1.0)(1000) == 0.5  # or stays


class Ramp:
    """A schedule of one's own, whose attributes mean what they like."""

    start, end = 1000, 5000

    def __call__(self, step: int) -> float:
        return min(max((self.end - step) / (self.end - self.start), 0.0), 1.0)


def test_a_schedule_is_a_number_or_any_function() -> None:
    assert value_at(0.3, 7) == 0.3
    assert value_at(lambda step: step / 10, 7) == 0.7
    assert value_at(DQNConfig(epsilon=Ramp()).epsilon, 3000) == 0.5


@pytest.mark.parametrize("decay", [LinearDecay, ExponentialDecay])
def test_a_decay_needs_time(decay: type[LinearDecay | ExponentialDecay]) -> None:
    with pytest.raises(ValueError, match=r"is 0\.0: expected more than 0"):
        decay(1.0, 0.1, 0)


def test_a_decay_needs_numbers() -> None:
    with pytest.raises(ValueError, match="steps is 'ten': expected a number"):
        LinearDecay(1.0, 0.1, "ten")  # type: ignore[arg-type]  # that is the test


def test_bounds_are_known_of_numbers_and_decays() -> None:
    assert bounds_of(0.3) == (0.3,)
    assert bounds_of(LinearDecay(1.0, 0.1, 10)) == (1.0, 0.1)
    assert bounds_of(ExponentialDecay(0.1, 0.9, 10)) == (0.1, 0.9)
    assert bounds_of(GeometricDecay(1.0, 0.1, 0.5)) == (1.0, 0.1)
    assert bounds_of(Ramp()) == ()  # a start of 1000 is no value of it
    for decay in (LinearDecay(0.2, 0.7, 10), ExponentialDecay(0.7, 0.2, 10)):
        low, high = sorted(decay.bounds)
        assert all(low <= decay(step) <= high for step in range(100))
