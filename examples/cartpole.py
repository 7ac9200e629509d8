"""Learn to balance a pole: the whole path, from nothing to a perfect score.

A cart on a rail carries a pole. Each step one pushes it left or right, and gets a
reward of 1 as long as the pole stands and the cart is near the middle. After 500
steps the episode is cut, so 500 is perfect.

    python examples/cartpole.py --seed 1

The path is minidqn/cli.py's: make an agent with the settings of config.py's table,
train it, test it, draw it. Each choice in that table says why.
"""

from minidqn.cli import main
from minidqn.plotting import Axis

if __name__ == "__main__":
    main(
        "CartPole-v1",
        state_axes=(
            Axis(2, -0.21, 0.21, "pole angle, radians"),
            Axis(3, -2.0, 2.0, "pole angular velocity, radians / s"),
        ),
        actions=("left", "right"),
    )
