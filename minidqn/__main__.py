"""python -m minidqn ENV_ID: train an agent in an environment, test it and show it."""

import runpy
import sys

from minidqn import DQNConfig, LinearDecay
from minidqn.lab.cli import Run
from minidqn.lab.tuned import SCRIPTS, examples

STEPS = 50_000


def config(steps: int) -> DQNConfig:
    """Settings for an environment for which none were tuned."""
    return DQNConfig(
        learning_rate=LinearDecay(1e-3, 0.0, steps), epsilon=LinearDecay(1.0, 0.05, steps / 10)
    )


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        tuned = ", ".join(SCRIPTS)
        sys.exit(f"usage: python -m minidqn ENV_ID [options]\nENV_ID: {tuned}, or any other")
    env_id = sys.argv[1]
    if not env_id.startswith("MinAtar/"):  # whose script plays five games
        sys.argv.pop(1)
    if env_id in SCRIPTS:
        runpy.run_path(str(examples() / SCRIPTS[env_id]), run_name="__main__")
    else:
        Run(env_id, STEPS, config).train_and_show()


if __name__ == "__main__":
    main()
