"""Train a short run of an example, and print the digest of its last parameters.

benchmarks/same_training.py starts this file twice: with the code of this commit, and with that
of an older one, which has its own folder. So it uses only what minidqn has had since its first
Atari game, and reads the settings from the examples in that folder.

    PYTHONPATH=FOLDER python benchmarks/short_run.py FOLDER ALE/Breakout-v5 --steps 3000
"""

import argparse
import hashlib
import runpy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym

import minidqn
from minidqn import DQN, DQNConfig, train

# shorter than in the examples, so that a short run learns, and fills its buffer
SHORT = {"learning_starts": 500, "buffer_size": 2_000}
SCRIPTS = {"ALE/Breakout-v5": "breakout_ram", "PongNoFrameskip-v4": "pong"}


def example(folder: Path, env_id: str) -> dict[str, Any]:
    """What the script of an example defines."""
    name = SCRIPTS.get(env_id, "minatar_games")
    return runpy.run_path(str(folder / "examples" / f"{name}.py"))


def from_spec(script: dict[str, Any], env_id: str, steps: int) -> tuple[Any, Any, Any]:
    """The example's environment, settings and options, if it has a function `spec`."""
    make = script["spec"]
    if env_id.startswith("MinAtar/"):
        make = partial(make, env_id.removeprefix("MinAtar/").removesuffix("-v0"))
    spec = make(steps=steps, seed=0)
    options = {} if getattr(spec, "reseed", True) else {"reseed": False}
    return spec.make(training=True), spec.config, options


def from_options(script: dict[str, Any], env_id: str, steps: int) -> tuple[Any, Any]:
    """The same of an older example, with functions `config` and `options`."""
    options = script["options"](env_id)
    env = options["make_env"]() if "make_env" in options else gym.make(env_id)
    if "train_wrapper" in options:
        env = options["train_wrapper"](env)
    return env, script["config"](steps)


def from_package(script: dict[str, Any], env_id: str, steps: int) -> tuple[Any, Any]:
    """The same from the time when the settings were in the package itself."""
    import ale_py

    gym.register_envs(ale_py)
    env = script["OneBall"](gym.make(env_id, obs_type="ram"))
    for_env = DQNConfig.for_env  # type: ignore[attr-defined]  # an older commit has it
    return env, for_env(env_id, steps)


def digest(folder: Path, env_id: str, steps: int) -> str:
    """Train, and return the digest of the parameters."""
    assert folder in Path(minidqn.__file__).parents, f"{minidqn.__file__} is elsewhere"
    script = example(folder, env_id)
    options: dict[str, Any] = {}
    if "spec" in script:
        env, config, options = from_spec(script, env_id, steps)
    elif "config" in script:
        env, config = from_options(script, env_id, steps)
    else:
        env, config = from_package(script, env_id, steps)
    changes: dict[str, Any] = SHORT
    config = replace(config, **changes)
    agent = DQN(env.observation_space, env.action_space, config, seed=0)
    train(agent, env, steps, progress=False, **options)
    return hashlib.sha256(agent.online.params.tobytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a short run.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("env_id")
    parser.add_argument("--steps", type=int, default=3_000)
    args = parser.parse_args()
    print(digest(args.folder.resolve(), args.env_id, args.steps))


if __name__ == "__main__":
    main()
