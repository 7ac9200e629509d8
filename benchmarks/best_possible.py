"""The best return that MountainCar allows, in the same episodes in which minidqn is tested.

Its rules are known, and its state is two numbers. So value iteration finds, for each point of a
fine grid, the least number of steps to the flag (Sutton & Barto 2018, section 4.4). A policy that
always moves to where this number is least is nearly optimal: between the points of the grid, the
number is only interpolated.

    python benchmarks/best_possible.py
"""

import argparse
from typing import Any

import gymnasium as gym
import numpy as np
from report import add_out, report

from minidqn import TEST, episode_seed
from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array

# Gymnasium's MountainCar-v0
LEFT_WALL, FLAG, RIGHT_END = -1.2, 0.5, 0.6
FASTEST = 0.07
FORCE, GRAVITY = 0.001, 0.0025
ACTIONS = 3  # push to the left, do nothing, push to the right

POSITIONS = 1_401  # points of the grid
SPEEDS = 801
SMALL = 1e-4  # value iteration stops when no number of steps changes by more
SEEDS = 20  # runs of benchmarks/learning.py
EPISODES = 100  # of the test of each run


@kernel
def moved(position: float, speed: float, action: int) -> tuple[float, float]:
    """Position and speed after an action."""
    speed += (action - 1) * FORCE - np.cos(3 * position) * GRAVITY
    speed = min(max(speed, -FASTEST), FASTEST)
    position = min(max(position + speed, LEFT_WALL), RIGHT_END)
    if position == LEFT_WALL and speed < 0.0:
        speed = 0.0
    return position, speed


@kernel
def steps_from(steps: Array, position: float, speed: float) -> float:
    """The number of steps to the flag, interpolated between the four points around."""
    if position >= FLAG:
        return 0.0
    row = (position - LEFT_WALL) / (RIGHT_END - LEFT_WALL) * (POSITIONS - 1)
    column = (speed + FASTEST) / (2 * FASTEST) * (SPEEDS - 1)
    i = min(int(row), POSITIONS - 2)
    j = min(int(column), SPEEDS - 2)
    p = row - i
    q = column - j
    above = (1 - q) * steps[i, j] + q * steps[i, j + 1]
    below = (1 - q) * steps[i + 1, j] + q * steps[i + 1, j + 1]
    between: float = (1 - p) * above + p * below
    return between


@kernel
def sweep(steps: Array, positions: Array, speeds: Array) -> float:
    """One sweep of value iteration, in place: (POSITIONS, SPEEDS). The largest change."""
    largest = 0.0
    for i in range(POSITIONS):
        for j in range(SPEEDS):
            if positions[i] >= FLAG:
                continue
            least = np.inf
            for action in range(ACTIONS):
                position, speed = moved(positions[i], speeds[j], action)
                least = min(least, 1.0 + steps_from(steps, position, speed))
            largest = max(largest, abs(steps[i, j] - least))
            steps[i, j] = least
    return largest


def least_steps() -> Array:
    """The least number of steps to the flag, (POSITIONS, SPEEDS)."""
    positions = np.linspace(LEFT_WALL, RIGHT_END, POSITIONS)
    speeds = np.linspace(-FASTEST, FASTEST, SPEEDS)
    steps = np.zeros((POSITIONS, SPEEDS))
    while sweep(steps, positions, speeds) > SMALL:
        pass
    return steps


def best_action(steps: Array, obs: Any) -> int:
    after = [steps_from(steps, *moved(obs[0], obs[1], a)) for a in range(ACTIONS)]
    return int(np.argmin(after))


def play(steps: Array, env: gym.Env[Any, Any], seed: int, episode: int) -> float:
    """The return of a test episode of the run with this seed."""
    obs, _ = env.reset(seed=episode_seed(seed, TEST, episode))
    total = 0.0
    over = False
    while not over:
        obs, reward, terminated, truncated, _ = env.step(best_action(steps, obs))
        total += float(reward)
        over = terminated or truncated
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description="The best that MountainCar allows.")
    add_out(parser)
    args = parser.parse_args()
    steps = least_steps()
    env = gym.make("MountainCar-v0")
    means = []
    for seed in range(SEEDS):
        returns = [play(steps, env, seed, episode) for episode in range(EPISODES)]
        means.append(np.mean(returns))
    text = (
        f"MountainCar-v0, value iteration on {POSITIONS:,} x {SPEEDS} points, in the test "
        f"episodes of seeds 0 to {SEEDS - 1}: mean {np.mean(means):.2f}, worst seed "
        f"{min(means):.2f}."
    )
    report(text, args.out / "best_possible.md")


if __name__ == "__main__":
    main()
