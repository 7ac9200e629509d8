"""Do the tests notice a bug? It changes one place of minidqn at a time, and runs the tests.

A *mutant* is the package with one small, realistic bug: < instead of <=, + instead of -, a
number that is one off, a condition the other way round, a missing statement, two swapped
arguments. Each is tested in a copy of the project: first by the tests that should notice it, and
if they do not, by all. The mutants that no test noticed are listed.

    python benchmarks/mutants.py --mutants 300 --out runs/mutants
    python benchmarks/mutants.py --modules page agent targets --quick

The module "page" is examples/one_page.py.
"""

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
# without test_architecture, because a mutant has no comments, and lines of any length
EVERYTHING = ["tests", "--ignore=tests/test_architecture.py"]
PAGE = "page"
TESTS = {  # the tests that should notice a module's mutants, quick ones first
    PAGE: "one_page",
    "nn/layers": "layers network nn_parts agent one_page",
    "nn/network": "network single agent parts one_page",
    "nn/single": "single network agent",
    "nn/adam": "adam agent one_page",
    "nn/jit": "jit",
    "targets": "targets agent parts masks one_page",
    "exploration": "exploration agent parts masks",
    "replay": "replay agent prioritized training checkpoint one_page",
    "batch": "replay agent prioritized pixels one_page",
    "sampler": "replay agent prioritized one_page",
    "masks": "masks replay agent checkpoint",
    "checks": "agent parts schedules replay finetune",
    "experience": "replay agent masks envs",
    "schedules": "schedules agent parts",
    "config": "agent tuned parts",
    "assembly": "agent parts masks prioritized pixels",
    "agent": "agent parts masks training learning history resume one_page",
    "parts/cells": "conv",
    "parts/conv": "conv pixels",
    "parts/decays": "schedules agent training finetune",
    "parts/dueling": "nn_parts network parts",
    "parts/frames": "frames pixels envs finetune",
    "parts/layer_norm": "nn_parts network parts",
    "parts/noisy": "nn_parts network parts",
    "parts/normalize": "layers network agent examples",
    "parts/prioritized": "prioritized parts checkpoint resume",
    "parts/qnetwork": "network agent pixels finetune",
    "parts/quantiles": "targets parts agent",
    "parts/repeat": "repeat parts training resume",
    "parts/running": "running",
    "refusals": "experience agent",
    "lab/history": "history training resume checkpoint",
    "lab/envs": "envs training masks resume",
    "lab/masking": "masking",
    "lab/first_masks": "masks recorded",
    "lab/recorded": "recorded",
    "lab/in_use": "envs training",
    "lab/resume": "resume envs",
    "lab/settings": "finetune checkpoint",
    "lab/snapshot": "checkpoint resume",
    "lab/soundness": "checkpoint resume",
    "lab/checkpoint": "checkpoint resume",
    "lab/training": "training history resume masks",
    "lab/evaluation": "evaluation training",
    "lab/signals": "signals training",
    "lab/scale": "running",
    "lab/checks": "watchers evaluation",
    "lab/watchers": "watchers cli",
    "lab/plotting": "plotting watchers notebook",
    "lab/value_function": "plotting",
    "lab/progress": "training evaluation",
    "lab/statistics": "compare",
    "lab/filters": "plotting",
    "lab/films": "films watchers",
    "lab/pictures": "films",
    "lab/tuned": "tuned",
    "lab/cli": "cli examples",
    "lab/arguments": "cli examples",
    "lab/values": "values",
    "lab/show": "show cli",
    "lab/places": "places cli",
    "lab/many": "sweep cli",
    "lab/spec": "identity run sweep cli",
    "lab/code": "identity",
    "lab/identity": "identity sweep",
    "lab/run": "run sweep cli",
    "lab/outcome": "run sweep",
    "lab/scores": "testing history",
    "lab/testing": "testing watchers",
    "lab/folder": "folder sweep cli",
    "lab/names": "names",
    "lab/jobs": "sweep identity",
    "lab/sweep": "sweep",
    "lab/processes": "processes sweep",
    "lab/compare": "compare",
    "lab/groups": "compare",
    "lab/header": "checkpoint finetune interrupts",
    "lab/arrays": "checkpoint finetune interrupts",
    "lab/restore": "finetune checkpoint interrupts",
    "lab/asked": "cli run",
    "lab/output": "output cli",
    "__main__": "cli",
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
LEFT_ALONE = (
    ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr
)  # what errors say, too


def changes(node: Any) -> Iterator[tuple[str, Any]]:
    """The possible bugs at a node: a word for each, and a function that makes it in a copy."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield "compare", lambda n: n.ops.__setitem__(0, COMPARISONS[type(n.ops[0])]())
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATIONS:
        yield "operator", lambda n: setattr(n, "op", OPERATIONS[type(n.op)]())
    if isinstance(node, ast.BoolOp):
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield "and/or", lambda n: setattr(n, "op", other())
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "not", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "bool", lambda n: setattr(n, "value", not n.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield "number", lambda n: setattr(n, "value", n.value + 1)
    if isinstance(node, ast.Call) and len(node.args) >= 2:
        yield "swapped", lambda n: n.args.__setitem__(slice(2), n.args[1::-1])
    if isinstance(node, ast.Slice) and node.lower is not None:
        yield "slice", lambda n: setattr(n, "lower", None)
    if isinstance(node, ast.Assign | ast.AugAssign | ast.Expr) and not is_text(node):
        yield "left out", None
    if isinstance(node, ast.Return) and node.value is not None:
        yield "returns none", lambda n: setattr(n, "value", ast.Constant(None))


def is_text(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def places(tree: ast.Module) -> list[tuple[int, str]]:
    """Every mutant of a file: the number of its node in the order of ast.walk, and its change."""
    skipped: set[int] = (
        set()
    )  # annotations, messages of errors, imports, names of modules
    for node in ast.walk(tree):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        parts += [node] if isinstance(node, LEFT_ALONE) else []
        parts += getattr(node, "decorator_list", [])
        for part in filter(None, parts):
            skipped |= {id(inner) for inner in ast.walk(part)}
    return [
        (number, word)
        for number, node in enumerate(ast.walk(tree))
        if id(node) not in skipped
        for word, _ in changes(node)
    ]


def mutated(tree: ast.Module, number: int, word: str) -> tuple[ast.Module, int, str]:
    """A copy of the tree with that change, the line, and the line as it then reads."""
    tree = copy.deepcopy(tree)
    node: Any = list(ast.walk(tree))[number]
    change = dict(changes(node))[word]
    if change is None:
        shown = f"left out: {ast.unparse(node)}"
        node_as_pass(tree, node)
    else:
        change(node)
        shown = ast.unparse(node)
    return ast.fix_missing_locations(tree), node.lineno, f"{word}: {shown[:200]}"


def node_as_pass(tree: ast.Module, node: Any) -> None:
    for parent in ast.walk(tree):
        for _, block in ast.iter_fields(parent):
            if isinstance(block, list) and node in block:
                block[block.index(node)] = ast.copy_location(ast.Pass(), node)


def noticed(folder: Path, tests: list[str], seconds: int) -> bool:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        *tests,
    ]
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment |= {
        "OPENBLAS_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
        "TQDM_DISABLE": "1",
    }
    try:
        ended = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True  # a test that hangs is noticed
    return ended.returncode != 0


def file_of(module: str, folder: Path) -> Path:
    if module == PAGE:
        return folder / "examples" / "one_page.py"
    return folder / "minidqn" / f"{module}.py"


def tests_of(module: str) -> list[str]:
    return [f"tests/test_{name}.py" for name in TESTS[module].split()]


def try_one(
    place: tuple[str, int, str],
    limits: dict[str, int],
    folders: "Queue[Path]",
    quick: bool,
) -> dict[str, Any]:
    module, number, word = place
    folder = folders.get()
    file = file_of(module, folder)
    original = file.read_text(encoding="utf-8")
    try:
        tree, line, shown = mutated(ast.parse(original), number, word)
        file.write_text(ast.unparse(tree), encoding="utf-8")
        found = noticed(folder, tests_of(module), limits[module])
        by_all = not found and not quick and noticed(folder, EVERYTHING, 1800)
    finally:
        file.write_text(original, encoding="utf-8")
        folders.put(folder)
    return {
        "module": module,
        "line": line,
        "what": shown,
        "found": found,
        "by_all": by_all,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Put bugs in, one at a time.")
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--modules", nargs="+", choices=TESTS, default=list(TESTS))
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "mutants")
    parser.add_argument(
        "--quick", action="store_true", help="only the tests that ought to notice"
    )
    args = parser.parse_args()
    folders: Queue[Path] = Queue()
    for job in range(args.jobs):
        folder = args.out / f"copy{job}"
        shutil.rmtree(folder, ignore_errors=True)
        not_these = shutil.ignore_patterns(
            ".*", "__pycache__", "*.egg-info", "build", "runs"
        )
        shutil.copytree(ROOT, folder, ignore=not_these)
        folders.put(folder)
    everything = [
        (module, *place)
        for module in args.modules
        for place in places(ast.parse(file_of(module, folder).read_text("utf-8")))
    ]
    if not args.quick and noticed(folder, EVERYTHING, 1800):
        sys.exit(
            f"The tests fail in {folder}, where nothing is changed: they would notice anything."
        )
    chosen = random.Random(args.seed).sample(
        everything, min(args.mutants, len(everything))
    )
    limits = {}  # seconds: if the tests of a mutant take far longer than usual, they hang
    for module in sorted({module for module, *_ in chosen}):
        start = time.perf_counter()
        if noticed(folder, tests_of(module), 1800):
            sys.exit(f"The tests of {module} fail where nothing is changed.")
        limits[module] = round(60 + 4 * (time.perf_counter() - start))
    with ThreadPoolExecutor(args.jobs) as pool:
        tries = pool.map(
            lambda place: try_one(place, limits, folders, args.quick), chosen
        )
        results = list(tqdm(tries, total=len(chosen), unit=" mutants"))
    (args.out / "mutants.json").write_text(json.dumps(results, indent=1) + "\n")
    found = sum(result["found"] or result["by_all"] for result in results)
    print(
        f"{found} of {len(results)} noticed ({len(everything)} are possible). Not noticed:"
    )
    for result in results:
        if not (result["found"] or result["by_all"]):
            file = file_of(result["module"], Path())
            print(f"{file}:{result['line']}: {result['what']}")


if __name__ == "__main__":
    main()
