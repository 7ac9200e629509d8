"""What an agent has learned of two entries of an observation, as a picture.

At the left max_a Q(s, a), the value of a state; at the right the greedy action. Two
entries of the observation vary along the axes. The others stay as they are.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minidqn.agent import DQN
from minidqn.lab.plotting import GREY, blank, check_folder, distinct_colors, finished
from minidqn.nn.layers import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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

    The other entries are those of `obs`; the figure says so. `actions` are the actions'
    names, by default their numbers. There are `points` points on each axis. Raises
    ValueError if there are not as many names as actions, or if observations are no
    vectors.
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

    figure = blank(10, 4.6, shown=path is None)
    figure.suptitle(title)
    left, right = figure.subplots(1, 2, sharey=True)
    extent = (x.low, x.high, y.low, y.high)
    shades = left.imshow(values, origin="lower", extent=extent, aspect="auto")
    figure.colorbar(shades, ax=left)
    value = f"value: Q of the best action, gamma {agent.config.gamma:g}"
    left.set(title=value, xlabel=x.label, ylabel=y.label)

    areas = right.imshow(best, origin="lower", extent=extent, aspect="auto")
    areas.set_cmap(ListedColormap(distinct_colors(n)))
    areas.set_clim(-0.5, n - 0.5)  # each action's number in the middle of its colour
    bar = figure.colorbar(areas, ax=right, ticks=range(n))
    bar.ax.set_yticklabels(names)
    right.set(title="the best action", xlabel=x.label)
    figure.supxlabel(said_of_others(agent, x, y, obs), fontsize="small", color=GREY)
    return finished(figure, path)


def said_of_others(agent: DQN, x: Axis, y: Axis, obs: Any) -> str:
    """What the entries of the observation are that vary on neither axis."""
    (size,) = agent.replay.stack_shape
    values = np.broadcast_to(obs, size)
    others = [entry for entry in range(size) if entry not in (x.entry, y.entry)]
    if not others:
        return ""
    if len({values[entry] for entry in others}) == 1:
        return f"all other entries of the observation are {values[others[0]]:g}"
    said = [f"{entry} is {values[entry]:g}" for entry in others]
    return f"of the observation, entry {', entry '.join(said)}"
