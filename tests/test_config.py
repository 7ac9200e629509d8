"""The table of tuned settings."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from minidqn import DQN, DQNConfig, LinearDecay
from minidqn.config import TUNED


@pytest.mark.parametrize("env_id", TUNED)
def test_the_table_makes_agents(env_id: str) -> None:
    config = DQNConfig.for_env(env_id)
    for name, value in TUNED[env_id].settings.items():
        assert getattr(config, name) == value
    if env_id == "ALE/Breakout-v5":
        space: gym.Space[Any] = gym.spaces.Box(0, 255, (128,), np.uint8)
        assert DQN(space, gym.spaces.Discrete(4), config).config == config
        return
    spec = gym.spec(env_id)
    assert spec.reward_threshold is None or spec.reward_threshold == TUNED[env_id].solved_at
    if env_id != "LunarLander-v3":  # which needs physics that not every machine has
        env = gym.make(env_id)
        assert DQN(env.observation_space, env.action_space, config).config == config


def test_decays_take_the_same_share_of_other_runs() -> None:
    tuned, short = DQNConfig.for_env("CartPole-v1"), DQNConfig.for_env("CartPole-v1", 10_000)
    assert tuned.learning_rate == LinearDecay(3e-3, 0.0, 40_000)
    assert short.learning_rate == LinearDecay(3e-3, 0.0, 10_000)
    assert short.epsilon == LinearDecay(1.0, 0.1, 1_000)
    assert short.n_step == tuned.n_step


def test_changes_win() -> None:
    config = DQNConfig.for_env("CartPole-v1", 10_000, n_step=1, epsilon=0.5)
    assert (config.n_step, config.epsilon, config.gamma) == (1, 0.5, 0.995)


def test_unknown_environments_and_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="env_id is 'Pong': expected one of CartPole-v1, "):
        DQNConfig.for_env("Pong")
    with pytest.raises(TypeError, match="n_steps"):
        DQNConfig.for_env("CartPole-v1", n_steps=3)
