"""Figures: how they are made, and the learning curve of a run.

Each `plot_` function writes a file if it is given a `path`, and returns the figure,
which a notebook shows. It raises FileNotFoundError before it draws anything if the
folder of `path` does not exist.

Matplotlib takes time to import, so only the functions that draw import it.
"""

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidqn.lab.history import WINDOW, History, rolling_mean
from minidqn.lab.scores import Scores
from minidqn.nn.layers import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE = "#1f5fa8"
GREEN = "#2a8c55"
RED = "#c8473a"
GREY = "#7d828a"
PALETTE = [BLUE, "#e2b33c", RED, GREEN, "#7a5ba6", GREY]  # in the order of their use


def distinct_colors(n: int) -> list[str]:
    """`n` different colours: the first ones of the palette, or a rainbow's."""
    if n <= len(PALETTE):
        return PALETTE[:n]
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    rainbow = colormaps["turbo"](np.linspace(0.05, 0.95, n))  # (n, 4)
    return [to_hex(color) for color in rainbow]


def check_folder(path: str | Path | None) -> None:
    """Raise FileNotFoundError unless a file can be written at `path`, or it is None."""
    if path is None:
        return
    folder = Path(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder '{folder}': make it, or give another path"
        )


def blank(width: float, height: float, *, shown: bool) -> "Figure":
    """An empty figure; width and height are in inches. plt.show() shows it if `shown`.

    Pyplot keeps such a figure until it is closed, so one that is written to a file is
    not among them.
    """
    from matplotlib import pyplot as plt
    from matplotlib.figure import Figure

    make = plt.figure if shown else Figure
    return make(figsize=(width, height), dpi=120, layout="constrained")


def finished(figure: "Figure", path: str | Path | None) -> "Figure":
    """Write the figure, if there is a `path`; make it show itself in a notebook."""

    def show() -> None:
        """What a notebook calls at the end of a cell: it shows the figure once."""
        import IPython.display
        from matplotlib import pyplot as plt

        file = BytesIO()
        figure.savefig(file, format="png")
        notebook: Any = IPython.display
        notebook.display(notebook.Image(file.getvalue()))
        plt.close(figure)  # or pyplot would show it again

    if path is not None:
        figure.savefig(path)
    figure._ipython_display_ = show  # type: ignore[attr-defined]  # IPython calls it
    return figure


def draw_returns(axes: Any, history: History, solved_at: float | None) -> None:
    """Draw the return of every episode of training, and the mean of the last 20.

    `solved_at`, if it is a finite number, is drawn as a line.
    """
    steps = history["step"]
    returns = history["episode_return"]
    axes.plot(steps, returns, color=BLUE, alpha=0.4, lw=1, label="episode of training")
    means = rolling_mean(returns)
    axes.plot(steps, means, color=BLUE, lw=2.2, label=f"mean of the last {WINDOW}")
    if solved_at is not None and math.isfinite(solved_at):
        label = f"solved, {solved_at:g}"
        axes.axhline(solved_at, color=RED, lw=1, ls="--", label=label)
    axes.set(xlabel="environment steps", ylabel="return")


def how_played(epsilon: float) -> str:
    return f"epsilon {epsilon:g}" if epsilon > 0.0 else "greedy"


def draw_scores(axes: Any, scores: Scores, epsilon: float) -> None:
    """Draw the tests during training: their means, from the lowest to the highest."""
    lowest = [returns.min() for returns in scores.returns]
    highest = [returns.max() for returns in scores.returns]
    axes.vlines(scores.steps, lowest, highest, color=GREEN, lw=1)
    episodes = max(len(returns) for returns in scores.returns)
    label = f"tests, {how_played(epsilon)}: 1 episode,\nthe same each time"
    if episodes > 1:
        label = (
            f"tests, {how_played(epsilon)}: {episodes} episodes, the same each time;\n"
            "mean, lowest to highest"
        )
    axes.plot(scores.steps, scores.means, "o-", color=GREEN, ms=4, lw=1, label=label)


def draw_test(axes: Any, returns: Array, epsilon: float, solved_at: Any) -> None:
    """Draw a dot for each episode of the test, (N,), and a line for their mean."""
    episodes = np.arange(1, len(returns) + 1)
    axes.plot(episodes, returns, "o", color=GREEN, ms=4, alpha=0.6, mew=0)
    axes.axhline(returns.mean(), color=GREEN, lw=1)
    if solved_at is not None and math.isfinite(solved_at):
        axes.axhline(solved_at, color=RED, lw=1, ls="--")
    how = how_played(epsilon)
    axes.set_title(
        f"test, {how}\nmean {returns.mean():.1f}\nminimum {returns.min():g}",
        fontsize="medium",
        color=GREEN,
    )
    axes.set(xlabel="new episodes", xlim=(0, len(returns) + 1))
    axes.spines[["top", "right"]].set_visible(False)


def plot_learning_curve(
    history: History,
    path: str | Path | None = None,
    *,
    test_returns: Sequence[float] | Array = (),
    test_epsilon: float = 0.0,
    solved_at: float | None = None,
    title: str = "",
) -> "Figure":
    """Draw the return of every episode: in training, and at the right in the test.

    `test_returns`, (N,), and the tests during training were played with `test_epsilon`.
    `solved_at` is the return from which the task is solved. A second axis shows the
    epsilon of training.
    """
    check_folder(path)
    figure = blank(9, 4.8, shown=path is None)
    figure.suptitle(title)
    tested = len(test_returns) > 0
    if tested:
        axes, test = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
        draw_test(test, np.asarray(test_returns, float), test_epsilon, solved_at)
    else:
        axes = figure.subplots()
    draw_returns(axes, history, solved_at)
    if len(history.tests) > 0:
        draw_scores(axes, history.tests, test_epsilon)

    right = axes.twinx()
    label = "epsilon, right axis"
    epsilon = history["epsilon"]
    right.plot(history["step"], epsilon, color=GREY, lw=1.2, ls=":", label=label)
    right.set(ylim=(0.0, 1.05), ylabel="epsilon")
    axes.spines["top"].set_visible(False)
    right.spines["top"].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return finished(figure, path)
