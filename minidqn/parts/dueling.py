"""Dueling: learns a state's value separately from its actions' advantages.

In many states, the action hardly matters. So the layer below gives the value of the
state, V, which is learned from every transition, with any action. Separately, it gives
G, which says how much better or worse each action is. This layer subtracts the mean of
G, so the advantages Q - V sum to 0. Otherwise V could rise and all G fall by the same
amount with no effect.

See nn/layers.py for what a layer is. Letters: B batch, A actions, N quantiles (1 in
plain DQN), each of which is joined separately.
Source: Wang et al. 2016, "Dueling network architectures for deep reinforcement
learning", equation 9; there the two streams have separate hidden layers.
"""

from typing import Any

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array, Layer


@kernel
def join_streams(x: Array, y: Array) -> None:
    """y_a = v + g_a - mean of g: (B, 1 + A, N) to (B, A, N)."""
    zero = x.dtype.type(0.0)
    n_actions = x.dtype.type(y.shape[1])
    for row in range(x.shape[0]):
        for k in range(x.shape[2]):
            mean = zero
            for a in range(y.shape[1]):
                mean += x[row, 1 + a, k] / n_actions
            for a in range(y.shape[1]):
                y[row, a, k] = x[row, 0, k] + x[row, 1 + a, k] - mean


@kernel
def join_streams_backward(dy: Array, dx: Array) -> None:
    """dv = sum of dy over actions, dg_a = dy_a - dv / A: (B, A, N) to (B, 1 + A, N)."""
    zero = dy.dtype.type(0.0)
    n_actions = dy.dtype.type(dy.shape[1])
    for row in range(dy.shape[0]):
        for k in range(dy.shape[2]):
            total = zero
            for a in range(dy.shape[1]):
                total += dy[row, a, k]
            dx[row, 0, k] = total
            for a in range(dy.shape[1]):
                dx[row, 1 + a, k] = dy[row, a, k] - total / n_actions


class DuelingCache:
    """The arrays of one forward, and of its backward."""

    def __init__(
        self, batch_size: int, n_actions: int, quantiles: int, dtype: np.dtype[Any]
    ) -> None:
        self.y: Array = np.empty((batch_size, n_actions, quantiles), dtype)
        self.dx: Array = np.empty((batch_size, 1 + n_actions, quantiles), dtype)


class Dueling(Layer):
    """Q(s, a) = V(s) + G(s, a) - mean over a of G(s, a): (B, (1 + A) N) to (B, A N)."""

    def __init__(self, n_actions: int, quantiles: int = 1) -> None:
        self.n_actions = n_actions
        self.quantiles = quantiles

    def new_cache(self, batch_size: int, dtype: np.dtype[Any]) -> DuelingCache:
        return DuelingCache(batch_size, self.n_actions, self.quantiles, dtype)

    def forward(
        self, x: Array, cache: DuelingCache, rng: np.random.Generator | None = None
    ) -> Array:
        join_streams(x.reshape(cache.dx.shape), cache.y)
        return cache.y.reshape(len(x), -1)

    def backward(
        self, dy: Array, cache: DuelingCache, need_dx: bool = True
    ) -> Array | None:
        # V enters every Q_a with 1, so dv = sum over A of dq_a. G_a enters its own Q_a
        # with 1 and each with -1/A, so dg_a = dq_a - dv / A
        join_streams_backward(dy.reshape(cache.y.shape), cache.dx)
        return cache.dx.reshape(len(dy), -1)
