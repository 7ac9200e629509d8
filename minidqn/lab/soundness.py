"""Checks that a run can continue from an agent and its history, for save and load.

A file may be damaged, or come from an unknown source. So before a loaded agent is used,
this module checks everything that sampling and learning rely on: finite numbers,
actions that exist, a stream of episodes as replay.py describes it. The same checks are
made before a file is written, so that a bad file never replaces a good one.

Each check raises CheckpointError. Its text follows the file's name: "agent.safetensors"
"has an end without a bridge: expected one after each".

Letters: S slots, A actions, E environments.
"""

from typing import Any

import numpy as np

from minidqn.agent import DQN
from minidqn.batch import BRIDGE, TERMINATED, TRUNCATED
from minidqn.experience import LARGEST, all_finite
from minidqn.lab.history import COLUMNS, METRICS
from minidqn.lab.scores import COLUMNS as SCORE_COLUMNS
from minidqn.nn.layers import Array
from minidqn.parts.param_noise import LARGEST_EXPONENT, NoisyBehaviour
from minidqn.parts.prioritized import PrioritizedSampler
from minidqn.parts.repeat import RepeatedActions
from minidqn.replay import Replay


class CheckpointError(Exception):
    """A file is not a checkpoint that this version can read; the message says why.

    `save` raises it, too, for an agent that could not be read again.
    """


def check_numbers(arrays: dict[str, Array]) -> None:
    """Raise CheckpointError for NaN, infinity, and booleans that are not 0 or 1."""
    for name, array in arrays.items():
        flat = array.reshape(-1)
        if array.dtype.kind == "f" and not all_finite(flat, LARGEST):
            raise CheckpointError(f"has NaN or inf in {name}: expected finite numbers")
        if array.dtype == np.bool_ and flat.view(np.uint8).max(initial=0) > 1:
            raise CheckpointError(f"has other bytes in {name}: expected 0 and 1")


def check_policy(agent: DQN, arrays: dict[str, Array]) -> None:
    """Raise CheckpointError for numbers with which the agent cannot act."""
    check_numbers(arrays)
    for name, array in agent.scaling.arrays.items():
        if name != "mean" and (array < 0.0).any():
            raise CheckpointError(
                f"has obs_{name} with negative numbers: expected a count and squares"
            )


def check_run(agent: DQN) -> None:
    """Raise CheckpointError if learning or exploring could not continue."""
    if (agent.adam.v < 0.0).any():
        raise CheckpointError("has adam_v with negative numbers: expected squares")
    if isinstance(agent.exploration, RepeatedActions):
        check_repeated(agent.exploration, agent.n_actions)
    if isinstance(agent.behaviour, NoisyBehaviour):
        check_noise(agent.behaviour)
    if not agent.replay.made:
        return
    check_kinds(agent.replay)
    check_masks(agent.replay)
    check_actions(agent.replay.action, agent.n_actions)
    if isinstance(agent.sampler, PrioritizedSampler) and not agent.sampler.is_sound():
        raise CheckpointError(
            "has unsound priorities: expected 0 where nothing can be drawn, and none "
            "above the largest"
        )


def check_repeated(exploration: RepeatedActions, n_actions: int) -> None:
    """Raise CheckpointError for random actions that cannot be repeated."""
    check_actions(exploration.repeated, n_actions)
    left = exploration.left
    hold = exploration.hold
    if left.min() < 0 or left.max() >= hold:
        raise CheckpointError(
            f"has {left.min()} to {left.max()} steps to repeat: expected below {hold}"
        )


def check_noise(behaviour: NoisyBehaviour) -> None:
    """Raise CheckpointError for seeds or scales that no noise can have."""
    largest = 2.0**LARGEST_EXPONENT
    for name, array in behaviour.arrays.items():
        if array.min() < 0 or (name == "scales" and array.max() > largest):
            raise CheckpointError(
                f"has noise_{name} of {array.min()} to {array.max()}: expected 0 "
                f"or more, and scales of at most {largest}"
            )


def check_actions(actions: Array, n_actions: int) -> None:
    """Raise CheckpointError unless all are actions, 0 to A - 1."""
    if len(actions) > 0 and not 0 <= actions.min() <= actions.max() < n_actions:
        raise CheckpointError(
            f"has the actions {actions.min()} to {actions.max()}: expected 0 to "
            f"{n_actions - 1}"
        )


