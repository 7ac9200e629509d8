"""Layers: each has a function, and the gradient of that function.

Backpropagation is the chain rule, applied from the last layer to the first. Let L be
the loss, one number. Write dy for the gradient of L with respect to y: an array of y's
shape that says how L changes when an entry of y does. A layer that computes
y = f(x; W) has to give two gradients, from dy:

    dW = dy ∂y/∂W    how L changes with the layer's own parameters
    dx = dy ∂y/∂x    the dy of the layer below

Each backward goes through its forward from the last line to the first. A comment gives
the rule for one entry, and the code below it applies the rule to the whole batch.
tests/test_network.py checks the gradient of every parameter by the complex step: for a
tiny h, the derivative of L is Im L(p + ih) / h, exact up to rounding.

Forward stores the arrays that backward needs in a *cache*. They are made once for a
batch size, and then used again. So there are three rules:

- The arrays that forward and backward return belong to the cache. Copy what you keep.
- Do not change x or the parameters between a forward and its backward.
- Backward may write into dy.

Letters: B batch, I inputs of a layer, O outputs.
Source: Rumelhart, Hinton & Williams 1986, "Learning representations by
back-propagating errors".
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidqn.nn.jit import kernel

Array = NDArray[Any]

HE = math.sqrt(2.0)  # He's gain; see Linear


class Layer:
    """The methods that a network needs of a layer.

    Each layer has new_cache, forward and backward; one with parameters also a size,
    bind and initialize. parts/qnetwork.py puts layers together for DQN.
    """

    size = 0  # how many parameters it has
    takes_any_dtype = False  # whether forward converts its inputs itself

    def bind(self, params: Array, grads: Array) -> None:
        """Make the parameters and their gradients views of these vectors, (size,)."""

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the first parameters."""

    def new_cache(self, batch_size: int, dtype: np.dtype[Any]) -> Any:
        """The arrays that one forward and its backward fill."""
        raise NotImplementedError

    def forward(
        self, x: Array, cache: Any, rng: np.random.Generator | None = None
    ) -> Array:
        """y = f(x): (B, I) to (B, O).

        A noisy layer draws its noise from `rng`; if that is None, there is no noise.
        """
        raise NotImplementedError

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        """Set the gradients of the parameters, and return dx: (B, O) to (B, I).

        The gradients are those of the last forward with this cache, and replace older
        ones. Without `need_dx`, it may return None.
        """
        raise NotImplementedError


@kernel
def add_bias(y: Array, b: Array, relu: bool) -> None:
    """y += b in every row, (B, O) and (O,); then, with relu, y = max(y, 0).

    NaN stays NaN. In a gradient check y may be complex: then its real part decides.
    """
    for row in range(y.shape[0]):
        for o in range(y.shape[1]):
            z = y[row, o] + b[o]
            y[row, o] = 0.0 if relu and z.real <= 0.0 else z


@kernel
def add_bias_backward(dy: Array, y: Array, db: Array, relu: bool) -> None:
    """Backward: dy = 0 where relu left y = 0, (B, O); db = sum of its rows, (O,).

    y is the result of add_bias.
    """
    db[:] = 0.0
    for row in range(dy.shape[0]):
        if relu:
            for o in range(dy.shape[1]):
                dy[row, o] = 0.0 if y[row, o].real <= 0.0 else dy[row, o]
        for o in range(dy.shape[1]):
            db[o] += dy[row, o]


class LinearCache:
    """The arrays of one forward of a Linear layer, and of its backward."""

    def __init__(self, batch_size: int, layer: "Linear", dtype: np.dtype[Any]) -> None:
        self.x: Any = None  # (B, I), the input of forward
        self.y: Array = np.empty((batch_size, layer.n_out), dtype)  # (B, O)
        self.dx: Array = np.empty((batch_size, layer.n_in), dtype)  # (B, I)


class Linear(Layer):
    """z = x W + b, a weighted sum of the inputs for each output: (B, I) to (B, O).

    y = z, or max(z, 0) with `relu`. Without a ReLU between them, two linear layers
    would be one linear layer. The ReLU is in this layer so that one pass over y does
    both.

    The weights start as N(0, gain^2 / I). gain = sqrt(2) keeps the mean square of the
    signal, which each ReLU halves (He et al. 2015, "Delving deep into rectifiers").
    He's biases start at 0. With the few inputs of a control task, random ones work
    better: here they are uniform within +- gain / sqrt(2 I).
    """

    def __init__(
        self, n_in: int, n_out: int, *, relu: bool = False, gain: float = HE
    ) -> None:
        self.n_in = n_in
        self.n_out = n_out
        self.relu = relu
        self.gain = gain
        self.size = n_in * n_out + n_out

    def bind(self, params: Array, grads: Array) -> None:
        split = self.n_in * self.n_out
        self.W = params[:split].reshape(self.n_in, self.n_out)
        self.b = params[split:]
        self.dW = grads[:split].reshape(self.n_in, self.n_out)
        self.db = grads[split:]

    def initialize(self, rng: np.random.Generator) -> None:
        self.W[:] = rng.normal(0.0, self.gain / math.sqrt(self.n_in), self.W.shape)
        reach = self.gain / math.sqrt(2.0 * self.n_in)
        self.b[:] = rng.uniform(-reach, reach, self.b.shape)

    def new_cache(self, batch_size: int, dtype: np.dtype[Any]) -> LinearCache:
        return LinearCache(batch_size, self, dtype)

    def forward(
        self, x: Array, cache: LinearCache, rng: np.random.Generator | None = None
    ) -> Array:
        cache.x = x
        y = cache.y
        x.dot(self.W, out=y)  # (B, O)
        add_bias(y, self.b, self.relu)
        return y

    def backward(
        self, dy: Array, cache: LinearCache, need_dx: bool = True
    ) -> Array | None:
        """Overwrites dy with dz."""
        # y = max(z, 0): ∂y/∂z is 1 where z > 0 and 0 where z < 0. At z = 0, any value
        # from 0 to 1 is allowed; we take 0, as is usual.
        # z_o = ... + b_o in every row of the batch, so db_o = sum over B of dz_o
        add_bias_backward(dy, cache.y, self.db, self.relu)
        dz = dy  # (B, O)

        # z_o = ... + x_i W_io + ..., so dW_io = sum over B of x_i dz_o
        cache.x.T.dot(dz, out=self.dW)  # (I, O)

        # x_i enters every z_o with weight W_io, so dx_i = sum over O of W_io dz_o
        if not need_dx:
            return None
        dz.dot(self.W.T, out=cache.dx)  # (B, I)
        return cache.dx
