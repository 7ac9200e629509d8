"""The arrays of a checkpoint: which there are, their shapes, and how they are copied.

    space_low, space_high   the bounds of an observation
    params                  of the online network
    obs_count, obs_mean,    with normalize_obs="running": of what was observed
    obs_squares

That is a policy. A whole run has more:

    target_params           of the target network
    adam_m, adam_v          Adam's moments
    replay_obs, ...         the ring, once the agent has begun; replay_mask only if an
                            environment gave masks
    repeat                  the actions being repeated, if epsilon_hold > 1
    noise_seeds,            of the noise on the weights, if param_noise > 0
    noise_scales
    priority_leaves, ...    with the ring, if replay is prioritised
    history                 a row for each ended episode
    updates                 since the last ended episode: how many, and the sums of
                            their metrics
    unfinished              the unfinished episodes; see history_arrays.py
    tests                   a row for each test episode during training

Letters: S slots, E environments, P parameters.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from minidqn.agent import DQN
from minidqn.lab.header import Header
from minidqn.lab.history_arrays import HISTORY_ARRAYS, TESTS
from minidqn.lab.soundness import CheckpointError
from minidqn.nn.layers import Array
from minidqn.parts.param_noise import NoisyBehaviour
from minidqn.parts.prioritized import PrioritizedSampler
from minidqn.parts.qnetwork import q_layers
from minidqn.parts.repeat import RepeatedActions
from minidqn.replay import Replay

# By name: an array, or an object that has its shape and reads its rows from a file.
Stored = Mapping[str, Any]

PARAMETER_ARRAYS = ("params", "target_params", "adam_m", "adam_v")
RING_ARRAYS = ("replay_obs", "replay_action", "replay_reward", "replay_kind")
PRIORITY_ARRAYS = ("priority_leaves", "priority_largest")
NOISE_ARRAYS = ("noise_seeds", "noise_scales")
SCALING_ARRAYS = ("obs_count", "obs_mean", "obs_squares")
PART_BYTES = 2**22  # an array is copied in parts of this size


def policy_arrays(agent: DQN) -> dict[str, Array]:
    """The arrays that it takes to act: views."""
    arrays = {"params": agent.online.params}
    for name, array in agent.scaling.arrays.items():
        arrays[f"obs_{name}"] = array
    return arrays


def agent_arrays(agent: DQN) -> dict[str, Array]:
    """The arrays of a run, without its history: views, to be saved or to be filled.

    The replay buffer has no arrays before the agent begins.
    """
    arrays = policy_arrays(agent) | {
        "target_params": agent.target.params,
        "adam_m": agent.adam.m,
        "adam_v": agent.adam.v,
    }
    if isinstance(agent.exploration, RepeatedActions):
        arrays["repeat"] = agent.exploration.state
    if isinstance(agent.behaviour, NoisyBehaviour):
        for name, array in agent.behaviour.arrays.items():
            arrays[f"noise_{name}"] = array
    if not agent.replay.made:
        return arrays
    for name, array in agent.replay.arrays.items():
        arrays[f"replay_{name}"] = array
    if isinstance(agent.sampler, PrioritizedSampler):
        for name, array in agent.sampler.arrays.items():
            arrays[f"priority_{name}"] = array
    return arrays


def make_ring(ring: Replay, with_masks: bool) -> None:
    """Make the arrays of a ring. Raises MemoryError if they do not fit into memory."""
    try:
        ring.make()
        if with_masks:
            ring.mask.make()
    except ValueError as error:  # its text is about settings
        raise MemoryError(str(error)) from None


def expected_shapes(
    header: Header, space: Box, n_params: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    """The shapes of all arrays that can belong to a header, except a history's."""
    ring = (header.slots, header.num_envs)  # (S, E)
    shapes = {"space_low": space.shape, "space_high": space.shape}
    for name in PARAMETER_ARRAYS:
        shapes[name] = n_params
    return shapes | {
        "replay_obs": (*ring, *space.shape),
        "replay_action": ring,
        "replay_reward": ring,
        "replay_kind": ring,
        "replay_mask": (*ring, header.n_actions),
        "repeat": (2, header.num_envs),
        "noise_seeds": (header.num_envs,),
        "noise_scales": (header.num_envs,),
        "priority_leaves": ring,
        "priority_largest": (1,),
        "obs_count": (1,),
        "obs_mean": (math.prod(space.shape),),
        "obs_squares": (math.prod(space.shape),),
    }


