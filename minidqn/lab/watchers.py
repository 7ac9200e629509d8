"""Watching an agent while it trains.

Most are for `train`'s `on_episode`: each makes a watcher, a function of the agent and its
history, which is called after every episode and stops the run by returning True.
RecordEvery is a wrapper of the environment.
"""

import time
from pathlib import Path
from typing import Any

import gymnasium as gym
from tqdm import tqdm

from minidqn.agent import DQN
from minidqn.checks import expect
from minidqn.lab.checkpoint import save
from minidqn.lab.films import picture, steps_per_picture, write_gif
from minidqn.lab.history import History
from minidqn.lab.plotting import draw_returns
from minidqn.lab.training import Watcher


def until_solved(solved_at: float, episodes: int = 20) -> Watcher:
    """Stop when the mean return of the last `episodes` episodes reaches `solved_at`."""
    return lambda _, runs: len(runs) >= episodes and runs.mean_return(episodes) >= solved_at


def save_every(steps: int, path: Path) -> Watcher:
    """Save a checkpoint every `steps` steps: a watcher for `on_step`."""

    def watch(agent: DQN, history: History) -> None:
        if agent.steps % steps < agent.replay.num_envs:  # several may step over a multiple
            save(agent, path, history)

    return watch


def log_every(episodes: int) -> Watcher:
    """Print a line every `episodes` episodes: their returns, the last loss, and epsilon."""

    def watch(agent: DQN, history: History) -> None:
        if len(history) % episodes == 0:
            returns, loss = history["episode_return"][-episodes:], history["loss"][-1]
            tqdm.write(
                f"episode {len(history)}, step {agent.steps}: return {returns.mean():.1f} "
                f"± {returns.std():.1f}, loss {loss:.3g}, epsilon {agent.epsilon:.3f}"
            )

    return watch


def live_plot(solved_at: float | None = None, share: float = 0.05) -> Watcher:
    """Plot the returns in a window during training, in at most this `share` of its time."""
    from matplotlib import pyplot as plt

    plt.ion()
    if plt.get_backend().lower() == "agg":
        tqdm.write("no display: the plot will not be seen")
    figure, axes = plt.subplots(figsize=(9, 4.8))
    not_before = 0.0

    def draw(history: History) -> None:
        axes.clear()
        draw_returns(axes, history["episode_return"], solved_at)
        figure.canvas.draw()
        figure.canvas.flush_events()

    def watch(agent: DQN, history: History) -> None:
        nonlocal not_before
        start = time.perf_counter()
        if start >= not_before:
            draw(history)
            end = time.perf_counter()
            not_before = end + (end - start) * (1.0 / share - 1.0)

    draw(History())  # the first drawing is slow: it comes before training
    return watch


class RecordEvery(gym.Wrapper[Any, Any, Any, Any]):
    """Write a GIF of every n-th episode while it is played, up to its first `max_steps` steps.

    n is `episodes`; `finished` is the number of episodes played before. The environment needs
    render_mode="rgb_array".
    """

    def __init__(
        self, env: Any, episodes: int, folder: Path, finished: int = 0, max_steps: int = 1000
    ) -> None:
        super().__init__(env)
        expect(env.render_mode == "rgb_array", f"render_mode is {env.render_mode!r}", '"rgb_array"')
        folder.mkdir(parents=True, exist_ok=True)
        self.episodes, self.folder, self.finished = episodes, folder, finished
        self.max_steps, self.steps = max_steps, 0
        self.pictures: list[Any] = []  # of this episode, if it is recorded

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        start = self.env.reset(**arguments)
        self.steps, self.pictures = 0, []
        self._look(over=False)
        return start

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        step = self.env.step(action)
        self.steps += 1
        over = step[2] or step[3]
        self._look(over)
        self.finished += over
        return step

    def _look(self, over: bool) -> None:
        number = self.finished + 1
        if number % self.episodes != 0:
            return
        due = self.steps % steps_per_picture(self.env) == 0 and self.steps <= self.max_steps
        if over or due:
            caption = f"episode {number}, step {self.steps}"
            self.pictures.append(picture(self.env, caption, over))
        if over:
            write_gif([[self.pictures]], self.env, self.folder / f"episode_{number:05}.gif")
