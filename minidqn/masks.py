"""Action masks: which actions an environment allows.

Few environments have them. So the array is made when the first mask comes; until then
every action is allowed.

Letters: B batch, A actions, E environments.
"""

from typing import Any

import numpy as np

from minidqn import checks, experience
from minidqn.nn.layers import Array


class Masks:
    """Which actions are allowed in the observation of each slot of a ring."""

    def __init__(self, slots: int, num_envs: int, n_actions: int) -> None:
        self.shape = (slots, num_envs, n_actions)
        self.array: Array | None = None  # (slots, E, A)
        self.any_action = np.ones((num_envs, n_actions), np.bool_)  # (E, A)

    @property
    def nbytes(self) -> int:
        """Memory that the array takes, in bytes."""
        return 0 if self.array is None else self.array.nbytes

    def checked(self, mask: Any, over: Any = False) -> Array:
        """`mask` as booleans, (E, A). Episodes that are `over` need no action.

        The array is made here, before a step is stored: memory may be short.
        """
        num_envs = self.shape[1]
        allowed = experience.action_mask(mask, self.shape[1:], num_envs == 1, over)
        if self.array is None:
            self.make()
        return allowed

    def make(self) -> None:
        """Make the array. In the steps before, every action was allowed."""
        megabytes = np.prod(self.shape) / 1e6
        checks.fits_into_memory("an array of action masks", float(megabytes))
        self.array = np.ones(self.shape, np.bool_)

    def store(self, slot: int, allowed: Array | None) -> None:
        """Store which actions are allowed in a slot: (E, A), or None for all."""
        if self.array is not None:
            self.array[slot] = True if allowed is None else allowed

    def at(self, slot: int) -> Array:
        """Which actions are allowed in a slot: (E, A), a view."""
        if self.array is None:
            return self.any_action
        allowed: Array = self.array[slot]
        return allowed

    def copy_rows(self, rows: Array, out: Array) -> None:
        """The masks at these places, (B,), slot * E + environment, to out, (B, A).

        Before the first mask, `out` is left as it is: all actions are allowed.
        """
        if self.array is not None:
            out[:] = self.array.reshape(-1, self.shape[2])[rows]
