"""Animations: GIFs of an agent playing. Pillow, which comes with Matplotlib, writes them.

A picture is what the environment draws, under a caption. A film is a list of pictures. If the
agent sees pixels itself, its Q-values of the last steps move below them.
"""

import os
import sys
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from minidqn.agent import DQN
from minidqn.lab.envs import play
from minidqn.lab.expect import expect
from minidqn.lab.plotting import GREY, PALETTE
from minidqn.nn.layers import Array

WIDTH, GAP, STRIP = 300, 4, 28  # pixels of a picture, between two, and for the caption
CHART, LEFT, RIGHT = (
    96,
    46,
    220,
)  # pixels: the height of the Q-values, and where their lines are


def has_display() -> bool:
    """Whether a window can be shown."""
    displays = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform in ("win32", "darwin") or bool(displays)


class Gif(bytes):
    """The content of a GIF file. It shows itself where it is the result of a notebook's cell."""

    def __repr__(self) -> str:
        return f"Gif({len(self)} bytes)"

    def _repr_html_(self) -> str:
        return f'<img src="data:image/gif;base64,{b64encode(self).decode()}">'


def animate(
    agents: dict[str, DQN],
    env: Any,
    path: str | Path | None,
    seeds: Sequence[int],
    max_steps: int = 200,
) -> Gif:
    """A GIF of agents side by side, each greedy, on the same test episodes; written if `path`.

    `agents` maps a caption to an agent; `env` needs render_mode="rgb_array". An
    episode is shown for at most `max_steps`; an agent that ends earlier shows its last picture.
    """
    expect(seeds, f"seeds is {seeds!r}", "one or more")
    each = agents.items()
    films = [
        [film(agent, env, s, name, max_steps) for name, agent in each] for s in seeds
    ]
    gif = Gif(as_gif(films, env))
    if path is not None:
        Path(path).write_bytes(gif)
    return gif


def film(
    agent: DQN, env: gym.Env[Any, Any], seed: int, caption: str, max_steps: int
) -> list[Any]:
    """The pictures of one greedy episode, about 25 a second."""
    pictures, values = {}, []  # the picture of a step; the Q-values of each step
    for step, (_, over, obs) in enumerate(
        islice(play(agent, env, seed), max_steps + 1)
    ):
        if np.ndim(obs) > 1:
            values.append(agent.q_values(obs))
        if over or step % steps_per_picture(env) == 0:
            pictures[step] = picture(env, f"{caption}, step {step}", over)
    if not values:
        return list(pictures.values())
    q, names = np.array(values), action_names(env, agent.n_actions)
    return [with_chart(image, q, step, names) for step, image in pictures.items()]


def action_names(env: gym.Env[Any, Any], n_actions: int) -> list[str]:
    """What the environment calls its actions, as Atari's do; otherwise their numbers."""
    if env.has_wrapper_attr("get_action_meanings"):
        return [name.lower() for name in env.get_wrapper_attr("get_action_meanings")()]
    return [str(action) for action in range(n_actions)]


def with_chart(image: Any, q: Array, step: int, names: Sequence[str]) -> Any:
    """The picture above the Q-values of a film, (T, A), up to `step`: a line for each action.

    All pictures of a film have the same scale. A dot marks the best action.
    """
    from PIL import Image, ImageDraw, ImageFont

    whole = Image.new("RGB", (WIDTH, image.height + CHART), "white")
    whole.paste(image, (0, 0))
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(12)
    low, high = q.min(), q.max()
    recent = q[max(step - (RIGHT - LEFT) // 2, 0) : step + 1]  # two pixels a step
    x = RIGHT - 2 * np.arange(len(recent))[::-1]  # the newest is at the right end
    y = (
        whole.height - 6 - (recent - low) / max(high - low, 1e-9) * (CHART - 12)
    )  # (steps, A)
    for at, text in (
        (whole.height - CHART, f"{high:.2f}"),
        (whole.height - 16, f"{low:.2f}"),
    ):
        draw.text((3, at), text, GREY, font)
    apart = min(CHART / len(names), 15)
    for action, name in enumerate(names):
        color, top = PALETTE[action % len(PALETTE)], image.height + action * apart
        draw.line([*zip(x.tolist(), y[:, action].tolist(), strict=True)], color, 2)
        draw.text((RIGHT + 18, top), name, color, font)
        if action == recent[-1].argmax():
            draw.ellipse((RIGHT + 6, top + 4, RIGHT + 14, top + 12), color)
    return whole


def picture(env: gym.Env[Any, Any], caption: str, over: bool) -> Any:
    """What the environment looks like, under a caption; dimmed if the episode has ended."""
    from PIL import Image, ImageDraw, ImageFont

    expect(
        env.render_mode == "rgb_array",
        f"render_mode is {env.render_mode!r}",
        '"rgb_array"',
    )
    if not has_display():  # else pygame looks for one, and complains
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    colors = np.asarray(env.render())
    colors = (
        colors if colors.dtype == np.uint8 else (255 * colors).astype(np.uint8)
    )  # 0 to 1
    height = round(WIDTH * len(colors) / len(colors[0]))
    image = Image.new("RGB", (WIDTH, STRIP + height), "white")
    smooth = Image.Resampling.NEAREST if len(colors) < 50 else Image.Resampling.BICUBIC
    image.paste(Image.fromarray(colors).resize((WIDTH, height), smooth), (0, STRIP))
    if over:
        image = Image.blend(image, Image.new("RGB", image.size, GREY), 0.4)
        caption += ", ended"
    ImageDraw.Draw(image).text(
        (8, 3), caption, "black", ImageFont.load_default(WIDTH / 18)
    )
    return image


def as_gif(episodes: list[list[list[Any]]], env: gym.Env[Any, Any]) -> bytes:
    """A GIF of `episodes` one after another; each is one film, or several side by side."""
    from PIL import Image

    frames = []
    for films in episodes:
        width, height = films[0][0].size
        for i in range(max(map(len, films))):
            frame = Image.new("RGB", ((width + GAP) * len(films) - GAP, height), GREY)
            for column, film in enumerate(films):
                frame.paste(film[min(i, len(film) - 1)], ((width + GAP) * column, 0))
            frames.append(frame.quantize(64, dither=Image.Dither.NONE))
    milliseconds = round(
        1000 * steps_per_picture(env) / env.metadata.get("render_fps", 50)
    )
    timing: Any = {"duration": milliseconds, "loop": 0, "optimize": True}
    file = BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], **timing)
    return file.getvalue()


def steps_per_picture(env: gym.Env[Any, Any]) -> int:
    """How many steps go by from one picture to the next, for about 25 a second."""
    return int(max(env.metadata.get("render_fps", 50) / 25 + 0.5, 1))
