"""Stable-Baselines3's DQN on CartPole-v1, with the settings that rl-baselines3-zoo tuned for it.

Trains on the seed given; with --test, then plays 100 greedy episodes and prints their
mean return. Needs benchmarks/requirements.txt.
"""

import argparse

import gymnasium as gym
from stable_baselines3 import DQN
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

parser = argparse.ArgumentParser(description="Train SB3's DQN on CartPole-v1.")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--test", action="store_true")
args = parser.parse_args()

model = DQN(
    "MlpPolicy",
    "CartPole-v1",
    learning_rate=2.3e-3,
    batch_size=64,
    buffer_size=100_000,
    learning_starts=1000,
    gamma=0.99,
    target_update_interval=10,
    train_freq=256,
    gradient_steps=128,
    exploration_fraction=0.16,
    exploration_final_eps=0.04,
    policy_kwargs={"net_arch": [256, 256]},
    seed=args.seed,
)
model.learn(50_000)
if args.test:
    env = Monitor(gym.make("CartPole-v1"))
    env.reset(seed=10_000 + args.seed)  # the episodes that follow are new ones
    print(evaluate_policy(model, env, n_eval_episodes=100)[0])
