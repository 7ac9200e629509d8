"""Checks of settings. Each error names the value and what was expected.

Each function but `update` raises ValueError or TypeError before anything is changed. Other modules
call it in one line, so that they say what they do and not what might be wrong.
(What an environment returns is checked in experience.py.)
"""

import math
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

MAX_COUNT = 2**31 - 1  # draw_starts (batch.py) multiplies it by up to 2^32, in 64 bits


def expect(valid: Any, found: str, expected: str, error: type[Exception] = ValueError) -> None:
    if not valid:
        raise error(f"{found}: expected {expected}")


RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "gamma": (lambda x: 0.0 <= x <= 1.0, "0 to 1"),
    "tau": (lambda x: 0.0 < x <= 1.0, "more than 0, up to 1"),
    "final_gain": (lambda x: 0.0 < x < math.inf, "a finite number, more than 0"),
    "huber_delta": (lambda x: x > 0.0, "more than 0"),
    "max_grad_norm": (lambda x: x > 0.0, "more than 0"),
    "learning_rate": (lambda x: 0.0 <= x < 1.0, "0 to less than 1"),
    "epsilon": (lambda x: 0.0 <= x <= 1.0, "0 to 1"),
    "priority_alpha": (lambda x: 0.0 <= x <= 1.0, "0 to 1"),
    "priority_beta": (lambda x: 0.0 <= x <= 1.0, "0 to 1"),
}


def config(c: Any) -> None:
    """Check a DQNConfig. NumPy numbers become Python numbers, which a checkpoint can store."""

    def check(name: str, valid: bool, expected: str) -> None:
        expect(valid, f"{name} is {getattr(c, name)!r}", expected)

    for field in fields(c):
        name, value = field.name, getattr(c, field.name)
        if field.type is int:
            expected = f"an integer of 1 or more, up to {MAX_COUNT}"
            check(name, type(value) is not bool, expected)
            convert(c, name, index, expected)
            check(name, 1 <= value <= MAX_COUNT, expected)
        elif field.type is bool:
            check(name, type(value) in (bool, np.bool_), "True or False")
            convert(c, name, bool, "True or False")
        elif name == "conv":
            expected = "(channels, kernel, stride) for each layer, positive integers"
            convert(c, name, lambda layers: tuple(tuple(map(index, la)) for la in layers), expected)
            check(name, all(len(la) == 3 and min(la) > 0 for la in c.conv), expected)
        elif name == "hidden":
            convert(c, name, lambda widths: tuple(map(index, widths)), "integers, such as (64,)")
            check(name, all(width > 0 for width in c.hidden), "positive widths")
        elif field.type is float or not callable(value):
            convert(c, name, float, "a number" + " or a function" * (field.type is not float))
    for name, (valid, expected) in RANGES.items():
        check(name, all(map(valid, known_values(getattr(c, name)))), expected)
    check("learning_rate", known_values(c.learning_rate)[:1] != [0.0], "more than 0 at first")
    check("batch_size", c.batch_size <= c.buffer_size, f"at most buffer_size, {c.buffer_size}")
    expected = f"batch_size, {c.batch_size}, or more"
    check("learning_starts", c.learning_starts >= c.batch_size, expected)


def convert(settings: Any, name: str, to: Callable[[Any], Any], expected: str) -> None:
    """Replace one of the frozen `settings` by what `to` makes of it."""
    value = getattr(settings, name)
    try:
        object.__setattr__(settings, name, to(value))
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}: expected {expected}") from None


def known_values(schedule: Any) -> list[float]:
    """The values that bound a schedule: a decay's two ends; none for your own function."""
    return list(getattr(schedule, "bounds", [] if callable(schedule) else [schedule]))


def decay(settings: Any) -> None:
    """Check the numbers of a decay; each becomes a Python float."""
    start, end, speed, *per = vars(settings)
    for name in (start, end, speed):
        convert(settings, name, float, "a number")
    value, counts = getattr(settings, speed), ("step", "update", "episode")
    expect(value > 0.0, f"{speed} is {value!r}", "more than 0")
    expect(value <= 1.0 or speed != "factor", f"factor is {value!r}", "up to 1")
    if per:
        expect(settings.per in counts, f"per is {settings.per!r}", f"one of {counts}")


def probability(name: str, value: float, step: int | None = None) -> float:
    if not 0.0 <= value <= 1.0:
        at = "" if step is None else f" at step {step}"
        raise ValueError(f"{name}{at} is {value!r}: expected 0 to 1")
    return value


def batch_size(size: int, stored: int) -> None:
    if not 0 < size <= stored:
        raise ValueError(f"batch_size {size}: expected 1 to the {stored} steps stored")


