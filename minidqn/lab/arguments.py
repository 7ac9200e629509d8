"""The options of the command line: train, watch and sweep."""

import argparse
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Collection
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from minidqn.lab.parsing import integer, split

COMMANDS = ("train", "watch", "sweep")
USAGE = """python -m minidqn train ENV [options]   train an agent, test it and show it
python -m minidqn watch ENV [options]   show a trained agent
python -m minidqn sweep ENV [options]   compare many seeds and settings
python -m minidqn ENV [options]         the same as train

python -m minidqn sweep --help lists the options of sweep"""


class Parser(ArgumentParser):
    """A parser whose errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        hint = "--help lists the options" + self.meant()
        if message.startswith("argument --set:"):
            hint = "help(minidqn.DQNConfig) explains the settings"
        self.exit(2, f"{self.prog}: error: {message}; {hint}\n")

    def meant(self) -> str:
        """Which option or command a word may have been; "" if there is none."""
        words = sys.argv[1:]
        likely: list[str] = []
        for word in words:
            option = word.partition("=")[0]
            if word.startswith("--") and option not in self._option_string_actions:
                likely += get_close_matches(option, self._option_string_actions, 1)
        if words and words[0] not in COMMANDS and not words[0].startswith("-"):
            likely += get_close_matches(words[0], COMMANDS, 1)
        return f"; did you mean {likely[0]}?" if likely else ""


def take_game(games: Collection[str]) -> str:
    """The game that a script for several games is to play, taken out of sys.argv.

    It comes first, or after a command, as in "watch Breakout". Any other word ends the
    program.
    """
    place = 1
    if len(sys.argv) > 1 and sys.argv[1] in COMMANDS:
        place = 2
    word = sys.argv[place] if place < len(sys.argv) else ""
    wanted = word.removeprefix("MinAtar/").removesuffix("-v0").lower()
    for game in games:
        if game.lower() == wanted:
            del sys.argv[place]
            return game
    script = Path(sys.argv[0]).name
    usage = f"usage: {script} [train | watch | sweep] GAME [options], or GAME --help"
    sys.exit(f"{usage}; GAME: {', '.join(games)}")


def at_least(least: int) -> Callable[[str], int]:
    """An argparse type: an integer of `least` or more, such as 100000 or 1e5."""

    def number(text: str) -> int:
        try:
            value = integer(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(
                f"{text}: expected an integer of {least} or more"
            )
        return value

    return number


def setting(text: str) -> tuple[str, str]:
    """An argparse type: NAME=VALUE."""
    try:
        return split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def folder(text: str) -> Path:
    """An argparse type: a folder, which need not exist yet."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a file: expected a folder")
    return path


def number_option(parser: ArgumentParser, flag: str, least: int, text: str) -> None:
    parser.add_argument(flag, type=at_least(least), metavar="N", help=text)


def new_parser(prog: str, about: str, with_env: bool) -> ArgumentParser:
    """A parser; `with_env` if the environment is not known yet."""
    # without abbreviations: --seed would be taken for --seeds in a sweep
    parser = Parser(prog, description=about, allow_abbrev=False)
    about_version = f"minidqn {version('minidqn')}"
    parser.add_argument("--version", action="version", version=about_version)
    if with_env:
        parser.add_argument("env_id", metavar="ENV", help="an environment's id")
    return parser


def add_settings(parser: ArgumentParser, text: str) -> None:
    parser.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"{text}; may be repeated. help(minidqn.DQNConfig) explains them",
    )


def add_test(parser: ArgumentParser) -> None:
    number_option(parser, "--test-episodes", 1, "episodes of the test; 100 by default")
    number_option(parser, "--test-max-steps", 1, "where an episode of the test is cut")


def train_parser(prog: str, with_env: bool) -> ArgumentParser:
    parser = new_parser(
        prog,
        "Train an agent in an environment, test it, and show it. The same command, "
        "typed again, continues a stopped run, or shows its result.",
        with_env,
    )
    number_option(parser, "--seed", 0, "of all random numbers; 0 by default")
    number_option(parser, "--steps", 1, "of training; 50,000, or as tuned")
    number_option(parser, "--num-envs", 1, "environments to train in, side by side")
    add_settings(parser, "another value for a setting, such as hidden=128,128")
    parser.add_argument(
        "--out", type=folder, metavar="DIR", help="the folder; by default in runs/"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="train again, in a new folder"
    )
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="RUN",
        help="begin with a saved agent: a file, or the folder of a run. It keeps its "
        "settings, except those of --set",
    )
    parser.add_argument(
        "--until-solved",
        action="store_true",
        help="end the training when the mean of its last 20 returns counts as solved",
    )
    add_test(parser)
    number_option(parser, "--log-every", 1, "print a line every N episodes")
    number_option(parser, "--record-every", 1, "write a GIF every N episodes")
    parser.add_argument(
        "--live", action="store_true", help="plot the returns during training"
    )
    parser.add_argument(
        "--no-animation", action="store_true", help="skip before_after.gif"
    )
    return parser


def watch_parser(prog: str, with_env: bool) -> ArgumentParser:
    parser = new_parser(
        prog, "Show an agent playing: in a window, or else in a GIF.", with_env
    )
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="RUN",
        help="a file, or the folder of a run; by default the agent that comes with "
        "minidqn, or else the run in runs/",
    )
    number_option(parser, "--seed", 0, "of the episodes; 0 by default")
    return parser


def sweep_parser(prog: str, with_env: bool) -> ArgumentParser:
    parser = new_parser(
        prog,
        "Make runs from many seeds, with several settings, and compare them: a table, "
        "a picture and a CSV file. The same command continues a stopped sweep.",
        with_env,
    )
    parser.add_argument(
        "--seeds", type=at_least(1), default=10, help="how many; 10 by default"
    )
    parser.add_argument("--first", type=at_least(0), default=0, help="the first seed")
    number_option(parser, "--steps", 1, "environment steps of training")
    add_settings(parser, "a setting; several values, n_step=1/3/40, make a grid")
    add_test(parser)
    number_option(parser, "--workers", 1, "processes; by default one per core")
    parser.add_argument(
        "--dask", metavar="ADDRESS", help="of a Dask scheduler that makes the runs"
    )
    parser.add_argument(
        "--out", type=folder, metavar="DIR", help="the folder; by default in runs/"
    )
    return parser
