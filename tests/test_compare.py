"""Statistics over seeds, and how they are shown."""

import csv
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidqn import DQNConfig, Spec
from minidqn.lab.compare import compare, write_results
from minidqn.lab.groups import BEATS, DIFFERENCE
from minidqn.lab.parsing import parse
from minidqn.lab.statistics import FEWEST, difference, improvement, interval, iqm


def test_iqm_is_the_mean_of_the_middle_half() -> None:
    assert iqm([0.0, 1.0, 2.0, 1e9]) == 1.5
    assert iqm(np.random.default_rng(0).permutation(8)) == np.mean([2, 3, 4, 5])
    # each of 5 values is a fifth: of the three inner ones, 0.15, 0.2 and 0.15 are in
    # the middle half
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
    # 190 expected; bootstrap intervals of few seeds are a little narrow
    assert 170 <= sum(held) <= 199


def test_the_probability_of_improvement_counts_pairs() -> None:
    assert improvement([3.0, 4.0], [1.0, 2.0]) == 1.0
    assert improvement([1.0, 2.0], [3.0, 4.0]) == 0.0
    assert improvement([1.0, 5.0], [1.0, 3.0]) == (0.5 + 0.0 + 1.0 + 1.0) / 4
    assert improvement([7.0], [7.0]) == 0.5


def test_a_difference_is_taken_seed_by_seed() -> None:
    """What both runs of a seed have in common cancels out."""
    seeds = np.array([0.0, 100.0, 200.0, 300.0, 400.0])
    middle, low, high = difference(seeds + 3.0, seeds)
    assert (middle, low, high) == (3.0, 3.0, 3.0)
    middle, low, high = difference(seeds + np.array([-1, 1, 0, 2, 0.5]), seeds)
    assert low < 0.0 < middle < high


