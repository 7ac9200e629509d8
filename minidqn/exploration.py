"""How actions are chosen from Q-values: greedily, or at random.

Q-learning is *off-policy*: it learns the values of the greedy actions, even if the
agent takes others. (With n-step returns this holds only roughly: the n rewards come
from the actions that were taken.) So the agent may explore. The usual way is
*epsilon-greedy* (Watkins 1989, "Learning from delayed rewards"): a uniformly random
action with probability epsilon, else the one with the largest Q-value. A *mask* says
which actions an environment allows.

Letters: B batch, A actions, E environments.
"""

from typing import Any

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array


@kernel
def greedy(q: Array, mask: Array, actions: Array) -> None:
    """The first best allowed action of each row: (B, A), (B, A) to (B,).

    It is 0 where the mask allows none.
    """
    for i in range(len(q)):
        best = -1
        for a in range(q.shape[1]):
            if mask[i, a] and (best < 0 or q[i, a] > q[i, best]):
                best = a
        actions[i] = max(best, 0)


@kernel
def greedy_or_random(
    q: Array, mask: Array, uniforms: Array, epsilon: float, actions: Array
) -> None:
    """A random allowed action with probability epsilon, else the greedy one.

    (B, A), (B, A), and uniforms in [0, 1), (2 B,), to (B,). In each pair of numbers,
    the first decides whether the action is random, and the second which one it is.
    """
    greedy(q, mask, actions)
    for i in range(len(q)):
        if uniforms[2 * i] < epsilon:
            allowed = 0
            for a in range(q.shape[1]):
                allowed += mask[i, a]
            left = int(uniforms[2 * i + 1] * allowed)  # allowed ones before the chosen
            for a in range(q.shape[1]):
                if mask[i, a]:
                    if left == 0:
                        actions[i] = a
                    left -= 1


def epsilon_greedy(
    q: Array, mask: Array, epsilon: float, rng: np.random.Generator
) -> Array:
    """Random actions with probability epsilon, else greedy ones: (B, A) to (B,).

    With epsilon = 0 no random number is drawn.
    """
    actions = np.empty(len(q), np.int64)
    if epsilon == 0.0:
        greedy(q, mask, actions)
    else:
        greedy_or_random(q, mask, rng.random(2 * len(q)), epsilon, actions)
    return actions


class EpsilonGreedy:
    """The exploration of plain DQN; parts/repeat.py has another."""

    def choose(
        self, q: Array, mask: Array, epsilon: float, rng: np.random.Generator
    ) -> Array:
        """An action for each environment: (E, A), (E, A) to (E,)."""
        return epsilon_greedy(q, mask, epsilon, rng)

    def stop(self, ended: Any = ...) -> None:
        """Called where episodes have `ended`: an index, by default all environments.

        Here nothing is remembered; parts/repeat.py repeats actions.
        """
