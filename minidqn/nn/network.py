"""A stack of layers over one flat parameter vector.

The network owns `params` and `grads`, each one contiguous 1-D array; every
weight and bias is a view of a part of it. So the optimiser is one loop, a
target network is synchronised by `target.params[:] = online.params`, a soft
update, a gradient norm or a checkpoint is one line, and a gradient check
perturbs one vector.

The price is one rule: write into the vectors (`params[:] = ...`), never rebind
them, and copy a network by building a second one. deepcopy and pickle would copy each
view separately, so they raise TypeError.

Letters: B batch, O outputs, P parameters.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array, Cache, Layer


@kernel
def move(params: Array, other: Array, tau: float) -> None:
    """params += tau (other - params), (P,): in one pass, where NumPy takes several."""
    part = params.dtype.type(tau)
    for i in range(params.size):
        step = part * (other[i] - params[i])
        params[i] = other[i] if tau == 1.0 else params[i] + step  # x + (y - x) need not be y


class Network:
    """Layers applied in order; the same dtype throughout.

    float32 is for training, float64 and complex128 are for gradient checks.
    """

    def __init__(self, layers: Sequence[Layer], dtype: DTypeLike = np.float32) -> None:
        self.layers = list(layers)
        size = sum(layer.size for layer in self.layers)
        self.params: Array = np.zeros(size, dtype)  # (P,)
        self.grads: Array = np.zeros(size, dtype)  # (P,)
        start = 0
        for layer in self.layers:
            stretch = slice(start, start + layer.size)
            layer.bind(self.params[stretch], self.grads[stretch])
            start += layer.size

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the first parameters of every layer."""
        for layer in self.layers:
            layer.initialize(rng)

    def forward(self, x: Array) -> Array:
        """Outputs for a batch, (B, ...) to (B, O), when no backward is to follow."""
        return Pass(self).forward(x)

    def move_towards(self, other: "Network", tau: float) -> None:
        """Go from these parameters to the other's: all the way with tau = 1, else a part of it."""
        move(self.params, other.params, tau)

    def __reduce__(self) -> Any:
        raise TypeError("a copy would detach the views: build a second network, set its params[:]")


class Pass:
    """Forward and backward through a network, with caches that no other pass overwrites.

    Or with those of another pass, to save memory, if the layers are of the same kinds and sizes.
    Then each forward overwrites what the last one left, so backward comes right after its own.
    """

    def __init__(self, network: Network, caches: list[Cache] | None = None) -> None:
        self.dtype, self.as_is = network.params.dtype, network.layers[0].any_dtype
        self.caches = caches or [{} for _ in network.layers]
        # the way down ends at the first layer with parameters: nobody needs its dx
        first = next((i for i, layer in enumerate(network.layers) if layer.size), 0)
        self.up = list(zip(network.layers, self.caches, strict=True))
        self.noisy = [(layer, cache) for layer, cache in self.up if layer.noisy]
        self.down = [(*self.up[i], i > first) for i in range(len(self.up) - 1, first - 1, -1)]

    def forward(self, x: Array) -> Array:
        """Outputs for a batch: (B, ...) to (B, O). The next forward overwrites them."""
        h = x if self.as_is or x.dtype == self.dtype else x.astype(self.dtype)
        for layer, cache in self.up:
            h = layer.forward(h, cache)
        return h

    def backward(self, dy: Array) -> None:
        """Set the network's `grads` from dy, (B, O), for the last forward.

        New gradients overwrite the old: nothing accumulates. dy may be overwritten too.
        """
        dh: Any = dy
        for layer, cache, need_dx in self.down:
            dh = layer.backward(dh, cache, need_dx)

    def draw_noise(self, rng: np.random.Generator) -> None:
        """New noise for the forwards to come, if the network has noisy layers."""
        for layer, cache in self.noisy:
            layer.draw_noise(rng, cache)