def capacity(steps: int, num_envs: int, shape: Any, dtype: Any, n_actions: int) -> None:
    """A ring has at most two bridges in a row, so three slots always hold a start.

    And it has to fit into memory.
    """
    found = f"capacity {steps} over {num_envs} environments"
    expect(num_envs > 0 and steps // num_envs >= 3, found, "3 steps or more for each")
    megabytes = steps * (math.prod(shape) * dtype.itemsize + n_actions + 9) / 1e6
    free, found = free_megabytes(), f"a replay buffer of {megabytes:.0f} MB"
    expect(megabytes < free, found, f"less than the free memory, {free:.0f} MB: see buffer_size")
    if megabytes > 100.0:
        text = f"the replay buffer takes {megabytes:.0f} MB: see buffer_size"
        if dtype.itemsize > 1 and dtype.kind in "iu":
            text += f"; gymnasium.wrappers.DtypeObservation makes {dtype} smaller"
        warnings.warn(text, UserWarning, stacklevel=4)


OF_NETWORK = ("conv", "normalize_obs", "hidden", "layer_norm", "dueling", "noisy", "final_gain")


def image(shape: tuple[int, ...], space: Box, c: Any) -> None:
    """Check what convolutions are to see: observations of `shape`."""
    found, wrappers = f"an observation of shape {shape}", "gymnasium.wrappers"
    if not c.conv:
        expected = f"a vector; for an image give conv; {wrappers}.FlattenObservation makes a vector"
        expect(len(shape) < 2, found, expected)
        return
    expect(not c.normalize_obs, "normalize_obs with conv", "False: pixels become 0 to 1 anyway")
    expect(len(shape) in (2, 3), f"{found} for conv", "(height, width), perhaps with channels last")
    expected = f"channels last; {wrappers}.TransformObservation transposes, and the setting "
    expected += "frame_stack stacks frames, instead of a wrapper"
    expect(shape[0] >= min((*shape, 1)[1:3]) or shape[0] > 16, found, expected)
    unit = space.low.min() >= 0.0 and space.high.max() <= 1.0
    fits = space.dtype.kind in "bf" if unit else space.dtype == np.uint8  # bytes are divided by 255
    expected = "bytes of 0 to 255 (not 0 to 1), or booleans or floats of 0 to 1; "
    expected += f"{wrappers}.RescaleObservation or DtypeObservation converts"
    expect(fits, f"pixels of {space}", expected)
    height, width = shape[:2]
    for _, k, s in c.conv:
        found = f"conv has a kernel of {k} x {k} for an image of {height} x {width}"
        expect(k <= min(height, width), found, "a smaller one, or fewer layers")
        height, width = (height - k) // s + 1, (width - k) // s + 1


def agent(
    space: Any, actions: Any, c: Any, seed: int, num_envs: int, network: Any = None
) -> tuple[Box, int]:
    """Check what a DQN is made for; return the observation space and the number of actions."""
    found, wrappers = f"observation space {space}", "gymnasium.wrappers"
    expected = f"a Box; {wrappers}.FlattenObservation converts Dict, Tuple or Discrete"
    expect(isinstance(space, Box), found, expected, TypeError)
    known = space.dtype.kind in "biu" or space.dtype in (np.float32, np.float64)
    expected = f"float32, float64 or integers; {wrappers}.DtypeObservation converts"
    expect(known, found, expected, TypeError)
    known = isinstance(actions, Discrete) and actions.start == 0
    expected = f"Discrete(n) that starts at 0; {wrappers}.DiscretizeAction converts a Box; "
    expected += "a vector environment has it as single_action_space"
    expect(known, f"action space {actions}", expected, TypeError)
    for name, count, least in (("seed", seed, 0), ("num_envs", num_envs, 1)):
        valid = hasattr(count, "__index__") and count >= least
        expect(valid, f"{name} {count}", f"an integer of {least} or more")
    slots = c.buffer_size // num_envs
    found = f"buffer_size {c.buffer_size} over {num_envs} environments"
    expect(slots * num_envs >= c.batch_size, found, f"room for a batch, {c.batch_size}")
    most = min(-(-c.learning_starts // num_envs), slots - 1)  # steps before the first update
    expected = f"up to {most} with prioritised replay, which needs complete transitions: "
    expected += f"learning_starts is {c.learning_starts}, buffer_size {c.buffer_size}"
    enough = c.priority_alpha == 0.0 or c.n_step <= most
    expect(enough, f"n_step {c.n_step} in {num_envs} environments", expected)
    expect(c.frame_stack <= slots, f"frame_stack {c.frame_stack}", f"up to {slots} steps stored")
    if network is None:
        image(space.shape, space, c)
    for field in fields(c) if network else ():
        name, value = field.name, getattr(c, field.name)
        used = field.name not in OF_NETWORK or value == field.default
        expect(used, f"{name} is {value!r} beside a network of your own", "it to be left out")
    return space, int(actions.n)


def free_megabytes() -> float:
    """How much memory the machine has left; inf where it does not say."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) / 1000
    return math.inf


def update(number: int, loss: float, grad_norm: float, before: Any) -> None:
    """Raise FloatingPointError if the update has diverged."""
    if not math.isfinite(loss + grad_norm):
        now = f"update {number} diverged: loss {loss}, gradient norm {grad_norm}"
        raise FloatingPointError(f"{now}; the update before: {before}")


def networks(online: Any, target: Any, ring: Any, outputs: int) -> None:
    """Check that two networks share nothing, and give `outputs` for an observation."""
    shape = online.forward(np.zeros((1, *ring.stack_shape), ring.obs.dtype)).shape[1:]
    expect(shape == (outputs,), f"the network gives {shape}", f"({outputs},)")
    kinds = [[(type(layer), layer.size) for layer in net.layers] for net in (online, target)]
    expect(kinds[0] == kinds[1], "`network` gave two different networks", "the same layers")
    layers = [*online.layers, *target.layers]
    found = "`network` used a layer twice, or gave the same network twice"
    expect(len({*map(id, layers)}) == len(layers), found, "new layers each time")
