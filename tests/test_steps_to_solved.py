"""benchmarks/steps_to_solved.py: how a run ends, and the cells of its table."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import steps_to_solved
from steps_to_solved import cells, run_sb3, solve

from minidqn import Spec

from .test_run import CONFIG, Corridor

SPEC = Spec("Corridor-v0", CONFIG, 300, make_env=Corridor, solved_at=-100.0)


def test_the_cells_of_a_table() -> None:
    assert cells([500, 1500, 0]) == ["1,000 (500 to 1,500)", "2 of 3"]
    assert cells([0, 0]) == ["", "0 of 2"]


def test_a_run_ends_with_the_first_good_test(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(steps_to_solved.EVERY, "Corridor-v0", 70)
    assert solve(SPEC, tmp_path) == {"solved_after": 70}
    never = replace(SPEC, solved_at=100.0)
    assert solve(never, tmp_path) == {"solved_after": 0}


def test_sb3_is_run_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Here a program of ours in its place, which prints how often it was run."""
    monkeypatch.setitem(steps_to_solved.EVERY, "Corridor-v0", 70)
    program = tmp_path / "program.py"
    program.write_text(
        "import pathlib, sys\n"
        "assert '--every=70' in sys.argv and '--seed=0' in sys.argv\n"
        "assert len(sys.argv) == 26\n"
        "file = pathlib.Path(__file__).with_name('runs')\n"
        "runs = file.read_text() + '1' if file.exists() else '1'\n"
        "file.write_text(runs)\n"
        "print(len(runs))\n"
    )
    monkeypatch.setattr(steps_to_solved, "SCRIPT", program)
    assert run_sb3(sys.executable, tmp_path, SPEC) == 1
    assert run_sb3(sys.executable, tmp_path, SPEC) == 1
