"""The speed of minidqn, compared with other programs and with the floor.

The *floor* is the time of an update's matrix products in NumPy, and nothing else. The contenders
(benchmarks/contenders) take turns, round after round. So a machine that is slower for a while is
slower for all. The result is the ratio of the medians, with the range of the ratios within single
rounds.

    python3 -m venv .venv-peers && .venv-peers/bin/pip install -r benchmarks/requirements.txt
    .venv/bin/python benchmarks/speed.py --peers .venv-peers/bin/python

minidqn and the floor run on one thread. In the rows of updates and actions, each of the others is
measured twice: with its default number of threads, and with one thread on one core, which is faster
on a busy machine. In all other rows, they have their default number. Everything takes 25 minutes.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from moments import PEERS, draw_growth, measure_moments, without_growth
from report import ROOT, add_out, commit
from timing import CONTENDERS, Contender, Rounds, table, versions
from tqdm import tqdm

CLEANRL = {  # CleanRL's dqn.py, a fifth of its 500,000 steps
    "env": "CartPole-v1",
    "huber_delta": math.inf,  # squared errors; with Huber's loss these settings diverge
    "steps": 100_000,
    "updates": 9_001,
    "hidden": [120, 84],
    "batch": 128,
    "learning_rate": 2.5e-4,
    "buffer": 10_000,
    "learning_starts": 10_000,
    "train_every": 10,
    "gradient_steps": 1,
    "target_every_steps": 500,
    "target_every_updates": 50,
    "epsilon_steps": 50_000,
    "final_epsilon": 0.05,
}
LONG = CLEANRL | {
    "steps": 200_000,
    "updates": 19_001,
}  # twice as long: compiling may pay
# rl-baselines3-zoo's tuned settings. They copy the target every 10 steps, but between two rounds of
# updates, a second copy changes nothing.
RL_ZOO = {
    "env": "CartPole-v1",
    "huber_delta": 1.0,
    "steps": 50_000,
    "updates": 24_704,
    "hidden": [256, 256],
    "batch": 64,
    "learning_rate": 2.3e-3,
    "buffer": 100_000,
    "learning_starts": 768,  # 193 rounds of 128 updates, as many as SB3 makes with its 1000
    "train_every": 256,
    "gradient_steps": 128,
    "target_every_steps": 256,
    "target_every_updates": 128,
    "epsilon_steps": 8_000,
    "final_epsilon": 0.04,
}

LUNARLANDER = {  # steps, batch and net of examples/lunarlander.py, twice its updates
    "env": "LunarLander-v3",
    "huber_delta": 1.0,
    "steps": 300_000,
    "updates": 74_751,
    "hidden": [128, 128],
    "batch": 128,
    "learning_rate": 5e-4,
    "buffer": 100_000,
    "learning_starts": 1000,
    "train_every": 4,
    "gradient_steps": 1,
    "target_every_steps": 1000,
    "target_every_updates": 250,
    "epsilon_steps": 30_000,
    "final_epsilon": 0.1,
}
RUNS = {
    "CleanRL's settings": CLEANRL,
    "rl-zoo's settings": RL_ZOO,
    "LunarLander, 300,000 steps": LUNARLANDER,
}


# --- Whole training runs, in processes that have imported all they need


def measure_runs(contenders: dict[str, Contender], rounds: int) -> Rounds:
    """Whole training runs, each beside its floor; and JAX's beside ours."""
    times: Rounds = {}
    for name in ("minidqn", "SB3"):  # a short run first, to compile and to load
        contenders[name].ask("train", CLEANRL | {"steps": 11_000, "updates": 101}, 0)
    for seed in tqdm(range(rounds), desc="runs"):
        for what, settings in RUNS.items():
            times.setdefault((what, "floor"), []).append(
                floor_of_run(contenders["floor"], settings, seed)
            )
            for name in ("minidqn", "SB3"):
                answer = contenders[name].ask("train", settings, seed)
                times.setdefault((what, name), []).append(answer)
        for num_envs in (1, 10):
            what = f"CleanRL's settings, 200,000 steps, environments: {num_envs}"
            for name, answer in beside_jax(contenders, num_envs, seed).items():
                times.setdefault((what, name), []).append(answer)
    return times


def floor_of_run(floor: Contender, settings: dict[str, Any], seed: int) -> float:
    """The environment's own time, and that of the updates' matrix products."""
    alone = floor.ask("environment", settings["env"], settings["steps"], seed)
    products = floor.ask("update", settings["hidden"], settings["batch"])
    updates: int = settings["updates"]
    return alone + updates * products


