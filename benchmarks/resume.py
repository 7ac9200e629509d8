"""A run that is killed anywhere and resumed ends on the same bits as one that is not.

Each trial trains once without a break, and once more in a process that is killed with
SIGKILL at random moments, several times, and started again. It saves very often, so
many kills come in the middle of saving. Both runs must end on the same parameters,
history and evaluation.

    python benchmarks/resume.py --trials 100        (with the extra minatar)
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from report import add_out, report
from tqdm import tqdm

from minidqn import (
    DQN,
    DQNConfig,
    ExponentialDecay,
    History,
    LinearDecay,
    evaluate,
    load_run,
    train,
)
from minidqn.lab.tuned import example
from minidqn.lab.watchers import save_every

STEPS = 1500
SAVE_EVERY = 25
KILLS = 3
ENVIRONMENTS = ["CartPole-v1", "Acrobot-v1", "MountainCar-v0"]
ALL_PARTS: dict[str, Any] = {
    "layer_norm": True,
    "dueling": True,
    "quantiles": 5,
    "priority_alpha": 0.6,
    "priority_beta": LinearDecay(0.4, 1.0, STEPS),
    "noisy": True,
    "epsilon_hold": 8,
}
PIXELS: dict[str, Any] = {"conv": ((4, 3, 1),), "frame_stack": 3, "hidden": (16,)}
OPTIONS: list[dict[str, Any]] = [
    ALL_PARTS,
    {"num_envs": 3, **ALL_PARTS},
    *({name: value} for name, value in ALL_PARTS.items() if name != "priority_beta"),
    {"double": False, "n_step": 1, "tau": 1.0, "target_every": 50},
    {"double": True, "n_step": 3},
    {"n_step": 20, "train_every": 4, "learning_rate": LinearDecay(1e-3, 0.0, STEPS)},
    {
        "normalize_obs": True,
        "buffer_size": 300,
        "epsilon": ExponentialDecay(1.0, 0.1, 500),
    },
    {"num_envs": 3, "gradient_steps": 2, "train_every": 5},
    PIXELS,
    {"num_envs": 3, **ALL_PARTS, **PIXELS},
    {"param_noise": 0.2},
    {"num_envs": 3, "param_noise": 0.2},
]


def work(trial: int, folder: Path) -> None:
    """Train, or continue from the checkpoint in `folder`; write a result."""
    numbers = dict(OPTIONS[trial % len(OPTIONS)])
    num_envs = numbers.pop("num_envs", 1)
    make: Any = partial(gym.make, ENVIRONMENTS[trial // len(OPTIONS) % 3])
    if "conv" in numbers:
        make = partial(example("MinAtar/Breakout-v0").make_env, "Breakout")
    env = make()
    several = SyncVectorEnv([make] * num_envs, autoreset_mode=AutoresetMode.DISABLED)
    checkpoint = folder / "checkpoint.safetensors"
    if checkpoint.exists():
        agent, history = load_run(checkpoint)
    else:
        config = DQNConfig(**({"learning_starts": 100, "buffer_size": 1000} | numbers))
        spaces = (env.observation_space, env.action_space)
        agent = DQN(*spaces, config, seed=trial, num_envs=num_envs)
        history = History()

    print("training", flush=True)
    if agent.steps < STEPS:
        train(
            agent,
            several if num_envs > 1 else env,
            STEPS - agent.steps,
            history=history,
            on_step=save_every(SAVE_EVERY, checkpoint),
            progress=False,
        )
    result = {
        "params": hashlib.sha256(agent.online.params.tobytes()).hexdigest(),
        "target": hashlib.sha256(agent.target.params.tobytes()).hexdigest(),
        "history": hashlib.sha256(history.rows.tobytes()).hexdigest(),
        "returns": evaluate(agent, env, 3, seed=trial).tolist(),
        "steps": agent.steps,
        "updates": agent.updates,
        "rng": agent.rng.bit_generator.state,
    }
    (folder / "result.json").write_text(json.dumps(result))


def run_worker(trial: int, folder: Path, kill_after: float | None = None) -> float:
    """Run `work` in a new process, or begin to; return the seconds that it trained."""
    command = [sys.executable, __file__, "--work", str(folder), "--trial", str(trial)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # "training"
        start = time.perf_counter()
        if kill_after is not None:
            time.sleep(kill_after)
            process.kill()
        process.wait()
    if kill_after is None and process.returncode != 0:
        raise RuntimeError(f"trial {trial} failed with {process.returncode}")
    return time.perf_counter() - start


def same_bits(trial: int) -> tuple[bool, int]:
    """Whether both runs of a trial ended on the same bits, and how many kills hit training."""
    chance = random.Random(trial)
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name) / "whole"
        broken = Path(name) / "broken"
        whole.mkdir()
        broken.mkdir()
        seconds = run_worker(trial, whole)
        hits = 0
        for _ in range(KILLS):
            run_worker(trial, broken, kill_after=chance.uniform(0.0, seconds / 2))
            hits += not (broken / "result.json").exists()
        run_worker(trial, broken)
        results = [
            json.loads((folder / "result.json").read_text())
            for folder in (whole, broken)
        ]
    return results[0] == results[1], hits


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill runs, resume them, compare.")
    parser.add_argument("--trials", type=int, default=100)
    add_out(parser)
    parser.add_argument("--trial", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.trial, args.work)
        return
    with ThreadPoolExecutor(2) as pool:
        trials = range(args.trials)
        outcomes = list(tqdm(pool.map(same_bits, trials), total=args.trials))
    others = [trial for trial, (same, _) in enumerate(outcomes) if not same]
    hits = sum(hits for _, hits in outcomes)
    text = (
        f"{args.trials - len(others)} of {args.trials} killed runs ended on the same "
        f"bits; {hits} kills hit training."
    )
    if others:
        text += f" Not the same: trials {others}."
    report(text, args.out / "resume.md")
    if others:
        sys.exit(1)


if __name__ == "__main__":
    main()
