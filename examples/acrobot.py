"""Learn to swing up a double pendulum with a motor only at its elbow.

Two links hang from a pivot. Each step turns the joint between them one way, the other
way or not at all. Each step costs 1, until the tip rises above a line. An episode is
truncated after 500 steps; a good policy takes about 70 on average.

    python examples/acrobot.py --seed 1
"""

from minidqn import DQNConfig, LinearDecay
from minidqn.lab.cli import main
from minidqn.lab.show import Shown
from minidqn.lab.spec import Spec


def spec(steps: int = 100_000, seed: int = 0) -> Spec:
    """A run of `steps` steps. Its settings were tuned on other seeds (1000 and up)."""
    config = DQNConfig(
        hidden=(128, 128),
        layer_norm=True,
        n_step=2,
        huber_delta=10.0,  # returns are about -70
        batch_size=128,
        learning_rate=LinearDecay(2e-3, 0.0, steps),  # to 0: the last policy is good
        epsilon=LinearDecay(1.0, 0.02, steps / 10),
        buffer_size=30_000,
    )
    return Spec("Acrobot-v1", config, steps, seed)


SHOWN = Shown(film_steps=150)


if __name__ == "__main__":
    main(spec, SHOWN)
