"""How well the examples learn, over many seeds.

Runs each script in examples/ once for each seed, as a person would, several at a time,
and gathers the greedy test of the *last* policy: 100 episodes it was never trained on.
The settings were tuned on seeds 1000 and up, never on these.

    python benchmarks/learning.py --seeds 20
    python benchmarks/learning.py --envs ALE/Breakout-v5 --seeds 3 --name breakout_ram

It can be stopped, and goes on where it was. With --peers, a Python that has
Stable-Baselines3 (benchmarks/requirements.txt), SB3's DQN is put beside CartPole:
rl-baselines3-zoo's tuned settings, its own greedy evaluation.
"""

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from seeds import RESULTS, ROOT, interval, iqm, one_thread, run_all, same_code
from tqdm import tqdm

from minidqn.lab.plotting import BLUE, GREY, RED
from minidqn.lab.tuned import SCRIPTS, example
from minidqn.nn.layers import Array

USUAL = list(SCRIPTS)[:4]  # the others take hours
Summary = dict[str, Any]


def run(env_id: str, seed: int, out: Path) -> None:
    """One run, from where it was stopped, if it was."""
    if finished(out):
        return
    command = [sys.executable, "-m", "minidqn", env_id, "--no-animation"]
    command += ["--seed", str(seed), "--out", str(out), "--checkpoint-every", "50000"]
    command += ["--resume"] if (out / "agent.safetensors").exists() else []
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=one_thread())
    if ended.returncode:
        raise RuntimeError(f"{command} ended with {ended.returncode}: {ended.stderr[-2000:]}")


def finished(out: Path) -> Summary | None:
    """The summary of a run, unless Ctrl-C, which reaches the script too, has cut it short."""
    path = out / "summary.json"
    summary: Summary = json.loads(path.read_text()) if path.exists() else {"steps": 0}
    whole = summary["steps"] > 0 and summary["steps"] >= example(summary["env_id"])["STEPS"]
    return summary if whole else None


def run_sb3(python: str, seed: int) -> float:
    script = str(ROOT / "benchmarks" / "contenders" / "sb3_cartpole.py")
    command = [python, script, "--test", "--seed", str(seed)]
    return float(subprocess.check_output(command, env=one_thread(), stderr=subprocess.DEVNULL))


def row(env_id: str, summaries: list[Summary]) -> str:
    means = np.array([summary["eval_mean"] for summary in summaries])
    # None of a run that was resumed
    seconds = np.median([s["train_seconds"] for s in summaries if s["train_seconds"]])
    low, high = interval(means)
    solved_at = summaries[0]["solved_at"]
    worst = min(summaries, key=lambda summary: float(summary["eval_mean"]))
    return (
        f"| {env_id} | {means.mean():.2f} | {iqm(means):.2f} ({low:.2f} to {high:.2f}) "
        f"| {means.min():.2f} (seed {worst['seed']}) "
        f"| {np.sum(means >= solved_at)} of {len(means)} from {solved_at:g} "
        f"| {summaries[0]['steps']:,} | {summaries[0]['updates']:,} | {seconds:.1f} |"
    )


def table(results: dict[str, list[Summary]], sb3: list[float]) -> str:
    lines = [
        "Greedy return of the last policy over 100 episodes: mean over the seeds, interquartile "
        "mean with its 95 % bootstrap interval, and the worst seed's mean.",
        "",
        "| | mean | IQM | worst seed | solved | steps | updates | seconds, median |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(row(env_id, summaries) for env_id, summaries in results.items()),
        "",
    ]
    if any(summaries[0]["eval_epsilon"] for summaries in results.values()):
        lines += ["Breakout and MinAtar are tested with one random action in a thousand."]
    if "CartPole-v1" in results:
        cartpole = [s["eval_mean"] for s in results["CartPole-v1"]]
        lines += [
            f"CartPole-v1: {sum(mean == 500 for mean in cartpole)} of {len(cartpole)} seeds at 500."
        ]
    if sb3:
        lines += [
            f"Stable-Baselines3 on CartPole-v1, tuned, 50,000 steps, {len(sb3)} seeds: "
            f"{sum(mean >= 475 for mean in sb3)} at 475, {sum(mean == 500 for mean in sb3)} at "
            f"500, mean {np.mean(sb3):.1f}, worst seed {min(sb3):.1f}."
        ]
    lines += [
        "",
        f"Python {platform.python_version()}, NumPy {version('numpy')}, Numba {version('numba')}, "
        f"Gymnasium {version('gymnasium')}, {os.cpu_count()} cores.",
    ]
    return "\n".join(lines) + "\n"


