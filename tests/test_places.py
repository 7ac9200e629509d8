"""Which folder a run of the command line is in."""

import json
import os
from pathlib import Path

import pytest

from minidqn.lab.folder import CHECKPOINT, LOCK, RUN, SUMMARY, locked
from minidqn.lab.places import (
    begun,
    existing,
    has_run,
    next_free,
    short_name,
    with_other_code,
)


def make(folder: Path, seed: int, *files: str) -> Path:
    """A run, as far as its folder shows it."""
    folder.mkdir(parents=True)
    (folder / RUN).write_text(json.dumps({"seed": seed, "code": {}}))
    for name in files:
        (folder / name).write_text("{}")
    return folder


def test_each_run_has_the_next_number(tmp_path: Path) -> None:
    base = tmp_path / "runs" / "cartpole"
    assert next_free(base) == base
    first = make(base, 0, SUMMARY)
    assert next_free(base) == base.with_name("cartpole-2")
    second = make(base.with_name("cartpole-2"), 1, CHECKPOINT)
    assert next_free(base) == base.with_name("cartpole-3")

    # and is found again, finished or not
    assert existing(base, {"seed": 0, "code": {}}) == first
    assert existing(base, {"seed": 1, "code": {}}) == second
    assert existing(base, {"seed": 2}) is None


def test_a_run_with_another_code_is_named(tmp_path: Path) -> None:
    base = tmp_path / "cartpole"
    for name, seed, code in (("cartpole", 0, "a"), ("cartpole-2", 1, "b")):
        folder = make(tmp_path / name, seed, SUMMARY)
        identity = {"seed": seed, "code": {"mine": code, "numpy": "2"}}
        (folder / RUN).write_text(json.dumps(identity))
    (make(tmp_path / "cartpole-3", 0) / RUN).write_text("damaged")
    changed = {"seed": 1, "code": {"mine": "c", "numpy": "2"}}
    says = f"{tmp_path / 'cartpole-2'} has this run with another code: mine"
    assert with_other_code(base, changed) == says
    assert with_other_code(base, changed | {"seed": 2}) == ""
    same = {"seed": 1, "code": {"mine": "b", "numpy": "2"}}
    assert with_other_code(base, same) == ""
    assert with_other_code(tmp_path / "absent" / "cartpole", changed) == ""


def test_the_run_that_was_begun_last_comes_first(tmp_path: Path) -> None:
    base = tmp_path / "cartpole"
    for time, name in enumerate(("cartpole-2", "cartpole", "cartpole-3")):
        folder = make(tmp_path / name, time)
        os.utime(folder / RUN, (time, time))
    (tmp_path / "cartpole-4").mkdir()
    make(tmp_path / "other", 0)
    names = [folder.name for folder in begun(base)]
    assert names == ["cartpole-3", "cartpole", "cartpole-2"]


def test_a_number_that_was_deleted_hides_no_other(tmp_path: Path) -> None:
    base = tmp_path / "cartpole"
    third = make(tmp_path / "cartpole-3", 3, SUMMARY)
    tenth = make(tmp_path / "cartpole-10", 10, SUMMARY)
    assert existing(base, {"seed": 3, "code": {}}) == third
    assert existing(base, {"seed": 10, "code": {}}) == tenth
    assert next_free(base) == base


def test_of_the_same_run_made_several_times_it_is_the_last_that_was_begun(
    tmp_path: Path,
) -> None:
    for number, name in enumerate(("cartpole", "cartpole-3", "cartpole-2")):
        folder = make(tmp_path / name, 0, SUMMARY)
        os.utime(folder / RUN, (number, number))
    assert (
        existing(tmp_path / "cartpole", {"seed": 0, "code": {}})
        == tmp_path / "cartpole-2"
    )


def test_other_folders_are_not_its_runs(tmp_path: Path) -> None:
    for name in ("cartpole-x", "cartpole-2b", "cartpole-", "my-cartpole", "cartpole2"):
        make(tmp_path / name, 0, SUMMARY)
    assert existing(tmp_path / "cartpole", {"seed": 0, "code": {}}) is None
    (tmp_path / "cartpole").write_text("a file")
    assert existing(tmp_path / "cartpole", {"seed": 0, "code": {}}) is None


def test_what_has_only_begun_is_free_and_what_somebody_holds_is_not(
    tmp_path: Path,
) -> None:
    base = make(tmp_path / "cartpole", 5)  # it was killed before its first checkpoint
    (base / LOCK).touch()
    assert next_free(base) == base
    with locked(base):
        assert next_free(base) == tmp_path / "cartpole-2"
    assert next_free(base) == base
    (base / "notes.txt").touch()  # nobody's run, but somebody's folder
    assert next_free(base) == tmp_path / "cartpole-2"


def test_a_damaged_file_is_nobody_s_run(tmp_path: Path) -> None:
    for text in ("", "{", "[1]", "5", '{"seed": 1, "code": {}}', "{}"):
        (tmp_path / RUN).write_text(text)
        assert not has_run(tmp_path, {"seed": 0, "code": {}}), text
    (tmp_path / RUN).write_bytes(b"\xff\xfe")
    assert not has_run(tmp_path, {"seed": 0, "code": {}})
    assert not has_run(tmp_path / "nowhere", {"seed": 0, "code": {}})


@pytest.mark.parametrize(
    ("env_id", "name"),
    [
        ("CartPole-v1", "cartpole"),
        ("CartPole", "cartpole"),
        ("gymnasium:CartPole-v1", "cartpole"),
        ("ALE/Breakout-v5", "breakout"),
        ("ale_py:ALE/Breakout-v5", "breakout"),
        ("PongNoFrameskip-v4", "pong"),
        ("MinAtar/SpaceInvaders-v0", "minatar_spaceinvaders"),
        ("my_package.games:My/Maze-v0", "my_maze"),
    ],
)
def test_the_folder_of_an_environment(env_id: str, name: str) -> None:
    assert short_name(env_id) == name
