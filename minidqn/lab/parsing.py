"""Settings as they are written on a command line.

    n_step=3            double=false        hidden=128,128      conv=16,3,1
    learning_rate=1e-3                      constant
    learning_rate=3e-3:0                    from 3e-3 down to 0 over the run
    epsilon=1:0.05:5000                     from 1 down to 0.05 over 5,000 steps
    n_step=1/3/40                           in a sweep: each of them

The same text means the same everywhere.
"""

import ast
from contextlib import suppress
from dataclasses import fields
from typing import Any

from minidqn.config import NORMALIZE, DQNConfig
from minidqn.lab.settings import DECAYS, changed
from minidqn.schedules import LinearDecay, Schedule

KINDS: dict[str, Any] = {field.name: field.type for field in fields(DQNConfig)}
FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def split(text: str) -> tuple[str, str]:
    """NAME=VALUE as two texts. Raises ValueError if one is missing, or unknown."""
    name, _, value = text.partition("=")
    name = name.strip()
    value = value.strip()
    if not name or not value:
        raise ValueError(f"{text!r}: expected NAME=VALUE, such as n_step=3")
    if name not in KINDS:
        changed(DQNConfig(), {name: value})  # raises, and says which are similar
    return name, value


def parse(name: str, text: str, steps: int) -> Any:
    """The value of a setting in a run of `steps` steps.

    Raises ValueError for a text that does not fit the setting.
    """
    try:
        return value_of(KINDS[name], text, steps)
    except (SyntaxError, TypeError, ValueError):
        raise ValueError(f"{name}={text}: expected {expected(KINDS[name])}") from None


def value_of(kind: Any, text: str, steps: int) -> Any:
    if kind == KINDS["normalize_obs"]:
        return text if text in NORMALIZE else flag(text)
    if kind is bool:
        return flag(text)
    if kind is int:
        return integer(text)
    if kind is float:
        return float(text)
    if kind == Schedule:
        return schedule(text, steps)
    value = numbers(text)
    if kind == KINDS["conv"] and value and isinstance(value[0], int):
        return (value,)  # a single layer: conv=16,3,1
    return value


def flag(text: str) -> bool:
    """True or False, as one writes it. Raises ValueError for another text."""
    if text.lower() not in FLAGS:
        raise ValueError(f"{text}: expected true or false")
    return FLAGS[text.lower()]


def integer(text: str) -> int:
    """An integer, also as 1e5. Raises ValueError if it is not one."""
    with suppress(ValueError):
        return int(text)
    number = float(text)
    if not number.is_integer():  # nor are inf and NaN
        raise ValueError(f"{text}: expected an integer")
    return int(number)


def numbers(text: str) -> tuple[Any, ...]:
    """A tuple, with or without brackets: 64 and 64,64 and (64,64)."""
    value = ast.literal_eval(text)
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def schedule(text: str, steps: int) -> Schedule:
    """A number, a decay start:end or start:end:steps, or one of minidqn's by name."""
    name, bracket, _ = text.partition("(")
    if bracket and name in DECAYS:
        call: Any = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError
        values = [ast.literal_eval(argument) for argument in call.args]
        named: Any = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
        decay: Schedule = DECAYS[name](*values, **named)
        return decay
    parts = [float(part) for part in text.split(":")]
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        parts.append(steps)
    start, end, length = parts
    return LinearDecay(start, end, length)


def expected(kind: Any) -> str:
    if kind is bool:
        return "true or false"
    if kind == KINDS["normalize_obs"]:
        return "false, bounds or running"
    if kind is int:
        return "an integer"
    if kind is float:
        return "a number"
    if kind == Schedule:
        return "a number, START:END for a decay over the run, or START:END:STEPS"
    if kind == KINDS["conv"]:
        return "channels, kernel and stride of each layer, such as (16,3,1),(32,3,1)"
    return "integers, such as 64,64"


def replaced_decays(config: DQNConfig, changes: dict[str, Any]) -> list[str]:
    """A message for each decay that is replaced by a constant."""
    said = []
    for name, value in changes.items():
        before = getattr(config, name)
        if callable(before) and not callable(value):
            said.append(
                f"{name} is {value:g} throughout, instead of {before}; "
                f"{name}={value:g}:0 would be a decay to 0 over the run"
            )
    return said
