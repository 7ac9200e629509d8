"""Checks of an agent's arguments, and of its numbers while it learns.

Each check raises ValueError or TypeError, which names the value and what was expected,
before anything is changed. (`update` raises FloatingPointError.) config.py checks the
settings, and experience.py what an environment returned.
"""

import math
import warnings
from contextlib import suppress
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    MultiBinary,
    MultiDiscrete,
    Space,
)

from minidqn.nn.layers import Array

WRAPPERS = "gymnasium.wrappers"


def spaces(observation_space: Any, action_space: Any) -> None:
    """Check both spaces of an agent."""
    box(observation_space)
    discrete(action_space)


def box(space: Any) -> None:
    """Check an observation space: a Box of numbers, in this machine's byte order."""
    found = f"observation space {space}"
    check_is_space(found, space)
    if isinstance(space, Dict) and "action_mask" in space.spaces:
        raise TypeError(
            f"{found}: expected a Box; its action_mask would become a feature, but the "
            'agent looks for info["action_mask"]: minidqn.MaskToInfo(env) moves it '
            f"there, and {WRAPPERS}.FlattenObservation makes a vector of the rest"
        )
    if not isinstance(space, Box):
        raise TypeError(
            f"{found}: expected a Box; {WRAPPERS}.FlattenObservation converts Dict, "
            "Tuple or Discrete (docs/environments.md has an example)"
        )
    dtype = space.dtype
    if not dtype.isnative:
        native = dtype.newbyteorder("=").name
        raise TypeError(
            f"{found} has the dtype {dtype.str}: expected this machine's byte order; "
            f"{WRAPPERS}.DtypeObservation(env, np.{native}) converts"
        )
    if dtype.kind not in "biu" and dtype not in (np.float32, np.float64):
        raise TypeError(
            f"{found}: expected float32, float64 or integers; "
            f"{WRAPPERS}.DtypeObservation(env, np.float32) converts"
        )
    if math.prod(space.shape) == 0:
        raise ValueError(f"{found}: expected one number or more")


def discrete(space: Any) -> None:
    """Check an action space: Discrete, from 0 on."""
    found = f"action space {space}"
    check_is_space(found, space)
    if not isinstance(space, Discrete) or space.start != 0:
        raise TypeError(
            f"{found}: expected Discrete(n) from 0 on; {as_discrete(space)}"
        )


def check_is_space(found: str, space: Any) -> None:
    """Refuse spaces of gym, the package before Gymnasium: they look the same."""
    if not isinstance(space, Space):
        kind = type(space)
        raise TypeError(
            f"{found} is a {kind.__module__}.{kind.__name__}: expected a space of "
            "gymnasium.spaces, such as env.observation_space or env.action_space"
        )


def as_discrete(space: Any) -> str:
    """How an action space becomes Discrete, from 0 on."""
    if isinstance(space, Box):
        return (
            f"{WRAPPERS}.DiscretizeAction(env, bins=5), in Gymnasium since 1.2.1, "
            "converts a Box"
        )
    of_vector = "a vector environment has Discrete(n) as single_action_space"
    if isinstance(space, Discrete):
        return transform(f"a + {space.start}", int(space.n))
    if isinstance(space, MultiBinary):
        sizes = np.full(space.shape, 2)
        return combinations(sizes, np.zeros_like(sizes))
    if isinstance(space, MultiDiscrete):
        return f"{combinations(space.nvec, space.start)}; but {of_vector}"
    return f"{of_vector}, and {WRAPPERS}.TransformAction converts a number"


def transform(action: str, n: int) -> str:
    """A wrapper that makes an action of the number a; `action` is how, in Python."""
    return (
        f"{WRAPPERS}.TransformAction(env, lambda a: {action}, "
        f"gymnasium.spaces.Discrete({n})) converts"
    )


def combinations(sizes: Array, start: Array) -> str:
    """The wrapper for several choices at once: how many options, and the first ones."""
    counts = tuple(sizes.flatten().tolist())
    action = f"np.array(np.unravel_index(a, {counts}))"
    if sizes.ndim > 1:
        action += f".reshape({sizes.shape})"
    if start.any():
        action += f" + {start.tolist()}"
    n = math.prod(counts)
    return f"{transform(action, n)}, with a number for each of {n} combinations"


def count(name: str, value: Any, least: int) -> None:
    """Check a seed, or a number of environments: an integer of `least` or more."""
    number = least - 1
    with suppress(TypeError):  # no integer
        number = index(value)
    if number < least:
        raise ValueError(f"{name} is {value!r}: expected an integer of {least} or more")


def capacity(steps: int, num_envs: int) -> None:
    """Raise ValueError if a ring is too small to learn from.

    At most two bridges follow each other, so of three slots one is a step.
    """
    if num_envs < 1 or steps // num_envs < 3:
        raise ValueError(
            f"capacity {steps} over {num_envs} environments: expected 3 steps or more "
            "for each: see buffer_size"
        )


def warn_if_large(nbytes: int, dtype: np.dtype[Any]) -> None:
    """Warn about a large buffer: one for images may be larger than expected."""
    megabytes = nbytes / 1e6
    if megabytes <= 100.0:
        return
    text = f"the replay buffer takes {megabytes:.0f} MB: see buffer_size"
    if dtype.itemsize > 1 and dtype.kind in "iu":
        text += "; gymnasium.wrappers.DtypeObservation gives a smaller dtype"
    warnings.warn(text, UserWarning, stacklevel=4)  # where the agent begins


def fits_into_memory(what: str, megabytes: float) -> None:
    free = free_megabytes()
    if megabytes >= free:
        raise ValueError(
            f"{what} of {megabytes:.0f} MB: expected less than the free memory, "
            f"{free:.0f} MB: see buffer_size"
        )


def free_megabytes() -> float:
    """Free memory in megabytes; inf if the system does not report it."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 1000
    return math.inf


def probability(name: str, value: Any, step: int | None = None) -> float:
    """`value` as a float from 0 to 1; at this `step`, if a schedule gave it."""
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0.0 <= number <= 1.0:
        at = "" if step is None else f" at step {step}"
        is_mask = name == "epsilon" and isinstance(value, list | tuple | np.ndarray)
        hint = "; did you mean mask=?" if is_mask else ""
        raise ValueError(f"{name}{at} is {value!r}: expected 0 to 1{hint}")
    return number


def batch_size(size: int, stored: int) -> None:
    """Check that as many slots of the replay buffer are filled as a batch needs."""
    if size < 1:
        raise ValueError(f"batch_size is {size}: expected 1 or more")
    if size > stored:
        raise ValueError(f"batch_size is {size}, but only {stored} slots are filled")


def update(number: int, loss: float, grad_norm: float, before: Any) -> None:
    """Refuse an update that has diverged; `before` has the figures of the last one."""
    if not math.isfinite(loss + grad_norm):
        raise FloatingPointError(
            f"update {number} diverged: loss {loss}, gradient norm {grad_norm}; "
            f"the update before: {before}; a lower learning_rate or "
            "smaller rewards may help"
        )
