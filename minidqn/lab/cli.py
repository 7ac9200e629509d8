"""The command line: python -m minidqn, and the scripts in examples/.

    train    makes a run (run.py), prints its result, and draws it (show.py)
    watch    shows an agent that has learned
    sweep    makes many runs (sweep_cli.py)

Whatever can be known to be wrong is said in one line, before a folder is made.
"""

import signal
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import NoReturn

import gymnasium as gym

from minidqn.lab import arguments, sweep_cli
from minidqn.lab.arguments import COMMANDS
from minidqn.lab.asked import agent_to_watch, base_of, spec_of
from minidqn.lab.folder import (
    CHECKPOINT,
    SUMMARY,
    InUseError,
    OtherRunError,
    is_free,
    is_in_use,
)
from minidqn.lab.identity import Json
from minidqn.lab.output import make_unfailing, plain_warnings
from minidqn.lab.places import (
    existing,
    has_run,
    next_free,
    short_name,
    with_other_code,
)
from minidqn.lab.run import run_checked
from minidqn.lab.show import Shown, draw, summary, watch, why_not_drawn
from minidqn.lab.soundness import CheckpointError
from minidqn.lab.spec import Spec
from minidqn.lab.training import Watcher
from minidqn.lab.tuned import MakeSpec, advice, example, has_example, maker_of
from minidqn.lab.watchers import live_plot, log_every, record_every

# errors that are said in one line, without a traceback
REFUSED = (
    gym.error.Error,
    CheckpointError,
    FloatingPointError,
    ImportError,
    MemoryError,
    OSError,
    TypeError,
    ValueError,
)


def main(make_spec: MakeSpec | None = None, shown: Shown | None = None) -> None:
    """Do what the command line says.

    make_spec(steps, seed) is the run of a script, and `shown` says what its pictures
    show. Without them, the command line names the environment.
    """
    parser, command, args = read_arguments(with_env=make_spec is None)
    make_unfailing()
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does
    try:
        with plain_warnings():
            carry_out(command, args, make_spec, shown or Shown())
    except REFUSED as error:
        refuse(parser, error)
    except KeyboardInterrupt:
        parser.exit(130, f"Stopped.{how_to_go_on(command, args)}\n")


def read_arguments(with_env: bool) -> tuple[ArgumentParser, str, Namespace]:
    """The parser, the command and its arguments; `with_env` if they name the ENV."""
    words = sys.argv[1:]
    typed = "python -m minidqn" if with_env else Path(sys.argv[0]).name
    if with_env and (not words or words[0] in ("-h", "--help")):
        print(f"usage:\n{arguments.USAGE}\n")
        words = ["--help"]
    command = "train"
    if words and words[0] in COMMANDS:
        command = words.pop(0)
        typed = f"{typed} {command}"
    parser: ArgumentParser = getattr(arguments, f"{command}_parser")(typed, with_env)
    return parser, command, parser.parse_args(words)


def carry_out(
    command: str, args: Namespace, make_spec: MakeSpec | None, shown: Shown
) -> None:
    if make_spec is None:
        make_spec = maker_of(args.env_id)
        if has_example(args.env_id):
            shown = example(args.env_id).SHOWN
    if command == "watch":
        watch_agent(args, make_spec)
    elif command == "sweep":
        sweep_cli.sweep_and_compare(args, make_spec)
    else:
        train(args, make_spec, shown)


def refuse(parser: ArgumentParser, error: Exception) -> NoReturn:
    """Say in a line what is wrong."""
    if hasattr(error, "__notes__"):
        raise error  # it came in a step of the run: a traceback says from where
    hint = ""
    if isinstance(error, ImportError | gym.error.Error):
        hint = advice(error)
    parser.exit(2, f"{parser.prog}: error: {error}{hint}\n")


def how_to_go_on(command: str, args: Namespace) -> str:
    if command == "watch":
        return ""
    if command == "train" and args.fresh:
        return " Without --fresh, the same command goes on."
    return " The same command goes on."


