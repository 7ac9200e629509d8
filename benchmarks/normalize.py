"""Whether scaling observations by what was observed helps, with tuned settings.

Each classic environment with its tuned settings, and with each way to scale observations:
not at all, by the bounds of the space, or by mean and variance so far ("running"). The last
policy of each seed is tested, greedy, in 100 new episodes.

    python benchmarks/normalize.py --seeds 5
"""

import argparse
from dataclasses import replace

from options import add_jobs, add_seeds, add_work, work_of
from report import add_out, machine

from minidqn import Spec, sweep, tuned_spec
from minidqn.lab.compare import compare

STEPS = {
    "CartPole-v1": 40_000,
    "Acrobot-v1": 50_000,
    "MountainCar-v0": 60_000,
    "LunarLander-v3": 100_000,
}
WAYS = (False, "bounds", "running")


def specs(seeds: int) -> list[Spec]:
    """A run of each environment, with each way to scale, from each seed."""
    made = []
    for env_id, steps in STEPS.items():
        for way in WAYS:
            for seed in range(seeds):
                spec = tuned_spec(env_id, steps, seed, normalize_obs=way)
                name = f"{env_id}/{way or 'none'}/{seed}"
                made.append(replace(spec, name=name))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description="Scale observations in three ways.")
    add_seeds(parser, 5)
    add_jobs(parser)
    add_work(parser, "normalize")
    add_out(parser)
    args = parser.parse_args()
    results = list(
        sweep(specs(args.seeds), work_of(args, "normalize"), workers=args.jobs)
    )
    results.sort(key=lambda result: result["name"])
    table, _ = compare(results)
    text = f"{table}\n{machine()}\n"
    (args.out / "normalize.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
