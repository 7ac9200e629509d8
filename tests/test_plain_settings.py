"""benchmarks/plain_settings.py: its runs, and its table of made-up results."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import plain_settings
from environments import TASKS, make, mean_return, seed_of_test
from plain_settings import published_sb3, run_sb3, spec_of
from plain_table import MINIDQN, SB3, Row, read_rows, table, write_rows

from minidqn import DQNConfig, LinearDecay
from minidqn.lab.envs import TEST, episode_seed

ROWS = [
    Row(MINIDQN, "CartPole-v1", 50_000, 0, 500.0),
    Row(MINIDQN, "CartPole-v1", 50_000, 1, 475.0),
    Row(MINIDQN, "CartPole-v1", 50_000, 2, 250.0),
    Row(MINIDQN, "OneStep", 20_000, 0, 0.25),
    Row(SB3, "CartPole-v1", 50_000, 0, 10.0),
]
RANDOM = {"CartPole-v1": 25.0, "OneStep": 0.25}


def test_the_table_has_mean_worst_seed_and_how_many_are_good() -> None:
    lines = table(ROWS, RANDOM).splitlines()
    assert lines[5:7] == [
        "| CartPole-v1 | 50,000 | 25.0 | 475 | 408.3 (250.0) | 2 of 3 "
        "| 10.0 (10.0) | 0 of 1 |",
        "| OneStep | 20,000 | 0.25 | 0.95 | 0.25 (0.25) | 0 of 1 |  |  |",
    ]


def test_the_way_to_good_is_cut_at_both_ends_and_environments_count_the_same() -> None:
    lines = table(ROWS, RANDOM).splitlines()
    # CartPole: (1 + 1 + 0.5) / 3, and OneStep: 0
    assert lines[-2] == (
        "minidqn: 2 of 4 runs are good. They go 42% of the way from random play to the "
        "good return."
    )
    assert lines[-1].startswith("SB3: 0 of 1 runs are good. They go 0% of the way")


def test_without_sb3_its_columns_are_empty() -> None:
    text = table(ROWS[:4], RANDOM)
    assert "2 of 3 |  |  |" in text
    assert "SB3: " not in text


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_rows(ROWS, tmp_path / "rows.csv")
    assert read_rows(tmp_path / "rows.csv") == ROWS


def test_a_run_is_plain_but_for_the_settings_that_are_set() -> None:
    task = TASKS["OneStep"]
    spec = spec_of("OneStep", 2_000, 3, [])
    assert spec.config == DQNConfig()
    assert (spec.steps, spec.seed, spec.solved_at) == (2_000, 3, task.good)
    assert spec.test_episodes == task.test_episodes
    other = spec_of("OneStep", 2_000, 3, [("n_step", "1"), ("epsilon", "1:0.1")])
    decay = LinearDecay(1.0, 0.1, 2_000)
    assert other.config == DQNConfig(n_step=1, epsilon=decay)


@pytest.mark.parametrize("name", ["FrozenLake-v1", "Blackjack-v1", "Taxi-v4"])
def test_numbers_become_vectors(name: str) -> None:
    env = make(name)
    obs, _ = env.reset(seed=0)
    assert obs.ndim == 1
    assert obs.dtype == np.uint8
    assert obs.sum() == (3 if name == "Blackjack-v1" else 1)


def test_both_libraries_are_tested_in_the_same_episodes() -> None:
    assert seed_of_test(3, 14) == episode_seed(3, TEST, 14)


def test_an_episode_without_an_end_is_cut() -> None:
    # up, against the wall: 200 steps of -1
    assert mean_return("CliffWalking-v1", lambda obs: 0, seed=0) == -200.0


def test_a_run_of_sb3_that_has_ended_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text("print(0.5)")
    monkeypatch.setattr(plain_settings, "SCRIPT", script)
    spec = spec_of("OneStep", 20_000, 1, [])
    row = run_sb3(sys.executable, tmp_path, spec)
    assert row == Row(SB3, "OneStep", 20_000, 1, 0.5)
    script.write_text("raise SystemExit('it fails')")
    assert run_sb3(sys.executable, tmp_path, spec) == row
    with pytest.raises(RuntimeError, match="it fails"):
        run_sb3(sys.executable, tmp_path, spec_of("OneStep", 20_000, 2, []))


def test_published_runs_of_sb3_are_read_if_they_have_as_many_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_settings, "PUBLISHED", tmp_path)
    spec = spec_of("CartPole-v1", 50_000, 0, [])
    assert published_sb3([spec]) == []
    write_rows(ROWS, tmp_path / "plain_settings.csv")
    assert published_sb3([spec]) == ROWS[-1:]
    assert published_sb3([spec_of("CartPole-v1", 9_000, 0, [])]) == []
