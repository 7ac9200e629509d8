"""Environments by their id, for the command line and every Spec.

An agent observes vectors or images. Where Gymnasium's environment gives a discrete
number, as FrozenLake gives the number of a field, it becomes a row of zeros with a 1.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import DtypeObservation, FlattenObservation

from minidqn.lab.envs import FLATTENED, Env


def made(env_id: str, options: dict[str, Any]) -> gym.Env[Any, Any]:
    """What Gymnasium makes, with vectors in the place of discrete observations.

    Raises gymnasium.error.NameNotFound for an unknown name: a module may register it.
    """
    try:
        env = gym.make(env_id, **options)
    except gym.error.NameNotFound as error:
        text = str(error)
        of_package = "/" in env_id or "NoFrameskip" in env_id  # as Atari's games
        if ":" in env_id or of_package or "Did you mean" in text:
            raise
        hint = f"If a module of yours registers it: my_module:{env_id}"
        raise gym.error.NameNotFound(f"{text} {hint}") from None
    return as_vectors(env) if isinstance(env.observation_space, FLATTENED) else env


def as_vectors(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Observations as vectors: a discrete number as a row of zeros with a 1."""
    env = FlattenObservation(env)
    space: Any = env.observation_space
    if space.dtype.kind in "iu" and space.low.min() >= 0 and space.high.max() <= 1:
        return DtypeObservation(env, np.uint8)  # int64 would take eight times as much
    return env


def spaces_of(env: Env) -> tuple[Any, Any]:
    """The spaces of one environment, also of those of a vector."""
    if isinstance(env, VectorEnv):
        return env.single_observation_space, env.single_action_space
    return env.observation_space, env.action_space
