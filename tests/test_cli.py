"""What a run does with its command line: seeds, folders, wrappers, and what comes last."""

import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from minidqn import DQN, TEST, DQNConfig, LinearDecay, episode_seed, load
from minidqn.lab import cli, many
from minidqn.lab.cli import Run
from minidqn.lab.envs import play
from minidqn.lab.folder import claim
from minidqn.lab.plotting import plot_filters
from minidqn.nn.layers import Linear
from minidqn.nn.network import Network

from .test_pixels import Catch

STEPS = 1500


def config(steps: int) -> DQNConfig:
    return DQNConfig(
        hidden=(4,), learning_starts=1000, epsilon=LinearDecay(1.0, 0.1, steps)
    )


class Wrapped(gym.Wrapper[Any, Any, Any, Any]):
    """Around the environment of training only."""


class Drawn(gym.Wrapper[Any, Any, Any, Any]):
    """As if there was a window to draw in."""

    def __init__(self, env: Any, render_mode: str | None = None) -> None:
        super().__init__(env)
        self.mode = render_mode

    @property
    def render_mode(self) -> str | None:  # type: ignore[override]  # as any wrapper's
        return self.mode


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the test, the film and the learning curve of a run are given."""
    calls: dict[str, Any] = {}

    def evaluate(agent: DQN, env: Any, episodes: int, seed: int, epsilon: float) -> Any:
        calls["evaluate"] = {
            "agent": agent,
            "env": env,
            "episodes": episodes,
            "seed": seed,
        }
        calls["evaluate"]["epsilon"] = epsilon
        return np.arange(float(episodes))

    def animate(agents: Any, env: Any, path: Path, seeds: Any, max_steps: int) -> None:
        calls["animate"] = {"agents": agents, "env": env, "path": path, "seeds": seeds}
        calls["animate"]["max_steps"] = max_steps

    def plot(history: Any, path: Path, **options: Any) -> None:
        calls["plot"] = {"history": history, "path": path, **options}

    monkeypatch.setattr(cli, "evaluate", evaluate)
    monkeypatch.setattr(cli, "animate", animate)
    monkeypatch.setattr(cli, "plot_learning_curve", plot)
    return calls


def run(
    monkeypatch: pytest.MonkeyPatch, out: Path, *flags: object, **options: Any
) -> Run:
    """A run of a script with these flags, ready to train."""
    monkeypatch.setattr(sys, "argv", ["script.py", "--out", str(out), *map(str, flags)])
    return Run("CartPole-v1", STEPS, config, **options)


def test_every_part_of_a_run_gets_the_seed_of_its_own_purpose(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seen: dict[str, Any]
) -> None:
    this = run(
        monkeypatch, tmp_path, "--seed", 5, train_wrapper=Wrapped, test_epsilon=0.25
    )
    assert isinstance(this.make(), Wrapped)
    this.train_and_show(film_steps=17)

    test, film, curve = seen["evaluate"], seen["animate"], seen["plot"]
    assert (test["seed"], test["epsilon"], test["episodes"]) == (5, 0.25, 100)
    assert test["agent"].seed == 5
    assert test["agent"].steps == STEPS
    assert test["env"].render_mode is None
    assert film["env"].render_mode == "rgb_array"
    for env in (test["env"], film["env"]):
        assert not isinstance(env, Wrapped)
        assert env.spec.id == "CartPole-v1"
    assert film["seeds"] == [episode_seed(5, TEST, number) for number in range(3)]
    assert film["max_steps"] == 17
    before, after = film["agents"].values()
    assert list(film["agents"]) == ["before", "after"]
    assert after is test["agent"]
    assert (before.seed, before.updates, before.config) == (5, 0, after.config)
    assert curve["history"] is this.history
    assert curve["test_returns"].tolist() == list(range(100))
    assert (curve["test_epsilon"], curve["solved_at"]) == (
        0.25,
        None,
    )  # of other returns

    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["seed"], summary["steps"], summary["test_epsilon"]) == (
        5,
        STEPS,
        0.25,
    )
    assert (summary["eval_mean"], summary["eval_min"], summary["solved_at"]) == (
        49.5,
        0.0,
        475.0,
    )
    assert summary["eval_std"] == pytest.approx(np.arange(100).std())
    assert summary["updates"] == STEPS - 999
    assert 0.0 < summary["train_seconds"] < 100.0
    assert load(tmp_path / "agent.safetensors").steps == STEPS


def test_without_a_wrapper_the_curve_shows_where_it_counts_as_solved(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    seen: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(monkeypatch, tmp_path, "--no-animation").train_and_show()
    assert seen["plot"]["solved_at"] == 475.0
    assert "animate" not in seen
    output = capsys.readouterr().out
    assert f"{STEPS} steps and {STEPS - 999} updates in " in output
    assert output.endswith(f"The agent, its history and pictures are in {tmp_path}\n")
    assert (
        "Greedy return in 100 new episodes: 49.5 ± 28.9, minimum 0: not solved"
        in output
    )
    options = {"solved_at": 49.5, "test_epsilon": 0.5}
    run(
        monkeypatch, tmp_path, "--no-animation", "--overwrite", **options
    ).train_and_show()
    assert seen["plot"]["solved_at"] == 49.5
    output = capsys.readouterr().out
    assert (
        "Return at epsilon 0.5 in 100 new episodes: 49.5 ± 28.9, minimum 0: solved"
        in output
    )


def refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    out: Path,
    *flags: object,
    **options: Any,
) -> str:
    """The one line that a command line is refused with, before anything runs."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, out, *flags, **options)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("script.py: error: ")
    return line.removeprefix("script.py: error: ")


