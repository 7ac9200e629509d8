"""The public API: names, arguments and defaults. A change of it is to be meant.

tests/data/api.txt is what programs of others rely on. If a difference is meant, write it
there, and a line into CHANGELOG.md. This module prints what it should be:

    python -m tests.test_api > tests/data/api.txt
"""

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import minidqn

FILE = Path(__file__).parent / "data" / "api.txt"


class Named:
    """A default that is a function or a class: its name, not where it is in memory."""

    def __init__(self, thing: Any) -> None:
        self.name = thing.__name__

    def __repr__(self) -> str:
        return str(self.name)


def signature(thing: Any) -> str:
    """Arguments and defaults; without types, which say the same in other words."""
    try:
        found = inspect.signature(thing)
    except ValueError:  # a class of C, such as an error's
        return ""
    bare = []
    for name, argument in found.parameters.items():
        if name == "self":
            continue
        default = argument.default
        if inspect.isfunction(default) or default is minidqn.DQN:
            default = Named(default)
        bare.append(
            argument.replace(annotation=inspect.Parameter.empty, default=default)
        )
    end = inspect.Signature.empty
    return str(found.replace(parameters=bare, return_annotation=end))


def members(thing: type) -> Iterator[str]:
    """The public methods and attributes of a class that it defines itself."""
    fields = {}
    if dataclasses.is_dataclass(thing):
        fields = {field.name: field for field in dataclasses.fields(thing)}
    for name, value in sorted(vars(thing).items()):
        if name.startswith("_") or name in fields:
            continue
        function = getattr(value, "__func__", value)  # of a class method
        yield f"{name}{signature(function)}" if callable(function) else name


def described() -> str:
    """A line for each public name, and for each member of a class."""
    lines = []
    for name in sorted(minidqn.__all__):
        thing = getattr(minidqn, name)
        if not callable(thing):
            lines.append(f"{name} = {thing!r}")
            continue
        lines.append(f"{name}{signature(thing)}")
        if inspect.isclass(thing):
            lines += [f"    {member}" for member in members(thing)]
    return "\n".join(lines)


def test_the_api_is_what_others_rely_on() -> None:
    assert described().splitlines() == FILE.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    print(described())
