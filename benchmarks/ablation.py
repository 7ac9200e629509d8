"""How much each part of DQN helps: plain DQN, plain DQN with one part, all, all except one.

All other settings are those of the examples, but the runs on Acrobot and LunarLander are a fifth
as long. In a full run, every variant becomes good there, and no difference can be seen. The
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
PARTS = (
    "Double",
    "dueling",
    "n-step",
    "prioritised",
    "noisy",
    "quantiles",
    "LayerNorm",
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
        "noisy": {"noisy": True, "epsilon": 0.0},
        "quantiles": {"quantiles": 25, "huber_delta": 1.0},
        "LayerNorm": {"layer_norm": True},
    }
    return settings[part]


def spec(env_id: str, variant: str, seed: int) -> Spec:
    settings = dict(PLAIN)
    for part in VARIANTS[variant]:
        settings |= settings_of(part, env_id)
    steps = STEPS[env_id]
    name = f"{env_id}/{variant}/{seed}"
    return Spec(env_id, tuned(env_id, steps, **settings), steps, seed, name)


def table(results: dict[str, dict[str, list[float]]]) -> str:
    seeds = len(next(iter(next(iter(results.values())).values())))
    lines = [
        f"Greedy return of the last policy over 100 episodes: IQM over {seeds} seeds, and its "
        "95 % bootstrap interval.",
        "",
        "| | "
        + " | ".join(f"{env_id}, {STEPS[env_id]:,} steps" for env_id in results)
        + " |",
        "| --- " * (1 + len(results)) + "|",
    ]
    for variant in VARIANTS:
        cells = []
        for by_variant in results.values():
            low, high = interval(by_variant[variant])
            cells.append(f"{iqm(by_variant[variant]):.1f} ({low:.1f} to {high:.1f})")
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    lines += ["", machine()]
    return "\n".join(lines) + "\n"


def draw(results: dict[str, dict[str, list[float]]], path: Path) -> None:
    figure = Figure(figsize=(11, 5.4), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(results), sharey=True, squeeze=False).flat
    names = list(VARIANTS)
    for axes, (env_id, by_variant) in zip(panels, results.items(), strict=True):
        ends = np.concatenate([interval(means) for means in by_variant.values()])
        edge = ends.min() - 0.05 * np.ptp(ends)
        for y, variant in enumerate(names):
            color = {0: GREY, len(PARTS) + 1: GREEN}.get(
                y, BLUE if y <= len(PARTS) else RED
            )
            means = by_variant[variant]
            low, high = interval(means)
            axes.plot(
                np.maximum(means, edge),
                [y] * len(means),
                ".",
                color=color,
                alpha=0.25,
                ms=6,
                mew=0,
            )
            axes.plot(
                [low, high],
                [y, y],
                color=color,
                lw=5,
                alpha=0.45,
                solid_capstyle="butt",
            )
            axes.plot(iqm(means), y, "|", color=color, ms=13, mew=2.5)
        for reference, color in ((0, GREY), (len(PARTS) + 1, GREEN)):
            axes.axvline(
                float(iqm(by_variant[names[reference]])), color=color, lw=0.8, ls=":"
            )
        axes.set(title=f"{env_id}, {STEPS[env_id]:,} steps", xlabel="greedy return")
        axes.set_yticks(range(len(names)), names)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    figure.suptitle(
        "What each part buys: every seed (the worst at the edge), their IQM, its 95 % interval"
    )
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Switch the parts of DQN on and off.")
    parser.add_argument("--envs", nargs="+", choices=STEPS, default=list(STEPS))
    add_seeds(parser, 10)
    add_jobs(parser)
    add_work(parser, "ablation")
    parser.add_argument("--name", default="ablation", help="of its files")
    add_out(parser)
    args = parser.parse_args()
    args.envs = list(dict.fromkeys(args.envs))
    if (set(args.envs), args.seeds) != (set(STEPS), 10) and args.name == "ablation":
        parser.error(
            "--envs and --seeds: expected a --name for other results than the usual"
        )

    specs = [
        spec(e, v, s) for s in range(args.seeds) for v in VARIANTS for e in args.envs
    ]
    found = list(sweep(specs, work_of(args, "ablation"), workers=args.jobs))
    all_ended(found)
    found.sort(key=lambda result: (result["name"].rpartition("/")[0], result["seed"]))
    results: dict[str, dict[str, list[float]]] = {
        env_id: {
            variant: [
                r["eval_mean"]
                for r in found
                if f"{env_id}/{variant}/{r['seed']}" == r["name"]
            ]
            for variant in VARIANTS
        }
        for env_id in args.envs
    }
    write_results(found, args.out / f"{args.name}.csv")
    (args.out / f"{args.name}.md").write_text(table(results))
    draw(results, args.out / f"{args.name}.png")
    print(table(results))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on.")
