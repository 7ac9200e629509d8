"""A stack of layers over one flat parameter vector.

The network owns `params` and `grads`, each a contiguous 1-D array. Every weight and
bias is a view of a part of it. So the optimiser is one loop, a target network is
synchronised by `target.params[:] = online.params`, a gradient norm or a checkpoint is
one line, and a gradient check perturbs one vector.

The price: write into the vectors (`params[:] = ...`), never rebind them,
and copy a network by building a second one. deepcopy and pickle would copy each view
separately, so they raise TypeError.

Letters: B batch, I inputs, O outputs, P parameters.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array, Layer
from minidqn.nn.single import SinglePass, are_linear

KEPT_BATCH_SIZES = 4  # how many sets of caches are kept


@kernel
def move(params: Array, goal: Array, tau: float) -> None:
    """params += tau (goal - params), (P,): in one pass, where NumPy takes several."""
    part = params.dtype.type(tau)
    for i in range(params.size):
        if tau == 1.0:
            params[i] = goal[i]  # x + (y - x) need not be y
        else:
            params[i] += part * (goal[i] - params[i])


class Network:
    """Layers applied in order; the same dtype throughout.

    float32 is for training; float64 and complex128 are for gradient checks, by the
    complex step.
    """

    def __init__(self, layers: Sequence[Layer], dtype: DTypeLike = np.float32) -> None:
        self.layers = list(layers)
        size = sum(layer.size for layer in self.layers)
        self.params: Array = np.zeros(size, dtype)  # (P,)
        self.grads: Array = np.zeros(size, dtype)  # (P,)
        self.dtype = self.params.dtype
        start = 0
        for layer in self.layers:
            end = start + layer.size
            layer.bind(self.params[start:end], self.grads[start:end])
            start = end

        # no gradient is needed below the first layer with parameters
        sizes = [layer.size for layer in self.layers]
        self.first = next((i for i, size in enumerate(sizes) if size > 0), 0)
        # a cache for each layer, by batch size; and those of the last forward
        self.caches: dict[int, list[Any]] = {}
        self.last_caches: list[Any] = []
        # a faster forward for one observation, if all layers from `first` on are Linear
        self.single_pass: SinglePass | None = None
        if are_linear(self.layers[self.first :]):
            self.single_pass = SinglePass(self.layers[self.first :], self.params)

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw the first parameters of every layer."""
        for layer in self.layers:
            layer.initialize(rng)

    def forward(self, x: Array, rng: np.random.Generator | None = None) -> Array:
        """Outputs for a batch: (B, ...) to (B, O).

        The next forward overwrites them, also that of a network that shares the caches.
        A noisy layer draws its noise from `rng`; if that is None, there is no noise.
        """
        self.last_caches = self.caches_for(len(x))
        return self.through_layers(x, self.last_caches, rng)

    def predict(self, x: Array, rng: np.random.Generator | None = None) -> Array:
        """The outputs of forward, if no backward follows: faster for one observation.

        It overwrites the caches of an earlier forward of the same batch size, and the
        noise of noisy layers. So run the backward of that forward first.
        """
        if len(x) == 1 and self.single_pass is not None:
            return self.predict_single(x, self.single_pass)
        return self.through_layers(x, self.caches_for(len(x)), rng)

    def through_layers(
        self, x: Array, caches: list[Any], rng: np.random.Generator | None
    ) -> Array:
        h = self.converted(x)
        for layer, cache in zip(self.layers, caches, strict=True):
            h = layer.forward(h, cache, rng)
        return h

    def predict_single(self, x: Array, single_pass: SinglePass) -> Array:
        h = self.converted(x)
        if self.first > 0:
            caches = self.caches_for(1)
            for i in range(self.first):
                h = self.layers[i].forward(h, caches[i])
        return single_pass.forward(h)

    def backward(self, dy: Array) -> None:
        """Set `grads` for the last forward, from the gradient of its outputs, (B, O).

        New gradients overwrite the old: nothing accumulates. dy may be overwritten too.
        """
        dh: Any = dy
        for i in range(len(self.layers) - 1, self.first - 1, -1):
            need_dx = i > self.first
            dh = self.layers[i].backward(dh, self.last_caches[i], need_dx)

    def move_towards(self, other: "Network", tau: float) -> None:
        """Go to the other's parameters: all the way with tau = 1, else part of it."""
        move(self.params, other.params, tau)

    def converted(self, x: Array) -> Array:
        """x in the network's dtype, unless the first layer converts it."""
        if x.dtype == self.dtype or self.layers[0].takes_any_dtype:
            return x
        return x.astype(self.dtype)

    def caches_for(self, batch_size: int) -> list[Any]:
        """The caches of all layers for this batch size, made at its first use."""
        if batch_size in self.caches:
            return self.caches[batch_size]
        if len(self.caches) >= KEPT_BATCH_SIZES:
            del self.caches[max(self.caches)]  # the one that takes most memory
        caches = [layer.new_cache(batch_size, self.dtype) for layer in self.layers]
        self.caches[batch_size] = caches
        return caches

    def share_caches(self, other: "Network") -> None:
        """Use the arrays of another network with the same layers, to save memory.

        A forward of one then overwrites the results of the other's last forward.
        """
        self.caches = other.caches

    def __reduce__(self) -> Any:
        raise TypeError(
            "a copy would detach the views: build a second network, set its params[:]"
        )
