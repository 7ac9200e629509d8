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
from report import PUBLISHED, ROOT, add_out, machine
from tqdm import tqdm

from minidqn import evaluate, load
from minidqn.lab.arguments import at_least, setting
from minidqn.lab.compare import compare, write_results
from minidqn.lab.folder import AGENT
from minidqn.lab.parsing import parse
from minidqn.lab.spec import Spec
from minidqn.lab.sweep import sweep
from minidqn.lab.tuned import EXAMPLES, tuned_spec, with_changes

USUAL = list(EXAMPLES)[:4]  # the others take hours


def spec_of(
    env_id: str, steps: int | None, seed: int, settings: list[tuple[str, str]]
) -> Spec:
    """The run of an example, with some settings changed: their names and texts."""
    spec = tuned_spec(env_id, steps, seed)
    changes = {name: parse(name, text, spec.steps) for name, text in settings}
    return with_changes(spec, changes)


def run_sb3(python: str, seed: int) -> float:
    script = str(ROOT / "benchmarks" / "contenders" / "sb3_cartpole.py")
    command = [python, script, "--test", "--seed", str(seed)]
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return float(subprocess.check_output(command, env=env, stderr=subprocess.DEVNULL))


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


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn from many seeds.")
    parser.add_argument("--envs", nargs="+", choices=EXAMPLES, default=USUAL)
    parser.add_argument(
        "--seeds", type=at_least(1), default=20, help="seeds 0 to N - 1"
    )
    parser.add_argument(
        "--steps", type=at_least(1), help="by default those of the example"
    )
    changes = "NAME=VALUE: change a setting of the examples; may be repeated"
    parser.add_argument(
        "--set", type=setting, action="append", default=[], help=changes
    )
    again = "test again, with each of these shares of random actions"
    parser.add_argument("--epsilon", type=float, nargs="+", default=[], help=again)
    parser.add_argument(
        "--jobs", type=at_least(1), default=os.cpu_count(), help="runs at a time"
    )
    parser.add_argument("--work", type=Path, help="their files, by default runs/NAME")
    parser.add_argument("--name", default="learning", help="of its files")
    parser.add_argument("--peers", help="a Python that has Stable-Baselines3")
    parser.add_argument(
        "--peer-seeds", type=int, default=16, help="SB3 takes a minute for each"
    )
    add_out(parser)
    args = parser.parse_args()
    seeds, envs, steps = range(args.seeds), list(dict.fromkeys(args.envs)), args.steps
    usual = set(envs) == set(USUAL) and args.seeds == 20
    usual = usual and steps is None and not args.set
    if not usual and args.name == "learning":
        parser.error(
            "--envs, --seeds, --steps, --set: expected a --name for other results than "
            "the usual"
        )
    if not all(0.0 <= epsilon <= 1.0 for epsilon in args.epsilon):
        parser.error(f"--epsilon {args.epsilon}: expected 0 to 1")
    work = args.work or ROOT / "runs" / args.name
    specs = [
        spec_of(env_id, steps, seed, args.set) for seed in seeds for env_id in envs
    ]
    results = list(sweep(specs, work, workers=args.jobs))
    all_ended(results)
    results.sort(key=lambda result: (envs.index(result["env_id"]), result["seed"]))
    table, _ = compare(results, args.out / f"{args.name}.png")
    write_results(results, args.out / f"{args.name}.csv")
    lines = [
        "Test of the last policy: mean return of 100 episodes. IQM: interquartile mean.\n",
        table,
    ]
    if any(result["test_epsilon"] for result in results):
        lines += [
            "Breakout, MinAtar and Pong are tested with one random action in a thousand.\n"
        ]
    for epsilon in args.epsilon:
        task = partial(test_again, epsilon, work)
        place = work / f"epsilon_{epsilon}"
        tests = list(sweep(specs, place, workers=args.jobs, task=task))
        all_ended(tests)
        of_env = {e: [t["eval_mean"] for t in tests if t["env_id"] == e] for e in envs}
        each = [
            f"{name} {np.mean(of):.2f} ({min(of):.2f})" for name, of in of_env.items()
        ]
        lines += [
            f"The same with epsilon {epsilon}, mean (worst seed): {', '.join(each)}.\n"
        ]
    at_500 = [
        result["eval_mean"] == 500
        for result in results
        if result["env_id"] == "CartPole-v1"
    ]
    if at_500:
        lines += [f"CartPole-v1: {sum(at_500)} of {len(at_500)} seeds at 500."]

    numbers = PUBLISHED / "sb3_cartpole.json"
    if args.peers:
        numbers = args.out / "sb3_cartpole.json"
        with ThreadPoolExecutor(args.jobs) as pool:
            runs = pool.map(
                lambda seed: run_sb3(args.peers, seed), range(args.peer_seeds)
            )
            numbers.write_text(
                json.dumps(list(tqdm(runs, total=args.peer_seeds))) + "\n"
            )
    if at_500 and numbers.exists():  # without --peers: SB3 has not changed since
        sb3 = np.array(json.loads(numbers.read_text()))
        lines += [
            f"Stable-Baselines3 on CartPole-v1, tuned, 50,000 steps, {len(sb3)} seeds: "
            f"{np.sum(sb3 >= 475)} at 475, {np.sum(sb3 == 500)} at 500, mean {sb3.mean():.1f}, "
            f"worst seed {sb3.min():.1f}."
        ]
    lines += ["", machine()]
    (args.out / f"{args.name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on.")
