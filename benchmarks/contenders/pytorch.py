"""PyTorch's part of speed.py and pixels.py: the same update in eager mode.

The buffer is tensors, sampling never leaves them, and Adam is the fused one, its fastest.
Left out, in its favour: the gradient's norm and its clipping, metrics, the target's copies.
"""

from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from minatar.gym import register_envs
from torch import nn
from worker import Call, learning, serve

BUFFER = 10_000


def q_network(hidden: list[int]) -> nn.Sequential:
    widths = [4, *hidden, 2]
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def update(hidden: list[int], batch: int) -> Call:
    online, target = q_network(hidden), q_network(hidden)
    optimizer = torch.optim.Adam(online.parameters(), lr=1e-3, fused=True)
    obs, next_obs = torch.randn(BUFFER, 4), torch.randn(BUFFER, 4)
    actions = torch.randint(2, (BUFFER, 1))
    rewards, discounts = torch.ones(BUFFER), 0.99 * (torch.rand(BUFFER) > 0.05).float()

    def one_update() -> object:
        i = torch.randint(BUFFER, (batch,))
        with torch.no_grad():
            y = rewards[i] + discounts[i] * target(next_obs[i]).max(dim=1).values
        q = online(obs[i]).gather(1, actions[i]).squeeze(1)
        loss = nn.functional.smooth_l1_loss(q, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return learning(one_update)


def act(hidden: list[int], batch: int) -> Call:
    network = q_network(hidden)
    obs = torch.randn(batch, 4).numpy()

    def one_action() -> int:
        with torch.inference_mode():
            return int(network(torch.from_numpy(obs[0])).argmax())

    def actions() -> object:
        with torch.inference_mode():
            return network(torch.from_numpy(obs)).argmax(dim=1).numpy()

    return one_action if batch == 1 else actions


def conv_network(
    shape: list[int], conv: list[list[int]], hidden: list[int]
) -> nn.Sequential:
    side, _, channels = shape
    layers: list[nn.Module] = []
    for n_out, k, s in conv:
        layers += [nn.Conv2d(channels, n_out, k, s), nn.ReLU()]
        channels, side = n_out, (side - k) // s + 1
    widths = [side * side * channels, *hidden, 6]
    layers.append(nn.Flatten())
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).to(memory_format=torch.channels_last)


def images(shape: list[int], batch: int) -> torch.Tensor:
    """Bytes, channels last in memory: (B, C, H, W) as PyTorch numbers the axes."""
    high = 256 if shape[0] > 50 else 2
    return torch.randint(high, (batch, *shape), dtype=torch.uint8).permute(0, 3, 1, 2)


def conv_update(
    shape: list[int], conv: list[list[int]], hidden: list[int], batch: int
) -> Call:
    """One update from a batch that it is given."""
    online, target = (conv_network(shape, conv, hidden) for _ in range(2))
    optimizer = torch.optim.Adam(online.parameters(), lr=1e-4, fused=True)
    obs, next_obs = images(shape, batch), images(shape, batch)
    actions = torch.randint(6, (batch, 1))
    rewards, discounts = torch.ones(batch), 0.99 * (torch.rand(batch) > 0.05).float()

    def one_update() -> object:
        with torch.no_grad():
            y = rewards + discounts * target(next_obs.float() / 255).max(dim=1).values
        q = online(obs.float() / 255).gather(1, actions).squeeze(1)
        loss = nn.functional.smooth_l1_loss(q, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return learning(one_update)


def conv_act(shape: list[int], conv: list[list[int]], hidden: list[int]) -> Call:
    network, obs = conv_network(shape, conv, hidden), images(shape, 1)

    def one_action() -> int:
        with torch.inference_mode():
            return int(network(obs.float() / 255).argmax())

    return one_action


def minatar_network(channels: int) -> nn.Sequential:
    convolution = (
        nn.Conv2d(channels, 16, 3),
        nn.Flatten(),
        nn.LayerNorm(1024),
        nn.ReLU(),
    )
    hidden = nn.Linear(1024, 128), nn.LayerNorm(128), nn.ReLU()
    return nn.Sequential(*convolution, *hidden, nn.Linear(128, 6))


def minatar_steps(game: str, steps: int) -> Call:
    """Training steps with the settings of examples/minatar_games.py, one random action in fifty.

    Unlike for the updates above, no check says that it learns: that would take hours.
    """
    register_envs()
    env: Any = gym.make(f"MinAtar/{game}-v0")
    shape = env.observation_space.shape
    online, target = minatar_network(shape[2]), minatar_network(shape[2])
    optimizer = torch.optim.Adam(online.parameters(), lr=3e-4, fused=True)
    capacity, stored, rng = 100_000, 0, np.random.default_rng(0)
    obs, next_obs = (torch.zeros(capacity, *shape, dtype=torch.bool) for _ in range(2))
    actions = torch.zeros(capacity, 1, dtype=torch.int64)
    rewards, discounts = torch.zeros(capacity), torch.zeros(capacity)

    def pixels(images: torch.Tensor) -> torch.Tensor:
        return images.permute(0, 3, 1, 2).float()

    def learn() -> None:
        i = torch.randint(min(stored, capacity), (32,))
        after = pixels(next_obs[i])
        with torch.no_grad():
            best = online(after).argmax(dim=1, keepdim=True)
            y = rewards[i] + discounts[i] * target(after).gather(1, best).squeeze(1)
        q = online(pixels(obs[i])).gather(1, actions[i]).squeeze(1)
        loss = nn.functional.smooth_l1_loss(q, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(target.parameters()), list(online.parameters()), 0.005
            )

    def run(steps: int, epsilon: float) -> None:
        nonlocal stored
        now, _ = env.reset()
        for _ in range(steps):
            action = int(rng.integers(6))
            if rng.random() >= epsilon:
                with torch.inference_mode():
                    action = int(online(pixels(torch.from_numpy(now)[None])).argmax())
            after, reward, terminated, truncated, _ = env.step(action)
            slot = stored % capacity
            obs[slot], next_obs[slot] = torch.from_numpy(now), torch.from_numpy(after)
            actions[slot], rewards[slot] = action, reward
            discounts[slot] = 0.0 if terminated else 0.99
            stored += 1
            if stored > 5_000 and stored % 2 == 0:
                learn()
            now = env.reset()[0] if terminated or truncated else after

    run(5_000, 1.0)
    return lambda: run(steps, 0.02)


serve(
    {
        "update": update,
        "act": act,
        "conv_update": conv_update,
        "conv_act": conv_act,
        "minatar_steps": minatar_steps,
    },
    {},
)
