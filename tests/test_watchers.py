"""What looks on while an agent trains."""

import inspect
import math
import runpy
import sys
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

from minidqn import (
    DQN,
    TEST,
    CheckpointError,
    History,
    Metrics,
    episode_seed,
    evaluate,
    load,
    save,
    train,
)
from minidqn.lab.history import Episode
from minidqn.lab.testing import evaluate_every, save_best
from minidqn.lab.training import Watcher
from minidqn.lab.watchers import (
    live_plot,
    log_csv,
    log_every,
    log_tensorboard,
    record_every,
    save_every,
    until_solved,
)

from .conftest import TableEnv, add_episode
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
    history = train(agent_for(env, 3), env, 90, on_step=log_every(4), progress=False)
    lines = capsys.readouterr().out.splitlines()
    numbers = [int(line.split()[1].strip(",")) for line in lines]
    assert numbers == list(range(4, len(history) + 1, 4))
    assert len(set(history["step"])) < len(history)  # some did end together
    returns = history["episode_return"]
    for number, line in zip(numbers, lines, strict=True):
        assert f": return {returns[number - 4 : number].mean():.1f} ±" in line


def test_a_line_for_each_of_several_episodes_that_end_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    history = History()
    history.begin_all(0, 3)
    rewards = [1.0, 2.0, 3.0]
    history.add_step([0, 0, 0], rewards, [False] * 3, 3)
    history.end_step(3, 0.5, [True] * 3)
    log_every(1)(small_agent(), history)
    lines = capsys.readouterr().out.splitlines()
    expected = [f"episode {n}, step 0: return {n}.0 ± 0.0" for n in (1, 2, 3)]
    assert [line.split(", loss")[0] for line in lines] == expected


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
    history = train(agent, env, 1000, on_step=watch, progress=False)
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


class Drawn(TableEnv):
    """An environment that draws itself."""

    render_mode = "rgb_array"

    def __init__(self) -> None:
        super().__init__([[0, 1], [1, 2], [2, -1]], [[0, 0], [0, 0], [0, 1]], limit=5)


def test_the_recorded_episode_is_a_test_of_the_run_s_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filmed: list[Any] = []
    monkeypatch.setattr(
        "minidqn.lab.watchers.animate", lambda *args: filmed.append(args)
    )
    films = Drawn()
    agent, history = small_agent(seed=3), History()
    agent.observation_space = films.observation_space
    add_episode(history, 10.0)
    record_every(1, films, tmp_path / "new", 30)(agent, history)
    path, seeds = tmp_path / "new" / "episode_00001.gif", [episode_seed(3, TEST, 0)]
    assert path.parent.exists()
    assert filmed == [({"episode 1": agent}, films, path, seeds, 30)]


def test_of_episodes_that_end_together_the_last_one_due_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filmed: list[Any] = []
    monkeypatch.setattr(
        "minidqn.lab.watchers.animate", lambda *args: filmed.append(args[2].name)
    )
    env = SyncVectorEnv([chain] * 3, autoreset_mode=AutoresetMode.DISABLED)
    watch = record_every(2, Drawn(), tmp_path)
    due = []

    def follow(agent: DQN, history: History) -> None:
        before = len(history) - history.just_ended
        if len(history) // 2 > before // 2:
            due.append(f"episode_{len(history) // 2 * 2:05}.gif")

    train(agent_for(env, 3), env, 90, on_step=[watch, follow], progress=False)
    assert filmed == due != []


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
    # also where one steps over it
    assert {steps // 10 for steps in saved} == {1, 2, 3, 4, 5, 6}
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
        [0.0, 3.0],
        [1.0, 1.0],
        [2.0, 8.0],
    ]
    assert np.asarray(means.get_xydata()).tolist() == [
        [0.0, 3.0],
        [1.0, 2.0],
        [2.0, 4.0],
    ]
    assert set(np.ravel(np.asarray(solved.get_ydata()))) == {5.0}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("environment steps", "return")
    plt.close()


