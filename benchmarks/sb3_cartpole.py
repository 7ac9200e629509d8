"""Stable-Baselines3's DQN on CartPole-v1, with the settings that rl-baselines3-zoo tuned for it.

Training alone, without any test after it. Needs benchmarks/requirements.txt.
"""

import sys

from stable_baselines3 import DQN

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
    seed=int(sys.argv[1]) if len(sys.argv) > 1 else 0,
)
model.learn(50_000)
