"""Learn Pong from the screen, as in Mnih et al. 2013, on a laptop's CPU.

A step is four frames. The screen becomes 84 x 84 grey pixels (Gymnasium's
AtariPreprocessing), and the network sees the last four of these pictures. A game goes
up to 21 points. The return is the difference: -21 for a player that never returns a
ball. There are no sticky actions: the console never repeats an action by chance.

    pip install -e ".[atari]"
    python examples/pong.py --seed 1
"""

from typing import Any

import gymnasium as gym
from gymnasium.wrappers import AtariPreprocessing

from minidqn import DQNConfig, LinearDecay
from minidqn.lab.cli import main
from minidqn.lab.show import Shown
from minidqn.lab.spec import Spec

ENV_ID = "PongNoFrameskip-v4"


def make_env(**options: Any) -> gym.Env[Any, Any]:
    """The game; each episode begins after 1 to 30 frames without action."""
    import ale_py

    gym.register_envs(ale_py)
    return AtariPreprocessing(gym.make(ENV_ID, **options))


def spec(steps: int = 500_000, seed: int = 0) -> Spec:
    """A run of `steps` steps.

    Its settings were tuned with only two runs, of seeds 1000 and 1001, because a run
    takes an hour.
    """
    config = DQNConfig(
        frame_stack=4,  # one picture does not show where the ball is going
        conv=((16, 8, 4), (32, 4, 2)),  # the network of Mnih et al. 2013
        hidden=(256,),
        layer_norm=True,  # without it, four of five hidden units become 0 for ever
        n_step=3,
        batch_size=32,
        train_every=4,
        learning_rate=LinearDecay(3e-4, 0.0, steps),  # to 0: the last policy is good
        epsilon=LinearDecay(1.0, 0.02, steps / 10),
        buffer_size=100_000,  # 0.7 GB: each picture is stored once
        learning_starts=10_000,
        tau=0.005,
    )
    return Spec(
        ENV_ID,
        config,
        steps,
        seed,
        make_env=make_env,
        solved_at=18.0,
        # one action in a thousand: two perfect players would never end the game
        test_epsilon=0.001,
    )


SHOWN = Shown(film_steps=400)

if __name__ == "__main__":
    main(spec, SHOWN)
