"""Stable-Baselines3's DQN with rl-baselines3-zoo's tuned settings: how soon it solves a task.

Trains on the seed given. Every so many steps, the policy plays greedy episodes, the same each
time; the training ends when their mean return counts as solved. Prints after how many steps that
was, or 0 if it never was. Needs benchmarks/requirements.txt.

The settings are those of hyperparams/dqn.yml in rl-baselines3-zoo at 22e3ff2 (April 2026).
"""

import argparse
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3 import DQN

NET = {"net_arch": [256, 256]}
STEPS = {
    "CartPole-v1": 50_000,
    "Acrobot-v1": 100_000,
    "MountainCar-v0": 120_000,
    "LunarLander-v3": 100_000,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "CartPole-v1": {
        "learning_rate": 2.3e-3,
        "batch_size": 64,
        "buffer_size": 100_000,
        "learning_starts": 1_000,
        "gamma": 0.99,
        "target_update_interval": 10,
        "train_freq": 256,
        "gradient_steps": 128,
        "exploration_fraction": 0.16,
        "exploration_final_eps": 0.04,
        "policy_kwargs": NET,
    },
    "MountainCar-v0": {
        "learning_rate": 4e-3,
        "batch_size": 128,
        "buffer_size": 10_000,
        "learning_starts": 1_000,
        "gamma": 0.98,
        "target_update_interval": 600,
        "train_freq": 16,
        "gradient_steps": 8,
        "exploration_fraction": 0.2,
        "exploration_final_eps": 0.07,
        "policy_kwargs": NET,
    },
}
# the zoo has the same settings for both
SETTINGS["Acrobot-v1"] = SETTINGS["LunarLander-v3"] = {
    "learning_rate": 6.3e-4,
    "batch_size": 128,
    "buffer_size": 50_000,
    "learning_starts": 0,
    "gamma": 0.99,
    "target_update_interval": 250,
    "train_freq": 4,
    "gradient_steps": -1,
    "exploration_fraction": 0.12,
    "exploration_final_eps": 0.1,
    "policy_kwargs": NET,
}


def play(model: Any, env: Any, seed: int) -> float:
    """The return of a greedy episode."""
    obs, _ = env.reset(seed=seed)
    total = 0.0
    over = False
    while not over:
        action, _ = model.predict(obs, deterministic=True)
        obs, reward, terminated, truncated, _ = env.step(int(action))
        total += float(reward)
        over = terminated or truncated
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description="How soon SB3's DQN solves a task.")
    parser.add_argument("env_id", choices=SETTINGS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, required=True)
    parser.add_argument("--solved-at", type=float, required=True)
    parser.add_argument("--test-seeds", type=int, nargs="+", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = SETTINGS[args.env_id]
    model = DQN("MlpPolicy", args.env_id, seed=args.seed, **settings)
    test_env = gym.make(args.env_id)
    solved_after = 0

    def go_on(_locals: Any, _globals: Any) -> bool:
        nonlocal solved_after
        if model.num_timesteps % args.every != 0:
            return True
        returns = [play(model, test_env, seed) for seed in args.test_seeds]
        if sum(returns) / len(returns) >= args.solved_at:
            solved_after = model.num_timesteps
        return solved_after == 0

    model.learn(STEPS[args.env_id], callback=go_on)
    print(solved_after)


if __name__ == "__main__":
    main()