def test_a_finished_run_is_resumed_without_its_command_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    seen: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["--no-animation", "--seed", 5, "--steps", 1400, "--set", "n_step=2"]
    run(monkeypatch, tmp_path, *flags).train_and_show()
    before = json.loads((tmp_path / "summary.json").read_text())
    again = run(monkeypatch, tmp_path, "--no-animation", "--resume")
    again.train_and_show()
    assert (again.seed, again.spec.steps, again.config.n_step) == (5, 1400, 2)
    assert seen["evaluate"]["agent"].steps == 1400
    assert seen["evaluate"]["seed"] == 5
    assert len(again.history) > 10
    after = json.loads((tmp_path / "summary.json").read_text())
    assert (
        before["train_seconds"]
        <= after["train_seconds"]
        < before["train_seconds"] + 0.1
    )
    assert {**after, "train_seconds": 0} == {**before, "train_seconds": 0}
    # a run that was killed has left no time
    (tmp_path / "summary.json").unlink()
    run(monkeypatch, tmp_path, "--no-animation", "--resume").train_and_show()
    assert "1400 steps and 401 updates, resumed." in capsys.readouterr().out
    assert json.loads((tmp_path / "summary.json").read_text())["train_seconds"] is None


@pytest.mark.usefixtures("seen")
def test_a_finished_run_goes_on_beyond_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def decaying(steps: int) -> DQNConfig:
        decays: Any = {
            "learning_rate": LinearDecay(1e-3, 0.0, steps),
            "epsilon": LinearDecay(1, 0, 3200),
        }
        return replace(config(steps), **decays)

    def go(*flags: object) -> Run:
        argv = ["script.py", "--out", str(tmp_path), "--no-animation", *map(str, flags)]
        monkeypatch.setattr(sys, "argv", argv)
        this = Run("CartPole-v1", STEPS, decaying)
        this.train_and_show()
        return this

    go()
    before = load(tmp_path / "agent.safetensors").online.params
    with pytest.warns(
        RuntimeWarning, match="learning_rate is 0 from step 1500 to 1600, so noth"
    ):
        go("--resume", "--steps", 1600)
    output = capsys.readouterr().out
    assert (
        "Beyond step 1500 the schedules go on, to learning_rate 0, epsilon 0.5, "
        in output
    )
    after = load(tmp_path / "agent.safetensors")
    assert (after.steps, after.updates) == (1600, 601)
    np.testing.assert_array_equal(after.online.params, before)
    go("--resume", "--steps", 1700, "--set", "learning_rate=0.01")
    after = load(tmp_path / "agent.safetensors")
    assert (after.steps, after.updates, after.config.learning_rate) == (1700, 701, 0.01)
    assert (after.online.params != before).any()
    go("--resume")  # the changed setting is the run's own now
    assert load(tmp_path / "agent.safetensors").config.learning_rate == 0.01


