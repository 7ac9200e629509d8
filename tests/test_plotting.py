"""Figures: that they show what they should.

Whether they please, only an eye can tell.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from PIL import Image

from minidqn import (
    DQN,
    Axis,
    DQNConfig,
    History,
    plot_filters,
    plot_learning_curve,
    plot_value_function,
)
from minidqn.lab.history import rolling_mean
from minidqn.lab.plotting import PALETTE

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
        history.add_episode(10 * (i + 1), 1 / (i + 1), float(i), 10)
    path = tmp_path / "curve.png"
    figure = plot_learning_curve(
        history, path, test_returns=[1.0, 2.0, 6.0], solved_at=100.0, title="Some-v0"
    )
    assert figure.get_suptitle() == "Some-v0"
    training, test, right = figure.axes
    assert training.get_xlabel() == "environment steps"
    assert training.get_ylabel() == "return"
    lines = {str(line.get_label()): line for line in [*training.lines, *right.lines]}
    returns = np.arange(float(episodes))
    steps = 10 * np.arange(1, episodes + 1)
    expected = {
        "episode of training": returns,
        "mean of the last 20": rolling_mean(returns, 20),
        "epsilon, right axis": 1 / np.arange(1, episodes + 1),
    }
    for name, values in expected.items():
        np.testing.assert_array_equal(lines[name].get_xdata(), steps)
        np.testing.assert_allclose(np.asarray(lines[name].get_ydata()), values)
    assert lines["solved, 100"].get_ydata() == [100.0, 100.0]

    dots, mean, threshold = test.lines
    np.testing.assert_array_equal(dots.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(dots.get_ydata(), [1.0, 2.0, 6.0])
    assert (mean.get_ydata(), threshold.get_ydata()) == ([3.0, 3.0], [100.0, 100.0])
    assert test.get_title() == "test, greedy\nmean 3.0\nminimum 1"
    assert test.get_ylim() == training.get_ylim()  # one scale for both
    with Image.open(path) as picture:
        assert picture.size == (1080, 576)


def test_the_curve_says_how_the_test_was_played() -> None:
    history = History()
    add_episode(history, 1.0)
    figure = plot_learning_curve(history, test_returns=[1.0, 2.0], test_epsilon=0.001)
    assert figure.axes[1].get_title().startswith("test, epsilon 0.001\n")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert not any("solved" in label for label in labels)
    assert len(labels) == 3
    without_test = plot_learning_curve(history)
    assert len(without_test.axes) == 2  # returns and epsilon


def test_a_figure_without_a_file_is_one_that_pyplot_shows(tmp_path: Path) -> None:
    kept = plot_learning_curve(History())
    written = plot_learning_curve(History(), tmp_path / "curve.png")
    figures = [plt.figure(number) for number in plt.get_fignums()]
    assert kept in figures
    assert written not in figures


def test_value_function(tmp_path: Path) -> None:
    agent = DQN(Box(-1, 1, (3,), np.float32), Discrete(2), DQNConfig(hidden=()))
    weights = agent.online.params[:6].reshape(3, 2)
    biases = agent.online.params[6:]
    weights[:] = [[0.0, 1.0], [0.0, 0.0], [0.0, 2.0]]  # Q(s, 1) = s_0 + 2 s_2
    biases[:] = [0.5, 0.0]  # Q(s, 0) = 0.5
    path = tmp_path / "value.png"
    x = Axis(2, -1.0, 1.0, "third")
    y = Axis(0, -1.0, 1.0, "first")
    figure = plot_value_function(agent, path, x, y, actions=("rest", "go"), points=5)
    values, choices, _, bar = figure.axes
    grid = np.linspace(-1.0, 1.0, 5)
    q1 = grid[:, None] + 2 * grid  # of y, x
    np.testing.assert_allclose(
        np.asarray(values.images[0].get_array()), np.maximum(q1, 0.5)
    )
    np.testing.assert_array_equal(choices.images[0].get_array(), q1 > 0.5)
    assert tuple(values.images[0].get_extent()) == (-1.0, 1.0, -1.0, 1.0)
    assert (values.get_xlabel(), values.get_ylabel()) == ("third", "first")
    assert [label.get_text() for label in bar.get_yticklabels()] == ["rest", "go"]
    with Image.open(path) as picture:
        assert picture.size == (1200, 552)
    assert figure.get_supxlabel() == "all other entries of the observation are 0"
    with pytest.raises(ValueError, match=r"actions is .*: expected 2 names"):
        plot_value_function(agent, path, x, y, actions=("go",))


def agent_that_sees_images() -> DQN:
    config = DQNConfig(conv=((2, 3, 1),))
    return DQN(Box(0, 255, (8, 8), np.uint8), Discrete(2), config)


def test_an_image_has_no_value_function() -> None:
    agent = agent_that_sees_images()
    x = Axis(0, 0, 1, "")
    says = r"shape \(8, 8\): expected a vector, of which two entries"
    with pytest.raises(ValueError, match=says):
        plot_value_function(agent, None, x, x)


def test_a_folder_that_is_not_there_is_named_before_anything_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_figure(*size: float, shown: bool) -> None:
        raise AssertionError("it was drawn")

    monkeypatch.setattr("minidqn.lab.plotting.blank", no_figure)
    monkeypatch.setattr("minidqn.lab.filters.blank", no_figure)
    path = tmp_path / "absent" / "picture.png"
    pixels = agent_that_sees_images()
    agent = DQN(Box(-1, 1, (2,), np.float32), Discrete(2))
    x = Axis(0, -1.0, 1.0, "x")
    says = r"there is no folder '.*absent': make it, or give another path"
    with pytest.raises(FileNotFoundError, match=says):
        plot_learning_curve(History(), path)
    with pytest.raises(FileNotFoundError, match=says):
        plot_value_function(agent, str(path), x, x)
    with pytest.raises(FileNotFoundError, match=says):
        plot_filters(pixels, np.zeros((8, 8), np.uint8), path)


@pytest.mark.parametrize("solved_at", [None, np.inf, -np.inf])
def test_a_threshold_that_nobody_knows_is_not_drawn(solved_at: float | None) -> None:
    figure = plot_learning_curve(History(), solved_at=solved_at)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert not any("solved" in label for label in labels)


@pytest.mark.parametrize("n", [2, 6, 7, 18])
def test_every_action_has_a_color_of_its_own(n: int) -> None:
    agent = DQN(Box(-1, 1, (2,), np.float32), Discrete(n))
    x = Axis(0, -1, 1, "x")
    y = Axis(1, -1, 1, "y")
    figure = plot_value_function(agent, None, x, y, points=3)
    image = figure.axes[1].images[0]
    rows = np.asarray(image.cmap(image.norm(np.arange(n))))  # (n, 4)
    colors = [to_hex(tuple(color)) for color in rows]
    assert len(set(colors)) == n
    if n <= 6:
        assert colors == PALETTE[:n]


def test_the_value_function_is_that_of_the_observation_that_is_given() -> None:
    agent = DQN(Box(-1, 1, (3,), np.float32), Discrete(2), DQNConfig(hidden=()))
    agent.online.params[:] = 0.0
    agent.online.params[2] = 1.0  # Q(s, 0) = s_1
    x = Axis(2, -1.0, 1.0, "third")
    y = Axis(0, -1.0, 1.0, "first")
    for obs in ([7.0, 0.5, 7.0], [0.0, 0.25, 0.0]):
        figure = plot_value_function(agent, None, x, y, obs=obs, points=3)
        values, choices, *_ = figure.axes
        shown = np.asarray(values.images[0].get_array())
        np.testing.assert_array_equal(shown, np.full((3, 3), obs[1]))
        assert not np.any(choices.images[0].get_array())
    names = [label.get_text() for label in figure.axes[3].get_yticklabels()]
    assert names == ["0", "1"]


@pytest.mark.parametrize("channels", [1, 3])
def test_filters_and_what_they_see(channels: int, tmp_path: Path) -> None:
    """Filter 0 copies one pixel of the newest frame.

    So one square of its tiles is bright, and its map is the frame.
    """
    bits: Any = np.bool_
    space = Box(0, 1, (6, 7, channels), bits)
    config = DQNConfig(conv=((5, 2, 1),), frame_stack=2)
    agent = DQN(space, Discrete(2), config)
    conv: Any = agent.online.layers[0]
    conv.W[:] = 0.0
    conv.b[:] = 0.0
    weights = conv.W.reshape(2, 2, 2, channels, 5)  # (F, k, k, C, O)
    weights[1, 0, 0, -1, 0] = 1.0
    obs = np.random.default_rng(0).random((2, 6, 7, channels)) < 0.5
    figure = plot_filters(agent, obs, tmp_path / "filters.png")
    left, right = figure.subfigs
    seen = left.axes[0]
    strip, map_ = right.axes[:2]
    image = np.asarray(seen.images[0].get_array()).reshape(6, 7)
    np.testing.assert_array_equal(image > 0, obs[1].any(axis=2))
    drawn = np.asarray(strip.images[0].get_array())  # tiles of 2 x 2, with gaps
    assert drawn.shape == (2, 2 * channels * 3)
    bright = np.argwhere(drawn == 1.0)
    assert bright.tolist() == [[0, (2 * channels - 1) * 3]]  # the last tile's corner
    np.testing.assert_array_equal(map_.images[0].get_array(), obs[1, :5, :6, -1])
    with Image.open(tmp_path / "filters.png") as picture:
        assert picture.format == "PNG"
    plain = DQN(Box(-1.0, 1.0, (3,)), Discrete(2))
    says = "the first layer is a Linear: expected a Conv2d"
    with pytest.raises(TypeError, match=says):
        plot_filters(plain, np.zeros(3))


def test_an_observation_in_colors_is_shown_in_its_colors() -> None:
    space = Box(0, 255, (6, 7, 3), np.uint8)
    agent = DQN(space, Discrete(2), DQNConfig(conv=((4, 2, 1),)))
    obs = np.random.default_rng(0).integers(256, size=(6, 7, 3), dtype=np.uint8)
    seen = plot_filters(agent, obs).subfigs[0].axes[0]
    np.testing.assert_array_equal(seen.images[0].get_array(), obs)
