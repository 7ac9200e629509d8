"""benchmarks/all_tables.py: what is made again, and what stands."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import all_tables
import depends
import report
import same_training
import short_run
from all_tables import Options, make_all, standing, words_of
from parts import PARTS, WITHOUT_A_COMMAND, Part

from minidqn import tuned, tuned_spec
from minidqn.lab.tuned import EXAMPLES

ROOT = report.ROOT
# a script that notes how often it has run, and fails if it is told so
SCRIPT = """
import sys
from pathlib import Path
import helper
out = Path(sys.argv[sys.argv.index("--out") + 1])
with (out / "made_up.md").open("a") as table:
    table.write("made\\n")
sys.exit(helper.STATUS)
"""
MADE_UP = Part("made_up", "benchmarks/made_up.py", ("made_up.md",), minutes=1)


def git(*words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(report.ROOT), *who, *words]
    subprocess.run(command, check=True, capture_output=True)


def write(files: dict[str, str]) -> None:
    """Write files of the project, and commit them."""
    for name, text in files.items():
        file = report.ROOT / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    git("add", "-A")
    git("commit", "-m", "Write files")


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Options:
    """Options for a project in a folder of its own, with one part."""
    if shutil.which("git") is None:
        pytest.skip("it takes git")
    for module in (report, depends, all_tables):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(all_tables, "STATE", tmp_path / "runs")
    (tmp_path / "runs").mkdir()
    git("init")
    write(
        {
            ".gitignore": "runs/\n__pycache__/\n",
            "minidqn/agent.py": "",
            "examples/cartpole.py": "",
            "examples/trained/cartpole.safetensors": "",
            "benchmarks/helper.py": "STATUS = 0\n",
            "benchmarks/made_up.py": SCRIPT,
        }
    )
    return Options(out=tmp_path / "benchmarks" / "results")


def times_made(options: Options) -> int:
    return (options.out / "made_up.md").read_text(encoding="utf-8").count("made")


def test_a_part_that_is_done_is_not_made_again(options: Options) -> None:
    assert standing(MADE_UP, options) == ("", False)
    assert make_all([MADE_UP], options) == []
    assert standing(MADE_UP, options) == (f"done at {report.commit()}", True)
    assert make_all([MADE_UP], options) == []
    assert times_made(options) == 1


def test_it_stands_on_a_later_commit_that_changes_nothing_it_uses(
    options: Options,
) -> None:
    make_all([MADE_UP], options)
    first = report.commit()
    write(
        {
            "docs/results.md": "new",
            "benchmarks/results/another.md": "new",
            "benchmarks/another.py": "",
            "examples/trained/cartpole.safetensors": "new",
        }
    )
    assert report.commit() != first
    assert standing(MADE_UP, options) == (f"done at {first}", True)


@pytest.mark.parametrize(
    "name",
    [
        "minidqn/agent.py",
        "examples/cartpole.py",
        "benchmarks/made_up.py",
        "benchmarks/helper.py",  # which the script imports
    ],
)
def test_it_is_made_again_when_what_it_uses_has_changed(
    name: str, options: Options
) -> None:
    make_all([MADE_UP], options)
    write({name: (report.ROOT / name).read_text(encoding="utf-8") + "# new\n"})
    assert standing(MADE_UP, options) == ("", False)
    assert make_all([MADE_UP], options) == []
    assert times_made(options) == 2


def test_it_is_made_again_with_another_command_or_machine(
    options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_all([MADE_UP], options)
    more_seeds = dataclasses.replace(MADE_UP, command=f"{MADE_UP.command} --seeds 3")
    assert standing(more_seeds, options) == ("", False)
    with_peers = dataclasses.replace(MADE_UP, with_peers="--peers {peers}")
    assert standing(with_peers, options)[1]
    peers = dataclasses.replace(options, peers=sys.executable)
    assert standing(with_peers, peers) == ("", False)
    monkeypatch.setattr(all_tables, "surroundings", lambda: "another processor")
    assert standing(MADE_UP, options) == ("", False)


def test_it_is_made_again_when_a_file_is_missing(options: Options) -> None:
    make_all([MADE_UP], options)
    (options.out / "made_up.md").unlink()
    assert standing(MADE_UP, options) == ("", False)


def test_a_part_that_failed_is_not_done(options: Options) -> None:
    write({"benchmarks/helper.py": "STATUS = 1\n"})
    assert len(make_all([MADE_UP], options)) == 1
    assert standing(MADE_UP, options) == ("", False)


def test_code_that_is_changed_meanwhile_makes_no_result(options: Options) -> None:
    (report.ROOT / "minidqn" / "agent.py").write_text("new", encoding="utf-8")
    assert report.changes() == ["minidqn/agent.py"]
    assert report.commit().endswith("with changes")
    assert len(make_all([MADE_UP], options)) == 1
    git("checkout", "minidqn")
    (options.out / "made_up.md").write_text("a result", encoding="utf-8")
    assert report.changes() == []
    assert standing(MADE_UP, options) == ("", False)


def test_a_file_that_git_does_not_have_is_named(options: Options) -> None:
    assert all_tables.untracked() == []
    (report.ROOT / "benchmarks" / "new.py").write_text("", encoding="utf-8")
    assert all_tables.untracked() == ["benchmarks/new.py"]


def test_it_stops_where_git_knows_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise nothing would count as changed, and everything as done."""
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["all_tables.py", "--only", "soak"])
    with pytest.raises(SystemExit, match="no clone that git can read"):
        all_tables.main()


