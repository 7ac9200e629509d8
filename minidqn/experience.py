"""What an environment returned, checked and converted, before it is stored.

Each function raises ValueError or TypeError, which names the value, what was expected
and, if possible, what to do. One NaN in the replay buffer would spread to every
parameter, many updates after the step that caused it.

Letters: B batch, A actions, E environments.
"""

from math import fabs
from operator import index
from typing import Any

import numpy as np

from minidqn.batch import slot_kinds
from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array
from minidqn.refusals import (
    check_action,
    check_flag,
    check_reward,
    described,
    no_numbers,
    one_environment,
    wrong_shape,
)

# networks compute in float32, and rewards are stored as float32
LARGEST = float(np.finfo(np.float32).max)
BOOLS = (bool, np.bool_)
ARRAY = np.ndarray
NUMBERS = "biuf"  # kinds of dtypes


@kernel
def all_finite(x: Array, largest: float) -> bool:
    """Whether x, of any shape, holds neither NaN nor a number beyond `largest`."""
    finite = True
    for entry in x.flat:
        finite &= abs(entry) <= largest
    return finite


def entry(x: Array, wrong: Array) -> str:
    """The first entry of x that is `wrong`, and its index, as text."""
    place = tuple(np.argwhere(wrong)[0].tolist())
    return f"{x[place]} at index {place}"


def observation(
    obs: Any, shape: tuple[int, ...], dtype: np.dtype[Any], num_envs: int = 0
) -> Array:
    """`obs` as an array of `dtype`: one observation, (...), or a batch, (B, ...).

    With `num_envs`, there must be one for each environment. A single environment may
    give (...) or (1, ...). Numbers are rounded to a float dtype; an integer dtype must
    hold them exactly.
    """
    try:
        x = np.asarray(obs)
    except ValueError:  # its parts have several shapes
        raise ValueError(no_numbers(obs)) from None
    if x.shape != shape or num_envs > 1:
        check_batch_shape(obs, x, shape, num_envs)
    if x.dtype != dtype:
        x = converted(obs, x, dtype)
    if dtype.kind == "f" and not all_finite(x, LARGEST):
        wrong = entry(x, ~(abs(x) <= LARGEST))
        raise ValueError(
            f"observation has {wrong}: expected finite numbers, as float32"
        )
    return x


def as_batch(
    obs: Any, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[Array, bool]:
    """`obs` as a batch, (B, ...), and whether it is a single observation, (...)."""
    x = observation(obs, shape, dtype)
    single = x.shape == shape
    return (x[None] if single else x), single


def check_batch_shape(
    obs: Any, x: Array, shape: tuple[int, ...], num_envs: int
) -> None:
    """Raise an error unless x is a batch: one for each environment if num_envs > 0."""
    is_batch = x.ndim > 0 and x.shape[1:] == shape
    if is_batch and num_envs in (0, len(x)):
        return
    if x.dtype.kind not in NUMBERS:
        raise TypeError(no_numbers(obs))
    raise ValueError(wrong_shape(x.shape, shape, num_envs))


def converted(obs: Any, given: Array, dtype: np.dtype[Any]) -> Array:
    """An observation in another dtype."""
    if given.dtype.kind not in NUMBERS:
        raise TypeError(no_numbers(obs))
    with np.errstate(all="ignore"):  # numbers that do not fit are refused below
        x = given.astype(dtype)
    if dtype.kind != "f" and (x != given).any():
        raise ValueError(
            f"observation has {entry(given, x != given)}: expected {dtype}, the dtype "
            "of the observation space"
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
        raise ValueError(
            f"action_mask is {described(mask)}: expected shape {shape}"
        ) from None
    if given.shape != shape and not (one_for_all and given.shape == shape[1:]):
        or_one = f" or {shape[1:]}" if one_for_all else ""
        raise ValueError(
            f"action_mask has shape {given.shape}: expected {shape}{or_one}"
        )
    wrong = (given != 0) & (given != 1)
    if wrong.any():
        raise ValueError(
            f"action_mask has {entry(given, wrong)}: expected 0 or 1 for each action"
        )
    stuck = ~np.logical_or(given.any(axis=-1), over)
    if stuck.any():
        raise ValueError(
            f"action_mask allows no action in row {np.flatnonzero(stuck)[0]}: expected "
            "one or more, except after a termination"
        )
    allowed = np.empty(shape, np.bool_)
    allowed[:] = given
    return allowed


def step(
    n_actions: int, action: Any, reward: Any, terminated: Any, truncated: Any
) -> None:
    """Check the action and the result of one environment's step."""
    try:
        fits = (
            type(reward) is not ARRAY  # before NumPy 2.4, [1.0] would pass for a number
            and 0 <= index(action) < n_actions
            and fabs(reward) <= LARGEST  # False for NaN, too
        )
    except (OverflowError, TypeError, ValueError):
        fits = False
    flags_fit = isinstance(terminated, BOOLS) and isinstance(truncated, BOOLS)
    if not (fits and flags_fit):
        # Find the one that is wrong. Each may also be an array of shape ().
        check_action(action, n_actions)
        check_reward(reward, LARGEST)
        check_flag("terminated", terminated)
        check_flag("truncated", truncated)


def kinds_of_steps(
    n_actions: int,
    ended: Array,
    obs: Array,
    action: Any,
    reward: Any,
    terminated: Any,
    truncated: Any,
) -> Array:
    """Check the step of each environment, and return its kind of slot: (E,).

    `ended`, (E,), says where the last step ended an episode. `obs`, (E, ...), has been
    checked.
    """
    num_envs = len(ended)
    columns = []
    for name, values, letters, dtype, expected in (
        ("action", action, "iu", np.int64, "integers"),
        ("reward", reward, NUMBERS, np.float64, "numbers"),
        ("terminated", terminated, "b", np.bool_, "True or False"),
        ("truncated", truncated, "b", np.bool_, "True or False"),
    ):
        column = as_array(name, values, expected, num_envs)
        if column.shape != (num_envs,):
            if num_envs == 1 and np.ndim(terminated) == 0:
                raise ValueError(one_environment(obs))
            raise ValueError(
                f"{name} has shape {column.shape}: expected ({num_envs},), one for "
                "each environment"
            )
        if column.dtype.kind not in letters:
            raise ValueError(f"{name} is {described(values)}: expected {expected}")
        columns.append(column.astype(dtype, copy=False))

    kinds = np.empty(num_envs, np.int8)
    actions, rewards, *flags = columns
    wrong = slot_kinds(
        actions, rewards, flags[0], flags[1], ended, n_actions, LARGEST, kinds
    )
    if wrong < num_envs:
        refuse_environment(wrong, n_actions, columns)
    return kinds


def as_array(name: str, values: Any, expected: str, num_envs: int) -> Array:
    """`values` as an array. Raises ValueError if they do not form one."""
    try:
        return np.asarray(values)
    except ValueError:  # its parts have several shapes
        raise ValueError(
            f"{name} is {described(values)}: expected {expected}, of shape "
            f"({num_envs},)"
        ) from None


def refuse_environment(env: int, n_actions: int, columns: list[Array]) -> None:
    """Raise ValueError for the step of this environment, which is not valid."""
    try:
        step(n_actions, *[column[env].item() for column in columns])
    except ValueError as error:
        raise ValueError(f"in environment {env}, {error}") from None
    raise ValueError(
        f"environment {env} ended twice in a row: expected NEXT_STEP autoreset, where "
        "the step after an episode's end is the reset"
    )
