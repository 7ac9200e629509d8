"""A network on one observation, in one kernel.

To act, an agent passes a single observation through its network. The products are tiny
then: most of the time goes into the calls, layer by layer. So this kernel computes all
Linear layers in one call, from the flat vector of parameters. Its result is that of
their forwards, up to rounding (tests/test_single.py). No backward can follow it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array, Layer, Linear


@kernel
def single_forward(x: Array, params: Array, sizes: Array, h: Array, y: Array) -> None:
    """The Linear layers on x, (1, I), to y, (1, O).

    Each row of `sizes`, (layers, 3), has a layer's inputs, its outputs, and 1 for a
    ReLU. `params` has each layer's W, row by row, and then its b. h is (2, widest
    layer): its rows hold the inputs and the outputs of a layer in turn.
    """
    zero = params.dtype.type(0.0)
    for i in range(x.shape[1]):
        h[0, i] = x[0, i]
    start = 0
    for layer in range(sizes.shape[0]):
        n_in = sizes[layer, 0]
        n_out = sizes[layer, 1]
        relu = sizes[layer, 2] == 1
        middle = start + n_in * n_out
        end = middle + n_out
        W = params[start:middle].reshape((n_in, n_out))
        b = params[middle:end]
        start = end

        x_row = h[layer % 2]
        z = h[(layer + 1) % 2]
        for o in range(n_out):
            z[o] = b[o]
        for i in range(n_in):
            x_i = x_row[i]
            if x_i != zero:  # after a ReLU, half of the inputs are 0
                for o in range(n_out):
                    z[o] += x_i * W[i, o]
        if relu:
            for o in range(n_out):
                z[o] = zero if z[o].real <= 0.0 else z[o]
    last = h[sizes.shape[0] % 2]
    for o in range(y.shape[1]):
        y[0, o] = last[o]


class SinglePass:
    """The forward of one observation through Linear layers: (1, I) to (1, O)."""

    def __init__(self, layers: Sequence[Layer], params: Array) -> None:
        linear: list[Any] = list(layers)
        widest = max(max(layer.n_in, layer.n_out) for layer in linear)
        self.x_shape = (1, linear[0].n_in)
        self.params = params  # of the whole network: layers before have none
        self.sizes = np.array([(la.n_in, la.n_out, la.relu) for la in linear], np.int64)
        self.h: Array = np.empty((2, widest), params.dtype)
        self.y: Array = np.empty((1, linear[-1].n_out), params.dtype)

    def forward(self, x: Array) -> Array:
        """Outputs for one observation. The next forward overwrites them."""
        if x.shape != self.x_shape:
            raise ValueError(f"x has shape {x.shape}: expected {self.x_shape}")
        single_forward(x, self.params, self.sizes, self.h, self.y)
        return self.y


def are_linear(layers: Sequence[Layer]) -> bool:
    """Whether all are Linear layers. A subclass is not: it may compute otherwise."""
    return len(layers) > 0 and all(type(layer) is Linear for layer in layers)
