"""Pictures of a run: its learning curve, what it learned, and the agent before and after.

Matplotlib and Pillow are imported when something is drawn, so that a run that
draws nothing does not wait for them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike

from minidqn.agent import DQN
from minidqn.history import History
from minidqn.layers import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, GREEN, RED, GREY = "#1f5fa8", "#2a8c55", "#c8473a", "#7d828a"
PALETTE = [BLUE, "#e2b33c", RED, GREEN, "#7a5ba6", GREY]  # of actions, in their order


def rolling_mean(x: ArrayLike, window: int = 100) -> Array:
    """The mean of the last `window` entries at each entry, of fewer at the start: (N,) to (N,)."""
    total = np.concatenate([[0.0], np.cumsum(x)])  # (N + 1,)
    stop = np.arange(1, len(total))
    start = np.maximum(stop - window, 0)
    means: Array = (total[stop] - total[start]) / (stop - start)
    return means


def plot_learning_curve(
    history: History,
    path: str | Path,
    *,
    test_returns: ArrayLike = (),
    solved_at: float | None = None,
    title: str = "",
) -> "Figure":
    """Draw the return of every episode, in training and then in the test, to `path`."""
    from matplotlib.figure import Figure

    returns, tests = history["episode_return"], np.asarray(test_returns)
    episodes = np.arange(1, len(returns) + 1)

    figure = Figure(figsize=(9, 4.8), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel="episode", ylabel="return")
    axes.spines["top"].set_visible(False)
    axes.plot(episodes, returns, color=BLUE, alpha=0.4, lw=1, label="training, with exploration")
    axes.plot(episodes, rolling_mean(returns), color=BLUE, lw=2.2, label="mean of the last 100")
    if len(tests):
        axes.axvline(len(returns) + 0.5, color=GREY, lw=1, label="training ends")
        test_episodes = len(returns) + np.arange(1, len(tests) + 1)
        axes.plot(test_episodes, tests, ".", color=GREEN, ms=4, label="test, greedy")
    if solved_at is not None:
        axes.axhline(solved_at, color=RED, lw=1, ls="--", label=f"solved, {solved_at:g}")

    right = axes.twinx()
    right.spines["top"].set_visible(False)
    right.plot(
        episodes, history["epsilon"], color=GREY, lw=1.2, ls=":", label="epsilon, right axis"
    )
    right.set(ylim=(0.0, 1.05), ylabel="epsilon")

    lines, labels = axes.get_legend_handles_labels()
    more_lines, more_labels = right.get_legend_handles_labels()
    figure.legend(
        lines + more_lines, labels + more_labels, loc="outside lower center", ncols=3, frameon=False
    )
    figure.savefig(path)
    return figure


class Axis(NamedTuple):
    """One entry of the observation, as an axis of a picture."""

    entry: int
    low: float
    high: float
    label: str


def plot_value_function(
    agent: DQN,
    path: str | Path,
    x: Axis,
    y: Axis,
    *,
    actions: Sequence[str] = (),
    obs: ArrayLike = 0.0,
    title: str = "",
    points: int = 200,
) -> "Figure":
    """Draw max_a Q(s, a) and the greedy action over two entries of the observation.

    The other entries are those of `obs`; `actions` are the actions' names.
    """
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    names = list(actions) or [str(action) for action in range(agent.n_actions)]
    if len(names) != agent.n_actions:
        raise ValueError(f"actions is {actions}: expected {agent.n_actions} names")
    xs, ys = np.linspace(x.low, x.high, points), np.linspace(y.low, y.high, points)
    states = np.zeros((points, points, *agent.replay.obs_shape), agent.replay.obs.dtype)
    states[:] = obs
    states[:, :, x.entry], states[:, :, y.entry] = xs, ys[:, None]
    q = agent.q_values(states.reshape(points * points, -1)).reshape(points, points, -1)

    figure = Figure(figsize=(10, 4.4), dpi=120, layout="constrained")
    figure.suptitle(title)
    values, choices = figure.subplots(1, 2, sharey=True)
    extent = (x.low, x.high, y.low, y.high)
    surface = values.imshow(q.max(axis=2), origin="lower", extent=extent, aspect="auto")
    figure.colorbar(surface, ax=values)
    values.set(title="value: Q of the best action", xlabel=x.label, ylabel=y.label)
    few = len(names) <= len(PALETTE)
    colors = ListedColormap(PALETTE[: len(names)]) if few else colormaps["hsv"]
    limit = len(names) - 0.5
    greedy = choices.imshow(
        q.argmax(axis=2),
        origin="lower",
        extent=extent,
        aspect="auto",
        cmap=colors,
        vmin=-0.5,
        vmax=limit,
    )
    bar = figure.colorbar(greedy, ax=choices, ticks=range(len(names)))
    bar.ax.set_yticklabels(names)
    choices.set(title="the best action", xlabel=x.label)
    figure.savefig(path)
    return figure


WIDTH, GAP, STRIP = 300, 4, 28  # pixels of a panel, between two, and for the caption


def animate(
    agents: dict[str, DQN],
    env: gym.Env[Any, Any],
    path: str | Path,
    seeds: Sequence[int],
    *,
    max_steps: int = 200,
) -> None:
    """Write a GIF of agents side by side, each greedy, on the same test episodes.

    `agents` maps a caption to an agent; `env` needs render_mode="rgb_array". An
    episode is shown for at most `max_steps`; whoever ends earlier stays as it ended.
    """
    if not seeds:
        raise ValueError(f"seeds is {seeds!r}: expected one or more")

    episodes = [
        [film(agent, env, seed, caption, max_steps) for caption, agent in agents.items()]
        for seed in seeds
    ]
    write_gif(episodes, env, path)


def film(agent: DQN, env: gym.Env[Any, Any], seed: int, caption: str, max_steps: int) -> list[Any]:
    """The pictures of one greedy episode, about 25 a second."""
    pictures = []
    obs, info = env.reset(seed=seed)
    over = False
    for step in range(max_steps + 1):
        if step:
            action = agent.act(obs, mask=info.get("action_mask"))
            obs, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        if over or step % steps_a_picture(env) == 0:
            pictures.append(picture(env, f"{caption}, step {step}", over))
        if over:
            break
    return pictures


def picture(env: gym.Env[Any, Any], caption: str, over: bool) -> Any:
    """What the environment looks like, under a caption; dimmed if the episode has ended."""
    from PIL import Image, ImageDraw, ImageFont

    if env.render_mode != "rgb_array":
        raise ValueError(f'render_mode is {env.render_mode!r}: expected "rgb_array"')
    pixels = Image.fromarray(np.asarray(env.render()))
    height = round(WIDTH * pixels.height / pixels.width)
    seen = Image.new("RGB", (WIDTH, STRIP + height), "white")
    seen.paste(pixels.resize((WIDTH, height)), (0, STRIP))
    if over:
        seen = Image.blend(seen, Image.new("RGB", seen.size, GREY), 0.4)
        caption += ", ended"
    ImageDraw.Draw(seen).text((8, 3), caption, "black", ImageFont.load_default(WIDTH / 18))
    return seen


def write_gif(episodes: list[list[list[Any]]], env: gym.Env[Any, Any], path: str | Path) -> None:
    """Write `episodes` one after another, each of one film or several side by side."""
    from PIL import Image

    frames = []
    for films in episodes:
        for i in range(max(map(len, films))):
            panels = [film[min(i, len(film) - 1)] for film in films]
            size = (WIDTH + GAP) * len(panels) - GAP, panels[0].height
            frame = Image.new("RGB", size, GREY)
            for column, panel in enumerate(panels):
                frame.paste(panel, ((WIDTH + GAP) * column, 0))
            frames.append(frame.quantize(64, dither=Image.Dither.NONE))
    milliseconds = round(1000 * steps_a_picture(env) / env.metadata.get("render_fps", 50))
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, optimize=True
    )


def steps_a_picture(env: gym.Env[Any, Any]) -> int:
    """How many steps go by from one picture to the next, for about 25 a second."""
    fps: float = env.metadata.get("render_fps", 50)
    return max(round(fps / 25), 1)
