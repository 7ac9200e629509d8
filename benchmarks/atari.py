"""Two more games from the screen, with the settings of examples/pong.py, not tuned for them.

    python benchmarks/atari.py ALE/Pong-v5
    python benchmarks/atari.py BreakoutNoFrameskip-v4

Pong-v5 is Pong with sticky actions: in each frame, the console repeats the action before with
a chance of 1/4. In Breakout, every brick counts 1 in training, and an episode is one ball.

It can be stopped, and the same command continues it.
"""

import argparse
import sys
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import gymnasium as gym
from gymnasium.wrappers import AtariPreprocessing
from options import add_work, work_of
from report import add_out, report

from minidqn import Spec, run
from minidqn.lab.arguments import at_least
from minidqn.lab.compare import compare, write_results

pong: Any = import_module("minidqn.examples.pong")
breakout_ram: Any = import_module("minidqn.examples.breakout_ram")


def make_env(env_id: str, **options: Any) -> gym.Env[Any, Any]:
    import ale_py

    gym.register_envs(ale_py)
    return AtariPreprocessing(gym.make(env_id, frameskip=1, **options))


def sticky_pong(steps: int, seed: int) -> Spec:
    env_id = "ALE/Pong-v5"
    spec: Spec = pong.spec(steps, seed)
    return replace(spec, env_id=env_id, make_env=partial(make_env, env_id), name="")


def breakout(steps: int, seed: int) -> Spec:
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


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn one more game from the screen.")
    parser.add_argument("game", choices=GAMES)
    parser.add_argument("--steps", type=at_least(1), default=500_000)
    parser.add_argument("--seed", type=at_least(0), default=0)
    add_work(parser, "atari")
    add_out(parser)
    args = parser.parse_args()
    spec = GAMES[args.game](args.steps, args.seed)
    result = run(spec, work_of(args, "atari") / spec.name) | {"name": spec.name}
    name = args.game.lower().removeprefix("ale/")
    write_results([result], args.out / f"{name}.csv")
    table, _ = compare([result])
    text = f"One action in a thousand of the test is random.\n\n{table.strip()}"
    report(text, args.out / f"{name}.md")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on.")
