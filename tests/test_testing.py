"""Tests during training: their scores are kept, and change no number of the run."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import minidqn.lab.history as history_module
from minidqn import (
    CheckpointError,
    History,
    Spec,
    evaluate,
    load_run,
    plot_learning_curve,
    run,
    save,
    train,
)
from minidqn.lab.run import TEST_SHARE, train_and_test
from minidqn.lab.scores import Scores, read_scores
from minidqn.lab.show import summary
from minidqn.lab.testing import PolicyTest, evaluate_every, evaluate_within
from minidqn.lab.watchers import log_tensorboard

from .conftest import TableEnv
from .test_resume import environments
from .test_run import CONFIG, Corridor
from .test_training import accounted_steps, agent_for, chain


def test_scores_are_kept_with_the_steps_of_the_run() -> None:
    """Tests after 50 and 100 steps, always of the same three episodes."""
    env = chain()
    agent = agent_for(env)
    history = train(
        agent, env, 100, on_step=evaluate_every(50, chain(), 3), progress=False
    )
    tests = history.tests
    assert len(tests) == 2
    assert tests.steps.tolist() == [50, 100]
    again = evaluate(agent, chain(), 3, seed=1_000_000, progress=False)
    np.testing.assert_array_equal(tests.returns[1], again)
    assert tests.means[1] == again.mean()


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("parts", [{}, {"noisy": True, "epsilon_hold": 3}])
def test_a_test_changes_no_number_of_the_run(num_envs: int, parts: Any) -> None:
    results = []
    for watchers in ([], [evaluate_every(20, chain(), 2, epsilon=0.5)]):
        env = environments(num_envs) if num_envs > 1 else chain()
        agent = agent_for(env, num_envs, **parts)
        history = train(agent, env, 120, on_step=watchers, progress=False)
        results.append((agent.online.params.tobytes(), history.rows.tobytes()))
    assert results[0] == results[1]
    assert len(history.tests) == 6


def test_scores_of_no_test() -> None:
    scores = Scores()
    assert (len(scores), scores.steps_spent, scores.last_cost) == (0, 0, 0)
    assert scores.returns == []
    assert scores.about() == {"steps": [], "mean_return": [], "returns": []}


def test_what_tests_took() -> None:
    scores = Scores()
    scores.add(10, np.array([1.0, 3.0]), np.array([4, 6]))
    scores.add(30, np.array([5.0]), np.array([7]))
    assert (scores.steps_spent, scores.last_cost, len(scores)) == (17, 7, 2)
    assert scores.about() == {
        "steps": [10.0, 30.0],
        "mean_return": [2.0, 5.0],
        "returns": [[1.0, 3.0], [5.0]],
    }
    assert len(Scores(scores.rows)) == 2


def test_they_are_part_of_a_checkpoint(tmp_path: Path) -> None:
    env = chain()
    agent = agent_for(env)
    watch = evaluate_every(30, chain(), 2)
    history = train(agent, env, 60, on_step=watch, progress=False)
    file = tmp_path / "it"
    save(agent, file, history)
    _, read = load_run(file)
    np.testing.assert_array_equal(read.tests.rows, history.tests.rows)

    arrays = load_file(file)
    with safe_open(file, framework="numpy") as opened:
        text = opened.metadata()
    first = {name: array for name, array in arrays.items() if name != "tests"}
    save_file(first, file, text)  # the first files have none
    assert len(load_run(file)[1].tests) == 0
    for wrong, says in (
        (np.full((2, 3), np.nan), "has NaN or inf in tests"),
        (np.zeros((2, 2)), r"has tests of shape \(2, 2\)"),
    ):
        save_file(arrays | {"tests": wrong}, file, text)
        with pytest.raises(CheckpointError, match=says):
            load_run(file)


def test_a_file_of_scores(tmp_path: Path) -> None:
    scores = Scores()
    scores.add(10, np.array([1.5, 3.0]), np.array([4, 6]))
    scores.write_csv(tmp_path / "tests.csv")
    lines = (tmp_path / "tests.csv").read_text().splitlines()
    assert lines == ["step,test_return,length", "10,1.5,4", "10,3.0,6"]
    np.testing.assert_array_equal(read_scores(tmp_path / "tests.csv").rows, scores.rows)
    assert len(read_scores(tmp_path / "absent.csv")) == 0


def test_the_curve_has_a_second_line() -> None:
    history = History()
    history.add_episode(10, 0.5, 1.0, 10)
    history.tests.add(5, np.array([1.0, 3.0]), np.array([1, 1]))
    history.tests.add(10, np.array([4.0, 8.0]), np.array([1, 1]))
    figure = plot_learning_curve(history)
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    line = lines[
        "tests, greedy: 2 episodes, the same each time;\nmean, lowest to highest"
    ]
    assert np.asarray(line.get_xydata()).tolist() == [[5.0, 2.0], [10.0, 6.0]]
    (bars,) = figure.axes[0].collections
    ends = [np.asarray(bar.vertices).tolist() for bar in bars.get_paths()]
    assert ends == [[[5.0, 1.0], [5.0, 3.0]], [[10.0, 4.0], [10.0, 8.0]]]


def test_the_second_line_of_tests_with_one_episode() -> None:
    history = History()
    history.add_episode(10, 0.5, 1.0, 10)
    history.tests.add(5, np.array([2.0]), np.array([1]))
    axes = plot_learning_curve(history).axes[0]
    labels = [line.get_label() for line in axes.lines]
    assert "tests, greedy: 1 episode,\nthe same each time" in labels


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_each_test_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorboard = pytest.importorskip("tensorboardX", reason="in the extra `test`")
    found: list[Any] = []

    def add(_: Any, name: str, value: float, step: int) -> None:
        if name == "test_return":
            found.append((step, value))

    monkeypatch.setattr(tensorboard.SummaryWriter, "add_scalar", add)
    env = chain()
    watchers = [evaluate_every(20, chain(), 2), log_tensorboard(tmp_path)]
    history = train(agent_for(env), env, 60, on_step=watchers, progress=False)
    expected = zip(history.tests.steps, history.tests.means, strict=True)
    assert found == list(expected)
    assert len(found) == 3


# --- In a run


def test_tests_keep_to_their_share_of_the_steps() -> None:
    """Each takes 10 steps, so at a tenth of the steps there is one in a hundred."""
    env = chain()
    agent = agent_for(env)
    test = PolicyTest(TableEnv([[0, 0]] * 3, [[1, 1]] * 3, limit=5), episodes=2)
    watch = evaluate_within(0.1, 10, test)
    history = train(agent, env, 500, on_step=watch, progress=False)
    assert history.tests.steps.tolist() == [10, 200, 300, 400, 500]
    assert history.tests.steps_spent <= 0.1 * 500


def test_a_run_has_scores_and_resumes_with_the_same(tmp_path: Path) -> None:
    spec = Spec("Corridor-v0", CONFIG, 600, make_env=Corridor, test_episodes=5)
    result = run(spec, tmp_path / "whole", progress=False)
    tests = result["tests"]
    assert len(tests["steps"]) > 1
    assert [np.mean(each) for each in tests["returns"]] == tests["mean_return"]
    scores = read_scores(tmp_path / "whole" / "tests.csv")
    assert scores.about() == tests
    assert 0 < scores.steps_spent <= TEST_SHARE * 600 + scores.last_cost

    class StoppedError(Exception):
        pass

    def stop(agent: Any, history: Any) -> None:
        if agent.steps == 340:
            raise StoppedError

    folder = tmp_path / "stopped"
    folder.mkdir()
    with pytest.raises(StoppedError):
        train_and_test(spec, folder, on_step=stop)
    assert train_and_test(spec, folder)["tests"] == tests


# --- Episodes that never end


class Endless(TableEnv):
    """No episode ends: each step gives 1."""

    def __init__(self) -> None:
        super().__init__([[0, 0]], [[1, 1]], limit=10**9)


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_long_episode_has_a_row_for_each_so_many_steps(
    num_envs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "LONG", 50)
    env: Any = Endless()
    if num_envs > 1:
        env = SyncVectorEnv([Endless] * 3, autoreset_mode=AutoresetMode.DISABLED)
    agent = agent_for(env, num_envs)
    history = train(agent, env, 130 * num_envs, progress=False)
    assert len(history) == 2 * num_envs
    assert set(history["length"]) == {50.0}
    assert set(history["episode_return"]) == {50.0}
    assert np.isfinite(history["loss"][0])
    assert [each.episode_return for each in history.unfinished] == [30.0] * num_envs


@pytest.mark.parametrize("limit", [49, 50, 51, 100, 130])
def test_the_rows_of_long_episodes_add_up(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the run is stopped and resumed within one."""
    monkeypatch.setattr(history_module, "LONG", 50)
    monkeypatch.setattr("minidqn.lab.resume.LONG", 50)

    def make() -> TableEnv:
        return TableEnv([[0, 0]], [[1, 1]], limit=limit)

    agent = agent_for(make())
    history = train(agent, make(), 300, progress=False)
    np.testing.assert_array_equal(history["length"], history["episode_return"])
    assert history["length"].max() <= 50
    going_on = sum(each.episode_return for each in history.unfinished)
    over = agent.replay.over
    assert history["length"].sum() + (0 if over else going_on) == 300

    first = agent_for(make())
    so_far = train(first, make(), 120, progress=False)
    save(first, tmp_path / "it", so_far)
    gone_on, so_far = load_run(tmp_path / "it")
    train(gone_on, make(), 180, history=so_far, progress=False)
    np.testing.assert_array_equal(so_far.rows, history.rows)


