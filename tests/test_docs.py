"""The Python on README and in docs/ runs as it stands there, in shorter runs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from minidqn import DQN, load, train

from .test_recorded import cartpole, record, write_minari

ROOT = Path(__file__).parent.parent
# only runs are shortened: the settings keep their length, and are valid with it
SHORTER = {
    "learning_rate=LinearDecay(1e-3, 0.0, 50_000)": "buffer_size=2_000",
    'tuned("Acrobot-v1", 50_000)': 'tuned("Acrobot-v1", 50_000, learning_starts=900)',
    'tuned("TicTacToe-v0")': 'tuned("TicTacToe-v0", learning_starts=300)',
    "50_000": "1_500",
    "40_000": "300",
    "20_000": "1_200",
    "10_000": "700",
    "episodes=100": "episodes=2",
}


def blocks_of(page: str) -> list[str]:
    """The Python of a page, block by block, with shorter runs."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for long, short in SHORTER.items():
        blocks = [block.replace(long, short) for block in blocks]
    return blocks


def run_blocks(page: str) -> dict[str, Any]:
    """Run the blocks of a page one after another; the names that they define."""
    known: dict[str, Any] = {}
    for block in blocks_of(page):
        exec(compile(block, page, "exec"), known)
    return known


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_readme(tmp_path: Path) -> None:
    known = run_blocks("README.md")
    assert known["agent"].steps == 1_500
    assert known["action"] in (0, 1, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"agent.safetensors"}


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Gymnasium's advice on versions
def test_your_own_environment(tmp_path: Path) -> None:
    known: dict[str, Any] = {}
    loops = 0
    for block in blocks_of("docs/environments.md"):
        exec(compile(block, "environments.md", "exec"), known)
        if "episode_seed" in block:  # its own loop is the same run as train's
            mine = known["agent"]
            other = DQN(mine.observation_space, mine.action_space, mine.config, seed=0)
            history = train(other, gym.make("Acrobot-v1"), mine.steps, progress=False)
            np.testing.assert_array_equal(mine.online.params, other.online.params)
            np.testing.assert_array_equal(known["history"].rows, history.rows)
            loops += 1
    assert loops == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        "agent.safetensors",
        "best.safetensors",
        "curve.png",
        "log.csv",
        "policy.safetensors",
    }
    assert (tmp_path / "policy.safetensors").stat().st_size < 30_000
    assert known["agent"].network is known["build"]  # the last block's
    del gym.registry["MyEnv-v0"]


def test_if_it_does_not_learn(tmp_path: Path) -> None:
    known = run_blocks("docs/not_learning.md")
    assert known["agent"].n_actions == 5  # of Pendulum's torque
    assert known["agent"].steps == 1_500
    assert (tmp_path / "film.gif").stat().st_size > 10_000


def test_stop_it_anywhere(tmp_path: Path) -> None:
    known = run_blocks("docs/resume.md")
    assert known["result"]["steps"] == 1_200
    assert (tmp_path / "runs" / "one" / "summary.json").exists()
    assert known["agent"].steps == 1_500


