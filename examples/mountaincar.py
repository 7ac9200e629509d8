"""Learn to drive out of a valley with an engine that is too weak to climb.

Each step accelerates left, right or not at all, and costs 1 until the flag on the right
hill is reached. After 200 steps the episode is truncated. The car must first go up the
left hill, but no reward says so. Until the car reaches the flag by chance, every action
seems equally bad, and random actions hardly ever reach it. Most attempts with DQN fail
here. This example does not change the reward. Instead, a random action is repeated for
up to 40 steps (minidqn/parts/repeat.py).

    python examples/mountaincar.py --seed 1
"""

from minidqn import Axis, DQNConfig, LinearDecay
from minidqn.lab.cli import main
from minidqn.lab.show import Shown
from minidqn.lab.spec import Spec


def spec(steps: int = 60_000, seed: int = 0) -> Spec:
    """A run of `steps` steps. Its settings were tuned on other seeds (1000 and up)."""
    config = DQNConfig(
        normalize_obs=True,
        # With a new random action in each step, the car never leaves the valley, so it
        # finds no flag to learn from. Repeated actions reach it in one episode of ten.
        epsilon=LinearDecay(1.0, 0.01, steps / 4),
        epsilon_hold=40,
        n_step=5,
        batch_size=128,
        train_every=2,
        learning_rate=LinearDecay(3e-3, 0.0, steps),  # to 0: the last policy is good
        buffer_size=60_000,  # the whole run, because the first successes are rare
    )
    return Spec("MountainCar-v0", config, steps, seed)


SHOWN = Shown(
    # which entry of the observation, from, to, label
    x=Axis(0, -1.2, 0.6, "position"),
    y=Axis(1, -0.07, 0.07, "velocity"),
    actions=("left", "none", "right"),
)

if __name__ == "__main__":
    main(spec, SHOWN)
