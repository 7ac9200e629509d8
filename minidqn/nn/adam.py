"""Adam: gradient descent with a separate step size for each parameter.

    m = beta1 m + (1 - beta1) g        the gradient g, averaged over recent steps
    v = beta2 v + (1 - beta2) g^2      its square, averaged over more steps
    params = params - lr * m' / (sqrt(v') + eps)

m and v, the *moments*, start at 0, which biases them towards 0 in the first steps.
Dividing by 1 - beta^t corrects this: m' = m / (1 - beta1^t), v' = v / (1 - beta2^t).
t counts the steps, from 1 on; all parameters share it. lr is the learning rate. eps, a
small number, keeps the division finite.

Source: Kingma & Ba 2015, "Adam: a method for stochastic optimization", Algorithm 1.
P is the number of parameters.
"""

import math

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array

BETA1 = 0.9
BETA2 = 0.999
EPS = 1e-8


@kernel
def adam_step(
    params: Array, grads: Array, m: Array, v: Array, t: int, lr: float
) -> None:
    """Step number t, from 1 on, which changes params, m and v in place: (P,) each."""
    # Numbers take the arrays' dtype: one float64 among them would make the loop slower.
    number = params.dtype.type
    keep_m = number(BETA1)
    add_m = number(1.0 - BETA1)
    keep_v = number(BETA2)
    add_v = number(1.0 - BETA2)
    correct_m = number(1.0 / (1.0 - BETA1**t))
    correct_v = number(1.0 / (1.0 - BETA2**t))
    rate = number(lr)
    eps = number(EPS)
    zero = number(0.0)
    tiny = number(1e-30)

    for i in range(params.size):
        g = grads[i]
        # Without gradients, as behind a dead ReLU, a parameter's m and v keep decaying.
        # When they are far too small to matter beside eps, they are set to 0. Otherwise
        # they would become denormal numbers, which make the loop ten times slower.
        m_i = keep_m * m[i] + add_m * g
        v_i = keep_v * v[i] + add_v * g * g
        m[i] = zero if abs(m_i) <= tiny else m_i
        v[i] = zero if v_i <= tiny else v_i
        params[i] -= rate * (correct_m * m[i]) / (np.sqrt(correct_v * v[i]) + eps)


class Adam:
    """The moments of one flat parameter vector, and the steps taken so far."""

    def __init__(self, params: Array) -> None:
        self.params = params  # the network's own vector, not a copy
        self.m = np.zeros_like(params)
        self.v = np.zeros_like(params)
        self.t = 0

    def step(self, grads: Array, lr: float) -> None:
        """Change the parameters against their gradients, (P,)."""
        self.t += 1
        adam_step(self.params, grads, self.m, self.v, self.t, lr)


def clip_by_global_norm(grads: Array, max_norm: float) -> float:
    """Shorten `grads`, as one vector, to at most `max_norm`; return the length before.

    Clipping each array separately would change the direction of the whole; this keeps
    it (Pascanu et al. 2013, "On the difficulty of training recurrent neural networks").
    """
    norm = math.sqrt(grads.dot(grads))
    if norm > max_norm:
        grads *= max_norm / norm
    return norm
