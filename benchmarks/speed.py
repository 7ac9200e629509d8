"""How fast: whole processes, from the command line to its end, beside Stable-Baselines3.

The rows are run in turn, several rounds of them, so that a machine that is slower
for a while is slower for all; what counts is the ratio of the medians. SB3 lives
in an environment of its own (benchmarks/requirements.txt says how):

    python benchmarks/speed.py --peers .venv-peers/bin/python
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = [str(ROOT / "examples" / "cartpole.py"), "--no-animation"]


def seconds(command: list[str], **environment: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=os.environ | environment)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="Time minidqn's example beside SB3.")
    parser.add_argument("--peers", required=True, help="a Python that has Stable-Baselines3")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()

    import_code = (
        "import time; t = time.perf_counter(); import minidqn; print(time.perf_counter() - t)"
    )
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        example = [sys.executable, *EXAMPLE, "--out", folder]
        seconds(example)  # from here on the machine code is in its cache
        for round_ in tqdm(range(args.rounds)):
            fresh = str(Path(folder) / f"cache{round_}")
            sb3 = [args.peers, str(ROOT / "benchmarks" / "sb3_cartpole.py"), "--seed", str(round_)]
            rows = {
                "SB3, tuned 50,000 steps, training alone": seconds(sb3),
                "examples/cartpole.py": seconds([*example, "--seed", str(round_)]),
                "examples/cartpole.py, first run ever": seconds(example, NUMBA_CACHE_DIR=fresh),
                "python -c 'pass'": seconds([sys.executable, "-c", "pass"]),
                "import minidqn": float(
                    subprocess.check_output([sys.executable, "-c", import_code], text=True)
                ),
            }
            for name, value in rows.items():
                times.setdefault(name, []).append(value)

    base = np.median(times["SB3, tuned 50,000 steps, training alone"])
    lines = [
        f"Whole processes, median of {args.rounds} rounds in turn (least to most).",
        "",
        "| what | seconds | share of SB3's |",
        "| --- | --- | --- |",
    ]
    for name, values in times.items():
        median = np.median(values)
        spread = f"{min(values):.2f} to {max(values):.2f}"
        lines.append(f"| {name} | {median:.2f} ({spread}) | {median / base:.3f} |")
    lines += [
        "",
        f"Python {platform.python_version()}, NumPy {version('numpy')}, Numba {version('numba')}, "
        f"Gymnasium {version('gymnasium')}, {os.cpu_count()} cores.",
    ]
    results = ROOT / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    (results / "speed.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
