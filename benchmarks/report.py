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
# a change here changes no figure: results that were just written, and pages
NOT_MEASURED = ("benchmarks/results", "docs", "*.md")


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
    return f"Commit {commit()}, {surroundings()}."


def surroundings() -> str:
    """All that results depend on, besides the commit."""
    from minidqn.lab.outcome import blas  # the programs of peers do without

    packages = ("NumPy", "Numba", "Gymnasium")
    parts = [f"Python {platform.python_version()}"]
    parts += [f"{name} {version(name.lower())}" for name in packages]
    parts += [f"{library} matrix products" for library in blas()]
    parts += [f"{os.cpu_count()} cores"]
    return ", ".join(parts)


def git(*words: str) -> str:
    """What a command of git prints; empty if it fails."""
    command = ["git", "-C", str(ROOT), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def commit() -> str:
    """The commit that is measured, and whether the code was changed since."""
    name = git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{name} with changes" if changes() else name


def changes() -> list[str]:
    """The tracked files with changes that are not committed, but for NOT_MEASURED."""
    others = [f":(exclude){pattern}" for pattern in NOT_MEASURED]
    found = git("diff", "--name-only", "HEAD", "--", ".", *others)
    return found.splitlines()


def report(text: str, path: Path) -> None:
    print(text)
    path.write_text(f"{text}\n\n{machine()}\n", encoding="utf-8")
