"""Where a benchmark writes its results, and the versions that they depend on."""

import argparse
import os
import platform
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
    """The versions and the number of cores, in a sentence."""
    packages = ("NumPy", "Numba", "Gymnasium")
    versions = [f"{name} {version(name.lower())}" for name in packages]
    parts = [f"Python {platform.python_version()}", *versions]
    return f"{', '.join(parts)}, {os.cpu_count()} cores."


def report(text: str, path: Path) -> None:
    print(text)
    path.write_text(f"{text}\n\n{machine()}\n", encoding="utf-8")
