"""The folder of a run: whose it is, and that no other writes there.

run.json             which run it is
agent.safetensors    the agent
history.csv          a row for each episode of training
summary.json         what came of it; it is written last, so where it is, the run has ended
"""

import hashlib
import json
import platform
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from minidqn.lab.checkpoint import replacing
from minidqn.lab.expect import expect

AGENT, HISTORY, SUMMARY = "agent.safetensors", "history.csv", "summary.json"
CHECKPOINT = "checkpoint.safetensors"  # of a run in a sweep, until it has ended
Json = dict[str, Any]


def normal(content: Json) -> Json:
    """The same, as JSON gives it back."""
    return dict(json.loads(json.dumps(content, default=lambda number: number.item())))


def read_json(file: Path) -> Json:
    """What is in a file, or nothing if there is none."""
    return dict(json.loads(file.read_text())) if file.exists() else {}


def write_json(file: Path, content: Json) -> None:
    with replacing(file) as beside:
        beside.write_text(json.dumps(content, indent=1) + "\n")


def short_name(env_id: str) -> str:
    """What the folder of an environment's runs is called."""
    name = env_id.lower().split(":")[-1].split("-")[0].removesuffix("noframeskip")
    return name.removeprefix("ale/").replace("/", "_")


def refuse_other(found: str, before: Json, about: Json, expected: str) -> None:
    """Raise ValueError, which names it, if `before` has anything that `about` has not."""
    differ = [
        f"{name} {value}" for name, value in before.items() if value != about.get(name)
    ]
    expect(not differ, f"{found} {', '.join(differ)}", expected)


def claim(folder: Path, *, overwrite: bool, numbered: bool) -> Path:
    """Make the folder of a run that is about to begin; return it.

    Raises ValueError if there is an agent in it, unless `overwrite`. With `numbered`, a folder that
    exists is left alone, and the first of folder-2, folder-3, ... that does not is made.
    """
    if not numbered:
        taken = any((folder / name).exists() for name in (AGENT, CHECKPOINT))
        expected = "another --out, --resume or --overwrite"
        expect(overwrite or not taken, f"{folder} has a run", expected)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    candidate, number = folder, 1
    while True:
        with suppress(
            FileExistsError
        ):  # of several processes at the same moment, one makes it
            candidate.mkdir(parents=True)
            return candidate
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder. SQLite's lock ends with a process that is killed, on any system."""
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        try:  # for a second, if it is to wait
            options: Any = {"isolation_level": None, "check_same_thread": False}
            lock = sqlite3.connect(folder / "lock", timeout=float(wait), **options)
            lock.execute("BEGIN EXCLUSIVE")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY":
                raise OSError(f"{folder} cannot be locked: {error}") from error
            expected = 'no other run there; in a script, all below `if __name__ == "__main__":`'
            expect(wait, f"{folder} is in use", expected)
    with closing(lock):
        yield


def same_code(folder: Path, sources: Iterable[Path]) -> None:
    """Raise ValueError if the runs in `folder` are of other sources or packages."""
    code = {
        "/".join(file.parts[-2:]): hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        for file in sources
    }
    code |= {name: version(name) for name in ("gymnasium", "numba", "numpy")}
    code["python"] = platform.python_version()
    before, expected = (
        read_json(folder / "sweep.json"),
        "the same code, or another folder",
    )
    refuse_other(f"{folder} has another run, with", before, code, expected)
    write_json(folder / "sweep.json", code)