def test_where_nobody_said_what_counts_as_solved_no_line_is_drawn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mpl.use("Agg")
    for solved_at in (None, math.inf):
        watch, history = live_plot(solved_at, share=1.0), History()
        assert "no display: the plot will not be seen" in capsys.readouterr().out
        add_episode(history, 3.0)
        watch(small_agent(), history)
        (axes,) = plt.gcf().axes
        assert len(axes.lines) == 2  # the returns and their means
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
    history.just_ended = 1
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

    def instead(
        agent: DQN, env: Any, episodes: int, seed: int, epsilon: float, **_: Any
    ) -> Any:
        tests.append((env, episodes, seed, epsilon))
        return np.full(episodes, next(means)), np.ones(episodes, int), 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minidqn.lab.testing.play_test", instead)
        other = chain()
        watch = save_best(20, path, other, episodes=3)

        def follow(agent: DQN, history: History) -> None:
            watch(agent, history)
            if agent.steps % 20 == 0:
                saved.append(load(path).online.params.copy())

        agent, plain = agent_for(chain()), agent_for(chain())
        train(agent, chain(), 80, on_step=follow, progress=False)
    assert tests == [(other, 3, 1_000_000, 0.0)] * 4
    assert (saved[0] != saved[1]).any()
    # what is no better does not replace it
    np.testing.assert_array_equal(saved[1], saved[2])
    np.testing.assert_array_equal(saved[1], saved[3])
    train(plain, chain(), 80, progress=False)
    np.testing.assert_array_equal(agent.online.params, plain.online.params)
    assert load(path).steps == 0  # a policy alone


def test_what_a_watcher_does_unless_it_is_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finish(until_solved(5.0), [9] * 20) == [False] * 19 + [True]

    tests: list[Any] = []

    def tested(agent: DQN, env: Any, episodes: int, *_: Any, **__: Any) -> Any:
        tests.append(episodes)
        return np.zeros(episodes), np.ones(episodes, int), 0

    monkeypatch.setattr("minidqn.lab.testing.play_test", tested)
    watch = save_best(20, tmp_path / "best", chain())
    train(agent_for(chain()), chain(), 20, on_step=watch, progress=False)
    assert tests == [10]  # episodes

    longest: list[Any] = []
    monkeypatch.setattr(
        "minidqn.lab.watchers.animate", lambda *args: longest.append(args[-1])
    )
    watch = record_every(1, Drawn(), tmp_path)
    train(agent_for(chain()), chain(), 20, on_step=watch, progress=False)
    assert set(longest) == {500}  # steps of an episode


def test_the_best_is_found_by_real_tests(tmp_path: Path) -> None:
    env = chain()
    agent = agent_for(env, learning_rate=0.01)
    watch = save_best(100, tmp_path / "best", chain(), episodes=2)
    train(agent, env, 500, on_step=watch, progress=False)
    assert evaluate(load(tmp_path / "best"), chain(), 5).tolist() == [1.0] * 5


def test_the_best_may_be_tested_with_random_actions(tmp_path: Path) -> None:
    """As the final test is, in a game that a deterministic policy never ends."""
    env = chain()
    agent = agent_for(env)
    watch = save_best(20, tmp_path / "best", chain(), 5, seed=4, epsilon=0.5)
    history = train(agent, env, 20, on_step=watch, progress=False)
    expected = evaluate(agent, chain(), 5, seed=4, epsilon=0.5)
    np.testing.assert_array_equal(history.tests.returns, [expected])


def test_a_run_that_goes_on_keeps_its_best_policy(tmp_path: Path) -> None:
    path, means, env = tmp_path / "best", iter([3.0, 2.0, 4.0]), chain()
    files = []
    with pytest.MonkeyPatch.context() as patch:

        def instead(*_: Any, **__: Any) -> Any:
            return np.array([next(means)]), np.array([1]), 0

        patch.setattr("minidqn.lab.testing.play_test", instead)
        agent, history, best = agent_for(env), History(), -math.inf
        for _ in range(3):
            watch = save_best(30, path, chain(), best=best)
            train(agent, env, 30, history=history, on_step=watch, progress=False)
            files.append(path.read_bytes())
            best = 3.0
    assert files[0] == files[1] != files[2]


