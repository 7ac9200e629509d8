"""The front door: the examples as a person runs them."""

import csv
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from minidqn import DQN, LinearDecay, evaluate, load, train, tuned
from minidqn.lab.cli import Run

EXAMPLES = Path(__file__).parent.parent / "examples"
COMMAND = [sys.executable, str(EXAMPLES / "cartpole.py")]
ALWAYS = {
    "agent.safetensors",
    "history.csv",
    "learning_curve.png",
    "run.json",
    "summary.json",
}
FILES = ALWAYS | {"value_function.png"}


def run(*arguments: object, **environment: str) -> None:
    command = [*COMMAND, *map(str, arguments)]
    surroundings = os.environ | environment
    subprocess.run(
        command, check=True, capture_output=True, timeout=300, env=surroundings
    )


def test_it_leaves_its_files_and_the_seed_settles_the_run(tmp_path: Path) -> None:
    hashes = []
    for folder, seed, threads in (("a", 0, "1"), ("b", 0, "2"), ("c", 1, "2")):
        animation = ["--no-animation"] if folder != "a" else []
        run(
            "--seed",
            seed,
            "--steps",
            1000,
            "--out",
            tmp_path / folder,
            *animation,
            OPENBLAS_NUM_THREADS=threads,
        )
        files = FILES | {"before_after.gif"} if folder == "a" else FILES
        assert {path.name for path in (tmp_path / folder).iterdir()} == files
        summary = json.loads((tmp_path / folder / "summary.json").read_text())
        hashes.append(summary["params_sha256"])
    assert hashes[0] == hashes[1] != hashes[2]

    assert summary["env_id"] == "CartPole-v1"
    assert (summary["seed"], summary["steps"], summary["test_episodes"]) == (
        1,
        1000,
        100,
    )
    assert summary["eval_mean"] == pytest.approx(np.mean(summary["eval_returns"]))
    assert summary["eval_min"] == min(summary["eval_returns"])
    assert load(tmp_path / "c" / "agent.safetensors").updates == summary["updates"] > 0


@pytest.mark.parametrize("name", ["acrobot", "mountaincar", "lunarlander"])
def test_the_other_environments(name: str, tmp_path: Path) -> None:
    if name == "lunarlander":
        pytest.importorskip(
            "Box2D", reason="its physics have no wheel for the newest Python"
        )
    command = [
        sys.executable,
        str(EXAMPLES / f"{name}.py"),
        "--steps",
        "1100",
        "--out",
        ".",
    ]
    output = subprocess.check_output(
        command, cwd=tmp_path, stderr=subprocess.DEVNULL, text=True
    )
    assert "1100 steps" in output
    expected = (FILES if name == "mountaincar" else ALWAYS) | {"before_after.gif"}
    assert {path.name for path in tmp_path.iterdir()} == expected
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["env_id"].lower().startswith(name)
    config = load(tmp_path / "agent.safetensors").config
    assert config == tuned(summary["env_id"], 1100)


def test_breakout_from_ram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ale_py", reason="Breakout takes the extra `atari`")
    monkeypatch.syspath_prepend(EXAMPLES)
    breakout = importlib.import_module("breakout_ram")
    flags = [
        "--steps",
        "1500",
        "--record-every",
        "20",
        "--seed",
        "3",
        "--out",
        str(tmp_path),
    ]
    monkeypatch.setattr(sys, "argv", ["breakout_ram.py", *flags])
    game: dict[str, Any] = {"max_num_frames_per_episode": 400, "obs_type": "ram"}
    short: dict[str, Any] = {
        "make_env": partial(gym.make, "ale_py:ALE/Breakout-v5", **game)
    }
    options = breakout.options(breakout.ENV_ID)
    assert (options["solved_at"], options["train_wrapper"]) == (31.8, breakout.OneBall)
    assert options["make_env"]().observation_space.shape == (128,)
    options |= {"test_epsilon": 0.5, "test_episodes": 20, **short}
    run = Run("ale_py:ALE/Breakout-v5", 2000, breakout.config, **options)
    run.train_and_show(film_steps=20)
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= ALWAYS | {"before_after.gif", "episode_00020.gif"}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["steps"], summary["test_epsilon"]) == (1500, 0.5)
    assert (
        len(set(summary["eval_returns"])) > 1
    )  # of random actions, in the game as it is
    history = np.loadtxt(tmp_path / "history.csv", delimiter=",", skiprows=1)
    assert len(history) > 1500 / 100  # a ball, not a game, is an episode
    agent = load(tmp_path / "agent.safetensors")
    assert agent.replay.obs.dtype == np.uint8
    normalize: Any = agent.online.layers[0]
    x = agent.replay.head.astype(np.float32)
    cache = normalize.new_cache(len(x), x.dtype)
    assert np.abs(normalize.forward(x, cache)).max() <= 1.0


