"""Settings compared over many seeds: a table, a figure, and a file for other programs.

The returns of different seeds are far from normally distributed: most are good, and
some are not. One bad seed moves the mean a lot. So what is shown is the *interquartile
mean* (IQM), the mean of the middle half; how far it may be off, as a *bootstrap
interval*; and every single seed.

The bootstrap asks: what if we had drawn other seeds? It draws as many as there are from
those that we have, with replacement, many times, and sees how the IQM varies. (This has
nothing to do with the bootstrapping of TD targets.)

Source: Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical
precipice".
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from minidqn.lab.groups import Group, Result, grouped
from minidqn.lab.plotting import RED, blank, check_folder, distinct_colors, finished
from minidqn.nn.layers import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def iqm(x: ArrayLike) -> Array:
    """The interquartile mean over the last axis, (..., N) to (...).

    It is sturdier than the mean, and uses more of the data than the median.
    """
    x = np.sort(np.asarray(x, float), axis=-1)
    n = x.shape[-1]
    # Value i takes the stretch from i to i + 1. Its weight is how much of it lies in
    # the middle half, which goes from n / 4 to 3 n / 4.
    start = np.arange(n)
    inside_from = np.maximum(start, 0.25 * n)
    inside_to = np.minimum(start + 1, 0.75 * n)
    weights = np.maximum(inside_to - inside_from, 0.0)
    means: Array = x @ weights / weights.sum()
    return means


def interval(x: ArrayLike, resamples: int = 2000) -> tuple[Array, Array]:
    """95 % bootstrap interval of the IQM over the last axis: low and high, each (...).

    x is (..., seeds). What is drawn is a seed, with all its entries.
    """
    x = np.asarray(x, float)
    seeds = x.shape[-1]
    rng = np.random.default_rng(0)
    draws = rng.integers(seeds, size=(resamples, seeds))
    means = iqm(x[..., draws])  # (..., resamples)
    low, high = np.quantile(means, [0.025, 0.975], axis=-1)
    return low, high


def improvement(x: ArrayLike, y: ArrayLike) -> float:
    """The probability that a run of x is better than one of y; both are (seeds,).

    It is the share of the pairs in which that is so. A pair of equals counts half.
    """
    signs = np.sign(np.asarray(x, float)[:, None] - np.asarray(y, float))
    return float((signs.mean() + 1.0) / 2.0)


def compare(
    results: Iterable[Result], path: str | Path | None = None, title: str = ""
) -> tuple[str, "Figure"]:
    """A table in Markdown, and a figure, which is written if there is a `path`.

    Runs in one environment whose names differ only in the last part, the seed, have the
    same settings. They are one line of the table and one colour of the figure, in the
    order of the results. "better" is the probability that a run does better than one of
    the environment's first line. Runs that failed are counted, and else left out;
    settings of which all failed come last.

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
    return markdown(rows), finished(draw(environments, title), path)


def eval_means(runs: Sequence[Result]) -> Array:
    """The mean return of each run's test, (seeds,)."""
    return np.array([run["eval_mean"] for run in runs])


def row(group: Group, first: Group) -> dict[str, str]:
    """The row of some settings: a text for each column. "better" is: than `first`."""
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
        "better": f"{improvement(means, eval_means(first.ended)):.2f}",
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


def draw(environments: dict[str, list[Group]], title: str) -> "Figure":
    """The figure: a row of two axes for each environment, and the settings below."""
    n = len(environments)
    legends = [len(groups) for groups in environments.values() if len(groups) > 1]
    figure = blank(10, 0.6 + 3.2 * n + 0.25 * sum(legends))
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
    curves.set(xlabel="environment steps", ylabel="return in training")
    ends.set(title="last policy, test", xlim=(-0.6, len(groups) - 0.4), xticks=[])
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
    """Draw the learning curve of every seed, their IQM, and its interval."""
    returns = np.array([run["curve"] for run in runs], float).T  # (points, seeds)
    steps = runs[0]["steps"] * np.arange(1, len(returns) + 1) / len(returns)
    known = np.isfinite(returns).all(axis=1)  # an episode of every seed has ended
    steps = steps[known]
    returns = returns[known]
    low, high = interval(returns, 500)
    axes.plot(steps, returns, color=color, lw=0.4, alpha=0.4)
    axes.fill_between(steps, low, high, color=color, alpha=0.3, lw=0)
    axes.plot(steps, iqm(returns), color=color, lw=2, label=label)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x else "0")


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
        cells.pop("eval_returns", None)
        cells.pop("curve", None)
        rows.append(cells)
        columns.update(dict.fromkeys(cells))
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(columns))
        table.writeheader()
        table.writerows(rows)