def test_a_better_policy_of_another_run_is_kept(tmp_path: Path) -> None:
    """It is tested first, on the same episodes; what is no better does not replace it."""
    path = tmp_path / "best"
    good = agent_for(chain(), learning_rate=0.01)
    train(good, chain(), 500, progress=False)
    save(good, path, replay=False)
    before = path.read_bytes()
    for best in (-math.inf, -1.0):
        agent = agent_for(chain())
        watch = save_best(20, path, chain(), episodes=3, best=best)
        history = train(agent, chain(), 40, on_step=watch, progress=False)
        assert (path.read_bytes() == before) == (best == -math.inf)
        assert history.tests.steps.tolist() == [20, 40]  # those of this run alone
    assert load(path).online.params.tolist() != good.online.params.tolist()


def test_a_worse_policy_of_another_run_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "best"
    bad = agent_for(chain())
    bad.online.params[:] = 0.0  # it always takes action 0
    save(bad, path, replay=False)
    before = path.read_bytes()
    agent = agent_for(chain(), learning_rate=0.01)
    watch = save_best(100, path, chain(), episodes=3)
    train(agent, chain(), 500, on_step=watch, progress=False)
    assert path.read_bytes() != before


def test_a_file_that_is_no_policy_is_not_replaced(in_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="file is no safetensors file"):
        save_best(20, "file", chain())
    save_best(20, "file", chain(), best=0.0)  # somebody knows what is there

    other = TableEnv(np.zeros((3, 3), int), np.zeros((3, 3)))
    save(agent_for(other), "other", replay=False)
    before = (in_folder / "other").read_bytes()
    watch = save_best(20, "other", chain())
    agent = agent_for(chain())
    with pytest.raises(ValueError, match=r"^other: the environment's spaces are "):
        train(agent, chain(), 40, on_step=watch, progress=False)
    assert agent.steps == 1
    assert (in_folder / "other").read_bytes() == before


def rows_in(path: Path) -> int:
    return len(path.read_text().splitlines()) - 1  # without the names


def as_csv(history: History, path: Path) -> str:
    history.write_csv(path)
    return path.read_text()


@pytest.mark.parametrize("num_envs", [1, 3])
def test_rows_are_written_while_the_run_goes_on(num_envs: int, tmp_path: Path) -> None:
    env = environments(num_envs)
    path = tmp_path / "log.csv"
    steps = 0

    def read(agent: DQN, history: History) -> None:
        nonlocal steps
        assert rows_in(path) == len(history)
        steps += 1

    agent = agent_for(env, num_envs)
    history = train(agent, env, 90, on_step=[log_csv(path), read], progress=False)
    assert steps >= 90 / num_envs
    assert path.read_text() == as_csv(history, tmp_path / "whole.csv")
    # a run that goes on, perhaps in a new process
    train(agent, env, 60, history=history, on_step=log_csv(path), progress=False)
    assert path.read_text() == as_csv(history, tmp_path / "whole.csv")


