"""Adam: gradient descent with a step size of its own for each parameter.

    m = beta1 m + (1 - beta1) g        the gradient g, averaged over recent steps
    v = beta2 v + (1 - beta2) g^2      its square, averaged over more of them
    params = params - lr * m' / (sqrt(v') + eps)

m and v, the *moments*, start at 0, which biases them towards 0 in the first steps.
Dividing by 1 - beta^t takes that out: m' = m / (1 - beta1^t), v' = v / (1 - beta2^t).
t counts the steps, from 1 on; all parameters share it. lr is the learning rate; eps, a
small number, keeps the division finite.

Source: Kingma & Ba 2015, "Adam: a method for stochastic optimization",
Algorithm 1. P is the number of parameters.
"""

import math

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array


@kernel
def adam_step(
    params: Array, g: Array, m: Array, v: Array, t: int, lr: float, b1: float, b2: float, eps: float
) -> None:
    """Step number t, from 1 on, which changes params, m and v in place: (P,) each, as g is."""
    # Scalars take the arrays' dtype: with one float64 among them, the loop would be slower.
    number = params.dtype.type
    keep_m, add_m = number(b1), number(1.0 - b1)
    keep_v, add_v = number(b2), number(1.0 - b2)
    correct_m = number(1.0 / (1.0 - b1**t))
    correct_v = number(1.0 / (1.0 - b2**t))
    rate, epsilon = number(lr), number(eps)
    zero, tiny = number(0.0), number(1e-30)

    for i in range(params.size):
        # A parameter without gradient, behind a dead ReLU, lets m and v decay for ever.
        # When they are far too small to matter beside eps, they are set to 0: otherwise
        # they would become denormal numbers, with which the loop takes many times as long.
        mi = keep_m * m[i] + add_m * g[i]
        vi = keep_v * v[i] + add_v * g[i] * g[i]
        m[i] = zero if abs(mi) <= tiny else mi
        v[i] = zero if vi <= tiny else vi
        params[i] -= rate * (correct_m * m[i]) / (np.sqrt(correct_v * v[i]) + epsilon)


class Adam:
    """The moments of one flat parameter vector, and the steps taken so far."""

    def __init__(
        self, params: Array, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8
    ) -> None:
        self.params = params  # the network's own vector, not a copy
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
        self.m = np.zeros_like(params)
        self.v = np.zeros_like(params)
        self.t = 0

    def step(self, grads: Array, lr: float) -> None:
        self.t += 1
        adam_step(self.params, grads, self.m, self.v, self.t, lr, self.beta1, self.beta2, self.eps)


def clip_by_global_norm(grads: Array, max_norm: float) -> float:
    """Shorten `grads`, all as one vector, to at most `max_norm`; return the length before.

    Clipping each array separately would change the direction of the whole; this keeps it
    (Pascanu et al. 2013, "On the difficulty of training recurrent neural networks").
    """
    norm = math.sqrt(grads.dot(grads))
    if norm > max_norm:
        grads *= max_norm / norm
    return norm