def slots_in_order(ring: Replay) -> Array:
    """The slots that are stored, oldest first, without the head: (up to S - 1,)."""
    stored = min(ring.count, ring.slots - 1)
    return np.arange(ring.count - stored, ring.count) % ring.slots


def check_kinds(ring: Replay) -> None:
    """Raise CheckpointError unless the stream is episodes with bridges between them.

    The kind of the head does not count: it is set with the head's step.
    """
    if not BRIDGE <= ring.kind.min() <= ring.kind.max() <= TERMINATED:
        raise CheckpointError("has an unknown kind of slot: expected 0 to 3")
    if (ring.kind[ring.count + 1 :] != BRIDGE).any():
        raise CheckpointError("has data in slots that were never used: expected none")
    kinds: Array = ring.kind[slots_in_order(ring)]  # (stored, E)
    bridge: Array = kinds == BRIDGE
    end: Array = kinds >= TRUNCATED
    if not bridge[1:][end[:-1]].all():
        raise CheckpointError("has an end without a bridge: expected one after each")
    three_bridges = bridge[2:] & bridge[1:-1] & bridge[:-2]
    only_bridges = len(kinds) > 0 and bridge.all()
    if three_bridges.any() or only_bridges:
        raise CheckpointError("has too many bridges in a row: expected at most two")


def check_masks(ring: Replay) -> None:
    """Raise CheckpointError if no action is allowed where an episode goes on."""
    if ring.mask.array is None:
        return
    order = slots_in_order(ring)
    some_allowed: Array = np.any(ring.mask.array, axis=2)  # (S, E)
    after = some_allowed[(order + 1) % ring.slots]
    terminated = ring.kind[order] == TERMINATED
    if not (after | terminated).all():
        raise CheckpointError("has a mask that allows no action: expected one or more")


def check_history(agent: DQN, rows: Array, updates: Array, unfinished: Array) -> None:
    """Raise CheckpointError for a history that cannot be this agent's.

    rows (episodes, 7); updates (4,), see History.updates. unfinished (N, 2) has the
    number of an episode beside each of its actions, and beside a -1 with which it
    begins.
    """
    check_table("history", rows, np.float64, COLUMNS)
    check_table("unfinished", unfinished, np.int64, 2)
    sums = (1 + METRICS,)
    if updates.shape != sums or updates.dtype != np.float64:
        raise CheckpointError(
            f"has updates of shape {updates.shape} and dtype {updates.dtype}: expected "
            f"{sums} and float64"
        )
    # the other columns are means over updates: NaN where there was none
    if not np.isfinite(rows[:, :3]).all():
        raise CheckpointError("has NaN or inf in history: expected finite numbers")
    if not np.isfinite(updates).all():
        raise CheckpointError("has NaN or inf in updates: expected finite numbers")

    numbers = unfinished[:, 0]
    actions = unfinished[:, 1]
    begins = actions == -1
    num_envs = agent.replay.num_envs
    if len(actions) > 0 and not (begins[0] and np.sum(begins) == num_envs):
        raise CheckpointError(
            f"has {np.sum(begins)} unfinished episodes: expected one for each of "
            f"{num_envs} environments"
        )
    check_actions(actions[~begins], agent.n_actions)
    if not ((numbers >= 0) & (numbers < agent.resets)).all():
        raise CheckpointError(
            "has an unfinished episode of another run: expected one of the "
            f"{agent.resets} that have begun"
        )


def check_tests(tests: Array) -> None:
    """Raise CheckpointError for test scores, (N, 3), that are no numbers."""
    check_table("tests", tests, np.float64, len(SCORE_COLUMNS))
    if not np.isfinite(tests).all():
        raise CheckpointError("has NaN or inf in tests: expected finite numbers")


def check_table(name: str, table: Array, dtype: Any, columns: int) -> None:
    """Raise CheckpointError unless an array has two axes, `dtype` and `columns`."""
    if table.ndim != 2 or table.shape[1] != columns or table.dtype != dtype:
        raise CheckpointError(
            f"has {name} of shape {table.shape} and dtype {table.dtype}: expected "
            f"(n, {columns}) and {np.dtype(dtype)}"
        )