def beside_jax(
    contenders: dict[str, Contender], num_envs: int, seed: int
) -> dict[str, float]:
    """A long run, in seconds; JAX compiles the whole run into one program first."""
    jax = contenders["JAX, whole runs"]
    compiling = jax.ask("compile", LONG, num_envs)
    compiled = jax.ask("train", LONG, num_envs, seed)
    return {
        "minidqn": contenders["minidqn"].ask("train", LONG, seed, num_envs),
        "JAX, all in one lax.scan": compiled,
        "JAX, with its compiling": compiling + compiled,
    }


# --- Whole processes, from start to end


def measure_processes(peers: str, rounds: int) -> Rounds:
    """The example, SB3's tuned run, and what it takes to import each of them."""
    times: Rounds = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        # from here on the machine code is in its cache
        seconds(example(folder / "first"))
        for number in tqdm(range(rounds), desc="processes"):
            for row, value in one_round(peers, folder, number).items():
                times.setdefault(row, []).append(value)
    return times


def one_round(peers: str, folder: Path, number: int) -> dict[tuple[str, str], float]:
    """Each of the processes once, with a number as the seed."""
    seed = ["--seed", str(number)]
    tuned = [peers, str(CONTENDERS / "sb3_cartpole.py"), *seed]
    again = [*example(folder / f"{number}"), *seed]
    first = [*example(folder / f"{number}-first"), *seed]
    no_cache = {"NUMBA_CACHE_DIR": str(folder / f"cache{number}")}
    ours = [sys.executable, "-c"]
    return {
        ("whole process", "SB3, tuned 50,000 steps, training alone"): seconds(tuned),
        ("whole process", "minidqn"): seconds(again),
        ("whole process", "minidqn, first run ever"): seconds(first, no_cache),
        ("import", "python -c pass"): seconds([*ours, "pass"]),
        ("import", "minidqn"): seconds([*ours, "import minidqn"]),
        ("import", "PyTorch"): seconds([peers, "-c", "import torch"]),
        ("import", "SB3"): seconds([peers, "-c", "import stable_baselines3"]),
    }


def example(out: Path) -> list[str]:
    script = str(ROOT / "examples" / "cartpole.py")
    return [sys.executable, script, "--no-animation", "--out", str(out)]


def seconds(command: list[str], more: dict[str, str] | None = None) -> float:
    """The time of a process, which has `more` in its environment."""
    environment = os.environ | (more or {})
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


# --- All of it


def start_contenders(peers: str) -> dict[str, Contender]:
    contenders = {
        "minidqn": Contender(sys.executable, "ours.py", one_thread=True),
        "floor": Contender(sys.executable, "floor.py", one_thread=True),
        "JAX, whole runs": Contender(peers, "jax_scan.py", one_thread=False),
    }
    for name, script in PEERS.items():
        alone = name.endswith("on one core")
        contenders[name] = Contender(peers, script, one_thread=alone, one_core=alone)
    return contenders


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Time minidqn beside its peers and the floor."
    )
    parser.add_argument(
        "--peers", required=True, help="a Python with benchmarks/requirements.txt"
    )
    parser.add_argument(
        "--rounds", type=int, default=15, help="of the rows of microseconds"
    )
    parser.add_argument("--runs", type=int, default=3, help="rounds of whole runs")
    add_out(parser)
    args = parser.parse_args()

    contenders = start_contenders(args.peers)
    times = measure_moments(contenders, args.rounds)
    times |= measure_runs(contenders, args.runs)
    times |= measure_processes(args.peers, args.runs)

    ours = versions(sys.executable, "numpy", "numba", "gymnasium")
    theirs = versions(args.peers, "torch", "jax", "stable-baselines3")
    lines = [
        f"Medians of {args.rounds} rounds (of {args.runs} for whole runs and processes), taken in "
        "turn; shares are ratios of medians, and in brackets the least and the greatest ratio "
        "within one round. A training run's floor is the environment's own time plus its "
        "updates' matrix products.",
        "",
        *table(without_growth(times)),
        "",
        f"Commit {commit()}, Python {platform.python_version()}, {ours}; {theirs}; "
        f"{os.cpu_count()} cores.",
    ]
    (args.out / "speed.md").write_text("\n".join(lines) + "\n")
    rounds = {f"{what} | {who}": values for (what, who), values in times.items()}
    (args.out / "speed.json").write_text(json.dumps(rounds, indent=1) + "\n")
    draw_growth(times, args.out / "speed_growth.png")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
