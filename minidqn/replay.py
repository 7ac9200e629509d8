"""The replay buffer: a ring that stores the stream of experience as it happened.

One slot for each step holds the observation, the action taken in it, and its result:
the reward, and the kind of step. The next observation is in the next slot, so none is
stored twice. A short episode, then the beginning of another:

    slot         0     1           2       3     4
    observation  s0    s1          s2      z0    z1      s2: the final observation
    action       a0    a1          -       b0    ?       z0: a new episode
    reward       r0    r1          -       p0    ?
    kind         STEP  TERMINATED  BRIDGE  STEP  ?

Slot 2 is a *bridge* between two episodes: no action is taken in it, and sampling never
starts there. It holds the final observation, whose value counts if the episode was only
cut, as by a time limit (TRUNCATED). Slot 4 is the *head*: its action is not chosen yet.

A Gymnasium vector environment gives the same stream: after the end of an episode, its
next step is the reset (NEXT_STEP autoreset). So arrays of shape (slots, num_envs, ...)
hold one environment or many. batch.py makes batches from the stream.

Letters: B batch, A actions, E environments.
Source: Lin 1992, "Self-improving reactive agents based on reinforcement learning,
planning and teaching".
"""

import math
from typing import Any

import numpy as np

from minidqn import checks, experience
from minidqn.batch import (
    BRIDGE,
    STEP,
    TRUNCATED,
    Batch,
    BatchArrays,
    copy_rows,
    kind_of,
    n_step_returns,
)
from minidqn.masks import Masks
from minidqn.nn.layers import Array

NO_EPISODE = "no episode is going on: expected a reset, then begin(obs)"


