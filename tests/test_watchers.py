"""What looks on while an agent trains."""

import time
from pathlib import Path

import gymnasium as gym
import matplotlib as mpl
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from matplotlib import pyplot as plt
from PIL import Image

from minidqn import DQN, History, train
from minidqn.lab.training import Watcher
from minidqn.lab.watchers import RecordEvery, live_plot, log_every, save_every, until_solved

from .conftest import add_episode
from .test_agent import small_agent
from .test_resume import environments
from .test_training import agent_for, chain


def finish(watch: Watcher, returns: list[float]) -> list[bool]:
    """What a watcher says after each of some episodes."""
    agent, history = small_agent(), History()
    answers = []
    for episode_return in returns:
        add_episode(history, episode_return)
        answers.append(bool(watch(agent, history)))
    return answers


def test_it_stops_when_the_mean_is_there() -> None:
    assert finish(until_solved(5.0, episodes=3), [9, 9, 9]) == [False, False, True]
    assert finish(until_solved(5.0, episodes=2), [4, 5, 5, 4.9]) == [False, False, True, False]


def test_a_line_for_each_multiple_of_episodes_that_end_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    env = SyncVectorEnv([chain] * 3, autoreset_mode=AutoresetMode.DISABLED)
    history = train(agent_for(env, 3), env, 90, on_episode=log_every(4), progress=False)
    lines = capsys.readouterr().out.splitlines()
    numbers = [int(line.split()[1].strip(",")) for line in lines]
    assert numbers == list(range(4, len(history) + 1, 4))
    assert len(set(history["step"])) < len(history)  # some did end together


def test_a_line_every_few_episodes(capsys: pytest.CaptureFixture[str]) -> None:
    assert not any(finish(log_every(2), [1.0, 3.0, 5.0, 5.0, 7.0]))
    first, second = capsys.readouterr().out.splitlines()
    assert first == "episode 2, step 0: return 2.0 ± 1.0, loss 0.25, epsilon 1.000"
    assert second.startswith("episode 4, step 0: return 5.0 ± 0.0")


def test_an_episode_is_recorded_as_it_went(tmp_path: Path) -> None:
    env = RecordEvery(gym.make("CartPole-v1", render_mode="rgb_array"), 20, tmp_path, finished=10)
    agent = DQN(env.observation_space, env.action_space)
    history = train(agent, env, 1000, progress=False)
    numbers = range(20, len(history) + 11, 20)
    assert sorted(tmp_path.iterdir()) == [tmp_path / f"episode_{n:05}.gif" for n in numbers]
    assert len(numbers) > 1
    for n in numbers:
        with Image.open(tmp_path / f"episode_{n:05}.gif") as film:
            pictures = getattr(film, "n_frames", 1)
            # one for every second step, the first and the last one always; alike ones are joined
            length = int(history["length"][n - 11])
            assert length // 2 - 3 <= pictures <= length // 2 + 2
            film.seek(pictures - 1)
            assert np.asarray(film.convert("L")).max() < 230  # dimmed: the pole has fallen here too


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_checkpoint_every_few_steps(
    num_envs: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    saved = []
    monkeypatch.setattr("minidqn.lab.watchers.save", lambda agent, *_: saved.append(agent.steps))
    env = environments(num_envs)
    watch = save_every(10, tmp_path / "agent.safetensors")
    train(agent_for(env, num_envs), env, 60, on_step=watch, progress=False)
    assert {steps // 10 for steps in saved} == {1, 2, 3, 4, 5, 6}  # also where one steps over it
    assert all(steps % 10 < num_envs for steps in saved)


def test_the_plot_that_moves_shows_the_returns_so_far() -> None:
    mpl.use("Agg")
    watch, agent, history = live_plot(5.0, share=1.0), small_agent(), History()
    for episode_return in (3.0, 1.0, 8.0):
        add_episode(history, episode_return)
        assert not watch(agent, history)
    (axes,) = plt.gcf().axes
    returns, means, solved = axes.lines
    assert np.asarray(returns.get_xydata()).tolist() == [[1.0, 3.0], [2.0, 1.0], [3.0, 8.0]]
    assert np.asarray(means.get_xydata()).tolist() == [[1.0, 3.0], [2.0, 2.0], [3.0, 4.0]]
    assert set(np.ravel(np.asarray(solved.get_ydata()))) == {5.0}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("episode", "return")
    plt.close()


def test_the_plot_that_moves_keeps_to_its_share_of_the_time() -> None:
    mpl.use("Agg")
    watch, agent, history = live_plot(5.0, share=0.1), small_agent(), History()
    drawn = 0.0
    start = time.perf_counter()
    while time.perf_counter() - start < 1.5:
        add_episode(history, 1.0)
        before = time.perf_counter()
        assert not watch(agent, history)
        drawn += time.perf_counter() - before
        time.sleep(0.001)
    # a drawing may come at the very end, and then has not been waited for
    assert 0.0 < drawn < 0.35 * 1.5
