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

import numpy as np
from report import PUBLISHED, ROOT, add_out, machine

from minidqn import evaluate, load
from minidqn.lab.places import short_name
from minidqn.lab.tuned import EXAMPLES, tuned_spec
from minidqn.schedules import value_at


def committed(env_id: str) -> str:
    """The mean return of seed 0 in a table of several seeds."""
    for file in ("learning", "breakout_ram", "minatar", "pong", "games_won"):
        if (PUBLISHED / f"{file}.csv").exists():
            with (PUBLISHED / f"{file}.csv").open(newline="") as table:
                for run in csv.DictReader(table):
                    if (run["env_id"], run["seed"]) == (env_id, "0"):
                        return f"{float(run['eval_mean']):.2f}"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description="Test examples/trained/ once more.")
    add_out(parser)
    args = parser.parse_args()
    columns = ["mean", "minimum", "seed 0 in the table of all seeds", "file"]
    columns += [
        "mean in half precision",
        "mean with the epsilon that training ended with",
    ]
    lines = [f"| | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for env_id in EXAMPLES:
        path = ROOT / "examples" / "trained" / f"{short_name(env_id)}.safetensors"
        if not path.exists():
            continue
        spec, agent, kilobytes = (
            tuned_spec(env_id),
            load(path),
            path.stat().st_size / 1000,
        )
        env, last = spec.make(), value_at(agent.config.epsilon, spec.steps)
        returns = evaluate(agent, env, spec.test_episodes, 0, spec.test_epsilon)
        explored = evaluate(agent, env, spec.test_episodes, 0, last)
        agent.online.params[:] = agent.online.params.astype(
            np.float16
        )  # a file of half the size would hold these
        halved = evaluate(agent, env, spec.test_episodes, 0, spec.test_epsilon)
        lines.append(
            f"| {env_id} | {returns.mean():.2f} | {returns.min():.0f} | {committed(env_id)} "
            f"| {kilobytes:.0f} kB | {halved.mean():.2f} | {explored.mean():.2f} ({last:g}) |"
        )
        print(lines[-1], flush=True)
    lines += ["", machine()]
    (args.out / "trained.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
