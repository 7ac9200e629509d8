"""The replay buffer: a ring that stores the stream of experience as it happened.

One slot for each step holds the observation, the action taken in it, and what came of
that: the reward, and what kind of step it was. The next observation is the next slot's,
so none is stored twice. A short episode, then the beginning of another:

    slot         0     1           2       3     4
    observation  s0    s1          s2      z0    z1      s2: the final observation
    action       a0    a1          -       b0    ?       z0: a new episode
    reward       r0    r1          -       p0    ?
    kind         STEP  TERMINATED  BRIDGE  STEP  ?

Slot 2 is a *bridge* between two episodes: no action is taken in it, and sampling never
starts there. It holds the final observation, whose value counts if the episode was only
cut by a time limit. Slot 4 is the *head*: its action is not chosen yet. A Gymnasium
vector environment gives the same stream: after an end, its next step is the reset
(NEXT_STEP autoreset). So arrays of shape (slots, num_envs, ...) hold one environment or many.

What is made from the stream when a batch is drawn, n-step returns and stacks of frames,
is in batch.py.

Letters: B batch, A actions, F frames.
Source: Lin 1992, "Self-improving reactive agents based on reinforcement learning,
planning and teaching".
"""

from typing import Any

import numpy as np

from minidqn import checks, experience
from minidqn.batch import BRIDGE, STEP, TRUNCATED, Batch, copy_stack, draw_starts, gather
from minidqn.nn.layers import Array

ALL: Any = slice(None)  # environments


