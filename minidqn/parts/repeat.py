"""Random actions that are repeated for several steps, so that exploration gets farther.

With a new random action in each step, the distance grows only with the square root of
the number of steps. A repeated action can reach states that need persistence, such as a
hilltop. So epsilon becomes the chance that a random action *starts*. It is repeated for
1 to `hold` steps, each number equally likely, or until the episode ends.

Letters: A actions, E environments.
Source: Dabney et al. 2021, "Temporally-extended epsilon-greedy exploration"; there the
number of steps is drawn from a zeta distribution.
"""

from typing import Any

import numpy as np

from minidqn.exploration import EpsilonGreedy, greedy_or_random
from minidqn.nn.layers import Array
from minidqn.replay import Replay


class RepeatedActions(EpsilonGreedy):
    """Epsilon-greedy with repeated actions, in the environments of `replay`."""

    def __init__(self, replay: Replay, hold: int) -> None:
        self.replay = replay
        self.hold = hold
        self.state = np.zeros((2, replay.num_envs), np.int64)  # saved in checkpoints
        self.repeated = self.state[0]  # (E,) the actions, a view
        self.left = self.state[1]  # (E,) steps that are left, a view

    def choose(
        self, q: Array, mask: Array, epsilon: float, rng: np.random.Generator
    ) -> Array:
        actions = np.empty(len(q), np.int64)
        uniforms = rng.random(2 * len(q))
        greedy_or_random(q, mask, uniforms, epsilon, actions)
        # where an episode has ended, the environment is being reset: nothing starts
        starts = (uniforms[::2] < epsilon) & ~self.replay.ended
        for env in range(len(actions)):
            action = self.repeated[env]
            if self.left[env] > 0 and mask[env, action]:
                actions[env] = action
                self.left[env] -= 1
            elif starts[env]:
                self.repeated[env] = actions[env]
                self.left[env] = rng.integers(self.hold)  # steps after this one
            else:
                self.left[env] = 0
        return actions

    def stop(self, ended: Any = ...) -> None:
        """Stop repeating where an episode has `ended`, (E,); by default everywhere."""
        self.left[ended] = 0
