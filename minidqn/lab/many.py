"""A sweep from the command line: one environment, many seeds, a grid of settings.

The sweep's folder then has a folder for each run, results.csv, comparison.md and
comparison.png.
"""

import sys
from argparse import Namespace
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from minidqn.lab.compare import compare, write_results
from minidqn.lab.places import short_name
from minidqn.lab.spec import Spec
from minidqn.lab.sweep import sweep
from minidqn.lab.tuned import MakeSpec, with_changes
from minidqn.lab.values import parse


def sweep_and_compare(args: Namespace, make_spec: MakeSpec) -> None:
    specs = grid(args, make_spec)
    out = args.out or Path("runs") / f"sweep_{short_name(specs[0].env_id)}"
    executor = None
    if args.dask:
        import distributed

        client: Any = distributed.Client
        executor = client(args.dask).get_executor(pure=False)
    found = {}
    for result in sweep(specs, out, executor=executor, workers=args.workers):
        found[result["name"]] = result
        if "failed" in result:
            print(f"{result['name']} failed: {result['failed']}", file=sys.stderr)
    results = [found[spec.name] for spec in specs]
    write_results(results, out / "results.csv")
    table, _ = compare(results, out / "comparison.png")
    (out / "comparison.md").write_text(table, encoding="utf-8")
    print(f"{table}\nThe runs, results.csv and comparison.png are in {out}")


def grid(args: Namespace, make_spec: MakeSpec) -> list[Spec]:
    """A run from every seed, with every combination of the settings."""
    names = [name for name, _ in args.set]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"--set {name} is given twice: expected {name}=VALUE/VALUE"
            )
    texts = [[value.strip() for value in text.split("/")] for _, text in args.set]
    seeds = range(args.first, args.first + args.seeds)
    specs = []
    for combination in product(*texts):
        settings = dict(zip(names, combination, strict=True))
        for seed in seeds:
            specs.append(one_of_grid(make_spec, seed, args.steps, settings))
    return specs


def one_of_grid(
    make_spec: MakeSpec, seed: int, steps: int | None, settings: dict[str, str]
) -> Spec:
    """A run with these settings, which are texts, and become part of its name."""
    options = {} if steps is None else {"steps": steps}
    spec = make_spec(seed=seed, **options)
    changes = {name: parse(name, text, spec.steps) for name, text in settings.items()}
    spec = with_changes(spec, changes)
    if settings:
        name = ",".join(f"{name}={text}" for name, text in settings.items())
        spec = replace(spec, name=f"{name}/{seed}")
    return spec