def test_a_try_leaves_the_published_files(options: Options, tmp_path: Path) -> None:
    make_all([MADE_UP], options)
    a_try = dataclasses.replace(options, is_try=True, out=tmp_path / "runs" / "tried")
    assert make_all([MADE_UP], a_try) == []
    assert times_made(options) == times_made(a_try) == 1
    assert standing(MADE_UP, options)[1]


def test_what_is_missing_is_said(options: Options) -> None:
    peers = dataclasses.replace(MADE_UP, command=f"{MADE_UP.command} --peers {{peers}}")
    assert "--peers" in standing(peers, options)[0]
    package = dataclasses.replace(MADE_UP, packages=("no_such_package",))
    assert "no_such_package" in standing(package, options)[0]
    short = dataclasses.replace(options, at_most=0.01)
    assert "more than" in standing(MADE_UP, short)[0]
    for part in (peers, package):
        assert len(make_all([part], options)) == 1


# a script that uses nothing of the others
CHECKING = """
import sys
from pathlib import Path
out = Path(sys.argv[sys.argv.index("--out") + 1])
(out / "made_up.json").write_text("[]")
"""
LIST = """
from parts import Part
PARTS = [Part("made_up", "benchmarks/made_up.py", ("made_up.md",), minutes=1)]
"""
CHECK = Part("same_training", "benchmarks/check.py", ("made_up.json",), minutes=1)
LEARNS = dataclasses.replace(MADE_UP, minutes=600, trains=("A", "B"))
SHORT = 3.0  # hours: LEARNS is not made, so it stays or is left out


@pytest.fixture
def compared(options: Options, monkeypatch: pytest.MonkeyPatch) -> Options:
    """Options for a project with a table of an older commit, and the check of it."""
    monkeypatch.setattr(all_tables, "PARTS", [CHECK, LEARNS])
    monkeypatch.setattr(same_training, "PUBLISHED", options.out)
    write({"benchmarks/parts.py": LIST, "benchmarks/check.py": CHECKING})
    publish(options, report.commit())
    write({"docs/results.md": "new"})
    assert make_all([CHECK], options) == []
    compare(options, True, True)
    return dataclasses.replace(options, at_most=SHORT)


def publish(options: Options, commit: str) -> None:
    """Write a table that names a commit."""
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "made_up.md").write_text(f"made\n\nCommit {commit}, Python 3.11\n")


