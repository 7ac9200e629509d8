"""The tables and the picture of five tutorials, with the commit that they were made on.

It makes the same runs as examples/five_tutorials.py, which explains them.

    python benchmarks/tutorials.py --seeds 20

It can be stopped, and the same command continues it.
"""

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from report import ROOT, add_out, report

from minidqn.lab.arguments import at_least

tutorials: Any = import_module("minidqn.examples.five_tutorials")


def main() -> None:
    parser = argparse.ArgumentParser(description="Run five tutorials from many seeds.")
    parser.add_argument(
        "--seeds", type=at_least(1), default=20, help="seeds 0 to N - 1"
    )
    parser.add_argument(
        "--jobs", type=at_least(1), default=os.cpu_count(), help="runs at a time"
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "runs" / "tutorials", help="of its runs"
    )
    add_out(parser)
    args = parser.parse_args()
    names = list(tutorials.TUTORIALS)
    results = tutorials.run_all(names, args.seeds, args.jobs, args.work)
    report(tutorials.tables(results).strip(), args.out / "five_tutorials.md")
    tutorials.draw(results, args.out / "five_tutorials.png")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on.")
