"""The speed of minidqn, compared with other programs and with the floor.

The *floor* is the time of an update's matrix products in NumPy, and nothing else. Each
contender (benchmarks/contenders) measures every row in turn, for a moment, round after round.
So a machine that is slower for a while is slower for all. The result is the ratio of the
medians, with the range of the ratios within single rounds.

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

import matplotlib
import numpy as np
from report import add_out, commit
from tqdm import tqdm

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).resolve().parent
US, MOMENT = (
    1e-6,
    0.15,
)  # a microsecond; how long a contender measures at a time, in seconds

NETS = [([64, 64], 64), ([120, 84], 128), ([256, 256], 64)]  # hidden layers, batch
BATCHES = WIDTHS = [
    32,
    64,
    128,
    256,
    512,
    1024,
]  # of the growth picture: one at 64, the other varied

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
LONG = CLEANRL | {"steps": 200_000, "updates": 19_001}  # so that compiling may pay
RL_ZOO = {  # rl-baselines3-zoo's tuned settings, without copies of the target that have no effect
    "env": "CartPole-v1",
    "huber_delta": 1.0,
    "steps": 50_000,
    "updates": 24_704,
    "hidden": [256, 256],
    "batch": 64,
    "learning_rate": 2.3e-3,
    "buffer": 100_000,
    "learning_starts": 768,  # 193 rounds of 128 updates, as SB3 makes from 1000 on
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

PEERS = {
    "PyTorch": "pytorch.py",
    "PyTorch on one core": "pytorch.py",
    "JAX": "jax_jit.py",
    "JAX on one core": "jax_jit.py",
    "SB3": "sb3.py",
    "SB3 on one core": "sb3.py",
}
Row = tuple[str, str]  # the measurement, and the contender
Rounds = dict[Row, list[float]]  # seconds (or bytes), one for each round


class Contender:
    """A worker process, which measures one row at a time."""

    def __init__(
        self, python: str, script: str, one_thread: bool, one_core: bool = False
    ) -> None:
        cores = [sorted(os.sched_getaffinity(0))[-1]]
        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        threads = dict.fromkeys(names, "1") if one_thread else {}
        self.script = script
        self.process = subprocess.Popen(
            [python, str(HERE / "contenders" / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | threads,
            text=True,
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if one_core else None,
        )

    def ask(self, row: str, *args: Any, seconds: float = MOMENT) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(
            json.dumps({"row": row, "args": args, "seconds": seconds}) + "\n"
        )
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.script} ended while it measured {row} {args}")
        return float(answer)


def net_name(hidden: list[int], batch: int) -> str:
    return f"{'-'.join(map(str, hidden))}, batch {batch}"


def measure_moments(contenders: dict[str, Contender], rounds: int) -> Rounds:
    """Everything that takes microseconds: updates, acting, the replay buffer, growth."""
    requests: list[tuple[Row, str, tuple[Any, ...]]] = []
    for hidden, batch in NETS:
        for name in ("minidqn", "floor", *PEERS):
            requests.append(
                (
                    (f"update, {net_name(hidden, batch)}", name),
                    "update",
                    (hidden, batch),
                )
            )
        for name in ("JAX", "JAX on one core"):
            row = f"update, {net_name(hidden, batch)}", f"{name}, 100 in one call"
            requests.append((row, "updates_in_a_loop", (hidden, batch)))
    for hidden in ([64, 64], [120, 84]):
        for batch, what in ((1, "one observation"), (16, "a batch of 16")):
            for name in ("minidqn", *PEERS):
                row = f"greedy action, {what}, {hidden[0]}-{hidden[1]}", name
                requests.append((row, "act", (hidden, batch)))
        for who, request in (
            ("minidqn", "explore"),
            ("minidqn, its forward and its draw alone", "forward_and_draw"),
        ):
            requests.append(
                ((f"explore, {hidden[0]}-{hidden[1]}", who), request, (hidden,))
            )
    for name in ("minidqn", "SB3"):
        requests.append((("observe", name), "observe", ()))
        requests.append((("sample(128)", name), "sample", (128,)))
        for what, *space in (
            ("CartPole", [4], "float32", 2),
            ("Breakout RAM", [128], "uint8", 4),
        ):
            row = f"bytes per step stored, {what}", name
            requests.append((row, "bytes", tuple(space)))
    for name in ("minidqn", "floor"):
        for batch in BATCHES:
            requests.append(
                ((f"growth, batch {batch}", name), "update", ([64, 64], batch))
            )
        for width in WIDTHS:
            requests.append(
                ((f"growth, width {width}", name), "update", ([width, width], 64))
            )

    times: Rounds = {row: [] for row, *_ in requests}
    for round_ in tqdm(range(rounds), desc="moments"):
        shift = (
            round_ * 7 % len(requests)
        )  # so that no contender always runs after the same one
        for (what, who), request, args in requests[shift:] + requests[:shift]:
            answer = contenders[who.split(",")[0]].ask(request, *args)
            times[what, who].append(
                answer / 100 if "100 in one call" in who else answer
            )
    return times


def measure_runs(contenders: dict[str, Contender], rounds: int) -> Rounds:
    """Whole training runs in one process; and the environment alone."""
    times: Rounds = {}
    for name in ("minidqn", "SB3"):  # a short run first, to compile and to load
        contenders[name].ask("train", CLEANRL | {"steps": 11_000, "updates": 101}, 0)
    for seed in tqdm(range(rounds), desc="runs"):
        for what, settings in (
            ("CleanRL's settings", CLEANRL),
            ("rl-zoo's settings", RL_ZOO),
            ("LunarLander, 300,000 steps", LUNARLANDER),
        ):
            env, steps = settings["env"], settings["steps"]
            alone = contenders["floor"].ask("environment", env, steps, seed)
            product_time = contenders["floor"].ask(
                "update", settings["hidden"], settings["batch"]
            )
            updates: Any = settings["updates"]
            times.setdefault((what, "floor"), []).append(alone + updates * product_time)
            for name in ("minidqn", "SB3"):
                answer = contenders[name].ask("train", settings, seed)
                times.setdefault((what, name), []).append(answer)
        for num_envs in (1, 10):
            what = f"CleanRL's settings, 200,000 steps, environments: {num_envs}"
            compiling = contenders["JAX, whole runs"].ask("compile", LONG, num_envs)
            compiled = contenders["JAX, whole runs"].ask("train", LONG, num_envs, seed)
            for name, answer in {
                "minidqn": contenders["minidqn"].ask("train", LONG, seed, num_envs),
                "JAX, all in one lax.scan": compiled,
                "JAX, with its compiling": compiling + compiled,
            }.items():
                times.setdefault((what, name), []).append(answer)
    return times


def measure_processes(peers: str, rounds: int) -> Rounds:
    """Whole processes, from start to end: the example, and SB3's tuned run."""

    def seconds(command: list[str], **environment: str) -> float:
        start = time.perf_counter()
        subprocess.run(
            command, check=True, capture_output=True, env=os.environ | environment
        )
        return time.perf_counter() - start

    times: Rounds = {}
    with tempfile.TemporaryDirectory() as folder:
        example = [sys.executable, str(HERE.parent / "examples" / "cartpole.py")]
        example += ["--no-animation", "--out"]
        sb3 = [peers, str(HERE / "contenders" / "sb3_cartpole.py")]
        # from here on the machine code is in its cache
        seconds([*example, f"{folder}/first"])
        for round_ in tqdm(range(rounds), desc="processes"):
            fresh = str(Path(folder) / f"cache{round_}")
            seed = ["--seed", str(round_)]
            again = [*example, f"{folder}/{round_}", *seed]
            first = [*example, f"{folder}/{round_}-fresh", *seed]
            for (what, who), value in {
                ("whole process", "SB3, tuned 50,000 steps, training alone"): seconds(
                    sb3 + seed
                ),
                ("whole process", "minidqn"): seconds(again),
                ("whole process", "minidqn, first run ever"): seconds(
                    first, NUMBA_CACHE_DIR=fresh
                ),
                ("import", "python -c pass"): seconds([sys.executable, "-c", "pass"]),
                ("import", "minidqn"): seconds(
                    [sys.executable, "-c", "import minidqn"]
                ),
                ("import", "PyTorch"): seconds([peers, "-c", "import torch"]),
                ("import", "SB3"): seconds([peers, "-c", "import stable_baselines3"]),
            }.items():
                times.setdefault((what, who), []).append(value)
    return times


