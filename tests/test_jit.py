"""The decorators for compiled loops, their rules, and what an import costs."""

import ast
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
from minidqn.targets import huber_loss
from tests.test_agent import live, small_agent
agent = small_agent(n_step=3, double=True)
live(agent, 40)
print(hasattr(huber_loss, "py_func"), *[agent.learn().loss for _ in range(5)])
"""
    compiled, *losses = python(code, ROOT).split()
    plain, *plain_losses = python(code, ROOT, NUMBA_DISABLE_JIT="1").split()
    assert (compiled, plain) == ("True", "False")
    assert [*map(float, losses)] == pytest.approx([*map(float, plain_losses)], rel=1e-4)


def test_machine_code_is_kept_for_the_next_run(tmp_path: Path) -> None:
    code = """
import numpy, minidqn.nn.network as n
n.move(numpy.zeros(3), numpy.ones(3), 0.5)
print(n.move.stats)
"""
    first, second = (python(code, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert "cache_hits=Counter()" in first
    assert "cache_misses=Counter()" in second


def test_kernels_compile_where_no_cache_can_be_written(tmp_path: Path) -> None:
    copy = tmp_path / "minidqn"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "__pycache__").touch()  # a file where the cache's folder would have to be
    nowhere = {
        "HOME": os.devnull,
        "XDG_CACHE_HOME": os.devnull,
        "LOCALAPPDATA": os.devnull,
    }
    code = """
import numba, numpy, minidqn.targets
x, y = numpy.ones(3), numpy.empty(3)
minidqn.targets.td_targets(x, x, numpy.eye(3), numpy.arange(3), y)
print(y, minidqn.__file__)
def function(): pass
function.__code__ = minidqn.targets.td_targets.py_func.__code__
try:
    numba.njit(cache=True)(function)
except RuntimeError as error:
    print(error)
"""
    output = python(code, tmp_path, **nowhere).splitlines()
    assert output[0] == f"[2. 2. 2.] {copy / '__init__.py'}"
    assert (
        "cannot cache function" in output[1]
    )  # so there was something to fall back from


# The rules of nn/jit.py, read from the code itself ------------------------------------


def names_in(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def names_set_in(nodes: list[ast.stmt]) -> set[str]:
    names = (n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name))
    return {n.id for n in names if isinstance(n.ctx, ast.Store)}


def imported_from_minidqn(tree: ast.Module) -> set[str]:
    """The names that come from another file of ours, also by `name = imported + 1`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            ours = node.level > 0 or (node.module or "").split(".")[0] == "minidqn"
            found |= {a.asname or a.name for a in node.names if ours}
        elif isinstance(node, ast.Import):
            ours_too = [a for a in node.names if a.name.split(".")[0] == "minidqn"]
            found |= {a.asname or a.name.split(".")[0] for a in ours_too}
    for statement in tree.body:
        is_assignment = isinstance(
            statement, ast.Assign | ast.AnnAssign | ast.AugAssign
        )
        if is_assignment and names_in(statement) & found:
            found |= names_set_in([statement])
    return found


def kernels(tree: ast.Module) -> list[ast.FunctionDef]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [
        f
        for f in functions
        if {"kernel", "kernel_of_sums"} & {ast.unparse(d) for d in f.decorator_list}
    ]


def breaches(source: str) -> list[str]:
    """What a file's kernels take from our other files: Numba would not see it change.

    Annotations are not compiled; the names of a kernel's own variables are its own.
    """
    tree = ast.parse(source)
    imported = imported_from_minidqn(tree)
    found = []
    for function in kernels(tree):
        arguments = function.args
        own = {a.arg for a in ast.walk(arguments) if isinstance(a, ast.arg)}
        own |= names_set_in(function.body)
        read = set()
        for node in function.body:
            read |= names_in(node)
        defaults = [*arguments.defaults, *arguments.kw_defaults]
        of_defaults = {n for d in defaults if d is not None for n in names_in(d)}
        taken = (read - own) & imported | of_defaults & imported
        found += [f"{function.name} uses {name}" for name in sorted(taken)]
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_kernel_uses_what_another_file_of_ours_defines(path: Path) -> None:
    assert breaches(path.read_text(encoding="utf-8")) == []


def test_the_reading_of_kernels_finds_them_all() -> None:
    texts = [path.read_text(encoding="utf-8") for path in FILES]
    names = [f.name for text in texts for f in kernels(ast.parse(text))]
    assert {"add_bias", "normalize_rows", "adam_step", "huber_loss"} <= set(names)
    lines = [line for text in texts for line in text.splitlines()]
    assert len(names) == sum(line.startswith("@kernel") for line in lines)
    assert len(names) > 25


EVENTS = "numba.core.event"  # who listens when Numba compiles makes no kernel


def test_only_one_file_knows_numba() -> None:
    """Else there could be kernels that the decorators' names do not tell."""
    found = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            else:
                continue
            modules = [name for name in modules if name != EVENTS]
            if any(module.split(".")[0] == "numba" for module in modules):
                found.add(path.relative_to(PACKAGE).as_posix())
    assert found == {"nn/jit.py"}


HEAD = """
import math
import numpy as np
import minidqn.batch
from minidqn import checks
from minidqn.batch import BRIDGE as GAP, copy_rows
from minidqn.nn.jit import kernel, kernel_of_sums
from minidqn.nn.layers import Array
LIMIT = 3
TWICE: int = 2 * GAP
@kernel
def helper(x: Array) -> None: x[0] = LIMIT
"""


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("@kernel\ndef f(x, y): copy_rows(x, x, y)", ["f uses copy_rows"]),
        ("@kernel_of_sums\ndef f(x): return x + GAP", ["f uses GAP"]),
        ("@kernel\ndef f(x): x[0] = TWICE", ["f uses TWICE"]),
        ("@kernel\ndef f(x): x[0] = checks.LARGEST", ["f uses checks"]),
        ("@kernel\ndef f(x): x[0] = minidqn.batch.STEP", ["f uses minidqn"]),
        ("@kernel\ndef f(x, kind=GAP): x[0] = kind", ["f uses GAP"]),
        ("@kernel\ndef f(x, GAP=GAP): x[0] = GAP", ["f uses GAP"]),
        (
            "@kernel\ndef f(x):\n  for i in range(3):\n    if GAP: copy_rows(x)",
            ["f uses GAP", "f uses copy_rows"],
        ),
        # allowed: numpy, math, the file's own, arguments, variables, annotations
        ("@kernel\ndef f(x: Array) -> Array: x[0] = np.sqrt(math.pi)", []),
        ("@kernel\ndef f(x):\n  helper(x)\n  x[1] = LIMIT", []),
        ("@kernel\ndef f(x, GAP): x[0] = GAP", []),
        ("@kernel\ndef f(x):\n  checks = 1\n  x[0] = checks", []),
        ("def f(x, y): copy_rows(x, x, y); return GAP", []),  # no kernel
    ],
)
def test_a_breach_of_the_rule_is_found(function: str, expected: list[str]) -> None:
    assert breaches(HEAD + function) == expected
