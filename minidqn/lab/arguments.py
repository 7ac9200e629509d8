"""What the command line of a run takes."""

import argparse
import ast
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from minidqn.lab.snapshot import from_json


def at_least(least: int) -> Callable[[str], int]:
    """An argparse type: an integer of `least` or more."""

    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text}: expected {least} or more")
        return int(text)

    return number


def setting(text: str) -> tuple[str, Any]:
    """An argparse type: NAME=VALUE."""
    name, _, value = text.partition("=")
    with suppress(
        ValueError, SyntaxError
    ):  # inf is no literal, but DQNConfig takes the word
        return name, from_json(ast.literal_eval(value))
    return name, value


NUMBERS = {  # the least of each, and what it is
    "--seed": (0, "random seed, 0 by default"),
    "--steps": (1, "environment steps of training"),
    "--checkpoint-every": (1, "save every N steps"),
    "--log-every": (1, "print a line every N episodes"),
    "--record-every": (1, "write a GIF every N episodes"),
}
FLAGS = {
    "--resume": "continue the run in --out, with --steps beyond its end",
    "--overwrite": "replace the run in --out",
    "--until-solved": "stop once the mean of 20 returns counts as solved",
    "--live": "plot the returns during training",
    "--no-animation": "skip before_after.gif",
    "--watch": "show the agent in --out, by default the one that comes with minidqn, and exit",
}


def parser(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    for flag, (least, text) in NUMBERS.items():
        parser.add_argument(flag, type=at_least(least), metavar="N", help=text)
    for flag, text in FLAGS.items():
        parser.add_argument(flag, action="store_true", help=text)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="the folder for the results"
    )
    many: Any = {"action": "append", "default": [], "metavar": "NAME=VALUE"}
    what = "another value for a setting of DQNConfig"
    parser.add_argument("--set", type=setting, help=what, **many)
    return parser
