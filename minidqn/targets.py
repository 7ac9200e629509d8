"""What Q-learning regresses on, and the gradient of its loss.

The optimal action values obey Bellman's equation: Q*(s, a) is the mean of the reward plus
gamma times the best Q* of the next state. DQN takes the right-hand side from the target
network, a copy that follows late, and fits the left-hand side to it:

    y = R + discount * max_a Q_target(s', a)
    L = mean over the batch of huber(y - Q(s, a))

R sums at most n rewards, and s' is where they end. discount is gamma^k after k rewards,
or 0 when the episode *terminated* there, for then no future is left to value (batch.py
works out all three). y is a constant: no gradient flows through it, although the network
behind it is a copy of the one that learns.

*Double DQN.* The maximum of noisy estimates is too high on average: noise decides which
is largest. So the online network selects the action (`q_select` in the code) and the
target network evaluates it (`theta_next`). It helps as far as their noise differs.

    y = R + discount * Q_target(s', argmax_a Q_online(s', a))

*Quantile regression (QR-DQN).* A return is random, and its mean is all that Q tells.
Give each action N values instead, theta_1 to theta_N, which are to be the return's
quantiles at t_k = (k - 1/2) / N; their mean is Q. The targets are the quantiles of what
follows, y_j = R + discount * theta_target_j(s', a*), with a* the best action, and each
pair has an error u = y_j - theta_k. Weight the size of u by t_k if the target is above
theta_k, else by 1 - t_k. The loss is least where a share t_k of the targets lies below
theta_k: that is what a quantile is. (Huber's loss is a parabola up to delta. Unless delta
is small against their spread, this draws the quantiles towards the mean.)

    L = mean over batch, k and j of  2 |t_k - [u < 0]| huber(u)

[u < 0] is 1 if u < 0, else 0. With N = 1 the weight is 1, and this is the loss of DQN
above: one rule for both, DQN is the case of one quantile. (Dabney sums over k and has no
factor 2, others divide by delta; those are constants.)

Letters: B batch, A actions, N quantiles.
Sources: Mnih et al. 2015, "Human-level control through deep reinforcement
learning", Algorithm 1; van Hasselt et al. 2016, "Deep reinforcement learning
with Double Q-learning"; Dabney et al. 2018, "Distributional reinforcement learning
with quantile regression", equations 8 to 10 and Algorithm 1.
"""

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array
from minidqn.policy import greedy


def mean_of_quantiles(theta: Array) -> Array:
    """Q(s, .), the mean of each action's quantiles: (B, A, N) to (B, A)."""
    q: Array = theta[:, :, 0] if theta.shape[2] == 1 else theta.mean(axis=2)
    return q


@kernel
def td_targets(
    returns: Array, discounts: Array, q_select: Array, mask: Array, theta_next: Array
) -> Array:
    """y_j = R + discount * theta_j(s', a*), with a* the best action that `mask` allows.

    returns and discounts (B,), q_select and mask (B, A), theta_next (B, A, N) to y (B, N).
    `q_select` is Q(s', .) of the target network, or in Double DQN of the online network.
    """
    best = greedy(q_select, mask)  # (B,)
    y = np.empty((len(returns), theta_next.shape[2]), returns.dtype)
    for i in range(len(y)):
        for j in range(y.shape[1]):
            y[i, j] = returns[i] + discounts[i] * theta_next[i, best[i], j]
    return y


@kernel
def quantile_huber_loss(
    theta: Array, actions: Array, targets: Array, weights: Array, delta: float
) -> tuple[float, Array, Array]:
    """The loss of theta(s, a) against its targets, the gradient, and each row's mean error.

    theta (B, A, N), actions (B,), targets (B, N), weights (B,) to the loss, dtheta (B, A, N)
    and errors (B,), the mean target less Q(s, a). Each row's loss is multiplied by its weight.

    Huber's loss is u^2 / 2 up to |u| = delta and goes on as a straight line,
    delta (|u| - delta / 2): one extreme target changes the network little. With c for u
    clipped to [-delta, delta] both are c (u - c / 2), and the derivative is c.
    delta = inf is half the squared error. The actions not taken have no target, and so
    no gradient.
    """
    batch, n = len(theta), theta.shape[2]
    pairs = batch * n * n
    dtheta = np.zeros(theta.shape, theta.dtype)
    errors = np.zeros(batch)
    # for each k: sums over j, of losses also over i; 2 t, the weight of an error above
    slopes, losses, above = np.zeros(n), np.zeros(n), np.zeros(n)
    for k in range(n):
        above[k] = 2.0 * (k + 0.5) / n
    for i in range(batch):
        a = actions[i]
        for j in range(n):
            for k in range(n):
                u = targets[i, j] - theta[i, a, k]
                c = min(max(u, -delta), delta)
                slope = weights[i] * (2.0 - above[k] if u < 0.0 else above[k]) * c
                losses[k] += slope * (u - 0.5 * c)
                slopes[k] += slope
        for k in range(n):
            dtheta[i, a, k] = -slopes[k] / pairs  # for du/dtheta = -1
            slopes[k] = 0.0
            errors[i] += (targets[i, k] - theta[i, a, k]) / n
    loss = 0.0
    for k in range(n):
        loss += losses[k]
    return loss / pairs, dtheta, errors


@kernel
def mean_max(q: Array) -> float:
    """The mean over the batch of max_a Q(s, a): it grows without bound if values diverge."""
    total = 0.0
    for i in range(len(q)):
        best = q[i, 0]
        for a in range(1, q.shape[1]):  # Numba's q[i].max() takes many times as long
            best = max(best, q[i, a])
        total += best
    return total / len(q)
