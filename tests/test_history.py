"""Rows of a run: that each number stands in its own column, for the right updates."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidqn import DQN, History, LinearDecay, Metrics, train
from minidqn.lab.history import Episode

from .test_training import agent_for, chain


class Counting(DQN):
    """Its updates change nothing; their metrics tell the update's number."""

    def learn(self) -> Metrics:
        self.updates += 1
        return Metrics(
            loss=self.updates, q=100.0 + self.updates, grad_norm=1000.0 + self.updates
        )


def counted_run(steps: int = 60, **numbers: Any) -> tuple[DQN, History]:
    env = chain()
    config = agent_for(env, **numbers).config
    agent = Counting(env.observation_space, env.action_space, config)
    return agent, train(agent, env, steps, progress=False)


def test_a_row_averages_the_updates_of_its_own_episode() -> None:
    _, history = counted_run()
    ends = (
        history["step"] - 7
    )  # updates made by the end of each episode: they began at step 8
    starts = ends - history["length"]
    after = starts >= 0
    mean = (starts + ends + 1)[after] / 2
    np.testing.assert_allclose(history["loss"][after], mean)
    np.testing.assert_allclose(history["q"][after], 100.0 + mean)
    np.testing.assert_allclose(history["grad_norm"][after], 1000.0 + mean)
    assert after.sum() > 5
    assert np.isnan(history["loss"][0])


def test_a_row_has_the_epsilon_of_its_last_step() -> None:
    decay = LinearDecay(1.0, 0.0, 100)
    _, history = counted_run(epsilon=decay)
    np.testing.assert_allclose(
        history["epsilon"], [decay(int(step)) for step in history["step"]]
    )
    assert len(set(history["epsilon"])) == len(history) > 5


def test_the_csv_has_every_column_under_its_name(tmp_path: Path) -> None:
    _, history = counted_run(epsilon=LinearDecay(1.0, 0.0, 100))
    history.write_csv(tmp_path / "history.csv")
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(Episode._fields)
    assert len(rows) == len(history)
    for name in Episode._fields:
        np.testing.assert_array_equal([float(row[name]) for row in rows], history[name])
    assert all(row["step"].isdigit() and row["length"].isdigit() for row in rows)
    with pytest.raises(KeyError, match="'retrns': expected one of"):
        history["retrns"]


def test_the_mean_return_is_of_the_last_episodes() -> None:
    history = History()
    assert np.isnan(history.mean_return())
    for number, episode_return in enumerate([1.0, 2.0, 6.0]):
        assert len(list(history.add_ended(number, 0.5, [(episode_return, 1)]))) == 1
    assert (history.mean_return(1), history.mean_return(2), history.mean_return()) == (
        6,
        4,
        3,
    )


def test_rows_of_one_step_come_one_by_one() -> None:
    history = History()
    history.add_update(Metrics(1.0, 2.0, 3.0))
    history.add_update(Metrics(2.0, 3.0, 4.0))
    seen = [
        (len(history), history["episode_return"][-1], history["length"][-1])
        for _ in history.add_ended(7, 0.125, [(2.0, 1), (0.75, 2)])
    ]
    assert seen == [(1, 2.0, 1.0), (2, 0.75, 2.0)]
    means = [0.125, 1.5, 2.5, 3.5]
    assert history.rows.tolist() == [[7.0, 2.0, 1.0, *means], [7.0, 0.75, 2.0, *means]]
    assert history.updates.shape == (0, 3)


def test_a_history_made_from_the_parts_of_another_is_the_same() -> None:
    _, history = counted_run(62)
    twin = History(history.rows, history.updates, history.unfinished)
    np.testing.assert_array_equal(twin.rows, history.rows)
    np.testing.assert_array_equal(twin.updates, history.updates)
    assert len(history.updates) > 0
    assert twin.unfinished == history.unfinished != []
