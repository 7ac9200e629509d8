"""LayerNorm: keeps the scale of the signals while the targets change.

Changing targets also change the scale of every layer's inputs. LayerNorm normalises the
inputs of each observation separately, not over the batch, whose content changes with
the policy. This keeps the scale, so the same step size stays right.

See nn/layers.py for what a layer is, and for the letters.
Source: Ba et al. 2016, "Layer normalization".
"""

from typing import Any

import numpy as np

from minidqn.nn.jit import kernel, kernel_of_sums
from minidqn.nn.layers import Array, Layer


@kernel_of_sums
def normalize_rows(
    x: Array, gain: Array, bias: Array, relu: bool, u: Array, scale: Array, y: Array
) -> None:
    """u = (x - mean) scale, scale = 1 / standard deviation; y = gain u + bias; ReLU.

    (B, I), (I,), (I,) to (B, I), (B, 1), (B, I).
    """
    zero = x.dtype.type(0.0)
    one = x.dtype.type(1.0)
    width = x.dtype.type(x.shape[1])
    small = x.dtype.type(1e-5)  # all entries of a row may be equal
    for row in range(x.shape[0]):
        total = zero
        for i in range(x.shape[1]):
            total += x[row, i]
        mean = total / width
        squares = zero
        for i in range(x.shape[1]):
            u[row, i] = x[row, i] - mean
            squares += u[row, i] * u[row, i]
        scale[row, 0] = one / np.sqrt(squares / width + small)
        for i in range(x.shape[1]):
            u[row, i] *= scale[row, 0]
            z = gain[i] * u[row, i] + bias[i]
            y[row, i] = zero if relu and z.real <= 0.0 else z


@kernel_of_sums
def normalize_rows_backward(
    dy: Array, gain: Array, u: Array, scale: Array, dx: Array
) -> None:
    """dx = scale (du - mean of du - u mean of (du u)), with du = gain dy: to (B, I)."""
    zero = dy.dtype.type(0.0)
    width = dy.dtype.type(dy.shape[1])
    for row in range(dy.shape[0]):
        total = zero
        projection = zero
        for i in range(dy.shape[1]):
            dx[row, i] = gain[i] * dy[row, i]
            total += dx[row, i]
            projection += dx[row, i] * u[row, i]
        mean = total / width
        along = projection / width
        for i in range(dy.shape[1]):
            dx[row, i] = scale[row, 0] * (dx[row, i] - mean - u[row, i] * along)


@kernel
def gain_and_bias_backward(
    dy: Array, y: Array, u: Array, relu: bool, dgain: Array, dbias: Array
) -> None:
    """dy = 0 where relu left y = 0, (B, I); dbias, dgain = sums of dy, u dy, (I,)."""
    dgain[:] = 0.0
    dbias[:] = 0.0
    for row in range(dy.shape[0]):
        if relu:
            for i in range(dy.shape[1]):
                dy[row, i] = 0.0 if y[row, i].real <= 0.0 else dy[row, i]
        for i in range(dy.shape[1]):
            dbias[i] += dy[row, i]
            dgain[i] += u[row, i] * dy[row, i]


class LayerNormCache:
    """The arrays of one forward, and of its backward."""

    def __init__(self, batch_size: int, width: int, dtype: np.dtype[Any]) -> None:
        self.u: Array = np.empty((batch_size, width), dtype)
        self.scale: Array = np.empty((batch_size, 1), dtype)
        self.y: Array = np.empty((batch_size, width), dtype)
        self.dx: Array = np.empty((batch_size, width), dtype)


class LayerNorm(Layer):
    """y = gain u + bias, where u is x with mean 0 and variance 1 in each row: (B, I).

    Then a ReLU, with `relu`: this layer stands between a linear layer and its ReLU.
    """

    def __init__(self, width: int, *, relu: bool = False) -> None:
        self.width = width
        self.relu = relu
        self.size = 2 * width

    def bind(self, params: Array, grads: Array) -> None:
        self.gain = params[: self.width]
        self.bias = params[self.width :]
        self.dgain = grads[: self.width]
        self.dbias = grads[self.width :]

    def initialize(self, rng: np.random.Generator) -> None:
        self.gain[:] = 1.0
        self.bias[:] = 0.0

    def new_cache(self, batch_size: int, dtype: np.dtype[Any]) -> LayerNormCache:
        return LayerNormCache(batch_size, self.width, dtype)

    def forward(
        self, x: Array, cache: LayerNormCache, rng: np.random.Generator | None = None
    ) -> Array:
        normalize_rows(
            x, self.gain, self.bias, self.relu, cache.u, cache.scale, cache.y
        )
        return cache.y

    def backward(
        self, dy: Array, cache: LayerNormCache, need_dx: bool = True
    ) -> Array | None:
        """Overwrites dy with the gradient below the ReLU."""
        # y_i = gain_i u_i + bias_i, so dbias_i = sum over B of dy_i,
        # dgain_i = sum over B of u_i dy_i, and du_i = gain_i dy_i
        gain_and_bias_backward(dy, cache.y, cache.u, self.relu, self.dgain, self.dbias)
        if not need_dx:
            return None

        # u_i = (x_i - mean) scale, where mean and scale depend on every x_j:
        # ∂u_i/∂x_j = scale ([i = j] - 1/I - u_i u_j / I), and so
        # dx_j = scale (du_j - mean of du - u_j mean of (du u))
        normalize_rows_backward(dy, self.gain, cache.u, cache.scale, cache.dx)
        return cache.dx
