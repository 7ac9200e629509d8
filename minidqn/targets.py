"""What Q-learning regresses on, and the gradient of its loss.

The optimal action values obey Bellman's equation: Q*(s, a) is the reward plus
gamma times the best Q* of the next state. DQN reads the right-hand side off the
target network, a copy that follows late, and regresses the left-hand side on it:

    y = R + discount * max_a Q_target(s', a)
    L = mean over the batch of huber(Q(s, a) - y)

R sums up to n rewards and s' is where they end; discount is gamma^k after k
rewards, or 0 when the episode *terminated* there, for then no future is left to
value (replay.py works out all three). y is a constant: no gradient flows
through it, although the network behind it is a copy of the one that learns.

Letters: B batch, A actions.
Sources: Mnih et al. 2015, "Human-level control through deep reinforcement
learning", Algorithm 1; van Hasselt et al. 2016, "Deep reinforcement learning
with Double Q-learning", for the Double targets.
"""

import numpy as np

from minidqn.jit import kernel
from minidqn.layers import Array


@kernel
def greedy(q: Array, i: int) -> int:
    """The first of the best actions in row i of q, (B, A)."""
    best = 0
    for a in range(1, q.shape[1]):
        if q[i, a] > q[i, best]:
            best = a
    return best


@kernel
def td_targets(returns: Array, discounts: Array, q_next: Array) -> Array:
    """y = R + discount * max_a q_next: (B,), (B,), (B, A) to (B,)."""
    y = np.empty_like(returns)
    for i in range(len(y)):
        y[i] = returns[i] + discounts[i] * q_next[i, greedy(q_next, i)]
    return y


@kernel
def double_td_targets(
    returns: Array, discounts: Array, q_next_online: Array, q_next_target: Array
) -> Array:
    """Double DQN: the online network picks the action, the target network values it.

    The maximum of noisy estimates is too high on average, for it picks the noise
    as well. Two networks seldom share their noise. (B,), (B,), (B, A), (B, A) to (B,).
    """
    y = np.empty_like(returns)
    for i in range(len(y)):
        y[i] = returns[i] + discounts[i] * q_next_target[i, greedy(q_next_online, i)]
    return y


@kernel
def huber_loss(q: Array, actions: Array, targets: Array, delta: float) -> tuple[float, Array]:
    """The mean loss of Q(s, a) against its target, and dq: (B, A), (B,), (B,) to (B, A).

    With the error e = Q(s, a) - y, Huber's loss is e^2 / 2 up to |e| = delta and
    goes on as a straight line, delta (|e| - delta / 2): one wild target cannot
    throw the network far. Its derivative is e, clipped to [-delta, delta].
    delta = inf is half the mean squared error. The actions not taken have no
    target, and so no gradient.
    """
    batch = len(q)
    dq = np.zeros_like(q)
    loss = 0.0
    for i in range(batch):
        e = q[i, actions[i]] - targets[i]
        if abs(e) <= delta:
            loss += 0.5 * e * e
        else:
            loss += delta * (abs(e) - 0.5 * delta)
        dq[i, actions[i]] = min(max(e, -delta), delta) / batch
    return loss / batch, dq


@kernel
def mean_max(q: Array) -> float:
    """The mean over the batch of max_a Q(s, a), the usual sign of values running away."""
    total = 0.0
    for i in range(len(q)):
        total += q[i, greedy(q, i)]
    return total / len(q)