class Replay:
    """A ring of `capacity` slots, of all environments together.

    Each step takes a slot, and so does the bridge after each episode. `begin` opens a
    stream, `add` continues it. Both copy their arguments, because an environment may
    reuse its arrays. Bad data raises ValueError or TypeError before anything is stored.
    A ring takes no memory before the first `begin`.
    """

    spare_slots = 1  # beyond the capacity: the head

    def __init__(
        self,
        capacity: int,
        shape: tuple[int, ...],
        dtype: Any,
        n_actions: int,
        num_envs: int = 1,
    ) -> None:
        checks.capacity(capacity, num_envs)
        self.obs_shape = shape
        self.stack_shape = shape  # of what the network sees; see parts/frames.py
        self.dtype: np.dtype[Any] = np.dtype(dtype)  # of observations
        self.n_actions = n_actions
        self.num_envs = num_envs
        self.slots = capacity // num_envs + self.spare_slots
        self.count = 0  # slots completed so far; the head is slot count % slots
        self.over = True  # whether no episode is going on in any environment
        self.made = False  # whether the arrays are there
        self.batch_arrays: BatchArrays | None = None

    def make(self) -> None:
        """Make the arrays, unless they are there. ValueError if memory is short."""
        if self.made:
            return
        checks.fits_into_memory("a replay buffer", self.nbytes / 1e6)
        entries = (self.slots, self.num_envs)
        self.obs: Array = np.zeros((*entries, *self.obs_shape), self.dtype)
        self.action = np.zeros(entries, np.int32)
        self.reward = np.zeros(entries, np.float32)
        self.kind = np.full(entries, BRIDGE, np.int8)
        self.mask = Masks(*entries, self.n_actions)  # allowed in obs
        # the same arrays, where slot and environment are one index: views
        self.flat_obs = self.obs.reshape(math.prod(entries), -1)
        self.flat_action = self.action.reshape(-1)
        self.flat_reward = self.reward.reshape(-1)
        self.flat_kind = self.kind.reshape(-1)
        self.made = True

    def __reduce__(self) -> Any:
        raise TypeError("a copy would detach the views: copy each entry of `arrays`")

    @property
    def arrays(self) -> dict[str, Array]:
        """The ring itself: its arrays, by name."""
        self.make()
        names = ("obs", "action", "reward", "kind")
        arrays: dict[str, Array] = {name: getattr(self, name) for name in names}
        if self.mask.array is not None:
            arrays["mask"] = self.mask.array
        return arrays

    @property
    def nbytes(self) -> int:
        """Memory that the ring takes once it is full, in bytes."""
        obs = math.prod(self.obs_shape) * self.dtype.itemsize  # of one slot
        nbytes = self.slots * self.num_envs * (obs + 4 + 4 + 1)  # action, reward, kind
        return nbytes + self.mask.nbytes if self.made else nbytes

    def __len__(self) -> int:
        """Slots stored: steps and bridges, of all environments."""
        return min(self.count, self.slots - self.spare_slots) * self.num_envs

    @property
    def begun(self) -> bool:
        """Whether there is a current observation."""
        return self.count > 0 or not self.over

    @property
    def head(self) -> Array:
        """The current observation of each environment, (E, ...): a view."""
        head: Array = self.obs[self.count % self.slots]
        return head

    @property
    def head_stack(self) -> Array:
        """The network's input for it: the same, or with frame_stack a stack."""
        return self.head

    @property
    def head_mask(self) -> Array:
        """Which actions are allowed in it, (E, A): a view."""
        return self.mask.at(self.count % self.slots)

    @property
    def ended(self) -> Array:
        """Whether the last step ended the episode of each environment, (E,)."""
        ended: Array = self.kind[(self.count - 1) % self.slots] >= TRUNCATED
        return ended

    def begin(self, obs: Any, mask: Any = None) -> None:
        """Open the stream of every environment at `obs`, which its reset returned.

        `mask`, (E, A), says which actions are allowed there; None: all. An unfinished
        episode counts as truncated: its last observation stays, as a bridge.
        """
        x = experience.observation(obs, self.obs_shape, self.dtype, self.num_envs)
        if not self.made:
            checks.warn_if_large(self.nbytes, self.dtype)
            self.make()
        allowed = None if mask is None else self.mask.checked(mask)
        last = self.kind[(self.count - 1) % self.slots]
        if (last != BRIDGE).any():  # else no step was taken since the last begin
            last[last == STEP] = TRUNCATED
            self.kind[self.count % self.slots] = BRIDGE
            self.count += 1
        slot = self.count % self.slots
        self.obs[slot] = x
        self.mask.store(slot, allowed)
        self.over = False

    def add(
        self,
        action: Any,
        reward: Any,
        obs: Any,
        terminated: Any,
        truncated: Any,
        mask: Any = None,
    ) -> tuple[int, int]:
        """Store each environment's step; return the number of steps, and of ends.

        Arguments have shape (E, ...), or no axis E for a single environment. `obs` is
        the next observation, and `mask`, (E, A), says which actions are allowed in it:
        None for all, and perhaps none after a termination. After an episode, call reset
        and `begin` for a single environment. The next step of a vector environment is
        the reset: its action is ignored, its slot is the bridge, no episode ends in it.
        """
        x = experience.observation(obs, self.obs_shape, self.dtype, self.num_envs)
        bare = x.shape == self.obs_shape  # one environment
        # after all have ended, a vector environment continues: it resets itself
        if self.over and (bare or self.count == 0):
            raise ValueError(NO_EPISODE)
        kind: Any
        envs: Any
        if bare:
            experience.step(self.n_actions, action, reward, terminated, truncated)
            kind = kind_of(terminated, truncated)
            envs = 0
            taken = 1
            ended = int(kind != STEP)
        else:
            steps = (x, action, reward, terminated, truncated)
            kind = experience.kinds_of_steps(self.n_actions, self.ended, *steps)  # (E,)
            envs = slice(None)  # all of them
            taken = int(np.count_nonzero(kind != BRIDGE))
            ended = int(np.count_nonzero(kind >= TRUNCATED))
        allowed = None if mask is None else self.mask.checked(mask, terminated)

        slot = self.count % self.slots
        head = (self.count + 1) % self.slots
        self.action[slot, envs] = action
        self.reward[slot, envs] = reward
        self.obs[head, envs] = x
        self.mask.store(head, allowed)
        self.kind[slot, envs] = kind
        self.over = ended == self.num_envs
        self.count += 1  # last: if Ctrl-C comes before it, the step is not stored
        return taken, ended

    def batch(self, starts: Array, n_step: int, gamma: float) -> Batch:
        """The transitions that begin at `starts`, (B,): slot * num_envs + environment.

        The next batch of the same size overwrites its arrays.
        """
        arrays = self.batch_arrays
        size = len(starts)
        if arrays is None or len(arrays.ends) != size:
            arrays = BatchArrays(size, self.stack_shape, self.dtype, self.n_actions)
            self.batch_arrays = arrays
        n_step_returns(
            starts,
            self.count % self.slots * self.num_envs,
            self.num_envs,
            n_step,
            gamma,
            self.flat_action,
            self.flat_reward,
            self.flat_kind,
            arrays.actions,
            arrays.returns,
            arrays.discounts,
            arrays.ends,
        )
        self.copy_obs(starts, arrays)
        self.mask.copy_rows(arrays.ends, arrays.next_mask)
        return arrays.batch

    def copy_obs(self, starts: Array, arrays: BatchArrays) -> None:
        """Copy the network's inputs at the starts, (B,), and at the ends, to arrays."""
        copy_rows(
            self.flat_obs, starts, arrays.ends, arrays.obs_rows, arrays.next_obs_rows
        )
