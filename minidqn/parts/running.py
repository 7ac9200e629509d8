"""Observations of any scale: each entry by its own mean and variance so far.

A network learns best from numbers near 1. Where an environment gives a temperature
near 38 beside a speed of 0.02, and no bounds, only what was observed can tell the
scale. So the agent keeps running statistics, and its network sees

    y = (x - mean) / sqrt(variance + 1e-8), cut at -10 and 10

The replay buffer holds x, so old steps are seen with the mean and variance of today.
All networks of an agent share them. They are part of a checkpoint and of a policy.
Acting alone changes nothing: only begin and observe do.

Mean and variance are updated with every observation, and no observation is kept. With
n observations, and x the new one (Welford 1962):

    mean' = mean + (x - mean) / n
    squares' = squares + (x - mean) (x - mean')      variance = squares / n

Letters: E environments, D numbers in an observation, B batch, I = F D inputs of the
layer, with F frames.
"""

from typing import Any

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array, Layer
from minidqn.replay import Replay

ADDED = 1e-8  # is added to a variance: that of a constant entry is 0
LARGEST = 10.0  # what the network sees at most: a rare outlier teaches too much


@kernel
def count_rows(x: Array, count: Array, mean: Array, squares: Array) -> None:
    """Update count (1,), mean (D,) and squares (D,) with each row of x, (E, D)."""
    for row in range(x.shape[0]):
        count[0] += 1.0
        for i in range(x.shape[1]):
            before = x[row, i] - mean[i]
            mean[i] += before / count[0]
            squares[i] += before * (x[row, i] - mean[i])


@kernel
def standardise(
    x: Array, mean: Array, scale: Array, smallest: float, largest: float, y: Array
) -> None:
    """y = scale (x - mean), from `smallest` to `largest`: (B, I), D divides I."""
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            d = i % mean.size
            z = scale[d] * (x[row, i] - mean[d])
            y[row, i] = min(max(z, smallest), largest)


class Statistics:
    """Mean and variance of each entry of the observations so far."""

    def __init__(self, n_entries: int) -> None:
        self.count = np.zeros(1)  # observations; an array, so that it can be filled
        self.mean = np.zeros(n_entries)  # (D,)
        self.squares = np.zeros(n_entries)  # (D,), of the distances from the mean

    def observe(self, obs: Array) -> None:
        """Count the observations of all environments, (E, ...)."""
        rows = obs.reshape(len(obs), -1)  # (E, D)
        count_rows(rows, self.count, self.mean, self.squares)

    def look_at(self, replay: Replay) -> None:
        """Count the current observations."""
        self.observe(replay.head)

    @property
    def scale(self) -> Array:
        """What a distance from the mean is multiplied by, (D,).

        It is 1 before the second observation: one has no variance.
        """
        if self.count[0] < 2.0:
            return np.ones_like(self.mean)
        variance = self.squares / self.count[0]
        scale: Array = 1.0 / np.sqrt(variance + ADDED)
        return scale

    @property
    def arrays(self) -> dict[str, Array]:
        """What a checkpoint holds of it, by name: views."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}


class Unscaled:
    """Takes the place of Statistics where observations are seen as they are."""

    @property
    def arrays(self) -> dict[str, Array]:
        return {}

    def look_at(self, replay: Replay) -> None:
        """Nothing is to be counted."""


class RunningNormalize(Layer):
    """y = (x - mean) / standard deviation, (B, I): D entries of each of F frames."""

    takes_any_dtype = True

    def __init__(self, n_entries: int, frames: int = 1) -> None:
        self.width = frames * n_entries  # I
        self.statistics = Statistics(n_entries)

    def new_cache(self, batch_size: int, dtype: np.dtype[Any]) -> Array:
        """y, (B, I)."""
        return np.empty((batch_size, self.width), dtype)

    def forward(
        self, x: Array, cache: Array, rng: np.random.Generator | None = None
    ) -> Array:
        seen = self.statistics
        standardise(x, seen.mean, seen.scale, -LARGEST, LARGEST, cache)
        return cache

    def backward(self, dy: Array, cache: Array, need_dx: bool = True) -> Array | None:
        # y_i = scale_i (x_i - mean_i), or constant where it was cut
        scale = np.resize(self.statistics.scale, self.width)  # (I,), for each frame
        inside = np.abs(cache) < LARGEST  # (B, I)
        dx: Array = dy * scale * inside  # (B, I)
        return dx
