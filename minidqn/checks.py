"""Checks of what an agent is made of, and of its numbers while it learns.

Each function but `update` raises ValueError or TypeError, which names the value and
what was expected, before anything is changed. config.py checks the settings, and
experience.py what an environment returned.
"""

import math
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete


def spaces(observation_space: Any, action_space: Any) -> None:
    """The spaces that an agent can be made for."""
    wrappers = "gymnasium.wrappers"
    if not isinstance(observation_space, Box):
        raise TypeError(
            f"observation space {observation_space}: expected a Box; "
            f"{wrappers}.FlattenObservation converts Dict, Tuple or Discrete"
        )
    dtype = observation_space.dtype
    if dtype.kind not in "biu" and dtype not in (np.float32, np.float64):
        raise TypeError(
            f"observation space {observation_space}: expected float32, float64 or "
            f"integers; {wrappers}.DtypeObservation converts"
        )
    if not dtype.isnative:
        raise TypeError(
            f"observation space {observation_space} has the dtype {dtype.str}: "
            f"expected this machine's byte order; {wrappers}.DtypeObservation converts"
        )
    if math.prod(observation_space.shape) == 0:
        raise ValueError(
            f"observation space {observation_space}: expected one number or more"
        )
    if not isinstance(action_space, Discrete) or action_space.start != 0:
        raise TypeError(
            f"action space {action_space}: expected Discrete(n) that starts at 0; "
            f"{wrappers}.DiscretizeAction converts a Box; a vector environment has it "
            "as single_action_space"
        )


def count(name: str, value: Any, least: int) -> None:
    """A count that is no setting: a seed, or a number of environments."""
    if not hasattr(value, "__index__") or value < least:
        raise ValueError(f"{name} {value}: expected an integer of {least} or more")


def capacity(steps: int, num_envs: int, megabytes: float) -> None:
    """Raise ValueError if a ring is too small to learn from, or too large for memory.

    At most two bridges follow each other, so of three slots one is a step.
    """
    if num_envs < 1 or steps // num_envs < 3:
        raise ValueError(
            f"capacity {steps} over {num_envs} environments: expected 3 steps or more "
            "for each"
        )
    fits_into_memory("a replay buffer", megabytes)


def warn_if_large(nbytes: int, dtype: np.dtype[Any]) -> None:
    """A buffer for images may be larger than its user thinks."""
    megabytes = nbytes / 1e6
    if megabytes <= 100.0:
        return
    text = f"the replay buffer takes {megabytes:.0f} MB: see buffer_size"
    if dtype.itemsize > 1 and dtype.kind in "iu":
        text += f"; gymnasium.wrappers.DtypeObservation makes {dtype} smaller"
    warnings.warn(text, UserWarning, stacklevel=4)  # where the DQN is made


def fits_into_memory(what: str, megabytes: float) -> None:
    free = free_megabytes()
    if megabytes >= free:
        raise ValueError(
            f"{what} of {megabytes:.0f} MB: expected less than the free memory, "
            f"{free:.0f} MB: see buffer_size"
        )


def free_megabytes() -> float:
    """How much memory the machine has left; inf where it does not say."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 1000
    return math.inf


def probability(name: str, value: Any, step: int | None = None) -> float:
    """A number that must lie in 0 to 1, perhaps that of a schedule at this step."""
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0.0 <= number <= 1.0:
        at = "" if step is None else f" at step {step}"
        raise ValueError(f"{name}{at} is {value!r}: expected 0 to 1")
    return number


def batch_size(size: int, stored: int) -> None:
    """A batch needs as many steps as it has transitions."""
    if size < 1:
        raise ValueError(f"batch_size is {size}: expected 1 or more")
    if size > stored:
        raise ValueError(f"batch_size is {size}, but only {stored} steps are stored")


def update(number: int, loss: float, grad_norm: float, before: Any) -> None:
    """An update that has diverged is refused; `before` is what the last one saw."""
    if not math.isfinite(loss + grad_norm):
        raise FloatingPointError(
            f"update {number} diverged: loss {loss}, gradient norm {grad_norm}; "
            f"the update before: {before}"
        )
