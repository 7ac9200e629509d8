"""Pictures: that they show what they should (whether they please, only an eye can tell)."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image, ImageSequence

from minidqn import DQN, History, animate, plot_learning_curve
from minidqn.history import Episode
from minidqn.plotting import rolling_mean


def test_rolling_mean() -> None:
    x = np.random.default_rng(0).normal(size=25)
    expected = [x[max(i - 9, 0) : i + 1].mean() for i in range(25)]
    np.testing.assert_allclose(rolling_mean(x, 10), expected)
    assert rolling_mean([]).size == 0


@pytest.mark.parametrize("episodes", [0, 1, 150])
def test_learning_curve(episodes: int, tmp_path: Path) -> None:
    history = History()
    for i in range(episodes):
        history.append(Episode(i, float(i), 1, 1 / (i + 1), 0.1, 1.0, 1.0))
    path = tmp_path / "curve.png"
    returns = np.arange(float(episodes))
    figure = plot_learning_curve(history, path, test_returns=[1.0, 2.0], solved_at=100.0)
    axes, right = figure.axes
    lines = {str(line.get_label()): line for line in [*axes.lines, *right.lines]}
    np.testing.assert_array_equal(lines["training, with exploration"].get_ydata(), returns)
    means = np.asarray(lines["mean of the last 100"].get_ydata())
    np.testing.assert_allclose(means, rolling_mean(returns))
    np.testing.assert_array_equal(lines["test, greedy"].get_xdata(), [episodes + 1, episodes + 2])
    assert lines["solved, 100"].get_ydata() == [100.0, 100.0]
    assert np.size(lines["epsilon, right axis"].get_ydata()) == episodes
    with Image.open(path) as picture:
        assert picture.size == (1080, 576)


def test_animation_goes_on_for_the_one_that_stays_up(tmp_path: Path) -> None:
    env = gym.make("CartPole-v1", render_mode="rgb_array")

    class Lean(DQN):
        def act(self, obs: object, epsilon: float = 0.0, mask: object = None) -> int:
            return 0

    class Balance(DQN):
        def act(self, obs: object, epsilon: float = 0.0, mask: object = None) -> int:
            _, _, angle, turning = np.asarray(obs)
            return int(angle + 0.3 * turning > 0)

    agents: dict[str, DQN] = {
        "before": Lean(env.observation_space, env.action_space),
        "after": Balance(env.observation_space, env.action_space),
    }
    path = tmp_path / "film.gif"
    animate(agents, env, path, seeds=[1, 2], max_steps=40)
    with Image.open(path) as film:
        frames = [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(film)]
        assert film.info["duration"] == 40  # milliseconds: real time
    assert (frames[0][:, : frames[0].shape[1] // 2] == 255).mean() > 0.5
    assert len(frames) >= 2 * 20  # one for every second step, of both episodes
    frame = frames[20]
    half = frame.shape[1] // 2
    assert frame[:, :half].max() < 230 < frame[:, half + 8 :].max()  # only the fallen is dimmed

    with pytest.raises(ValueError, match='render_mode is None: expected "rgb_array"'):
        animate(agents, gym.make("CartPole-v1"), path, seeds=[1])
