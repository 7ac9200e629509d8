import math

import pytest

from minidqn.schedules import ExponentialDecay, LinearDecay, value_at


def test_linear_decay_reaches_its_end_and_stays() -> None:
    decay = LinearDecay(1.0, 0.1, 100)
    steps = [0, 50, 99, 100, 120, 10**6]
    assert [decay(step) for step in steps] == pytest.approx([1.0, 0.55, 0.109, 0.1, 0.1, 0.1])


def test_exponential_decay_shrinks_the_distance_by_e() -> None:
    decay = ExponentialDecay(0.9, 0.05, 200)
    assert decay(0) == pytest.approx(0.9)
    assert decay(200) == pytest.approx(0.05 + 0.85 / math.e)
    assert decay(10**6) == pytest.approx(0.05)


def test_a_schedule_is_a_number_or_any_function() -> None:
    assert value_at(0.3, 7) == 0.3
    assert value_at(lambda step: step / 10, 7) == 0.7


@pytest.mark.parametrize("decay", [LinearDecay, ExponentialDecay])
def test_a_decay_needs_time(decay: type[LinearDecay | ExponentialDecay]) -> None:
    with pytest.raises(ValueError, match=r"is 0\.0: expected more than 0"):
        decay(1.0, 0.1, 0)


def test_a_decay_needs_numbers() -> None:
    with pytest.raises(ValueError, match="steps is 'ten': expected a number"):
        LinearDecay(1.0, 0.1, "ten")  # type: ignore[arg-type]  # that is the test
