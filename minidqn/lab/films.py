"""Films: agents at play, as an animated GIF.

A *picture* is what the environment draws after one step, under a caption. A *film* is
the list of pictures of one episode. A *frame* of the GIF has a picture of each film,
side by side. It shows how several agents play the same episode:

    before, step 9, ended  |  after, step 18
                           |
       (the pole lies)     |   (the pole stands)

If what an agent observes is an image, a chart below each picture shows its Q-values of
the last steps.
"""

import os
import sys
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from minidqn.agent import DQN
from minidqn.lab.envs import check_spaces, play
from minidqn.lab.plotting import check_folder

if TYPE_CHECKING:
    from PIL.Image import Image

HOLD = 1000  # milliseconds that the last frame of an episode stays


class Gif(bytes):
    """The content of a GIF file. As the result of a notebook's cell it shows itself."""

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
    """A GIF of greedy agents side by side: the same episode for each, one per seed.

    `agents` maps a caption to an agent. `env` must have render_mode="rgb_array" and
    the agents' spaces. An episode is shown for at most `max_steps` steps; if it is cut
    there, its last caption says so. Where an agent's ends before the others', its last
    picture stays. The GIF is returned, and written to `path` unless that is None.

    Raises ValueError if `env` does not fit or if there is nothing to show, and
    FileNotFoundError if the folder of `path` does not exist.
    """
    # Pillow takes time to import: only those who film wait for it
    from minidqn.lab.pictures import as_gif, side_by_side

    if len(agents) == 0:
        raise ValueError(f"agents is {agents!r}: expected one or more")
    if len(seeds) == 0:
        raise ValueError(f"seeds is {seeds!r}: expected one or more")
    for agent in agents.values():
        check_env(agent, env)
    check_folder(path)

    milliseconds = round(1000 * steps_per_picture(env) / steps_per_second(env))
    frames: list[Image] = []
    for seed in seeds:
        films = []
        for caption, agent in agents.items():
            films.append(film(agent, env, seed, caption, max_steps))
        frames.extend(side_by_side(films))
        frames.extend([frames[-1]] * (HOLD // milliseconds))
    gif = Gif(as_gif(frames, milliseconds))
    if path is not None:
        Path(path).write_bytes(gif)
    return gif


def check_env(agent: DQN, env: gym.Env[Any, Any]) -> None:
    """Raise ValueError unless `env` draws pictures and has the agent's spaces."""
    if env.render_mode != "rgb_array":
        raise ValueError(
            f'env.render_mode is {env.render_mode!r}: expected "rgb_array", as '
            'gymnasium.make(..., render_mode="rgb_array") makes it'
        )
    check_spaces(agent, env.observation_space, env.action_space)


def film(
    agent: DQN, env: gym.Env[Any, Any], seed: int, caption: str, max_steps: int
) -> list["Image"]:
    """The pictures of one greedy episode, of at most `max_steps` steps.

    Raises ValueError if `env` does not fit.
    """
    from minidqn.lab.pictures import picture, with_chart

    check_env(agent, env)
    prepare_drawing()
    sees_images = len(agent.replay.obs_shape) > 1
    pictures: dict[int, Image] = {}  # by step
    q_values = []  # of every step, (A,) each
    for step, (_, over, obs) in enumerate(play(agent, env, seed)):
        if sees_images:
            q_values.append(agent.q_values(obs))
        cut = step >= max_steps and not over
        if over or cut or step % steps_per_picture(env) == 0:
            text = caption_at(caption, step, cut)
            pictures[step] = picture(env.render(), text, over)
        if step >= max_steps:
            break
    if not sees_images:
        return list(pictures.values())

    q = np.array(q_values)  # (T, A)
    names = action_names(env, agent.n_actions)
    return [with_chart(image, q, step, names) for step, image in pictures.items()]


def caption_at(caption: str, step: int, cut: bool) -> str:
    """What stands above a picture; the last one of a film that is cut says so."""
    ending = ": the film is cut here" if cut else ""
    return f"{caption}, step {step}{ending}"


def prepare_drawing() -> None:
    """Where there is no display, pygame would look for one, and complain."""
    if not has_display():
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def has_display() -> bool:
    """Whether a window can be shown."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def steps_per_second(env: gym.Env[Any, Any]) -> float:
    """How fast the environment is meant to be shown."""
    return float(env.metadata.get("render_fps", 50))


def steps_per_picture(env: gym.Env[Any, Any]) -> int:
    """How many steps lie between two pictures, so that about 25 are shown a second."""
    return max(int(steps_per_second(env) / 25 + 0.5), 1)


def action_names(env: gym.Env[Any, Any], n_actions: int) -> list[str]:
    """What the environment calls its actions, as Atari's do; else their numbers."""
    if env.has_wrapper_attr("get_action_meanings"):
        meanings = env.get_wrapper_attr("get_action_meanings")()
        if len(meanings) == n_actions:  # else a wrapper has left some of them out
            return [name.lower() for name in meanings]
    return [str(action) for action in range(n_actions)]
