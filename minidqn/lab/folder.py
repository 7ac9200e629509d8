"""The folder of a run. Its run.json says which run it is, so that no other overwrites it."""

import json
from itertools import chain, count
from pathlib import Path
from typing import Any

from minidqn.checks import expect

About = dict[str, Any]  # environment, seed, steps and settings of a run


def short_name(env_id: str) -> str:
    """What the folder of an environment's runs is called."""
    name = env_id.lower().split(":")[-1].split("-")[0].removesuffix("noframeskip")
    return name.removeprefix("ale/").replace("/", "_")


def read_run(folder: Path) -> About:
    """What run.json says, or nothing if there is none."""
    file = folder / "run.json"
    about: About = json.loads(file.read_text()) if file.exists() else {}
    return about


def differences(before: About, about: About) -> dict[str, Any]:
    """What `before` has and `about` has not."""
    return {name: value for name, value in before.items() if value != about.get(name)}


def claim(folder: Path, about: About, *, overwrite: bool = False, numbered: bool = False) -> Path:
    """Write run.json for the run that is `about` to begin; return the folder.

    If another run is there, the next free number is added to the folder's name if it may be
    `numbered`; otherwise, unless `overwrite`, this raises ValueError.
    """
    others = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
    for candidate in chain([folder], others):
        differ = {} if overwrite else differences(read_run(candidate), about)
        if not differ:
            break
        named = ", ".join(f"{name} {value}" for name, value in differ.items())
        expected = "another --out, or --overwrite"
        expect(numbered, f"{folder} has another run, with {named}", expected)
    candidate.mkdir(parents=True, exist_ok=True)
    (candidate / "run.json").write_text(json.dumps(about, indent=2) + "\n")
    return candidate
