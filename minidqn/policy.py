"""How actions are chosen from Q-values: greedily, or at random.

One-step Q-learning is *off-policy*: from any actions it learns the values of greedy ones
(from n-step returns only roughly). So the agent may explore. The usual way is
*epsilon-greedy* (Watkins 1989, "Learning from delayed rewards"): a uniformly random action
with probability epsilon, else the one with the largest Q-value. A *mask* says which actions
an environment allows.

Letters: B batch, A actions, E environments.
"""

from typing import Any

import numpy as np
from numpy.random import Generator

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array


@kernel
def greedy(q: Array, mask: Array) -> Array:
    """The first best allowed action in each row, 0 if none is allowed: (B, A), (B, A) to (B,)."""
    actions = np.empty(len(q), np.int64)
    for i in range(len(q)):
        best = -1
        for a in range(q.shape[1]):
            if mask[i, a] and (best < 0 or q[i, a] > q[i, best]):
                best = a
        actions[i] = max(best, 0)
    return actions


@kernel
def epsilon_greedy(q: Array, mask: Array, u: Array, epsilon: float) -> Array:
    """A random allowed action in the rows where u < epsilon, else the greedy one: to (B,).

    (B, A), (B, A), and u, (B,), uniform in [0, 1). u decides whether, and then which: given
    that u < epsilon, u / epsilon is uniform in [0, 1) too.
    """
    actions = greedy(q, mask)
    for i in range(len(q)):
        if u[i] < epsilon:
            allowed = 0
            for a in range(q.shape[1]):
                allowed += mask[i, a]
            left = min(int(u[i] / epsilon * allowed), allowed - 1)  # rounding may reach allowed
            for a in range(q.shape[1]):
                if mask[i, a]:
                    if left == 0:
                        actions[i] = a
                    left -= 1
    return actions


class Repeat:
    """Repeats a random action for several steps, so that exploration gets farther.

    With a new random action in each step, the distance grows only with the square root of
    the number of steps. A repeated action reaches what takes persistence, such as driving
    out of a valley. So epsilon becomes the chance that a random action *starts*; it is
    repeated for 1 to `hold` steps, each number equally likely, or until the episode ends.

    Source: Dabney et al. 2021, "Temporally-extended epsilon-greedy exploration"; there the
    number of steps is drawn from a zeta distribution.
    """

    def __init__(self, num_envs: int, hold: int) -> None:
        self.hold = hold
        self.state = np.zeros((2, num_envs), np.int64)  # actions, and steps that are left

    def apply(self, actions: Array, is_random: Array, mask: Array, rng: Generator) -> None:
        """Overwrite `actions` where one is being repeated; begin to repeat the new random ones.

        actions and is_random (E,), mask (E, A).
        """
        repeated, left = self.state
        for env in range(len(actions)):
            if left[env] and mask[env, repeated[env]]:
                actions[env] = repeated[env]
                left[env] -= 1
            else:
                left[env] = 0
                if is_random[env]:
                    repeated[env] = actions[env]
                    left[env] = rng.integers(self.hold)  # steps after this one

    def stop(self, ended: Any = ...) -> None:
        """Stop repeating where an episode has `ended`, (E,); by default everywhere."""
        self.state[1, ended] = 0
