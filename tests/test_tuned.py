"""The tuned settings, which stand in the examples."""

import pickle
import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from minidqn import DQN, DQNConfig, LinearDecay, Spec, examples, tuned, tuned_spec
from minidqn.lab.places import short_name
from minidqn.lab.show import Shown
from minidqn.lab.tuned import EXAMPLES, advice, example, has_example, known_id, maker_of

# scripts that are no example of an environment
OTHERS = {"one_page", "five_tutorials", "tune", "playground", "act", "export_onnx"}


def test_the_settings_of_an_example_are_known_by_its_environment() -> None:
    config = tuned("CartPole-v1")
    assert isinstance(config, DQNConfig)
    assert (config.n_step, config.gamma) == (20, 0.995)
    spec = tuned_spec("CartPole-v1")
    assert (spec.env_id, spec.steps, spec.seed) == ("CartPole-v1", 20_000, 0)
    assert spec.config == config


@pytest.mark.parametrize("env_id", EXAMPLES)
def test_an_example_makes_a_run_of_any_length(env_id: str) -> None:
    make = maker_of(env_id)
    assert isinstance(example(env_id).SHOWN, Shown)
    spec = make()
    assert (spec.env_id, spec.seed) == (env_id, 0)
    config = spec.config
    rate: Any = config.learning_rate
    assert rate == LinearDecay(rate.start, 0.0, spec.steps)
    assert tuned(env_id) == tuned(env_id, spec.steps) == config
    beta = LinearDecay(0.4, 1.0, spec.steps)
    prioritised = replace(config, priority_alpha=0.6, priority_beta=beta)
    assert tuned(env_id, priority_alpha=0.6) == prioritised
    given = tuned(env_id, priority_alpha=0.6, priority_beta=0.5)
    assert given == replace(prioritised, priority_beta=0.5)

    short = make(steps=12_345, seed=7)
    assert (short.steps, short.seed) == (12_345, 7)
    for name in ("learning_rate", "epsilon"):
        whole, part = getattr(config, name), getattr(short.config, name)
        assert (part.start, part.end) == (whole.start, whole.end)
        assert part.steps / 12_345 == pytest.approx(whole.steps / spec.steps)


@pytest.mark.parametrize("env_id", EXAMPLES)
def test_the_settings_of_an_example_make_an_agent(env_id: str) -> None:
    config = tuned(env_id)
    space: gym.Space[Any] = gym.spaces.Box(0, 255, (128,), np.uint8)
    actions: gym.Space[Any] = gym.spaces.Discrete(4)
    if env_id in ("CartPole-v1", "Acrobot-v1", "MountainCar-v0"):
        env = gym.make(env_id)  # they need nothing else
        space, actions = env.observation_space, env.action_space
    elif "MinAtar" in env_id:
        space = gym.spaces.Box(0, 1, (10, 10, 4), np.bool_)
    elif config.conv:
        space = gym.spaces.Box(0, 255, (84, 84), np.uint8)
    assert DQN(space, actions, config).config == config


def test_every_example_of_an_environment_is_known() -> None:
    scripts = {path.stem for path in examples.FOLDER.glob("*.py")} - OTHERS
    assert scripts == set(EXAMPLES.values())


@pytest.mark.parametrize("env_id", EXAMPLES)
def test_what_each_learned_lies_under_the_name_of_its_environment(env_id: str) -> None:
    for name in (env_id, f"some_package:{env_id}", env_id.rpartition("-v")[0]):
        path = examples.FOLDER / "trained" / f"{short_name(name)}.safetensors"
        assert path.exists()


@pytest.mark.parametrize(
    ("env_id", "known"),
    [
        ("CartPole-v1", "CartPole-v1"),
        ("CartPole", "CartPole-v1"),
        ("gymnasium:CartPole-v1", "CartPole-v1"),
        ("gymnasium:CartPole", "CartPole-v1"),
        ("ale_py:ALE/Breakout-v5", "ALE/Breakout-v5"),
        ("ale_py:ALE/Breakout", "ALE/Breakout-v5"),
        ("MinAtar/Breakout", "MinAtar/Breakout-v0"),
        ("PongNoFrameskip", "PongNoFrameskip-v4"),
        ("TicTacToe", "TicTacToe-v0"),
        ("CartPole-v0", ""),
        ("CartPole-v", ""),
        ("Breakout-v5", ""),
        ("cartpole", ""),
        ("CartPole-v1:", ""),
        ("", ""),
    ],
)
def test_an_id_need_not_be_written_out(env_id: str, known: str) -> None:
    assert known_id(env_id) == known
    assert has_example(env_id) == bool(known)


def test_other_environments_get_usual_settings() -> None:
    spec = tuned_spec("Taxi-v3", 2000, 5)
    assert (spec.env_id, spec.steps, spec.seed) == ("Taxi-v3", 2000, 5)
    assert spec.config.learning_rate == LinearDecay(1e-3, 0.0, 2000)
    assert spec.config.epsilon == LinearDecay(1.0, 0.05, 200)
    assert maker_of("Taxi-v3")().steps == 50_000


def test_the_module_that_registers_an_environment_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_registering_module.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert maker_of("my_registering_module:CartPole-v1")().env_id == "CartPole-v1"
    assert "my_registering_module" in sys.modules
    for env_id in ("no_such_module:CartPole-v1", "no_such_module:Maze-v0"):
        with pytest.raises(ImportError, match="No module named 'no_such_module'"):
            maker_of(env_id)