def test_pong_from_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    ale_py = pytest.importorskip("ale_py", reason="Pong takes the extra `atari`")
    monkeypatch.syspath_prepend(EXAMPLES)
    gym.register_envs(ale_py)
    pong = importlib.import_module("pong")
    env = pong.make_env(max_num_frames_per_episode=400)
    assert env.observation_space.shape == (84, 84)
    config = replace(pong.config(1000), buffer_size=300, learning_starts=100)
    agent = DQN(env.observation_space, env.action_space, config)
    train(agent, env, 120, progress=False)
    assert (agent.steps, agent.updates) == (120, 6)
    returns = evaluate(agent, pong.make_env(max_num_frames_per_episode=400), 2)
    assert ((returns >= -21.0) & (returns <= 0.0)).all()  # it has learned nothing yet


def test_minatar_from_pixels(tmp_path: Path) -> None:
    pytest.importorskip("minatar", reason="it takes the extra `minatar`")
    script = [sys.executable, str(EXAMPLES / "minatar_games.py")]
    flags = [
        "--set",
        "learning_starts=200",
        "--set",
        "buffer_size=1000",
        "--steps",
        "600",
    ]
    command = [*script, "Breakout", *flags, "--out", str(tmp_path)]
    assert "in 100 new episodes" in subprocess.check_output(command, text=True)
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= ALWAYS | {"before_after.gif"}
    wrong = subprocess.run(
        [*script, "Chess"], check=False, capture_output=True, text=True
    )
    assert wrong.stderr.startswith(
        "usage: minatar_games.py GAME [options], or GAME --help; GAME: Ast"
    )


def test_what_can_be_watched(tmp_path: Path) -> None:
    flags = ["--steps", "3000", "--log-every", "20", "--record-every", "25", "--live"]
    command = [*COMMAND, *flags, "--no-animation", "--out", str(tmp_path)]
    output = subprocess.check_output(
        command,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"MPLBACKEND": "Agg"},
    )
    assert "episode 20, step " in output
    assert "episode 40, step " in output
    assert {path.name for path in tmp_path.glob("*.gif")} >= {"episode_00025.gif"}
    run(
        "--steps",
        40_000,
        "--until-solved",
        "--no-animation",
        "--out",
        tmp_path / "solved",
    )
    summary = json.loads((tmp_path / "solved" / "summary.json").read_text())
    assert 10_000 < summary["steps"] < 40_000


