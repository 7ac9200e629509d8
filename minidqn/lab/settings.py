"""Settings as JSON, and which of them may change when an agent is loaded.

Checkpoints and the folders of runs store the settings. Numbers and the decays of
minidqn can be read back. Your own schedule is a function, and code is not saved. So
only its name is written, and to load the agent, you give the function again.

    gamma=0.99                          0.99
    epsilon=LinearDecay(1.0, 0.1, 500)  {"LinearDecay": {"start": 1.0, ...}}
    epsilon=my_schedules.saw            {"own": "my_schedules.saw"}
"""

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from difflib import get_close_matches
from functools import partial
from typing import Any

from minidqn.config import DQNConfig
from minidqn.parts.decays import Delayed, ExponentialDecay, GeometricDecay
from minidqn.parts.qnetwork import NETWORK_SETTINGS
from minidqn.schedules import LinearDecay

DECAYS: dict[str, Any] = {
    "LinearDecay": LinearDecay,
    "ExponentialDecay": ExponentialDecay,
    "GeometricDecay": GeometricDecay,
    "Delayed": Delayed,
}
OWN = "own"  # the key in JSON for the name of your own schedule

# settings that the networks depend on, and those of the priorities of stored steps
FIXED_BY_NETWORK = (*NETWORK_SETTINGS, "quantiles", "frame_stack")
FIXED_BY_PRIORITIES = ("priority_alpha", "n_step", "buffer_size")


def settings(config: DQNConfig) -> dict[str, Any]:
    """The settings by name, in alphabetical order, as json.dumps takes them."""
    return {name: to_json(value) for name, value in sorted(vars(config).items())}


def to_json(value: Any) -> Any:
    """A setting as JSON."""
    if isinstance(value, Delayed):
        return {"Delayed": {"decay": to_json(value.decay), "begin": value.begin}}
    if type(value) in DECAYS.values():
        return {type(value).__name__: asdict(value)}
    if callable(value):
        return {OWN: name_of(value)}
    return value


def from_json(value: Any) -> Any:
    """A setting, read from JSON.

    Raises ValueError for a schedule that is not one of minidqn's.
    """
    if not isinstance(value, dict):
        return value
    expected = f"one of {', '.join(DECAYS)}"
    if len(value) != 1:
        raise ValueError(f"the schedule {value!r}: expected {expected}")
    [(name, arguments)] = value.items()
    if name not in DECAYS or not isinstance(arguments, dict):
        raise ValueError(f"the schedule {value!r}: expected {expected}, with arguments")
    if name == "Delayed":
        arguments = arguments | {"decay": from_json(arguments["decay"])}
    return DECAYS[name](**arguments)


def own_schedules(config: DQNConfig) -> dict[str, Callable[[int], float]]:
    """The schedules that are your own functions, by the names of their settings."""
    return {
        name: value
        for name, value in vars(config).items()
        if callable(value) and type(value) not in DECAYS.values()
    }


def name_of(function: Any) -> str:
    """Module and name of a function, or of the class of another callable object."""
    while isinstance(function, partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def changed(config: DQNConfig, changes: dict[str, Any]) -> DQNConfig:
    """`config` with some settings replaced.

    Raises ValueError for an unknown name, or a value that is out of range.
    """
    names = vars(config)
    for name in changes:
        if name not in names:
            similar = get_close_matches(name, names, 2)
            expected = " or ".join(similar) or f"one of {', '.join(names)}"
            raise ValueError(f"setting {name!r}: expected {expected}")
    return replace(config, **changes)


def from_here(changes: dict[str, Any], counted: dict[str, int]) -> dict[str, Any]:
    """Changes of settings in the middle of a run: their decays begin now.

    `counted` are the steps, updates and episodes so far: {"step": 100, ...}.
    """
    delayed = {}
    for name, value in changes.items():
        if type(value) in DECAYS.values() and not isinstance(value, Delayed):
            begin = counted[getattr(value, "per", "step")]
            if begin > 0:
                value = Delayed(value, begin)
        delayed[name] = value
    return delayed


def check_fixed(saved: DQNConfig, config: DQNConfig, stored: int) -> None:
    """Raise ValueError for a setting that can no longer change.

    `saved` are the settings of the agent that was saved, `config` the new ones, and
    `stored` is how many slots its replay buffer holds.
    """
    fixed: tuple[str, ...] = FIXED_BY_NETWORK
    prioritised = saved.priority_alpha > 0.0 or config.priority_alpha > 0.0
    if prioritised and stored > 0:
        fixed = FIXED_BY_NETWORK + FIXED_BY_PRIORITIES
    for name in fixed:
        was = getattr(saved, name)
        now = getattr(config, name)
        if now != was:
            raise ValueError(
                f"{name} is {now!r}: expected {was!r}, which the saved agent is made "
                "for"
            )
    if config.buffer_size < stored:
        raise ValueError(
            f"buffer_size is {config.buffer_size}: expected room for the {stored} "
            "steps stored"
        )


def check_batch(config: DQNConfig, steps: int, updates_due: int, stored: int) -> None:
    """Raise ValueError if the next update would come before a batch is stored.

    After `steps` steps, `updates_due` updates are due, and `stored` slots are filled.
    """
    next_update = steps
    if updates_due <= 0:
        updates = config.updates_by(steps) + 1 - updates_due  # in all, and one more
        rounds = math.ceil(updates / config.gradient_steps)
        next_update = config.learning_starts + (rounds - 1) * config.train_every
    stored_then = stored + next_update - steps
    if config.batch_size > stored_then:
        raise ValueError(
            f"batch_size is {config.batch_size}, and {stored} slots are filled: "
            f"expected up to {stored_then}, those filled at the next update, in step "
            f"{next_update}"
        )