def test_decays_take_the_same_share_of_other_runs() -> None:
    full, short = tuned("CartPole-v1"), tuned("CartPole-v1", 10_000)
    assert full.learning_rate == LinearDecay(3e-3, 0.0, 20_000)
    assert short.learning_rate == LinearDecay(3e-3, 0.0, 10_000)
    assert short.epsilon == LinearDecay(1.0, 0.1, 1_000)
    assert short.n_step == full.n_step


def test_changes_win() -> None:
    beta = LinearDecay(0.5, 0.6, 7)
    config = tuned("CartPole-v1", 10_000, n_step=1, epsilon=0.5, priority_beta=beta)
    assert (config.n_step, config.epsilon, config.gamma) == (1, 0.5, 0.995)
    assert config.priority_beta == beta


def test_a_run_of_a_sweep_has_the_tuned_settings() -> None:
    changes: Any = {"priority_alpha": 0.6}
    spec = tuned_spec("CartPole-v1", 20_000, 3, **changes)
    assert spec.config == tuned("CartPole-v1", 20_000, **changes)
    assert (spec.seed, spec.steps) == (3, 20_000)


def test_the_runs_of_examples_reach_a_worker() -> None:
    for env_id in EXAMPLES:
        spec = tuned_spec(env_id)
        received: Spec = pickle.loads(pickle.dumps(spec))
        assert received.about() == spec.about()
        assert repr(received.make_env) == repr(spec.make_env)
    spec = tuned_spec("MinAtar/Breakout-v0")
    assert (spec.solved_at, spec.test_epsilon) == (9.0, 0.001)


def test_the_environments_of_examples() -> None:
    pytest.importorskip("ale_py", reason="they take the extra `atari`")
    spec = tuned_spec("ALE/Breakout-v5")
    with spec.make(training=True) as training, spec.make() as test:
        assert training.observation_space == test.observation_space
        assert type(training).__name__ == "OneBall"
    with tuned_spec("PongNoFrameskip-v4").make(render_mode="rgb_array") as env:
        assert env.render_mode == "rgb_array"
        assert env.observation_space.shape == (84, 84)


def test_unknown_environments_and_settings_are_refused() -> None:
    with pytest.raises(
        ValueError, match="env_id is 'Pong': expected one of CartPole-v"
    ):
        tuned("Pong")
    with pytest.raises(ValueError, match="setting 'n_steps': expected n_step or "):
        tuned("CartPole-v1", n_steps=3)


def test_what_is_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = ImportError("No module named 'ale_py'")
    for package in ("ale_py", "pygame"):
        monkeypatch.setitem(sys.modules, package, None)
    assert advice(missing) == '; pip install "minidqn[atari]" installs it'
    unknown = gym.error.NamespaceNotFound("Namespace ALE not found.")
    assert advice(unknown) == '; pip install "minidqn[atari]" installs it'
    no_window = gym.error.DependencyNotInstalled("pygame is not installed, run")
    assert advice(no_window) == '; pip install "minidqn[examples]" installs it'
    monkeypatch.setitem(sys.modules, "Box2D", None)
    no_physics = gym.error.DependencyNotInstalled("Box2D is not installed")
    for newest, end in ((False, '[examples]" installs it'), (True, "3.14 and newer")):
        monkeypatch.setattr("minidqn.lab.tuned.NO_BOX2D", newest)
        assert advice(no_physics).endswith(end)
    assert advice(gym.error.NameNotFound("Environment `CartPloe` doesn't exist")) == ""


def installed(package: Path) -> Any:
    """minidqn/examples/__init__.py, as it runs where it was installed."""
    file = package / "examples" / "__init__.py"
    file.parent.mkdir(parents=True)
    file.write_bytes(Path(examples.__file__).read_bytes())
    spec = spec_from_file_location("installed_examples", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_scripts(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "one_page.py").touch()
    return folder


def test_an_installed_package_finds_its_own_copy_of_the_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the list of what was installed."""
    scripts = with_scripts(tmp_path / "share" / "minidqn" / "examples")
    site = tmp_path / "lib" / "site-packages"
    about = site / "minidqn-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Name: minidqn\nVersion: 0.1.0\n")
    (about / "RECORD").write_text(
        "minidqn/config.py,,\n../../share/minidqn/examples/one_page.py,,\n"
    )
    monkeypatch.syspath_prepend(site)
    assert installed(site / "minidqn").FOLDER.resolve() == scripts


def test_a_package_installed_into_a_folder_has_them_beside_it(tmp_path: Path) -> None:
    """As pip install --target does, which leaves a list that is wrong."""
    scripts = with_scripts(tmp_path / "share" / "minidqn" / "examples")
    assert scripts == installed(tmp_path / "minidqn").FOLDER


def test_a_clone_has_them_beside_it(tmp_path: Path) -> None:
    scripts = with_scripts(tmp_path / "examples")
    with_scripts(tmp_path / "share" / "minidqn" / "examples")
    assert scripts == installed(tmp_path / "minidqn").FOLDER


def test_examples_that_were_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.files", lambda name: None)
    module = installed(tmp_path / "minidqn")
    assert not module.FOLDER.exists()  # the package works without them
