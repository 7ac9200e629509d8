"""Stable-Baselines3's DQN with its plain settings, in an environment of plain_settings.py.

Trains on the seed given, plays the greedy episodes of the test, and prints their mean return.
Needs benchmarks/requirements.txt.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from stable_baselines3 import DQN

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from environments import TASKS, make, mean_return


def main() -> None:
    parser = argparse.ArgumentParser(description="Train SB3's DQN, plain.")
    parser.add_argument("name", choices=TASKS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = DQN("MlpPolicy", make(args.name), seed=args.seed)
    model.learn(args.steps)

    def act(obs: Any) -> int:
        action, _ = model.predict(obs, deterministic=True)
        return int(action)

    print(mean_return(args.name, act, args.seed))


if __name__ == "__main__":
    main()
