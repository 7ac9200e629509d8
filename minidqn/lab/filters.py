"""What the first layer of an agent that sees images has learned to look for.

A filter of a Conv2d layer (parts/conv.py) is a small picture itself: its k x k weights,
for each frame and each channel. Where the image looks like the filter, the layer's
output is large. So each filter is drawn beside its *map*: its output at every place of
one observation.

Letters: F frames, H and W height and width, C channels, O filters, k the size of a
filter; h x w places of a map.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidqn.agent import DQN
from minidqn.lab.plotting import blank, check_folder, finished
from minidqn.nn.layers import Array
from minidqn.parts.conv import Conv2d

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_filters(agent: DQN, obs: Any, path: str | Path | None = None) -> "Figure":
    """Draw the first layer's filters, and beside each one what it sees in `obs`.

    The weights of a filter are drawn frame by frame, and channel by channel, from left
    to right: blue raises the output, red lowers it. `obs` is one observation, with all
    its frames. Raises TypeError if the first layer is no Conv2d.
    """
    check_folder(path)
    conv = agent.online.layers[0]
    if not isinstance(conv, Conv2d):
        name = type(conv).__name__
        raise TypeError(f"the first layer is a {name}: expected a Conv2d")
    figure = blank(14, 1.6 + 0.45 * conv.n_out, shown=path is None)
    draw_filters(figure, conv, np.asarray(obs))
    return finished(figure, path)


def filter_tiles(conv: Conv2d) -> Array:
    """The weights as images, (O, k, F*C*(k + 1)): a k x k tile for each F and C.

    The tiles of a filter are side by side. A column of NaN, which is drawn as nothing,
    ends each of them.
    """
    frames, _, _, channels = conv.shape
    k = conv.k
    weights = conv.W.reshape(frames, k, k, channels, conv.n_out)  # W is (F*k*k*C, O)
    tiles = weights.transpose(4, 1, 0, 3, 2)  # (O, k rows, F, C, k columns)
    with_gaps = np.full((conv.n_out, k, frames, channels, k + 1), np.nan)
    with_gaps[..., :k] = tiles
    return with_gaps.reshape(conv.n_out, k, -1)


def filter_maps(conv: Conv2d, obs: Array) -> Array:
    """The output of every filter on one observation, (O, h, w)."""
    cache = conv.new_cache(1, conv.W.dtype)
    y = conv.forward(obs[None], cache)  # (1, h*w*O)
    _, h, w, n_out = conv.out_shape
    return y.reshape(h, w, n_out).transpose(2, 0, 1)


def draw_newest_frame(axes: Any, conv: Conv2d, obs: Array) -> None:
    """Draw the newest frame of an observation: grey, in its colours, or by channels.

    Where it has channels that are no colours, as MinAtar's have one for each kind of
    thing, a pixel gets the colour of its largest channel. It is black if all are 0.
    """
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    from minidqn.lab.pictures import as_bytes  # here, because Pillow takes a while

    frames = obs.reshape(conv.shape)  # (F, H, W, C)
    newest = frames[-1]
    channels = newest.shape[2]
    if channels == 1:
        axes.imshow(newest, cmap="grey")
    elif channels == 3 and newest.dtype != np.bool_:  # red, green and blue
        axes.imshow(as_bytes(newest))
    else:
        kinds = np.where(newest.any(axis=2), 1 + newest.argmax(axis=2), 0)  # (H, W)
        colors = ListedColormap(["black", *colormaps["tab20"](range(channels))])
        axes.imshow(kinds, cmap=colors, vmin=0, vmax=channels)
    title = "what the agent sees"
    if len(frames) > 1:
        title += ", its newest frame"
    axes.set_title(title)
    axes.axis("off")


def draw_filters(figure: "Figure", conv: Conv2d, obs: Array) -> None:
    """Draw the observation at the left; at the right each filter, and then its map."""
    subfigures: Any = figure.subfigures(1, 2, width_ratios=(1, 2.6))
    left, right = subfigures
    draw_newest_frame(left.subplots(), conv, obs)

    tiles = filter_tiles(conv)  # (O, k, F*C*(k + 1))
    maps = filter_maps(conv, obs)  # (O, h, w)
    largest = np.nanmax(np.abs(tiles))
    rows = (conv.n_out + 1) // 2  # two filters in a row
    ratios = {"width_ratios": (3, 1, 3, 1)}
    grid = right.subplots(rows, 4, squeeze=False, gridspec_kw=ratios)
    for axes in grid.flat:
        axes.axis("off")
    pairs = grid.reshape(2 * rows, 2)  # each filter's axes, and its map's
    for i in range(conv.n_out):
        of_filter, of_map = pairs[i]
        shades = of_filter.imshow(tiles[i], cmap="RdBu", vmin=-largest, vmax=largest)
        brightest = max(float(maps[i].max()), 1e-9)
        greys = of_map.imshow(maps[i], cmap="grey", vmin=0.0, vmax=brightest)
        of_filter.set_anchor("E")  # at the right of its room, close to its map
        of_map.set_anchor("W")

    for of_filter, of_map in pairs[: min(conv.n_out, 2)]:
        of_filter.set_title(order_of_tiles(conv), fontsize="small")
        of_map.set_title("its response", fontsize="small", loc="left")
    right.suptitle("Each filter of the first layer, and where in the image it responds")
    legend = {"orientation": "horizontal", "shrink": 0.9, "aspect": 30}
    weights = right.colorbar(shades, ax=grid[:, :2], **legend)
    weights.set_ticks([-largest, 0.0, largest], labels=["lowers it", "0", "raises it"])
    weights.set_label("a weight: what a bright pixel there does to the response")
    responses = right.colorbar(greys, ax=grid[:, 2:], **legend)
    responses.set_ticks([0.0, brightest], labels=["none", "its strongest"])
    responses.set_label("the response of a filter at each place of the image")


def order_of_tiles(conv: Conv2d) -> str:
    """What the tiles of a filter are, from left to right."""
    frames, _, _, channels = conv.shape
    if frames == 1:
        return "weights for each channel" if channels > 1 else "weights"
    if channels == 1:
        return "weights: oldest frame to newest"
    return "weights: each channel, oldest frame to newest"
