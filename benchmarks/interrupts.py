"""Ctrl-C and SIGTERM at random moments of training; two commands in one folder.

Each trial is a process that trains with prioritised replay in three environments, saves
often and writes its rows. At a random moment it gets a signal: in a step, an update, a
kernel, a save. Ctrl-C must raise KeyboardInterrupt, and SIGTERM must end the process
after saving. The file must load, with a row or an unfinished episode for each step. And
the run must have the same bits as an uninterrupted one, at once and some steps later.

A pair is two commands for one folder, with different seeds, started at the same moment.
One makes its run, and the other refuses the folder.

    python benchmarks/interrupts.py

It takes twenty minutes, on Linux or macOS.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from report import add_out, report
from tqdm import tqdm

import minidqn
from minidqn import DQN, DQNConfig, History, Spec, load, load_run, save, train
from minidqn.lab.arrays import agent_arrays
from minidqn.lab.folder import AGENT, CHECKPOINT, RUN, SUMMARY
from minidqn.lab.history import read_csv
from minidqn.lab.history_arrays import history_arrays
from minidqn.lab.run import train_and_save
from minidqn.lab.signals import Signals
from minidqn.lab.watchers import log_csv, save_every
from minidqn.parts.prioritized import PrioritizedSampler

STEPS = 6000  # of the run left alone; a signal comes at most as late as they take
GOES_ON = 60  # steps, after each trial
CONFIG = DQNConfig(
    hidden=(32, 32),
    priority_alpha=0.6,
    learning_starts=60,
    buffer_size=2000,
    batch_size=32,
)
OFTEN = "often.safetensors"
ROWS = "rows.csv"
WHERE = "where.txt"
OTHER = "other.txt"
PACKAGE = str(Path(minidqn.__file__).parent)


def environments() -> Any:
    make = [lambda: gym.make("CartPole-v1")] * 3
    return SyncVectorEnv(make, autoreset_mode=AutoresetMode.DISABLED)


def new_run() -> tuple[DQN, History]:
    envs = environments()
    spaces = (envs.single_observation_space, envs.single_action_space)
    return DQN(*spaces, CONFIG, num_envs=3), History()


def state_of(agent: DQN, history: History) -> str:
    """A digest of all that a checkpoint has of a run, and of the tree of priorities."""
    digest = hashlib.sha256()
    arrays = agent_arrays(agent) | history_arrays(history)
    assert isinstance(agent.sampler, PrioritizedSampler)
    arrays["tree"] = agent.sampler.tree
    for name in sorted(arrays):
        digest.update(arrays[name].tobytes())
    digest.update(json.dumps(agent.rng.bit_generator.state).encode())
    return digest.hexdigest()


class LeftAlone:
    """An uninterrupted run, and its state after each step."""

    def __init__(self) -> None:
        self.agent, self.history = new_run()
        self.envs = environments()
        self.states: dict[int, str] = {}

    def watch(self, agent: DQN, history: History) -> None:
        self.states[agent.steps] = state_of(agent, history)

    def go_on(self, steps: int) -> None:
        train(
            self.agent,
            self.envs,
            steps,
            history=self.history,
            on_step=self.watch,
            progress=False,
        )

    def state_at(self, step: int) -> str:
        """The state after a step; "" if no step of the run ends there."""
        while self.agent.steps < step:
            self.go_on(STEPS)
        return self.states.get(step, "")


def accounted_steps(agent: DQN, history: History) -> int:
    """The number of steps in the rows and in the unfinished episodes."""
    steps = int(history["length"].sum())
    for episode, over in zip(history.unfinished, agent.replay.ended, strict=True):
        if not over:
            steps += len(episode.actions)
    return steps


# --- One process that gets a signal


def note_where(folder: Path) -> None:
    """From now on, record the line of the package in which a signal comes."""
    remember = Signals.remember

    def noted(self: Signals, number: int, frame: FrameType | None) -> None:
        while frame is not None and not frame.f_code.co_filename.startswith(PACKAGE):
            frame = frame.f_back
        if frame is not None:
            place = f"{Path(frame.f_code.co_filename).stem} {frame.f_lineno}"
            (folder / WHERE).write_text(place)
        remember(self, number, frame)

    Signals.remember = noted  # type: ignore[method-assign]  # to see where


def trains(number: int, folder: Path, ready: int) -> int:
    """The process that gets signal `number`. Returns how it ended, if it can."""
    # as in the foreground: in the background, a shell starts programs with Ctrl-C ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    note_where(folder)
    agent, history = new_run()
    said = False

    def say_that_it_trains(agent: DQN, history: History) -> None:
        nonlocal said
        if not said:
            said = True
            os.write(ready, b"!")

    watchers = [
        say_that_it_trains,
        save_every(300, folder / OFTEN),
        log_csv(folder / ROWS),
    ]
    envs = environments()
    try:
        if number == signal.SIGTERM:
            spec = Spec("CartPole-v1", CONFIG, 10**6)
            train_and_save(spec, agent, envs, history, folder, watchers, False)
        else:
            train(agent, envs, 10**6, history=history, on_step=watchers, progress=False)
    except KeyboardInterrupt:
        save(agent, folder / CHECKPOINT, history)
        return int(number != signal.SIGINT)
    except BaseException as error:
        (folder / OTHER).write_text(repr(error))
    return 1


def interrupted(number: int, folder: Path, seconds: float) -> int:
    """Start the process, and send it the signal after `seconds`; return how it ended."""
    hears, ready = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os._exit(trains(number, folder, ready))
        finally:
            os._exit(2)
    os.close(ready)
    os.read(hears, 1)
    os.close(hears)
    time.sleep(seconds)
    os.kill(process, number)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def faults(number: int, code: int, folder: Path, alone: LeftAlone) -> list[str]:
    """The errors of a trial, in how it ended, and in its files."""
    expected = 0 if number == signal.SIGINT else -signal.SIGTERM
    if code != expected:
        other = folder / OTHER
        text = other.read_text() if other.exists() else ""
        return [f"the process ended with {code}, not {expected} {text}"]
    try:
        agent, history = load_run(folder / CHECKPOINT)
        if (folder / OFTEN).exists():
            load_run(folder / OFTEN)
    except Exception as error:
        return [repr(error)]
    return faults_of_run(agent, history, folder, alone)


def faults_of_run(
    agent: DQN, history: History, folder: Path, alone: LeftAlone
) -> list[str]:
    """The errors in what was saved, compared with the run that was left alone."""
    found = []
    steps = accounted_steps(agent, history)
    if steps != agent.steps or len(history) != agent.episodes:
        found.append(f"{steps} of {agent.steps} steps are accounted for")
    if len(read_csv(folder / ROWS)) != len(history):
        found.append("the log has not the rows of the history")
    if alone.state_at(agent.steps) != state_of(agent, history):
        found.append(f"at step {agent.steps} it was not the run that was left alone")
    envs = environments()
    train(agent, envs, GOES_ON, history=history, progress=False)
    if alone.state_at(agent.steps) != state_of(agent, history):
        found.append(f"at step {agent.steps} it did not go on as that run did")
    return found


def many_signals(number: int, trials: int) -> tuple[str, bool]:
    """The result of many trials, in a sentence, and whether all were right."""
    alone = LeftAlone()
    start = time.perf_counter()
    alone.go_on(STEPS)
    seconds = time.perf_counter() - start
    chance = random.Random(number)
    found: list[str] = []
    well = 0
    places: Counter[str] = Counter()
    for _ in tqdm(range(trials), desc=signal.Signals(number).name):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            code = interrupted(number, folder, chance.uniform(0.0, seconds))
            wrong = faults(number, code, folder, alone)
            found += wrong
            well += not wrong
            if (folder / WHERE).exists():
                places[(folder / WHERE).read_text()] += 1
    modules: Counter[str] = Counter()
    for place, count in places.items():
        modules[place.split()[0]] += count
    often = ", ".join(f"{name} {count}" for name, count in modules.most_common(8))
    if number == signal.SIGINT:
        what = f"{trials} Ctrl-C"
        arrived = "arrived as KeyboardInterrupt"
    else:
        what = f"{trials} SIGTERM"
        arrived = "ended the process after saving"
    text = (
        f"{what} at random moments, in {len(places)} different lines of the package "
        f"({often}): {well} {arrived}, left a file that loads, with a row or an "
        "unfinished episode for each step, and the bits of the run that was left "
        f"alone, also {GOES_ON} steps later."
    )
    return "\n".join([text, *found]), not found


# --- Two commands in one folder


def start(seed: int, folder: Path) -> "subprocess.Popen[str]":
    """A command that makes a run in a folder; what it says of errors is kept."""
    command = [sys.executable, "-m", "minidqn", "CartPole", "--out", str(folder)]
    command += ["--seed", str(seed), "--steps", "20000", "--test-episodes", "2"]
    command += ["--no-animation"]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def pair(number: int, folder: Path) -> tuple[str, list[str]]:
    """The message of the command that made no run, and the errors in the folder."""
    seeds = (2 * number, 2 * number + 1)
    processes = [start(seed, folder) for seed in seeds]
    said = [process.communicate()[1] for process in processes]
    codes = [process.returncode for process in processes]
    if sorted(codes) != [0, 2]:
        return "", [f"pair {number} ended with {codes}: {said}"]
    seed = seeds[codes.index(0)]
    reason = said[codes.index(2)].strip().splitlines()[-1]
    found = []
    for name, its_seed in seeds_in(folder).items():
        if its_seed != seed:
            found.append(f"pair {number}: {name} is not of seed {seed}")
    for file in folder.glob("*.tmp*"):
        found.append(f"pair {number} left {file.name}")
    return reason, found


def seeds_in(folder: Path) -> dict[str, int]:
    """The seed that each file of a run has."""
    seeds: dict[str, int] = {}
    for name in (RUN, SUMMARY):
        seeds[name] = json.loads((folder / name).read_text())["seed"]
    for name in (AGENT, CHECKPOINT):
        seeds[name] = load(folder / name).seed
    return seeds


def pairs(trials: int) -> tuple[str, bool]:
    """The result of many pairs, in a sentence, and whether all were right."""
    reasons: Counter[str] = Counter()
    found: list[str] = []
    well = 0
    for number in tqdm(range(trials), desc="pairs"):
        with tempfile.TemporaryDirectory() as name:
            reason, wrong = pair(number, Path(name) / "run")
        if "in use" in reason:
            reasons["is in use"] += 1
        elif "another run" in reason:
            reasons["has another run"] += 1
        elif not wrong:
            wrong = [f"pair {number} said {reason}"]
        found += wrong
        well += not wrong
    said = ", ".join(f"{count} times that it {what}" for what, count in reasons.items())
    text = (
        f"{trials} pairs of commands started at the same moment, with one folder and "
        f"two seeds: in {well}, one made its run, and run.json, summary.json, the "
        "checkpoint and the agent are of its seed; the other said of the folder, "
        f"{said}."
    )
    return "\n".join([text, *found]), not found


def main() -> None:
    parser = argparse.ArgumentParser(description="Interrupt runs, and look.")
    parser.add_argument("--ctrl-c", type=int, default=500)
    parser.add_argument("--sigterm", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=20)
    add_out(parser)
    args = parser.parse_args()
    tqdm.monitor_interval = 0  # no thread of tqdm, because processes are forked
    outcomes = [
        many_signals(signal.SIGINT, args.ctrl_c),
        many_signals(signal.SIGTERM, args.sigterm),
        pairs(args.pairs),
    ]
    report("\n\n".join(text for text, _ in outcomes), args.out / "interrupts.md")
    if not all(well for _, well in outcomes):
        sys.exit(1)


if __name__ == "__main__":
    main()
