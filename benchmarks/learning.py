"""How well the examples learn, over many seeds.

It trains with the settings in examples/ from many seeds, and tests the *last* policy of each run in
100 episodes that it was never trained on. The settings were tuned on seeds 1000 and up. (One choice
also used seeds 0 to 99: see docs/results.md.)

    python benchmarks/learning.py --seeds 20
    python benchmarks/learning.py --envs ALE/Breakout-v5 --seeds 3 --name breakout_ram

With --steps, runs have another length, and with --set other settings. With --epsilon, the policies
are tested again, with these shares of random actions.

It can be stopped, and the same command continues it. --peers takes a Python that has
Stable-Baselines3 (benchmarks/requirements.txt). Then SB3's DQN is also trained on CartPole, with
rl-baselines3-zoo's tuned settings, and tested with SB3's own greedy evaluation.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from options import add_jobs, add_seeds, add_work, work_of
from report import PUBLISHED, ROOT, add_out, report
from tqdm import tqdm

from minidqn import evaluate, load
from minidqn.lab.arguments import add_settings, at_least
from minidqn.lab.compare import compare, write_results
from minidqn.lab.folder import AGENT
from minidqn.lab.parsing import parse
from minidqn.lab.spec import Spec
from minidqn.lab.sweep import sweep
from minidqn.lab.tuned import EXAMPLES, tuned_spec, with_changes

NAME = "learning"
USUAL = list(EXAMPLES)[:4]  # the others take hours
SEEDS = 20
SB3_FILE = "sb3_cartpole.json"
TITLE = "Test of the last policy: mean return of 100 episodes. IQM: interquartile mean."


def spec_of(
    env_id: str, steps: int | None, seed: int, settings: list[tuple[str, str]]
) -> Spec:
    """The run of an example, with some settings changed: their names and texts."""
    spec = tuned_spec(env_id, steps, seed)
    changes = {name: parse(name, text, spec.steps) for name, text in settings}
    return with_changes(spec, changes)


def test_again(
    epsilon: float, work: Path, spec: Spec, folder: Path
) -> dict[str, float]:
    """A task: test the last policy of a run once more, on the same episodes."""
    agent = load(work / spec.name / AGENT)
    with spec.make() as env:
        returns = evaluate(
            agent, env, spec.test_episodes, spec.seed, epsilon, progress=False
        )
    return {"eval_mean": float(returns.mean())}


def all_ended(results: list[dict[str, Any]]) -> None:
    """Exit with the name and the traceback if a run failed; the same command tries it again."""
    for result in results:
        if "failed" in result:
            sys.exit(
                f"{result['name']} failed, and the others are kept. {result['failed']}"
            )


def run_sb3(python: str, seed: int) -> float:
    """Train SB3 from a seed in a process of its own; the mean return of its test."""
    script = str(ROOT / "benchmarks" / "contenders" / "sb3_cartpole.py")
    command = [python, script, "--test", "--seed", str(seed)]
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return float(subprocess.check_output(command, env=env, stderr=subprocess.DEVNULL))


def sb3_lines(args: argparse.Namespace) -> list[str]:
    """A sentence on SB3 in CartPole: run now, or as published, because it has not changed."""
    file = PUBLISHED / SB3_FILE
    if args.peers:
        file = args.out / SB3_FILE
        seeds = range(args.peer_seeds)
        with ThreadPoolExecutor(args.jobs) as pool:
            runs = pool.map(partial(run_sb3, args.peers), seeds)
            means = list(tqdm(runs, total=len(seeds), desc="SB3"))
        file.write_text(json.dumps(means) + "\n")
    if not file.exists():
        return []
    means = json.loads(file.read_text())
    at_475 = sum(mean >= 475 for mean in means)
    at_500 = sum(mean == 500 for mean in means)
    return [
        f"Stable-Baselines3 on CartPole-v1, tuned, 50,000 steps, {len(means)} seeds: "
        f"{at_475} at 475, {at_500} at 500, mean {np.mean(means):.1f}, worst seed "
        f"{min(means):.1f}."
    ]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Learn from many seeds.")
    parser.add_argument("--envs", nargs="+", choices=EXAMPLES, default=USUAL)
    add_seeds(parser, SEEDS)
    parser.add_argument(
        "--steps", type=at_least(1), help="by default those of the example"
    )
    add_settings(parser, "another value for a setting of the examples, such as tau=0.1")
    again = "test again, with each of these shares of random actions"
    parser.add_argument("--epsilon", type=float, nargs="+", default=[], help=again)
    add_jobs(parser)
    add_work(parser, "NAME")
    parser.add_argument("--name", default=NAME, help="of its files")
    parser.add_argument("--peers", help="a Python that has Stable-Baselines3")
    parser.add_argument(
        "--peer-seeds", type=int, default=16, help="SB3 takes a minute for each"
    )
    add_out(parser)
    args = parser.parse_args()
    args.envs = list(dict.fromkeys(args.envs))
    usual = set(args.envs) == set(USUAL) and args.seeds == SEEDS
    if args.name == NAME and not (usual and args.steps is None and not args.set):
        parser.error(
            "--envs, --seeds, --steps, --set: expected a --name for other results than "
            "the usual"
        )
    if not all(0.0 <= epsilon <= 1.0 for epsilon in args.epsilon):
        parser.error(f"--epsilon {args.epsilon}: expected 0 to 1")
    return args


def retested(args: argparse.Namespace, specs: list[Spec], epsilon: float) -> str:
    """A sentence: how the last policies do with a share of random actions."""
    work = work_of(args, args.name)
    task = partial(test_again, epsilon, work)
    place = work / f"epsilon_{epsilon}"
    tests = list(sweep(specs, place, workers=args.jobs, task=task))
    all_ended(tests)
    parts = []
    for env_id in args.envs:
        means = [test["eval_mean"] for test in tests if test["env_id"] == env_id]
        parts.append(f"{env_id} {np.mean(means):.2f} ({min(means):.2f})")
    return f"The same with epsilon {epsilon}, mean (worst seed): {', '.join(parts)}.\n"


def cartpole_lines(
    args: argparse.Namespace, results: list[dict[str, Any]]
) -> list[str]:
    """How many seeds have all of CartPole's 500, and how SB3 does there."""
    means = [
        result["eval_mean"] for result in results if result["env_id"] == "CartPole-v1"
    ]
    if not means:
        return []
    at_500 = sum(mean == 500 for mean in means)
    return [f"CartPole-v1: {at_500} of {len(means)} seeds at 500.", *sb3_lines(args)]


def main() -> None:
    args = options()
    specs = [
        spec_of(env_id, args.steps, seed, args.set)
        for seed in range(args.seeds)
        for env_id in args.envs
    ]
    results = list(sweep(specs, work_of(args, args.name), workers=args.jobs))
    all_ended(results)
    results.sort(key=lambda result: (args.envs.index(result["env_id"]), result["seed"]))
    table, _ = compare(results, args.out / f"{args.name}.png")
    write_results(results, args.out / f"{args.name}.csv")

    lines = [f"{TITLE}\n", table]
    if any(result["test_epsilon"] for result in results):
        lines.append(
            "Breakout, MinAtar and Pong are tested with one random action in a thousand.\n"
        )
    for epsilon in args.epsilon:
        lines.append(retested(args, specs, epsilon))
    lines += cartpole_lines(args, results)
    report("\n".join(lines), args.out / f"{args.name}.md")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on.")