@pytest.mark.usefixtures("seen")
def test_a_setting_can_be_changed_a_second_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(monkeypatch, tmp_path, "--no-animation", "--set", "gamma=0.9").train_and_show()
    for gamma in (0.8, 0.7):
        flags = ["--no-animation", "--resume", "--set", f"gamma={gamma}"]
        run(monkeypatch, tmp_path, *flags).train_and_show()
        assert load(tmp_path / "agent.safetensors").config.gamma == gamma


@pytest.mark.usefixtures("seen")
def test_a_single_step_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run(monkeypatch, tmp_path, "--no-animation", "--steps", 1100).train_and_show()
    run(
        monkeypatch, tmp_path, "--no-animation", "--resume", "--steps", 1101
    ).train_and_show()
    assert load(tmp_path / "agent.safetensors").steps == 1101


def test_what_a_resume_cannot_do_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse = partial(refused, monkeypatch, capsys)
    assert "there is no run in" in refuse(tmp_path, "--resume")
    run(monkeypatch, tmp_path, "--no-animation").train_and_show()
    assert "--seed 1: expected 0, the seed of the run in" in refuse(
        tmp_path, "--resume", "--seed", 1
    )
    monkeypatch.setattr(sys, "argv", ["script.py", "--out", str(tmp_path), "--resume"])
    with pytest.raises(SystemExit):
        Run("CartPole-v1", STEPS, lambda steps: replace(config(steps), gamma=0.5))
    assert "has gamma 0.99: expected the same in the script" in capsys.readouterr().err

    this = run(monkeypatch, tmp_path, "--resume", "--set", "hidden=(5,)")
    with pytest.raises(SystemExit) as ended:
        this.train_and_show()
    assert ended.value.code == 2
    assert (
        "hidden is (5,): expected (4,), which the saved agent"
        in capsys.readouterr().err
    )
    assert json.loads((tmp_path / "run.json").read_text())["hidden"] == [
        4
    ]  # it may go on
    (tmp_path / "agent.safetensors").write_bytes(b"damaged")
    assert "--steps 1400: expected 1500, the steps of the run in" in refuse(
        tmp_path, "--resume", "--steps", 1400
    )
    starts = "--set", "learning_starts=1600"
    message = refuse(tmp_path, "--resume", *starts)
    assert message == "--steps 1500: expected learning_starts, 1600, or more"
    assert (
        run(monkeypatch, tmp_path, "--resume", "--steps", 1600, *starts).until == 1600
    )
    this = run(monkeypatch, tmp_path, "--resume", "--set", "hidden=(4,)")
    with pytest.raises(SystemExit) as ended:
        this.train_and_show()
    assert ended.value.code == 2
    assert "is no safetensors file, or damaged" in capsys.readouterr().err


@pytest.mark.usefixtures("seen")
def test_no_other_run_is_overwritten(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, tmp_path, "--no-animation").train_and_show()
    for flags in ([], ["--seed", 1], ["--set", "gamma=0.5"]):
        message = refused(monkeypatch, capsys, tmp_path, *flags)
        assert (
            message
            == f"{tmp_path} has a run: expected another --out, --resume or --overwrite"
        )
    assert load(tmp_path / "agent.safetensors").seed == 0
    run(
        monkeypatch, tmp_path, "--no-animation", "--seed", 1, "--overwrite"
    ).train_and_show()
    assert load(tmp_path / "agent.safetensors").seed == 1
    # a run that is killed before its first checkpoint leaves no agent of another run behind
    flags = ["--no-animation", "--seed", 2, "--overwrite"]
    killed = run(monkeypatch, tmp_path, *flags)
    env = killed.make()
    monkeypatch.setattr(cli, "train", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        killed.train(
            DQN(env.observation_space, env.action_space, killed.config, 2), env
        )
    assert json.loads((tmp_path / "run.json").read_text())["seed"] == 2
    for name in ("agent.safetensors", "summary.json"):
        assert not (tmp_path / name).exists()


def test_settings_are_changed_at_a_resume_even_if_it_was_killed_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seen: dict[str, Any]
) -> None:
    run(monkeypatch, tmp_path, "--no-animation").train_and_show()
    flags = ["--no-animation", "--resume", "--set", "gamma=0.5"]
    killed = run(monkeypatch, tmp_path, *flags, "--steps", 1600)
    env = killed.make()
    with monkeypatch.context() as patch:
        patch.setattr(cli, "train", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            killed.train(
                DQN(env.observation_space, env.action_space, killed.config), env
            )
    run(monkeypatch, tmp_path, *flags, "--steps", 1600).train_and_show()
    agent = seen["evaluate"]["agent"]
    assert (agent.steps, agent.config.gamma) == (1600, 0.5)
    assert json.loads((tmp_path / "summary.json").read_text())["gamma"] == 0.5


def test_without_a_folder_the_next_number_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["script.py"])
    runs = [Run("CartPole-v1", STEPS, config) for _ in range(3)]
    names = ["cartpole", "cartpole-2", "cartpole-3"]
    assert [each.out for each in runs] == [Path("runs") / name for name in names]
    (runs[0].out / "run.json").write_text(json.dumps(runs[0].about))
    for flag in ("--overwrite", "--resume"):
        monkeypatch.setattr(sys, "argv", ["script.py", flag])
        assert Run("CartPole-v1", STEPS, config).out == runs[0].out