def train(args: Namespace, make_spec: MakeSpec, shown: Shown) -> None:
    """Make a run, print its result, and draw it."""
    check_set_once(args.set)
    spec = spec_of(args, make_spec)
    spec.check()
    drawn = True
    if args.record_every or not args.no_animation:
        why_not = why_not_drawn(spec)
        if why_not:
            drawn = False
            print(f"There will be no film: {why_not}")
    frames = spec.config.frame_stack
    if shown.x is not None and frames > 1:
        print(
            "There will be no picture of the value function: the agent sees "
            f"{frames} observations at once (frame_stack), and it shows one"
        )
    folder, result = run_somewhere(args, spec, drawn)
    print(summary(spec, result), flush=True)
    animation = drawn and not args.no_animation
    print(f"Drawing the pictures{' and the film' if animation else ''} ...", flush=True)
    draw(spec, folder, result, shown, animation=animation)
    print(f"The agent, its history and pictures are in {folder}")


def check_set_once(settings: list[tuple[str, str]]) -> None:
    names = [name for name, _ in settings]
    for name, value in settings:
        if "/" in value:
            raise ValueError(
                f"--set {name}={value}: expected one value; a grid of several is for "
                "sweep: python -m minidqn sweep"
            )
        if names.count(name) > 1:
            raise ValueError(
                f"--set {name} is given twice: expected one value; a sweep takes "
                f"several, {name}=VALUE/VALUE"
            )


def run_somewhere(args: Namespace, spec: Spec, drawn: bool) -> tuple[Path, Json]:
    """Make the run in its folder: the one that has it already, or else a free one."""
    base = args.out or Path("runs") / short_name(spec.env_id)
    identity = spec.identity()
    while True:
        folder = folder_for(base, identity, args)
        if not (folder / SUMMARY).exists():
            settings = f"seed {spec.seed}, {spec.steps} steps, {spec.config}"
            print(f"{spec.env_id}, {settings}", flush=True)
        try:
            watching = watchers(args, spec, folder, drawn)
            return folder, run_checked(spec, folder, identity, on_step=watching)
        except (InUseError, OtherRunError) as error:
            # another process was faster; for another run there are more numbers
            same = not args.fresh and existing(base, identity) is not None
            if args.out is None and not same:
                continue
            if isinstance(error, InUseError):
                raise InUseError(
                    f"{folder} is in use: another command is making a run there"
                ) from None
            raise


def folder_for(base: Path, identity: Json, args: Namespace) -> Path:
    """The folder of a run, and a line that says what is there."""
    if args.out is not None:
        folder: Path | None = base
        if args.fresh and not is_free(base):
            raise ValueError(f"--fresh: {base} is not empty: expected another --out")
    else:
        folder = None if args.fresh else existing(base, identity)
    if folder is not None:
        say_what_is_there(folder, identity, args)
        return folder
    folder = next_free(base)
    say_why_there(base, folder, identity, fresh=args.fresh)
    return folder


def say_why_there(base: Path, folder: Path, identity: Json, *, fresh: bool) -> None:
    """Say why a new run is in `folder`, if one would look for it elsewhere."""
    older = "" if fresh else with_other_code(base, identity)
    if older:
        print(f"{older}: it begins anew in {folder}", flush=True)
    elif folder != base:
        other = "a run" if fresh else "another run"
        print(f"{base} has {other}: this one is in {folder}", flush=True)


def say_what_is_there(folder: Path, identity: Json, args: Namespace) -> None:
    if not has_run(folder, identity):
        return
    if (folder / SUMMARY).exists():
        anew = "" if args.out is not None else "; --fresh makes it anew"
        print(f"This run has ended before, in {folder}{anew}.", flush=True)
    elif (folder / CHECKPOINT).exists() and not is_in_use(folder):
        print(f"Going on with the run in {folder}.", flush=True)


def watchers(args: Namespace, spec: Spec, folder: Path, drawn: bool) -> list[Watcher]:
    found: list[Watcher] = []
    if args.log_every:
        found.append(log_every(args.log_every))
    if args.record_every and drawn:
        films = spec.make(render_mode="rgb_array")
        found.append(record_every(args.record_every, films, folder))
    if args.live:
        found.append(live_plot(None if spec.train_wrapper else spec.threshold()))
    return found


def watch_agent(args: Namespace, make_spec: MakeSpec) -> None:
    """Show the agent of --from, or minidqn's own, or else the one in runs/."""
    spec = base_of(args, make_spec)
    spec.make().close()  # raises if there is no such environment
    path = agent_to_watch(args, spec)
    picture = Path("runs") / f"watch_{short_name(spec.env_id)}.gif"
    watch(spec, path, picture)
