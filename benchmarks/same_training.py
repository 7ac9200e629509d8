"""Whether the code still trains as it did when a table of learning was made.

To make all tables takes a day, and most changes of the code do not touch what it learns. So a
table of learning may stay of an older commit, if the code still trains to the same bits. Short
runs of some of its environments are made twice, with the code of this commit and with that of the
commit that the table names, in the same Python. These must be the same: the settings, the length
and the test of a whole run; the parameters at the end of the short one, to the bit; and the
returns of two episodes of its test. The table's command and its scripts must be the same, too.

    python benchmarks/same_training.py              all, in ten minutes
    python benchmarks/same_training.py --parts pong
"""

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from depends import is_made_the_same_way
from parts import PARTS, Part
from report import PUBLISHED, ROOT, add_out, commit, git, report
from tqdm import tqdm

CHECKED = {part.name: part for part in PARTS if part.trains}
SCRIPT = ROOT / "benchmarks" / "short_run.py"
Run = dict[str, Any]  # what short_run.py prints


def commit_of(part: Part) -> str:
    """The commit that a table names; "" if there is none."""
    table = PUBLISHED / part.files[0]
    if not table.exists():
        return ""
    named = re.search(r"^Commit (\w+),", table.read_text("utf-8"), re.MULTILINE)
    return named[1] if named else ""


def take_out(name: str, folder: Path) -> bool:
    """Write the package and the examples of a commit into a folder, if git knows it."""
    command = ["git", "-C", str(ROOT), "archive", name, "minidqn", "examples"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        return False
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return True


@cache
def short_run(
    folder: Path, words: str, environment: tuple[tuple[str, str], ...], steps: int
) -> Run | None:
    """A short run with the code in a folder; None if that code cannot make it.

    It is made once, although several tables may ask for it.
    """
    command = [sys.executable, str(SCRIPT), str(folder), *words.split()]
    command += ["--steps", str(steps)]
    here = {"PYTHONPATH": str(folder), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | here | dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        print(f"{words}, with the code in {folder}: {done.stderr}", file=sys.stderr)
        return None
    run: Run = json.loads(done.stdout.splitlines()[-1])
    return run


def is_same(before: Run, now: Run) -> bool:
    """Whether two short runs are the same. A setting that only one has has its default."""
    for name in ("digest", "steps", "test"):
        if before[name] != now[name]:
            return False
    defaults = before["defaults"] | now["defaults"]
    return bool(defaults | before["settings"] == defaults | now["settings"])


def compare_all(names: list[str], steps: int) -> list[dict[str, Any]]:
    """A row for each short run of each part whose table names a commit."""
    wanted = []
    for name in names:
        older = commit_of(CHECKED[name])
        if older:
            wanted += [(CHECKED[name], older, words) for words in CHECKED[name].trains]
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for part, older, words in tqdm(wanted):
            folder = Path(temporary) / older
            environment = tuple(part.environment.items())
            before = None
            if folder.exists() or take_out(older, folder):
                before = short_run(folder, words, environment, steps)
            now = short_run(ROOT, words, environment, steps)
            row: dict[str, Any] = {"part": part.name, "commit": older, "run": words}
            row["trains_the_same"] = None
            if before is not None and now is not None:
                row["trains_the_same"] = is_same(before, now)
            rows.append(row)
    return rows


def sentence(row: dict[str, Any]) -> str:
    if row["trains_the_same"] is None:
        return "unknown: this clone does not have that commit, or it has no such run"
    if not row["trains_the_same"]:
        return "differs"
    if not is_made_the_same_way(CHECKED[row["part"]], row["commit"]):
        return "the same to the bit, but the table's command or script has changed"
    return "the same to the bit"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare with older commits.")
    parser.add_argument("--parts", nargs="+", choices=CHECKED, default=list(CHECKED))
    parser.add_argument("--steps", type=int, default=3_000, help="of each short run")
    add_out(parser)
    args = parser.parse_args()
    rows = compare_all(args.parts, args.steps)
    lines = [
        f"Short runs of {args.steps:,} steps from seed 0, with the code of the commit that "
        f"a table was made on and with that of {commit()}: are the settings, the "
        "parameters at the end and the test's returns the same? Of some tables, not all "
        "environments are compared.",
        "",
        "| table | made on | short run | the training |",
        "| --- | --- | --- | --- |",
    ]
    for row in rows:
        day = git("log", "-1", "--format=%cs", row["commit"])
        made = f"{row['commit']}, {day}" if day else row["commit"]
        lines.append(f"| {row['part']} | {made} | {row['run']} | {sentence(row)} |")
    report("\n".join(lines), args.out / "same_training.md")
    text = json.dumps(rows, indent=1) + "\n"
    (args.out / "same_training.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command begins again.")
