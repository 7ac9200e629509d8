"""What may look on while an agent trains.

Most are for `train`'s `on_episode`: each makes a watcher, a function of the agent and its
history, which is called after every episode and stops the run by returning True.
RecordEvery is put around the environment.
"""

import time
from pathlib import Path
from typing import Any

import gymnasium as gym
from tqdm import tqdm

from minidqn.agent import DQN
from minidqn.history import History
from minidqn.plotting import BLUE, RED, picture, rolling_mean, steps_a_picture, write_gif
from minidqn.training import Watcher


def until_solved(solved_at: float, episodes: int = 20) -> Watcher:
    """Stop when the mean return of the last so many `episodes` reaches `solved_at`."""

    def watch(agent: DQN, history: History) -> bool:
        return len(history) >= episodes and history.mean_return(episodes) >= solved_at

    return watch


def log_every(episodes: int) -> Watcher:
    """Print a line after so many `episodes`: their returns, and how learning goes."""

    def watch(agent: DQN, history: History) -> None:
        if len(history) % episodes == 0:
            returns = history["episode_return"][-episodes:]
            tqdm.write(
                f"episode {len(history)}, step {agent.steps}: return {returns.mean():.1f} "
                f"± {returns.std():.1f}, loss {history['loss'][-1]:.3g}, "
                f"epsilon {agent.epsilon:.3f}"
            )

    return watch


def live_plot(solved_at: float | None = None, share: float = 0.05) -> Watcher:
    """Draw the returns in a window while they come in, in at most this `share` of the time."""
    from matplotlib import pyplot as plt

    plt.ion()
    if plt.get_backend().lower() == "agg":
        tqdm.write("there is no display: the plot will not be seen")
    figure, axes = plt.subplots(figsize=(9, 4.8))
    (returns,) = axes.plot([], [], color=BLUE, alpha=0.4, lw=1)
    (means,) = axes.plot([], [], color=BLUE, lw=2.2)
    axes.set(xlabel="episode", ylabel="return, and mean of the last 100")
    if solved_at is not None:
        axes.axhline(solved_at, color=RED, lw=1, ls="--")
    figure.canvas.draw()  # the first takes long: before the clock of the run starts
    figure.canvas.flush_events()
    not_before = 0.0

    def watch(agent: DQN, history: History) -> None:
        nonlocal not_before
        start = time.perf_counter()
        if start < not_before:
            return
        episodes = range(1, len(history) + 1)
        returns.set_data(episodes, history["episode_return"])
        means.set_data(episodes, rolling_mean(history["episode_return"]))
        axes.relim()
        axes.autoscale_view()
        figure.canvas.draw()
        figure.canvas.flush_events()
        end = time.perf_counter()
        not_before = end + (end - start) * (1.0 / share - 1.0)

    return watch


class RecordEvery(gym.Wrapper[Any, Any, Any, Any]):
    """Writes a GIF of every so many-th episode as it goes, its first `max_steps` steps.

    For an environment with render_mode="rgb_array", which has `finished` so many episodes.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        episodes: int,
        folder: Path,
        finished: int = 0,
        max_steps: int = 1000,
    ) -> None:
        super().__init__(env)
        if env.render_mode != "rgb_array":
            raise ValueError(f'render_mode is {env.render_mode!r}: expected "rgb_array"')
        folder.mkdir(parents=True, exist_ok=True)
        self.max_steps = max_steps
        self.episodes, self.folder, self.finished = episodes, folder, finished
        self.steps = 0
        self.pictures: list[Any] = []  # of this episode, if it is one of those

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
        due = self.steps % steps_a_picture(self.env) == 0 and self.steps <= self.max_steps
        if over or due:
            caption = f"episode {number}, step {self.steps}"
            self.pictures.append(picture(self.env, caption, over))
        if over:
            write_gif([[self.pictures]], self.env, self.folder / f"episode_{number:05}.gif")
