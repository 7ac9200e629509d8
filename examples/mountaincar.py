"""Learn to drive out of a valley with an engine that is too weak to climb.

Each step one accelerates left, right or not at all, and pays 1 until the flag on the
right hill is reached; after 200 steps the episode is cut. The car must first go up
the other way. Nothing tells it so: until it reaches the flag by chance, every action
is as bad as any other, and a car that is pushed at random hardly ever does. That is
where most attempts with DQN end. What makes it learn here is no change of the reward
but a random action that is *held* for up to 40 steps (epsilon_hold, in config.py).

    python examples/mountaincar.py --seed 1
"""

from minidqn.cli import main
from minidqn.plotting import Axis

if __name__ == "__main__":
    main(
        "MountainCar-v0",
        state_axes=(Axis(0, -1.2, 0.6, "position"), Axis(1, -0.07, 0.07, "velocity")),
        actions=("left", "none", "right"),
    )