def test_killed_and_resumed(tmp_path: Path) -> None:
    arguments = ["--steps", 3000, "--no-animation", "--checkpoint-every", 500, "--out"]
    run(*arguments, tmp_path / "whole")
    broken = tmp_path / "broken"
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments), str(broken)], stderr=subprocess.DEVNULL
    ) as process:
        while not (broken / "agent.safetensors").exists():
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
    assert not (broken / "summary.json").exists()
    run("--no-animation", "--checkpoint-every", 500, "--out", broken, "--resume")
    summaries = [
        json.loads((folder / "summary.json").read_text())
        for folder in (tmp_path / "whole", broken)
    ]
    for summary in summaries:
        del summary["train_seconds"]
    assert summaries[0] == summaries[1]
    histories = [
        (folder / "history.csv").read_text() for folder in (tmp_path / "whole", broken)
    ]
    assert histories[0] == histories[1]
    other = [*COMMAND, *map(str, arguments), str(broken), "--resume", "--seed", "1"]
    finished = subprocess.run(other, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert "--seed 1: expected 0, the seed of the run in" in finished.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume"], "--resume: there is no "),
        (["--checkpoint-every", "0"], "--checkpoint-every: 0: expected 1 or more"),
        (["--seed", "-1"], "--seed: -1: expected 0 or more"),
        (["--steps", "10"], "--steps 10: expected learning_starts, 200, or more"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    command = [*COMMAND, "--out", str(tmp_path / "none"), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert message in finished.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(
    os.name == "nt", reason="Windows has no SIGINT for one child process"
)
def test_ctrl_c_saves_what_there_is(tmp_path: Path) -> None:
    arguments = ["--steps", "1000000", "--no-animation", "--out", str(tmp_path)]
    environment = os.environ | {"TQDM_DISABLE": ""}
    with subprocess.Popen(
        [*COMMAND, *arguments], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stderr is not None
            progress = ""
            while "mean return" not in progress:
                character = process.stderr.read(1)
                assert character, progress  # else it ended before it had begun to learn
                progress += character
            time.sleep(1.0)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=120)
        except BaseException:
            process.kill()
            raise
    assert process.returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == FILES
    steps = json.loads((tmp_path / "summary.json").read_text())["steps"]
    assert 0 < steps < 1_000_000


def minidqn_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m minidqn` in a folder, where there is no display."""
    taken = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "SDL_VIDEODRIVER")
    clean = {name: value for name, value in os.environ.items() if name not in taken}
    command = [sys.executable, "-m", "minidqn", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=clean
    )


def test_an_environment_with_tuned_settings(tmp_path: Path) -> None:
    flags = ["--steps", "1100", "--set", "n_step=5", "--out", "here"]
    ended = minidqn_command(tmp_path, "CartPole-v1", *flags)
    lines = [line for line in re.split("[\r\n]", ended.stderr) if line]
    assert all(
        " steps/s" in line for line in lines
    )  # the progress bar, and no complaint
    assert len(ended.stdout.splitlines()) == 2
    assert {path.name for path in (tmp_path / "here").iterdir()} == FILES | {
        "before_after.gif"
    }
    config = load(tmp_path / "here" / "agent.safetensors").config
    assert config == tuned("CartPole-v1", 1100, n_step=5)


def test_an_environment_without(tmp_path: Path) -> None:
    ended = minidqn_command(
        tmp_path, "CartPole-v0", "--steps", "1500", "--no-animation"
    )
    assert ended.returncode == 0
    assert "1500 steps and 501 updates" in ended.stdout
    config = load(tmp_path / "runs" / "cartpole" / "agent.safetensors").config
    assert config.learning_rate == LinearDecay(1e-3, 0.0, 1500)
    assert config.epsilon == LinearDecay(1.0, 0.05, 150)


def test_a_command_that_cannot_run_ends_with_a_line(tmp_path: Path) -> None:
    for arguments, message in (
        ([], "usage: python -m minidqn [sweep] ENV_ID"),
        (["--help"], "usage: python -m minidqn [sweep] ENV_ID"),
        (["sweep", "CartPole-v1", "--set", "gama=1"], "setting 'gama': expected gamma"),
        (
            ["sweep", "CartPole-v1", "--set", "tau=1", "--set", "tau=0.1"],
            "expected each name once",
        ),
        (["CartPole-v1", "--set", "tau={'Linear': {}}"], '{}}": expected a number'),
        (["absent:CartPole-v1"], "No module named 'absent'"),
        (["CartPloe-v1"], "`CartPloe`"),
        (
            ["FrozenLake-v1"],
            "expected a Box; gymnasium.wrappers.FlattenObservation converts",
        ),
        (["Pendulum-v1"], "gymnasium.wrappers.DiscretizeAction converts a Box"),
        (["CartPole-v1", "--watch", "--out", "nowhere"], "nowhere"),
        (["CartPole-v1", "--set", "gama=1"], "setting 'gama': expected gamma"),
    ):
        ended = minidqn_command(tmp_path, *arguments)
        assert ended.returncode in (1, 2)
        assert message in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_trained_agent_is_watched(tmp_path: Path) -> None:
    ended = minidqn_command(tmp_path, "CartPole-v1", "--watch")
    assert ended.returncode == 0
    path = Path("runs") / "cartpole" / "watch.gif"
    assert ended.stdout == f"There is no display: see {path}\n"
    with Image.open(tmp_path / path) as film:
        assert (
            getattr(film, "n_frames", 1) > 500
        )  # three episodes, of up to 400 steps each
    assert ended.stderr == ""


def test_a_script_beside_the_clone_imports_the_package(tmp_path: Path) -> None:
    (tmp_path / "minidqn").mkdir()  # the clone, without its content
    (tmp_path / "first.py").write_text("from minidqn import DQN\nprint(DQN.__name__)\n")
    command = [sys.executable, "first.py"]
    assert subprocess.check_output(command, cwd=tmp_path, text=True) == "DQN\n"


def test_a_sweep_from_the_command_line(tmp_path: Path) -> None:
    flags = ["--seeds", "2", "--first", "7", "--steps", "300", "--workers", "2"]
    grid = [
        "--set",
        "hidden=(4,),(8,)",
        "--set",
        "batch_size=16",
        "--set",
        "normalize_obs=False",
    ]
    ended = minidqn_command(tmp_path, "sweep", "CartPole-v1", *flags, *grid)
    assert ended.returncode == 0, ended.stderr
    out = tmp_path / "runs" / "sweep_cartpole"
    names = [f"hidden=({n},),batch_size=16,normalize_obs=False" for n in (4, 8)]
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["name"] for row in rows) == [
        f"{n}/{s}" for n in names for s in (7, 8)
    ]
    assert {(row["steps"], row["gamma"], row["batch_size"]) for row in rows} == {
        ("300", "0.995", "16")
    }
    assert all(0 < float(row["eval_mean"]) <= 500 for row in rows)
    assert not {"eval_returns", "curve"} & rows[0].keys()
    for text in (ended.stdout, (out / "comparison.md").read_text()):
        assert all(f"| {name} | 2 |" in text for name in names)
    with Image.open(out / "comparison.png") as picture:
        assert picture.format == "PNG"
    again = minidqn_command(tmp_path, "sweep", "CartPole-v1", *flags, *grid)
    assert again.returncode == 0
    other = minidqn_command(
        tmp_path, "sweep", "CartPole-v1", *flags[:-2], "--steps", "400", *grid
    )
    assert other.returncode == 2
    assert "has another run, with steps 300" in other.stderr


def test_a_sweep_without_an_end_says_why(tmp_path: Path) -> None:
    ended = minidqn_command(
        tmp_path, "sweep", "CartPole-v1", "--seeds", "1", "--steps", "20"
    )
    assert ended.returncode == 2
    assert "CartPole-v1/0 failed: Traceback" in ended.stderr
    assert "steps is 20: expected enough for the first update" in ended.stderr
    assert "error: no run has ended" in ended.stderr
    ended = minidqn_command(tmp_path, "sweep", "CartPloe-v1", "--seeds", "1")
    assert ended.returncode == 2
    assert ended.stderr.startswith(
        "minidqn sweep: error: Environment `CartPloe` doesn't exist"
    )


def test_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two trials, and one more from the same file; the best is tested on seeds not searched."""
    pytest.importorskip("optuna", reason="tune.py takes the extra `tune`")
    monkeypatch.syspath_prepend(EXAMPLES)
    tune = importlib.import_module("tune")
    monkeypatch.setattr(tune, "STEPS", 250)
    monkeypatch.setattr(tune, "SEEDS", range(1000, 1002))
    for trials, count in ((2, 2), (1, 3)):
        flags = ["--trials", str(trials), "--test-seeds", "2", "--out", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", ["tune.py", *flags])
        tune.main()
        assert f"The best of {count}, trial " in capsys.readouterr().out
    seeds = [
        int(path.name)
        for path in (tmp_path / "250_steps").glob("[0-9]*/*/*")
        if path.is_dir()
    ]
    assert sorted(seeds) == [1000, 1000, 1000, 1001, 1001, 1001]
    tested = json.loads(
        next(tmp_path.glob("250_steps/test_*/CartPole-v1/1/summary.json")).read_text()
    )
    assert (tested["seed"], tested["steps"], tested["test_episodes"]) == (1, 250, 100)
    searched = json.loads(
        next(tmp_path.glob("250_steps/[0-9]*/*/1000/summary.json")).read_text()
    )
    assert searched["test_episodes"] == 20
    assert tested["learning_rate"]["LinearDecay"]["steps"] == 250
