"""An agent and its history as a line of JSON and named arrays, and back.

    take      returns the text and the arrays: views of the agent's, not copies
    check     checks that they could be read again
    examine   reads the text, and checks that the arrays belong to it
    choose    chooses the settings with which the agent continues

After these, restore.py makes the agent. A file may be damaged, or come from an unknown
source. So sizes are checked first: nothing here takes much memory, and `restore` takes
no more than the arrays have in the file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from gymnasium.spaces import Box, Discrete

from minidqn.agent import DQN
from minidqn.assembly import Build, check_agent
from minidqn.config import DQNConfig
from minidqn.lab import soundness
from minidqn.lab.arrays import (
    Stored,
    agent_arrays,
    check_shapes,
    policy_arrays,
)
from minidqn.lab.header import Header, read_header, write_header
from minidqn.lab.history import History
from minidqn.lab.history_arrays import HISTORY_ARRAYS, TESTS, history_arrays
from minidqn.lab.settings import changed, check_batch, check_fixed, own_schedules
from minidqn.lab.soundness import CheckpointError
from minidqn.nn.layers import Array


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of an agent, after `examine` has checked it."""

    header: Header
    space: Box
    arrays: Stored
    network: Build | None
    agent: type[DQN]


class Choice(NamedTuple):
    """The other arguments of an agent, beside its spaces and its network."""

    config: DQNConfig
    seed: int
    num_envs: int


def take(
    agent: DQN, history: History, replay: bool = True
) -> tuple[str, dict[str, Array]]:
    """An agent and its history as text and arrays; without `replay`, only its policy.

    Raises CheckpointError for settings that JSON cannot hold.
    """
    text = write_header(agent, whole=replay)
    space = cast(Box, agent.observation_space)
    arrays = {"space_low": space.low, "space_high": space.high}
    if not replay:
        return text, arrays | policy_arrays(agent)
    if agent.replay.made:
        agent.sampler.admit()  # a Ctrl-C may have come between a step and this
    return text, arrays | agent_arrays(agent) | history_arrays(history)


def check(agent: DQN, text: str, arrays: dict[str, Array]) -> None:
    """Raise CheckpointError, or another error, if a snapshot could not be read."""
    schedules = own_schedules(agent.config)
    snapshot = examine(text, arrays, agent.network, schedules, type(agent))
    config = changed(snapshot.header.config, schedules)
    if vars(config) != vars(agent.config):
        raise CheckpointError(f"has settings that read as {config}")
    if snapshot.space != agent.observation_space:
        raise CheckpointError(f"has an observation space that reads {snapshot.space}")
    if snapshot.header.progress is None:
        soundness.check_policy(agent, policy_arrays(agent))
        return
    soundness.check_policy(agent, agent_arrays(agent))
    soundness.check_run(agent)
    rows, updates, unfinished = [arrays[name] for name in HISTORY_ARRAYS]
    soundness.check_history(agent, rows, updates, unfinished)
    soundness.check_tests(arrays[TESTS])


def examine(
    text: str,
    arrays: Stored,
    network: Build | None,
    given: Iterable[str],
    agent: type[DQN],
) -> Snapshot:
    """Read the text, and check that the arrays belong to it.

    `given` are the settings that `choose` will be given. Raises CheckpointError, which
    says what is wrong or missing, or another error if `text` is no such text.
    """
    header = read_header(text)
    if header.own_network and network is None:
        raise CheckpointError(
            "has a network of your own: give load the function, network=..."
        )
    if header.own_agent and agent is DQN:
        raise CheckpointError(
            f"has an agent of your own, {header.own_agent}: give load the class, "
            "agent=..."
        )
    for name, schedule in header.own_schedules.items():
        if name not in given:
            raise CheckpointError(
                f"was made with a schedule of your own, {schedule}: give load the "
                f"schedule, {name}=..."
            )
    low = arrays["space_low"][...]
    high = arrays["space_high"][...]
    space = Box(low, high, dtype=low.dtype.type)
    actions = Discrete(header.n_actions)
    check_agent(space, actions, header.config, header.seed, header.num_envs, network)
    check_shapes(header, space, arrays, own_network=network is not None)
    return Snapshot(header, space, arrays, network, agent)


def choose(
    snapshot: Snapshot,
    changes: dict[str, Any],
    seed: int | None = None,
    num_envs: int | None = None,
) -> Choice:
    """The settings of a snapshot, with some of them replaced.

    Raises ValueError for settings that cannot change: see settings.py. Only a policy
    may get another seed or number of environments, because a new run begins with it.
    """
    header = snapshot.header
    config = changed(header.config, changes)
    if seed is None:
        seed = header.seed
    if num_envs is None:
        num_envs = header.num_envs
    stored = header.stored * header.num_envs
    check_fixed(header.config, config, stored)
    if header.progress is not None:
        check_same("seed", header.seed, seed)
        check_same("num_envs", header.num_envs, num_envs)
        if changes:
            check_batch(config, header.progress.steps, header.updates_due, stored)
    actions = Discrete(header.n_actions)
    check_agent(snapshot.space, actions, config, seed, num_envs, snapshot.network)
    return Choice(config, seed, num_envs)


def check_same(name: str, was: int, now: int) -> None:
    """Raise ValueError if a run was begun with another number."""
    if now != was:
        raise ValueError(
            f"{name} is {now}: expected {was}, with which this run was begun; from a "
            "policy, such as a run's agent.safetensors, a new run begins, and may have "
            f"another {name}"
        )
