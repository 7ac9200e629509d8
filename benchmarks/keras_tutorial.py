"""The time for each step of the first of five tutorials: in Keras, and in minidqn.

For each step, the notebook that examples/five_tutorials.py calls T1 calls `predict` to choose an
action, `predict` for the Q-values of 24 stored observations, `predict` for those of the 24 next
ones, and `fit`. minidqn does the same with the same network, with a larger replay buffer, and in
addition with Huber's loss and gradient clipping. The two take turns, so a machine that is slower
for a while is slower for both.

    python3 -m venv .venv-keras && .venv-keras/bin/pip install tensorflow==2.21.0
    .venv/bin/python benchmarks/keras_tutorial.py --keras .venv-keras/bin/python
"""

import argparse
import os
import platform
import sys

import numpy as np
from report import add_out, commit
from timing import Contender, versions


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Time a tutorial's step in Keras and minidqn."
    )
    parser.add_argument("--keras", required=True, help="a Python that has TensorFlow")
    parser.add_argument("--rounds", type=int, default=9)
    add_out(parser)
    args = parser.parse_args()
    contenders = {
        "Keras": Contender(args.keras, "keras_step.py", one_thread=False),
        "minidqn": Contender(sys.executable, "ours.py", one_thread=True),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(args.rounds):
        for name, contender in contenders.items():
            times[name].append(
                contender.ask("tutorial_step", [24, 24], 24, seconds=1.0)
            )
    keras, ours = times["Keras"], times["minidqn"]
    ratios = [a / b for a, b in zip(keras, ours, strict=True)]
    text = (
        f"Work for each environment step, 4-24-24-2, batch 24, medians of {args.rounds} rounds: "
        f"Keras {np.median(keras) * 1e3:.0f} ms ({1 / np.median(keras):.1f} steps a second), "
        f"minidqn {np.median(ours) * 1e6:.0f} us. "
        f"Keras takes {np.median(keras) / np.median(ours):,.0f} times as long "
        f"({min(ratios):,.0f} to {max(ratios):,.0f} within a round).\n\n"
        f"Commit {commit()}, Python {platform.python_version()}, "
        f"{versions(sys.executable, 'numpy', 'numba')}; "
        f"{versions(args.keras, 'tensorflow', 'keras')}; {os.cpu_count()} cores.\n"
    )
    (args.out / "keras_tutorial.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
