"""What an environment returned, checked and converted, before it is stored.

Each function raises ValueError or TypeError, which names the value and what was
expected. One NaN in the replay buffer would spread to every parameter, many updates
after the step that brought it.

Letters: B batch, A actions, E environments.
"""

import math
from operator import index
from typing import Any

import numpy as np

from minidqn.batch import slot_kinds
from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array

# networks compute in float32, and rewards are stored so
LARGEST = float(np.finfo(np.float32).max)
BOOLS = (bool, np.bool_)


@kernel
def all_finite(x: Array, largest: float) -> bool:
    """Whether x, of any shape, holds neither NaN nor a number beyond `largest`."""
    finite = True
    for entry in x.flat:
        finite &= abs(entry) <= largest
    return finite


def entry(x: Array, wrong: Array) -> str:
    """The first entry of x that is `wrong`, and its index: an image is too long."""
    place = tuple(np.argwhere(wrong)[0].tolist())
    return f"{x[place]} at index {place}"


def observation(
    obs: Any, shape: tuple[int, ...], dtype: np.dtype[Any], num_envs: int = 0
) -> Array:
    """`obs` as an array of `dtype`: one observation, (...), or a batch, (B, ...).

    With `num_envs`, one for each environment; that of a single one may be bare, (...).
    Numbers are rounded to a float dtype; an integer dtype must hold them exactly.
    """
    try:
        x = np.asarray(obs)
    except ValueError:
        raise ValueError(
            f"observation {obs}: expected one array, not (obs, info)"
        ) from None
    if x.shape != shape or num_envs > 1:
        check_batch_shape(x.shape, shape, num_envs)
    if x.dtype != dtype:
        x = converted(x, dtype)
    if dtype.kind == "f" and not all_finite(x, LARGEST):
        wrong = entry(x, ~(abs(x) <= LARGEST))
        raise ValueError(
            f"observation has {wrong}: expected finite numbers, as float32"
        )
    return x


def check_batch_shape(
    found: tuple[int, ...], shape: tuple[int, ...], num_envs: int
) -> None:
    """A batch of such observations, one for each environment if num_envs > 0."""
    is_batch = len(found) > 0 and found[1:] == shape
    if not is_batch or num_envs not in (0, found[0]):
        each = (
            f"for each of {num_envs} environments" if num_envs else "or a batch of such"
        )
        raise ValueError(f"observation has shape {found}: expected {shape} {each}")


def converted(given: Array, dtype: np.dtype[Any]) -> Array:
    """An observation in another dtype."""
    if given.dtype.kind not in "biuf":
        raise TypeError(f"observation has dtype {given.dtype}: expected {dtype}")
    with np.errstate(all="ignore"):  # what does not fit is refused
        x = given.astype(dtype)
    if dtype.kind != "f" and (x != given).any():
        raise ValueError(
            f"observation has {entry(given, x != given)}: expected {dtype}"
        )
    return x


def action_mask(
    mask: Any, shape: tuple[int, int], one_for_all: bool, over: Any = False
) -> Array:
    """`mask`, of 0s and 1s, as booleans, (B, A); with `one_for_all` it may be (A,).

    Each row must allow an action, unless its episode is `over`, (B,).
    """
    try:
        given = np.asarray(mask)
    except ValueError:  # rows of several lengths
        raise ValueError(f"action_mask {mask}: expected shape {shape}") from None
    if given.shape != shape and not (one_for_all and given.shape == shape[1:]):
        raise ValueError(f"action_mask has shape {given.shape}: expected {shape}")
    wrong = (given != 0) & (given != 1)
    if wrong.any():
        raise ValueError(
            f"action_mask has {entry(given, wrong)}: expected 0 or 1 for each action"
        )
    if not np.logical_or(given.any(axis=-1), over).all():
        raise ValueError("action_mask allows no action: expected one or more")
    allowed = np.empty(shape, np.bool_)
    allowed[:] = given
    return allowed


def step(
    n_actions: int, action: Any, reward: Any, terminated: Any, truncated: Any
) -> None:
    """What one environment's step was given, and what it returned."""
    try:
        action_fits = 0 <= index(action) < n_actions
        reward_fits = math.fabs(reward) <= LARGEST  # False for NaN, too
    except (
        OverflowError,
        TypeError,
        ValueError,
    ):  # not a number, several, or too large
        raise ValueError(
            f"action {action}, reward {reward}: expected an integer and a finite number"
        ) from None
    if not action_fits:
        raise ValueError(f"action {action}: expected 0 to {n_actions - 1}")
    if not reward_fits:
        raise ValueError(f"reward {reward}: expected a finite number, as a float32")
    if type(terminated) not in BOOLS or type(truncated) not in BOOLS:
        raise ValueError(
            f"terminated {terminated}, truncated {truncated}: expected True or False"
        )


def kinds_of_steps(
    n_actions: int,
    ended: Array,
    action: Any,
    reward: Any,
    terminated: Any,
    truncated: Any,
) -> Array:
    """The kind of slot that each environment's step makes, once checked: (E,).

    `ended`, (E,), says where the last step ended an episode.
    """
    num_envs = len(ended)
    columns = []
    for name, values, letters, dtype, expected in (
        ("action", action, "iu", np.int64, "integers"),
        ("reward", reward, "biuf", np.float64, "numbers"),
        ("terminated", terminated, "b", np.bool_, "True or False"),
        ("truncated", truncated, "b", np.bool_, "True or False"),
    ):
        column = np.asarray(values)
        if column.shape != (num_envs,):
            raise ValueError(f"{name} has shape {column.shape}: expected ({num_envs},)")
        if column.dtype.kind not in letters:
            raise ValueError(f"{name} {values}: expected {expected}")
        columns.append(column.astype(dtype, copy=False))

    kinds = np.empty(num_envs, np.int8)
    actions, rewards, *flags = columns
    wrong = slot_kinds(
        actions, rewards, flags[0], flags[1], ended, n_actions, LARGEST, kinds
    )
    if wrong < num_envs:
        step(n_actions, *[column[wrong].item() for column in columns])
        raise ValueError(
            f"environment {wrong} ended twice: expected NEXT_STEP autoreset"
        )
    return kinds