class Replay:
    """A ring of the last `capacity` steps, of all environments together.

    Each ended episode costs one more slot, for its bridge. `begin` opens a stream, `add`
    continues it. Everything is copied in when it arrives: an environment may reuse its
    arrays. Bad data raises ValueError or TypeError before anything is stored.
    """

    def __init__(
        self,
        capacity: int,
        shape: tuple[int, ...],
        dtype: Any,
        n_actions: int,
        num_envs: int = 1,
        frames: int = 1,
    ) -> None:
        checks.capacity(capacity, num_envs, shape, np.dtype(dtype), n_actions)
        self.obs_shape, self.n_actions = shape, n_actions
        self.num_envs, self.frames = num_envs, frames
        self.stack_shape = shape if frames == 1 else (frames, *shape)
        # more than the capacity: one slot for the head, F - 1 for frames before the oldest step
        self.slots = slots = capacity // num_envs + frames
        self.count = 0  # slots completed since the start; the head is slot count % slots
        self.over = True  # no episode is going on in any environment
        self.obs: Array = np.zeros((slots, num_envs, *shape), dtype)
        self.action = np.zeros((slots, num_envs), np.int32)
        self.reward = np.zeros((slots, num_envs), np.float32)
        self.kind = np.full((slots, num_envs), BRIDGE, np.int8)
        self.mask = np.zeros((slots, num_envs, n_actions), np.bool_)  # allowed in obs
        self.any_action = np.ones((num_envs, n_actions), np.bool_)  # where there are no masks
        flat = (slots * num_envs, -1)
        obs, mask = self.obs.reshape(flat), self.mask.reshape(flat)
        self._flat = obs, self.action.ravel(), self.reward.ravel(), self.kind.ravel(), mask  # views

    def __reduce__(self) -> Any:
        raise TypeError("a copy would detach the views: build a second buffer, set its arrays[:]")

    @property
    def arrays(self) -> dict[str, Array]:
        """The ring itself: its five arrays, by name."""
        return {name: getattr(self, name) for name in ("obs", "action", "reward", "kind", "mask")}

    @property
    def nbytes(self) -> int:
        """Memory that the ring takes once it is full, in bytes."""
        return sum(array.nbytes for array in self.arrays.values())

    def __len__(self) -> int:
        """Steps stored, bridges included."""
        return min(self.count, self.slots - self.frames) * self.num_envs

    @property
    def begun(self) -> bool:
        """Whether there is a current observation."""
        return self.count > 0 or not self.over

    @property
    def head(self) -> Array:
        """The current observation of each environment, (num_envs, ...): a view."""
        head: Array = self.obs[self.count % self.slots]
        return head

    @property
    def head_stack(self) -> Array:
        """The current observations with the F - 1 before each: (num_envs, F, ...) if F > 1."""
        if self.frames == 1:
            return self.head
        stacks = np.empty((self.num_envs, self.frames, self._flat[0].shape[1]), self.obs.dtype)
        for env in range(self.num_envs):
            entry = self.count % self.slots * self.num_envs + env
            copy_stack(self._flat[0], self._flat[3], entry, self.num_envs, stacks, env)
        return stacks.reshape(self.num_envs, *self.stack_shape)

    @property
    def head_mask(self) -> Array:
        """Which actions are allowed in it, (num_envs, A): a view."""
        mask: Array = self.mask[self.count % self.slots]
        return mask

    @property
    def ended(self) -> Array:
        """Whether the last step ended the episode of each environment, (num_envs,)."""
        ended: Array = self.kind[(self.count - 1) % self.slots] >= TRUNCATED
        return ended

    def begin(self, obs: Any, mask: Any = None) -> None:
        """Open the stream of every environment at `obs`, what its reset returned.

        `mask` says which actions are allowed there, (num_envs, A); None for all. An episode
        that was still going on counts as truncated: its last observation stays, as a bridge.
        """
        x = experience.observation(obs, self.obs_shape, self.obs.dtype, self.num_envs)
        allowed = experience.masks(mask, self)
        last = self.kind[(self.count - 1) % self.slots]
        if (last != BRIDGE).any():  # else no step was taken since the last begin
            last[last == STEP] = TRUNCATED
            self.kind[self.count % self.slots] = BRIDGE
            self.count += 1
        self.head[:], self.head_mask[:] = x, allowed
        self.over = False

    def add(
        self, action: Any, reward: Any, obs: Any, terminated: Any, truncated: Any, mask: Any = None
    ) -> tuple[int, int]:
        """Store each environment's step; return how many took one, and how many ended with it.

        Arguments have shape (num_envs, ...), or are bare for a single environment. `obs` is
        what was observed next, and `mask` which actions are allowed there, (num_envs, A);
        None for all. After the end of an episode a single environment is reset and goes on
        with `begin`. A vector environment spends its next step on the reset: the action is
        ignored, the slot is the bridge, and no episode ends in it.
        """
        x = experience.observation(obs, self.obs_shape, self.obs.dtype, self.num_envs)
        step = action, reward, terminated, truncated
        if x.shape == self.obs_shape:  # bare
            kind: Any = experience.outcome(self.n_actions, *step, self.over)
            env, taken, ended = 0, 1, kind != STEP
        else:
            kind = experience.outcomes(self, *step)
            taken = self.num_envs - kind.count(BRIDGE)
            env, ended = ALL, taken - kind.count(STEP)
        allowed = self.any_action if mask is None else experience.masks(mask, self, terminated)
        slot, head = self.count % self.slots, (self.count + 1) % self.slots
        self.action[slot, env], self.reward[slot, env], self.kind[slot, env] = action, reward, kind
        self.obs[head, env], self.mask[head] = x, allowed
        self.count, self.over = self.count + 1, ended == self.num_envs
        return taken, ended

    def draw(self, batch_size: int, rng: np.random.Generator) -> Array:
        """Where transitions begin, each stored one equally likely, with replacement: (B,).

        Slots are drawn uniformly; for one that is a bridge, another is drawn.
        """
        stored = len(self)
        checks.batch_size(batch_size, stored)
        starts, found = np.empty(batch_size, np.int64), 0
        oldest = (self.count - stored // self.num_envs) % self.slots * self.num_envs
        while found < batch_size:
            uniforms = rng.random(2 * (batch_size - found))  # some will hit a bridge
            found = draw_starts(uniforms, oldest, stored, self._flat[3], starts, found)
        return starts

    def batch(self, starts: Array, n_step: int, gamma: float) -> Batch:
        """The transitions that begin at `starts`, (B,): slot * num_envs + environment."""
        size, stack = len(starts), (len(starts), self.frames, self._flat[0].shape[1])
        flat = (
            np.empty(stack, self.obs.dtype),
            np.empty(size, np.int32),
            np.empty(size, np.float32),
            np.empty(size, np.float32),
            np.empty(stack, self.obs.dtype),
            np.empty((size, self.n_actions), np.bool_),
        )
        head = self.count % self.slots * self.num_envs
        gather(starts, head, self.num_envs, n_step, gamma, *self._flat, *flat)
        shape = size, *self.stack_shape
        return Batch(flat[0].reshape(shape), *flat[1:4], flat[4].reshape(shape), flat[5])
