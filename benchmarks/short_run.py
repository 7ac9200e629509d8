"""Train a short run, test its policy, and print a digest of all that came out.

benchmarks/same_training.py starts this file twice: with the code of this commit, and with that
of an older one, which has its own folder. So it uses only what both of them have.

    PYTHONPATH=FOLDER python benchmarks/short_run.py FOLDER CartPole-v1
    PYTHONPATH=FOLDER python benchmarks/short_run.py FOLDER CartPole-v1 --set quantiles=25
    PYTHONPATH=FOLDER python benchmarks/short_run.py FOLDER CartPole-v1 --plain

The settings are those of the example in that folder; with --plain, they are DQNConfig's.
"""

import argparse
import ast
import hashlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import minidqn
from minidqn import DQN, DQNConfig, Spec, evaluate, train, tuned_spec

# shorter than in the examples, so that a short run learns, and fills its buffer
SHORT = {"learning_starts": 500, "buffer_size": 2_000}
TEST_STEPS = 500  # of each episode of the test, at most


def value_of(text: str) -> Any:
    """A number, a truth value or a tuple; a text otherwise."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def settings_of(spec: Spec) -> str:
    """The length of a whole run, and the settings that are not the usual ones."""
    usual = asdict(DQNConfig())
    chosen = {
        name: value
        for name, value in asdict(spec.config).items()
        if value != usual[name]
    }
    return f"{spec.steps} steps, {sorted(chosen.items())}"


def digest(env_id: str, steps: int, settings: dict[str, Any], is_plain: bool) -> str:
    """Train and test, and return the digest."""
    whole = tuned_spec(env_id)
    short = tuned_spec(env_id, steps, 0)
    if is_plain:
        whole = replace(whole, config=DQNConfig())
        short = replace(short, config=DQNConfig())
    changes: dict[str, Any] = SHORT | settings
    config = replace(short.config, **changes)

    env = short.make(training=True)
    agent = DQN(env.observation_space, env.action_space, config, seed=0)
    train(agent, env, steps, reseed=short.reseed, progress=False)
    returns = evaluate(agent, short.make(), 2, max_steps=TEST_STEPS, progress=False)

    found = hashlib.sha256(settings_of(whole).encode())
    found.update(agent.online.params.tobytes())
    found.update(returns.tobytes())
    return found.hexdigest()


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train a short run.")
    parser.add_argument("folder", type=Path, help="where minidqn comes from")
    parser.add_argument("env_id")
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--plain", action="store_true", help="DQNConfig's settings")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    return parser


def main() -> None:
    parser = options()
    args = parser.parse_args()
    package = Path(minidqn.__file__)
    if args.folder.resolve() not in package.parents:
        parser.error(f"folder is {args.folder}, but minidqn comes from {package}")
    pairs = [text.split("=", 1) for text in args.set]
    settings = {name: value_of(text) for name, text in pairs}
    print(digest(args.env_id, args.steps, settings, args.plain))


if __name__ == "__main__":
    main()
