"""python -m minidqn sweep: one environment, many seeds, a grid of settings.

What came of it is in DIR: a folder for each run, results.csv, comparison.md, comparison.png.
"""

import argparse
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import gymnasium as gym

from minidqn.lab.arguments import at_least, setting
from minidqn.lab.compare import compare, write_results
from minidqn.lab.expect import expect
from minidqn.lab.folder import short_name
from minidqn.lab.snapshot import from_json
from minidqn.lab.spec import Spec
from minidqn.lab.sweep import sweep
from minidqn.lab.tuned import tuned_spec


def values(text: str) -> tuple[str, list[Any]]:
    """An argparse type: NAME=VALUE,VALUE,..."""
    name, _, listed = text.partition("=")
    if not listed:
        raise argparse.ArgumentTypeError(f"{text}: expected NAME=VALUE,...")
    _, found = setting(f"{name}=[{listed}]")
    if isinstance(found, list):
        return name, [from_json(value) for value in found]
    return name, [setting(f"{name}={value}")[1] for value in listed.split(",")]


def grid(args: Any) -> list[Spec]:
    """A spec for every seed of every combination of settings."""
    expect(len(dict(args.set)) == len(args.set), f"--set {args.set}", "each name once")
    specs = []
    for combination in product(
        *([(name, value) for value in of] for name, of in args.set)
    ):
        name = ",".join(f"{name}={value}" for name, value in combination)
        for seed in range(args.first, args.first + args.seeds):
            spec = tuned_spec(args.env_id, args.steps, seed, **dict(combination))
            specs.append(replace(spec, name=f"{name}/{seed}") if name else spec)
    return specs


def main() -> None:
    parser = argparse.ArgumentParser("minidqn sweep", description=__doc__)
    parser.add_argument("env_id", help="an environment's id")
    parser.add_argument("--seeds", type=at_least(1), default=10, help="how many")
    parser.add_argument("--first", type=at_least(0), default=0, help="the first seed")
    parser.add_argument(
        "--steps", type=at_least(1), help="environment steps of training"
    )
    parser.add_argument(
        "--workers", type=at_least(1), help="processes, one a core by default"
    )
    parser.add_argument(
        "--dask", metavar="ADDRESS", help="of a Dask scheduler, to run on instead"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the folder for the results"
    )
    many: Any = {"action": "append", "default": [], "metavar": "NAME=VALUE,..."}
    what = "settings of DQNConfig; several make a grid"
    parser.add_argument("--set", type=values, help=what, **many)
    args = parser.parse_args()
    out, executor = args.out or Path("runs") / f"sweep_{short_name(args.env_id)}", None
    try:
        specs = grid(args)
        specs[0].make().close()  # raises if there is no such environment
        if args.dask:
            import distributed

            client: Any = distributed.Client
            executor = client(args.dask).get_executor(pure=False)
        found = {
            r["name"]: r
            for r in sweep(specs, out, executor=executor, workers=args.workers)
        }
        results = [found[spec.name] for spec in specs]
        for result in results:
            if "failed" in result:
                print(f"{result['name']} failed: {result['failed']}", file=sys.stderr)
        table, _ = compare(results, out / "comparison.png")
    except (
        gym.error.Error,
        ImportError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "Stopped. The same command goes on.\n")
    write_results(results, out / "results.csv")
    (out / "comparison.md").write_text(table, encoding="utf-8")
    print(f"{table}\nThe runs, results.csv and comparison.png are in {out}")
