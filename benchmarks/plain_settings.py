"""How well the plain settings do, DQNConfig() with no argument, on environments of many kinds.

In each, agents are trained from several seeds. The last policy of each run is tested, greedy, in
episodes that it was never trained on: 100, or more where returns are noisy. environments.py says
how many steps are trained, and which mean return is good.

    python benchmarks/plain_settings.py --peers .venv-peers/bin/python
    python benchmarks/plain_settings.py --set n_step=1 --set tau=0.005 --name one_step

It can be stopped, and the same command continues it. --peers takes a Python that has
Stable-Baselines3 (benchmarks/requirements.txt). Then SB3's DQN("MlpPolicy", env) is trained for as
many steps from the same seeds, and tested in the same episodes. Without --peers, SB3's figures are
those of benchmarks/results.

With --set, minidqn has other settings, to compare them with the plain ones. minidqn looks at the
action mask that Taxi gives, and SB3 does not.
"""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from environments import TASKS, make, random_return
from learning import all_ended
from options import add_jobs, add_seeds, add_work, work_of
from peers import number_of_peer
from plain_table import MINIDQN, SB3, Row, read_rows, table, write_rows
from report import PUBLISHED, ROOT, add_out, report
from tqdm import tqdm

from minidqn import DQNConfig
from minidqn.lab.arguments import add_settings, at_least
from minidqn.lab.parsing import parse
from minidqn.lab.settings import changed
from minidqn.lab.spec import Spec
from minidqn.lab.sweep import sweep

SCRIPT = ROOT / "benchmarks" / "contenders" / "sb3_plain.py"
NAME = "plain_settings"
SEEDS = 5


def spec_of(name: str, steps: int, seed: int, texts: list[tuple[str, str]]) -> Spec:
    """A run of minidqn. A setting is a text, such as ("epsilon", "1:0.1")."""
    task = TASKS[name]
    changes = {setting: parse(setting, text, steps) for setting, text in texts}
    return Spec(
        name,
        changed(DQNConfig(), changes),
        steps,
        seed,
        make_env=partial(make, name),
        solved_at=task.good,
        test_episodes=task.test_episodes,
        test_max_steps=task.test_max_steps,
    )


def run_minidqn(specs: list[Spec], work: Path, jobs: int) -> list[Row]:
    results = list(sweep(specs, work, workers=jobs))
    all_ended(results)
    found = {result["name"]: result["eval_mean"] for result in results}
    return [
        Row(MINIDQN, spec.env_id, spec.steps, spec.seed, found[spec.name])
        for spec in specs
    ]


def run_sb3(python: str, work: Path, spec: Spec) -> Row:
    """The same run by SB3, in a process of its own. Its result is kept in a file."""
    about = {"env": spec.env_id, "steps": spec.steps, "seed": spec.seed}
    file = work / f"{spec.env_id.replace('/', '_')}_{spec.steps}_{spec.seed}.json"
    options = [f"--steps={spec.steps}", f"--seed={spec.seed}"]
    command = [python, str(SCRIPT), spec.env_id, *options]
    mean = number_of_peer(command, file, "eval_mean", about)
    return Row(SB3, spec.env_id, spec.steps, spec.seed, mean)


def run_all_sb3(python: str, specs: list[Spec], work: Path, jobs: int) -> list[Row]:
    work.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool:
        runs = pool.map(partial(run_sb3, python, work), specs)
        try:
            return list(tqdm(runs, total=len(specs), desc="SB3"))
        except BaseException:  # Ctrl-C, too: those that have not begun are left out
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def published_sb3(specs: list[Spec]) -> list[Row]:
    """SB3's published runs of as many steps: it has not changed since."""
    file = PUBLISHED / f"{NAME}.csv"
    if not file.exists():
        return []
    asked = {(spec.env_id, spec.steps) for spec in specs}
    rows = [row for row in read_rows(file) if (row.env, row.steps) in asked]
    return [row for row in rows if row.library == SB3]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Plain settings in many environments.")
    parser.add_argument("--envs", nargs="+", choices=TASKS, default=list(TASKS))
    add_seeds(parser, SEEDS)
    parser.add_argument(
        "--steps", type=at_least(1), help="by default those in environments.py"
    )
    add_settings(parser, "another value for a setting of minidqn, such as n_step=1")
    add_jobs(parser)
    add_work(parser, "NAME")
    parser.add_argument("--name", default=NAME, help="of its files")
    parser.add_argument("--peers", help="a Python that has Stable-Baselines3")
    add_out(parser)
    args = parser.parse_args()
    usual = set(args.envs) == set(TASKS) and args.seeds == SEEDS
    if args.name == NAME and not (usual and args.steps is None and not args.set):
        parser.error(
            "--envs, --seeds, --steps, --set: expected a --name for other results than "
            "the usual"
        )
    return args


def specs_of(args: argparse.Namespace) -> list[Spec]:
    specs = []
    for seed in range(args.seeds):
        for name in dict.fromkeys(args.envs):
            steps = args.steps or TASKS[name].steps
            specs.append(spec_of(name, steps, seed, args.set))
    return specs


def main() -> None:
    args = options()
    work = work_of(args, args.name)
    try:
        specs = specs_of(args)
    except ValueError as error:
        sys.exit(str(error))
    rows = run_minidqn(specs, work / "minidqn", args.jobs)
    if args.peers:
        rows += run_all_sb3(args.peers, specs, work / "sb3", args.jobs)
    else:
        rows += published_sb3(specs)
    write_rows(rows, args.out / f"{args.name}.csv")
    names = dict.fromkeys(spec.env_id for spec in specs)
    random = {name: random_return(name) for name in tqdm(names, desc="random play")}
    text = [table(rows, random)]
    if args.set:
        changes = " ".join(f"{name}={value}" for name, value in args.set)
        text.append(f"minidqn with {changes}.")
    report("\n\n".join(text), args.out / f"{args.name}.md")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on.")
