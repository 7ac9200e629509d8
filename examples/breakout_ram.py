"""Learn Breakout from the 128 bytes of the console's memory, in two million steps.

The bytes hold the whole state: where the ball and the paddle are, how the ball moves,
which bricks are left. They are stored as bytes, and mapped to -1 to 1 by the network. A
step is four frames. In each frame, the console repeats the action before with a chance
of 1/4 (a *sticky* action). A brick is worth 1, 4 or 7 points, the whole wall 432.
Random play scores about 1 here.

In training, every brick counts 1, and an episode is one ball. So the learning curve
shows bricks per ball. The test shows the score of a whole game, which is five balls.
In the test, one action in a thousand is random, because a ball can bounce in an endless
loop.

    pip install -e ".[atari]"
    python examples/breakout_ram.py --seed 1
"""

from typing import Any

import gymnasium as gym
import numpy as np

from minidqn import DQNConfig, LinearDecay
from minidqn.lab.cli import main
from minidqn.lab.show import Shown
from minidqn.lab.spec import Spec
from minidqn.nn.layers import Array

ENV_ID = "ALE/Breakout-v5"


class OneBall(gym.Wrapper[Array, int, Array, int]):
    """One episode per ball; each reward is replaced by its sign (Mnih et al. 2015)."""

    def __init__(self, env: gym.Env[Array, int]) -> None:
        super().__init__(env)
        self.balls = 0  # balls left; 0 before the first game, and after each game

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[Array, Any]:
        """Continue with the next ball, or after the last one with a new game."""
        if self.balls == 0:
            obs, info = self.env.reset(seed=seed, options=options)
        else:
            obs, _, _, _, info = self.env.step(0)
        self.balls = info["lives"]
        return obs, info

    def step(self, action: int) -> tuple[Array, float, bool, bool, Any]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        lost = info["lives"] < self.balls
        self.balls = 0 if terminated or truncated else info["lives"]
        return obs, float(np.sign(float(reward))), terminated or lost, truncated, info


def make_env(**options: Any) -> gym.Env[Any, Any]:
    import ale_py

    gym.register_envs(ale_py)
    return gym.make(ENV_ID, obs_type="ram", **options)


def spec(steps: int = 2_000_000, seed: int = 0) -> Spec:
    """A run of `steps` steps. Its settings were tuned on seed 1000."""
    config = DQNConfig(
        normalize_obs=True,
        hidden=(128, 128),
        layer_norm=True,
        quantiles=10,
        # More steps would be those of older, worse policies: the score was 182 with 1
        # step, and 113 with 3 (after 500,000 steps, seed 1000).
        n_step=1,
        batch_size=128,
        train_every=4,
        learning_rate=LinearDecay(1e-3, 0.0, steps),  # to 0: the last policy is good
        epsilon=LinearDecay(1.0, 0.01, steps / 20),
        buffer_size=500_000,
        tau=0.005,
    )
    return Spec(
        ENV_ID,
        config,
        steps,
        seed,
        make_env=make_env,
        train_wrapper=OneBall,
        solved_at=31.8,  # a person's score (Mnih et al. 2015)
        test_epsilon=0.001,
        reseed=False,  # a reset with a seed takes as long as a thousand steps
    )


SHOWN = Shown(film_steps=300)

if __name__ == "__main__":
    main(spec, SHOWN)
