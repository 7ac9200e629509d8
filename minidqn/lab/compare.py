"""Settings compared over many seeds: a table, a figure, and a file for other programs.

The table has a line for each of the settings, and the figure a colour. Their statistics
are explained in statistics.py: the interquartile mean (IQM) and its interval.
"""

import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidqn.lab.groups import (
    Group,
    Result,
    eval_means,
    grouped,
    markdown,
    row,
    row_of_failed,
    settings_in,
)
from minidqn.lab.history import WINDOW
from minidqn.lab.plotting import RED, blank, check_folder, distinct_colors, finished
from minidqn.lab.settings import DECAYS, from_json
from minidqn.lab.statistics import FEWEST, improvement, interval, iqm
from minidqn.nn.layers import Array
from minidqn.schedules import LinearDecay

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["compare", "improvement", "interval", "iqm", "write_results"]

SHOWN = (
    f"Left: mean of the last {WINDOW} episodes in training, which lags behind in short "
    "runs\nRight: test of the last policy\n"
    "Every seed, their interquartile mean, and "
    f"from {FEWEST} seeds on its 95 % interval"
)


def compare(
    results: Iterable[Result], path: str | Path | None = None, title: str = SHOWN
) -> tuple[str, "Figure"]:
    """A table in Markdown, and a figure, which is written if there is a `path`.

    By default, the title of the figure says what it shows.

    Runs in one environment whose names differ only in the last part, the seed, have the
    same settings. They are one line of the table and one colour of the figure, in the
    order of the results. Two columns compare them with the environment's first line:
    the difference between runs of the same seed, and the probability that a run is
    better. Runs that failed count as not solved, and are else left out; settings of
    which all failed come last. docs/sweeps.md explains every column and line.

    Raises ValueError if no run has ended, or if runs of one line have the same name or
    other settings; and FileNotFoundError if the folder of `path` does not exist.
    """
    check_folder(path)
    groups = grouped(results)
    environments: dict[str, list[Group]] = {}
    for group in groups:
        if group.ended:
            environments.setdefault(group.env_id, []).append(group)
    if not environments:
        raise ValueError("no run has ended: expected one or more results")

    rows = []
    for of_env in environments.values():
        first = of_env[0]
        rows += [row(group, first) for group in of_env]
    rows += [row_of_failed(group) for group in groups if not group.ended]
    figure = draw(environments, title, shown=path is None)
    return markdown(rows, groups), finished(figure, path)


