"""Settings compared over many seeds: a table, a figure, and a file for other programs.

Returns of different seeds are far from normally distributed: most are good, some are not. So
the figures here are interquartile means (IQM) with bootstrap intervals, and every seed is
shown. Source: Agarwal et al. 2021, "Deep reinforcement learning at the edge of the
statistical precipice".
"""

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from minidqn.lab.expect import expect
from minidqn.lab.plotting import PALETTE, RED, blank, finished
from minidqn.nn.layers import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LISTS = ("eval_returns", "curve")  # of a result: not for a table


def iqm(x: ArrayLike) -> Array:
    """Interquartile mean over the last axis: of the middle half, (..., N) to (...).

    Sturdier than the mean, and it uses more of the data than the median.
    """
    x = np.sort(np.asarray(x, float), axis=-1)
    n = x.shape[-1]
    # each value stands for 1 / n of the whole: those at the quartiles count in part
    weights = np.clip(np.minimum(np.arange(1, n + 1), 0.75 * n), 0.25 * n, None)
    weights -= np.clip(np.arange(n), 0.25 * n, 0.75 * n)
    means: Array = x @ weights / weights.sum()
    return means


def interval(x: ArrayLike, resamples: int = 2000) -> tuple[Array, Array]:
    """95 % bootstrap interval of the IQM over the last axis, the seeds: resampled as wholes."""
    x = np.asarray(x, float)
    rng = np.random.default_rng(0)
    draws = rng.integers(x.shape[-1], size=(resamples, x.shape[-1]))
    low, high = np.quantile(iqm(x[..., draws]), [0.025, 0.975], axis=-1)
    return low, high


def improvement(x: ArrayLike, y: ArrayLike) -> float:
    """The probability that a run of x is better than one of y, both (seeds,); 1/2 if equal."""
    above = np.sign(np.asarray(x, float)[:, None] - np.asarray(y, float))
    return float((above.mean() + 1.0) / 2.0)


def compare(
    results: Iterable[dict[str, Any]], path: str | Path | None = None, title: str = ""
) -> tuple[str, "Figure"]:
    """A table in Markdown, and a figure, which is written if there is a `path`.

    Runs whose names differ only in the last part, the seed, are one line in both; lines are in
    the order of the results. "better" is the probability that a run does better than one of
    the environment's first line. Runs that failed are counted, and else left out; settings of
    which all failed come last. Raises ValueError if none is left, or if two have the same name.
    """
    groups: dict[
        str, dict[str, list[Any]]
    ] = {}  # of each environment, of each settings
    names, failed = set(), Counter[str]()
    for result in results:
        expect(
            result["name"] not in names, f"two runs are named {result['name']!r}", "one"
        )
        names.add(result["name"])
        settings = result["name"].rpartition("/")[0] or result["name"]
        failed[settings] += "failed" in result
        if "failed" not in result:
            groups.setdefault(result["env_id"], {}).setdefault(settings, []).append(
                result
            )
    expect(groups, "no run has ended", "one or more results")

    heads = [
        "",
        "seeds",
        "failed",
        "mean",
        "IQM (95 % interval)",
        "worst seed",
        "solved",
        "better",
    ]
    lines = [
        f"| {' | '.join([*heads, 'updates', 'seconds, median'])} |",
        "| --- " * 10 + "|",
    ]
    figure = blank(10, 0.6 + 3.2 * len(groups))
    figure.suptitle(title)
    rows = figure.subplots(len(groups), 2, width_ratios=(3, 1), squeeze=False)
    for (curves, ends), (env_id, of_env) in zip(rows, groups.items(), strict=True):
        first = [result["eval_mean"] for result in next(iter(of_env.values()))]
        for at, (name, group) in enumerate(of_env.items()):
            group.sort(
                key=lambda result: int(result["seed"])
            )  # so that intervals are the same
            lines.append(line(name, group, first, failed[name]))
            draw_curves(curves, group, PALETTE[at % len(PALETTE)], name)
            draw_ends(ends, group, PALETTE[at % len(PALETTE)], at)
        curves.set(
            title=env_id, xlabel="environment steps", ylabel="return in training"
        )
        ends.set(title="last policy, test", xlim=(-0.6, len(of_env) - 0.4), xticks=[])
        for axes in (curves, ends):
            axes.spines[["top", "right"]].set_visible(False)
            shaped = (
                axes is curves and group[0]["train_wrapper"]
            )  # training has other returns
            if group[0]["solved_at"] is not None and not shaped:
                axes.axhline(group[0]["solved_at"], color=RED, lw=1, ls="--")
        if len(of_env) > 1:
            curves.legend(frameon=False)
    none = [
        name for name in failed if not any(name in of_env for of_env in groups.values())
    ]
    lines += [f"| {name} | 0 | {failed[name]} |" + " |" * 7 for name in none]
    return "\n".join(lines) + "\n", finished(figure, path)


def line(name: str, group: list[Any], first: ArrayLike, failed: int) -> str:
    """The results of some settings over seeds, as a line of the table."""
    means = np.array([result["eval_mean"] for result in group])  # (seeds,)
    low, high = interval(means)
    solved_at, worst = group[0]["solved_at"], group[int(means.argmin())]["seed"]
    known = solved_at is not None
    times = [result["train_seconds"] for result in group if result["train_seconds"]]
    cells = [
        name,
        f"{len(means)}",
        f"{failed}",
        f"{means.mean():.2f}",
        f"{iqm(means):.2f} ({low:.2f} to {high:.2f})" if len(means) > 1 else "",
        f"{means.min():.2f} (seed {worst})",
        f"{np.sum(means >= solved_at)} of {len(means)} from {solved_at:g}"
        if known
        else "",
        f"{improvement(means, first):.2f}",
        f"{group[0]['updates']:,}",
        f"{np.median(times):.1f}" if times else "",  # None of a run that was resumed
    ]
    return f"| {' | '.join(cells)} |"


def draw_curves(axes: Any, group: list[Any], color: str, name: str) -> None:
    """The learning curve of every seed, their IQM and its interval."""
    points = np.array([result["curve"] for result in group], float).T  # (points, seeds)
    steps = group[0]["steps"] * np.arange(1, len(points) + 1) / len(points)
    known = np.isfinite(points).all(axis=-1)
    steps, points = steps[known], points[known]
    low, high = interval(points, 500)
    axes.plot(steps, points, color=color, lw=0.4, alpha=0.4)
    axes.fill_between(steps, low, high, color=color, alpha=0.3, lw=0)
    axes.plot(steps, iqm(points), color=color, lw=2, label=name)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x else "0")


def draw_ends(axes: Any, group: list[Any], color: str, at: float) -> None:
    """The test of every seed as a dot, their IQM as a line, its interval as a bar."""
    means = [result["eval_mean"] for result in group]
    low, high = interval(means)
    axes.plot(
        [at, at], [low, high], color=color, lw=6, alpha=0.4, solid_capstyle="butt"
    )
    axes.plot([at] * len(means), means, ".", color=color, alpha=0.6, ms=9, mew=0)
    axes.plot(at, iqm(means), "_", color=color, ms=18, mew=2.5)


def write_results(results: Iterable[dict[str, Any]], path: str | Path) -> None:
    """Write a line of numbers for each result: a CSV file that pandas and polars read."""
    rows = [{key: r[key] for key in r if key not in LISTS} for r in results]
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(
            file, list(dict.fromkeys(key for row in rows for key in row))
        )
        table.writeheader()
        table.writerows(rows)
