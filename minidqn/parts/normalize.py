"""Normalize: maps each entry of an observation from its range to -1 to 1.

A weight's gradient grows with its input: next to a speed of 3, an angle of 0.2 would
hardly count, and bytes up to 255 would dominate. Normalising helps if the bounds are
close to the observed values, as for CartPole's angle. If the bounds are far wider, as
for Acrobot's speeds, it makes learning worse.

See nn/layers.py for what a layer is, and for the letters.
"""

from typing import Any

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array, Layer


@kernel
def scale_and_shift(x: Array, scale: Array, shift: Array, y: Array) -> None:
    """y = scale x + shift in every row, (B, I) and (I,)."""
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            y[row, i] = scale[i] * x[row, i] + shift[i]


class Normalize(Layer):
    """y = scale x + shift, (B, I): low becomes -1 and high 1, each (I,).

    An entry without bounds, or with bounds beyond a million, is left as it is.
    """

    takes_any_dtype = True

    def __init__(self, low: Array, high: Array) -> None:
        low = np.asarray(low, np.float64).reshape(-1)  # (I,)
        high = np.asarray(high, np.float64).reshape(-1)  # (I,)
        known = (low > -1e6) & (low < high) & (high < 1e6)
        low = np.where(known, low, -1.0)
        high = np.where(known, high, 1.0)
        self.scale: Array = 2.0 / (high - low)  # (I,)
        self.shift: Array = -0.5 * self.scale * (high + low)  # (I,)

    def bind(self, params: Array, grads: Array) -> None:
        # there are no parameters, but their dtype is the network's
        self.scale = self.scale.astype(params.dtype)
        self.shift = self.shift.astype(params.dtype)

    def new_cache(self, batch_size: int, dtype: np.dtype[Any]) -> Array:
        """y, (B, I): backward needs nothing."""
        return np.empty((batch_size, len(self.scale)), dtype)

    def forward(
        self, x: Array, cache: Array, rng: np.random.Generator | None = None
    ) -> Array:
        scale_and_shift(x, self.scale, self.shift, cache)
        return cache

    def backward(self, dy: Array, cache: Array, need_dx: bool = True) -> Array | None:
        # y_i = scale_i x_i + shift_i, so dx_i = scale_i dy_i
        return dy * self.scale  # (B, I)
