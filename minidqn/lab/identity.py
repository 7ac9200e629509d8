"""The identity of a run: plain data, which says whether two runs are the same.

Two runs that could differ in any number must have different identities. Then the result
in a folder can be returned for a run with the same identity, without making it again.
So the identity has every setting, the environment with the functions that make or wrap
it, and the code (code.py).

A function is identified by its module, its name, and the code of its module. So it must
have a name that stays the same. A lambda, a nested function, or a method of an object
could be another one next time, under the same name. So they are refused.

These are not in the identity: the processor, which may round differently; the data that
your code reads from a file or the command line; a value of your module that another one
sets; and the versions of other packages.
"""

import json
import sys
from dataclasses import fields, is_dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import (
    EnvSpec,
    find_highest_version,
    get_env_id,
    load_env_creator,
    parse_env_id,
)

from minidqn import examples

Json = dict[str, Any]


def as_plain(value: Any) -> Any:
    """A value as plain JSON data. Raises TypeError if it has no name and no fields."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list):
        return [as_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {key_of(name): as_plain(entry) for name, entry in value.items()}
    if isinstance(value, Path):
        return str(value)
    return code_as_plain(value)


def key_of(name: Any) -> str:
    """A dictionary's key as text. 1 becomes "int 1", so it is not taken for "1"."""
    return name if isinstance(name, str) else f"{type(name).__name__} {name}"


def code_as_plain(value: Any) -> Any:
    """A function, a class, or a dataclass object, as plain JSON data."""
    if isinstance(value, partial):
        return {
            "partial": as_plain(value.func),
            "args": as_plain(value.args),
            "keywords": as_plain(value.keywords),
        }
    if has_name(value):
        return name_of(value)
    if is_only_its_fields(value):
        content = {each.name: getattr(value, each.name) for each in fields(value)}
        return {name_of(type(value)): as_plain(content)}
    raise TypeError(
        f"{value!r} has no name that would be the same next time: expected a function "
        "or a class of a module, functools.partial of one, or plain data"
    )


def has_name(value: Any) -> bool:
    """Whether it is a function or a class, but not a method of an object."""
    if isinstance(value, BuiltinFunctionType):
        return isinstance(value.__self__, ModuleType)
    return isinstance(value, type | FunctionType)


def is_only_its_fields(value: Any) -> bool:
    """Whether it is a dataclass object without other attributes than its fields."""
    if not is_dataclass(value):
        return False
    names = {field.name for field in fields(value)}
    return getattr(value, "__dict__", {}).keys() <= names


def name_of(function: Any) -> str:
    """Module and name of a function or a class: the same in every process."""
    name = function.__qualname__
    if "<lambda>" in name or "<locals>" in name:
        hint = ""
        if "<lambda>" in name:
            hint = "; write it as: def NAME(...): return ..."
        raise TypeError(
            f"{name} of {function.__module__} may be another function next time: "
            f"expected one from the top level of a module{hint}"
        )
    code = getattr(function, "__code__", None)
    nested = code is not None and "<locals>" in code.co_qualname
    if nested and found_under(function.__module__, name) is not function:
        raise TypeError(
            f"{function!r} was made inside another function, and is not the {name} of "
            f"{function.__module__}, whose name it has: expected a function that the "
            "module has under its own name (functools.wraps copies names; after a "
            "module was imported again, it has new functions)"
        )
    return f"{module_name(function.__module__)}.{name}"


def found_under(module: str, name: str) -> Any:
    """What a module has under a name such as f or Class.f; None if there is nothing."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def module_name(module: str) -> str:
    """The module's name, or a script's file name instead of __main__ or __mp_main__."""
    if module not in ("__main__", "__mp_main__"):
        return module
    file = Path(getattr(sys.modules[module], "__file__", None) or module)
    if file.resolve().parent == examples.FOLDER.resolve():
        return f"{examples.__name__}.{file.stem}"
    return file.stem


def registered(env_id: str) -> EnvSpec | None:
    """Gymnasium's spec of an environment, found as gymnasium.make finds it."""
    module, _, name = env_id.rpartition(":")
    if module:
        import_module(module)
    known = gym.registry.get(name)
    if known is not None and known.version is not None:
        return known
    namespace, short, version = parse_env_id(name)
    if version is None:  # then the latest is meant
        latest = find_highest_version(namespace, short)
        if latest is not None:
            name = get_env_id(namespace, short, latest)
    return gym.registry.get(name)


def environment(env_id: str) -> tuple[Json, list[Any]]:
    """How Gymnasium makes an environment, and objects with the functions that make it.

    Both are empty if Gymnasium does not know the id.
    """
    spec = registered(env_id)
    if spec is None:
        return {}, []
    makers: list[Any] = [spec.entry_point]
    makers += [wrapper.entry_point for wrapper in spec.additional_wrappers]
    for index, maker in enumerate(makers):
        if isinstance(maker, str):
            makers[index] = load_env_creator(maker)
    about = {
        "makers": as_plain(makers),
        "kwargs": as_plain(spec.kwargs),
        "max_episode_steps": spec.max_episode_steps,
        "reward_threshold": spec.reward_threshold,
        "wrappers": as_plain(spec.additional_wrappers),
    }
    return about, [makers, spec.kwargs]


def differences(before: Json, now: Json) -> list[str]:
    """The differences between two identities, in words."""
    if json.dumps(before, sort_keys=True) == json.dumps(now, sort_keys=True):
        return []
    names = sorted(before.keys() | now.keys())
    changed = [name for name in names if text_of(before, name) != text_of(now, name)]
    # with other steps, decays over the run differ, too: the cause comes first
    changed.sort(key=lambda name: is_decay(now.get(name)))
    return [difference(name, before.get(name), now.get(name)) for name in changed]


def text_of(identity: Json, name: str) -> str:
    """An entry as text, because Python takes True, 1 and 1.0 for the same."""
    return json.dumps(identity.get(name), sort_keys=True)


def difference(name: str, was: Any, new: Any) -> str:
    """What changed in one entry of an identity."""
    tables = isinstance(was, dict | None) and isinstance(new, dict | None)
    decays = is_decay(was) and is_decay(new) and name != "code"
    if decays or not tables:
        return f"{name} {in_words(was)} instead of {in_words(new)}"
    inside = differing(was or {}, new or {})
    text = f"another {name}: {some_of(inside)}"
    if name == "code" and module_name("__main__") in inside:
        text += (
            " (the script itself: with your functions in a module of their own, it may "
            "change)"
        )
    return text


def is_decay(value: Any) -> bool:
    """Whether it is as a decay in JSON: its name, with its arguments."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    [arguments] = value.values()
    return isinstance(arguments, dict)


def in_words(value: Any) -> str:
    """A value of an identity; a decay is written as in Python."""
    if not is_decay(value):
        return str(value)
    [(name, arguments)] = value.items()
    texts = [f"{key}={in_words(entry)}" for key, entry in arguments.items()]
    return f"{name}({', '.join(texts)})"


def differing(was: Json, new: Json) -> list[str]:
    return sorted(key for key in was | new if text_of(was, key) != text_of(new, key))


def some_of(names: list[str]) -> str:
    """The first four names, and how many there are beside them."""
    text = ", ".join(names[:4])
    return text if len(names) <= 4 else f"{text} and {len(names) - 4} more"
