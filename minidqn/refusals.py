"""The error messages for values that the fast checks of experience.py refuse.

A user needs to know the value, its type and shape, what was expected, and what to write
instead. These functions run only after an error, so they may be slow.
"""

import math
import re
import reprlib
from contextlib import suppress
from operator import index
from typing import Any

import numpy as np

from minidqn.nn.layers import Array

GYMNASIUM = "gymnasium."  # its modules
FIVE = "expected obs, reward, terminated, truncated, info"
OLD_API = (
    "(Gymnasium since 0.26); wrap an environment of the old API, for example with the "
    "package shimmy; gymnasium.make has no apply_api_compatibility any more"
)


def described(value: Any) -> str:
    """A value, shortened, with its type and, if it is an array, its shape."""
    text = " ".join(reprlib.repr(value).split())  # in one line
    text += f", of type {type(value).__name__}"
    shape = getattr(value, "shape", ())
    return f"{text} and shape {shape}" if shape else text


def such_as(kind: str, name: str, value: Any) -> str:
    """What to write instead of an array that holds a single value."""
    if getattr(value, "shape", ()) == (1,):
        return f", such as {kind}({name}[0])"
    return ""


def wrong_reset(result: Any) -> str:
    """The message if env.reset did not return (obs, info)."""
    return (
        f"env.reset returned {described(result)}: expected obs, info, where info is a "
        f"dict {OLD_API}"
    )


def wrong_step(result: Any) -> str:
    """The message if env.step did not return five values, the last a dict."""
    if not isinstance(result, (tuple, list)):
        return f"env.step returned {described(result)}: {FIVE} {OLD_API}"
    if len(result) != 5:
        return f"env.step returned {len(result)} values: {FIVE} {OLD_API}"
    return f"env.step returned the info {described(result[4])}: expected a dict"


def add_notes(error: Exception, where: str) -> None:
    """Say in which step an error came, and what is wrong if a wrapper cannot say it.

    Gymnasium's wrappers unpack what step returned before minidqn sees it.
    """
    error.add_note(where)
    unpacked = re.search(r"to unpack \(expected 5(?:, got (\d))?\)", str(error))
    if unpacked is None or not isinstance(error, ValueError):
        return
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    if place is not None and place.tb_frame.f_globals["__name__"].startswith(GYMNASIUM):
        number = unpacked.group(1) or "more"
        error.add_note(f"env.step returned {number} values: {FIVE} {OLD_API}")


def no_numbers(obs: Any) -> str:
    """The message for an observation that is no array of numbers."""
    if isinstance(obs, tuple) and isinstance(obs[-1], dict):
        return (
            f"observation is a tuple of {len(obs)} values, of which the last is an "
            "info: expected the observation alone; write obs, info = env.reset()"
        )
    return f"observation is {described(obs)}: expected one array of numbers"


def wrong_shape(found: tuple[int, ...], shape: tuple[int, ...], num_envs: int) -> str:
    """The message for a shape that is neither one observation's nor a batch's."""
    text = f"observation has shape {found}: expected {shape}"
    if num_envs > 1:
        return f"{text} for each of {num_envs} environments, {(num_envs, *shape)}"
    if num_envs == 0:
        text += " or a batch of such"
    if len(found) > 0 and found[1:] == shape:
        n = found[0]
        text += f"; for {n} environments make the agent with num_envs={n}"
    if len(found) > 0 and found == shape[1:]:
        text += f"; with frame_stack, give the last {shape[0]}, oldest first"
    return text


def one_environment(obs: Array) -> str:
    """The message for obs, (1, ...), if the flags are those of one environment."""
    return (
        f"observation has shape {obs.shape}: expected {obs.shape[1:]}, as the "
        "observation space says, such as obs[0]; a vector environment also has "
        "action, reward, terminated and truncated of shape (1,)"
    )


def check_action(action: Any, n_actions: int) -> None:
    """Raise ValueError unless it is an integer from 0 to n_actions - 1."""
    number = -1
    with suppress(TypeError):  # no integer
        number = index(action)
    if not 0 <= number < n_actions:
        hint = such_as("int", "action", action)
        raise ValueError(
            f"action is {described(action)}: expected an integer from 0 to "
            f"{n_actions - 1}{hint}"
        )


def check_reward(reward: Any, largest: float) -> None:
    """Raise ValueError unless it is a finite number, or one in an array of shape ()."""
    size = math.nan
    if getattr(reward, "shape", ()) == ():
        with suppress(OverflowError, TypeError, ValueError):  # too large, or no number
            size = math.fabs(reward)
    if not size <= largest:  # nor is NaN
        hint = such_as("float", "reward", reward)
        raise ValueError(
            f"reward is {described(reward)}: expected a finite number (as a float32)"
            + hint
        )


def check_flag(name: str, value: Any) -> None:
    """Raise ValueError unless it is True or False, or one in an array of shape ()."""
    if isinstance(value, bool):
        return
    if getattr(value, "shape", None) == () and value.dtype == np.bool_:
        return
    text = f"{name} is {described(value)}: expected True or False"
    text += such_as("bool", name, value)
    if isinstance(value, (int, np.integer)):
        text += f", such as bool({name})"
    if isinstance(value, dict):  # an info, one place too early
        text += "; a step gives obs, reward, terminated, truncated, info"
    raise ValueError(text)
