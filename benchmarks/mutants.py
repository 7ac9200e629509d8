"""Do the tests notice a bug? It changes one place of minidqn at a time, and runs the tests.

A *mutant* is the package with one small, realistic bug: < instead of <=, + instead of -, a
number that is one off, a condition the other way round, a missing statement, two swapped
arguments. Each is tested in a copy of the project: first by the tests that should notice it, and
if they do not, by all. The mutants that no test noticed are listed. It can be stopped, and the same
command goes on, if the code is the same.

    python benchmarks/mutants.py --mutants 300
    python benchmarks/mutants.py --modules page agent targets --quick

The module "page" is examples/one_page.py.
"""

import argparse
import ast
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

from mutations import mutated, places
from report import ROOT, add_out, out_folder, report
from tests_for import TESTS, file_of, tests_of
from tqdm import tqdm

Place = tuple[str, int, str]  # module, node, and a word for the change
# without test_architecture, because a mutant has no comments, and lines of any length
EVERYTHING = ["tests", "--ignore=tests/test_architecture.py"]
COMPILER = "nn/jit"  # the module with the compiler's options


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


def try_one(
    place: Place,
    limits: dict[str, int],
    folders: "Queue[Path]",
    quick: bool,
) -> dict[str, Any]:
    module, number, word = place
    folder = folders.get()
    original = file_of(module, folder).read_text(encoding="utf-8")
    try:
        tree, line, shown = mutated(ast.parse(original), number, word)
        write_module(module, folder, ast.unparse(tree))
        found = noticed(folder, tests_of(module), limits[module])
        by_all = not found and not quick and noticed(folder, EVERYTHING, 1800)
    finally:
        write_module(module, folder, original)
        folders.put(folder)
    return {
        "module": module,
        "node": number,
        "word": word,
        "line": line,
        "what": shown,
        "found": found,
        "by_all": by_all,
    }


def write_module(module: str, folder: Path, text: str) -> None:
    """Write a module's file. With other options of the compiler, all is compiled again.

    Numba does not notice by itself that the options have changed.
    """
    file_of(module, folder).write_text(text, encoding="utf-8")
    if module == COMPILER:
        for cache in folder.rglob("__pycache__"):
            shutil.rmtree(cache)


def copies(work: Path, count: int) -> "Queue[Path]":
    """Copies of the project, one for each process that runs tests."""
    folders: Queue[Path] = Queue()
    not_these = shutil.ignore_patterns(
        ".*", "__pycache__", "*.egg-info", "build", "runs"
    )
    for job in range(count):
        folder = work / f"copy{job}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(ROOT, folder, ignore=not_these)
        folders.put(folder)
    return folders


def digest_of_code() -> str:
    """It changes with the code and the tests, so results of other code are not kept."""
    found = hashlib.sha256()
    for folder in ("minidqn", "examples", "tests", "benchmarks"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            found.update(file.read_bytes())
    return found.hexdigest()[:12]


def limits_of(modules: set[str], folder: Path) -> dict[str, int]:
    """Seconds: if the tests of a mutant take far longer than usual, they hang."""
    limits = {}
    for module in sorted(modules):
        start = time.perf_counter()
        if noticed(folder, tests_of(module), 1800):
            sys.exit(f"The tests of {module} fail where nothing is changed.")
        limits[module] = round(60 + 4 * (time.perf_counter() - start))
    return limits


def read_tried(file: Path) -> dict[Place, dict[str, Any]]:
    """The results that an earlier call has written, by their places."""
    if not file.exists():
        return {}
    lines = file.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return {(row["module"], row["node"], row["word"]): row for row in rows}


def try_all(
    chosen: list[Place], folders: "Queue[Path]", jobs: int, quick: bool, file: Path
) -> list[dict[str, Any]]:
    """The result of each place. Each is also written to `file` as it comes."""
    tried = read_tried(file)
    left = [place for place in chosen if place not in tried]
    folder = folders.queue[0]
    if left and not quick and noticed(folder, EVERYTHING, 1800):
        sys.exit(
            f"The tests fail in {folder}, where nothing is changed: they would notice anything."
        )
    limits = limits_of({module for module, *_ in left}, folder)
    with ThreadPoolExecutor(jobs) as pool, file.open("a", encoding="utf-8") as lines:
        lines.write("\n")  # the last line may be half a line, if it was stopped there
        tries = pool.map(lambda place: try_one(place, limits, folders, quick), left)
        for place, result in zip(left, tqdm(tries, total=len(left)), strict=True):
            tried[place] = result
            lines.write(json.dumps(result) + "\n")
            lines.flush()
    return [tried[place] for place in chosen]


def summary(results: list[dict[str, Any]], possible: int) -> str:
    """How many were noticed, and a list of the others."""
    others = [row for row in results if not (row["found"] or row["by_all"])]
    by_own = sum(row["found"] for row in results)
    lines = [
        f"{len(results) - len(others)} of {len(results)} small bugs were noticed, "
        f"{by_own} of them by the tests that should notice them. ({possible:,} bugs are "
        "possible.)"
    ]
    if others:
        lines += ["", "Not noticed:", ""]
    for row in others:
        file = file_of(row["module"], Path()).as_posix()
        lines.append(f"- {file}, line {row['line']}: `{row['what']}`")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Put bugs in, one at a time.")
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--modules", nargs="+", choices=TESTS, default=list(TESTS))
    parser.add_argument(
        "--work", type=Path, default=ROOT / "runs" / "mutants", help="its copies"
    )
    parser.add_argument(
        "--quick", action="store_true", help="only the tests that ought to notice"
    )
    add_out(parser)
    args = parser.parse_args()
    everything = [
        (module, *place)
        for module in args.modules
        for place in places(ast.parse(file_of(module, ROOT).read_text("utf-8")))
    ]
    number = min(args.mutants, len(everything))
    chosen = random.Random(args.seed).sample(everything, number)
    kind = "quick" if args.quick else "tried"
    file = args.work / f"{kind}-{digest_of_code()}.jsonl"
    folders = copies(out_folder(args.work), args.jobs)
    results = try_all(chosen, folders, args.jobs, args.quick, file)
    report(summary(results, len(everything)), args.out / "mutants.md")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on.")
