"""An agent that goes on with other settings: a smaller learning rate, less exploration."""

from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import numpy as np

from minidqn import checks
from minidqn.agent import DQN
from minidqn.batch import BRIDGE
from minidqn.checks import expect
from minidqn.config import DQNConfig
from minidqn.policy import Repeat
from minidqn.prioritized import Priorities
from minidqn.replay import Replay

OF_NETWORK = (*checks.OF_NETWORK, "quantiles", "frame_stack")
OF_PRIORITIES = ("priority_alpha", "n_step", "buffer_size")  # where replay is prioritised


def changed(config: DQNConfig, changes: dict[str, Any]) -> DQNConfig:
    """`config` with some settings replaced. Raises ValueError for a name that there is not."""
    names = vars(config)
    for name in changes:
        expected = " or ".join(get_close_matches(name, names, 2)) or f"one of {', '.join(names)}"
        expect(name in names, f"setting {name!r}", expected)
    return replace(config, **changes)


def reconfigure(agent: DQN, changes: dict[str, Any]) -> None:
    """Let `agent` go on with some settings replaced, from its next step on.

    Raises ValueError for a setting that its networks, its priorities or what it has stored
    were made for.
    """
    old, ring, config = agent.config, agent.replay, changed(agent.config, changes)
    prioritised = old.priority_alpha > 0.0 or config.priority_alpha > 0.0
    for name in OF_NETWORK + OF_PRIORITIES * (prioritised and ring.count > 0):
        was, now = getattr(old, name), getattr(config, name)
        expect(now == was, f"{name} is {now!r}", f"{was!r}, which the saved agent is made for")
    stored = len(ring)
    found, expected = f"buffer_size is {config.buffer_size}", f"room for the {stored} steps stored"
    expect(config.buffer_size >= stored, found, expected)
    spaces = agent.observation_space, agent.action_space
    checks.agent(*spaces, config, agent.seed, ring.num_envs, agent.network)
    if config.buffer_size != old.buffer_size:
        agent.replay = resized(ring, config.buffer_size)
    due = agent.updates_due
    agent._config, agent._equal_weights = config, np.ones(config.batch_size, np.float32)
    agent.updates_skipped += agent.updates_due - due  # no sudden burst, and no pause
    if config.epsilon_hold != old.epsilon_hold:
        agent.repeat = Repeat(ring.num_envs, config.epsilon_hold)
    if prioritised and ring.count == 0:
        alpha = config.priority_alpha
        agent.priorities = Priorities(agent.replay, config.n_step, alpha) if alpha > 0.0 else None


def resized(ring: Replay, capacity: int) -> Replay:
    """A ring of another capacity with the same steps, from its first slot on.

    Of the oldest stacks, the frames before the first step are lost.
    """
    of_space = ring.obs_shape, ring.obs.dtype, ring.n_actions
    new = Replay(capacity, *of_space, ring.num_envs, ring.frames)
    new.count, new.over = len(ring) // ring.num_envs, ring.over
    slots = np.arange(ring.count - new.count, ring.count + 1) % ring.slots  # oldest to head
    for name, array in ring.arrays.items():
        new.arrays[name][: len(slots)] = array[slots]
    new.kind[new.count] = BRIDGE  # the head's, of the round before
    return new