def test_each_of_several_runs_at_the_same_moment_takes_another_folder(
    tmp_path: Path,
) -> None:
    with ThreadPoolExecutor(8) as pool:
        make = partial(claim, overwrite=False, numbered=True)
        folders = list(pool.map(make, [tmp_path / "runs" / "cartpole"] * 50))
    assert len({*folders}) == 50


@pytest.mark.usefixtures("seen")
def test_a_run_with_a_network_of_your_own_is_resumed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for flags in ([], ["--resume"]):
        argv = ["script.py", "--out", str(tmp_path), "--no-animation", *flags]
        monkeypatch.setattr(sys, "argv", argv)
        this = Run("CartPole-v1", STEPS, lambda steps: DQNConfig())
        env = this.make()
        own: Any = {"network": lambda space, n: Network([Linear(4, n)])}
        agent = DQN(env.observation_space, env.action_space, this.config, **own)
        assert this.train(agent, env).steps == STEPS

    # pictures, too: without `conv` it is for DQN to say that they take it
    monkeypatch.setattr(
        sys, "argv", ["script.py", "--out", str(tmp_path / "2"), "--no-animation"]
    )
    Run("Catch", STEPS, lambda steps: DQNConfig(), make_env=Catch)


@pytest.mark.usefixtures("seen")
def test_what_the_first_filters_became_is_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    argv = [
        "script.py",
        "--out",
        str(tmp_path),
        "--no-animation",
        "--set",
        "learning_starts=100",
    ]
    monkeypatch.setattr(sys, "argv", argv)
    drawn: list[Any] = []

    def draw(agent: DQN, obs: Any, path: Path) -> None:
        drawn.append(obs)
        plot_filters(agent, obs, path)

    monkeypatch.setattr(cli, "plot_filters", draw)
    settings: Any = {"conv": ((2, 3, 1),), "hidden": (4,)}
    this = Run("Catch", 120, lambda steps: DQNConfig(**settings), make_env=Catch)
    this.train_and_show()
    assert (tmp_path / "filters.png").stat().st_size > 1000
    # the end of the first test episode, which is shorter than 60 steps
    *_, (_, over, last) = play(load(this.checkpoint), Catch(), episode_seed(0, TEST, 0))
    assert over
    np.testing.assert_array_equal(drawn, [last])
    assert (
        "Infinity" not in (tmp_path / "summary.json").read_text()
    )  # nobody knows a threshold


def test_an_unfinished_run_of_a_sweep_is_a_run_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(b"")
    assert "has a run: expected another --out" in refused(monkeypatch, capsys, tmp_path)


