"""Pictures of a run: its learning curve, and the values that it learned.

Each function writes a file if it is given a `path`, and returns the figure, which a notebook
shows. Matplotlib is imported when something is drawn, so that a run that draws nothing
does not wait for it.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minidqn.agent import DQN
from minidqn.checks import expect
from minidqn.lab.history import History
from minidqn.nn.layers import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, GREEN, RED, GREY = "#1f5fa8", "#2a8c55", "#c8473a", "#7d828a"
PALETTE = [BLUE, "#e2b33c", RED, GREEN, "#7a5ba6", GREY]  # of actions, in their order


def rolling_mean(x: Any, window: int = 100) -> Array:
    """The mean of the last `window` entries at each entry, of fewer at the start: (N,) to (N,)."""
    total = np.concatenate([[0.0], np.cumsum(x)])  # (N + 1,)
    stop = np.arange(1, len(total))
    start = np.maximum(stop - window, 0)
    return np.asarray((total[stop] - total[start]) / (stop - start))


def finished(figure: "Figure", path: str | Path | None) -> "Figure":
    """Write the figure if there is a `path`; let it show itself where it is a cell's result."""

    def png() -> bytes:
        file = BytesIO()
        figure.savefig(file, format="png")
        return file.getvalue()

    if path is not None:
        figure.savefig(path)
    figure._repr_png_ = png  # type: ignore[attr-defined]  # IPython looks for it
    return figure


def draw_returns(axes: Any, returns: Array, solved_at: float | None) -> None:
    """Draw the return of every episode of training, (episodes,), and its rolling mean."""
    episodes = range(1, len(returns) + 1)
    axes.plot(episodes, returns, color=BLUE, alpha=0.4, lw=1, label="training, with exploration")
    axes.plot(episodes, rolling_mean(returns), color=BLUE, lw=2.2, label="mean of the last 100")
    if solved_at is not None:
        axes.axhline(solved_at, color=RED, lw=1, ls="--", label=f"solved, {solved_at:g}")
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
    """Draw the return of every episode, in training and then in the test."""
    from matplotlib.figure import Figure

    returns, tests = history["episode_return"], np.asarray(test_returns)
    figure = Figure(figsize=(9, 4.8), dpi=120, layout="constrained")
    axes = figure.add_subplot(title=title)
    draw_returns(axes, returns, solved_at)
    if len(tests):
        axes.axvline(len(returns) + 0.5, color=GREY, lw=1, label="training ends")
        after = len(returns) + np.arange(1, len(tests) + 1)
        how = f"test, epsilon {test_epsilon:g}" if test_epsilon else "test, greedy"
        axes.plot(after, tests, ".", color=GREEN, ms=4, label=how)
    right, label = axes.twinx(), "epsilon, right axis"
    right.plot(
        range(1, len(returns) + 1), history["epsilon"], color=GREY, lw=1.2, ls=":", label=label
    )
    right.set(ylim=(0.0, 1.05), ylabel="epsilon")
    for each in (axes, right):
        each.spines["top"].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return finished(figure, path)


class Axis(NamedTuple):
    """One entry of the observation, as an axis of a picture."""

    entry: int
    low: float
    high: float
    label: str


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

    The other entries are those of `obs`; `actions` are the actions' names.
    """
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    n, names = agent.n_actions, list(actions) or [*map(str, range(agent.n_actions))]
    expect(len(names) == n, f"actions is {actions}", f"{n} names")
    shape = agent.replay.stack_shape
    expect(len(shape) == 1, f"an observation has shape {shape}", "a vector, of which two are drawn")
    states = np.zeros((points, points, *shape), agent.replay.obs.dtype)
    states[:] = obs
    states[:, :, x.entry] = np.linspace(x.low, x.high, points)
    states[:, :, y.entry] = np.linspace(y.low, y.high, points)[:, None]
    q = agent.q_values(states.reshape(points * points, -1)).reshape(points, points, n)

    figure = Figure(figsize=(10, 4.4), dpi=120, layout="constrained")
    figure.suptitle(title)
    values, choices = figure.subplots(1, 2, sharey=True)
    options: Any = {"origin": "lower", "extent": (x.low, x.high, y.low, y.high), "aspect": "auto"}
    figure.colorbar(values.imshow(q.max(axis=2), **options), ax=values)
    values.set(title="value: Q of the best action", xlabel=x.label, ylabel=y.label)
    colors = ListedColormap(PALETTE[:n]) if n <= len(PALETTE) else colormaps["hsv"]
    options |= {"cmap": colors, "vmin": -0.5, "vmax": n - 0.5}
    bar = figure.colorbar(choices.imshow(q.argmax(axis=2), **options), ax=choices, ticks=range(n))
    bar.ax.set_yticklabels(names)
    choices.set(title="the best action", xlabel=x.label)
    return finished(figure, path)
