"""Two more games from the screen, with the settings of examples/pong.py: figures, no promises.

    python benchmarks/atari.py ALE/Pong-v5
    python benchmarks/atari.py BreakoutNoFrameskip-v4

What came of it is in runs/, and, unless options made it another run, in results/, in a CSV file
with the game's name.
Pong-v5 is Pong with sticky actions: in each frame, with a chance of 1/4, the console repeats the
last action instead. In Breakout, every brick counts 1 in training, and an episode is one ball.
"""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ale_py
import gymnasium as gym
from gymnasium.wrappers import AtariPreprocessing
from learning import RESULTS

from minidqn import DQNConfig
from minidqn.lab.cli import Run
from minidqn.lab.compare import write_results
from minidqn.lab.folder import SUMMARY, read_json

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import pong
from breakout_ram import OneBall

BREAKOUT = "BreakoutNoFrameskip-v4"
GAMES: dict[str, dict[str, Any]] = {
    "ALE/Pong-v5": {"solved_at": 18.0},
    BREAKOUT: {"solved_at": 31.8, "train_wrapper": OneBall},  # a person's score
}


def make_env(env_id: str, **options: Any) -> gym.Env[Any, Any]:
    gym.register_envs(ale_py)
    return AtariPreprocessing(gym.make(env_id, frameskip=1, **options))


def config(env_id: str, steps: int) -> DQNConfig:
    settings = pong.config(steps)
    return (
        replace(settings, n_step=1) if env_id == BREAKOUT else settings
    )  # as breakout_ram.py


if __name__ == "__main__":
    game = "".join(sys.argv[1:2])
    if game not in GAMES:
        sys.exit(
            f"usage: atari.py GAME [options], or GAME --help; GAME: {', '.join(GAMES)}"
        )
    sys.argv.pop(1)
    make = partial(make_env, game)
    run = Run(
        game,
        pong.STEPS,
        partial(config, game),
        make_env=make,
        test_epsilon=0.001,
        **GAMES[game],
    )
    run.train_and_show(film_steps=400)
    result = read_json(run.out / SUMMARY)
    if (run.seed, result["steps"]) == (0, pong.STEPS) and not run.about[
        "set"
    ]:  # the usual run
        result = {"name": f"{game}/{run.seed}"} | result
        write_results([result], RESULTS / f"{game.lower().removeprefix('ale/')}.csv")
