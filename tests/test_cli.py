"""What a run does with its command line: seeds, folders, wrappers, and what comes last."""

import json
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from minidqn import DQN, TEST, DQNConfig, LinearDecay, episode_seed, load
from minidqn.lab import cli
from minidqn.lab.cli import Run

STEPS = 1500


def config(steps: int) -> DQNConfig:
    return DQNConfig(hidden=(4,), learning_starts=1000, epsilon=LinearDecay(1.0, 0.1, steps))


class Wrapped(gym.Wrapper[Any, Any, Any, Any]):
    """Around the environment of training only."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the test, the film and the learning curve of a run are given."""
    calls: dict[str, Any] = {}

    def evaluate(agent: DQN, env: Any, episodes: int, seed: int, epsilon: float) -> Any:
        calls["evaluate"] = {"agent": agent, "env": env, "episodes": episodes, "seed": seed}
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


def run(monkeypatch: pytest.MonkeyPatch, out: Path, *flags: object, **options: Any) -> Run:
    monkeypatch.setattr(sys, "argv", ["script.py", "--out", str(out), *map(str, flags)])
    return Run("CartPole-v1", STEPS, **options)


def test_every_part_of_a_run_gets_the_seed_of_its_own_purpose(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seen: dict[str, Any]
) -> None:
    this = run(monkeypatch, tmp_path, "--seed", 5, train_wrapper=Wrapped, test_epsilon=0.25)
    assert isinstance(this.make(), Wrapped)
    this.train_and_show(config, film_steps=17)

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
    assert (curve["test_epsilon"], curve["solved_at"]) == (0.25, None)  # of other returns

    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["seed"], summary["steps"], summary["eval_epsilon"]) == (5, STEPS, 0.25)
    assert (summary["eval_mean"], summary["eval_min"], summary["solved_at"]) == (49.5, 0.0, 475.0)
    assert summary["eval_std"] == pytest.approx(np.arange(100).std())
    assert summary["updates"] == STEPS - 999
    assert summary["train_seconds"] > 0.0
    assert load(tmp_path / "agent.safetensors").steps == STEPS


def test_without_a_wrapper_the_curve_shows_where_it_counts_as_solved(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    seen: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(monkeypatch, tmp_path, "--no-animation").train_and_show(config)
    assert seen["plot"]["solved_at"] == 475.0
    assert "animate" not in seen
    output = capsys.readouterr().out
    assert f"{STEPS} steps and {STEPS - 999} updates in " in output
    assert "Greedy return in 100 new episodes: 49.5 ± 28.9, minimum 0: not solved" in output
    run(monkeypatch, tmp_path, "--no-animation", solved_at=49.5, test_epsilon=0.5).train_and_show(
        config
    )
    assert seen["plot"]["solved_at"] == 49.5
    output = capsys.readouterr().out
    assert "Return at epsilon 0.5 in 100 new episodes: 49.5 ± 28.9, minimum 0: solved" in output


def test_a_run_is_resumed_with_its_own_settings_alone(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    seen: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(monkeypatch, tmp_path, "--no-animation").train_and_show(config)
    for flags in (["--seed", 1], ["--steps", STEPS + 1]):
        with pytest.raises(SystemExit) as ended:
            run(monkeypatch, tmp_path, "--no-animation", "--resume", *flags).train_and_show(config)
        assert ended.value.code == 2
        assert "has other settings or --seed" in capsys.readouterr().err
    again = run(monkeypatch, tmp_path, "--no-animation", "--resume")
    again.train_and_show(config)
    assert seen["evaluate"]["agent"].steps == STEPS
    assert len(again.history) > 10
    assert f"{STEPS} steps and {STEPS - 999} updates, resumed." in capsys.readouterr().out
    assert json.loads((tmp_path / "summary.json").read_text())["train_seconds"] is None


@pytest.mark.usefixtures("seen")
def test_a_checkpoint_is_saved_on_the_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    saved = []

    def save(agent: DQN, path: Path, history: Any) -> None:
        saved.append((agent.steps, path, len(history)))

    monkeypatch.setattr("minidqn.lab.watchers.save", save)
    this = run(monkeypatch, tmp_path, "--no-animation", "--checkpoint-every", 400)
    this.train_and_show(config)
    assert [steps for steps, _, _ in saved] == [400, 800, 1200]
    assert {path for _, path, _ in saved} == {tmp_path / "agent.safetensors"}


def test_what_training_returns_does_not_tell_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path / "none", "--until-solved", train_wrapper=Wrapped)
    assert "training returns are not test returns here" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_folders_are_named_after_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["script.py"])
    monkeypatch.chdir(tmp_path)
    assert Run("CartPole-v1", STEPS).out == Path("runs") / "cartpole"
    assert (tmp_path / "runs" / "cartpole").is_dir()
