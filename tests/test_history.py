"""Rows of a run: that each number stands in its own column, for the right updates."""

import csv
import math
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidqn import DQN, History, LinearDecay, Metrics, train
from minidqn.lab.history import Episode, read_csv
from minidqn.lab.watchers import until_solved

from .conftest import add_episode
from .test_agent import small_agent
from .test_training import agent_for, chain


def test_a_row_for_each_episode_that_ended_in_a_step() -> None:
    """Three environments; in the second step the episodes of two of them end."""
    history = History()
    history.begin_all(0, 3)
    history.add_step([0, 1, 1], [1.0, 0.5, 0.0], [False] * 3, 3)
    assert history.just_ended == 0
    history.add_update(Metrics(loss=1.0, q=2.0, grad_norm=3.0))
    history.add_update(Metrics(loss=2.0, q=3.0, grad_norm=4.0))
    history.add_step([1, 1, 0], [1.0, 0.25, 0.0], [False] * 3, 3)
    history.end_step(6, 0.125, [True, True, False])

    assert history.just_ended == 2
    assert history.episodes() == [
        Episode(6, 2.0, 2, 0.125, 1.5, 2.5, 3.5),
        Episode(6, 0.75, 2, 0.125, 1.5, 2.5, 3.5),
    ]
    assert history.updates.tolist() == [0.0] * 4

    # the next step is a reset in those two: episodes number 3 and 4 begin
    history.add_step([0, 0, 1], [0.0, 0.0, 4.0], [True, True, False], 3)
    assert history.just_ended == 0
    assert len(history) == 2
    assert [episode.number for episode in history.unfinished] == [3, 4, 2]
    actions = [episode.actions.tolist() for episode in history.unfinished]
    assert actions == [[], [], [1, 0, 1]]
    assert history.unfinished[2].episode_return == 4.0


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
    # updates made by the end of each episode: they began at step 8
    ends = history["step"] - 7
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


def test_a_history_made_from_the_parts_of_another_is_the_same() -> None:
    _, history = counted_run(62)
    twin = History(history.rows, history.updates, history.unfinished)
    np.testing.assert_array_equal(twin.rows, history.rows)
    np.testing.assert_array_equal(twin.updates, history.updates)
    assert history.updates[0] > 0
    assert twin.unfinished == history.unfinished != []


def test_updates_take_no_memory_until_an_episode_ends() -> None:
    """Of an endless episode the checkpoints would grow. The means are what they were."""
    history = History()
    chance = np.random.default_rng(0)
    numbers = chance.normal(size=(1000, 3)) * chance.uniform(0.0, 1e6, (1000, 3))
    for row in numbers.tolist():
        history.add_update(Metrics(*row))
    assert history.updates.nbytes == 4 * 8
    assert history.updates[0] == 1000.0
    history.add_episode(1000, 0.5, episode_return=0.0, length=1000)
    means = []
    for column in numbers.T.tolist():
        total = 0.0  # sum(column) is another number from Python 3.12 on
        for number in column:
            total += number
        means.append(total / 1000)
    assert history.rows[0, 4:].tolist() == means


def test_a_loop_of_ones_own_adds_its_rows() -> None:
    history = History()
    history.add_update(Metrics(loss=0.5, q=1.0, grad_norm=2.0))
    history.add_episode(10, 0.25, episode_return=7.0, length=10)
    history.add_episode(14, 0.25, episode_return=3.0, length=4)
    assert history.just_ended == 1
    assert history.episodes(0)[0] == (10, 7.0, 10, 0.25, 0.5, 1.0, 2.0)
    second = history.episodes(1)[0]
    assert second[:4] == (14, 3.0, 4, 0.25)
    assert np.isnan(second[4:]).all()  # no update between them


# --- Reading it


def test_the_mean_return_is_of_the_last_episodes() -> None:
    history = History()
    assert np.isnan(history.mean_return())
    for episode_return in (1.0, 2.0, 6.0):
        add_episode(history, episode_return)
    assert history.mean_return(1) == 6.0
    assert history.mean_return(2) == 4.0
    assert history.mean_return() == 3.0
    with pytest.raises(ValueError, match="last is 0: expected 1 or more episodes"):
        history.mean_return(0)


