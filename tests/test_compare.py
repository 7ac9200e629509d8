"""Statistics over seeds, and how they are shown."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidqn.lab.compare import compare, improvement, interval, iqm, write_results


def test_iqm_is_the_mean_of_the_middle_half() -> None:
    assert iqm([0.0, 1.0, 2.0, 1e9]) == 1.5
    assert iqm(np.random.default_rng(0).permutation(8)) == np.mean([2, 3, 4, 5])
    # 5 values of a fifth each: the middle half is 0.15, 0.2 and 0.15 of the three inner ones
    assert iqm([9.0, -7.0, 1.0, 3.0, 2.0]) == pytest.approx(
        (0.15 * 1 + 0.2 * 2 + 0.15 * 3) / 0.5
    )
    assert iqm([[1.0, 1.0], [2.0, 4.0]]).tolist() == [1.0, 3.0]


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(200):
        low, high = interval(rng.normal(size=20), resamples=300)
        assert low < high
        held.append(low <= 0.0 <= high)
    assert (
        170 <= sum(held) <= 199
    )  # of 190; bootstrap intervals of few seeds are a little narrow


def test_the_probability_of_improvement_counts_pairs() -> None:
    assert improvement([3.0, 4.0], [1.0, 2.0]) == 1.0
    assert improvement([1.0, 2.0], [3.0, 4.0]) == 0.0
    assert improvement([1.0, 5.0], [1.0, 3.0]) == (0.5 + 0.0 + 1.0 + 1.0) / 4
    assert improvement([7.0], [7.0]) == 0.5


def result(name: str, mean: float, seed: int = 0, **changes: Any) -> dict[str, Any]:
    numbers = {
        "name": f"{name}/{seed}",
        "env_id": "Some-v0",
        "seed": seed,
        "eval_mean": mean,
    }
    numbers |= {"solved_at": 5.0, "updates": 1000, "train_seconds": 2.0, "steps": 400}
    curve = [None, mean - 1.0, mean, mean + 1.0]
    return (
        numbers
        | {"train_wrapper": None, "curve": curve, "eval_returns": [1.0, 2.0]}
        | changes
    )


def test_a_comparison(tmp_path: Path) -> None:
    """Lines by settings, the environment's first as the reference; seeds as numbers, not names."""
    results = [result("a", float(seed), seed) for seed in (10, 2, 4, 8)]
    results += [
        result("b", 20.0, seed, train_seconds=None, solved_at=None) for seed in (0, 1)
    ]
    results += [
        result("c", 1.0, env_id="Other-v0", train_wrapper="OneBall"),
        {"name": "a/9", "failed": "no"},
        {"name": "d/0", "failed": "no"},
    ]
    table, figure = compare(results, tmp_path / "comparison.png", "Title")
    head, _, *lines = table.splitlines()
    assert lines.pop() == "| d | 0 | 1 | | | | | | | |"
    assert len(lines) == 3
    a, b, c = (
        dict(zip(head.split(" | "), line.split(" | "), strict=True)) for line in lines
    )
    assert (a["seeds"], a["failed"], a["mean"]) == ("4", "1", "6.00")
    assert (b["failed"], a["worst seed"]) == ("0", "2.00 (seed 2)")
    assert c["IQM (95 % interval)"] == ""  # of one seed there is none
    assert (a["solved"], a["better"], b["better"]) == ("2 of 4 from 5", "0.50", "1.00")
    assert a["IQM (95 % interval)"].startswith("6.00 (2.00 to 10.00")
    assert (a["seconds, median |"], b["seconds, median |"]) == ("2.0 |", " |")
    assert (b["solved"], c["better"], a["updates"]) == ("", "0.50", "1,000")
    (curves, ends), (other, _) = np.reshape(np.array(figure.axes, object), (2, 2))
    assert [axes.get_title() for axes in (curves, other)] == ["Some-v0", "Other-v0"]
    thick = [line for line in curves.lines if line.get_linewidth() == 2]
    assert thick[0].get_xdata().tolist() == [200.0, 300.0, 400.0]  # where all are known
    assert thick[0].get_ydata().tolist() == [5.0, 6.0, 7.0]
    dots = [line for line in ends.lines if line.get_marker() == "."]
    assert [list(dot.get_ydata()) for dot in dots] == [
        [2.0, 4.0, 8.0, 10.0],
        [20.0, 20.0],
    ]
    dashed = [
        [line.get_ydata() for line in axes.lines if line.get_linestyle() == "--"]
        for axes in (curves, other)
    ]
    assert dashed == [[], []]  # of b nobody knows it; c is trained on other returns
    assert (tmp_path / "comparison.png").exists()
    with pytest.raises(
        ValueError, match="no run has ended: expected one or more results"
    ):
        compare([{"name": "a/9", "failed": "no"}])
    with pytest.raises(ValueError, match="two runs are named 'a/0': expected one"):
        compare([result("a", 1.0), result("a", 2.0)])


def test_results_as_a_table(tmp_path: Path) -> None:
    write_results(
        [result("a", 1.5), {"name": "b/0", "failed": "no"}], tmp_path / "results.csv"
    )
    with (tmp_path / "results.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["name"], first["eval_mean"], first["failed"]) == ("a/0", "1.5", "")
    assert (second["name"], second["eval_mean"], second["failed"]) == ("b/0", "", "no")
    assert not {"curve", "eval_returns"} & first.keys()
