"""Layers: each a function, and beside it the gradient of that function.

Backpropagation is the chain rule, applied from the last layer to the first. Let
L be the loss, one number. Write dy for the gradient of L with respect to y: an
array of y's shape that says how L changes when an entry of y does. A layer that
computes y = f(x; W) has to give two gradients, from dy:

    dW = dy ∂y/∂W    how L changes with its own parameters
    dx = dy ∂y/∂x    the dy of the layer below

Each backward goes through its forward from the last line to the first. A comment gives
the rule for one entry; the code below it applies the rule to the whole batch. That every
gradient is right is checked in tests/test_network.py.

Forward leaves what backward will need in a `cache`, which the caller passes to both.
So a second forward with another cache does not change the first one's gradients. The
arrays in a cache are used again by the next forward of the same batch size. Three
rules: what forward and backward return belongs to the cache, so copy it to keep it; do not
change x or the parameters before backward has run; and backward may write into dy.

Letters: B batch, I inputs of a layer, O outputs.
Source: Rumelhart, Hinton & Williams 1986, "Learning representations by
back-propagating errors".
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minidqn.nn.jit import kernel

HE = math.sqrt(2.0)  # He's gain; see Linear

Array = NDArray[Any]
Cache = dict[str, Array]  # what one forward of one layer leaves for its backward


def reuse(cache: Cache, name: str, like: Array, width: int, dtype: Any = None) -> Array:
    """`cache[name]`, (B, width), with B = len(like): the old array, or a new one if B changed."""
    array = cache.get(name)
    if array is None or len(array) != len(like):
        array = cache[name] = np.empty((len(like), width), dtype or like.dtype)
    return array


class Layer:
    """What a network asks of a layer: forward and backward; with parameters also the rest.

    Backward sets the gradients of the last forward with that cache; nothing accumulates.
    """

    size = 0  # how many parameters it has
    noisy = False  # whether draw_noise does something
    any_dtype = False  # whether it converts its inputs itself

    def bind(self, params: Array, grads: Array) -> None:
        """Make the layer's parameters and their gradients views of these vectors, (size,)."""

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the first parameters."""

    def draw_noise(self, rng: np.random.Generator, cache: Cache) -> None:
        """Put new noise into `cache`, for the forward passes to come; see NoisyLinear."""

    def forward(self, x: Array, cache: Cache) -> Array:
        """y = f(x): (B, I) to (B, O)."""
        raise NotImplementedError

    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
        """Set the gradients of the parameters; return dx, or None if nobody needs it."""
        raise NotImplementedError


@kernel
def bias_and_relu(y: Array, b: Array, relu: bool) -> None:
    """y += b in every row, (B, O) and (O,); then, with relu, y = max(y, 0).

    NaN stays NaN. Of a complex number, as gradient checks have it, the real part decides.
    """
    for row in range(y.shape[0]):
        for o in range(y.shape[1]):
            z = y[row, o] + b[o]
            y[row, o] = 0.0 if relu and z.real <= 0.0 else z


@kernel
def bias_and_relu_backward(dy: Array, y: Array, db: Array, relu: bool) -> None:
    """dy = 0 where relu left y = 0, (B, O); then db = the sum of dy over its rows, (O,)."""
    db[:] = 0.0
    for row in range(dy.shape[0]):
        if relu:
            for o in range(dy.shape[1]):
                dy[row, o] = 0.0 if y[row, o] <= 0.0 else dy[row, o]
        for o in range(dy.shape[1]):
            db[o] += dy[row, o]


class Linear(Layer):
    """z = x W + b, a weighted sum of the inputs for each output; y = z, or max(z, 0) with relu.

    Without a ReLU between them, two linear layers would be one linear layer. The ReLU
    is in this layer so that one pass over y does both.

    The weights start as N(0, gain^2 / I). gain = sqrt(2) keeps the mean square of the
    signal, which each ReLU halves (He et al. 2015, "Delving deep into rectifiers"). He's
    biases start at 0; with the few inputs of a control task, random ones work better, so
    here they are uniform within +- gain / sqrt(2 I).
    """

    def __init__(self, n_in: int, n_out: int, *, relu: bool = False, gain: float = HE) -> None:
        self.n_in, self.n_out, self.relu, self.gain = n_in, n_out, relu, gain
        self.size = n_in * n_out + n_out

    def bind(self, params: Array, grads: Array) -> None:
        split = self.n_in * self.n_out
        self.W, self.b = params[:split].reshape(self.n_in, self.n_out), params[split:]
        self.dW, self.db = grads[:split].reshape(self.n_in, self.n_out), grads[split:]

    def initialize(self, rng: np.random.Generator) -> None:
        self.W[:] = rng.normal(0.0, self.gain / math.sqrt(self.n_in), self.W.shape)
        reach = self.gain / math.sqrt(2.0 * self.n_in)
        self.b[:] = rng.uniform(-reach, reach, self.b.shape)

    def forward(self, x: Array, cache: Cache) -> Array:
        return self.apply(self.W, self.b, x, cache)

    def apply(self, W: Array, b: Array, x: Array, cache: Cache) -> Array:
        """Forward with these weights: (I, O), (O,), (B, I) to (B, O)."""
        cache["x"], cache["W"] = x, W  # W too, for NoisyLinear's is another one each time
        y = reuse(cache, "y", x, self.n_out)  # (B, O)
        x.dot(W, out=y)
        bias_and_relu(y, b, self.relu)
        return y

    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
        """Overwrites dy with dz."""
        x, W, y = cache["x"], cache["W"], cache["y"]  # (B, I), (I, O), (B, O)

        # y = max(z, 0): ∂y/∂z is 1 where z > 0 and 0 where z < 0. At z = 0 any value from
        # 0 to 1 would do; like everyone, we take 0.
        # z_o = ... + b_o in every row of the batch, so db_o = sum over B of dz_o
        bias_and_relu_backward(dy, y, self.db, self.relu)
        dz = dy  # (B, O)

        # z_o = ... + x_i W_io + ..., so dW_io = sum over B of x_i dz_o
        x.T.dot(dz, out=self.dW)  # (I, O)

        # x_i enters every z_o with weight W_io, so dx_i = sum over O of W_io dz_o
        if not need_dx:
            return None
        dx = reuse(cache, "dx", dz, self.n_in)  # (B, I)
        dz.dot(W.T, out=dx)
        return dx


class Flatten(Layer):
    """y = x with each observation laid out as one row, (B, ...) to (B, I)."""

    def forward(self, x: Array, cache: Cache) -> Array:
        cache["x"] = x
        return x.reshape(len(x), -1)

    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
        return dy.reshape(cache["x"].shape)


@kernel
def scale_and_shift(x: Array, scale: Array, shift: Array, y: Array) -> None:
    """y = scale x + shift in every row, (B, I) and (I,)."""
    for row in range(x.shape[0]):
        for i in range(x.shape[1]):
            y[row, i] = scale[i] * x[row, i] + shift[i]


class Normalize(Layer):
    """y = scale x + shift, (B, I): maps each entry from its range, low to high, to -1 to 1.

    A weight's gradient grows with its input: beside a speed of 3, an angle of 0.2 would
    hardly count, and bytes up to 255 would dominate. Normalising helps where the bounds
    are close to the values seen, as with CartPole's angle; where they are far wider, as
    with Acrobot's speeds, it makes things worse. An entry without bounds, or with bounds
    beyond a million, is left as it is.
    """

    def __init__(self, low: Array, high: Array) -> None:
        known = (low > -1e6) & (low < high) & (high < 1e6)
        low, high = np.where(known, low, -1.0), np.where(known, high, 1.0)
        self.scale = 2.0 / (high - low).reshape(-1)  # (I,)
        self.shift = -0.5 * self.scale * (high + low).reshape(-1)  # (I,)

    def bind(self, params: Array, grads: Array) -> None:
        # there are no parameters, but here the layer learns the network's dtype
        self.scale, self.shift = self.scale.astype(params.dtype), self.shift.astype(params.dtype)

    def forward(self, x: Array, cache: Cache) -> Array:
        y = reuse(cache, "y", x, len(self.scale))  # (B, I)
        scale_and_shift(x, self.scale, self.shift, y)
        return y

    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
        # y_i = scale_i x_i + shift_i, so dx_i = scale_i dy_i
        return dy * self.scale  # (B, I)
