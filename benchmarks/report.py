"""Where a benchmark writes its results, and the versions that they depend on."""

import argparse
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "runs" / "benchmarks"  # nothing there is committed
PUBLISHED = ROOT / "benchmarks" / "results"  # the files that README and docs/ cite


def add_out(parser: argparse.ArgumentParser) -> None:
    """The option --out. A try leaves the published files as they are."""
    parser.add_argument(
        "--out",
        type=out_folder,
        default=str(OUT),
        help="the folder of its files, by default runs/benchmarks; those that README "
        "and docs/ cite are in benchmarks/results",
    )


def out_folder(path: str | Path) -> Path:
    """A folder that exists from here on."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def machine() -> str:
    """The commit, the versions, the matrix products and the cores, in a sentence."""
    from minidqn.lab.outcome import blas  # the programs of peers do without

    packages = ("NumPy", "Numba", "Gymnasium")
    versions = [f"{name} {version(name.lower())}" for name in packages]
    parts = [f"Commit {commit()}, Python {platform.python_version()}", *versions]
    parts += [f"{library} matrix products" for library in blas()]
    return f"{', '.join(parts)}, {os.cpu_count()} cores."


def commit() -> str:
    """The commit that is measured, and whether something was changed since."""
    found = []
    for command in (
        ["rev-parse", "--short", "HEAD"],
        ["status", "--porcelain", "-uno"],
    ):
        git = ["git", "-C", str(ROOT), *command]
        done = subprocess.run(git, capture_output=True, text=True, check=False)
        found.append(done.stdout.strip())
    name, changes = found
    return f"{name or 'unknown'}{' with changes' if changes else ''}"


def report(text: str, path: Path) -> None:
    print(text)
    path.write_text(f"{text}\n\n{machine()}\n", encoding="utf-8")