def test_a_script_survives_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at step 1,000, it goes on from the last file, to the same bits."""
    script = next(each for each in blocks_of("docs/resume.md") if "save_every" in each)

    def killed(agent: DQN, history: Any) -> None:
        if agent.steps == 1_000:
            raise RuntimeError("killed")

    def train_and_die(*given: Any, on_step: Any, **options: Any) -> None:
        train(*given, on_step=[on_step, killed], **options)

    with monkeypatch.context() as patch:
        patch.setattr("minidqn.train", train_and_die)
        with pytest.raises(RuntimeError, match="killed"):
            exec(compile(script, "resume.md", "exec"), {})
    assert load("mine.safetensors").steps == 700
    for _ in range(2):  # once it has ended, it only tests
        known: dict[str, Any] = {}
        exec(compile(script, "resume.md", "exec"), known)
        assert known["agent"].steps == 1_500
    (tmp_path / "mine.safetensors").unlink()
    straight: dict[str, Any] = {}
    exec(compile(script, "resume.md", "exec"), straight)
    np.testing.assert_array_equal(
        known["agent"].online.params, straight["agent"].online.params
    )


def test_a_policy_goes_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx", reason="it takes the extra `onnx`")
    pytest.importorskip("onnxruntime", reason="it takes the extra `onnx`")
    trained = tmp_path / "examples" / "trained"
    trained.mkdir(parents=True)
    shutil.copy(ROOT / "examples" / "trained" / "cartpole.safetensors", trained)
    shutil.copy(ROOT / "examples" / "act.py", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    policy = "examples/trained/cartpole.safetensors"
    script = ROOT / "examples" / "export_onnx.py"
    subprocess.run([sys.executable, script, policy, "cartpole.onnx"], check=True)
    known = run_blocks("docs/deploy.md")
    assert known["params"].shape == (4610,)
    assert known["steps"] == 500
    assert (known["q"].shape, known["action"]) == ((1, 2), 0)
    printed = capsys.readouterr().out.removesuffix("500\n")
    assert printed in (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


def test_your_own_ideas(tmp_path: Path) -> None:
    known = run_blocks("docs/extending.md")
    assert known["with_bonus"] > 0.9  # it has found the treasure
    assert known["without"] < 0.1
    env = known["DeepSea"]()
    for name in ("Munchausen", "Conservative", "SoftDQN", "Forgetful", "Pessimist"):
        settings = {"n_step": 1} if name == "Munchausen" else {}
        known["try_it"](env, known[name], 300, **settings)
    assert known["spec"].agent is known["Pessimist"]

    # the gradient of the loss on the page, against differences
    loss = known["ConservativeLoss"](3, 4, np.dtype(np.float64), 1.0)
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(3, 4))
    rest = rng.integers(4, size=3), rng.normal(size=3), np.array([1.0, 0.5, 2.0])
    gradient = loss.gradient(outputs, *rest)[2].copy()
    for entry in np.ndindex(3, 4):
        two = []
        for h in (1e-6, -1e-6):
            near = outputs.copy()
            near[entry] += h
            two.append(loss.gradient(near, *rest)[0])
        assert gradient[entry] == pytest.approx((two[0] - two[1]) / 2e-6, abs=1e-8)


def test_reading_names_every_file() -> None:
    text = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    files = (ROOT / "minidqn").rglob("*.py")
    names = {path.relative_to(ROOT).as_posix() for path in files}
    named = {name for name in names if f"(../{name})" in text}
    assert {name for name in names - named if "__" not in name} == set()


def test_masks() -> None:
    known = run_blocks("docs/masks.md")
    assert known["agent"].steps == 300
    assert known["env"].observation_space.shape == (18,)


def test_recorded_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_minari(tmp_path, monkeypatch, "cartpole/recorded-v0", record(cartpole(), 20))
    known = run_blocks("docs/recorded.md")
    assert known["dataset"].total_episodes == 20
    # the demonstrations: as many steps as the page says
    recorded = sum(len(episode.actions) for episode in known["episodes"])
    page = (ROOT / "docs" / "recorded.md").read_text(encoding="utf-8")
    assert f"{recorded:,} recorded steps" in page
    rate = known["config"].learning_rate
    assert rate.steps == recorded + 20_000
    assert known["agent"].steps == recorded + 1_200
    assert known["agent"].updates == 1_200


def test_a_sweep(tmp_path: Path) -> None:
    script = blocks_of("docs/sweeps.md")[0]
    script = script.replace("20_000", "1_200").replace("range(10)", "range(1)")
    (tmp_path / "compared.py").write_text(script, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "compared.py"], capture_output=True, text=True, check=True
    )
    assert "n_step=40" in done.stdout
    assert (tmp_path / "runs" / "two_n_steps" / "comparison.png").exists()


def test_the_package_index(tmp_path: Path) -> None:
    [block] = blocks_of("docs/package_index.md")
    exec(compile(block, "package_index.md", "exec"), {})
    assert (tmp_path / "agent.safetensors").exists()


def test_readme_is_short() -> None:
    words = (ROOT / "README.md").read_text(encoding="utf-8").split()
    assert 900 <= len(words) <= 1_100


def test_every_option_is_described_on_the_page_of_the_command_line() -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    command = [sys.executable, "-m", "minidqn", "train", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"--[a-z-]+", shown)) - {"--help"}
    assert len(options) > 10
    for option in options:
        assert option in text, option


def test_an_environment_of_ones_own_on_the_command_line(tmp_path: Path) -> None:
    [module] = [
        block
        for block in blocks_of("docs/environments.md")
        if 'register("MyEnv-v0"' in block
    ]
    assert len([line for line in module.splitlines() if line]) <= 8
    (tmp_path / "my_module.py").write_text(module, encoding="utf-8")
    words = [
        "-m",
        "minidqn",
        "my_module:MyEnv-v0",
        "--steps",
        "1200",
        "--test-episodes",
        "2",
    ]
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=True
    )
    assert "in 2 new episodes" in done.stdout
    assert "warning" not in done.stderr
    assert (tmp_path / "runs" / "myenv" / "agent.safetensors").exists()
