"""A sweep from the command line: one environment, many seeds, a grid of settings.

The sweep's folder then has a folder for each run, results.csv, comparison.md and
comparison.png. These cover all runs that have ended in the folder: several commands may
add to one comparison.
"""

import sys
from argparse import Namespace
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from minidqn.config import DQNConfig
from minidqn.lab.asked import with_test
from minidqn.lab.compare import compare, write_results
from minidqn.lab.folder import InUseError, results_below
from minidqn.lab.groups import Result, grouped
from minidqn.lab.parsing import parse
from minidqn.lab.places import short_name
from minidqn.lab.spec import Spec
from minidqn.lab.sweep import sweep
from minidqn.lab.tuned import MakeSpec, with_changes


def sweep_and_compare(args: Namespace, make_spec: MakeSpec) -> None:
    specs = grid(args, make_spec)
    out = args.out or Path("runs") / f"sweep_{short_name(specs[0].env_id)}"
    check_no_files_of_yours(out)
    others = others_in(out, specs)
    check_together(specs, others)
    base = about_base(args, make_spec)
    print(base, flush=True)
    results = make_runs(args, specs, out) + others
    write_results(results, out / "results.csv")
    table, _ = compare(results, out / "comparison.png")
    if others:
        table = (
            f"{len(others)} runs of other commands in this folder are in the table, "
            f"too: theirs may be changes to other settings.\n\n{table}"
        )
    (out / "comparison.md").write_text(f"{base}\n{table}", encoding="utf-8")
    print(table)
    print(f"The runs, results.csv, comparison.md and comparison.png are in {out}")


def make_runs(args: Namespace, specs: list[Spec], out: Path) -> list[Result]:
    """The results of the runs, in their order."""
    executor = None
    if args.dask:
        import distributed

        client: Any = distributed.Client
        executor = client(args.dask).get_executor(pure=False)
    found = {}
    try:
        for result in sweep(specs, out, executor=executor, workers=args.workers):
            found[result["name"]] = result
            if "failed" in result:
                print(f"{result['name']} failed: {result['failed']}", file=sys.stderr)
    except InUseError:
        raise InUseError(
            f"{out} is in use: expected that no other command makes runs there"
        ) from None
    return [found[spec.name] for spec in specs]


def others_in(out: Path, specs: list[Spec]) -> list[Result]:
    """The results in the folder that are of other commands."""
    if not out.is_dir():
        return []
    names = {spec.name for spec in specs}
    others = []
    for name, result in results_below(out):
        # a run of a sweep lies where its name says, and has a curve
        of_sweep = result.get("name") == name and "curve" in result
        if of_sweep and name not in names:
            others.append(result)
    return others


def check_no_files_of_yours(out: Path) -> None:
    """Raise FileExistsError for a table or a picture that no sweep has made."""
    table = out / "results.csv"
    pictures = [out / "comparison.md", out / "comparison.png"]
    if is_table(table):
        yours = []
    elif any(results_below(out)):  # the table was removed, or is yours
        yours = [table]
    else:
        yours = [table, *pictures]
    for file in yours:
        if file.exists():
            raise FileExistsError(
                f"{file} is of no sweep, and would be replaced: expected another --out"
            )


def is_table(file: Path) -> bool:
    """Whether it is a file of write_results, or empty, if that was killed."""
    if not file.is_file():
        return False
    content = file.read_bytes()
    return content == b"" or content.startswith(b"name,settings")


def check_together(specs: list[Spec], others: list[Result]) -> None:
    """Raise ValueError, before any run is made, if they cannot be compared together."""
    expected = []
    for spec in specs:
        about = spec.about()
        del about["solved_at"]  # a result has that of the environment
        expected.append({"name": spec.name} | about)
    grouped(expected + others)


def about_base(args: Namespace, make_spec: MakeSpec) -> str:
    """What the settings of a sweep change: one or two paragraphs."""
    base = one_of_grid(args, make_spec, args.first, {})
    text = f"{base.env_id}, {base.steps} steps, {base.config}\n"
    if args.set:
        text += "\nThe settings in the table are changes to these.\n"
    return text


def grid(args: Namespace, make_spec: MakeSpec) -> list[Spec]:
    """A run from every seed, with every combination of the settings."""
    names = [name for name, _ in args.set]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"--set {name} is given twice: expected {name}=VALUE/VALUE"
            )
    texts = [values_in(name, text) for name, text in args.set]
    seeds = range(args.first, args.first + args.seeds)
    specs = []
    for combination in product(*texts):
        settings = dict(zip(names, combination, strict=True))
        for seed in seeds:
            specs.append(one_of_grid(args, make_spec, seed, settings))
    return specs


def values_in(name: str, text: str) -> list[str]:
    """The values of a setting, which has / between them."""
    values = [value.strip() for value in text.split("/")]
    for value in values:
        if not value:
            raise ValueError(f"{name}={text}: expected a value on each side of /")
        if values.count(value) > 1:
            raise ValueError(f"{name}={text}: expected {value} only once")
    return values


def one_of_grid(
    args: Namespace, make_spec: MakeSpec, seed: int, settings: dict[str, str]
) -> Spec:
    """A run with these settings, which are texts, and become part of its name."""
    options = {} if args.steps is None else {"steps": args.steps}
    spec = with_test(make_spec(seed=seed, **options), args)
    changes = {}
    for name, text in settings.items():
        try:
            changes[name] = parse(name, text, spec.steps)
        except ValueError as error:
            takes_several = isinstance(getattr(DQNConfig, name), tuple)
            if takes_several or "," not in text:
                raise
            as_grid = text.replace(",", "/")
            raise ValueError(f"{error}; several are written {name}={as_grid}") from None
    spec = with_changes(spec, changes)
    if settings:
        name = ",".join(f"{name}={text}" for name, text in settings.items())
        name = name.replace(":", "~")  # Windows has no colon in a name
        spec = replace(spec, name=f"{name}/{seed}")
    return spec
