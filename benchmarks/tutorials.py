"""The tables and the picture of five tutorials, with the commit that they were made on.

It makes the same runs as examples/five_tutorials.py, which explains them.

    python benchmarks/tutorials.py --seeds 20

It can be stopped, and the same command continues it.
"""

import argparse
import sys
from importlib import import_module
from typing import Any

from options import add_jobs, add_seeds, add_work, work_of
from report import add_out, report

tutorials: Any = import_module("minidqn.examples.five_tutorials")


def main() -> None:
    parser = argparse.ArgumentParser(description="Run five tutorials from many seeds.")
    add_seeds(parser, 20)
    add_jobs(parser)
    add_work(parser, "tutorials")
    add_out(parser)
    args = parser.parse_args()
    names = list(tutorials.TUTORIALS)
    results = tutorials.run_all(
        names, args.seeds, args.jobs, work_of(args, "tutorials")
    )
    report(tutorials.tables(results).strip(), args.out / "five_tutorials.md")
    tutorials.draw(results, args.out / "five_tutorials.png")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on.")