def compare(options: Options, *same: bool) -> None:
    """What the check found: whether each short run is the same."""
    older = same_training.commit_of(MADE_UP)
    rows = [
        {"part": "made_up", "commit": older, "trains_the_same": each} for each in same
    ]
    (options.out / "same_training.json").write_text(json.dumps(rows))


def stays(options: Options, part: Part = LEARNS) -> bool:
    return standing(part, options)[1]


def test_a_part_may_stay_if_it_trains_to_the_same_bits(compared: Options) -> None:
    older = same_training.commit_of(LEARNS)
    why, stands = standing(LEARNS, compared)
    assert stands
    assert f"stays as made at {older}" in why
    assert not stays(compared, MADE_UP)  # it names no short runs

    compare(compared, True, False)
    why, stands = standing(LEARNS, compared)
    assert not stands
    assert f"not made as at {older}" in why
    compare(compared)  # none was compared
    assert not stays(compared)


@pytest.mark.parametrize("name", ["made_up", "helper"])
def test_a_table_does_not_stay_if_its_script_has_changed(
    name: str, compared: Options
) -> None:
    """The check itself does not use these scripts, so it is still done."""
    file = f"benchmarks/{name}.py"
    write({file: (report.ROOT / file).read_text(encoding="utf-8") + "# new\n"})
    assert standing(CHECK, compared)[1]
    assert not stays(compared)


def test_a_table_does_not_stay_if_it_is_made_in_another_way(compared: Options) -> None:
    def other(**changes: Any) -> Part:
        return dataclasses.replace(LEARNS, **changes)

    write({"benchmarks/contenders/peer.py": ""})
    assert not stays(compared, other(command=f"{LEARNS.command} --seeds 50"))
    assert not stays(compared, other(with_peers="--peers {peers}"))
    assert not stays(compared, other(environment={"OPENBLAS_CORETYPE": "Haswell"}))
    assert not stays(compared, other(reads=("benchmarks/contenders",)))
    assert not stays(compared, other(name="another"))  # the older commit has none
    assert stays(compared)


def test_a_table_of_another_commit_is_compared_again(compared: Options) -> None:
    publish(compared, "0123456")
    assert standing(CHECK, compared) == ("", False)
    assert not stays(compared)


def test_a_table_that_was_made_needs_no_comparison(compared: Options) -> None:
    """The others still stay, so that one call of the command makes only what it must."""
    anew = dataclasses.replace(compared, at_most=float("inf"))
    compare(compared, False)
    assert make_all([LEARNS], anew) == []
    publish(compared, "0123456")  # as it would name the commit of today
    assert standing(CHECK, compared)[1]


def test_a_table_names_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(same_training, "PUBLISHED", tmp_path)
    assert same_training.commit_of(MADE_UP) == ""
    (tmp_path / "made_up.md").write_text("a table\n\nCommit 5c6f956, Python 3.11\n")
    assert same_training.commit_of(MADE_UP) == "5c6f956"


def test_a_short_run_tells_one_training_from_another() -> None:
    def run(is_plain: bool = False, **settings: Any) -> dict[str, Any]:
        return short_run.short_run("CartPole-v1", 700, settings, is_plain)

    usual = run()
    assert same_training.is_same(run(), usual)
    assert run(gamma=0.99)["digest"] != usual["digest"]
    assert not same_training.is_same(run(gamma=0.99), usual)
    assert not same_training.is_same(run(is_plain=True), usual)


def test_what_a_short_run_does_not_do_is_compared_in_words() -> None:
    """The length and the test of the whole run, and a buffer that a short one lacks."""
    spec = tuned_spec("CartPole-v1")
    usual = short_run.about(spec) | {"digest": "the same"}

    def is_same(**changes: Any) -> bool:
        other = short_run.about(dataclasses.replace(spec, **changes))
        return same_training.is_same(usual, other | {"digest": "the same"})

    assert is_same()
    assert not is_same(steps=20_001)
    assert not is_same(test_episodes=99)
    assert not is_same(test_epsilon=0.01)
    larger = dataclasses.replace(spec.config, buffer_size=60_000)
    assert not is_same(config=larger)