def test_short_episodes_have_one_row_each() -> None:
    env = chain()
    agent = agent_for(env)
    history = train(agent, env, 300, progress=False)
    assert accounted_steps(agent, history) == 300
    assert len(history) == agent.episodes


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_run_in_which_no_episode_ends_says_so_once(num_envs: int) -> None:
    """At its end, or before it when 10,000 steps have been taken."""
    env: Any = Endless()
    if num_envs > 1:
        env = SyncVectorEnv([Endless] * 3, autoreset_mode=AutoresetMode.DISABLED)
    for steps, said_at in ((1_200, 1_200), (12_000, 10_000)):
        agent = agent_for(env, num_envs, train_every=1_000)
        with pytest.warns(RuntimeWarning, match="no episode") as warned:
            train(agent, env, steps * num_envs, progress=False)
        [warning] = warned
        assert warning.filename == __file__
        assert str(warning.message).startswith(
            f"no episode has ended in {said_at * num_envs} steps: does step ever return "
            "terminated or truncated? gymnasium.wrappers.TimeLimit(env, N) sets a limit"
        )


def test_a_short_run_does_not_ask_why_no_episode_has_ended() -> None:
    """Nor does one whose only episode has ended in its last step."""
    for env, steps in (
        (Endless(), 1_000),
        (TableEnv([[0, 0]], [[1, 1]], 1_200), 1_200),
    ):
        train(agent_for(env, train_every=1_000), env, steps, progress=False)


