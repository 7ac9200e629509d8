"""Watching an agent while it trains.

A watcher is a function of the agent and its history, which `train` calls after every
step; the run stops if it returns True. Each function here makes one:

    train(agent, env, 50_000, on_step=[log_every(100), save_every(10_000, "a.st")])

Those that test the agent are in testing.py.

What is wrong with its arguments is said when it is made, not hours later. A watcher
that looks at episodes asks the history: history.just_ended is how many have ended in
the last step.
"""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minidqn.agent import DQN
from minidqn.lab.checkpoint import save
from minidqn.lab.checks import count, file_to_write, number, one_environment
from minidqn.lab.envs import TEST, episode_seed
from minidqn.lab.evaluation import check_test
from minidqn.lab.films import animate
from minidqn.lab.history import WINDOW, History
from minidqn.lab.plotting import draw_returns
from minidqn.lab.training import Watcher, step_is_due


def episodes_due(history: History, episodes: int) -> range:
    """The multiples of `episodes` that were reached by those that just ended."""
    before = len(history) - history.just_ended
    next_multiple = (before // episodes + 1) * episodes
    return range(next_multiple, len(history) + 1, episodes)


def until_solved(solved_at: float, episodes: int = WINDOW) -> Watcher:
    """Stop when the mean return of the last `episodes` episodes reaches `solved_at`."""
    solved_at = number("solved_at", solved_at)
    episodes = count("episodes", episodes)

    def watch(agent: DQN, history: History) -> bool:
        if history.just_ended == 0 or len(history) < episodes:
            return False
        return history.mean_return(episodes) >= solved_at

    return watch


def save_every(steps: int, path: str | Path) -> Watcher:
    """Save a checkpoint every `steps` steps."""
    steps = count("steps", steps)
    file = file_to_write(path)

    def watch(agent: DQN, history: History) -> None:
        if step_is_due(agent, steps):
            save(agent, file, history)

    return watch


def log_every(episodes: int) -> Watcher:
    """Print a line every `episodes` episodes: their returns, the loss, and epsilon."""
    episodes = count("episodes", episodes)

    def watch(agent: DQN, history: History) -> None:
        for last in episodes_due(history, episodes):
            rows = history.episodes(last - episodes)[:episodes]
            returns = np.array([row.episode_return for row in rows])
            tqdm.write(
                f"episode {last}, step {agent.steps}: return "
                f"{returns.mean():.1f} ± {returns.std():.1f}, loss "
                f"{rows[-1].loss:.3g}, epsilon {agent.epsilon:.3f}"
            )

    return watch


def log_csv(path: str | Path) -> Watcher:
    """Write each episode's row to a CSV file, which can be read during the run.

    A new history begins a new file.
    """
    file = file_to_write(path)
    logged: History | None = None
    written = 0

    def watch(agent: DQN, history: History) -> None:
        nonlocal logged, written
        if history is not logged:
            written = 0
        if history is not logged or history.just_ended > 0:
            history.write_csv(file, written)
            logged = history
            written = len(history)

    return watch


def log_tensorboard(folder: str | Path) -> Watcher:
    """Write each episode's row for TensorBoard. It takes the package tensorboardX."""
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error}; pip install tensorboardX installs it"
        ) from None

    writer = SummaryWriter(str(folder))
    written = 0  # tests

    def watch(agent: DQN, history: History) -> None:
        nonlocal written
        while written < len(history.tests):
            step = int(history.tests.steps[written])
            writer.add_scalar("test_return", history.tests.means[written], step)
            written += 1
        if history.just_ended > 0:
            for episode in history.episodes(len(history) - history.just_ended):
                for name, value in episode._asdict().items():
                    if not math.isnan(value):  # there was no update
                        writer.add_scalar(name, value, episode.step)

    return watch


def record_every(
    episodes: int, env: Any, folder: str | Path, max_steps: int = 500
) -> Watcher:
    """Write a GIF of a greedy test episode every `episodes` episodes.

    It is played in `env`, which needs render_mode="rgb_array".
    """
    episodes = count("episodes", episodes)
    max_steps = count("max_steps", max_steps)
    one_environment(env)
    if env.render_mode != "rgb_array":
        raise ValueError(
            f"render_mode is {env.render_mode!r}: expected an environment made with "
            'render_mode="rgb_array"'
        )
    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise NotADirectoryError(f"{place} is a file: expected a folder")
    checked = None  # the agent that `env` is known to fit

    def watch(agent: DQN, history: History) -> None:
        nonlocal checked
        if agent is not checked:  # in the first step, not hours later
            check_test(agent, env)
            checked = agent
        due = episodes_due(history, episodes)
        if len(due) > 0:
            place.mkdir(parents=True, exist_ok=True)
            path = place / f"episode_{due[-1]:05}.gif"
            seeds = [episode_seed(agent.seed, TEST, 0)]
            animate({f"episode {due[-1]}": agent}, env, path, seeds, max_steps)

    return watch


def live_plot(solved_at: float | None = None, share: float = 0.05) -> Watcher:
    """Plot the returns in a window, in at most this `share` of the time."""
    if solved_at == math.inf:  # no return is known to count as solved
        solved_at = None
    if solved_at is not None:
        solved_at = number("solved_at", solved_at)
    if not 0.0 < number("share", share) <= 1.0:
        raise ValueError(f"share is {share!r}: expected more than 0, up to 1")
    from matplotlib import pyplot as plt

    plt.ion()
    if plt.get_backend().lower() == "agg":
        tqdm.write("no display: the plot will not be seen")
    figure, axes = plt.subplots(figsize=(9, 4.8))
    not_before = 0.0

    def draw(history: History) -> None:
        axes.clear()
        draw_returns(axes, history, solved_at)
        figure.canvas.draw()
        figure.canvas.flush_events()

    def watch(agent: DQN, history: History) -> None:
        nonlocal not_before
        if history.just_ended == 0:
            return
        start = time.perf_counter()
        if start >= not_before:
            draw(history)
            end = time.perf_counter()
            not_before = end + (end - start) * (1.0 / share - 1.0)

    draw(History())  # the first drawing is slow: it comes before training
    return watch
