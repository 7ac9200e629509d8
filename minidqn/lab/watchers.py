"""Watching an agent while it trains.

A watcher is a function of the agent and its history, which `train` calls after every step
or after every episode; the run stops if it returns True. Each function here makes one, for
`on_episode` unless it says otherwise. `train` takes one or a list of them.
"""

import math
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minidqn.agent import DQN
from minidqn.batch import BRIDGE
from minidqn.lab.checkpoint import save
from minidqn.lab.envs import TEST, episode_seed
from minidqn.lab.films import animate
from minidqn.lab.history import History
from minidqn.lab.plotting import draw_returns
from minidqn.lab.training import Watcher, evaluate


def until_solved(solved_at: float, episodes: int = 20) -> Watcher:
    """Stop when the mean return of the last `episodes` episodes reaches `solved_at`."""
    return lambda _, runs: (
        len(runs) >= episodes and runs.mean_return(episodes) >= solved_at
    )


def due(agent: DQN, steps: int) -> bool:
    """Whether it is the time of what is to be done every `steps` steps."""
    last = agent.replay.kind[(agent.replay.count - 1) % agent.replay.slots]
    return bool(
        agent.steps % steps < (last != BRIDGE).sum()
    )  # several may step over a multiple


def save_every(steps: int, path: str | Path) -> Watcher:
    """Save a checkpoint every `steps` steps: a watcher for `on_step`."""

    def watch(agent: DQN, history: History) -> None:
        if due(agent, steps):
            save(agent, path, history)

    return watch


def save_best(
    steps: int,
    path: str | Path,
    env: Any,
    episodes: int = 10,
    seed: int = 1_000_000,
    best: float = -math.inf,
) -> Watcher:
    """Test the policy in `env` every `steps` steps, and save the best: a watcher for `on_step`.

    The best of many tests is partly luck. So its episodes are those of another `seed` than
    the final test's, which goes on telling how good a policy is. Only a mean return above
    `best` is saved: for a run that goes on, give what the policy at `path` has in this test.
    """

    def watch(agent: DQN, history: History) -> None:
        nonlocal best
        if due(agent, steps):
            mean = evaluate(agent, env, episodes, seed, progress=False).mean()
            if mean > best:
                best = mean
                save(agent, path, replay=False)

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


def log_csv(path: str | Path) -> Watcher:
    """Write each episode's row to a CSV file, which can be read while the run goes on."""
    written = 0

    def watch(agent: DQN, history: History) -> None:
        nonlocal written
        history.write_csv(path, written)
        written = len(history)

    return watch


def log_tensorboard(folder: str | Path) -> Watcher:
    """Write each episode's row for TensorBoard. It takes the package tensorboardX."""
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(str(folder))

    def watch(agent: DQN, history: History) -> None:
        for name, value in history.episodes(len(history) - 1)[0]._asdict().items():
            writer.add_scalar(name, value, agent.steps)

    return watch


def record_every(
    episodes: int, env: Any, folder: str | Path, max_steps: int = 500
) -> Watcher:
    """Write a GIF of a greedy test episode every `episodes` episodes.

    It is played in `env`, which needs render_mode="rgb_array".
    """
    Path(folder).mkdir(parents=True, exist_ok=True)

    def watch(agent: DQN, history: History) -> None:
        if len(history) % episodes == 0:
            path = Path(folder) / f"episode_{len(history):05}.gif"
            seeds = [episode_seed(agent.seed, TEST, 0)]
            animate({f"episode {len(history)}": agent}, env, path, seeds, max_steps)

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
