"""Whether older figures would be the same today, because the code trains to the same bits.

Some tables take so long that they may stay of an older commit. That is honest only if the code
that trains is the same. So a short run of each of these environments is made twice, with the code
of this commit and with that of the older one, in the same Python. If the parameters at the end are
the same to the bit, the older figures may stay.

    python benchmarks/same_training.py              all, in ten minutes
    python benchmarks/same_training.py --parts pong

The commits are those that the tables name. For tables that name none, they are in parts.py.
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

from parts import PARTS, Part
from report import PUBLISHED, ROOT, add_out, commit, git, report
from tqdm import tqdm

CHECKED = {part.name: part for part in PARTS if part.trains}
SCRIPT = ROOT / "benchmarks" / "short_run.py"


def commits_of(part: Part) -> tuple[str, ...]:
    """The commits that the figures of a part were made on."""
    table = PUBLISHED / part.files[0]
    if table.exists():
        named = re.search(r"^Commit (\w+)", table.read_text("utf-8"), re.MULTILINE)
        if named:
            return (named[1],)
    return part.made_at


def take_out(name: str, folder: Path) -> bool:
    """Write the package and the examples of a commit into a folder, if git knows it."""
    command = ["git", "-C", str(ROOT), "archive", name, "minidqn", "examples"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        return False
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return True


def short_run(folder: Path, env_id: str, steps: int) -> str:
    """The digest of a short run with the code in a folder."""
    command = [sys.executable, str(SCRIPT), str(folder), env_id, "--steps", str(steps)]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{env_id}, with the code in {folder}: {done.stderr}")
    return done.stdout.split()[-1]


def compare_all(names: list[str], steps: int) -> list[dict[str, Any]]:
    """A row for each part, each of its commits and each of its environments."""
    wanted = [
        (name, older, env_id)
        for name in names
        for older in commits_of(CHECKED[name])
        for env_id in CHECKED[name].trains
    ]
    digests: dict[tuple[Path, str], str] = {}

    def digest(folder: Path, env_id: str) -> str:
        if (folder, env_id) not in digests:
            digests[folder, env_id] = short_run(folder, env_id, steps)
        return digests[folder, env_id]

    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, older, env_id in tqdm(wanted):
            folder = Path(temporary) / older
            row: dict[str, Any] = {"part": name, "commit": older, "env_id": env_id}
            if folder.exists() or take_out(older, folder):
                row["same"] = digest(folder, env_id) == digest(ROOT, env_id)
            else:
                row["same"] = None
            rows.append(row)
    return rows


def sentence(row: dict[str, Any]) -> str:
    if row["same"] is None:
        return "unknown: this clone does not have that commit"
    return "the same to the bit" if row["same"] else "differs"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare with older commits.")
    parser.add_argument("--parts", nargs="+", choices=CHECKED, default=list(CHECKED))
    parser.add_argument("--steps", type=int, default=3_000, help="of each short run")
    add_out(parser)
    args = parser.parse_args()
    rows = compare_all(args.parts, args.steps)
    lines = [
        f"Short runs of {args.steps:,} steps from seed 0, with the code of the commit that "
        f"a table was made on and with that of {commit()}: are the parameters at the end "
        "the same?",
        "",
        "| table | made on | environment | the training |",
        "| --- | --- | --- | --- |",
    ]
    for row in rows:
        day = git("log", "-1", "--format=%cs", row["commit"])
        made = f"{row['commit']}, {day}" if day else row["commit"]
        lines.append(f"| {row['part']} | {made} | {row['env_id']} | {sentence(row)} |")
    report("\n".join(lines), args.out / "same_training.md")
    text = json.dumps(rows, indent=1) + "\n"
    (args.out / "same_training.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command begins again.")
