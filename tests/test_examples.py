"""The front door: the examples, as a person runs them."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minidqn import DQN, evaluate, load, load_run, run, train, tuned, tuned_spec
from minidqn.lab.folder import CHECKPOINT, RUN, SUMMARY

EXAMPLES = Path(__file__).parents[1] / "examples"
CARTPOLE = [sys.executable, str(EXAMPLES / "cartpole.py")]
MINIDQN = [sys.executable, "-m", "minidqn"]
ALWAYS = {
    ".lock",
    "agent.safetensors",
    "checkpoint.safetensors",
    "history.csv",
    "tests.csv",
    "learning_curve.png",
    "run.json",
    "summary.json",
}
FILES = ALWAYS | {"value_function.png"}
QUICK = ["--no-animation", "--test-episodes", "2"]
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")


def start(command: list[str], *words: object, cwd: Path, **options: Any) -> Any:
    """Start a command in a folder, where there is no display; do not wait for it."""
    taken = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "SDL_VIDEODRIVER")
    clean = {name: value for name, value in os.environ.items() if name not in taken}
    clean |= options.pop("env", {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    full = [*command, *map(str, words)]
    return subprocess.Popen(full, cwd=cwd, text=True, env=clean, **pipes)


def typed(command: list[str], *words: object, cwd: Path) -> tuple[int, str, str]:
    """Its exit code, and what it printed."""
    with start(command, *words, cwd=cwd) as process:
        out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def result_in(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / SUMMARY).read_text())
    return result


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def wait_until(condition: Callable[[], bool]) -> None:
    """At most two minutes."""
    give_up = time.monotonic() + 120.0
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.001)


def wait_for(file: Path, process: Any) -> None:
    """Until a process has written a file."""
    wait_until(lambda: file.exists() or process.poll() is not None)
    assert file.exists(), process.communicate()


def test_a_run_of_the_example_and_its_files(tmp_path: Path) -> None:
    code, out, err = typed(CARTPOLE, "--steps", 1000, cwd=tmp_path)
    assert code == 0, err
    settings, line, drawing, where = out.splitlines()
    assert drawing == "Drawing the pictures and the film ..."
    assert settings == f"CartPole-v1, seed 0, 1000 steps, {tuned('CartPole-v1', 1000)}"
    assert line.startswith("1000 steps and 401 updates in ")
    assert where == "The agent, its history and pictures are in runs/cartpole"
    # the progress bar, and no complaint
    lines = [line for line in re.split("[\r\n]", err) if line]
    assert all(" steps/s" in line for line in lines)
    folder = tmp_path / "runs" / "cartpole"
    assert files_in(folder) == FILES | {"before_after.gif"}
    result = result_in(folder)
    assert (result["env_id"], result["seed"]) == ("CartPole-v1", 0)
    assert result["test_episodes"] == len(result["eval_returns"]) == 100
    assert load(folder / "agent.safetensors").config == tuned("CartPole-v1", 1000)

    # it is the run of python -m minidqn, too
    code, out, err = typed(MINIDQN, "CartPole", "--steps", 1000, cwd=tmp_path)
    assert out.splitlines() == [
        "This run has ended before, in runs/cartpole; --fresh makes it anew.",
        line,
        drawing,
        where,
    ]
    assert err == ""


def test_the_seed_settles_the_run_whatever_the_number_of_threads(
    tmp_path: Path,
) -> None:
    processes = []
    for folder, seed, threads in (("a", 0, "1"), ("b", 0, "2"), ("c", 1, "2")):
        words = ["--seed", seed, "--steps", 1000, "--out", folder, *QUICK]
        env = {"OPENBLAS_NUM_THREADS": threads}
        processes.append(start(CARTPOLE, *words, cwd=tmp_path, env=env))
    for process in processes:
        assert process.wait(300) == 0, process.communicate()
        process.communicate()
    a, b, c = (result_in(tmp_path / name) for name in "abc")
    assert a["params_sha256"] == b["params_sha256"] != c["params_sha256"]
    assert a["eval_returns"] == b["eval_returns"]


@pytest.mark.parametrize("name", ["acrobot", "mountaincar", "lunarlander"])
def test_the_other_environments(name: str, tmp_path: Path) -> None:
    if name == "lunarlander":
        reason = "its physics have no wheel for the newest Python"
        pytest.importorskip("Box2D", reason=reason)
    command = [sys.executable, str(EXAMPLES / f"{name}.py")]
    words = ["--steps", 1100, "--out", ".", *QUICK]
    code, out, err = typed(command, *words, cwd=tmp_path)
    assert code == 0, err
    assert "1100 steps" in out
    assert files_in(tmp_path) == (FILES if name == "mountaincar" else ALWAYS)
    result = result_in(tmp_path)
    assert result["env_id"].lower().startswith(name)
    config = load(tmp_path / "agent.safetensors").config
    assert config == tuned(result["env_id"], 1100)


def test_breakout_from_ram(tmp_path: Path) -> None:
    """The script makes the same run as python -m minidqn; it has functions of its own."""
    pytest.importorskip("ale_py", reason="Breakout takes the extra `atari`")
    script = [sys.executable, str(EXAMPLES / "breakout_ram.py")]
    words = ["--steps", 1200, "--record-every", 20, "--set", "epsilon=1", "--seed", 3]
    words += ["--test-max-steps", 100, *QUICK]
    code, out, err = typed(script, *words, cwd=tmp_path)
    assert code == 0, err
    folder = tmp_path / "runs" / "breakout"
    assert files_in(folder) >= ALWAYS | {"episode_00020.gif"}
    result = result_in(folder)
    assert (result["steps"], result["test_epsilon"]) == (1200, 0.001)
    assert result["solved_at"] == 31.8
    assert result["train_wrapper"] == "minidqn.examples.breakout_ram.OneBall"
    history = np.loadtxt(folder / "history.csv", delimiter=",", skiprows=1)
    assert len(history) > 1200 / 60  # a ball, not a game, is an episode
    assert set(np.unique(history[:, 1] % 1)) == {0.0}  # bricks

    agent, _ = load_run(folder / CHECKPOINT)
    assert agent.replay.dtype == np.uint8
    normalize: Any = agent.online.layers[0]
    x = agent.replay.head.astype(np.float32)
    cache = normalize.new_cache(len(x), x.dtype)
    assert np.abs(normalize.forward(x, cache)).max() <= 1.0

    code, out, err = typed(MINIDQN, "ale_py:ALE/Breakout", *words, cwd=tmp_path)
    assert "This run has ended before, in runs/breakout; " in out


def test_pong_from_pixels() -> None:
    pytest.importorskip("ale_py", reason="Pong takes the extra `atari`")
    pong: Any = import_module("minidqn.examples.pong")
    make_env = partial(pong.make_env, max_num_frames_per_episode=400)
    with make_env() as env:
        assert env.observation_space.shape == (84, 84)
        config = tuned(pong.ENV_ID, 1000, buffer_size=300, learning_starts=100)
        agent = DQN(env.observation_space, env.action_space, config)
        train(agent, env, 120, progress=False)
    assert (agent.steps, agent.updates) == (120, 6)
    returns = evaluate(agent, make_env(), 2)
    assert ((returns >= -21.0) & (returns <= 0.0)).all()  # it has learned nothing yet


def test_minatar_from_pixels(tmp_path: Path) -> None:
    pytest.importorskip("minatar", reason="it takes the extra `minatar`")
    script = [sys.executable, str(EXAMPLES / "minatar_games.py")]
    words = ["--set", "learning_starts=200", "--set", "buffer_size=1000"]
    words += ["--steps", "600", "--test-episodes", "5"]
    code, out, err = typed(script, "Breakout", *words, cwd=tmp_path)
    assert code == 0, err
    assert "in 5 new episodes" in out
    folder = tmp_path / "runs" / "minatar_breakout"
    assert files_in(folder) == ALWAYS | {"before_after.gif", "filters.png"}
    code, _, err = typed(script, "Chess", cwd=tmp_path)
    assert code != 0
    assert err.startswith("usage: minatar_games.py [train | watch | sweep] GAME [opt")
    assert "; GAME: Asterix, Breakout, " in err
    for command in (["watch", "Breakout"], ["Breakout", "watch"]):
        code, out, err = typed(script, *command, "--help", cwd=tmp_path)
        assert (code, err) == (0, "")
        assert out.startswith(
            "usage: minatar_games.py watch [-h] [--version] [--from RUN]"
        )
    words += ["--no-animation"]
    code, out, err = typed(MINIDQN, "MinAtar/Breakout-v0", *words, cwd=tmp_path)
    assert out.startswith("This run has ended before, in runs/minatar_breakout; ")


def test_a_board_game(tmp_path: Path) -> None:
    script = [sys.executable, str(EXAMPLES / "board_games.py")]
    words = ["--steps", "1100", "--test-episodes", "5"]
    code, out, err = typed(script, "connect4", *words, cwd=tmp_path)
    assert code == 0, err
    assert "in 5 new episodes" in out
    folder = tmp_path / "runs" / "connect4"
    assert files_in(folder) == ALWAYS | {"before_after.gif"}
    code, _, err = typed(script, "chess", cwd=tmp_path)
    assert code != 0
    usage = (
        "usage: board_games.py [train | watch | sweep] GAME [options], or GAME --help"
    )
    assert err == f"{usage}; GAME: TicTacToe, Connect4\n"
    code, out, err = typed(script, "watch", "connect4", "--help", cwd=tmp_path)
    assert out.startswith("usage: board_games.py watch")
    code, out, err = typed(MINIDQN, "Connect4-v0", *words, cwd=tmp_path)
    assert out.startswith("This run has ended before, in runs/connect4; ")


def test_a_trained_agent_is_watched(tmp_path: Path) -> None:
    code, out, err = typed(MINIDQN, "watch", "CartPole-v1", cwd=tmp_path)
    path = Path("runs") / "watch_cartpole.gif"
    assert (code, err) == (0, "")
    assert out.endswith(f"There is no display: see {path}\n")
    assert files_in(tmp_path / "runs") == {path.name}
    with Image.open(tmp_path / path) as film:
        # three episodes, of up to 400 steps each
        assert getattr(film, "n_frames", 1) > 500


# --- Stopped, killed, and at the same moment


@posix
def test_killed_it_goes_on(tmp_path: Path) -> None:
    """It ends on the same parameters as a run in one go, and is not made a third time."""
    with start(CARTPOLE, *QUICK, cwd=tmp_path) as process:
        folder = tmp_path / "runs" / "cartpole"
        wait_for(folder / CHECKPOINT, process)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / SUMMARY).exists()
    code, out, err = typed(CARTPOLE, *QUICK, cwd=tmp_path)
    assert code == 0, err
    first, settings, line, *_ = out.splitlines()
    assert first == "Going on with the run in runs/cartpole."
    assert settings.startswith("CartPole-v1, seed 0, 20000 steps, DQNConfig(")
    assert line.startswith("20000 steps and 9901 updates, resumed. ")
    in_one_go = run(tuned_spec("CartPole-v1"), tmp_path / "whole", progress=False)
    assert result_in(folder)["params_sha256"] == in_one_go["params_sha256"]
    code, out, err = typed(CARTPOLE, *QUICK, cwd=tmp_path)
    assert out.startswith("This run has ended before, in runs/cartpole; ")


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_of_two_into_one_folder_one_runs_and_can_be_stopped(
    tmp_path: Path, number: int
) -> None:
    """Started at the same moment, from different seeds; nothing is mixed."""
    words = ["--steps", 1_000_000, "--out", "it", *QUICK]
    both = [start(CARTPOLE, *words, "--seed", n, cwd=tmp_path) for n in range(2)]
    with both[0], both[1]:
        try:
            wait_until(lambda: any(process.poll() is not None for process in both))
            [refused] = [process for process in both if process.poll() is not None]
            [winner] = [process for process in both if process.poll() is None]
            wait_for(tmp_path / "it" / CHECKPOINT, winner)
            winner.send_signal(number)
            assert winner.wait(60) == 130
        finally:
            for process in both:
                process.kill()
        assert refused.returncode == 2
        error = refused.communicate()[1]
        # the second, if the first one has written its first checkpoint by then
        assert re.match(
            r"cartpole\.py: error: it (is in use: |has another run, )", error
        )
        assert len(error.splitlines()) == 1
        assert winner.communicate()[1].endswith("Stopped. The same command goes on.\n")
    seed = both.index(winner)
    assert json.loads((tmp_path / "it" / RUN).read_text())["seed"] == seed
    agent, history = load_run(tmp_path / "it" / CHECKPOINT)
    assert agent.seed == seed
    assert 0 < agent.steps < 1_000_000
    played = history["length"].sum() + len(history.unfinished[0].actions)
    assert played == agent.steps
    assert files_in(tmp_path / "it") == {".lock", RUN, CHECKPOINT}


@posix
def test_different_runs_at_the_same_moment_take_different_folders(
    tmp_path: Path,
) -> None:
    words = ["--steps", 1_000_000, *QUICK]
    both = [start(CARTPOLE, *words, "--seed", n, cwd=tmp_path) for n in range(2)]
    with both[0], both[1]:
        try:
            for process, name in zip(both, ("cartpole", "cartpole-2"), strict=True):
                wait_for(tmp_path / "runs" / name / RUN, process)
        finally:
            for process in both:
                process.kill()
    runs = [json.loads(file.read_text()) for file in tmp_path.glob("runs/*/run.json")]
    assert sorted(run["seed"] for run in runs) == [0, 1]


@posix
def test_what_cannot_be_printed_costs_nothing(tmp_path: Path) -> None:
    """A closed pipe, a terminal without a sign for ±, and a full disk."""
    words = ["--steps", 1000, "--log-every", 10, *QUICK, "--out"]
    head = start(CARTPOLE, *words, "head", cwd=tmp_path, env={"PYTHONUNBUFFERED": "1"})
    ascii_ = {"PYTHONIOENCODING": "ascii"}
    plain = start(CARTPOLE, *words, "plain", cwd=tmp_path, env=ascii_)
    with Path("/dev/full").open("w") as full, head, plain:
        options: Any = {"stdout": full, "stderr": full}
        nowhere = start(CARTPOLE, *words, "full", cwd=tmp_path, **options)
        _, *lines = [head.stdout.readline() for _ in range(4)]  # first the settings
        head.stdout.close()
        assert [line.partition(",")[0] for line in lines] == [
            f"episode {10 * number}" for number in (1, 2, 3)
        ]
        text = plain.communicate()[0]
        assert " ? " in text.splitlines()[-3]
        for process in (head, plain, nowhere):
            assert process.wait(60) == 0
    for name in ("head", "plain", "full"):
        assert files_in(tmp_path / name) == FILES


def test_a_command_that_cannot_run_ends_with_a_line(tmp_path: Path) -> None:
    code, out, err = typed(MINIDQN, "train", "CartPloe-v1", cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith(
        "python -m minidqn train: error: Environment `CartPloe` doesn"
    )
    assert len(err.splitlines()) == 1
    assert files_in(tmp_path) == set()


# --- Around a clone


def test_a_script_beside_the_clone_imports_the_package(tmp_path: Path) -> None:
    (tmp_path / "minidqn").mkdir()  # the clone, without its content
    (tmp_path / "first.py").write_text("from minidqn import DQN\nprint(DQN.__name__)\n")
    command = [sys.executable, "first.py"]
    assert subprocess.check_output(command, cwd=tmp_path, text=True) == "DQN\n"


CORRIDOR = """
import gymnasium as gym
import numpy as np

