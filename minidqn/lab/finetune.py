"""An agent that goes on with other settings: a smaller learning rate, less exploration."""

from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import numpy as np

from minidqn.agent import DQN
from minidqn.assembly import check_agent, make_exploration, make_loss, make_sampler
from minidqn.batch import BRIDGE
from minidqn.config import DQNConfig
from minidqn.lab.expect import expect
from minidqn.parts.frames import StackedReplay
from minidqn.parts.qnetwork import NETWORK_SETTINGS
from minidqn.parts.repeat import RepeatedActions
from minidqn.replay import Replay
from minidqn.sampler import UniformSampler

OF_NETWORK = (*NETWORK_SETTINGS, "quantiles", "frame_stack")
OF_PRIORITIES = (
    "priority_alpha",
    "n_step",
    "buffer_size",
)  # where replay is prioritised


def changed(config: DQNConfig, changes: dict[str, Any]) -> DQNConfig:
    """`config` with some settings replaced. Raises ValueError for a name that there is not."""
    names = vars(config)
    for name in changes:
        expected = (
            " or ".join(get_close_matches(name, names, 2))
            or f"one of {', '.join(names)}"
        )
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
        expect(
            now == was,
            f"{name} is {now!r}",
            f"{was!r}, which the saved agent is made for",
        )
    stored = len(ring)
    found, expected = (
        f"buffer_size is {config.buffer_size}",
        f"room for the {stored} steps stored",
    )
    expect(config.buffer_size >= stored, found, expected)
    spaces = agent.observation_space, agent.action_space
    check_agent(*spaces, config, agent.seed, ring.num_envs, agent.network)
    if config.buffer_size != old.buffer_size:
        agent.replay = resized(ring, config.buffer_size)
    due = agent.updates_due
    agent._config = config
    agent.updates_skipped += agent.updates_due - due  # no sudden burst, and no pause
    agent.next_actions = np.empty(config.batch_size, np.int64)
    agent.loss = make_loss(config, agent.n_actions, agent.online.dtype)
    repeated = agent.exploration
    if config.epsilon_hold != old.epsilon_hold:
        agent.exploration = make_exploration(config, agent.replay)
    elif isinstance(repeated, RepeatedActions):
        repeated.replay = agent.replay
    if isinstance(agent.sampler, UniformSampler) or ring.count == 0:
        agent.sampler = make_sampler(config, agent.replay)
    else:
        agent.sampler.beta = config.priority_beta


def resized(ring: Replay, capacity: int) -> Replay:
    """A ring of another capacity with the same steps, from its first slot on.

    Of the oldest stacks, the frames before the first step are lost.
    """
    of_space = ring.obs_shape, ring.obs.dtype, ring.n_actions, ring.num_envs
    if isinstance(ring, StackedReplay):
        new: Replay = StackedReplay(capacity, *of_space, ring.frames)
    else:
        new = Replay(capacity, *of_space)
    if ring.mask.array is not None:
        new.mask.make()
    new.count, new.over = len(ring) // ring.num_envs, ring.over
    slots = (
        np.arange(ring.count - new.count, ring.count + 1) % ring.slots
    )  # oldest to head
    for name, array in ring.arrays.items():
        new.arrays[name][: len(slots)] = array[slots]
    new.kind[new.count] = BRIDGE  # the head's, of the round before
    return new
