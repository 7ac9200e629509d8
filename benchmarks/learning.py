"""How well the examples learn, over many seeds.

Runs examples/cartpole.py once for each seed, as a person would, several at a time,
and gathers the greedy test of the *last* policy: 100 episodes it was never
trained on. No seed from 0 up was used for tuning (those were 1000 and up).

    python benchmarks/learning.py --seeds 20 --jobs 2
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def run(seed: int, out: Path) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "examples" / "cartpole.py"), "--no-animation"]
    command += ["--seed", str(seed), "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


def table(summaries: list[dict[str, Any]]) -> str:
    means = np.array([summary["eval_mean"] for summary in summaries])
    steps, updates = summaries[0]["steps"], summaries[0]["updates"]
    seconds = np.array([summary["train_seconds"] for summary in summaries])
    lines = [
        f"CartPole-v1, {len(means)} seeds, {steps} steps and {updates} updates each; "
        "greedy return of the last policy over 100 episodes.",
        "",
        "| seeds at 475 | seeds at 500 | mean | worst seed | worst episode | training, median |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| {np.sum(means >= 475)} of {len(means)} | {np.sum(means == 500)} of {len(means)} "
        f"| {means.mean():.1f} | {means.min():.1f} | {min(s['eval_min'] for s in summaries):.0f} "
        f"| {np.median(seconds):.1f} s |",
        "",
        "Below 500: "
        + ", ".join(
            f"seed {s['seed']} {s['eval_mean']}" for s in summaries if s["eval_mean"] < 500
        ),
        "",
        f"Python {platform.python_version()}, NumPy {version('numpy')}, Numba {version('numba')}, "
        f"Gymnasium {version('gymnasium')}, {os.cpu_count()} cores.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn CartPole-v1 from many seeds.")
    parser.add_argument("--seeds", type=int, default=20, help="seeds 0 to N - 1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.jobs) as pool:
        outs = [Path(folder) / str(seed) for seed in range(args.seeds)]
        summaries = list(tqdm(pool.map(run, range(args.seeds), outs), total=args.seeds))
    RESULTS.mkdir(exist_ok=True)
    for summary in summaries:
        del summary["eval_returns"]
    (RESULTS / "learning.json").write_text(json.dumps(summaries, indent=1) + "\n")
    (RESULTS / "learning.md").write_text(table(summaries))
    print(table(summaries))


if __name__ == "__main__":
    main()