def curve(path: Path, steps: Array, window: int = 20) -> Array:
    """Mean return of the last `window` episodes at each of `steps`; NaN before the first."""
    with path.open() as file:
        rows = [(float(r["step"]), float(r["episode_return"])) for r in csv.DictReader(file)]
    ends, returns = np.array(rows).T
    total = np.concatenate([[0.0], np.cumsum(returns)])
    stop = np.searchsorted(ends, steps, side="right")  # episodes finished by then
    start = np.maximum(stop - window, 0)
    with np.errstate(invalid="ignore"):
        means: Array = (total[stop] - total[start]) / (stop - start)
    return means


def draw(work: Path, results: dict[str, list[Summary]], path: Path) -> None:
    figure = Figure(figsize=(10, 6.4), dpi=120, layout="constrained")
    rows = min(len(results), 2)
    panels = figure.subplots(rows, -(-len(results) // rows), squeeze=False).flat
    for axes, (env_id, summaries) in zip(panels, results.items(), strict=False):
        steps = np.linspace(0, summaries[0]["steps"], 200)
        folders = [work / env_id / str(summary["seed"]) for summary in summaries]
        curves = np.stack([curve(f / "history.csv", steps) for f in folders], axis=-1)
        known = np.isfinite(curves).all(axis=-1)
        steps, curves = steps[known], curves[known]  # (points,), (points, seeds)
        low, high = interval(curves, 500)
        axes.plot(steps, curves, color=GREY, lw=0.4, alpha=0.5)
        axes.fill_between(steps, low, high, color=BLUE, alpha=0.3, lw=0)
        axes.plot(steps, iqm(curves), color=BLUE, lw=2)
        axes.set(title=env_id, xlabel="environment steps", ylabel="return in training")
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k" if x else "0")
        if env_id == "LunarLander-v3":
            axes.set_ylim(-300, 310)
        if env_id == "ALE/Breakout-v5":
            axes.set_ylabel("return of a ball in training")
        else:
            axes.axhline(summaries[0]["solved_at"], color=RED, lw=1, ls="--")
    line = "" if list(results) == ["ALE/Breakout-v5"] else ", and the line from which it is solved"
    figure.suptitle(
        f"Return in training, mean of the last 20 episodes: {len(summaries)} seeds,\n"
        f"their interquartile mean with its 95 % interval{line}"
    )
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn from many seeds.")
    parser.add_argument("--envs", nargs="+", choices=SCRIPTS, default=USUAL)
    parser.add_argument("--seeds", type=int, default=20, help="seeds 0 to N - 1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "learning", help="their files")
    parser.add_argument("--name", default="learning", help="of the files in results/")
    parser.add_argument("--peers", help="a Python that has Stable-Baselines3")
    parser.add_argument("--peer-seeds", type=int, default=16, help="SB3 takes a minute for each")
    args = parser.parse_args()

    if args.envs != USUAL and args.name == "learning":
        parser.error(f"--envs {args.envs}: expected a --name for the results of only some")
    same_code(args.work, __file__)
    jobs = [(env_id, seed) for env_id in args.envs for seed in range(args.seeds)]
    folders = {job: args.work / job[0] / str(job[1]) for job in jobs}
    run_all(lambda job: run(job[0], job[1], folders[job]), jobs, args.jobs)
    same_code(args.work, __file__)
    peers = range(args.peer_seeds if args.peers else 0)
    with ThreadPoolExecutor(args.jobs) as pool:
        sb3 = list(tqdm(pool.map(lambda seed: run_sb3(args.peers, seed), peers), total=len(peers)))
    RESULTS.mkdir(exist_ok=True)
    numbers = RESULTS / f"{args.name}.json"
    if not args.peers and numbers.exists():  # SB3 has not changed since
        sb3 = json.loads(numbers.read_text())["sb3_eval_means"]

    results: dict[str, list[Summary]] = {env_id: [] for env_id in args.envs}
    for job in jobs:
        summary = finished(folders[job])
        assert summary is not None
        del summary["eval_returns"]
        results[job[0]].append(summary)
    text = json.dumps({"minidqn": results, "sb3_eval_means": sb3}, indent=1)
    numbers.write_text(text + "\n")
    (RESULTS / f"{args.name}.md").write_text(table(results, sb3))
    draw(args.work, results, RESULTS / f"{args.name}.png")
    print(table(results, sb3))


if __name__ == "__main__":
    main()
