"""Stable-Baselines3's part of speed.py."""

import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from worker import Call, serve

BUFFER = 10_000


def filled_model(hidden: list[int], batch: int) -> DQN:
    model = DQN(
        "MlpPolicy",
        "CartPole-v1",
        batch_size=batch,
        buffer_size=BUFFER,
        target_update_interval=10_000,
        learning_starts=BUFFER,
        policy_kwargs={"net_arch": hidden},
        seed=0,
    )
    model.learn(
        BUFFER
    )  # random play, to fill the buffer and to set up what `train` needs
    return model


def update(hidden: list[int], batch: int) -> Call:
    model = filled_model(hidden, batch)
    return lambda: model.train(1, batch)


def act(hidden: list[int], batch: int) -> Call:
    model = filled_model(hidden, 64)
    obs = np.random.default_rng(0).normal(size=(batch, 4)).astype(np.float32)
    one_or_all = obs[0] if batch == 1 else obs
    return lambda: model.predict(one_or_all, deterministic=True)


def observe() -> Call:
    buffer = ReplayBuffer(BUFFER, Box(-1, 1, (4,)), Discrete(2))
    obs, next_obs = np.ones((1, 4), np.float32), np.ones((1, 4), np.float32)
    action, reward, done = np.array([1]), np.array([1.0]), np.array([False])
    infos: list[dict[str, Any]] = [{}]
    return lambda: buffer.add(obs, next_obs, action, reward, done, infos)


def sample(batch: int) -> Call:
    model = filled_model([64, 64], 64)
    assert model.replay_buffer is not None
    return lambda: model.replay_buffer.sample(batch)


def bytes_per_transition(shape: list[int], dtype: str, n_actions: int) -> float:
    space = Box(0, 1, tuple(shape), np.dtype(dtype).type)
    buffer = ReplayBuffer(BUFFER, space, Discrete(n_actions))
    arrays = [part for part in vars(buffer).values() if isinstance(part, np.ndarray)]
    return sum(array.nbytes for array in arrays) / BUFFER


def train_seconds(settings: dict[str, Any], seed: int) -> float:
    s = settings
    model = DQN(
        "MlpPolicy",
        gym.make(s["env"]),
        gamma=0.99,
        batch_size=s["batch"],
        learning_rate=s["learning_rate"],
        buffer_size=s["buffer"],
        learning_starts=s["learning_starts"],
        train_freq=s["train_every"],
        gradient_steps=s["gradient_steps"],
        target_update_interval=s["target_every_steps"],
        exploration_fraction=s["epsilon_steps"] / s["steps"],
        exploration_final_eps=s["final_epsilon"],
        policy_kwargs={"net_arch": s["hidden"]},
        seed=seed,
    )
    start = time.perf_counter()
    model.learn(s["steps"])
    seconds = time.perf_counter() - start
    assert abs(model._n_updates - s["updates"]) <= s["gradient_steps"], model._n_updates
    return seconds


serve(
    {"update": update, "act": act, "observe": observe, "sample": sample},
    {"bytes": bytes_per_transition, "train": train_seconds},
)