def test_what_cannot_run_is_found_out_before_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse = partial(refused, monkeypatch, capsys)
    (tmp_path / "file").write_text("")
    assert "File exists" in refuse(tmp_path / "file")
    assert "Not a directory" in refuse(tmp_path / "file" / "folder")
    out = tmp_path / "folder"
    assert refuse(out, "--set", "lerning_rate=1") == (
        "setting 'lerning_rate': expected learning_rate or learning_starts"
    )
    assert "setting 'x': expected one of frame_stack, " in refuse(out, "--set", "x=1")
    assert "gamma is 2.0: expected 0 to 1" in refuse(out, "--set", "gamma=2")
    assert "double is 'no': expected True or False" in refuse(out, "--set", "double=no")
    assert (
        refuse(out, "--steps", 500)
        == "--steps 500: expected learning_starts, 1000, or more"
    )
    assert "training returns are not" in refuse(
        out, "--until-solved", train_wrapper=Wrapped
    )
    unknown = refuse(out, "--until-solved", solved_at=math.inf)
    assert unknown == "--until-solved: expected a return from which it is solved"
    conv = refuse(out, "--set", "conv=((16, 3, 1),)")
    assert "an observation of shape (4,) for conv: expected (height, width)" in conv
    own = partial(DQNConfig, learning_rate=lambda step: 0.1)
    monkeypatch.setattr(sys, "argv", ["script.py", "--out", str(out)])
    with pytest.raises(SystemExit):
        Run("CartPole-v1", STEPS, lambda steps: own())
    assert "expected a number or one of" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        Run("CartPloe-v1", STEPS, config)
    assert "CartPloe" in capsys.readouterr().err
    assert not out.exists()


def test_what_a_sweep_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {}

    def sweep(specs: Any, out: Path, *, executor: Any, workers: int) -> Any:
        asked.update(specs=specs, out=out, executor=executor, workers=workers)
        return [
            {"name": spec.name} for spec in reversed(specs)
        ]  # as they happen to end

    def compare(results: Any, path: Path) -> Any:
        asked["compared"] = [result["name"] for result in results]
        return "", None

    monkeypatch.setattr(many, "sweep", sweep)
    monkeypatch.setattr(many, "compare", compare)
    rate = "{'LinearDecay': {'start': 0.01, 'end': 0, 'steps': 100}}"
    grid = [f"--set=learning_rate={rate},0.5", "--set=huber_delta=1,inf"]
    flags = ["--seeds", "2", "--first", "7", "--workers", "3", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["sweep", "CartPole-v1", *flags, *grid])
    many.main()
    specs = asked["specs"]
    made = [(s.config.learning_rate, s.config.huber_delta, s.seed) for s in specs]
    decay = LinearDecay(0.01, 0.0, 100)
    assert made == list(product((decay, 0.5), (1.0, np.inf), (7, 8)))
    assert asked["compared"] == [
        spec.name for spec in specs
    ]  # the first is the reference
    assert len({*asked["compared"]}) == 8
    assert (asked["out"], asked["executor"], asked["workers"]) == (tmp_path, None, 3)