def table(times: Rounds) -> list[str]:
    """A row for each measurement, with minidqn's share of it."""
    lines = [
        "| what | who | median (least to most) | minidqn's share of it |",
        "| --- | --- | --- | --- |",
    ]
    for (what, who), values in times.items():
        if what.startswith("growth"):
            continue
        scale, unit = (1.0, "s") if np.median(values) > 1e-2 else (US, "us")
        if "bytes" in what:
            scale, unit = 1.0, "B"
        low, middle, high = (f"{f(values) / scale:.4g}" for f in (min, np.median, max))
        share = ""
        if who != "minidqn":
            ours = times[what, "minidqn"]
            ratios = [a / b for a, b in zip(ours, values, strict=True)]
            share = f"{np.median(ours) / np.median(values):.3f}"
            share += f" ({min(ratios):.3f} to {max(ratios):.3f})"
        lines.append(
            f"| {what} | {who} | {middle} {unit} ({low} to {high}) | {share} |"
        )
    return lines


def draw_growth(times: Rounds, path: Path) -> None:
    """The time of an update against batch and width, with the floor below it."""
    figure, axes = plt.subplots(
        1, 2, figsize=(9, 3.8), sharey=True, layout="constrained"
    )
    for axis, what, values, rest in (
        (axes[0], "batch", BATCHES, "two hidden layers of 64"),
        (axes[1], "width", WIDTHS, "two hidden layers of that width, batch 64"),
    ):
        for who, label, style in (
            ("minidqn", "minidqn, one update", "o-"),
            ("floor", "its matrix products alone, NumPy", "s--"),
        ):
            medians = [
                np.median(times[f"growth, {what} {value}", who]) / US
                for value in values
            ]
            axis.loglog(values, medians, style, label=label, markersize=4)
        axis.set_xticks(values, map(str, values))
        axis.minorticks_off()
        axis.set_xlabel(f"{what}  ({rest})")
        axis.grid(alpha=0.3)
    ticks = [10, 30, 100, 300, 1000, 3000]
    axes[0].set_yticks(ticks, map(str, ticks))
    axes[0].set_ylabel("microseconds")
    axes[0].legend(loc="upper left", framealpha=1.0, edgecolor="none")
    figure.savefig(path, dpi=110)


