"""The floor: the matrix products of an update and nothing else, and the environment alone.

No bias, no ReLU, no sampling, no optimiser. A program that makes these products and steps this
environment cannot be faster, however clever it is. (The products are those of four inputs and two
outputs, and the environment is played with two actions in turn. So for other environments than
CartPole, both are only near to what a run must do.)
"""

import time
from itertools import pairwise

import gymnasium as gym
import numpy as np
from worker import Call, serve


def update(hidden: list[int], batch: int) -> Call:
    """Two forward passes, target and online, and one backward: each with separate arrays."""
    rng = np.random.default_rng(0)
    widths = [4, *hidden, 2]
    layers = range(len(widths) - 1)

    def arrays(shapes: list[tuple[int, int]]) -> list[np.ndarray]:
        return [rng.normal(size=shape).astype(np.float32) for shape in shapes]

    weights = list(pairwise(widths))
    rows = [(batch, width) for width in widths]
    target_W, W, dW = arrays(weights), arrays(weights), arrays(weights)
    target_h, h, dh = arrays(rows), arrays(rows), arrays(rows)

    def products() -> None:
        for i in layers:
            target_h[i].dot(target_W[i], out=target_h[i + 1])
        for i in layers:
            h[i].dot(W[i], out=h[i + 1])
        for i in reversed(layers):
            h[i].T.dot(dh[i + 1], out=dW[i])
            if i > 0:
                dh[i + 1].dot(W[i].T, out=dh[i])

    return products


def conv_update(
    shape: list[int], conv: list[list[int]], hidden: list[int], batch: int
) -> Call:
    """The same with convolutions: products with all patches, without the time to make these.

    Both networks have the same arrays here, as in minidqn: larger ones leave the cache.
    """
    rng = np.random.default_rng(0)
    side, _, channels = shape
    sizes = []  # of each product: rows, inputs, outputs
    for n_out, k, s in conv:
        side = (side - k) // s + 1
        sizes.append((batch * side * side, k * k * channels, n_out))
        channels = n_out
    for n_in, n_out in pairwise([side * side * channels, *hidden, 6]):
        sizes.append((batch, n_in, n_out))

    def arrays(*axes: int) -> list[np.ndarray]:
        shapes = [tuple(size[axis] for axis in axes) for size in sizes]
        return [rng.normal(size=shape).astype(np.float32) for shape in shapes]

    x, W, y = arrays(0, 1), arrays(1, 2), arrays(0, 2)
    dx, dW = arrays(0, 1), arrays(1, 2)

    def products() -> None:
        for _ in range(2):  # the target network, and the online one
            for i in range(len(sizes)):
                x[i].dot(W[i], out=y[i])
        for i in reversed(range(len(sizes))):
            x[i].T.dot(y[i], out=dW[i])
            if i > 0:
                y[i].dot(W[i].T, out=dx[i])

    return products


def environment_seconds(env_id: str, steps: int, seed: int) -> float:
    """The time that an environment takes for its steps and resets, with two actions in turn."""
    env = gym.make(env_id)
    env.reset(seed=seed)
    start = time.perf_counter()
    for step in range(steps):
        *_, terminated, truncated, _ = env.step(step % 2)
        if terminated or truncated:
            env.reset()
    return time.perf_counter() - start


serve(
    {"update": update, "conv_update": conv_update}, {"environment": environment_seconds}
)
