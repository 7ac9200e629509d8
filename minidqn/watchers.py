"""What may look on while an agent trains: functions for `train`'s `on_episode`.

Each makes a watcher: a function of the agent and its history, which is called after
every episode and stops the run by returning True.
"""

import time
from pathlib import Path
from typing import Any

import gymnasium as gym
from tqdm import tqdm

from minidqn.agent import DQN
from minidqn.history import History
from minidqn.plotting import BLUE, RED, film, rolling_mean, write_gif
from minidqn.training import TRAIN, Watcher, episode_seed


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


def record_every(episodes: int, stage: gym.Env[Any, Any], folder: Path) -> Watcher:
    """Write a GIF of every so many-th episode, as it went, exploration included.

    The episode is played again on `stage`, an environment of the same kind with
    render_mode="rgb_array", from its seed and its actions. For a single environment.
    """

    def watch(agent: DQN, history: History) -> None:
        if len(history) % episodes == 0:
            (episode,) = history.unfinished  # the one that has just ended
            actions = iter(episode.actions)
            seed = episode_seed(agent.seed, TRAIN, episode.reset)
            caption = f"episode {len(history)}"
            played = film(lambda obs, info: next(actions), stage, seed, caption)
            write_gif([[played]], stage, folder / f"episode_{len(history):05}.gif")

    return watch


def live_plot(solved_at: float | None = None, share: float = 0.05) -> Watcher:
    """Draw the returns in a window while they come in, in at most this `share` of the time."""
    from matplotlib import pyplot as plt

    plt.ion()
    figure, axes = plt.subplots(figsize=(9, 4.8))
    (returns,) = axes.plot([], [], color=BLUE, alpha=0.4, lw=1)
    (means,) = axes.plot([], [], color=BLUE, lw=2.2)
    axes.set(xlabel="episode", ylabel="return, and mean of the last 100")
    if solved_at is not None:
        axes.axhline(solved_at, color=RED, lw=1, ls="--")
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
