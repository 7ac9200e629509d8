"""What looks on while an agent trains."""

import inspect
import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import matplotlib as mpl
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from matplotlib import pyplot as plt
from PIL import Image

from minidqn import DQN, TEST, History, Metrics, episode_seed, evaluate, load, train
from minidqn.lab.history import Episode
from minidqn.lab.training import Watcher
from minidqn.lab.watchers import (
    live_plot,
    log_csv,
    log_every,
    log_tensorboard,
    record_every,
    save_best,
    save_every,
    until_solved,
)

from .conftest import add_episode
from .test_agent import small_agent
from .test_resume import environments
from .test_training import agent_for, chain


def finish(watch: Watcher, returns: list[float]) -> list[bool]:
    """What a watcher says after each of some episodes."""
    agent, history = small_agent(), History()
    answers = []
    for episode_return in returns:
        add_episode(history, episode_return)
        answers.append(bool(watch(agent, history)))
    return answers


def test_it_stops_when_the_mean_is_there() -> None:
    assert finish(until_solved(5.0, episodes=3), [9, 9, 9]) == [False, False, True]
    assert finish(until_solved(5.0, episodes=2), [4, 5, 5, 4.9]) == [
        False,
        False,
        True,
        False,
    ]


def test_a_line_for_each_multiple_of_episodes_that_end_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    env = SyncVectorEnv([chain] * 3, autoreset_mode=AutoresetMode.DISABLED)
    history = train(agent_for(env, 3), env, 90, on_episode=log_every(4), progress=False)
    lines = capsys.readouterr().out.splitlines()
    numbers = [int(line.split()[1].strip(",")) for line in lines]
    assert numbers == list(range(4, len(history) + 1, 4))
    assert len(set(history["step"])) < len(history)  # some did end together


def test_a_line_has_the_last_row_s_loss(capsys: pytest.CaptureFixture[str]) -> None:
    history = History()
    for loss in (0.5, 0.125):
        history.add_update(Metrics(loss=loss, q=1.0, grad_norm=1.0))
        history.add_episode(len(history), 0.5, 3.0, 1)
    log_every(2)(small_agent(), history)
    assert "loss 0.125, " in capsys.readouterr().out


def test_a_line_every_few_episodes(capsys: pytest.CaptureFixture[str]) -> None:
    assert not any(finish(log_every(2), [1.0, 3.0, 5.0, 5.0, 7.0]))
    first, second = capsys.readouterr().out.splitlines()
    assert first == "episode 2, step 0: return 2.0 ± 1.0, loss 0.25, epsilon 1.000"
    assert second.startswith("episode 4, step 0: return 5.0 ± 0.0")


def test_a_test_episode_is_recorded_every_few_episodes(tmp_path: Path) -> None:
    make = partial(gym.make, "CartPole-v1", render_mode="rgb_array")
    env, films = make(), make()
    agent, plain = (DQN(env.observation_space, env.action_space) for _ in range(2))
    watch = record_every(20, films, tmp_path, max_steps=30)
    history = train(agent, env, 1000, on_episode=watch, progress=False)
    numbers = range(20, len(history) + 1, 20)
    assert sorted(tmp_path.iterdir()) == [
        tmp_path / f"episode_{n:05}.gif" for n in numbers
    ]
    assert len(numbers) > 1
    for path in tmp_path.iterdir():
        with Image.open(path) as film:
            assert 3 < getattr(film, "n_frames", 1) <= 16  # one for every second step
    train(plain, env, 1000, progress=False)
    np.testing.assert_array_equal(
        agent.online.params, plain.online.params
    )  # the same run


