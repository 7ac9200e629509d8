"""benchmarks/best_possible.py knows MountainCar's rules: a step there is one of Gymnasium's."""

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from best_possible import (
    FASTEST,
    FLAG,
    LEFT_WALL,
    POSITIONS,
    RIGHT_END,
    SPEEDS,
    best_action,
    moved,
    steps_from,
)

ENV = gym.make("MountainCar-v0").unwrapped
ROWS = np.linspace(LEFT_WALL, RIGHT_END, POSITIONS)[:, None]
COLUMNS = np.linspace(-FASTEST, FASTEST, SPEEDS)
# a plane: between the points of a grid, a plane is interpolated exactly
PLANE = 100.0 - 50.0 * ROWS - 200.0 * COLUMNS


@given(
    position=st.floats(LEFT_WALL, FLAG, exclude_max=True),
    speed=st.floats(-FASTEST, FASTEST),
    action=st.integers(0, 2),
)
@example(position=LEFT_WALL, speed=-FASTEST, action=0)  # into the left wall
@example(position=FLAG - 0.01, speed=FASTEST, action=2)  # past the flag
def test_a_step_is_gymnasiums(position: float, speed: float, action: int) -> None:
    ENV.state = np.array([position, speed])  # type: ignore[attr-defined]  # of MountainCar
    obs, _, terminated, _, _ = ENV.step(action)
    expected = moved(position, speed, action)
    np.testing.assert_allclose(obs, expected, rtol=1e-6, atol=1e-7)  # obs is float32
    assert terminated == (expected[0] >= FLAG)


@given(
    position=st.floats(LEFT_WALL, FLAG, exclude_max=True),
    speed=st.floats(-FASTEST, FASTEST),
)
def test_the_steps_between_the_points_of_the_grid(
    position: float, speed: float
) -> None:
    expected = 100.0 - 50.0 * position - 200.0 * speed
    np.testing.assert_allclose(steps_from(PLANE, position, speed), expected)
    assert steps_from(PLANE, FLAG, speed) == 0.0
    # on this plane, more to the right and faster to the right is always nearer
    if position > LEFT_WALL + FASTEST and abs(speed) < 0.06:
        assert best_action(PLANE, (position, speed)) == 2
