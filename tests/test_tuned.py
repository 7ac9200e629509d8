"""The tuned settings, which stand in the examples."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from minidqn import DQN, DQNConfig, LinearDecay, tuned
from minidqn.lab.folder import short_name
from minidqn.lab.tuned import SCRIPTS, example, tuned_spec

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("env_id", SCRIPTS)
def test_the_settings_of_an_example_make_an_agent(env_id: str) -> None:
    script = example(env_id)
    steps = script["STEPS"]
    config = tuned(env_id)
    beta = LinearDecay(0.4, 1.0, steps)
    assert config == tuned(env_id, steps)
    assert vars(config) == vars(script["config"](steps)) | {"priority_beta": beta}
    assert config.learning_rate == LinearDecay(config.learning_rate.start, 0.0, steps)  # type: ignore[union-attr]  # it is one
    space: gym.Space[Any] = gym.spaces.Box(0, 255, (128,), np.uint8)
    actions: gym.Space[Any] = gym.spaces.Discrete(4)
    if env_id in (
        "CartPole-v1",
        "Acrobot-v1",
        "MountainCar-v0",
    ):  # which need nothing else
        env = gym.make(env_id)
        space, actions = env.observation_space, env.action_space
    if config.conv:
        planes: Any = gym.spaces.Box(0, 1, (10, 10, 4), np.bool_)
        space = (
            planes
            if "MinAtar" in env_id
            else gym.spaces.Box(0, 255, (84, 84), np.uint8)
        )
        config = replace(config, buffer_size=config.learning_starts)  # a small one
    assert DQN(space, actions, config).config == config


def test_every_example_of_an_environment_is_known() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")} - {
        "one_page.py",
        "five_tutorials.py",
        "tune.py",
        "playground.py",
    }
    assert scripts == set(SCRIPTS.values())


@pytest.mark.parametrize("env_id", SCRIPTS)
def test_what_each_script_learned_lies_under_the_name_of_its_environment(
    env_id: str,
) -> None:
    for name in (env_id, f"some_package:{env_id}"):
        assert (EXAMPLES / "trained" / f"{short_name(name)}.safetensors").exists()


def test_decays_take_the_same_share_of_other_runs() -> None:
    full, short = tuned("CartPole-v1"), tuned("CartPole-v1", 10_000)
    assert full.learning_rate == LinearDecay(3e-3, 0.0, 40_000)
    assert short.learning_rate == LinearDecay(3e-3, 0.0, 10_000)
    assert short.epsilon == LinearDecay(1.0, 0.1, 1_000)
    assert short.priority_beta == LinearDecay(0.4, 1.0, 10_000)
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


def test_the_options_of_a_script_reach_a_worker() -> None:
    """Its functions cannot be pickled: it is run again there."""
    spec = pickle.loads(pickle.dumps(tuned_spec("MinAtar/Breakout-v0")))
    assert (spec.solved_at, spec.test_epsilon) == (9.0, 0.001)
    spec = pickle.loads(pickle.dumps(tuned_spec("ALE/Breakout-v5")))
    with spec.make(training=True) as training, spec.make() as test:
        assert training.observation_space == test.observation_space
        assert type(training).__name__ == "OneBall"
    pong = pickle.loads(pickle.dumps(tuned_spec("PongNoFrameskip-v4")))
    with pong.make(render_mode="rgb_array") as env:
        assert env.render_mode == "rgb_array"


def test_unknown_environments_and_settings_are_refused() -> None:
    with pytest.raises(
        ValueError, match="env_id is 'Pong': expected one of CartPole-v1, "
    ):
        tuned("Pong")
    with pytest.raises(ValueError, match="setting 'n_steps': expected n_step or "):
        tuned("CartPole-v1", n_steps=3)


def test_an_installed_package_has_its_own_copy_of_the_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found by the list of what was installed, whatever else lies beside the package."""
    copy = tmp_path / "share" / "minidqn" / "examples" / "cartpole.py"
    copy.parent.mkdir(parents=True)
    text = (EXAMPLES / "cartpole.py").read_text()
    assert "n_step=40" in text
    copy.write_text(text.replace("n_step=40", "n_step=41"))
    site = tmp_path / "site"
    about = site / "minidqn-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Name: minidqn\nVersion: 0.1.0\n")
    (about / "RECORD").write_text(
        "minidqn/config.py,,\n../share/minidqn/examples/cartpole.py,,\n"
    )
    monkeypatch.syspath_prepend(site)
    assert tuned("CartPole-v1").n_step == 41


def test_a_config_is_what_the_script_says() -> None:
    config = tuned("MountainCar-v0", 100)
    assert isinstance(config, DQNConfig)
    assert (config.epsilon_hold, config.epsilon) == (40, LinearDecay(1.0, 0.01, 25))
