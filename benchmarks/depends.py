"""What a part of benchmarks/all_tables.py depends on: committed files, and how it is made."""

import hashlib
import re
from pathlib import Path
from typing import Any

from parts import Part
from report import ROOT, git

ALWAYS = ("minidqn", "examples")  # what every part depends on
SHIPPED = "examples/trained"  # agents: only the part that tests them depends on them
LIST = "benchmarks/parts.py"


def scripts_of(script: str) -> list[str]:
    """A script of benchmarks/, and the others there that it imports, directly or not."""
    found: set[str] = set()
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path in found or not (ROOT / path).exists():
            continue
        found.add(path)
        text = (ROOT / path).read_text(encoding="utf-8")
        names = re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE)
        waiting += [f"{Path(path).parent.as_posix()}/{name}.py" for name in names]
    return sorted(found)


def digest_of(part: Part) -> str:
    """A digest of the committed files that a part depends on."""
    paths = [*ALWAYS, *scripts_of(part.script), *part.reads]
    lines = git("ls-tree", "-r", "HEAD", "--", *paths).splitlines()
    if SHIPPED not in part.reads:
        lines = [line for line in lines if f"\t{SHIPPED}/" not in line]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def is_made_the_same_way(part: Part, older: str) -> bool:
    """Whether a part had the same command and the same scripts on an older commit.

    The code that trains, minidqn and the examples, is not looked at.
    """
    before = part_at(older, part.name)
    if before is None:
        return False
    for name in ("command", "with_peers", "environment"):
        if getattr(before, name) != getattr(part, name):
            return False
    paths = [*scripts_of(part.script), *part.reads]
    return git("diff", "--name-only", older, "HEAD", "--", *paths) == ""


def part_at(commit: str, name: str) -> Part | None:
    """A part as the list of an older commit has it; None if it is not there."""
    known: dict[str, Any] = {
        "__name__": "parts"
    }  # dataclass asks for its module's name
    exec(compile(git("show", f"{commit}:{LIST}"), LIST, "exec"), known)
    parts = {part.name: part for part in known.get("PARTS", [])}
    return parts.get(name)
