"""The folder of a run: whose it is, what is read in it, and that one writes there."""

import json
import os
import signal
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from minidqn.lab import folder as module
from minidqn.lab.folder import (
    HISTORY,
    LOCK,
    RUN,
    TESTS,
    InUseError,
    OtherRunError,
    is_free,
    is_in_use,
    locked,
    normal,
    read_json,
    read_results,
    result_in,
    write_json,
)
from minidqn.lab.processes import ProcessDiedError, Processes

ONE = {"seed": 1, "code": {"numpy": "2.0"}}
TWO = {"seed": 2, "code": {"numpy": "2.0"}}


def test_a_list_in_a_file_is_one_line(tmp_path: Path) -> None:
    content = {"curve": {"steps": [1, 2], "none": {}}, "seed": 3, "name": "±"}
    file = tmp_path / "it.json"
    write_json(file, content)
    assert file.read_text("utf-8").splitlines() == [
        "{",
        ' "curve": {',
        '  "steps": [1, 2],',
        '  "none": {}',
        " },",
        ' "seed": 3,',
        ' "name": "\\u00b1"',
        "}",
    ]
    assert read_json(file) == content


def test_a_folder_has_the_result_of_one_run_only(tmp_path: Path) -> None:
    assert result_in(tmp_path / "new", ONE) == {}
    write_json(tmp_path / "run.json", ONE)
    write_json(tmp_path / "summary.json", {"eval_mean": 475.0})
    assert result_in(tmp_path, ONE) == {"eval_mean": 475.0}
    with pytest.raises(
        OtherRunError, match="has another run, with seed 1 instead of 2"
    ):
        result_in(tmp_path, TWO)


@pytest.mark.parametrize(
    "file", ["summary.json", "agent.safetensors", "checkpoint.safetensors"]
)
def test_files_of_nobody_knows_which_run_are_refused(tmp_path: Path, file: str) -> None:
    (tmp_path / file).touch()
    with pytest.raises(OtherRunError, match=f"has a file {file}, but no run.json that"):
        result_in(tmp_path, ONE)


def test_other_files_are_let_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert result_in(tmp_path, ONE) == {}
    assert not is_free(tmp_path)  # so a new run goes elsewhere, if it may choose


@pytest.mark.parametrize(
    "left",
    [
        [],
        [".lock"],
        [".lock", "run.json"],
        [".lock", "run.json", f"checkpoint.safetensors.{16 * 'a'}.tmp"],  # was killed
        [".lock", f"run.json.{16 * 'b'}.tmp"],
    ],
)
def test_a_run_without_a_checkpoint_forbids_no_other(
    tmp_path: Path, left: list[str]
) -> None:
    for name in left:
        (tmp_path / name).write_text(json.dumps(TWO))
    assert is_free(tmp_path)
    assert result_in(tmp_path, ONE) == {}


