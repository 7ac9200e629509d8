"""After how many steps a greedy policy first solves each classic environment.

Every so many steps, the policy plays 20 greedy episodes that it is never trained on, the same each
time. The first test whose mean return counts as solved ends the run.

    python benchmarks/steps_to_solved.py --peers .venv-peers/bin/python

It can be stopped, and the same command continues it. --peers takes a Python that has
Stable-Baselines3 (benchmarks/requirements.txt). Then SB3's DQN, with the settings that
rl-baselines3-zoo tuned for each environment, trains from the same seeds, and plays the same
episodes. Both libraries' settings were tuned for a good policy at the end of the run.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from learning import all_ended
from options import add_jobs, add_seeds, add_work, work_of
from peers import number_of_peer
from report import ROOT, add_out, report
from tqdm import tqdm

from minidqn import (
    DQN,
    TEST,
    History,
    Spec,
    episode_seed,
    evaluate,
    sweep,
    train,
    tuned_spec,
)
from minidqn.lab.training import step_is_due

NAME = "steps_to_solved"
SCRIPT = ROOT / "benchmarks" / "contenders" / "sb3_tuned.py"
EVERY = {  # steps from one test to the next
    "CartPole-v1": 500,
    "Acrobot-v1": 1_000,
    "MountainCar-v0": 1_000,
    "LunarLander-v3": 2_500,
}
EPISODES = 20  # of a test
TEST_OF = 1_000_000  # its episodes are those of the test of a run with this seed


def solve(spec: Spec, folder: Path) -> dict[str, int]:
    """A task of a sweep: train until a test is good. 0 steps if none ever is."""
    with closing(spec.make_training()) as env, closing(spec.make()) as test_env:
        agent, history = spec.begin(env)
        solved_after = 0

        def watch(agent: DQN, history: History) -> bool:
            nonlocal solved_after
            if not step_is_due(agent, EVERY[spec.env_id]):
                return False
            returns = evaluate(agent, test_env, EPISODES, TEST_OF, progress=False)
            if returns.mean() >= spec.threshold():
                solved_after = agent.steps
            return solved_after > 0

        train(agent, env, spec.steps, history=history, on_step=watch, progress=False)
    return {"solved_after": solved_after}


def run_sb3(python: str, work: Path, spec: Spec) -> int:
    """The same by SB3, in a process of its own. Its result is kept in a file."""
    test_seeds = [episode_seed(TEST_OF, TEST, number) for number in range(EPISODES)]
    command = [python, str(SCRIPT), spec.env_id, f"--seed={spec.seed}"]
    command += [f"--every={EVERY[spec.env_id]}", f"--solved-at={spec.threshold()}"]
    command += ["--test-seeds", *map(str, test_seeds)]
    file = work / f"{spec.env_id}_{spec.seed}.json"
    about = {"env": spec.env_id, "seed": spec.seed}
    return int(number_of_peer(command, file, "solved_after", about))


def cells(steps: list[int]) -> list[str]:
    """Median, least and most steps of the runs that solved it, and how many did."""
    solved = [number for number in steps if number > 0]
    if not solved:
        return ["", f"0 of {len(steps)}"]
    middle = f"{np.median(solved):,.0f} ({min(solved):,} to {max(solved):,})"
    return [middle, f"{len(solved)} of {len(steps)}"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Steps until a task is solved.")
    add_seeds(parser, 10)
    add_jobs(parser)
    add_work(parser, NAME)
    parser.add_argument("--peers", help="a Python that has Stable-Baselines3")
    add_out(parser)
    args = parser.parse_args()
    work = work_of(args, NAME)
    specs = [
        tuned_spec(env_id, seed=seed) for env_id in EVERY for seed in range(args.seeds)
    ]
    results = list(sweep(specs, work / "minidqn", task=solve, workers=args.jobs))
    all_ended(results)
    ours = {result["name"]: result["solved_after"] for result in results}
    theirs = {}
    if args.peers:
        (work / "sb3").mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(args.jobs) as pool:
            runs = pool.map(partial(run_sb3, args.peers, work / "sb3"), specs)
            for spec, steps in zip(specs, tqdm(runs, "SB3", len(specs)), strict=True):
                theirs[spec.name] = steps
    lines = [
        f"Steps until the mean of {EPISODES} greedy episodes first counts as solved, tested every "
        f"so many steps, over {args.seeds} seeds: median (least to most) of those that solved it.",
        "",
        "| | solved from | tested every | minidqn | seeds | SB3, tuned by its zoo | seeds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for env_id, every in EVERY.items():
        names = [spec.name for spec in specs if spec.env_id == env_id]
        of_sb3 = ["", ""]
        if theirs:
            of_sb3 = cells([theirs[name] for name in names])
        row = [
            env_id,
            f"{tuned_spec(env_id).threshold():g}",
            f"{every:,}",
            *cells([ours[name] for name in names]),
            *of_sb3,
        ]
        lines.append(f"| {' | '.join(row)} |")
    report("\n".join(lines), args.out / f"{NAME}.md")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on.")
