"""Figures of a run: its learning curve, and what the network has learned.

Each `plot_` function writes a file if it is given a `path`, and returns the figure,
which a notebook shows. It raises FileNotFoundError before it draws anything if the
folder of `path` does not exist.

Matplotlib takes time to import, so only the functions that draw import it.
"""

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minidqn.agent import DQN
from minidqn.lab.history import History
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


def rolling_mean(x: Any, window: int = 100) -> Array:
    """The mean of the last `window` entries at each entry, (N,) to (N,).

    At the start, where there are fewer, it is the mean of those.
    """
    sums = np.concatenate([[0.0], np.cumsum(x)])  # (N + 1,): of the first 0, 1, ...
    stop = np.arange(1, len(sums))  # (N,)
    start = np.maximum(stop - window, 0)  # (N,)
    return np.asarray((sums[stop] - sums[start]) / (stop - start))


def check_folder(path: str | Path | None) -> None:
    """Raise FileNotFoundError unless a file can be written at `path`, or it is None."""
    if path is None:
        return
    folder = Path(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder '{folder}': make it, or give another path"
        )


def blank(width: float, height: float) -> "Figure":
    """An empty figure; width and height are in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def finished(figure: "Figure", path: str | Path | None) -> "Figure":
    """Write the figure, if there is a `path`; make it show itself in a notebook."""

    def png() -> bytes:
        file = BytesIO()
        figure.savefig(file, format="png")
        return file.getvalue()

    if path is not None:
        figure.savefig(path)
    figure._repr_png_ = png  # type: ignore[attr-defined]  # IPython looks for it
    return figure


def draw_returns(axes: Any, returns: Array, solved_at: float | None) -> None:
    """Draw the return of every episode of training, (N,), and its rolling mean.

    `solved_at`, if it is a finite number, is drawn as a line.
    """
    episodes = range(1, len(returns) + 1)
    label = "training, with exploration"
    axes.plot(episodes, returns, color=BLUE, alpha=0.4, lw=1, label=label)
    means = rolling_mean(returns, 100)
    axes.plot(episodes, means, color=BLUE, lw=2.2, label="mean of the last 100")
    if solved_at is not None and math.isfinite(solved_at):
        label = f"solved, {solved_at:g}"
        axes.axhline(solved_at, color=RED, lw=1, ls="--", label=label)
    axes.set(xlabel="episode", ylabel="return")


def plot_learning_curve(
    history: History,
    path: str | Path | None = None,
    *,
    test_returns: Sequence[float] | Array = (),
    test_epsilon: float = 0.0,
    solved_at: float | None = None,
    title: str = "",
) -> "Figure":
    """Draw the return of every episode, in training and then in the test.

    `test_returns`, (N,), were played with `test_epsilon`. `solved_at` is the return
    from which the task is solved. A second axis shows the epsilon of training.
    """
    check_folder(path)
    trained = len(history)  # episodes
    figure = blank(9, 4.8)
    axes = figure.add_subplot(title=title)
    draw_returns(axes, history["episode_return"], solved_at)
    if len(test_returns) > 0:
        axes.axvline(trained + 0.5, color=GREY, lw=1, label="training ends")
        tests = trained + np.arange(1, len(test_returns) + 1)  # numbers of episodes
        how = f"epsilon {test_epsilon:g}" if test_epsilon > 0.0 else "greedy"
        axes.plot(tests, test_returns, ".", color=GREEN, ms=4, label=f"test, {how}")

    right = axes.twinx()
    label = "epsilon, right axis"
    trainings = np.arange(1, trained + 1)
    right.plot(trainings, history["epsilon"], color=GREY, lw=1.2, ls=":", label=label)
    right.set(ylim=(0.0, 1.05), ylabel="epsilon")
    axes.spines["top"].set_visible(False)
    right.spines["top"].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return finished(figure, path)


class Axis(NamedTuple):
    """One entry of the observation, as an axis of a figure."""

    entry: int  # which one
    low: float  # the axis goes from here
    high: float  # to here
    label: str


def q_on_grid(
    agent: DQN, x: Axis, y: Axis, obs: float | Sequence[float] | Array, points: int
) -> Array:
    """Q(s, .) where two entries of the observation vary, (points, points, A): y, x.

    The other entries are those of `obs`. Raises ValueError if observations are no
    vectors.
    """
    shape = agent.replay.stack_shape
    if len(shape) != 1:
        raise ValueError(
            f"an observation has shape {shape}: expected a vector, of which two "
            "entries are drawn"
        )
    states = np.zeros((points, points, *shape), agent.replay.dtype)
    states[:] = obs
    states[:, :, x.entry] = np.linspace(x.low, x.high, points)
    states[:, :, y.entry] = np.linspace(y.low, y.high, points)[:, None]
    q = agent.q_values(states.reshape(points * points, -1))
    return q.reshape(points, points, agent.n_actions)


def plot_value_function(
    agent: DQN,
    path: str | Path | None,
    x: Axis,
    y: Axis,
    *,
    actions: Sequence[str] = (),
    obs: float | Sequence[float] | Array = 0.0,
    title: str = "",
    points: int = 200,
) -> "Figure":
    """Draw max_a Q(s, a) and the greedy action over two entries of the observation.

    The other entries are those of `obs`. `actions` are the actions' names, by default
    their numbers. There are `points` points on each axis. Raises ValueError if there
    are not as many names as actions, or if observations are no vectors.
    """
    from matplotlib.colors import ListedColormap

    check_folder(path)
    n = agent.n_actions
    names = list(actions) or [str(action) for action in range(n)]
    if len(names) != n:
        raise ValueError(f"actions is {actions!r}: expected {n} names")
    q = q_on_grid(agent, x, y, obs, points)  # (points, points, A)
    values = q.max(axis=2)
    best = q.argmax(axis=2)

    figure = blank(10, 4.4)
    figure.suptitle(title)
    left, right = figure.subplots(1, 2, sharey=True)
    extent = (x.low, x.high, y.low, y.high)
    shades = left.imshow(values, origin="lower", extent=extent, aspect="auto")
    figure.colorbar(shades, ax=left)
    left.set(title="value: Q of the best action", xlabel=x.label, ylabel=y.label)

    areas = right.imshow(best, origin="lower", extent=extent, aspect="auto")
    areas.set_cmap(ListedColormap(distinct_colors(n)))
    areas.set_clim(-0.5, n - 0.5)  # each action's number in the middle of its colour
    bar = figure.colorbar(areas, ax=right, ticks=range(n))
    bar.ax.set_yticklabels(names)
    right.set(title="the best action", xlabel=x.label)
    return finished(figure, path)
