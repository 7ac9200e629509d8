"""The regression targets of Q-learning, its loss, and the gradient of the loss.

The optimal action values obey Bellman's equation:

    Q*(s, a) = mean of  reward + gamma max_a' Q*(s', a')

DQN takes the right-hand side from the target network, which follows the online network
slowly, and fits the online network to it:

    y = R + discount * Q_target(s', a')
    L = mean over the batch of huber(y - Q(s, a))

y is the *TD target* and y - Q(s, a) the *TD error* (temporal difference).

R sums at most n rewards, and s' is the state after them. The discount is gamma^k after
k rewards, or 0 if the episode *terminated* in s', because no reward follows. (batch.py
computes all three.) a' is the best action in s', chosen by `DQN.targets`. y is treated
as a constant: no gradient flows through it, although it comes from a network, too.

Letters: B batch, A actions.
Source: Mnih et al. 2015, "Human-level control through deep reinforcement learning",
Algorithm 1.
"""

from typing import Any

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array


@kernel
def td_targets(
    returns: Array, discounts: Array, q_next: Array, next_actions: Array, y: Array
) -> None:
    """y = R + discount * Q(s', a'): (B,), (B,), (B, A), (B,) to (B,)."""
    for i in range(len(y)):
        y[i] = returns[i] + discounts[i] * q_next[i, next_actions[i]]


@kernel
def huber_loss(
    q: Array,
    actions: Array,
    y: Array,
    weights: Array,
    delta: float,
    dq: Array,
    errors: Array,
) -> tuple[float, float]:
    """The loss of Q(s, a) against y, its gradient dq, (B, A), and the errors, (B,).

    q (B, A), actions, y and weights (B,). Each row's loss is multiplied by its weight.
    Returns the mean loss, and the mean over the batch of max_a Q(s, a).

    Huber's loss of an error u is u^2 / 2 up to |u| = delta, and goes on as a straight
    line, delta (|u| - delta / 2): one extreme target changes the network little. Let
    slope be u, clipped to [-delta, delta]. Then both pieces are slope (u - slope / 2),
    and slope is the derivative. delta = inf is half the squared error. The actions that
    were not taken have no target, and so no gradient.
    """
    batch = len(q)
    loss = 0.0
    total_q = 0.0
    for i in range(batch):
        best = q[i, 0]
        for a in range(q.shape[1]):
            best = max(best, q[i, a])
            dq[i, a] = 0.0
        total_q += best

        u = y[i] - q[i, actions[i]]
        slope = min(max(u, -delta), delta)
        loss += weights[i] * slope * (u - 0.5 * slope)
        dq[i, actions[i]] = -weights[i] * slope / batch  # minus, because du/dq = -1
        errors[i] = u
    return loss / batch, total_q / batch


class HuberLoss:
    """The loss of plain DQN: the network gives one number for each action, Q(s, a).

    parts/quantiles.py has another, with the same methods. Their results are arrays made
    once, which the next call overwrites.
    """

    def __init__(
        self, batch_size: int, n_actions: int, dtype: np.dtype[Any], delta: float
    ) -> None:
        self.delta = delta
        self.y = np.empty(batch_size)  # (B,)
        self.dq: Array = np.empty((batch_size, n_actions), dtype)  # (B, A)
        self.errors = np.empty(batch_size)  # (B,)

    def q_values(self, outputs: Array) -> Array:
        """Q(s, .), from what a network gave: (B, A)."""
        return outputs

    def targets(
        self, returns: Array, discounts: Array, next_outputs: Array, next_actions: Array
    ) -> Array:
        """y, the targets of Q(s, a): (B,), (B,), (B, A), (B,) to (B,)."""
        td_targets(returns, discounts, next_outputs, next_actions, self.y)
        return self.y

    def gradient(
        self, outputs: Array, actions: Array, y: Array, weights: Array
    ) -> tuple[float, float, Array, Array]:
        """The mean loss, the mean of max_a Q, the gradient of `outputs`, the errors.

        (B, A), (B,), (B,), (B,) to two numbers, (B, A), (B,).
        """
        loss, mean_q = huber_loss(
            outputs, actions, y, weights, self.delta, self.dq, self.errors
        )
        return loss, mean_q, self.dq, self.errors