class Corridor(gym.Env):
    observation_space = gym.spaces.Box(0.0, 4.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.cell = 0
        return np.array([0.0], np.float32), {}

    def step(self, action):
        self.cell = max(self.cell + 2 * int(action) - 1, 0)
        out = self.cell == 4
        return np.array([self.cell], np.float32), float(out), out, False, {}

gym.register("Corridor-v0", "my_corridor:Corridor", max_episode_steps=20)
"""


def test_an_environment_in_a_file_of_one_s_own(tmp_path: Path) -> None:
    """In the folder where one is: for a run, and for the workers of a sweep."""
    (tmp_path / "my_corridor.py").write_text(CORRIDOR)
    words = ["my_corridor:Corridor-v0", "--steps", 1100]
    code, out, err = typed(MINIDQN, *words, "--test-episodes", 2, cwd=tmp_path)
    assert code == 0, err
    assert out.startswith("There will be no film: my_corridor:Corridor-v0 cannot draw ")
    assert files_in(tmp_path / "runs" / "corridor") == ALWAYS

    sweep = ["--seeds", 2, "--workers", 2]
    code, out, err = typed(MINIDQN, "sweep", *words, *sweep, cwd=tmp_path)
    assert code == 0, err
    results = list(tmp_path.glob(f"runs/sweep_corridor/**/{SUMMARY}"))
    assert len(results) == 2


OF_SCRIPT = """
from minidqn import DQNConfig, Spec
from minidqn.lab.cli import main

def make_env(**options):
    return gym.wrappers.TimeLimit(Corridor(), 20)

def spec(steps=200, seed=0):
    config = DQNConfig(learning_starts=100)
    return Spec("Mine-v0", config, steps, seed, make_env=make_env, test_episodes=2)

if __name__ == "__main__":
    main(spec)
"""


def test_a_script_of_one_s_own(tmp_path: Path) -> None:
    """Its environment is the same one next time, and in a worker; not if it changes."""
    script = tmp_path / "mine.py"
    text = CORRIDOR.partition("gym.register")[0] + OF_SCRIPT
    script.write_text(text)
    command = [sys.executable, "mine.py"]
    code, out, err = typed(command, "--no-animation", cwd=tmp_path)
    assert code == 0, err
    assert result_in(tmp_path / "runs" / "mine")["make_env"] == "mine.make_env"
    script.write_text(f"# a comment\n{text}")
    code, out, err = typed(command, "--no-animation", cwd=tmp_path)
    assert out.startswith("This run has ended before, in runs/mine; ")
    for _ in range(2):
        code, out, err = typed(command, "sweep", "--seeds", 2, cwd=tmp_path)
        assert code == 0, err
    script.write_text(text.replace("Corridor(), 20", "Corridor(), 30"))
    code, out, err = typed(command, "--no-animation", cwd=tmp_path)
    assert out.startswith("runs/mine has this run with another code: mine (the script")
    assert "runs/mine-2\n" in out


# --- Many runs


def test_a_sweep_from_the_command_line(tmp_path: Path) -> None:
    words = ["--seeds", 2, "--first", 7, "--workers", 2, "--steps", 300]
    words += ["--set", "hidden=4/8", "--set", "batch_size=16"]
    words += ["--set", "normalize_obs=false"]
    sweep = partial(typed, MINIDQN, "sweep", "CartPole-v1", *words, cwd=tmp_path)
    code, printed, err = sweep()
    assert code == 0, err
    out = tmp_path / "runs" / "sweep_cartpole"
    names = [f"hidden={n},batch_size=16,normalize_obs=false" for n in (4, 8)]
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [f"{name}/{seed}" for name in names for seed in (7, 8)]
    assert sorted(row["name"] for row in rows) == expected
    settings = {(row["steps"], row["gamma"], row["batch_size"]) for row in rows}
    assert settings == {("300", "0.995", "16")}
    assert all(0 < float(row["eval_mean"]) <= 500 for row in rows)
    assert not {"eval_returns", "curve"} & rows[0].keys()
    for text in (printed, (out / "comparison.md").read_text()):
        assert all(f"| {name} | 2 |" in text for name in names)
    with Image.open(out / "comparison.png") as picture:
        assert picture.format == "PNG"
    assert sweep()[0] == 0
    code, _, err = sweep("--steps", 400)
    assert code == 2
    assert "has another run, with " in err
    assert "steps 300 instead of 400" in err


def test_a_sweep_that_cannot_run_says_why(tmp_path: Path) -> None:
    for words, message in (
        (
            ["CartPole-v1", "--steps", 20],
            "steps is 20: expected learning_starts, 200, o",
        ),
        (
            ["CartPole-v1", "--set", "gama=1"],
            "argument --set: setting 'gama': expected",
        ),
        (
            ["CartPole-v1", "--set", "tau=1", "--set", "tau=0.1"],
            "--set tau is given twice: expected tau=VALUE/VALUE",
        ),
    ):
        code, _, err = typed(MINIDQN, "sweep", *words, cwd=tmp_path)
        assert code == 2
        assert err.startswith(f"python -m minidqn sweep: error: {message}")
        assert len(err.splitlines()) == 1
        assert files_in(tmp_path) == set()


def test_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two trials, and one more from the same file; the best is tested on seeds not searched."""
    pytest.importorskip("optuna", reason="tune.py takes the extra `tune`")
    tune: Any = import_module("minidqn.examples.tune")
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
