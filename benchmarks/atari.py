"""Two more games from the screen, with the settings of examples/pong.py, not tuned for them.

    python benchmarks/atari.py ALE/Pong-v5
    python benchmarks/atari.py BreakoutNoFrameskip-v4

The run is in runs/. Without other options, its figures are also in results/, in a CSV file with the
game's name. Pong-v5 is Pong with sticky actions: in each frame, the console repeats the action
before with a chance of 1/4. In Breakout, every brick counts 1 in training, and an episode is one
ball.
"""

import sys
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import gymnasium as gym
from gymnasium.wrappers import AtariPreprocessing
from report import OUT, out_folder

from minidqn import Spec, read_results
from minidqn.lab.cli import main
from minidqn.lab.compare import write_results

pong: Any = import_module("minidqn.examples.pong")
breakout_ram: Any = import_module("minidqn.examples.breakout_ram")


def make_env(env_id: str, **options: Any) -> gym.Env[Any, Any]:
    import ale_py

    gym.register_envs(ale_py)
    return AtariPreprocessing(gym.make(env_id, frameskip=1, **options))


def sticky_pong(steps: int = 500_000, seed: int = 0) -> Spec:
    env_id = "ALE/Pong-v5"
    spec: Spec = pong.spec(steps, seed)
    return replace(spec, env_id=env_id, make_env=partial(make_env, env_id), name="")


def breakout(steps: int = 500_000, seed: int = 0) -> Spec:
    env_id = "BreakoutNoFrameskip-v4"
    spec: Spec = pong.spec(steps, seed)
    return replace(
        spec,
        env_id=env_id,
        config=replace(spec.config, n_step=1),  # as in breakout_ram.py
        make_env=partial(make_env, env_id),
        train_wrapper=breakout_ram.OneBall,
        solved_at=31.8,  # a person's score
        name="",
    )


GAMES = {"ALE/Pong-v5": sticky_pong, "BreakoutNoFrameskip-v4": breakout}

if __name__ == "__main__":
    game = "".join(sys.argv[1:2])
    if game not in GAMES:
        names = ", ".join(GAMES)
        sys.exit(f"usage: atari.py GAME [options], or GAME --help; GAME: {names}")
    sys.argv.pop(1)
    main(GAMES[game], pong.SHOWN)
    usual = GAMES[game]().about()
    for result in read_results("runs"):
        if usual.items() <= result.items():
            result["name"] = f"{game}/0"
            name = game.lower().removeprefix("ale/")
            write_results([result], out_folder(OUT) / f"{name}.csv")
