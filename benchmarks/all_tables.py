"""Make all tables again, one part after the other, on one commit.

    python benchmarks/all_tables.py --peers .venv-peers/bin/python --keras .venv-keras/bin/python
    python benchmarks/all_tables.py --list                 what there is, and what is done
    python benchmarks/all_tables.py --only learning soak   some of it

It can be stopped, and the same command goes on. The parts are in benchmarks/parts.py. They write
into benchmarks/results, so it starts only if all code is committed. With --try it starts anyway,
makes all parts, and writes into runs/benchmarks.

A part is done if a call has made it with the same code (minidqn, examples and the part's own
scripts), the same command, versions and processor. (The versions of other programs, in --peers and
--keras, are not looked at.) A table of learning may be kept, though it is older, if its command and
its scripts are the same and short runs train to the same bits (benchmarks/same_training.py): to
make all of them takes a day, and most changes of the code do not touch what it learns.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from depends import digest_of, is_made_the_same_way
from parts import PARTS, Part
from report import OUT, PUBLISHED, ROOT, changes, commit, git, surroundings
from same_training import commit_of

from minidqn.lab.folder import InUseError, locked

# a note for each part that is done, and folders for their runs
STATE = ROOT / "runs" / "all_tables"
STOPPED = "Stopped. The same command goes on."
NEEDS = {
    "peers": "a Python with the packages of benchmarks/requirements.txt",
    "keras": "a Python with TensorFlow",
}


@dataclass(frozen=True)
class Options:
    peers: str = ""  # other Pythons
    keras: str = ""
    at_most: float = float("inf")  # hours of a part
    is_try: bool = False
    out: Path = PUBLISHED


# --- What a part is


def identity(part: Part, options: Options) -> dict[str, str]:
    """What a result depends on: with the same identity, a part need not be made again."""
    found = {
        "code": digest_of(part),
        "command": part.command,
        "surroundings": surroundings(),
    }
    if options.peers and part.with_peers:
        found["with_peers"] = part.with_peers
    if part.name == "same_training":  # it compares with the commits that tables name
        for other in PARTS:
            if other.trains and not done_at(other, options):
                found[f"table {other.name}"] = commit_of(other)
    return found


def words_of(part: Part, options: Options) -> list[str]:
    """The command, word by word."""
    work = f"{part.name}-{'try' if options.is_try else digest_of(part)}"
    places = {
        "{peers}": options.peers,
        "{keras}": options.keras,
        "{work}": str(STATE / "work" / work),
    }
    words = part.command.split()
    if words[0] != "{peers}":
        words = [sys.executable, *words]
    if options.peers:
        words += part.with_peers.split()
    return [*(places.get(word, word) for word in words), "--out", str(options.out)]


# --- Whether it is to be made


def done_at(part: Part, options: Options) -> str:
    """The commit on which a part was made, if that result is still valid."""
    file = STATE / f"{part.name}.json"
    if options.is_try or not file.exists():
        return ""
    made = json.loads(file.read_text(encoding="utf-8"))
    written = all((options.out / name).exists() for name in part.files)
    same = identity(part, options).items() <= made.items()
    return str(made["commit"]) if written and same else ""


def lacking(part: Part, options: Options) -> str:
    """What a part needs that is not here; "" if it has all."""
    for name, what in NEEDS.items():
        if f"{{{name}}}" in part.command and not getattr(options, name):
            return f"--{name}, {what}"
    missing = [name for name in part.packages if find_spec(name) is None]
    return f"the package {' and '.join(missing)}" if missing else ""


def compared(part: Part, options: Options) -> tuple[str, bool]:
    """The older commit that a table names, if it was compared, and whether it may stay."""
    check = next(other for other in PARTS if other.name == "same_training")
    if not (part.trains and done_at(check, options)):
        return "", False
    text = (options.out / "same_training.json").read_text(encoding="utf-8")
    rows = [row for row in json.loads(text) if row["part"] == part.name]
    older = commit_of(part)
    if not rows or any(row["commit"] != older for row in rows):
        return "", False
    same = all(row["trains_the_same"] for row in rows)
    return older, same and is_made_the_same_way(part, older)


def standing(part: Part, options: Options) -> tuple[str, bool]:
    """Why a part is not made now, or "", and whether its result stands."""
    made = done_at(part, options)
    if made:
        return f"done at {made}", True
    older, same = compared(part, options)
    if older and same:
        return f"stays as made at {older}: short runs train to the same bits", True
    need = lacking(part, options)
    if need:
        return f"left out: it needs {need}", False
    if part.minutes > 60 * options.at_most:
        other = f"; it is not made as at {older}" if older else ""
        return f"left out: more than {options.at_most:g} hours{other}", False
    return "", False


# --- Making it


def wait_for(words: list[str], environment: dict[str, str]) -> int:
    """Run a command to its end. If this one is stopped, that one saves what it has."""
    with subprocess.Popen(words, cwd=ROOT, env=os.environ | environment) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # Ctrl-C reaches the command, too
            process.wait()
            raise
        except SystemExit:
            process.terminate()
            process.wait()
            raise


def stop(*_: Any) -> None:
    """What SIGTERM does."""
    sys.exit(STOPPED)


def make(part: Part, options: Options) -> bool:
    """Make a part, and note it; return whether it went well."""
    options.out.mkdir(parents=True, exist_ok=True)
    before = identity(part, options)
    status = wait_for(words_of(part, options), part.environment)
    if status != 0:
        print(f"{part.name} failed, with status {status}; the others go on.")
        return False
    if options.is_try:
        return True
    if changes() or identity(part, options) != before:
        print(f"{part.name}: the code was changed meanwhile, so it is made once more.")
        return False
    note = json.dumps(before | {"commit": commit()}, indent=1)
    (STATE / f"{part.name}.json").write_text(note + "\n", encoding="utf-8")
    return True


def make_all(parts: Iterable[Part], options: Options) -> list[str]:
    """Make what is to be made; return a sentence for each part whose result is missing."""
    missing = []
    for part in parts:
        why, stands = standing(part, options)
        if why:
            print(f"{part.name}: {why}", flush=True)
            if not stands:
                missing.append(f"{part.name}: {why}")
            continue
        hint = "; nothing else should run on the machine" if part.quiet else ""
        print(f"\n{part.name}, about {duration(part.minutes)}{hint}", flush=True)
        if not make(part, options):
            missing.append(f"{part.name}: failed, or is to be made once more")
    return missing


def duration(minutes: int) -> str:
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} hours"


def show_list(parts: Iterable[Part], options: Options) -> None:
    left = 0
    for part in parts:
        why, _ = standing(part, options)
        left += 0 if why else part.minutes
        quiet = "quiet machine" if part.quiet else ""
        time = duration(part.minutes)
        print(f"{part.name:24}{time:12}{quiet:16}{why or 'to be made'}")
    print(f"To be made: {duration(left)} on two cores.")


def untracked() -> list[str]:
    """Files of the code that git neither has nor ignores."""
    folders = ("minidqn", "examples", "benchmarks", "tests")
    found = git("ls-files", "--others", "--exclude-standard", "--", *folders)
    return found.splitlines()


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Make all tables again.")
    names = [part.name for part in PARTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--list", action="store_true", help="only say what there is")
    for name, what in NEEDS.items():
        parser.add_argument(f"--{name}", type=Path, help=what)
    parser.add_argument(
        "--at-most", type=float, default=float("inf"), help="hours of a part"
    )
    parser.add_argument("--try", action="store_true", dest="is_try", help="see above")
    return parser


def options_of(args: argparse.Namespace) -> Options:
    return Options(
        peers=str(args.peers.absolute()) if args.peers else "",
        keras=str(args.keras.absolute()) if args.keras else "",
        at_most=args.at_most,
        is_try=args.is_try,
        out=OUT if args.is_try else PUBLISHED,
    )


def main() -> None:
    args = arguments().parse_args()
    options = options_of(args)
    parts = [part for part in PARTS if part.name in args.only]
    if args.list:
        show_list(parts, options)
        return
    if not git("rev-parse", "HEAD"):
        sys.exit(f"{ROOT} is no clone that git can read: expected one")
    left = [*changes(), *untracked()]
    if left and not args.is_try:
        sys.exit(f"commit this first, or --try: {', '.join(left)}")
    STATE.mkdir(parents=True, exist_ok=True)
    with locked(STATE):
        missing = make_all(parts, options)
    if missing:
        sys.exit("\n".join(["", "Not done:", *missing]))
    print("All is done.")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except InUseError:
        sys.exit("Another call of this command makes the tables at this moment.")