class Counted(array):  # type: ignore[type-arg]  # of floats
    """Counts the numbers that are copied out of it."""

    copied = 0

    def __getitem__(self, which: Any) -> Any:
        found = super().__getitem__(which)
        self.copied += len(found) if isinstance(which, slice) else 1
        return found


def test_what_is_asked_of_the_last_episodes_copies_no_others() -> None:
    """Else a run that asks after every episode takes quadratic time."""
    history = History(np.zeros((10_000, len(Episode._fields))))
    rows = history._rows = Counted("d", history._rows)
    assert history.mean_return(20) == 0.0
    assert rows.copied == 20
    assert len(history.episodes(9_990)) == 10
    assert rows.copied == 20 + 10 * len(Episode._fields)

    watch = until_solved(1.0)
    agent = small_agent()
    rows.copied = 0
    for _ in range(100):
        add_episode(history, 0.0)
        assert not watch(agent, history)
    assert rows.copied == 100 * 20
    assert len(history) == 10_100


def test_the_rows_from_a_number_on() -> None:
    history = History()
    for episode_return in (1.0, 2.0, 6.0):
        add_episode(history, episode_return)

    def returns(start: int) -> list[float]:
        return [row.episode_return for row in history.episodes(start)]

    assert returns(0) == [1.0, 2.0, 6.0]
    assert returns(2) == [6.0]
    assert returns(3) == returns(9) == []
    assert returns(-2) == [2.0, 6.0]
    assert returns(-9) == [1.0, 2.0, 6.0]
    row = history.episodes()[0]
    assert type(row.step) is type(row.length) is int
    assert type(row.episode_return) is float


def test_a_column_that_there_is_not_is_named() -> None:
    with pytest.raises(KeyError, match="'retrns': expected one of"):
        History()["retrns"]


def test_it_says_what_is_in_it() -> None:
    history = History()
    assert repr(history) == "History(no episode has ended)"
    history.add_episode(10, 0.5, episode_return=7.0, length=10)
    history.add_episode(14, 0.5, episode_return=4.0, length=4)
    assert repr(history) == "History(2 episodes in 14 steps, mean of the last 20: 5.5)"


# --- Its file


def test_the_csv_has_every_column_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    _, history = counted_run(epsilon=LinearDecay(1.0, 0.0, 100))
    history.write_csv(path)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(Episode._fields)
    assert len(rows) == len(history)
    for name in Episode._fields:
        np.testing.assert_array_equal([float(row[name]) for row in rows], history[name])
    assert all(row["step"].isdigit() and row["length"].isdigit() for row in rows)


def test_the_csv_read_again_has_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    _, history = counted_run()
    history.write_csv(path)
    np.testing.assert_array_equal(read_csv(path).rows, history.rows)
    assert math.isnan(read_csv(path)["loss"][0])
    History().write_csv(path)
    assert len(read_csv(path)) == 0


def test_rows_can_be_appended_to_the_csv(tmp_path: Path) -> None:
    _, history = counted_run()
    History(history.rows[:5]).write_csv(tmp_path / "parts.csv")
    history.write_csv(tmp_path / "parts.csv", 5)
    history.write_csv(tmp_path / "whole.csv")
    whole = (tmp_path / "whole.csv").read_text()
    assert (tmp_path / "parts.csv").read_text() == whole


def test_a_history_from_the_parts_of_another() -> None:
    history = History()
    history.add_episode(10, 0.5, 1.0, 10)
    history.add_update(Metrics(1.0, 2.0, 3.0))
    history.tests.add(5, np.array([2.0]), np.array([1]))
    same = History(history.rows, history.updates, history.unfinished, history.tests)
    np.testing.assert_array_equal(same.rows, history.rows)
    np.testing.assert_array_equal(same.updates, history.updates)
    np.testing.assert_array_equal(same.tests.rows, history.tests.rows)
    same.tests.add(6, np.array([2.0]), np.array([1]))
    assert len(history.tests) == 1