def test_a_log_used_for_two_runs_has_the_rows_of_the_last(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    watch = log_csv(path)
    first = train(agent_for(chain()), chain(), 90, on_step=watch, progress=False)
    assert rows_in(path) == len(first)
    agent = agent_for(chain())
    second = train(agent, chain(), 40, on_step=watch, progress=False)
    assert len(second) < len(first)
    assert path.read_text() == as_csv(second, tmp_path / "whole.csv")
    # parts of one run, with and without it
    train(agent, chain(), 40, history=second, progress=False)
    train(agent, chain(), 40, history=second, on_step=watch, progress=False)
    assert path.read_text() == as_csv(second, tmp_path / "whole.csv")


def test_a_log_is_written_when_an_episode_ends_and_not_at_every_step(
    tmp_path: Path,
) -> None:
    class Spy(History):
        writes = 0

        def write_csv(self, path: str | Path, start: int = 0) -> None:
            self.writes += 1
            super().write_csv(path, start)

    path = tmp_path / "log.csv"
    env = TableEnv([[0, 0]], [[1, 1]], limit=25)
    agent, history, watch = agent_for(env), Spy(), log_csv(path)
    train(agent, env, 24, history=history, on_step=watch, progress=False)
    assert (rows_in(path), history.writes) == (0, 1)  # the names of the columns
    train(agent, env, 26, history=history, on_step=watch, progress=False)
    assert (rows_in(path), history.writes) == (2, 3)


def test_a_missing_tensorboard_is_said_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install tensorboardX installs it$"):
        log_tensorboard(tmp_path)


@pytest.mark.parametrize("script", ["export_onnx", "tune"])
def test_a_script_without_its_package_says_what_installs_it(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("onnx", "optuna"):
        monkeypatch.setitem(sys.modules, package, None)
    path = Path(__file__).parent.parent / "examples" / f"{script}.py"
    with pytest.raises(ImportError, match=r'pip install "minidqn\[\w+\]" installs it$'):
        runpy.run_path(str(path))


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
        env = environments(3)
        agent = agent_for(env, 3, learning_starts=40)
        history = train(agent, env, 60, on_step=watch, progress=False)
        rows = len(history)
        train(agent, env, 60, history=history, on_step=watch, progress=False)
    assert len(history) > rows  # each is given once
    assert list(seen) == list(Episode._fields)
    for name, points in seen.items():
        values, steps = np.array(points).T
        known = ~np.isnan(history[name])  # a row before the first update has no loss
        np.testing.assert_array_equal(values, history[name][known])
        np.testing.assert_array_equal(steps, history["step"][known])
    assert np.isnan(history["loss"]).any()
    assert list((tmp_path / "runs").glob("events.out.tfevents.*"))


# --- Wrong arguments are refused when a watcher is made


def drawn_cartpole() -> Any:
    return gym.make("CartPole-v1", render_mode="rgb_array")


MAKERS: dict[str, Any] = {
    "save_every": lambda **wrong: save_every(**({"steps": 9, "path": "a.st"} | wrong)),
    "save_best": lambda **wrong: save_best(
        **({"steps": 9, "path": "a.st", "env": chain()} | wrong)
    ),
    "evaluate_every": lambda **wrong: evaluate_every(
        **({"steps": 9, "env": chain()} | wrong)
    ),
    "log_every": lambda **wrong: log_every(**({"episodes": 9} | wrong)),
    "log_csv": lambda **wrong: log_csv(**({"path": "a.csv"} | wrong)),
    "until_solved": lambda **wrong: until_solved(**({"solved_at": 9.0} | wrong)),
    "record_every": lambda **wrong: record_every(
        **({"episodes": 9, "env": Drawn(), "folder": "films"} | wrong)
    ),
    "live_plot": lambda **wrong: live_plot(**({"solved_at": 9.0} | wrong)),
}
COUNTS = {
    "save_every": ["steps"],
    "save_best": ["steps", "episodes", "seed"],
    "evaluate_every": ["steps", "episodes", "seed", "max_steps"],
    "log_every": ["episodes"],
    "until_solved": ["episodes"],
    "record_every": ["episodes", "max_steps"],
}


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, in which there is a file and a folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize("value", [-1, 1.5, "3", None, math.nan, np.array([1, 2])])
@pytest.mark.parametrize(
    ("watcher", "name"),
    [(watcher, name) for watcher in COUNTS for name in COUNTS[watcher]],
)
def test_a_count_that_is_none_is_refused(
    watcher: str, name: str, value: Any, in_folder: Path
) -> None:
    with pytest.raises(ValueError, match=f"{name} is .*: expected an integer of "):
        MAKERS[watcher](**{name: value})
    if name != "seed":
        with pytest.raises(ValueError, match=f"{name} is 0: expected an integer of 1"):
            MAKERS[watcher](**{name: 0})


@pytest.mark.parametrize("value", ["5", None, math.nan, math.inf, [1.0], 1j])
@pytest.mark.parametrize(
    ("watcher", "name"), [("until_solved", "solved_at"), ("save_best", "best")]
)
def test_a_number_that_is_none_is_refused(
    watcher: str, name: str, value: Any, in_folder: Path
) -> None:
    with pytest.raises(ValueError, match=f"{name} is .*: expected a finite number"):
        MAKERS[watcher](**{name: value})


@pytest.mark.parametrize("value", [-0.1, 1.5, "0.5", None, math.nan])
def test_an_epsilon_that_is_no_probability_is_refused(
    value: Any, in_folder: Path
) -> None:
    with pytest.raises(ValueError, match=r"epsilon is .*: expected 0 to 1"):
        MAKERS["save_best"](epsilon=value)
    with pytest.raises(ValueError, match=r"epsilon is .*: expected 0 to 1"):
        MAKERS["evaluate_every"](epsilon=value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"solved_at": "a"}, "solved_at is 'a': expected a finite number"),
        ({"solved_at": math.nan}, "solved_at is nan: expected a finite number"),
        ({"share": 0.0}, "share is 0.0: expected more than 0, up to 1"),
        ({"share": 1.5}, "share is 1.5: expected more than 0, up to 1"),
        ({"share": "a"}, "share is 'a': expected a finite number"),
    ],
)
def test_a_plot_that_cannot_be_is_refused(wrong: Any, message: str) -> None:
    mpl.use("Agg")
    figures = plt.get_fignums()
    with pytest.raises(ValueError, match=message):
        MAKERS["live_plot"](**wrong)
    assert plt.get_fignums() == figures  # before a window opens


