"""The scores of the policies in examples/trained/: each is tested once more.

They are the last policies of seed 0; none was selected. Their 100 test episodes are those of
seed 0 in the tables of all seeds. But a run on another processor ends on other bits, so its
figures differ.

    python benchmarks/trained.py

The same policies are also tested with their numbers rounded to half precision, and with the
random actions of the end of training. It takes a quarter of an hour, mostly for Pong.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from report import PUBLISHED, ROOT, add_out, machine

from minidqn import evaluate, load
from minidqn.lab.places import short_name
from minidqn.lab.tuned import EXAMPLES, tuned_spec
from minidqn.schedules import value_at

TABLES = ("learning", "breakout_ram", "minatar", "pong", "games_won")
COLUMNS = (
    "mean",
    "minimum",
    "seed 0 in the table of all seeds",
    "file",
    "mean in half precision",
    "mean with the epsilon that training ended with",
)


def committed(env_id: str) -> str:
    """The mean return of seed 0 in a table of several seeds; "" if there is none."""
    for name in TABLES:
        file = PUBLISHED / f"{name}.csv"
        if not file.exists():
            continue
        with file.open(newline="") as table:
            for run in csv.DictReader(table):
                if run["env_id"] == env_id and run["seed"] == "0":
                    return f"{float(run['eval_mean']):.2f}"
    return ""


def row(env_id: str, path: Path) -> str:
    """A policy's line of the table. Its three tests have the same episodes."""
    spec = tuned_spec(env_id)
    agent = load(path)
    env = spec.make()
    last = value_at(agent.config.epsilon, spec.steps)
    returns = evaluate(agent, env, spec.test_episodes, 0, spec.test_epsilon)
    explored = evaluate(agent, env, spec.test_episodes, 0, last)
    # a file of half the size would hold these
    agent.online.params[:] = agent.online.params.astype(np.float16)
    halved = evaluate(agent, env, spec.test_episodes, 0, spec.test_epsilon)
    cells = [
        env_id,
        f"{returns.mean():.2f}",
        f"{returns.min():.0f}",
        committed(env_id),
        f"{path.stat().st_size / 1000:.0f} kB",
        f"{halved.mean():.2f}",
        f"{explored.mean():.2f} ({last:g})",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Test examples/trained/ once more.")
    add_out(parser)
    args = parser.parse_args()
    lines = [f"| | {' | '.join(COLUMNS)} |", "| --- " * (len(COLUMNS) + 1) + "|"]
    for env_id in EXAMPLES:
        path = ROOT / "examples" / "trained" / f"{short_name(env_id)}.safetensors"
        if path.exists():
            lines.append(row(env_id, path))
            print(lines[-1], flush=True)
    lines += ["", machine()]
    (args.out / "trained.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