def test_a_run_that_has_a_checkpoint_does(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", TWO)
    (tmp_path / "checkpoint.safetensors").touch()
    assert not is_free(tmp_path)
    with pytest.raises(
        OtherRunError, match="seed 2 instead of 1: expected another fol"
    ):
        result_in(tmp_path, ONE)
    assert result_in(tmp_path, TWO) == {}  # it has not ended


# --- JSON


def test_json_is_written_all_at_once_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.json"
    write_json(file, {"seed": 1})

    def half(path: Path, text: str, encoding: str) -> None:
        path.write_bytes(text[: len(text) // 2].encode(encoding))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", half)
        with pytest.raises(OSError, match="No space left"):
            write_json(file, {"seed": 2})
    assert read_json(file) == {"seed": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Expecting value"),
        (b'{"seed": 1', "Expecting"),
        (b"[1, 2]", "it has a list"),
        (b"null", "it has a NoneType"),
        (b"\xff\xfe", "codec can't decode"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "summary.json"
    file.write_bytes(content)
    expected = f"summary.json is damaged: .*{why}.*Delete its folder"
    with pytest.raises(ValueError, match=expected):
        read_json(file)
    assert read_json(tmp_path / "absent.json") == {}


def test_what_is_written_is_what_is_read() -> None:
    given = {
        "float32": np.float32(0.5),
        "integer": np.int64(3),
        "flag": np.bool_(True),
        "array": np.arange(4.0).reshape(2, 2),
        "tuple": (1, (2, None)),
        "infinite": np.inf,
        "text": "é",
    }
    found = normal(given)
    assert found == {
        "float32": 0.5,
        "integer": 3,
        "flag": True,
        "array": [[0.0, 1.0], [2.0, 3.0]],
        "tuple": [1, [2, None]],
        "infinite": np.inf,
        "text": "é",
    }
    assert normal(found) == found
    with pytest.raises(TypeError, match="is a PosixPath: expected numbers, texts, l"):
        normal({"path": Path("x")})


# --- The lock


def count_up(folder: Path) -> None:
    left = 25
    while left:
        with suppress(InUseError), locked(folder):
            number = int((folder / "count").read_text())
            time.sleep(0.001)
            (folder / "count").write_text(str(number + 1))
            left -= 1


def test_only_one_holds_a_folder(tmp_path: Path) -> None:
    """Four processes count in a file, each of them 25 times."""
    (tmp_path / "count").write_text("0")
    with Processes(4) as executor:
        for future in [executor.submit(count_up, tmp_path) for _ in range(4)]:
            future.result()
    assert (tmp_path / "count").read_text() == "100"


def test_who_holds_a_folder_keeps_all_others_out(tmp_path: Path) -> None:
    assert not is_in_use(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []  # asking makes none
    with locked(tmp_path / "new"):
        assert is_in_use(tmp_path / "new")
        with (
            pytest.raises(
                InUseError, match="new is in use: expected no other run there"
            ),
            locked(tmp_path / "new"),
        ):
            pass
        with locked(tmp_path / "other"):
            pass
    assert not is_in_use(tmp_path / "new")
    with locked(tmp_path / "new"):
        pass


def hold(folder: Path, until: Path) -> None:
    with locked(folder):
        while not until.exists():
            time.sleep(0.001)


def wait_and_write(folder: Path) -> None:
    with locked(folder, wait=True):
        (folder / "written").touch()


def test_one_may_wait_for_the_other(tmp_path: Path) -> None:
    with Processes(2) as executor:
        holding = executor.submit(hold, tmp_path, tmp_path / "until")
        while not is_in_use(tmp_path):
            assert not holding.done()
            time.sleep(0.001)
        waiting = executor.submit(wait_and_write, tmp_path)
        time.sleep(0.5)
        assert not (tmp_path / "written").exists()
        (tmp_path / "until").touch()
        waiting.result()
        holding.result()
    assert (tmp_path / "written").exists()


def test_whoever_only_asks_keeps_no_one_out(tmp_path: Path) -> None:
    """To ask is to lock for a moment: a run that begins in that moment waits for it."""
    asking = FileLock(tmp_path / LOCK, thread_local=False)
    asking.acquire()
    end = threading.Timer(0.05, asking.release)
    end.start()
    with locked(tmp_path):
        assert not asking.is_locked
    end.join()


def hold_and_die(folder: Path) -> None:
    with locked(folder):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    with Processes(1) as executor, pytest.raises(ProcessDiedError):
        executor.submit(hold_and_die, tmp_path).result()
    assert (tmp_path / ".lock").exists()
    assert not is_in_use(tmp_path)
    (tmp_path / ".lock").write_text("damaged")
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_locked_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(OSError, match=r"\.lock cannot be locked: "), locked(tmp_path):
        pass
    (tmp_path / "file").touch()
    not_a_folder = pytest.raises(NotADirectoryError, match="file is a file, or a link")
    with not_a_folder, locked(tmp_path / "file"):
        pass
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "absent")
    with pytest.raises(OSError, match="link"), locked(tmp_path / "link"):
        pass


# --- Results


def add_result(folder: Path, **result: Any) -> None:
    folder.mkdir(parents=True)
    write_json(folder / "summary.json", result)


def test_results_are_read_without_the_code_of_their_runs(tmp_path: Path) -> None:
    add_result(tmp_path / "n_step=3" / "0", name="n_step=3/0", eval_mean=1.0)
    add_result(tmp_path / "n_step=3" / "1", name="n_step=3/1", eval_mean=2.0)
    add_result(tmp_path / "n_step=1" / "0", eval_mean=3.0)  # without its name
    (tmp_path / "n_step=1" / "1").mkdir()  # has not ended
    (tmp_path / "notes.txt").touch()
    assert read_results(tmp_path) == [
        {"name": "n_step=1/0", "eval_mean": 3.0},
        {"name": "n_step=3/0", "eval_mean": 1.0},
        {"name": "n_step=3/1", "eval_mean": 2.0},
    ]
    [one] = read_results(str(tmp_path / "n_step=3" / "1"))
    assert one == {"name": "n_step=3/1", "eval_mean": 2.0}
    assert read_results(tmp_path / "n_step=1" / "1") == []
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*absent"):
        read_results(tmp_path / "absent")
    (tmp_path / "n_step=3" / "0" / "summary.json").write_text("{")
    with pytest.raises(ValueError, match=r"n_step=3/0/summary\.json is damaged"):
        read_results(tmp_path)


def test_reading_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it can be done where one may only read."""
    write_json(tmp_path / "run.json", ONE)
    write_json(tmp_path / "summary.json", {"eval_mean": 1.0})
    monkeypatch.setattr(module, "locked", None)
    monkeypatch.setattr(module, "replacing", None)
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert result_in(tmp_path, ONE) == {"eval_mean": 1.0}
        assert len(read_results(tmp_path)) == 1
        assert {path.name for path in tmp_path.iterdir()} == {
            "run.json",
            "summary.json",
        }
    finally:
        tmp_path.chmod(stat.S_IRWXU)


@pytest.mark.parametrize("name", [HISTORY, TESTS, "learning_curve.png", RUN])
def test_a_file_of_yours_is_never_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"my": "config"}')
    assert not is_free(tmp_path)
    with pytest.raises(OtherRunError, match="expected another folder"):
        result_in(tmp_path, {"code": {}, "seed": 0})


def test_a_damaged_run_json_alone_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / RUN).write_text("{")
    assert not is_free(tmp_path)
    with pytest.raises(ValueError, match=r"run\.json is damaged"):
        result_in(tmp_path, {"code": {}})
