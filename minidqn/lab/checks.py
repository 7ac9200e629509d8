"""Checks of the arguments of the lab's functions.

Each check raises ValueError, TypeError or OSError, which names the value and what was
expected. Otherwise it returns the value in its usual type.
"""

import math
from numbers import Real
from operator import index
from pathlib import Path
from typing import Any

import gymnasium as gym

from minidqn import checks


def count(name: str, value: Any, least: int = 1) -> int:
    """An integer of `least` or more; NumPy's, too."""
    checks.count(name, value, least)
    return index(value)


def number(name: str, value: Any) -> float:
    """A finite number."""
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}: expected a finite number")
    return float(value)


def file_to_write(path: str | Path) -> Path:
    """The path of a file, in a folder that exists."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: expected the name of a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
    return path


def one_environment(env: Any) -> None:
    """Raise TypeError unless `env` is one environment, not a vector of them."""
    if not isinstance(env, gym.Env):
        raise TypeError(f"env is {env}: expected one environment")
