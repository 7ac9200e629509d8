"""Which agents and environments are in use: no one else may step them.

A step from elsewhere would be missing in the stream of experience: the replay buffer
would store a jump that the environment cannot make.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gymnasium.vector import VectorEnv

from minidqn.agent import DQN

# agents that are being trained, and their environments without wrappers, by id
TRAINING: dict[int, Any] = {}


def members(env: Any) -> list[Any]:
    """An environment without its wrappers; a vector's parts in this process, too."""
    inside = env.unwrapped
    if not isinstance(inside, VectorEnv):
        return [inside]
    parts = getattr(inside, "envs", ())
    return [inside, *(getattr(part, "unwrapped", part) for part in parts)]


def check_free(env: Any) -> None:
    """Raise ValueError if an agent is being trained in `env`, or in a part of it."""
    for inside in members(env):
        if id(inside) in TRAINING:
            raise ValueError(
                f"an agent is being trained in {env}: expected another one, made by a "
                "second gym.make(...)"
            )


@contextmanager
def in_training(agent: DQN, env: Any) -> Iterator[None]:
    """Keep others from using `env` meanwhile: their steps would spoil the training.

    Nor may `agent` be trained elsewhere, because it has one stream of experience.
    """
    if id(agent) in TRAINING:
        raise ValueError("the agent is being trained: expected another one")
    ours = {id(each): each for each in (agent, *members(env))}
    TRAINING.update(ours)
    try:
        yield
    finally:
        for number in ours:
            del TRAINING[number]