def test_the_recorded_episode_is_a_test_of_the_run_s_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filmed: list[Any] = []
    monkeypatch.setattr(
        "minidqn.lab.watchers.animate", lambda *args: filmed.append(args)
    )
    agent, history, films = small_agent(seed=3), History(), object()
    add_episode(history, 10.0)
    record_every(1, films, tmp_path / "new", 30)(agent, history)
    path, seeds = tmp_path / "new" / "episode_00001.gif", [episode_seed(3, TEST, 0)]
    assert path.parent.exists()
    assert filmed == [({"episode 1": agent}, films, path, seeds, 30)]


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_checkpoint_every_few_steps(
    num_envs: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    saved = []
    monkeypatch.setattr(
        "minidqn.lab.watchers.save", lambda agent, *_: saved.append(agent.steps)
    )
    env = environments(num_envs)
    watch = save_every(10, tmp_path / "agent.safetensors")
    train(agent_for(env, num_envs), env, 60, on_step=watch, progress=False)
    assert {steps // 10 for steps in saved} == {
        1,
        2,
        3,
        4,
        5,
        6,
    }  # also where one steps over it
    assert all(steps % 10 < num_envs for steps in saved)


def test_a_step_of_a_vector_that_resets_counts_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From 9 to 10 steps, and then to 12: 10 is passed once."""
    saved = []
    monkeypatch.setattr(
        "minidqn.lab.watchers.save", lambda agent, *_: saved.append(agent.steps)
    )
    agent, watch = agent_for(environments(3), 3), save_every(10, "agent.safetensors")
    obs, no = np.zeros((3, 3)), np.zeros(3, np.bool_)
    agent.begin(obs)
    for ends in ([0, 0, 0], [0, 0, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 0]):
        agent.observe([0] * 3, [0.0] * 3, obs, np.array(ends, np.bool_), no)
        watch(agent, History())
    assert (agent.steps, saved) == (15, [10])


def test_the_plot_that_moves_shows_the_returns_so_far() -> None:
    mpl.use("Agg")
    watch, agent, history = live_plot(5.0, share=1.0), small_agent(), History()
    for episode_return in (3.0, 1.0, 8.0):
        add_episode(history, episode_return)
        assert not watch(agent, history)
    (axes,) = plt.gcf().axes
    returns, means, solved = axes.lines
    assert np.asarray(returns.get_xydata()).tolist() == [
        [1.0, 3.0],
        [2.0, 1.0],
        [3.0, 8.0],
    ]
    assert np.asarray(means.get_xydata()).tolist() == [
        [1.0, 3.0],
        [2.0, 2.0],
        [3.0, 4.0],
    ]
    assert set(np.ravel(np.asarray(solved.get_ydata()))) == {5.0}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("episode", "return")
    plt.close()


def test_the_plot_that_moves_keeps_to_its_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert inspect.signature(live_plot).parameters["share"].default <= 0.1
    mpl.use("Agg")
    now, drawn = 0.0, -0.04  # the first drawing is before training

    def draw(*_: Any) -> None:
        nonlocal now, drawn
        now, drawn = now + 0.04, drawn + 0.04

    monkeypatch.setattr("minidqn.lab.watchers.draw_returns", draw)
    clock = SimpleNamespace(perf_counter=lambda: now)
    monkeypatch.setattr("minidqn.lab.watchers.time", clock)
    watch, agent, history = live_plot(5.0, share=0.1), small_agent(), History()
    start = now
    for _ in range(360):
        now += 0.01
        assert not watch(agent, history)
    plt.close()
    # ten drawings, and after the last one no time for another has passed
    assert drawn == pytest.approx(0.1 * (now - start), abs=0.005)


def test_the_best_policy_is_kept_beside_the_last(tmp_path: Path) -> None:
    means, path = iter([1.0, 3.0, 2.0, 3.0]), tmp_path / "best"
    tests: list[Any] = []
    saved = []

    def instead(agent: DQN, env: Any, episodes: int, seed: int, progress: bool) -> Any:
        tests.append((env, episodes, seed))
        return np.full(episodes, next(means))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minidqn.lab.watchers.evaluate", instead)
        watch = save_best(20, path, other := chain(), episodes=3)

        def follow(agent: DQN, history: History) -> None:
            watch(agent, history)
            if agent.steps % 20 == 0:
                saved.append(load(path).online.params.copy())

        agent, plain = agent_for(chain()), agent_for(chain())
        train(agent, chain(), 80, on_step=follow, progress=False)
    assert tests == [(other, 3, 1_000_000)] * 4
    assert (saved[0] != saved[1]).any()
    np.testing.assert_array_equal(
        saved[1], saved[2]
    )  # what is no better does not replace it
    np.testing.assert_array_equal(saved[1], saved[3])
    train(plain, chain(), 80, progress=False)
    np.testing.assert_array_equal(agent.online.params, plain.online.params)
    assert load(path).steps == 0  # a policy alone


def test_the_best_is_found_by_real_tests(tmp_path: Path) -> None:
    env = chain()
    agent = agent_for(env, learning_rate=0.01)
    watch = save_best(100, tmp_path / "best", chain(), episodes=2)
    train(agent, env, 500, on_step=watch, progress=False)
    assert evaluate(load(tmp_path / "best"), chain(), 5).tolist() == [1.0] * 5


def test_a_run_that_goes_on_keeps_its_best_policy(tmp_path: Path) -> None:
    path, means, env = tmp_path / "best", iter([3.0, 2.0, 4.0]), chain()
    files = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "minidqn.lab.watchers.evaluate", lambda *_, **__: np.array([next(means)])
        )
        agent, history, best = agent_for(env), History(), -math.inf
        for _ in range(3):
            watch = save_best(30, path, chain(), best=best)
            train(agent, env, 30, history=history, on_step=watch, progress=False)
            files.append(path.read_bytes())
            best = 3.0
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize("num_envs", [1, 3])
def test_rows_are_written_while_the_run_goes_on(num_envs: int, tmp_path: Path) -> None:
    env, path, lines = environments(num_envs), tmp_path / "log.csv", []

    def read(agent: DQN, history: History) -> None:
        lines.append(len(path.read_text().splitlines()))

    agent = agent_for(env, num_envs)
    watchers = [log_csv(path), read]
    history = train(agent, env, 90, on_episode=watchers, progress=False)
    assert lines == list(range(2, len(history) + 2))
    history.write_csv(tmp_path / "whole.csv")
    assert path.read_text() == (tmp_path / "whole.csv").read_text()
    train(
        agent, env, 60, history=history, on_episode=log_csv(path), progress=False
    )  # resumed
    history.write_csv(tmp_path / "whole.csv")
    assert path.read_text() == (tmp_path / "whole.csv").read_text()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_every_column(tmp_path: Path) -> None:
    writer = pytest.importorskip(
        "tensorboardX", reason="it comes with the extra `test`"
    )
    seen: dict[str, list[tuple[float, int]]] = {}
    with pytest.MonkeyPatch.context() as patch:

        def add(_: Any, name: str, value: float, step: int) -> None:
            seen.setdefault(name, []).append((value, step))

        patch.setattr(writer.SummaryWriter, "add_scalar", add)
        watch = log_tensorboard(tmp_path / "runs")
        history = train(
            agent_for(chain()), chain(), 60, on_episode=watch, progress=False
        )
    assert list(seen) == list(Episode._fields)
    for name, points in seen.items():
        values, steps = np.array(points).T
        np.testing.assert_array_equal(values, history[name])
        np.testing.assert_array_equal(steps, history["step"])
    assert list((tmp_path / "runs").glob("events.out.tfevents.*"))
