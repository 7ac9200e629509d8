"""Noisy layers: weights with noise, whose size the network learns.

    W_io = M_io + S_io f(e_i) f(e_o)        b_o = m_o + s_o f(e_o)

with e normal and f(e) = sign(e) sqrt(|e|). New noise is drawn for each forward, so the
agent explores. Unlike epsilon, the noise may differ between states: the scales S and s
are learned like the means M and m, so it can shrink where the values are known. I + O
random numbers are enough for I O weights (*factorised* noise).

See nn/layers.py for what a layer is, and for the letters.
Source: Fortunato et al. 2018, "Noisy networks for exploration", section 3.
"""

import math
from typing import Any

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import HE, Array, Layer, Linear, LinearCache


@kernel
def add_noise(
    means: Array, scales: Array, f_in: Array, f_out: Array, noisy: Array
) -> None:
    """noisy = means + scales * f_in f_out: (I + 1, O), (I + 1, O), (I + 1,), (O,)."""
    for i in range(means.shape[0]):
        for o in range(means.shape[1]):
            noisy[i, o] = means[i, o] + scales[i, o] * (f_in[i] * f_out[o])


class NoisyLinear(Layer):
    """A Linear layer on weights with noise: (B, I) to (B, O).

    Forward draws new noise if it is given a generator. Without one, as in DQN.act,
    the weights are their means. The means start as in Linear, the scales at sigma /
    sqrt(I).
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        relu: bool = False,
        gain: float = HE,
        sigma: float = 0.5,
    ) -> None:
        # it computes with the noisy weights and biases
        self.linear = Linear(n_in, n_out, relu=relu, gain=gain)
        self.n_in = n_in
        self.n_out = n_out
        self.relu = relu
        self.sigma = sigma
        self.size = 2 * self.linear.size

    def bind(self, params: Array, grads: Array) -> None:
        half = self.size // 2
        shape = self.n_in + 1, self.n_out  # b lies after W, as one more row
        self.means = params[:half].reshape(shape)
        self.scales = params[half:].reshape(shape)
        self.dmeans = grads[:half].reshape(shape)
        self.dscales = grads[half:].reshape(shape)
        self.weights: Array = np.zeros(shape, params.dtype)
        self.linear.bind(self.weights.reshape(-1), grads[:half])
        # the factors of the last noise; biases have no f_in, so theirs is 1
        self.f_in: Array = np.ones(self.n_in + 1, params.dtype)
        self.f_out: Array = np.zeros(self.n_out, params.dtype)

    @property
    def W(self) -> Array:  # noqa: N802  # the name of the equation
        """The means of the weights, (I, O): a view."""
        weights: Array = self.means[:-1]
        return weights

    @property
    def b(self) -> Array:
        """The means of the biases, (O,): a view."""
        biases: Array = self.means[-1]
        return biases

    def initialize(self, rng: np.random.Generator) -> None:
        self.linear.initialize(rng)
        self.means[:] = self.weights
        self.scales[:] = self.sigma / math.sqrt(self.n_in)

    def new_cache(self, batch_size: int, dtype: np.dtype[Any]) -> LinearCache:
        return self.linear.new_cache(batch_size, dtype)

    def forward(
        self, x: Array, cache: LinearCache, rng: np.random.Generator | None = None
    ) -> Array:
        if rng is None:
            self.f_out[:] = 0.0
        else:
            e = rng.standard_normal(self.n_in + self.n_out)
            f = np.copysign(np.sqrt(np.abs(e)), e)
            self.f_in[:-1] = f[: self.n_in]
            self.f_out[:] = f[self.n_in :]
        add_noise(self.means, self.scales, self.f_in, self.f_out, self.weights)
        return self.linear.forward(x, cache)

    def backward(
        self, dy: Array, cache: LinearCache, need_dx: bool = True
    ) -> Array | None:
        """Overwrites dy. The noise is still that of the last forward."""
        # M_io enters W_io with 1, so dM_io = dW_io, which Linear writes into dmeans;
        # in the same way dm_o = db_o
        dx = self.linear.backward(dy, cache, need_dx)

        # S_io enters W_io with f(e_i) f(e_o), so dS_io = dW_io f(e_i) f(e_o);
        # in the same way ds_o = db_o f(e_o)
        np.multiply(self.dmeans, self.f_in[:, None], out=self.dscales)
        self.dscales *= self.f_out
        return dx
