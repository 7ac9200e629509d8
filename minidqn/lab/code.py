"""Digests of the code of a run, so that other code makes another run.

They cover minidqn's own code, and the versions of its packages. For each function or
class that a run was given, they also cover its module, and all modules of yours that
this module imports, directly or not. Comments and empty lines in them do not count.

A digest is made of a file at its first use, and kept. So a script may be edited while
its runs go on, because they use the code that was loaded before.
"""

import ast
import hashlib
import inspect
import platform
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache, partial
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import FunctionType
from typing import Any

from minidqn import examples
from minidqn.lab.identity import Json, module_name

PACKAGE = Path(__file__).parents[1]
# files of the lab that affect no number of a run
# fmt: off
WITHOUT_NUMBERS = (
    "arguments", "asked", "cli", "compare", "films", "filters", "first_masks",
    "groups", "in_vain", "jobs", "names", "output", "parsing", "pictures",
    "places", "plotting", "processes", "progress", "scale", "show", "statistics",
    "sweep", "sweep_cli", "tuned", "value_function", "watchers",
)
# fmt: on
VERSIONS = ("gymnasium", "numba", "numpy")


def code_of(*values: Any) -> Json:
    """Digests of the code of minidqn, and of the functions and classes in `values`."""
    code = dict(code_of_minidqn())
    for function in functions_in(values):
        code.update(code_of_function(function))
    return code


def functions_in(value: Any) -> Iterator[Any]:
    """All functions and classes in a value: their code may affect the run."""
    if isinstance(value, type | FunctionType):
        yield value
    elif isinstance(value, partial):
        yield from functions_in((value.func, value.args, value.keywords))
    elif isinstance(value, tuple | list):
        for entry in value:
            yield from functions_in(entry)
    elif isinstance(value, dict):
        yield from functions_in(list(value.values()))
    elif is_dataclass(value):
        yield type(value)
        for field in fields(value):
            yield from functions_in(getattr(value, field.name))


@cache
def code_of_minidqn() -> Json:
    code = {"python": platform.python_version()}
    for name in VERSIONS:
        code[name] = version(name)
    for file in sorted(PACKAGE.rglob("*.py")):
        inside = file.relative_to(PACKAGE)
        if not (inside.parts[0] == "lab" and inside.stem in WITHOUT_NUMBERS):
            code[f"minidqn/{inside.as_posix()}"] = digest(file.read_text("utf-8"))
    return code


@cache
def code_of_function(function: Any) -> Json:
    """Digests of a function's module, and of the modules of yours that it imports.

    Raises TypeError if its code cannot be found.
    """
    name = function.__module__
    if is_counted(name):
        return {}
    file = Path(getattr(sys.modules.get(name), "__file__", None) or "")
    if file.is_file():
        code = {}
        for module, place in files_of(name, file).items():
            code[module_name(module)] = digest_of_code(place)
        return code | version_of_package(name, file)
    try:  # a cell of a notebook
        text = inspect.getsource(function)
    except (OSError, TypeError):
        raise TypeError(
            f"the code of {name}.{function.__qualname__} cannot be found: expected a "
            "function or a class of a module"
        ) from None
    return {f"{module_name(name)}.{function.__qualname__}": digest(text)}


def is_counted(module: str) -> bool:
    """Whether code_of_minidqn, or the version of Python, covers a module."""
    if module in ("__main__", "__mp_main__") or is_example(module):
        return False
    first = module.split(".")[0]
    return first == "minidqn" or first in sys.stdlib_module_names


def is_example(module: str) -> bool:
    return module.startswith(f"{examples.__name__}.")


# --- The files of modules


def files_of(name: str, file: Path) -> dict[str, Path]:
    """The file of a module, and those of the modules of yours that it imports."""
    found = {name: file}
    todo = [name]
    while todo:
        module = todo.pop()
        for imported in imports_of(module, found[module]):
            place = file_of_yours(imported)
            if imported not in found and place is not None:
                found[imported] = place
                todo.append(imported)
    return found


def imports_of(module: str, file: Path) -> set[str]:
    """All names that a module imports, anywhere in its code; some are no modules."""
    if file.suffix != ".py":
        return set()
    package = package_of(module, file)
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(names_from(node, package))
    for name in list(names):  # a.b imports a, too
        parts = name.split(".")
        names.update(".".join(parts[:end]) for end in range(1, len(parts)))
    return names


def names_from(node: ast.ImportFrom, package: str) -> set[str]:
    """The modules that `from a import b` may mean: a, and a.b."""
    source = node.module or ""
    if node.level > 0:
        source = resolve_name("." * node.level + source, package)
    return {source, *(f"{source}.{alias.name}" for alias in node.names)}


def package_of(module: str, file: Path) -> str:
    """The package that the dot of `from . import` means in a module."""
    known = getattr(sys.modules.get(module), "__package__", None)
    if known is not None:
        return str(known)
    return module if file.stem == "__init__" else module.rpartition(".")[0]


def file_of_yours(module: str) -> Path | None:
    """The file of a module, or None for one of Python's, of minidqn or installed."""
    first, *rest = module.split(".")
    if is_example(module):
        return file_in([examples.FOLDER], rest[1:])
    if is_counted(first):
        return None
    spec = spec_of(first)
    if spec is None or is_installed(Path(spec.origin or "")):
        return None
    if not rest:
        return place_of(spec)
    return file_in(spec.submodule_search_locations or [], rest)


def place_of(spec: ModuleSpec) -> Path | None:
    return Path(spec.origin) if spec.has_location and spec.origin else None


def file_in(places: list[Any], parts: list[str]) -> Path | None:
    """The file of a module below one of these folders."""
    for place in places:
        folder = Path(place, *parts)
        for file in (folder / "__init__.py", folder.parent / f"{folder.name}.py"):
            if file.is_file():
                return file
    return None


def spec_of(module: str) -> ModuleSpec | None:
    """Where Python finds a module, without importing it."""
    try:
        return find_spec(module)
    except (ImportError, ValueError):
        return None


def is_installed(file: Path) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(file.parts)


def version_of_package(module: str, file: Path) -> Json:
    """The version of an installed package, if it has the name of its module."""
    first = module.split(".")[0]
    if not is_installed(file) or first in VERSIONS:
        return {}
    try:
        return {first: version(first)}
    except PackageNotFoundError:
        return {}


# --- Digests


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_of_file(file: Path) -> str:
    """The digest of a file's bytes, read in parts: a checkpoint may be large."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]


def digest_of_code(file: Path) -> str:
    """The digest of Python code, without its comments and empty lines."""
    if file.suffix != ".py":
        return digest_of_file(file)
    return digest(ast.dump(ast.parse(file.read_bytes())))
