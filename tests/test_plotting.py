"""Pictures: that they show what they should (whether they please, only an eye can tell)."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from PIL import Image, ImageSequence

from minidqn import DQN, Axis, DQNConfig, History, animate, plot_learning_curve, plot_value_function
from minidqn.lab.plotting import rolling_mean

from .conftest import add_episode


def test_rolling_mean() -> None:
    x = np.random.default_rng(0).normal(size=25)
    expected = [x[max(i - 9, 0) : i + 1].mean() for i in range(25)]
    np.testing.assert_allclose(rolling_mean(x, 10), expected)
    assert rolling_mean([]).size == 0


@pytest.mark.parametrize("episodes", [0, 1, 150])
def test_learning_curve(episodes: int, tmp_path: Path) -> None:
    history = History()
    for i in range(episodes):
        add_episode(history, float(i), 1 / (i + 1))
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


def test_value_function(tmp_path: Path) -> None:
    agent = DQN(Box(-1, 1, (3,), np.float32), Discrete(2), DQNConfig(hidden=()))
    weights, biases = agent.online.params[:6].reshape(3, 2), agent.online.params[6:]
    weights[:] = [[0.0, 1.0], [0.0, 0.0], [0.0, 2.0]]  # Q(s, 1) = s_0 + 2 s_2
    biases[:] = [0.5, 0.0]  # Q(s, 0) = 0.5
    path = tmp_path / "value.png"
    x, y = Axis(2, -1.0, 1.0, "third"), Axis(0, -1.0, 1.0, "first")
    figure = plot_value_function(agent, path, x, y, actions=("rest", "go"), points=5)
    values, choices, _, bar = figure.axes
    grid = np.linspace(-1.0, 1.0, 5)
    q1 = grid[:, None] + 2 * grid  # of y, x
    np.testing.assert_allclose(np.asarray(values.images[0].get_array()), np.maximum(q1, 0.5))
    np.testing.assert_array_equal(choices.images[0].get_array(), q1 > 0.5)
    assert tuple(values.images[0].get_extent()) == (-1.0, 1.0, -1.0, 1.0)
    assert (values.get_xlabel(), values.get_ylabel()) == ("third", "first")
    assert [label.get_text() for label in bar.get_yticklabels()] == ["rest", "go"]
    with Image.open(path) as picture:
        assert picture.size == (1200, 528)
    with pytest.raises(ValueError, match=r"actions is .*: expected 2 names"):
        plot_value_function(agent, path, x, y, actions=("go",))


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
