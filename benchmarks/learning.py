"""How well the examples learn, over many seeds.

Runs examples/cartpole.py once for each seed, as a person would, several at a time,
and gathers the greedy test of the *last* policy: 100 episodes it was never
trained on. No seed from 0 up was used for tuning (those were 1000 and up).

    python benchmarks/learning.py --seeds 20

With --peers, a Python that has Stable-Baselines3 (benchmarks/requirements.txt), its
DQN is put beside it: rl-baselines3-zoo's tuned settings, its own greedy evaluation.
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


def run_sb3(python: str, seed: int) -> float:
    script = str(ROOT / "benchmarks" / "contenders" / "sb3_cartpole.py")
    command = [python, script, "--test", "--seed", str(seed)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # several run side by side
    return float(subprocess.check_output(command, env=one_thread, stderr=subprocess.DEVNULL))


def table(summaries: list[dict[str, Any]], sb3: list[float]) -> str:
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
        f"| {means.mean():.2f} | {means.min():.1f} | {min(s['eval_min'] for s in summaries):.0f} "
        f"| {np.median(seconds):.1f} s |",
        "",
        "Seeds below 500: "
        + (
            ", ".join(f"{s['seed']}: {s['eval_mean']}" for s in summaries if s["eval_mean"] < 500)
            or "none"
        ),
        "",
        f"Python {platform.python_version()}, NumPy {version('numpy')}, Numba {version('numba')}, "
        f"Gymnasium {version('gymnasium')}, {os.cpu_count()} cores.",
    ]
    if sb3:
        n, at_475 = len(sb3), sum(mean >= 475 for mean in sb3)
        lines[6:6] = [
            f"Stable-Baselines3, tuned, 50,000 steps, {n} seeds: {at_475} at 475, "
            f"{sum(mean == 500 for mean in sb3)} at 500, mean {np.mean(sb3):.1f}, "
            f"worst seed {min(sb3):.1f}.",
            "",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn CartPole-v1 from many seeds.")
    parser.add_argument("--seeds", type=int, default=20, help="seeds 0 to N - 1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--peers", help="a Python that has Stable-Baselines3")
    parser.add_argument("--peer-seeds", type=int, default=16, help="SB3 takes a minute for each")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.jobs) as pool:
        outs = [Path(folder) / str(seed) for seed in range(args.seeds)]
        summaries = list(tqdm(pool.map(run, range(args.seeds), outs), total=args.seeds))
        peers = range(args.peer_seeds if args.peers else 0)
        sb3 = list(tqdm(pool.map(lambda seed: run_sb3(args.peers, seed), peers), total=len(peers)))
    RESULTS.mkdir(exist_ok=True)
    for summary in summaries:
        del summary["eval_returns"]
    results = {"minidqn": summaries, "sb3_eval_means": sb3}
    (RESULTS / "learning.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "learning.md").write_text(table(summaries, sb3))
    print(table(summaries, sb3))


if __name__ == "__main__":
    main()
