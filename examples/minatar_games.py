"""Learn one of the five MinAtar games from the picture: like Atari, on a small grid.

The grid has 10 x 10 cells. Each kind of object (player, ball, enemy) has its own
channel, so the picture has shape (10, 10, channels), and its entries are booleans. As
usual in MinAtar, one action in ten is replaced by the one before (a *sticky* action),
and the games get harder with time. All six actions are allowed.

    pip install -e ".[minatar]"
    python examples/minatar_games.py Breakout --seed 1
    python examples/minatar_games.py watch Breakout

Source: Young & Tian 2019, "MinAtar: An Atari-inspired testbed for thorough and
reproducible reinforcement learning experiments". The network is theirs.
"""

import warnings
from functools import partial
from typing import Any

import gymnasium as gym

from minidqn import DQNConfig, LinearDecay
from minidqn.lab.arguments import take_game
from minidqn.lab.cli import main
from minidqn.lab.show import Shown
from minidqn.lab.spec import Spec

# the mean return of Young & Tian's DQN after 1,000,000 steps, read off their plot
GAMES = {
    "Asterix": 8.0,
    "Breakout": 9.0,
    "Freeway": 47.0,
    "Seaquest": 1.0,
    "SpaceInvaders": 33.0,
}


class ForgetsLastAction(gym.Wrapper[Any, int, Any, int]):
    """Clears the last action, so that no sticky action comes from before a reset.

    Otherwise the same seed could give different episodes.
    """

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        game: Any = self.unwrapped
        game.game.last_action = 0
        return self.env.reset(**options)

    def get_action_meanings(self) -> list[str]:
        return ["none", "left", "up", "right", "down", "fire"]


def make_env(game: str, **options: Any) -> gym.Env[Any, Any]:
    """The game from gymnasium.make, in this wrapper."""
    from minatar.gym import register_envs

    if f"MinAtar/{game}-v0" not in gym.registry:
        register_envs()
    # v1 exists; it has fewer actions
    warnings.filterwarnings("ignore", module="gymnasium")
    return ForgetsLastAction(gym.make(f"MinAtar/{game}-v0", **options))


def spec(game: str, steps: int = 1_000_000, seed: int = 0) -> Spec:
    """A run of `steps` steps of a game.

    The settings, one set for all games, were tuned on other seeds (1000 and up).
    """
    config = DQNConfig(
        conv=((16, 3, 1),),  # 16 channels, each from patches of 3 x 3
        hidden=(128,),
        layer_norm=True,
        # With n_step=3 and 16 quantiles: 2.1 in 500,000 steps of Asterix, not 6.6.
        n_step=1,
        batch_size=32,
        train_every=2,
        learning_rate=LinearDecay(3e-4, 0.0, steps),  # to 0: the last policy is good
        epsilon=LinearDecay(1.0, 0.02, steps / 10),
        buffer_size=100_000,
        learning_starts=5_000,
        tau=0.005,
    )
    return Spec(
        f"MinAtar/{game}-v0",
        config,
        steps,
        seed,
        make_env=partial(make_env, game),
        solved_at=GAMES[game],
        test_epsilon=0.001,
    )


SHOWN = Shown(film_steps=300)

if __name__ == "__main__":
    main(partial(spec, take_game(GAMES)), SHOWN)
