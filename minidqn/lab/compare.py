"""Settings compared over many seeds: a table, a figure, and a file for other programs.

The table has a line for each of the settings, and the figure a colour. Their statistics
are explained in statistics.py: the interquartile mean (IQM) and its interval.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidqn.lab.groups import Group, Result, grouped
from minidqn.lab.history import WINDOW
from minidqn.lab.plotting import RED, blank, check_folder, distinct_colors, finished
from minidqn.lab.statistics import improvement, interval, iqm
from minidqn.nn.layers import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


BEATS = "chance to beat the first line"  # the heading of a column of the table
SHOWN = (
    f"Left: mean of {WINDOW} episodes in training. Right: test of the last policy.\n"
    "Every seed, their interquartile mean, and its 95 % interval"
)


def compare(
    results: Iterable[Result], path: str | Path | None = None, title: str = SHOWN
) -> tuple[str, "Figure"]:
    """A table in Markdown, and a figure, which is written if there is a `path`.

    By default, the title of the figure says what it shows.

    Runs in one environment whose names differ only in the last part, the seed, have the
    same settings. They are one line of the table and one colour of the figure, in the
    order of the results. A column says with which probability a run does better than
    one of the environment's first line. Runs that failed are counted, and else left
    out; settings of which all failed come last.

    Raises ValueError if no run has ended, or if two have the same name, and
    FileNotFoundError if the folder of `path` does not exist.
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
    return markdown(rows), finished(figure, path)


def eval_means(runs: Sequence[Result]) -> Array:
    """The mean return of each run's test, (seeds,)."""
    return np.array([run["eval_mean"] for run in runs])


def row(group: Group, first: Group) -> dict[str, str]:
    """The row of some settings, beside the `first` ones: a text for each column."""
    runs = group.ended
    means = eval_means(runs)
    middle = ""
    if len(runs) > 1:
        low, high = interval(means)
        middle = f"{iqm(means):.2f} ({low:.2f} to {high:.2f})"
    worst = runs[int(means.argmin())]["seed"]
    solved_at = runs[0]["solved_at"]
    solved = ""
    if solved_at is not None:
        solved = f"{np.sum(means >= solved_at)} of {len(runs)} from {solved_at:g}"
    # a run that was resumed does not know how long it took
    seconds = [run["train_seconds"] for run in runs if run["train_seconds"]]
    return {
        "environment": group.env_id,
        "settings": group.settings,
        "seeds": str(len(runs)),
        "failed": str(group.failed),
        "mean": f"{means.mean():.2f}",
        "IQM (95 % interval)": middle,
        "worst seed": f"{means.min():.2f} (seed {worst})",
        "solved": solved,
        BEATS: f"{improvement(means, eval_means(first.ended)):.2f}",
        "updates": f"{runs[0]['updates']:,}",
        "seconds, median": f"{np.median(seconds):.1f}" if seconds else "",
    }


def row_of_failed(group: Group) -> dict[str, str]:
    """The row of settings of which no run has ended: most columns are left out."""
    return {
        "environment": group.env_id,
        "settings": group.settings,
        "seeds": "0",
        "failed": str(group.failed),
    }


def markdown(rows: list[dict[str, str]]) -> str:
    """The rows as a table, with the columns of the first.

    It names the environments only if there are several.
    """
    columns = list(rows[0])
    env_ids = {cells["environment"] for cells in rows if cells["environment"]}
    if len(env_ids) == 1:
        columns.remove("environment")
    lines = [columns, ["---"] * len(columns)]
    for cells in rows:
        lines.append([cells.get(column, "") for column in columns])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def draw(environments: dict[str, list[Group]], title: str, *, shown: bool) -> "Figure":
    """The figure: a row of two axes for each environment, and the settings below."""
    n = len(environments)
    legends = [len(groups) for groups in environments.values() if len(groups) > 1]
    height = 0.6 + 3.2 * n + 0.25 * sum(legends)
    figure = blank(10, height, shown=shown)
    figure.suptitle(title)
    axes = figure.subplots(n, 2, width_ratios=(3, 1), squeeze=False)
    for (curves, ends), groups in zip(axes, environments.values(), strict=True):
        draw_environment(curves, ends, groups)
        if len(groups) > 1:
            legend = curves.legend(loc="upper left", frameon=False, borderaxespad=3.5)
            legend.set_bbox_to_anchor((0.0, 0.0), curves.transAxes)  # below the axes
    return figure


def draw_environment(curves: Any, ends: Any, groups: Sequence[Group]) -> None:
    """Draw all settings of one environment: `curves` and `ends` are axes."""
    colors = distinct_colors(len(groups))
    for at, group in enumerate(groups):
        draw_curves(curves, group.ended, colors[at], group.settings)
        draw_ends(ends, group.ended, colors[at], at)
    curves.set_title(groups[0].env_id)
    curves.set(xlabel="environment steps", ylabel="return: higher is better")
    ends.set(title="test of the last policy", xlim=(-0.6, len(groups) - 0.4), xticks=[])
    curves.spines[["top", "right"]].set_visible(False)
    ends.spines[["top", "right"]].set_visible(False)

    # where the task is solved, if all settings mean the same by it
    firsts = [group.ended[0] for group in groups]
    thresholds = {run["solved_at"] for run in firsts}
    if len(thresholds) > 1 or None in thresholds:
        return
    (solved_at,) = thresholds
    ends.axhline(solved_at, color=RED, lw=1, ls="--")
    # a wrapper for training changes the returns there
    if not any(run["train_wrapper"] for run in firsts):
        curves.axhline(solved_at, color=RED, lw=1, ls="--")


def draw_curves(axes: Any, runs: Sequence[Result], color: str, label: str) -> None:
    """Draw the learning curve of every seed, their IQM, and its interval.

    The IQM ends where the first seed ends.
    """
    curves = [run["curve"] for run in runs]
    for curve in curves:
        returns = np.array(curve["mean_return"], float)  # NaN before the first episode
        axes.plot(curve["steps"], returns, color=color, lw=0.4, alpha=0.4)
    steps, means = on_common_steps(curves)
    low, high = interval(means, 500)
    axes.fill_between(steps, low, high, color=color, alpha=0.3, lw=0)
    axes.plot(steps, iqm(means), color=color, lw=2, label=label)
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

    They stand above `x`.
    """
    means = eval_means(runs)
    low, high = interval(means)
    axes.plot([x, x], [low, high], color=color, lw=6, alpha=0.4, solid_capstyle="butt")
    axes.plot([x] * len(means), means, ".", color=color, alpha=0.6, ms=9, mew=0)
    axes.plot(x, iqm(means), "_", color=color, ms=18, mew=2.5)


def write_results(results: Iterable[Result], path: str | Path) -> None:
    """Write a CSV file, which pandas and polars read: a line for each result.

    The lists in a result, its learning curve and its test returns, are left out.
    """
    rows = []
    columns: dict[str, None] = {}  # a set in the order of first use
    for result in results:
        cells = dict(result)
        for name in ("eval_returns", "curve", "tests"):
            cells.pop(name, None)
        rows.append(cells)
        columns.update(dict.fromkeys(cells))
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(columns))
        table.writeheader()
        table.writerows(rows)
