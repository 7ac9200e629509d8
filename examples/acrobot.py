"""Learn to swing up a double pendulum that is driven at its elbow only.

Two links hang from a pivot. Each step one turns the joint between them one way, the
other way or not at all, and pays 1 until the tip rises above the line. An episode is
cut after 500 steps; good play needs 60 to 80, according to the start.

    python examples/acrobot.py --seed 1
"""

from minidqn.cli import main

if __name__ == "__main__":
    main("Acrobot-v1", film_steps=150)
