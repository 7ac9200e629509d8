"""Train a short run, test its policy, and print a digest of all that came out.

benchmarks/same_training.py starts this file twice: with the code of this commit, and with that
of an older one, which has its own folder. So it uses only what both of them have.

    PYTHONPATH=FOLDER python benchmarks/short_run.py FOLDER CartPole-v1
    PYTHONPATH=FOLDER python benchmarks/short_run.py FOLDER CartPole-v1 --set quantiles=25
    PYTHONPATH=FOLDER python benchmarks/short_run.py FOLDER CartPole-v1 --plain

The settings are those of the example in that folder; with --plain, they are DQNConfig's. Beside
the digest, it prints the settings, the length and the test of the whole run, as JSON.
"""

import argparse
import ast
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import minidqn
from minidqn import DQN, DQNConfig, Spec, evaluate, train, tuned_spec

# shorter than in the examples, so that a short run learns, and fills its buffer
SHORT = {"learning_starts": 500, "buffer_size": 2_000}
TEST_STEPS = 500  # of each episode of the test, at most
TEST = ("solved_at", "test_epsilon", "test_episodes", "test_max_steps")


def value_of(text: str) -> Any:
    """A number, a truth value or a tuple; a text otherwise."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def as_texts(config: DQNConfig) -> dict[str, str]:
    """Every setting in words."""
    return {name: repr(value) for name, value in vars(config).items()}


def about(spec: Spec) -> dict[str, Any]:
    """The settings, the length and the test of a whole run."""
    return {
        "steps": spec.steps,
        "test": {name: getattr(spec, name) for name in TEST},
        "settings": as_texts(spec.config),
        "defaults": as_texts(DQNConfig()),
    }


def digest(spec: Spec) -> str:
    """Train and test, and return the digest."""
    env = spec.make(training=True)
    agent = DQN(env.observation_space, env.action_space, spec.config, seed=0)
    train(agent, env, spec.steps, reseed=spec.reseed, progress=False)
    returns = evaluate(
        agent,
        spec.make(),
        2,
        epsilon=spec.test_epsilon,
        max_steps=TEST_STEPS,
        progress=False,
    )
    found = hashlib.sha256(agent.online.params.tobytes())
    found.update(returns.tobytes())
    return found.hexdigest()


def short_run(
    env_id: str, steps: int, settings: dict[str, Any], is_plain: bool
) -> dict[str, Any]:
    """What is printed: about the whole run, and the digest of the short one."""
    whole = tuned_spec(env_id)
    short = tuned_spec(env_id, steps, 0)
    if is_plain:
        whole = replace(whole, config=DQNConfig())
        short = replace(short, config=DQNConfig())
    whole = replace(whole, config=replace(whole.config, **settings))
    changes: dict[str, Any] = SHORT | settings
    short = replace(short, config=replace(short.config, **changes))
    return about(whole) | {"digest": digest(short)}


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
    package = Path(minidqn.__file__).resolve()
    if args.folder.resolve() not in package.parents:
        parser.error(f"folder is {args.folder}, but minidqn comes from {package}")
    pairs = [text.split("=", 1) for text in args.set]
    settings = {name: value_of(text) for name, text in pairs}
    print(json.dumps(short_run(args.env_id, args.steps, settings, args.plain)))


if __name__ == "__main__":
    main()
