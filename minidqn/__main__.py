"""Train an agent in an environment, test it and show it; or compare many agents.

python -m minidqn CartPole-v1
python -m minidqn sweep CartPole-v1 --seeds 20 --set learning_rate=1e-3,3e-3
"""

import runpy
import sys

from minidqn.lab.cli import Run
from minidqn.lab.many import main as sweep
from minidqn.lab.tuned import SCRIPTS, UNTUNED, examples


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        tuned = ", ".join(SCRIPTS)
        usage = "usage: python -m minidqn [sweep] ENV_ID [options]"
        sys.exit(f"{usage}\nENV_ID: {tuned}, or any other")
    env_id = sys.argv[1]
    if SCRIPTS.get(env_id) != "minatar_games.py":  # which takes the game's name
        sys.argv.pop(1)
    if env_id == "sweep":
        sweep()
    elif env_id in SCRIPTS:
        runpy.run_path(str(examples() / SCRIPTS[env_id]), run_name="__main__")
    else:
        Run(env_id, UNTUNED["STEPS"], UNTUNED["config"]).train_and_show()


if __name__ == "__main__":
    main()
