"""How well the page learns: examples/one_page.py, over many seeds.

Each seed runs in a separate process, as a reader would start it. The last policy is tested, greedy,
in 100 episodes that it was never trained on. For comparison, examples/cartpole.py is timed in the
same session: whole processes, imports included, with its machine code in the cache. (The page
compiles each time.)

    python benchmarks/page.py --seeds 20
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
from report import ROOT, add_out, report
from tqdm import tqdm

EXAMPLES = ROOT / "examples"


def run(script: str, *arguments: str) -> tuple[float, str]:
    """The seconds of a process, and its output."""
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    start = time.perf_counter()
    printed = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    ).stdout
    return time.perf_counter() - start, printed


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the page from many seeds.")
    parser.add_argument("--seeds", type=int, default=20, help="seeds 0 to N - 1")
    add_out(parser)
    args = parser.parse_args()

    lines = ["| seed | mean | minimum | seconds |", "| --- | --- | --- | --- |"]
    means = []
    page_seconds = []
    example_seconds = []
    with tempfile.TemporaryDirectory() as folder:
        example = ["cartpole.py", "--no-animation", "--out"]
        run(
            *example, f"{folder}/first"
        )  # from here on its machine code is in the cache
        for seed in tqdm(range(args.seeds)):
            seconds, printed = run("one_page.py", "--seed", str(seed))
            found = re.search(r"mean return (\S+) minimum (\S+)$", printed.strip())
            assert found is not None, printed
            mean, minimum = map(float, found.groups())
            lines.append(f"| {seed} | {mean:.2f} | {minimum:.0f} | {seconds:.1f} |")
            means.append(mean)
            page_seconds.append(seconds)
            if seed % 4 == 0:
                example_seconds.append(
                    run(*example, f"{folder}/{seed}", "--seed", str(seed))[0]
                )

    ratio = np.median(page_seconds) / np.median(example_seconds)
    text = (
        f"The page, {len(means)} seeds: mean {np.mean(means):.2f}, worst seed "
        f"{min(means):.2f}, at 475 or more {sum(m >= 475 for m in means)}, at 500 "
        f"{sum(m == 500 for m in means)}. A process takes {np.median(page_seconds):.1f} s "
        f"(at most {max(page_seconds):.1f}) where examples/cartpole.py takes "
        f"{np.median(example_seconds):.1f}: {ratio:.1f} times as long."
    )
    report("\n".join([text, "", *lines]), args.out / "one_page.md")


if __name__ == "__main__":
    main()