def test_a_setting_that_the_older_code_lacks_had_its_default() -> None:
    usual = short_run.about(tuned_spec("CartPole-v1")) | {"digest": "the same"}
    older = {name: dict(usual[name]) for name in ("settings", "defaults")}
    del older["settings"]["noisy"]
    del older["defaults"]["noisy"]
    assert same_training.is_same(usual | older, usual)
    del older["settings"]["n_step"]
    del older["defaults"]["n_step"]
    assert not same_training.is_same(usual | older, usual)  # the example has another


def test_a_short_run_has_the_environment_of_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cartpole_100_avx2 is compared with its own matrix products."""
    script = tmp_path / "run.py"
    script.write_text("import os, json; print(json.dumps(dict(os.environ)))")
    monkeypatch.setattr(same_training, "SCRIPT", script)
    haswell = (("OPENBLAS_CORETYPE", "Haswell"),)
    found = same_training.short_run(tmp_path, "CartPole-v1", haswell, 10)
    assert found is not None
    assert found["OPENBLAS_CORETYPE"] == "Haswell"
    assert found["PYTHONPATH"] == str(tmp_path)


def test_code_that_cannot_make_a_run_gives_no_answer(tmp_path: Path) -> None:
    (tmp_path / "minidqn").mkdir()
    (tmp_path / "minidqn" / "__init__.py").write_text("")
    assert same_training.short_run(tmp_path, "CartPole-v1", (), 10) is None
    row = {"part": "learning", "commit": "abc", "trains_the_same": None}
    assert same_training.sentence(row).startswith("unknown")


# --- The parts as they are

# options that a function adds to a script's own
ADDED_BY = {
    "--set": "add_settings(parser",
    "--seeds": "add_seeds(parser",
    "--jobs": "add_jobs(parser",
    "--work": "add_work(parser",
}


def test_every_published_file_is_of_one_part() -> None:
    of_parts = Counter(name for part in PARTS for name in part.files)
    of_parts.update(WITHOUT_A_COMMAND)
    assert [name for name, count in of_parts.items() if count > 1] == []
    published = {path.name for path in report.PUBLISHED.iterdir()}
    assert published - of_parts.keys() == set()


def test_every_script_of_a_part_exists() -> None:
    assert {part.script for part in PARTS if not (ROOT / part.script).exists()} == set()
    assert len({part.name for part in PARTS}) == len(PARTS)


def test_every_option_of_a_part_is_one_of_its_script() -> None:
    options = Options(peers="peers", keras="keras")
    for part in PARTS:
        text = (ROOT / part.script).read_text(encoding="utf-8")
        assert "add_out(parser)" in text, part.name
        words = words_of(part, options)
        assert not [word for word in words if "{" in word], part.name
        for word in words:
            if word.startswith("--") and word != "--out":
                adder = ADDED_BY.get(word)
                added = adder is not None and adder in text
                assert added or f'"{word}"' in text, (part.name, word)


def test_every_script_that_a_part_runs_names_the_commit() -> None:
    for part in PARTS:
        text = (ROOT / part.script).read_text(encoding="utf-8")
        assert re.search(r"\b(report|machine|commit)\(", text), part.script


def test_every_short_run_can_be_made() -> None:
    for words in {words for part in PARTS for words in part.trains}:
        args = short_run.options().parse_args(["folder", *words.split()])
        assert args.env_id in EXAMPLES, words
        settings = dict(text.split("=", 1) for text in args.set)
        changes = {name: short_run.value_of(text) for name, text in settings.items()}
        dataclasses.replace(tuned(args.env_id), **changes)


def test_every_script_is_on_the_page() -> None:
    page = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
    for part in PARTS:
        assert part.script in page, part.script