@pytest.mark.parametrize("watcher", ["save_every", "save_best", "log_csv"])
def test_a_file_that_cannot_be_is_refused(watcher: str, in_folder: Path) -> None:
    make = MAKERS[watcher]
    with pytest.raises(FileNotFoundError, match="there is no folder no"):
        make(path="no/agent.st")
    with pytest.raises(FileNotFoundError, match="there is no folder file"):
        make(path="file/agent.st")
    for folder in ("folder", ".", ""):
        with pytest.raises(IsADirectoryError, match="is a folder: expected the name"):
            make(path=folder)
    with pytest.raises(TypeError):
        make(path=None)
    for good in ("folder/agent.st", in_folder / "new"):
        make(path=good)


@pytest.mark.parametrize("watcher", ["save_best", "evaluate_every", "record_every"])
def test_what_is_not_one_environment_is_refused(watcher: str, in_folder: Path) -> None:
    for wrong in (None, "CartPole-v1", SyncVectorEnv([chain]), gym.make):
        with pytest.raises(TypeError, match=r"env is .*: expected one environment"):
            MAKERS[watcher](env=wrong)


def test_a_film_that_cannot_be_is_refused(in_folder: Path) -> None:
    make = MAKERS["record_every"]
    with pytest.raises(ValueError, match=r"render_mode is None: expected an environme"):
        make(env=chain())
    with pytest.raises(NotADirectoryError, match="file is a file: expected a folder"):
        make(folder="file")
    make(folder="folder")
    make(folder="new/films")
    assert not (in_folder / "new").exists()  # before there is a film


@pytest.mark.parametrize("watcher", ["save_best", "evaluate_every", "record_every"])
def test_an_environment_that_does_not_fit_is_refused_in_the_first_step(
    watcher: str, in_folder: Path
) -> None:
    env = Drawn()
    agent = agent_for(env)
    for wrong, message in (
        (drawn_cartpole(), "spaces are"),
        (env, "an agent is being trained in .*: expected another one"),
    ):
        watch = MAKERS[watcher](env=wrong)
        steps = agent.steps
        with pytest.raises(ValueError, match=message):
            train(agent, env, 20, on_step=watch, progress=False)
        assert agent.steps == steps + 1


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int64])
def test_numbers_of_numpy_are_numbers(
    kind: Any, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A byte would overflow after 255 steps, or episodes."""
    env = TableEnv([[0, 0]], [[1, 1]], limit=1)
    agent = agent_for(env)
    watchers = [
        save_every(kind(100), "a.st"),
        log_every(kind(100)),
        until_solved(np.float64(2.0), kind(20)),
        save_best(kind(100), "b.st", chain_of_one(), kind(2), seed=kind(5)),
    ]
    train(agent, env, 350, on_step=watchers, progress=False)
    assert load("a.st").steps == 300
    assert len(capsys.readouterr().out.splitlines()) == 3


def chain_of_one() -> TableEnv:
    return TableEnv([[0, 0]], [[1, 1]], limit=1)
