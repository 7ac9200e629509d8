"""How much each part of DQN helps: plain DQN, plain DQN with one part, all, all except one.

All other settings are those of the examples. The runs on CartPole are as long as the example's,
and those on Acrobot and LunarLander a fifth of that. In a full run, every variant becomes good
there, and no difference can be seen. The
settings were tuned with *some* of the parts on, so a part can lose here because nothing was tuned
for it. The figure shows what happens if you switch a part on.

    python benchmarks/ablation.py --seeds 10

It can be stopped, and the same command continues it.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from learning import all_ended
from matplotlib.figure import Figure
from options import add_jobs, add_seeds, add_work, work_of
from report import add_out, machine

from minidqn import LinearDecay, tuned
from minidqn.lab.compare import write_results
from minidqn.lab.plotting import BLUE, GREEN, GREY, RED
from minidqn.lab.spec import Spec
from minidqn.lab.statistics import interval, iqm
from minidqn.lab.sweep import sweep

STEPS = {"CartPole-v1": 20_000, "Acrobot-v1": 20_000, "LunarLander-v3": 60_000}
Results = dict[str, dict[str, list[float]]]  # by environment and variant, of each seed
PARTS = (
    "Double",
    "dueling",
    "n-step",
    "prioritised",
    "noisy layers",
    "quantiles",
    "LayerNorm",
    "noise on the weights",
)
PLAIN: dict[str, Any] = {
    "double": False,
    "dueling": False,
    "n_step": 1,
    "priority_alpha": 0.0,
    "noisy": False,
    "quantiles": 1,
    "layer_norm": False,
    "param_noise": 0.0,
}
VARIANTS: dict[str, tuple[str, ...]] = {
    "plain DQN": (),
    **{f"+ {part}": (part,) for part in PARTS},
    "all": PARTS,
    **{f"all - {part}": tuple(p for p in PARTS if p != part) for part in PARTS},
}


def settings_of(part: str, env_id: str) -> dict[str, Any]:
    """The settings that switch a part on."""
    settings: dict[str, dict[str, Any]] = {
        "Double": {"double": True},
        "dueling": {"dueling": True},
        "n-step": {"n_step": tuned(env_id).n_step},
        "prioritised": {
            "priority_alpha": 0.6,
            "priority_beta": LinearDecay(0.4, 1.0, STEPS[env_id]),
        },
        "noisy layers": {"noisy": True, "epsilon": 0.0},
        "quantiles": {"quantiles": 25, "huber_delta": 1.0},
        "LayerNorm": {"layer_norm": True},
        "noise on the weights": {"param_noise": 0.2},
    }
    return settings[part]


def spec(env_id: str, variant: str, seed: int) -> Spec:
    settings = dict(PLAIN)
    for part in VARIANTS[variant]:
        settings |= settings_of(part, env_id)
    steps = STEPS[env_id]
    name = f"{env_id}/{variant}/{seed}"
    return Spec(env_id, tuned(env_id, steps, **settings), steps, seed, name)


def table(results: Results, seeds: int) -> str:
    heads = [f"{env_id}, {STEPS[env_id]:,} steps" for env_id in results]
    lines = [
        f"Greedy return of the last policy over 100 episodes: IQM over {seeds} seeds, and its "
        "95 % bootstrap interval.",
        "",
        f"| | {' | '.join(heads)} |",
        "| --- " * (1 + len(results)) + "|",
    ]
    for variant in VARIANTS:
        cells = []
        for by_variant in results.values():
            low, high = interval(by_variant[variant])
            cells.append(f"{iqm(by_variant[variant]):.1f} ({low:.1f} to {high:.1f})")
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    lines += ["", machine()]
    return "\n".join(lines) + "\n"


def color_of(variant: str) -> str:
    if variant == "plain DQN":
        return GREY
    if variant == "all":
        return GREEN
    return BLUE if variant.startswith("+") else RED


def draw(results: Results, path: Path) -> None:
    """A panel for each environment, with a line for each variant."""
    figure = Figure(figsize=(11, 5.8), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
    for axes, (env_id, by_variant) in zip(panels, results.items(), strict=True):
        draw_variants(axes, by_variant)
        axes.set(title=f"{env_id}, {STEPS[env_id]:,} steps", xlabel="greedy return")
        axes.set_yticks(range(len(VARIANTS)), list(VARIANTS))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    figure.suptitle(
        "What each part buys: every seed (the worst at the edge), their IQM, its 95 % interval"
    )
    figure.savefig(path)


def draw_variants(axes: Any, by_variant: dict[str, list[float]]) -> None:
    """Every seed as a dot, their IQM as a mark, and its interval as a bar."""
    ends = np.concatenate([interval(means) for means in by_variant.values()])
    edge = ends.min() - 0.05 * np.ptp(ends)
    for y, variant in enumerate(VARIANTS):
        color = color_of(variant)
        means = by_variant[variant]
        shown = np.maximum(means, edge)
        height = [y] * len(means)
        axes.plot(shown, height, ".", color=color, alpha=0.25, ms=6, mew=0)
        bar = {"color": color, "lw": 5, "alpha": 0.45, "solid_capstyle": "butt"}
        axes.plot(interval(means), [y, y], **bar)
        axes.plot(iqm(means), y, "|", color=color, ms=13, mew=2.5)
    for variant in ("plain DQN", "all"):  # lines to compare the others with
        middle = float(iqm(by_variant[variant]))
        axes.axvline(middle, color=color_of(variant), lw=0.8, ls=":")


def specs_of(env_ids: list[str], seeds: int) -> list[Spec]:
    """All runs, seed by seed."""
    specs = []
    for seed in range(seeds):
        for variant in VARIANTS:
            specs += [spec(env_id, variant, seed) for env_id in env_ids]
    return specs


def means_of(found: list[Any], env_ids: list[str]) -> Results:
    """The mean return of each run's test, by environment and variant."""
    results: Results = {}
    for env_id in env_ids:
        results[env_id] = {variant: [] for variant in VARIANTS}
    for result in found:
        variant = result["name"].split("/")[-2]
        results[result["env_id"]][variant].append(result["eval_mean"])
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="Switch the parts of DQN on and off.")
    parser.add_argument("--envs", nargs="+", choices=STEPS, default=list(STEPS))
    add_seeds(parser, 10)
    add_jobs(parser)
    add_work(parser, "ablation")
    parser.add_argument("--name", default="ablation", help="of its files")
    add_out(parser)
    args = parser.parse_args()
    env_ids = list(dict.fromkeys(args.envs))
    is_usual = set(env_ids) == set(STEPS) and args.seeds == 10
    if not is_usual and args.name == "ablation":
        parser.error(
            "--envs and --seeds: expected a --name for other results than the usual"
        )

    specs = specs_of(env_ids, args.seeds)
    found = list(sweep(specs, work_of(args, "ablation"), workers=args.jobs))
    all_ended(found)
    found.sort(key=lambda result: (result["name"].rpartition("/")[0], result["seed"]))
    results = means_of(found, env_ids)
    write_results(found, args.out / f"{args.name}.csv")
    (args.out / f"{args.name}.md").write_text(table(results, args.seeds))
    draw(results, args.out / f"{args.name}.png")
    print(table(results, args.seeds))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on.")