def expected_names(header: Header, arrays: Stored) -> set[str]:
    """The names of the arrays that belong to a header."""
    names = {"space_low", "space_high", "params"}
    # a network of your own may have such a layer, too
    if header.config.normalize_obs == "running" or "obs_count" in arrays:
        names.update(SCALING_ARRAYS)
    if header.progress is None:
        return names
    names.update(PARAMETER_ARRAYS, HISTORY_ARRAYS)
    if TESTS in arrays:
        names.add(TESTS)
    names.update(exploring_names(header, arrays))
    # the first files have a ring even where the agent has not begun
    if header.begun or "replay_obs" in arrays:
        names.update(ring_names(header, arrays))
    return names


def exploring_names(header: Header, arrays: Stored) -> set[str]:
    """The names of the arrays of an exploration that belong to a header."""
    names: set[str] = set()
    # the first files have it even where no action is repeated
    if header.config.epsilon_hold > 1 or "repeat" in arrays:
        names.add("repeat")
    if header.config.param_noise > 0.0:
        names.update(NOISE_ARRAYS)
    return names


def ring_names(header: Header, arrays: Stored) -> set[str]:
    """The names of the arrays of a replay buffer that belong to a header."""
    names = set(RING_ARRAYS)
    if header.config.priority_alpha > 0.0:
        names.update(PRIORITY_ARRAYS)
    if "replay_mask" in arrays:  # an environment gave masks
        names.add("replay_mask")
    return names


def check_shapes(header: Header, space: Box, arrays: Stored, own_network: bool) -> None:
    """Raise CheckpointError for arrays that are missing, unknown, or misshapen."""
    names = expected_names(header, arrays)
    if arrays.keys() != names:
        raise CheckpointError(
            f"has the arrays {sorted(arrays)}: expected {sorted(names)}"
        )
    # the number of parameters of your own network is only known when it is built
    n_params = arrays["params"].shape
    if not own_network:
        layers = q_layers(header.config, space, header.n_actions)
        n_params = (sum(layer.size for layer in layers),)
    for name, shape in expected_shapes(header, space, n_params).items():
        if name in names:
            check_shape(name, arrays[name].shape, shape)


def check_shape(name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise CheckpointError if an array has another shape than expected."""
    if found != expected:
        raise CheckpointError(f"has {name} of shape {found}: expected {expected}")


def fill(name: str, array: Array, source: Any) -> None:
    """Copy all rows of `source` to `array`, in parts."""
    check_shape(name, source.shape, array.shape)
    for rows, part in parts_of(name, source, array.dtype):
        array[rows] = part


def fill_ring(name: str, array: Array, source: Any, first: int, count: int) -> None:
    """Copy `count` slots of a ring, (S, E, ...), to the first slots of a larger one.

    The first slot that is copied is slot `first` of `source`.
    """
    slots = source.shape[0]
    for rows, part in parts_of(name, source, array.dtype):
        place = (np.arange(rows.start, rows.stop) - first) % slots
        kept = place < count
        array[place[kept]] = part[kept]


def parts_of(
    name: str, source: Any, dtype: np.dtype[Any]
) -> Iterator[tuple[slice, Array]]:
    """The parts of an array, one after the other: which rows, and their content."""
    length = source.shape[0]
    row_bytes = math.prod(source.shape[1:]) * dtype.itemsize
    most = max(PART_BYTES // max(row_bytes, 1), 1)
    for start in range(0, length, most):
        rows = slice(start, min(start + most, length))
        part: Array = source[rows]
        if part.dtype != dtype:
            raise CheckpointError(f"has {name} of dtype {part.dtype}: expected {dtype}")
        yield rows, part
