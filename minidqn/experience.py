"""What an environment returned, as the replay buffer stores it: checked, and converted.

Each function raises ValueError or TypeError, which names the value and what was expected,
before anything is stored. One NaN in the buffer would spread to every parameter, many
updates after the step that brought it.

Letters: B batch, A actions. `ring` is a Replay.
"""

import math
from operator import index
from typing import Any

import numpy as np

from minidqn.batch import BRIDGE, STEP, TERMINATED, TRUNCATED
from minidqn.checks import expect
from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array

LARGEST = float(np.finfo(np.float32).max)  # networks compute in float32, and rewards are stored so
BOOLS = (bool, np.bool_)


@kernel
def all_finite(x: Array) -> bool:
    """Whether x, of any shape, holds neither NaN nor inf, nor what a float32 has as inf."""
    finite = True
    for entry in x.flat:
        finite &= abs(entry) <= LARGEST
    return finite


def entry(x: Array, wrong: Array) -> str:
    """The first entry of x that is `wrong`, and where it stands: an image is too long to show."""
    place = tuple(np.argwhere(wrong)[0].tolist())
    return f"{x[place]} at index {place}"


def observation(obs: Any, shape: tuple[int, ...], dtype: np.dtype[Any], num_envs: int = 0) -> Array:
    """`obs` as an array of `dtype`: one finite observation, (...), or a batch, (B, ...).

    With `num_envs`, one for each environment; that of a single one may be bare, (...).
    Numbers are rounded to a float dtype; an integer dtype must hold them exactly.
    """
    try:
        x = np.asarray(obs)
    except ValueError:
        raise ValueError(f"observation {obs}: expected one array, not (obs, info)") from None
    bare = x.shape == shape and num_envs <= 1
    if not bare and (x.shape[1:] != shape or x.shape[:1] != (num_envs or len(x),)):
        batch = f"for each of {num_envs} environments" if num_envs else "or a batch of such"
        raise ValueError(f"observation has shape {x.shape}: expected {shape} {batch}")
    if x.dtype != dtype:
        if x.dtype.kind not in "biuf":
            raise TypeError(f"observation has dtype {x.dtype}: expected {dtype}")
        with np.errstate(all="ignore"):  # what does not fit is refused below
            given, x = x, x.astype(dtype)
        if dtype.kind != "f" and (x != given).any():
            raise ValueError(f"observation has {entry(given, x != given)}: expected {dtype}")
    if dtype.kind == "f" and not all_finite(x):
        wrong = entry(x, ~(abs(x) <= LARGEST))
        raise ValueError(f"observation has {wrong}: expected finite numbers, as float32")
    return x


def action_mask(mask: Any, shape: tuple[int, int], one_for_all: bool, over: Any = False) -> Array:
    """`mask`, of 0s and 1s, as booleans, (B, A); with `one_for_all` it may be (A,).

    Each row must allow an action, unless its episode is `over`, (B,).
    """
    given, allowed = np.asarray(mask), np.empty(shape, np.bool_)
    wrong = (given != 0) & (given != 1)
    if given.shape != shape and not (one_for_all and given.shape == shape[1:]):
        raise ValueError(f"action_mask has shape {given.shape}: expected {shape}")
    if wrong.any():
        raise ValueError(f"action_mask has {entry(given, wrong)}: expected 0 or 1 for each action")
    if not np.logical_or(given.any(axis=-1), over).all():
        raise ValueError("action_mask allows no action: expected one or more")
    allowed[:] = given
    return allowed


def masks(mask: Any, ring: Any, over: Any = False) -> Any:
    """The masks of a ring's next observations, (num_envs, A); all actions for None."""
    if mask is None:
        return ring.any_action
    return action_mask(mask, ring.head_mask.shape, ring.num_envs == 1, over)


def outcome(
    n_actions: int, action: Any, reward: Any, terminated: Any, truncated: Any, over: bool = False
) -> int:
    """What kind of slot one step makes, once checked; its episode must not be `over` before."""
    try:
        if not 0 <= index(action) < n_actions:
            wrong = f"action {action}: expected 0 to {n_actions - 1}"
        elif not math.fabs(reward) <= LARGEST:  # NaN neither
            wrong = f"reward {reward}: expected a finite number, as a float32"
        elif type(terminated) not in BOOLS or type(truncated) not in BOOLS:
            wrong = f"terminated {terminated}, truncated {truncated}: expected True or False"
        elif over:
            wrong = "no episode is going on: expected a reset, then begin(obs)"
        else:
            return TERMINATED if terminated else TRUNCATED if truncated else STEP
    except (OverflowError, TypeError, ValueError):  # no number, several, or too long a one
        wrong = f"action {action}, reward {reward}: expected an integer and a finite number"
    raise ValueError(wrong)


def outcomes(ring: Any, *parts: Any) -> list[int]:
    """The same for every environment, (num_envs,); one that is just being reset cannot end."""
    expect(ring.begun, "no episode has begun", "a reset, then begin(obs)")
    for name, part in zip(("action", "reward", "terminated", "truncated"), parts, strict=True):
        if np.shape(part) != (ring.num_envs,):
            raise ValueError(f"{name} has shape {np.shape(part)}: expected ({ring.num_envs},)")
    steps = zip(*(np.asarray(part).tolist() for part in parts), strict=True)
    kinds = [outcome(ring.n_actions, *step) for step in steps]
    for env in np.flatnonzero(ring.ended):
        if kinds[env] != STEP:
            raise ValueError(f"environment {env} ended twice: expected NEXT_STEP autoreset")
        kinds[env] = BRIDGE
    return kinds
