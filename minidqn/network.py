"""A stack of layers over one flat parameter vector.

The network owns `params` and `grads`, each one contiguous 1-D array; every
weight and bias is a view of a stretch of it. So the optimiser is one loop, a
target network is synchronised by `target.params[:] = online.params`, a soft
update, a gradient norm or a checkpoint is one line, and a gradient check
perturbs one vector.

The price is one rule: write into the vectors (`params[:] = ...`), never rebind
them, and copy a network by building a second one. deepcopy and pickle would give each
view memory of its own, and so are refused.

Letters: B batch, D observation, A actions, P parameters.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from minidqn.layers import (
    Array,
    Cache,
    Dueling,
    Flatten,
    LayerNorm,
    Linear,
    NoisyLinear,
    Normalize,
)


class Layer(Protocol):
    """What the network asks of a layer: see layers.py for what each part means."""

    @property
    def size(self) -> int: ...
    def bind(self, params: Array, grads: Array) -> None: ...
    def initialize(self, rng: np.random.Generator) -> None: ...
    def forward(self, x: Array, cache: Cache) -> Array: ...
    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None: ...


class Network:
    """Layers applied in order; the same dtype throughout.

    float32 is for training, float64 for gradient checks, and complex128 for
    complex-step derivatives.
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
        self.noisy = [(i, la) for i, la in enumerate(self.layers) if isinstance(la, NoisyLinear)]
        # below the first layer with parameters nobody needs a gradient
        self.first = next((i for i, layer in enumerate(self.layers) if layer.size), 0)

    def initialize(self, rng: np.random.Generator) -> None:
        for layer in self.layers:
            layer.initialize(rng)

    def draw_noise(self, rng: np.random.Generator, cache: list[Cache]) -> None:
        """New noise for the passes that use `cache`, if a layer is noisy; see NoisyLinear."""
        for i, layer in self.noisy:
            layer.draw_noise(rng, cache[i])

    def cache(self) -> list[Cache]:
        """A fresh cache: one for each use whose forward passes must not meet."""
        return [{} for _ in self.layers]

    def forward(self, x: Array, cache: list[Cache] | None = None) -> Array:
        """Outputs for a batch: (B, ...) to (B, A). With a cache, the result lives in it."""
        h = x if x.dtype == self.params.dtype else x.astype(self.params.dtype)
        cache = cache or self.cache()
        for i, layer in enumerate(self.layers):
            h = layer.forward(h, cache[i])
        return h

    def backward(self, dy: Array, cache: list[Cache]) -> None:
        """Set `grads` from dy = dL/dy, (B, A), for the forward pass that filled `cache`.

        The gradients overwrite the last ones: nothing accumulates. dy may be overwritten too.
        """
        dh: Array | None = dy
        for i in range(len(self.layers) - 1, self.first - 1, -1):
            assert dh is not None  # each layer but the first one was asked for it
            dh = self.layers[i].backward(dh, cache[i], i > self.first)

    def __reduce__(self) -> Any:
        raise TypeError("a copy would detach the views: build a second network, set its params[:]")


def mlp(
    obs_shape: tuple[int, ...],
    hidden: Sequence[int],
    n_actions: int,
    final_gain: float = math.sqrt(2.0),
    bounds: tuple[Array, Array] | None = None,
    dtype: DTypeLike = np.float32,
    *,
    quantiles: int = 1,
    dueling: bool = False,
    layer_norm: bool = False,
    noisy: bool = False,
) -> Network:
    """The usual Q-network: a ReLU after each hidden layer, one Q-value for each action.

    A small `final_gain` starts every Q-value near 0, so that the first targets are
    the rewards themselves and not the noise of the initial weights. With `bounds`,
    the low and high of each entry, observations are normalised first. With more
    `quantiles` than 1 each action has so many outputs side by side, (B, A N).
    """
    linear = NoisyLinear if noisy else Linear
    layers: list[Layer] = []
    if len(obs_shape) != 1:
        layers.append(Flatten())
    if bounds is not None:
        layers.append(Normalize(*bounds))
    width = math.prod(obs_shape)
    for n_out in hidden:
        layers.append(linear(width, n_out, relu=not layer_norm))
        if layer_norm:
            layers.append(LayerNorm(n_out, relu=True))
        width = n_out
    layers.append(linear(width, (n_actions + dueling) * quantiles, gain=final_gain))
    if dueling:
        layers.append(Dueling(n_actions, quantiles))
    return Network(layers, dtype)