def test_of_few_seeds_there_is_no_interval() -> None:
    """It would be far too short: with 2 seeds it holds the truth half of the time."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        low, high = interval(rng.normal(size=2), resamples=200)
        held.append(low <= 0.0 <= high)
    assert 0.4 < np.mean(held) < 0.6
    for seeds in (FEWEST - 1, FEWEST):
        runs = [result("a", float(seed), seed) for seed in range(seeds)]
        table, figure = compare(runs)
        [row] = rows_of(table)
        assert (" to " in row["IQM (95 % interval)"]) == (seeds == FEWEST)
        curves, ends = figure.axes
        assert len(curves.collections) == (seeds == FEWEST)  # the band
        bars = [line for line in ends.lines if line.get_linewidth() == 6]
        assert len(bars) == (seeds == FEWEST)


def result(name: str, mean: float, seed: int = 0, **changes: Any) -> dict[str, Any]:
    run = {
        "name": f"{name}/{seed}",
        "env_id": "Some-v0",
        "seed": seed,
        "eval_mean": mean,
        "solved_at": 5.0,
        "updates": 1000,
        "train_seconds": 2.0,
        "steps": 400,
        "train_wrapper": None,
        "curve": {
            "steps": [100.0, 200.0, 300.0, 400.0],
            "mean_return": [None, mean - 1.0, mean, mean + 1.0],
        },
        "eval_returns": [1.0, 2.0],
    }
    return run | changes


def failed(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "failed": "no"} | more


def rows_of(table: str) -> list[dict[str, str]]:
    """The lines of a Markdown table: the text below each heading."""
    table = table.split("\n\n")[0]  # without what is said below it
    heads, rule, *lines = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table.strip().splitlines()
    )
    assert set(rule) == {"---"}
    return [dict(zip(heads, line, strict=True)) for line in lines]


def test_a_table() -> None:
    """The first settings are the reference; seeds are sorted as numbers."""
    results = [result("a", float(seed), seed) for seed in (10, 2, 4, 8)]
    for seed in (0, 1):
        run = result("b", 20.0, seed, train_seconds=None, solved_at=None)
        results.append(run)
    results += [result("c", 1.0), failed("a/9"), failed("d/0")]
    table, _ = compare(results)
    a, b, c, d = rows_of(table)
    assert [row["settings"] for row in (a, b, c, d)] == ["a", "b", "c", "d"]
    assert "environment" not in a  # there is only one
    assert (a["seeds"], a["failed"], a["mean"]) == ("4", "1", "6.00")
    assert (a["worst seed"], a["updates"]) == ("2.00 (seed 2)", "1,000")
    assert a["steps"] == "400"
    assert a["solved"] == "2 of 5 from 5"  # the failed one is not
    below = table.split("\n\n")[1:]
    says = "runs of {} failed: they count as not solved, and are left out of the means."
    assert below == [
        f"1 of 5 {says.format('a in Some-v0')}",
        f"1 of 1 {says.format('d')}\n",
    ]
    assert a["IQM (95 % interval)"] == "6.00"
    assert (b["failed"], b["solved"]) == ("0", "")
    # how long a run took says more of what ran beside it than of its settings
    assert not [column for column in a if "seconds" in column]
    assert c["IQM (95 % interval)"] == ""  # of one seed there is none
    assert [row[BEATS] for row in (a, b, c)] == ["0.50", "1.00", "0.00"]
    known = {"settings": "d", "seeds": "0", "failed": "1"}
    assert d == dict.fromkeys(a, "") | known


def test_a_table_says_how_far_settings_are_from_the_first() -> None:
    """Only seeds that both have are compared."""
    results = [result("a", 10.0 * seed, seed) for seed in range(6)]
    results += [result("b", 10.0 * seed + 2.0, seed) for seed in range(1, 9)]
    results += [result("c", 10.0 * seed - seed, seed) for seed in range(6)]
    results += [result("few", 1.0, seed) for seed in range(4)]
    results += [result("others", 1.0, seed) for seed in range(6, 20)]
    results.append(failed("none/0"))
    table, _ = compare(results)
    found = [row[DIFFERENCE] for row in rows_of(table)]
    assert found[:2] == ["", "+2.00 (+2.00 to +2.00), 5 pairs"]
    assert found[2].startswith("-2.50 (-4")
    assert found[2].endswith(")")  # all seeds are pairs
    assert found[3:] == ["", "", ""]


def test_environments_are_counted_apart() -> None:
    """The same settings in two environments are two lines."""
    results = [
        failed("b/9"),  # b is in one environment alone: it must be that one
        result("a", 1.0, 0, env_id="X"),
        result("a", 2.0, 1, env_id="X"),
        result("b", 9.0, 3, env_id="Y"),
        result("a", 5.0, 0, env_id="Y"),  # the name of another run, elsewhere
        failed("a/4", env_id="Y"),
        failed("a/5", env_id="Y"),
        failed("a/7"),  # of X or of Y
        failed("d/0", env_id="Z"),
    ]
    table, figure = compare(results)
    found = [
        (row["environment"], row["settings"], row["seeds"], row["failed"])
        for row in rows_of(table)
    ]
    assert found == [
        ("X", "a", "2", "0"),
        ("Y", "b", "1", "1"),
        ("Y", "a", "1", "2"),
        ("", "a", "0", "1"),
        ("Z", "d", "0", "1"),
    ]
    better = [row[BEATS] for row in rows_of(table)]
    assert better == ["0.50", "0.50", "0.00", "", ""]  # than its environment's first
    assert [axes.get_title() for axes in figure.axes[::2]] == ["X", "Y"]


def test_a_figure(tmp_path: Path) -> None:
    results = [result("a", float(seed), seed) for seed in (10, 2, 4, 8)]
    results += [result("b", 20.0, seed) for seed in (0, 1)]
    results.append(result("c", 1.0, env_id="Other-v0", train_wrapper="OneBall"))
    path = tmp_path / "comparison.png"
    _, figure = compare(results, path, "Title")
    assert path.exists()
    assert figure.get_suptitle() == "Title"
    curves, ends, other, other_ends = figure.axes
    assert [axes.get_title() for axes in (curves, other)] == ["Some-v0", "Other-v0"]
    thick: list[Any] = [line for line in curves.lines if line.get_linewidth() == 2]
    assert thick[0].get_xdata().tolist() == [200.0, 300.0, 400.0]  # where all are known
    assert thick[0].get_ydata().tolist() == [5.0, 6.0, 7.0]
    dots: list[Any] = [line for line in ends.lines if line.get_marker() == "."]
    means = [list(dot.get_ydata()) for dot in dots]
    assert means == [[2.0, 4.0, 8.0, 10.0], [20.0, 20.0]]
    first, second = figure.subfigs
    [legend] = first.legends
    # a number leads from a column of the right side to its settings
    assert [text.get_text() for text in legend.get_texts()] == ["1: a", "2: b"]
    assert [label.get_text() for label in ends.get_xticklabels()] == ["1", "2"]
    assert second.legends == []
    assert [label.get_text() for label in other_ends.get_xticklabels()] == ["c"]
    # the dashed line says what it is, once for each environment
    assert words_in(curves) == ["solved, 5"]
    assert words_in(ends) == []
    assert words_in(other) == []  # its line is at the right alone
    assert words_in(other_ends) == ["solved, 5"]
    assert [thresholds(axes) for axes in (curves, ends)] == [[5.0], [5.0]]
    assert thresholds(other) == []  # it is trained on other returns
    assert thresholds(other_ends) == [5.0]


def words_in(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def thresholds(axes: Any) -> list[float]:
    """The returns at which a dashed line is drawn."""
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    return [float(line.get_ydata()[0]) for line in dashed]


@pytest.mark.parametrize("of_b", [None, 7.0])
def test_a_threshold_is_drawn_if_all_settings_have_it(of_b: float | None) -> None:
    for results in (
        [result("a", 1.0), result("b", 2.0, solved_at=of_b)],
        [result("b", 2.0, solved_at=of_b), result("a", 1.0)],
    ):
        _, figure = compare(results)
        assert [thresholds(axes) for axes in figure.axes] == [[], []]


def test_curves_of_different_lengths_are_drawn_as_far_as_the_shortest() -> None:
    """The runs of some seeds ended early, because they were solved."""
    short = {"steps": [50.0, 100.0, 150.0, 200.0], "mean_return": [None, 2.0, 4.0, 6.0]}
    results = [result("a", 8.0, 0), result("a", 5.0, 1, curve=short)]
    _, figure = compare(results)
    shown = figure.get_suptitle()
    assert "mean of the last 20 episodes in training, which lags behind" in shown
    assert "test of the last policy" in shown
    *seeds, mean = [
        line for line in figure.axes[0].lines if line.get_linestyle() == "-"
    ]
    ends = [float(np.asarray(line.get_xdata())[-1]) for line in seeds]
    assert ends == [400.0, 200.0]
    np.testing.assert_array_equal(mean.get_xdata(), [200.0])
    np.testing.assert_array_equal(mean.get_ydata(), [(7.0 + 6.0) / 2.0])


def test_each_of_many_settings_has_a_color_of_its_own() -> None:
    _, figure = compare([result(f"n = {n}", 1.0) for n in range(9)])
    thick = [line for line in figure.axes[0].lines if line.get_linewidth() == 2]
    assert len({line.get_color() for line in thick}) == 9


@pytest.mark.parametrize("length", [3, 60, 150])
def test_long_names_leave_the_curves_their_room(tmp_path: Path, length: int) -> None:
    runs = [result(letter * length, 1.0) for letter in "abcdefghijkl"]
    _, figure = compare(runs, tmp_path / "comparison.png")
    axes: Any = figure.axes
    curves, ends = axes
    assert curves.get_position().width > 0.5
    [legend] = figure.subfigs[0].legends
    below = legend.get_window_extent().y1
    assert 0.0 <= legend.get_window_extent().y0 < below
    assert below <= curves.get_tightbbox().y0
    assert curves.get_position().height * figure.get_figheight() > 2.0  # inches
    assert ends.get_tightbbox().x1 <= figure.bbox.x1


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    says = "no run has ended: expected one or more results"
    with pytest.raises(ValueError, match=says):
        compare([failed("a/9")])
    with pytest.raises(ValueError, match="two runs are named 'a/0': expected one"):
        compare([result("a", 1.0), result("a", 2.0)])
    with pytest.raises(ValueError, match="two runs are named 'a/0': expected one"):
        compare([result("a", 1.0), failed("a/0")])
    with pytest.raises(FileNotFoundError, match=r"no folder '.*absent': make it"):
        compare([result("a", 1.0)], tmp_path / "absent" / "comparison.png")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"n_step": 3}, "n_step 1 and 3"),
        ({"steps": 500}, "steps 400 and 500"),
        ({"hidden": [8], "gamma": 0.5}, r"gamma 0.9 and 0.5; hidden \[64\] and \[8\]"),
        ({"train_wrapper": "Lazy"}, "train_wrapper None and Lazy"),
    ],
)
def test_runs_of_one_name_and_other_settings_are_refused(
    changes: dict[str, Any], says: str
) -> None:
    """Else two settings would be pooled into one line, without a word."""
    first = result("mix", 1.0, 0, n_step=1, gamma=0.9, hidden=[64])
    second = first | {"name": "mix/1", "seed": 1}
    compare([first, second])
    with pytest.raises(ValueError, match=f"'mix/0' and 'mix/1' have {says}: expected"):
        compare([first, second | changes])
    # what came of a run is no setting, and what a result does not say is not judged
    compare([first, second | {"updates": 5, "params_sha256": "no"}])
    compare([first, {name: second[name] for name in second if name != "n_step"}])


def test_runs_that_end_when_they_are_solved_have_steps_of_their_own() -> None:
    results = [
        result("a", 9.0, seed, steps=100 + seed, until_solved=True) for seed in (0, 1)
    ]
    table, _ = compare(results)
    assert rows_of(table)[0]["seeds"] == "2"


def test_a_seed_that_occurs_twice_is_refused() -> None:
    runs = [result("mix", 1.0) | {"name": f"mix/0-{n}"} for n in (1, 3)]
    with pytest.raises(ValueError, match="'mix/0-1' and 'mix/0-3' have the seed 0: ex"):
        compare(runs)
    runs[0]["n_step"], runs[1]["n_step"] = 1, 3
    with pytest.raises(ValueError, match="'mix/0-1' and 'mix/0-3' have n_step 1 and 3"):
        compare(runs)
    failures = [failed("mix/1", seed=0), failed("mix/2", seed=0)]
    compare([runs[0], *failures])  # nothing is known of them


def test_results_as_a_table(tmp_path: Path) -> None:
    write_results([result("a", 1.5), failed("b/0")], tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["name"], first["eval_mean"], first["failed"]) == ("a/0", "1.5", "")
    assert (second["name"], second["eval_mean"], second["failed"]) == ("b/0", "", "no")
    assert not {"curve", "eval_returns"} & first.keys()
    assert (first["settings"], second["settings"]) == ("a", "b")


def a_decay(step: int) -> float:
    return 0.5


def test_a_table_for_other_programs_has_settings_as_they_are_typed(
    tmp_path: Path,
) -> None:
    """Text, which can be grouped by, and given to --set again."""
    written = {
        "learning_rate": "0.003:0:8000",
        "epsilon": "ExponentialDecay(start=1.0, end=0.1, time_constant=500.0)",
        "hidden": "64,64",
        "conv": "(16,3,1),(32,3,1)",
        "huber_delta": "inf",
        "double": "True",
    }
    typed = {name: parse(name, text, 100) for name, text in written.items()}
    spec = Spec("Some-v0", DQNConfig(**typed), 8000, 3, "x/y/3", solved_at=5.0)
    write_results([{"name": spec.name} | spec.about()], tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert {name: row[name] for name in written} == written
    assert row["settings"] == "x/y"
    assert list(row)[:2] == ["name", "settings"]
    for name in (field.name for field in fields(DQNConfig)):
        assert parse(name, row[name], 100) == getattr(spec.config, name)

    own = replace(spec, config=DQNConfig(epsilon=a_decay, hidden=(8,)))
    write_results([{"name": "alone"} | own.about()], tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["settings"], row["hidden"], row["conv"]) == ("alone", "8", "()")
    assert row["epsilon"].endswith("test_compare.a_decay")
    with_fields = {"name": "x/0", "make_env": {"partial": "m.make"}, "of_task": {}}
    write_results([with_fields], tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["make_env"], row["of_task"]) == ('{"partial": "m.make"}', "{}")
