"""The speed of an update from pictures, on one core: minidqn, PyTorch, JAX and the floor.

As in speed.py, the contenders (benchmarks/contenders) take turns. All of them compute on the
same core. PyTorch (channels last) and JAX (compiled as a whole) are given their batch of bytes;
minidqn draws and gathers its own. The *floor* is the time of the matrix products of the patches
in NumPy, without the time to make the patches. There is also a row for whole training steps.

    .venv/bin/python benchmarks/pixels.py --peers .venv-peers/bin/python

It takes about three minutes, and needs Linux.
"""

import argparse
import os
import platform
import sys

from report import add_out, commit
from timing import Contender, Rounds, table, versions
from tqdm import tqdm

MINATAR = [[16, 3, 1]], [128]
NETS = {
    "MinAtar, 4 channels, batch 32": ([10, 10, 4], *MINATAR, 32),
    "MinAtar, 10 channels, batch 32": ([10, 10, 10], *MINATAR, 32),
    "MinAtar, 4 channels, batch 64": ([10, 10, 4], *MINATAR, 64),
    "MinAtar, 10 channels, batch 64": ([10, 10, 10], *MINATAR, 64),
    "Mnih 2013, batch 32": ([84, 84, 4], [[16, 8, 4], [32, 4, 2]], [256], 32),
    "Mnih 2015, batch 32": (
        [84, 84, 4],
        [[32, 8, 4], [64, 4, 2], [64, 3, 1]],
        [512],
        32,
    ),
}
GAME, STEPS = (
    "Breakout",
    500,
)  # of a training run, with the settings of examples/minatar_games.py


def measure(contenders: dict[str, Contender], rounds: int) -> Rounds:
    times: Rounds = {}
    for _ in tqdm(range(rounds)):
        for name, (shape, conv, hidden, batch) in NETS.items():
            for who, contender in contenders.items():
                seconds = contender.ask("conv_update", shape, conv, hidden, batch)
                times.setdefault((f"update, {name}", who), []).append(seconds)
                if who != "floor" and batch == 32:
                    seconds = contender.ask("conv_act", shape, conv, hidden)
                    what = f"greedy action, {name.removesuffix(', batch 32')}"
                    times.setdefault((what, who), []).append(seconds)
        for who in ("minidqn", "PyTorch"):
            seconds = contenders[who].ask("minatar_steps", GAME, STEPS)
            what = f"{STEPS} steps of training, MinAtar's {GAME}"
            times.setdefault((what, who), []).append(seconds)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="Time updates from pictures.")
    parser.add_argument(
        "--peers", required=True, help="a Python with benchmarks/requirements.txt"
    )
    parser.add_argument("--rounds", type=int, default=10)
    add_out(parser)
    args = parser.parse_args()
    contenders = {
        who: Contender(python, script, one_thread=True, one_core=True)
        for who, python, script in (
            ("minidqn", sys.executable, "ours.py"),
            ("floor", sys.executable, "floor.py"),
            ("PyTorch", args.peers, "pytorch.py"),
            ("JAX", args.peers, "jax_jit.py"),
        )
    }
    lines = [
        f"Medians of {args.rounds} rounds, taken in turn, on one core; shares are ratios of "
        "medians, and in brackets the least and the greatest ratio within one round.",
        "",
        *table(measure(contenders, args.rounds)),
        "",
        f"Commit {commit()}, Python {platform.python_version()}, "
        f"{versions(sys.executable, 'numpy', 'numba')}; "
        f"{versions(args.peers, 'torch', 'jax')}; "
        f"OPENBLAS_CORETYPE={os.environ.get('OPENBLAS_CORETYPE', '(its own choice)')}.",
    ]
    (args.out / "pixels.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