def versions(python: str, *packages: str) -> str:
    code = "import sys; from importlib.metadata import version; "
    code += "print(', '.join(f'{name} {version(name)}' for name in sys.argv[1:]))"
    return subprocess.check_output([python, "-c", code, *packages], text=True).strip()


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

    contenders = {
        "minidqn": Contender(sys.executable, "ours.py", one_thread=True),
        "floor": Contender(sys.executable, "floor.py", one_thread=True),
        "JAX, whole runs": Contender(args.peers, "jax_scan.py", one_thread=False),
    }
    for name, script in PEERS.items():
        alone = name.endswith("on one core")
        contenders[name] = Contender(
            args.peers, script, one_thread=alone, one_core=alone
        )
    times = measure_moments(contenders, args.rounds)
    times |= measure_runs(contenders, args.runs)
    times |= measure_processes(args.peers, args.runs)

    lines = [
        f"Medians of {args.rounds} rounds (of {args.runs} for whole runs and processes), taken in "
        "turn; shares are ratios of medians, and in brackets the least and the greatest ratio "
        "within one round. A training run's floor is the environment's own time plus its "
        "updates' matrix products.",
        "",
        *table(times),
        "",
        f"Commit {commit()}, Python {platform.python_version()}, "
        + versions(sys.executable, "numpy", "numba", "gymnasium")
        + "; "
        + versions(args.peers, "torch", "jax", "stable-baselines3")
        + f"; {os.cpu_count()} cores.",
    ]
    (args.out / "speed.md").write_text("\n".join(lines) + "\n")
    rounds = {f"{what} | {who}": values for (what, who), values in times.items()}
    (args.out / "speed.json").write_text(json.dumps(rounds, indent=1) + "\n")
    draw_growth(times, args.out / "speed_growth.png")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