ENDLESS = Spec("Endless-v0", replace(CONFIG, train_every=100), 1_200, make_env=Endless)


def test_the_test_of_such_a_run_stops_after_an_episode(tmp_path: Path) -> None:
    """Otherwise it would take ten million steps."""
    with pytest.warns(RuntimeWarning) as warned:
        result = run(ENDLESS, tmp_path, progress=False)
    assert result["eval_returns"] == [100_000.0]
    assert str(warned[-1].message) == (
        "no episode has ended in training, nor has the first of the test in 100000 "
        "steps, so it is the only one: --test-max-steps 1000 (in a Spec, "
        "test_max_steps) cuts all of them there"
    )
    assert ". Greedy return in 1 new episode: 100000.0" in summary(ENDLESS, result)


@pytest.mark.filterwarnings("ignore:no episode has ended in 1200:RuntimeWarning")
def test_a_test_that_is_short_enough_is_whole(tmp_path: Path) -> None:
    """So is one whose first episode ends."""
    cut = replace(ENDLESS, test_max_steps=50)
    with pytest.warns(RuntimeWarning, match="100 of 100 episodes had not ended after"):
        assert len(run(cut, tmp_path / "cut", progress=False)["eval_returns"]) == 100
    late = replace(ENDLESS, make_env=partial(TableEnv, [[0, 0]], [[1, 1]], 1_300))
    late = replace(late, test_episodes=20)
    assert run(late, tmp_path / "late", progress=False)["eval_returns"] == [1300.0] * 20
