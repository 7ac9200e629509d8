"""Stacks of frames: the network sees the last F observations at once.

One picture does not show how things move (Mnih et al. 2015). The ring stores each
observation once. A stack is put together from the newest observation backwards. At the
beginning of an episode, the first observation is repeated.

Letters: B batch, E environments, F frames, D numbers in an observation.
"""

from typing import Any

import numpy as np

from minidqn.batch import BRIDGE, BatchArrays
from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array, Layer
from minidqn.replay import Replay


@kernel
def copy_stacks(
    obs: Array, kind: Array, bridge: int, num_envs: int, slots: Array, out: Array
) -> None:
    """The F observations up to each of the slots, (B,), oldest first: to (B, F, D).

    obs (slots * E, D) and kind (slots * E,) are the ring's; `bridge` is the kind of
    slot that lies between two episodes.
    """
    for row in range(len(slots)):
        slot = slots[row]
        for f in range(out.shape[1] - 1, -1, -1):
            for d in range(obs.shape[1]):
                out[row, f, d] = obs[slot, d]
            before = slot - num_envs
            if before < 0:
                before += len(kind)
            if kind[before] != bridge:
                slot = before


class StackedReplay(Replay):
    """A ring from which stacks of `frames` observations are drawn."""

    def __init__(
        self,
        capacity: int,
        shape: tuple[int, ...],
        dtype: Any,
        n_actions: int,
        num_envs: int = 1,
        frames: int = 1,
    ) -> None:
        self.frames = frames
        # for the head, and the frames before the oldest step
        self.spare_slots = frames
        super().__init__(capacity, shape, dtype, n_actions, num_envs)
        self.stack_shape = (frames, *shape)

    @property
    def head_stack(self) -> Array:
        """The current observations with the F - 1 before each: (E, F, ...)."""
        first = self.count % self.slots * self.num_envs
        heads = np.arange(first, first + self.num_envs)
        stacks: Array = np.empty((self.num_envs, *self.stack_shape), self.dtype)
        self.stacks_at(heads, stacks.reshape(self.num_envs, -1))
        return stacks

    def copy_obs(self, starts: Array, arrays: BatchArrays) -> None:
        """The stacks at the starts, (B,), and where the transitions end."""
        self.stacks_at(starts, arrays.obs_rows)
        self.stacks_at(arrays.ends, arrays.next_obs_rows)

    def stacks_at(self, slots: Array, out: Array) -> None:
        """The stacks at these slots, (B,), to (B, F D)."""
        stacks = out.reshape(len(slots), self.frames, -1)  # (B, F, D), a view
        copy_stacks(self.flat_obs, self.flat_kind, BRIDGE, self.num_envs, slots, stacks)


class CurrentStack:
    """The stack of a test episode's last observations.

    It is a small ring, so that stacks in a test are made as in training.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, frames: int) -> None:
        self.ring = StackedReplay(frames + 3, shape, dtype, 1, 1, frames)

    def begin(self, obs: Any) -> Array:
        """The stack after a reset: (F, ...)."""
        self.ring.begin(obs)
        return self.newest()

    def add(self, obs: Any) -> Array:
        """The stack after a step: (F, ...)."""
        self.ring.add(0, 0.0, obs, False, False)
        return self.newest()

    def newest(self) -> Array:
        stack: Array = self.ring.head_stack[0]
        return stack


class Flatten(Layer):
    """y = x with each observation laid out as one row, (B, ...) to (B, I)."""

    def new_cache(self, batch_size: int, dtype: np.dtype[Any]) -> list[Any]:
        """The shape of x is left here."""
        return [None]

    def forward(
        self, x: Array, cache: list[Any], rng: np.random.Generator | None = None
    ) -> Array:
        cache[0] = x.shape
        return x.reshape(len(x), -1)

    def backward(
        self, dy: Array, cache: list[Any], need_dx: bool = True
    ) -> Array | None:
        return dy.reshape(cache[0])
