"""Options that several benchmarks have: how many runs, how many at a time, and where."""

import argparse
import os
from pathlib import Path

from report import ROOT

from minidqn.lab.arguments import at_least


def add_seeds(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        "--seeds", type=at_least(1), default=default, help="seeds 0 to N - 1"
    )


def add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jobs", type=at_least(1), default=os.cpu_count(), help="runs at a time"
    )


def add_work(parser: argparse.ArgumentParser, name: str) -> None:
    """The option --work; work_of says which folder it is."""
    parser.add_argument(
        "--work", type=Path, help=f"the folder of its runs, by default runs/{name}"
    )


def work_of(args: argparse.Namespace, name: str) -> Path:
    """The folder of the runs: that of --work, or one in runs/."""
    folder: Path = args.work or ROOT / "runs" / name
    return folder
