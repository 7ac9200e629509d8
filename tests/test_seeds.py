"""The statistics of the benchmarks."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from seeds import interval, iqm


def test_iqm_is_the_mean_of_the_middle_half() -> None:
    assert iqm([0.0, 1.0, 2.0, 1e9]) == 1.5
    assert iqm(np.random.default_rng(0).permutation(8)) == np.mean([2, 3, 4, 5])
    # 5 values of a fifth each: the middle half is 0.15, 0.2 and 0.15 of the three inner ones
    assert iqm([9.0, -7.0, 1.0, 3.0, 2.0]) == pytest.approx((0.15 * 1 + 0.2 * 2 + 0.15 * 3) / 0.5)
    assert iqm([[1.0, 1.0], [2.0, 4.0]]).tolist() == [1.0, 3.0]


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(200):
        low, high = interval(rng.normal(size=20), resamples=300)
        assert low < high
        held.append(low <= 0.0 <= high)
    assert 170 <= sum(held) <= 199  # of 190; bootstrap intervals of few seeds are a little narrow
