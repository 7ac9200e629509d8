"""The decorator for compiled loops, and what importing the package costs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minidqn

PACKAGE, ROOT = Path(minidqn.__file__).parent, Path(__file__).parent.parent


def python(code: str, cwd: Path | None = None, **environment: str) -> str:
    numba = ("NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT")
    clean = {name: value for name, value in os.environ.items() if name not in numba}
    finished = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,  # it comes first among the places that modules are looked for in
        env=clean | environment,
    )
    return finished.stdout


def test_importing_does_not_load_pyplot() -> None:
    loaded = python("import sys, minidqn; print(*sys.modules)").split()
    assert "minidqn" in loaded
    assert not {"matplotlib.pyplot", "PIL.Image"} & set(loaded)


def test_the_agent_runs_uncompiled_and_learns_the_same() -> None:
    code = """
from minidqn.targets import mean_max
from tests.test_agent import live, small_agent
agent = small_agent(n_step=3, double=True)
live(agent, 40)
print(hasattr(mean_max, "py_func"), *[agent.learn().loss for _ in range(5)])
"""
    compiled, *losses = python(code, ROOT).split()
    plain, *plain_losses = python(code, ROOT, NUMBA_DISABLE_JIT="1").split()
    assert (compiled, plain) == ("True", "False")
    assert [*map(float, losses)] == pytest.approx([*map(float, plain_losses)], rel=1e-4)


def test_machine_code_is_kept_for_the_next_run(tmp_path: Path) -> None:
    code = "import numpy, minidqn.targets as t; t.mean_max(numpy.eye(3)); print(t.mean_max.stats)"
    first, second = (python(code, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert "cache_hits=Counter()" in first
    assert "cache_misses=Counter()" in second


def test_kernels_compile_where_no_cache_can_be_written(tmp_path: Path) -> None:
    copy = tmp_path / "minidqn"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "__pycache__").touch()  # a file where the cache's folder would have to be
    nowhere = {"HOME": os.devnull, "XDG_CACHE_HOME": os.devnull, "LOCALAPPDATA": os.devnull}
    code = """
import numba, numpy, minidqn.targets
print(minidqn.targets.mean_max(numpy.eye(3)), minidqn.__file__)
def function(): pass
function.__code__ = minidqn.targets.mean_max.py_func.__code__
try:
    numba.njit(cache=True)(function)
except RuntimeError as error:
    print(error)
"""
    output = python(code, tmp_path, **nowhere).splitlines()
    assert output[0] == f"1.0 {copy / '__init__.py'}"
    assert "cannot cache function" in output[1]  # so there was something to fall back from