def draw(environments: dict[str, list[Group]], title: str, *, shown: bool) -> "Figure":
    """The figure: two axes for each environment, and its settings below."""
    n = len(environments)
    heights = []
    for groups in environments.values():
        lines = math.ceil(len(groups) / columns_of_legend(groups))
        heights.append(3.2 + 0.2 * lines)
    figure = blank(10, 0.8 + sum(heights), shown=shown)
    figure.suptitle(title, fontsize="medium")
    most = max(len(groups) for groups in environments.values())
    parts = figure.subfigures(n, 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, groups in zip(parts, environments.values(), strict=True):
        curves, ends = part.subplots(1, 2, width_ratios=(3, 1 + most / 12))
        draw_environment(curves, ends, groups)
        draw_threshold(curves, ends, groups)
        if len(groups) > 1:
            part.legend(
                loc="outside lower left",
                ncols=columns_of_legend(groups),
                frameon=False,
                fontsize="small",
            )
    return figure


def columns_of_legend(groups: Sequence[Group]) -> int:
    """How many settings fit beside each other, by the length of the longest name."""
    longest = max(len(group.settings) for group in groups)
    return max(min(len(groups), 130 // (longest + 12)), 1)


def draw_environment(curves: Any, ends: Any, groups: Sequence[Group]) -> None:
    """Draw all settings of one environment: `curves` and `ends` are axes.

    Several settings have numbers, because their names are too long for the right side.
    """
    colors = distinct_colors(len(groups))
    columns = [groups[0].settings]
    if len(groups) > 1:
        columns = [str(number) for number in range(1, len(groups) + 1)]
    for at, group in enumerate(groups):
        label = f"{columns[at]}: {group.settings}"
        draw_curves(curves, group.ended, colors[at], label)
        draw_ends(ends, group.ended, colors[at], at)
    curves.set_title(groups[0].env_id)
    curves.set(xlabel="environment steps", ylabel="return: higher is better")
    ends.set(title="test of the last policy", xlim=(-0.8, len(groups) - 0.2))
    ends.set_xticks(range(len(groups)), columns)
    ends.tick_params(axis="x", length=0)
    curves.spines[["top", "right"]].set_visible(False)
    ends.spines[["top", "right"]].set_visible(False)


def draw_threshold(curves: Any, ends: Any, groups: Sequence[Group]) -> None:
    """Draw where the task is solved, if all settings mean the same by it."""
    firsts = [group.ended[0] for group in groups]
    thresholds = {run["solved_at"] for run in firsts}
    if len(thresholds) > 1 or None in thresholds:
        return
    (solved_at,) = thresholds
    drawn = [ends]
    # a wrapper for training changes the returns there
    if not any(run["train_wrapper"] for run in firsts):
        drawn = [curves, ends]
    for axes in drawn:
        axes.axhline(solved_at, color=RED, lw=1, ls="--")
    drawn[0].annotate(
        f"solved, {solved_at:g}",
        (0.01, solved_at),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),  # points above the line
        textcoords="offset points",
        color=RED,
        fontsize="small",
    )


def draw_curves(axes: Any, runs: Sequence[Result], color: str, label: str) -> None:
    """Draw the learning curve of every seed, their IQM, and its interval.

    The IQM ends where the first seed ends. Few seeds have no interval.
    """
    curves = [run["curve"] for run in runs]
    few = len(runs) < FEWEST
    for curve in curves:
        returns = np.array(curve["mean_return"], float)  # NaN before the first episode
        axes.plot(
            curve["steps"], returns, color=color, lw=0.8 if few else 0.4, alpha=0.4
        )
    steps, means = on_common_steps(curves)
    if not few:
        low, high = interval(means, 500)
        axes.fill_between(steps, low, high, color=color, alpha=0.25, lw=0)
    # above the bands of all settings
    axes.plot(steps, iqm(means), color=color, lw=2, label=label, zorder=3)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x else "0")


def on_common_steps(curves: Sequence[Any]) -> tuple[Array, Array]:
    """Steps (points,) and returns (points, seeds), as far as all curves are known.

    The points are those of the shortest curve. A run that ended early, as it was
    solved, has closer ones.
    """
    shortest = min(curves, key=lambda curve: float(curve["steps"][-1]))
    steps = np.array(shortest["steps"], float)
    returns = []
    for curve in curves:
        means = np.array(curve["mean_return"], float)
        returns.append(np.interp(steps, curve["steps"], means))
    by_step = np.stack(returns, axis=1)
    known = np.isfinite(by_step).all(axis=1)  # an episode of every seed has ended
    return steps[known], by_step[known]


def draw_ends(axes: Any, runs: Sequence[Result], color: str, x: float) -> None:
    """Draw the test of every seed as a dot, their IQM as a line, its interval as a bar.

    The dots stand to the left of `x`, and the bar to its right. Few seeds have no
    interval.
    """
    means = eval_means(runs)
    axes.plot([x - 0.2] * len(means), means, ".", color=color, alpha=0.6, ms=9, mew=0)
    if len(runs) >= FEWEST:
        ends = interval(means)
        bar = [x + 0.1, x + 0.1]
        axes.plot(bar, ends, color=color, lw=6, alpha=0.4, solid_capstyle="butt")
    axes.plot([x - 0.1, x + 0.3], [iqm(means)] * 2, color=color, lw=2.5)


def write_results(results: Iterable[Result], path: str | Path) -> None:
    """Write a CSV file, which pandas and polars read: a line for each result.

    The column `settings` is the name without its last part, the seed. Settings are
    written as --set takes them, so that they can be grouped by. The lists of figures in
    a result, its learning curve and its test returns, are left out.
    """
    rows = []
    columns = {"name": None, "settings": None}  # a set in the order of first use
    for result in results:
        cells = {"name": result["name"], "settings": settings_in(result["name"])}
        for name, value in result.items():
            if name not in ("eval_returns", "curve", "tests"):
                cells[name] = as_cell(value)
        rows.append(cells)
        columns.update(dict.fromkeys(cells))
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(columns))
        table.writeheader()
        table.writerows(rows)


def as_cell(value: Any) -> Any:
    """A value of a result as text or a number: 64,64 and 0.003:0:8000."""
    if isinstance(value, list):
        return ",".join(as_entry(entry) for entry in value) if value else "()"
    if not isinstance(value, dict):
        return value
    if DECAYS.keys().isdisjoint(value):
        return json.dumps(value)
    decay = from_json(value)
    if isinstance(decay, LinearDecay):
        numbers = (decay.start, decay.end, decay.steps)
        return ":".join(repr(number).removesuffix(".0") for number in numbers)
    return repr(decay)


def as_entry(value: Any) -> str:
    """An entry of a list: the layers of conv are lists themselves."""
    return f"({as_cell(value)})" if isinstance(value, list) else str(value)
