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
from minidqn.lab.expect import expect
from minidqn.lab.history import History
from minidqn.nn.layers import Array
from minidqn.parts.conv import Conv2d

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


def blank(width: float, height: float) -> "Figure":
    """An empty figure, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, layout="constrained")


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
    axes.plot(
        episodes,
        returns,
        color=BLUE,
        alpha=0.4,
        lw=1,
        label="training, with exploration",
    )
    axes.plot(
        episodes,
        rolling_mean(returns),
        color=BLUE,
        lw=2.2,
        label="mean of the last 100",
    )
    if solved_at is not None:
        axes.axhline(
            solved_at, color=RED, lw=1, ls="--", label=f"solved, {solved_at:g}"
        )
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
    returns, tests = history["episode_return"], np.asarray(test_returns)
    figure = blank(9, 4.8)
    axes = figure.add_subplot(title=title)
    draw_returns(axes, returns, solved_at)
    if len(tests):
        axes.axvline(len(returns) + 0.5, color=GREY, lw=1, label="training ends")
        after = len(returns) + np.arange(1, len(tests) + 1)
        how = f"test, epsilon {test_epsilon:g}" if test_epsilon else "test, greedy"
        axes.plot(after, tests, ".", color=GREEN, ms=4, label=how)
    right, label, episodes = (
        axes.twinx(),
        "epsilon, right axis",
        range(1, len(returns) + 1),
    )
    right.plot(episodes, history["epsilon"], color=GREY, lw=1.2, ls=":", label=label)
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

    n, names = agent.n_actions, list(actions) or [*map(str, range(agent.n_actions))]
    expect(len(names) == n, f"actions is {actions}", f"{n} names")
    shape = agent.replay.stack_shape
    expect(
        len(shape) == 1,
        f"an observation has shape {shape}",
        "a vector, of which two are drawn",
    )
    states = np.zeros((points, points, *shape), agent.replay.obs.dtype)
    states[:] = obs
    states[:, :, x.entry] = np.linspace(x.low, x.high, points)
    states[:, :, y.entry] = np.linspace(y.low, y.high, points)[:, None]
    q = agent.q_values(states.reshape(points * points, -1)).reshape(points, points, n)

    figure = blank(10, 4.4)
    figure.suptitle(title)
    values, choices = figure.subplots(1, 2, sharey=True)
    options: Any = {
        "origin": "lower",
        "extent": (x.low, x.high, y.low, y.high),
        "aspect": "auto",
    }
    figure.colorbar(values.imshow(q.max(axis=2), **options), ax=values)
    values.set(title="value: Q of the best action", xlabel=x.label, ylabel=y.label)
    colors = ListedColormap(PALETTE[:n]) if n <= len(PALETTE) else colormaps["hsv"]
    options |= {"cmap": colors, "vmin": -0.5, "vmax": n - 0.5}
    bar = figure.colorbar(
        choices.imshow(q.argmax(axis=2), **options), ax=choices, ticks=range(n)
    )
    bar.ax.set_yticklabels(names)
    choices.set(title="the best action", xlabel=x.label)
    return finished(figure, path)


def plot_filters(agent: DQN, obs: Any, path: str | Path | None = None) -> "Figure":
    """Draw the first layer's filters, and beside each one what it sees in an observation.

    A filter's weights are drawn frame by frame, and channel by channel, from left to right:
    blue raises the output, red lowers it. Raises TypeError if the first layer is no Conv2d.
    """
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    conv: Any = agent.online.layers[0]
    name = type(conv).__name__
    expect(
        isinstance(conv, Conv2d), f"the first layer is a {name}", "a Conv2d", TypeError
    )
    frames, height, width, channels = conv.shape
    _, h, w, n_out = conv.out_shape
    k, tiles = conv.k, frames * channels
    cache = conv.new_cache(1, agent.online.dtype)
    seen = conv.forward(np.asarray(obs)[None], cache).reshape(h, w, n_out)
    weights = conv.W.reshape(frames, k, k, channels, n_out).transpose(4, 1, 0, 3, 2)
    filters = np.full(
        (n_out, k, tiles, k + 1), np.nan
    )  # with a gap to the right of each tile
    filters[..., :k] = weights.reshape(n_out, k, tiles, k)
    newest = np.asarray(obs).reshape(frames, height, width, channels)[-1]
    kinds = np.where(
        newest.any(axis=2), 1 + newest.argmax(axis=2), 0
    )  # a colour per channel
    colors = ListedColormap(["black", *colormaps["tab20"](range(channels))])

    figure = blank(12, 0.55 * n_out / 2 + 0.8)
    subfigures: Any = figure.subfigures(1, 2, width_ratios=(1, 2.6))
    left, right = subfigures
    axes = left.subplots()
    if channels == 1:
        axes.imshow(newest, cmap="grey")
    else:
        axes.imshow(kinds, cmap=colors, vmin=0, vmax=channels)
    axes.set(title="what the agent sees" + (", its newest frame" if frames > 1 else ""))
    rows, pairs = -(-n_out // 2), {"width_ratios": (3, 1, 3, 1)}
    grid = right.subplots(rows, 4, squeeze=False, gridspec_kw=pairs).reshape(-1, 2)
    for (strip, map_), each, y in zip(
        grid, filters, np.moveaxis(seen, 2, 0), strict=False
    ):
        reach = np.nanmax(np.abs(filters))
        strip.imshow(each.reshape(k, -1), cmap="RdBu", vmin=-reach, vmax=reach)
        map_.imshow(y, cmap="grey", vmin=0.0, vmax=max(float(y.max()), 1e-9))
    for each in [axes, *grid.flat]:
        each.axis("off")
    each = "frame" if channels == 1 else "channel"
    right.suptitle(
        f"Each filter: its weights for every {each}, and where in the image it responds"
    )
    return finished(figure, path)
