"""What the benchmarks over many seeds share: runs that survive being stopped, and statistics.

A run's result is a file of its own, written when the run has ended. So a benchmark that is
stopped goes on with the runs that have none, as long as the code is the same.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from minidqn.nn.layers import Array

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def same_code(work: Path, script: str) -> None:
    """Exit unless the results in `work` were made by the same code and packages.

    Call it before the runs and after them: a run reads the code as it is when it starts.
    """
    files = sorted([*(ROOT / "minidqn").rglob("*.py"), *(ROOT / "examples").glob("*.py")])
    sources = [file.read_bytes() for file in [*files, Path(script)]]
    packages = [f"{name} {version(name)}".encode() for name in ("numpy", "numba", "gymnasium")]
    digest = hashlib.sha256(b"".join(sources + packages)).hexdigest()
    work.mkdir(parents=True, exist_ok=True)
    mark = work / "digest.txt"
    if not mark.exists() and not any(work.iterdir()):
        mark.write_text(digest)
    if not mark.exists() or mark.read_text() != digest:
        sys.exit(f"{work} is of other code: remove it, or give another --work")


def run_all(run: Callable[[Any], object], jobs: Iterable[Any], at_a_time: int) -> None:
    """Call `run` for every job, several at a time, in threads: what takes long is a process."""
    jobs = list(jobs)
    pool = ThreadPoolExecutor(at_a_time)
    try:
        for _ in tqdm(pool.map(run, jobs), total=len(jobs), unit=" runs"):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def one_thread() -> dict[str, str]:
    """An environment for processes that run side by side."""
    return os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def iqm(x: ArrayLike) -> Array:
    """Interquartile mean over the last axis: of the middle half, (..., N) to (...).

    Sturdier than the mean, and it uses more of the data than the median (Agarwal et al.
    2021, "Deep reinforcement learning at the edge of the statistical precipice").
    """
    x = np.sort(np.asarray(x, float), axis=-1)
    n = x.shape[-1]
    # each value stands for 1 / n of the whole: those at the quartiles count in part
    weights = np.clip(np.minimum(np.arange(1, n + 1), 0.75 * n), 0.25 * n, None)
    weights -= np.clip(np.arange(n), 0.25 * n, 0.75 * n)
    means: Array = x @ weights / weights.sum()
    return means


def interval(x: ArrayLike, resamples: int = 2000) -> tuple[Array, Array]:
    """95 % bootstrap interval of the IQM over the last axis, the seeds: resampled as wholes."""
    x = np.asarray(x, float)
    rng = np.random.default_rng(0)
    draws = rng.integers(x.shape[-1], size=(resamples, x.shape[-1]))
    low, high = np.quantile(iqm(x[..., draws]), [0.025, 0.975], axis=-1)
    return low, high
