"""The folders of runs from the command line: runs/cartpole, runs/cartpole-2, ..."""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from minidqn.lab.folder import RUN, is_free, is_in_use, run_in
from minidqn.lab.identity import Json, differences


def short_name(env_id: str) -> str:
    """The name of the folder for an environment's runs."""
    name = env_id.lower().split(":")[-1].split("-")[0].removesuffix("noframeskip")
    return name.removeprefix("ale/").replace("/", "_")


def numbered(base: Path) -> Iterator[Path]:
    yield base
    for number in count(2):
        yield base.with_name(f"{base.name}-{number}")


def existing(base: Path, identity: Json) -> Path | None:
    """The numbered folder that already has this run, finished or not; or None.

    If --fresh made the run several times, it is the folder that was begun last.
    """
    for folder in begun(base):
        if has_run(folder, identity):
            return folder
    return None


def begun(base: Path) -> list[Path]:
    """The numbered folders that have a run, the one that was begun last first."""
    if not base.parent.is_dir():
        return []
    name = re.compile(re.escape(base.name) + r"(-\d+)?")
    found = []
    for folder in base.parent.iterdir():  # any number may have been deleted
        if name.fullmatch(folder.name) and (folder / RUN).exists():
            found.append(folder)
    found.sort(key=lambda folder: (folder / RUN).stat().st_mtime_ns, reverse=True)
    return found


def with_other_code(base: Path, identity: Json) -> str:
    """Which numbered folder has this run with another code, in words; "" if none."""
    for folder in begun(base):
        with suppress(ValueError):  # a damaged file
            before = run_in(folder)
            same_code = before | {"code": identity["code"]}
            changes = differences(before, identity)
            if changes and not differences(same_code, identity):
                return f"{folder} has this run with {changes[0]}"
    return ""


def has_run(folder: Path, identity: Json) -> bool:
    try:
        before = run_in(folder)
    except ValueError:  # a damaged file
        return False
    return bool(before) and not differences(before, identity)


def next_free(base: Path) -> Path:
    """The first of the numbered folders that is free, and not in use."""
    folders = numbered(base)
    folder = next(folders)
    while not is_free(folder) or is_in_use(folder):
        folder = next(folders)
    return folder