def test_a_sweep_on_dask_and_one_that_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    class Client:
        def __init__(self, address: str) -> None:
            asked.append(address)

        def get_executor(self, **options: Any) -> str:
            return f"an executor with {options}"

    def sweep(specs: Any, out: Path, *, executor: Any, workers: Any) -> Any:
        asked.append(executor)
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=Client))
    monkeypatch.setattr(many, "sweep", sweep)
    flags = ["--dask", "tcp://here:1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["sweep", "CartPole-v1", *flags])
    with pytest.raises(SystemExit) as ended:
        many.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "Stopped. The same command goes on.\n"
    # else Dask would make only one of two calls that look alike
    assert asked == ["tcp://here:1", "an executor with {'pure': False}"]


def test_what_is_watched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a window: the test episodes of the seed, with the epsilon of the test."""
    played: list[Any] = []

    def play(agent: DQN, env: Any, seed: int, epsilon: float) -> Any:
        played.append((env.render_mode, seed, epsilon))
        yield from [(0.0, False, None), (1.5, False, None), (2.0, True, None)]

    real = gym.make
    monkeypatch.setattr(cli, "play", play)
    monkeypatch.setattr(cli, "has_display", lambda: True)
    monkeypatch.setattr(
        gym, "make", lambda env_id, **options: Drawn(real(env_id), **options)
    )
    monkeypatch.setattr(sys, "argv", ["script.py", "--watch", "--seed", "3"])
    with pytest.raises(SystemExit) as ended:
        Run("CartPole-v1", STEPS, config, test_epsilon=0.25)
    assert ended.value.code == 0
    assert played == [
        ("human", episode_seed(3, TEST, number), 0.25) for number in range(3)
    ]
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"episode {number}: return 3.5" for number in (1, 2, 3)]


@pytest.mark.usefixtures("seen")
def test_the_threshold_of_other_returns_is_not_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn: list[Any] = []

    def live_plot(solved_at: float | None) -> Any:
        drawn.append(solved_at)
        return lambda agent, history: None

    monkeypatch.setattr(cli, "live_plot", live_plot)
    for options in ({}, {"train_wrapper": Wrapped}):
        flags = ["--live", "--overwrite", "--no-animation"]
        run(monkeypatch, tmp_path, *flags, **options).train_and_show()
    assert drawn == [475.0, None]


def test_settings_from_the_command_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flags = ["hidden=(8, 4)", "huber_delta=inf", "double=False", "epsilon=0.5"]
    flags += ["learning_rate={'LinearDecay': {'start': 0.01, 'end': 0, 'steps': 100}}"]
    beta = LinearDecay(0.1, 0.2, 3)  # what a script says is left as it is
    monkeypatch.setattr(sys, "argv", ["script.py", "--out", str(tmp_path / "beta")])
    of_script = Run(
        "CartPole-v1", STEPS, lambda steps: replace(config(steps), priority_beta=beta)
    )
    assert of_script.config.priority_beta == beta
    this = run(monkeypatch, tmp_path, *(f"--set={flag}" for flag in flags))
    decay = LinearDecay(0.01, 0.0, 100)
    changes: Any = {
        "hidden": (8, 4),
        "huber_delta": np.inf,
        "double": False,
        "epsilon": 0.5,
    }
    changes["priority_beta"] = LinearDecay(0.4, 1.0, STEPS)  # to the end of the run
    assert this.config == replace(config(STEPS), **changes, learning_rate=decay)


@pytest.mark.usefixtures("seen")
def test_a_checkpoint_is_saved_on_the_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    saved = []

    def save(agent: DQN, path: Path, history: Any) -> None:
        saved.append((agent.steps, path, len(history)))

    monkeypatch.setattr("minidqn.lab.watchers.save", save)
    this = run(monkeypatch, tmp_path, "--no-animation", "--checkpoint-every", 400)
    this.train_and_show()
    assert [steps for steps, _, _ in saved] == [400, 800, 1200]
    assert {path for _, path, _ in saved} == {tmp_path / "agent.safetensors"}


def test_a_test_that_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "evaluate", stop)
    this = run(monkeypatch, tmp_path, "--no-animation")
    with pytest.raises(SystemExit) as ended:
        this.train_and_show()
    assert ended.value.code == 130
    assert (
        f"Stopped in the test. --resume --out {tmp_path} goes on."
        in capsys.readouterr().err
    )

    monkeypatch.undo()
    resumed = run(monkeypatch, tmp_path, "--no-animation", "--resume")
    resumed.train_and_show()
    assert (
        "1500 steps and 501 updates, resumed. Greedy return" in capsys.readouterr().out
    )


@pytest.mark.usefixtures("seen")
def test_nobody_said_what_counts_as_solved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, tmp_path, "--no-animation", solved_at=math.inf).train_and_show()
    assert "49.5 ± 28.9, minimum 0\n" in capsys.readouterr().out


def test_watch_never_shows_the_policy_of_another_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.registry))
    gym.register("CartPole-v7", "gymnasium.envs.classic_control.cartpole:CartPoleEnv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["script.py", "--watch"])
    with pytest.raises(
        SystemExit
    ) as ended:  # examples/trained/cartpole is CartPole-v1's
        Run("CartPole-v7", STEPS, config)
    assert ended.value.code == 2
    assert "runs/cartpole/agent.safetensors" in capsys.readouterr().err


def test_an_environment_that_cannot_be_drawn_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["script.py", "--out", str(out)])
    with pytest.raises(SystemExit) as ended:
        Run("Catch", 120, config, make_env=lambda: Catch())
    assert ended.value.code == 2
    assert "render_mode" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.usefixtures("seen")
def test_a_resumed_run_may_be_tested_in_another_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(monkeypatch, tmp_path, "--no-animation").train_and_show()
    run(
        monkeypatch, tmp_path, "--no-animation", "--resume", test_epsilon=0.5
    ).train_and_show()
    assert json.loads((tmp_path / "summary.json").read_text())["test_epsilon"] == 0.5
