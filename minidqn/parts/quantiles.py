"""Quantile regression, QR-DQN: learn the distribution of returns, not only their mean.

A return is random, and Q is only its mean. QR-DQN learns N values for each action,
theta_1 to theta_N: estimates of the return's quantiles at t_k = (k - 1/2) / N. Their
mean is Q. The targets come from the quantiles of the next state,

    y_j = R + discount * theta_target_j(s', a')

with a' the action of the largest mean. Each pair has an error u = y_j - theta_k. Its
size is weighted by t_k if the target is above theta_k, else by 1 - t_k. The loss is
least where a share t_k of the targets lies below theta_k: this defines a quantile.
(Huber's loss is a parabola up to delta. This draws the quantiles towards the mean,
unless delta is much smaller than their spread.)

    L = mean over batch, k and j of  2 |t_k - [u < 0]| huber(u)

[u < 0] is 1 if u < 0, else 0. With N = 1 the weight is 1, and this is the loss of
targets.py: plain DQN is the case of one quantile. (Dabney sums over k and has no factor
2, and other authors divide by delta; these are only constants.)

Letters: B batch, A actions, N quantiles.
Source: Dabney et al. 2018, "Distributional reinforcement learning with quantile
regression", equations 8 to 10 and Algorithm 1.
"""

from typing import Any

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array


@kernel
def quantile_targets(
    returns: Array, discounts: Array, theta_next: Array, next_actions: Array, y: Array
) -> None:
    """y_j = R + discount * theta_j(s', a'): (B,), (B,), (B, A, N), (B,) to (B, N)."""
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[i, j] = returns[i] + discounts[i] * theta_next[i, next_actions[i], j]


@kernel
def quantile_huber_loss(
    theta: Array,
    actions: Array,
    y: Array,
    weights: Array,
    delta: float,
    dtheta: Array,
    errors: Array,
) -> float:
    """The loss of theta(s, a) against y, and its gradient dtheta, (B, A, N).

    theta (B, A, N), actions (B,), y (B, N), weights (B,). Each row's loss is multiplied
    by its weight. The errors, (B,), are the mean target less Q(s, a).
    huber and its derivative are as in targets.huber_loss.
    """
    batch = theta.shape[0]
    n = theta.shape[2]
    pairs = batch * n * n
    slopes = np.zeros(n)  # of one row, for each k: the weighted sum over j
    losses = np.zeros(n)  # for each k: the weighted sum over rows and j
    above = np.zeros(n)  # 2 t_k, the weight of an error above 0
    for k in range(n):
        above[k] = 2.0 * (k + 0.5) / n
    dtheta[:] = 0.0
    for i in range(batch):
        a = actions[i]
        for j in range(n):
            for k in range(n):
                u = y[i, j] - theta[i, a, k]
                slope = min(max(u, -delta), delta)
                weight = weights[i] * (2.0 - above[k] if u < 0.0 else above[k])
                losses[k] += weight * slope * (u - 0.5 * slope)
                slopes[k] += weight * slope
        errors[i] = 0.0
        for k in range(n):
            dtheta[i, a, k] = -slopes[k] / pairs  # minus, because du/dtheta = -1
            slopes[k] = 0.0
            errors[i] += (y[i, k] - theta[i, a, k]) / n
    loss = 0.0
    for k in range(n):
        loss += losses[k] / pairs
    return loss


class QuantileLoss:
    """The loss of QR-DQN, where the network gives N numbers for each action: (B, A N).

    It replaces targets.HuberLoss, and has the same methods. Their results are arrays
    made once, which the next call overwrites.
    """

    def __init__(
        self,
        batch_size: int,
        n_actions: int,
        dtype: np.dtype[Any],
        delta: float,
        quantiles: int,
    ) -> None:
        self.delta = delta
        self.n_actions = n_actions
        self.y = np.empty((batch_size, quantiles))
        self.dtheta: Array = np.empty((batch_size, n_actions, quantiles), dtype)
        self.errors = np.empty(batch_size)

    def theta(self, outputs: Array) -> Array:
        """The quantiles of each action: (B, A N) to (B, A, N)."""
        return outputs.reshape(len(outputs), self.n_actions, -1)

    def q_values(self, outputs: Array) -> Array:
        """Q(s, .), the mean of each action's quantiles: (B, A N) to (B, A)."""
        q: Array = self.theta(outputs).mean(axis=2)
        return q

    def targets(
        self, returns: Array, discounts: Array, next_outputs: Array, next_actions: Array
    ) -> Array:
        """y_j, the targets of each theta: (B,), (B,), (B, A N), (B,) to (B, N)."""
        theta_next = self.theta(next_outputs)
        quantile_targets(returns, discounts, theta_next, next_actions, self.y)
        return self.y

    def gradient(
        self, outputs: Array, actions: Array, y: Array, weights: Array
    ) -> tuple[float, float, Array, Array]:
        """The mean loss, the mean of max_a Q, the gradient of `outputs`, the errors.

        (B, A N), (B,), (B, N), (B,) to two numbers, (B, A N), (B,).
        """
        theta = self.theta(outputs)
        loss = quantile_huber_loss(
            theta, actions, y, weights, self.delta, self.dtheta, self.errors
        )
        mean_q = float(theta.mean(axis=2).max(axis=1).mean())
        return loss, mean_q, self.dtheta.reshape(outputs.shape), self.errors
