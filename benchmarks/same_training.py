"""Whether older figures would be the same today, because the code trains to the same bits.

To make all tables takes a day, and most changes of the code do not touch what it learns. So a
table of learning may stay of an older commit, if the code still trains to the same bits. Short
runs of its environments are made twice, with the code of this commit and with that of the commit
that the table names, in the same Python. Three things must be the same: the settings and the
length of a whole run, the parameters at the end of the short one to the bit, and the returns of
two episodes of its test. The scripts that make the table must be the same, too.

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
from pathlib import Path
from typing import Any

from depends import scripts_of
from parts import PARTS, Part
from report import PUBLISHED, ROOT, add_out, commit, git, report
from tqdm import tqdm

CHECKED = {part.name: part for part in PARTS if part.trains}
SCRIPT = ROOT / "benchmarks" / "short_run.py"


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


def script_is_same(part: Part, older: str) -> bool:
    """Whether the scripts that make a table are those of the older commit."""
    scripts = scripts_of(part.script)
    return git("diff", "--name-only", older, "HEAD", "--", *scripts) == ""


def short_run(folder: Path, words: str, steps: int) -> str:
    """The digest of a short run with the code in a folder."""
    command = [sys.executable, str(SCRIPT), str(folder), *words.split()]
    command += ["--steps", str(steps)]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{words}, with the code in {folder}: {done.stderr}")
    return done.stdout.split()[-1]


def compare_all(names: list[str], steps: int) -> list[dict[str, Any]]:
    """A row for each short run of each part whose table names a commit."""
    wanted = [
        (name, commit_of(CHECKED[name]), words)
        for name in names
        for words in CHECKED[name].trains
        if commit_of(CHECKED[name])
    ]
    digests: dict[tuple[Path, str], str] = {}

    def digest(folder: Path, words: str) -> str:
        if (folder, words) not in digests:
            digests[folder, words] = short_run(folder, words, steps)
        return digests[folder, words]

    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, older, words in tqdm(wanted):
            folder = Path(temporary) / older
            row: dict[str, Any] = {"part": name, "commit": older, "run": words}
            if folder.exists() or take_out(older, folder):
                row["trains_the_same"] = digest(folder, words) == digest(ROOT, words)
                row["script_is_same"] = script_is_same(CHECKED[name], older)
            else:
                row["trains_the_same"] = None
                row["script_is_same"] = None
            rows.append(row)
    return rows


def sentence(row: dict[str, Any]) -> str:
    if row["trains_the_same"] is None:
        return "unknown: this clone does not have that commit"
    if not row["trains_the_same"]:
        return "differs"
    if not row["script_is_same"]:
        return "the same to the bit, but the table's script has changed"
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
        "parameters at the end and the test's returns the same?",
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
