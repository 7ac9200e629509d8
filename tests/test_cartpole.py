"""The front door: the example as a person runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minidqn import load

SCRIPT = Path(__file__).parent.parent / "examples" / "cartpole.py"
COMMAND = [sys.executable, str(SCRIPT)]
FILES = {"learning_curve.png", "agent.safetensors", "history.csv", "summary.json"}


def run(*arguments: object) -> None:
    subprocess.run([*COMMAND, *map(str, arguments)], check=True, capture_output=True, timeout=300)


def test_it_leaves_its_files_and_the_seed_settles_the_run(tmp_path: Path) -> None:
    hashes = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        animation = ["--no-animation"] if folder != "a" else []
        run("--seed", seed, "--steps", 1000, "--out", tmp_path / folder, *animation)
        files = FILES | {"before_after.gif"} if folder == "a" else FILES
        assert {path.name for path in (tmp_path / folder).iterdir()} == files
        summary = json.loads((tmp_path / folder / "summary.json").read_text())
        hashes.append(summary["params_sha256"])
    assert hashes[0] == hashes[1] != hashes[2]

    assert summary["env_id"] == "CartPole-v1"
    assert (summary["seed"], summary["steps"], summary["eval_episodes"]) == (1, 1000, 100)
    assert summary["eval_mean"] == pytest.approx(np.mean(summary["eval_returns"]))
    assert summary["eval_min"] == min(summary["eval_returns"])
    assert load(tmp_path / "c" / "agent.safetensors").updates == summary["updates"] > 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one child process")
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
