"""How well, how fast and how smoothly the page examples/watch_it_learn.html learns.

Each seed learns in the page as a visitor would see it, in Chromium, one after the other. The
last policy plays 20 new episodes, greedy. Meanwhile the page notes how long each frame takes.
The yardstick of the time is examples/one_page.py, which learns the same in Python beside it.

    pip install -e ".[examples,test]"
    python benchmarks/watch_it_learn.py --seeds 10
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from options import add_seeds
from playwright.sync_api import sync_playwright
from report import ROOT, add_out, machine

EXAMPLES = ROOT / "examples"
PLACES = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
LONGEST = 25.0  # milliseconds of a smooth frame

# the time of each frame, in milliseconds, while the page learns
NOTE_FRAMES = """() => {
    window.frames_noted = [];
    let last = null;
    const note = now => {
        if (last !== null && running) frames_noted.push(now - last);
        last = now;
        requestAnimationFrame(note);
    };
    requestAnimationFrame(note);
}"""


def learn(browser: Any, seed: int) -> tuple[list[int], float, list[float]]:
    """The returns of the test of a seed, the seconds it took, and its frames."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto((EXAMPLES / "watch_it_learn.html").as_uri())
    page.fill("#set_seed", str(seed))
    page.keyboard.press("Tab")
    page.evaluate(NOTE_FRAMES)
    start = time.perf_counter()
    page.click("#run")
    page.wait_for_function("runs[0].report?.ended", timeout=0, polling=500)
    seconds = time.perf_counter() - start
    returns = page.evaluate("runs[0].report.tested")
    frames = page.evaluate("frames_noted")
    page.close()
    return returns, seconds, frames


def python_seconds() -> float:
    """Seconds that examples/one_page.py takes, on one core."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, EXAMPLES / "one_page.py"],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the page that learns.")
    add_seeds(parser, 10)
    add_out(parser)
    args = parser.parse_args()
    rows = []
    means = []
    all_frames: list[float] = []
    ratios = []
    found = [path for path in PLACES if Path(path).exists()]
    with sync_playwright() as playwright:
        options: Any = {"executable_path": found[0] if found else None}
        browser = playwright.chromium.launch(args=["--no-sandbox"], **options)
        name = f"Chromium {browser.version}"
        for seed in range(args.seeds):
            returns, seconds, frames = learn(browser, seed)
            ratios.append(seconds / python_seconds())
            smooth = np.mean(np.array(frames) < LONGEST)
            means.append(np.mean(returns))
            all_frames += frames
            row = (
                f"| {seed} | {means[-1]:.1f} | {min(returns)} | {seconds:.0f} | "
                f"{ratios[-1]:.1f} | {smooth:.1%} |"
            )
            rows.append(row)
            print(row, flush=True)
        browser.close()
    smooth = np.mean(np.array(all_frames) < LONGEST)
    text = "\n".join(
        [
            f"Seeds 0 to {args.seeds - 1} in {name}; 40,000 steps; 20 greedy episodes.",
            "",
            "| seed | mean return | minimum | seconds | times one_page.py | smooth frames |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"475 or more: {sum(mean >= 475 for mean in means)} of {len(means)}. "
            f"Median time: {np.median(ratios):.1f} times that of examples/one_page.py. "
            f"Frames under {LONGEST:.0f} ms: {smooth:.1%} of {len(all_frames)}.",
            "",
            machine(),
            "",
        ]
    )
    (args.out / "watch_it_learn.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
