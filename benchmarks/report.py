"""Prints the findings of a benchmark, and writes them to a file in results/."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> str:
    """The versions and the number of cores, in a sentence."""
    packages = ("NumPy", "Numba", "Gymnasium")
    versions = [f"{name} {version(name.lower())}" for name in packages]
    parts = [f"Python {platform.python_version()}", *versions]
    return f"{', '.join(parts)}, {os.cpu_count()} cores."


def report(text: str, path: Path) -> None:
    print(text)
    path.write_text(f"{text}\n\n{machine()}\n", encoding="utf-8")
