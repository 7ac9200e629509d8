"""The replay buffer: a ring that stores the stream of experience as it happened.

One slot per environment step holds the observation, the action taken in it, and
what came of that: reward, terminated, truncated. The next observation is simply
the next slot's, so none is stored twice. A short episode, then another:

    slot         0     1     2     3     4
    observation  s0    s1    s2    z0    z1     s2: final observation, z0: a new episode
    action       a0    a1    -     b0           none is taken in s2, nor yet in z1
    reward       r0    r1    -     q0
    ended        no    yes   no    no

Slot 2 is a *bridge*: it is there to be bootstrapped from, if the episode was cut
short by a time limit, and sampling never starts at it. Slot 4 is the *head*: its
action is not chosen yet. This is the very stream that a Gymnasium vector
environment emits with NEXT_STEP autoreset, so arrays of shape (slots, lanes, ...)
hold one environment or many alike, and one counter says where all lanes are.

Because the stream is whole, the n-step return is summed up when a transition is
drawn. From slot t it walks forward, and stops after n rewards, at the end of the
episode, or at the head:

    R = r_t + gamma r_{t+1} + ... + gamma^(k-1) r_{t+k-1},    k <= n

The rest is the value of the state where it stopped, times gamma^k; or times 0 if
the episode *terminated* there. Truncated is not terminated: the episode would
have gone on, so its value still counts.

Letters: B batch. Sources: Lin 1992, "Self-improving reactive agents based on
reinforcement learning, planning and teaching", for replay; Sutton & Barto 2018,
section 7.1, for n-step returns.
"""

from math import isnan
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from minidqn.jit import kernel
from minidqn.layers import Array

MAX_REWARD = float(np.finfo(np.float32).max)  # rewards are stored as float32

FLAGS = (bool, np.bool_)


class Batch(NamedTuple):
    obs: Array  # (B, ...), in the dtype of the environment
    actions: Array  # (B,)
    returns: Array  # (B,) R, the discounted sum of up to n rewards
    discounts: Array  # (B,) gamma^k, or 0 where the episode terminated
    next_obs: Array  # (B, ...) where to bootstrap from
    next_mask: Array  # (B, A) which actions are allowed there
    starts: Array  # (B,) where each was drawn from: slot * lanes + lane
    weights: Array  # (B,) factors of each one's loss, 1 where all are equally likely


@kernel
def all_finite(x: Array) -> bool:
    """Whether x, of any shape, holds neither NaN nor inf."""
    finite = True
    for entry in x.flat:
        finite &= np.isfinite(entry)
    return finite


def checked_obs(obs: ArrayLike, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """`obs` as an array of `dtype`, if it is one finite observation or a batch, (B, ...).

    Floats are rounded to dtype; anything else that dtype cannot hold is refused.
    """
    x = np.asarray(obs)
    if x.shape != shape and x.shape[1:] != shape:
        batch = ", ".join(["B", *map(str, shape)])
        raise ValueError(f"observation has shape {x.shape}: expected {shape} or ({batch})")
    if x.dtype != dtype:
        if x.dtype.kind not in "biuf":
            raise TypeError(f"observation has dtype {x.dtype}: expected {dtype}")
        with np.errstate(all="ignore"):  # what does not fit is refused below
            given, x = x, x.astype(dtype)
        if dtype.kind != "f" and (x != given).any():
            raise ValueError(f"observation {given} does not fit into {dtype}")
    if dtype.kind == "f" and not all_finite(x):
        raise ValueError(f"observation is not finite: {x}")
    return x


def checked_mask(mask: ArrayLike, shape: tuple[int, int], bare: bool) -> Array:
    """`mask` as booleans, (B, A), if it is of 0s and 1s and this shape, or (A,) with `bare`."""
    given = np.asarray(mask)
    if given.shape != shape and not (bare and given.shape == shape[1:]):
        raise ValueError(f"action_mask {mask!r}: expected shape {shape}, 0 or 1 for each action")
    allowed = np.empty(shape, np.bool_)
    allowed[:] = given
    if (allowed != given).any():
        raise ValueError(f"action_mask {mask!r}: expected 0 or 1 for each action")
    return allowed


@kernel
def draw_starts(
    uniforms: Array,  # random numbers in [0, 1)
    found: int,  # starts that are filled already
    count: int,  # slots completed since the start
    lanes: int,
    terminated: Array,  # the ring, flat: (slots * lanes,)
    truncated: Array,
    starts: Array,  # (B,)
) -> int:
    """Fill in a start for each number that hits a transition; return how many there are so far."""
    slots = len(terminated) // lanes
    stored = min(count, slots - 1) * lanes
    oldest = max(count - slots + 1, 0) % slots * lanes
    unfair = 2**32 % stored
    for uniform in uniforms:
        if found == len(starts):
            break

        # The number times `stored`, rounded down, is an age; 0 is the oldest. Rounding
        # makes some ages likelier by 2^-32, unless their first few hits are passed over
        # (Lemire 2019, "Fast random integer generation in an interval").
        product = np.int64(uniform * 2.0**32) * stored
        if product & (2**32 - 1) < unfair:
            continue
        start = oldest + (product >> 32)
        if start >= len(terminated):
            start -= len(terminated)

        # A slot is a bridge if the one before it, in its lane, ended. The slot before the
        # oldest is the head, whose flags still are those of the step that it has yet to
        # overwrite: exactly the ones asked for. (-1 wraps around, as in any array.)
        before = start - lanes
        if not terminated[before] and not truncated[before]:
            starts[found] = start
            found += 1
    return found


@kernel
def gather(
    starts: Array,  # (B,)
    head: int,  # the first entry that holds no transition yet
    lanes: int,
    n: int,
    gamma: float,
    obs: Array,  # the ring, flat: (slots * lanes, D), mask (slots * lanes, A), (slots * lanes,)
    action: Array,
    reward: Array,
    terminated: Array,
    truncated: Array,
    mask: Array,
    obs_out: Array,  # the batch: (B, D), next_mask (B, A), and (B,) the others
    actions: Array,
    returns: Array,
    discounts: Array,
    next_obs: Array,
    next_mask: Array,
) -> None:
    """Fill the batch with the transitions that begin at `starts`."""
    for row, start in enumerate(starts):
        total, discount, i = 0.0, 1.0, start
        for _ in range(n):
            total += discount * reward[i]
            discount *= gamma
            if terminated[i]:
                discount = 0.0
            over = terminated[i] or truncated[i]
            i += lanes
            if i >= len(action):
                i -= len(action)
            if over or head <= i < head + lanes:  # the end of the episode, or the head
                break

        actions[row], returns[row], discounts[row] = action[start], total, discount
        for d in range(obs.shape[1]):
            obs_out[row, d] = obs[start, d]
            next_obs[row, d] = obs[i, d]
        for a in range(mask.shape[1]):
            next_mask[row, a] = mask[i, a]


class Replay:
    """A ring of the last `capacity` steps, over all lanes together.

    Bridges take a slot each, so it holds as many transitions fewer as episodes ended.
    `begin` opens a stream, `add` continues it. Everything is copied in when it
    arrives: an environment may reuse its arrays. Bad data raises ValueError or
    TypeError before anything is stored.
    """

    def __init__(
        self,
        capacity: int,
        obs_shape: tuple[int, ...],
        obs_dtype: DTypeLike,
        n_actions: int,
        lanes: int = 1,
    ) -> None:
        # Never more than two neighbours are bridges, so among three slots is a start.
        if lanes < 1 or capacity // lanes < 3:
            raise ValueError(
                f"capacity {capacity} over {lanes} lanes: expected 3 steps or more for each lane"
            )
        self.obs_shape, self.n_actions, self.lanes = obs_shape, n_actions, lanes
        self.slots = slots = capacity // lanes + 1  # one more, for the head
        self.obs: Array = np.zeros((slots, lanes, *obs_shape), obs_dtype)
        self.action = np.zeros((slots, lanes), np.int32)
        self.reward = np.zeros((slots, lanes), np.float32)
        self.terminated = np.zeros((slots, lanes), np.bool_)
        self.truncated = np.zeros((slots, lanes), np.bool_)
        self.mask = np.zeros((slots, lanes, n_actions), np.bool_)  # allowed in obs
        self.flat: tuple[Array, Array, Array, Array, Array, Array] = (  # views
            self.obs.reshape(slots * lanes, -1),
            self.action.reshape(-1),
            self.reward.reshape(-1),
            self.terminated.reshape(-1),
            self.truncated.reshape(-1),
            self.mask.reshape(slots * lanes, -1),
        )
        self._ones = np.ones(0, np.float32)  # the weights of a batch, all alike
        self.count = 0  # slots completed since the start; the head is slot count % slots
        self.begun = False
        self.over = True  # whether a single environment has to be reset before its next step

    def __reduce__(self) -> Any:
        raise TypeError("a copy would detach the views: build a second buffer, set its arrays[:]")

    @property
    def arrays(self) -> dict[str, Array]:
        """The ring itself: its six arrays, by name."""
        names = ("obs", "action", "reward", "terminated", "truncated", "mask")
        return {name: getattr(self, name) for name in names}

    @property
    def nbytes(self) -> int:
        """Memory that the ring takes once it is full, in bytes."""
        return sum(array.nbytes for array in self.arrays.values())

    def __len__(self) -> int:
        """Steps stored, bridges included."""
        return min(self.count, self.slots - 1) * self.lanes

    @property
    def head(self) -> Array:
        """The present observation of each lane, (lanes, ...): a view."""
        head: Array = self.obs[self.count % self.slots]
        return head

    @property
    def head_mask(self) -> Array:
        """Which actions are allowed in it, (lanes, A): a view."""
        mask: Array = self.mask[self.count % self.slots]
        return mask

    @property
    def ended(self) -> Array:
        """Whether each lane's last step ended its episode, (lanes,)."""
        last = (self.count - 1) % self.slots
        ended: Array = self.terminated[last] | self.truncated[last]
        return ended

    def last_rewards(self, most: int, lane: int) -> Array:
        """Rewards of the last steps in a lane, oldest first: up to `most`, and what is stored."""
        k = min(most, self.count, self.slots - 1)
        rewards: Array = self.reward[np.arange(self.count - k, self.count) % self.slots, lane]
        return rewards

    def begin(self, obs: ArrayLike, mask: ArrayLike | None = None) -> None:
        """Open the stream of every lane at `obs`, what the environment's reset returned.

        `mask` says which actions are allowed there, (lanes, A); None for all. An episode
        that was still going on counts as truncated: its last observation stays, as a bridge.
        """
        x = checked_obs(obs, self.obs_shape, self.obs.dtype)
        if x.size != self.obs[0].size:
            raise ValueError(self._expected_lanes(x))
        allowed = self._checked_mask(mask, False)
        newest = self.count - 1
        bridge = self.over and self.count > 0
        if self.count > 0 and not bridge:
            # An episode is still going on, unless x comes right after a first observation:
            # then the last slot is a bridge, for the one before it ended an episode.
            last, before = (self.count - 1) % self.slots, (self.count - 2) % self.slots
            bridge = not (self.terminated[before] | self.truncated[before]).all()
            self.truncated[last] |= bridge & ~self.terminated[last]
        if bridge:  # the head becomes one, and x goes behind it
            head = self.count % self.slots
            self.terminated[head] = self.truncated[head] = False
            self.count += 1
        self.obs[self.count % self.slots] = x.reshape(self.obs[0].shape)
        self.mask[self.count % self.slots] = allowed
        self.begun, self.over = True, False
        self._moved_on(newest)

    def add(
        self,
        action: ArrayLike,
        reward: ArrayLike,
        next_obs: ArrayLike,
        terminated: ArrayLike,
        truncated: ArrayLike,
        mask: ArrayLike | None = None,
    ) -> int:
        """Store what came of the action in each lane; return how many lanes really stepped.

        Arguments have shape (lanes, ...), or are bare for a single environment. `mask`
        says which actions are allowed in next_obs, (lanes, A); None for all.
        After the end of an episode a single environment is reset and goes on with
        `begin`. A vector environment spends its next step on the reset: the action
        is ignored, the slot is that lane's bridge, and no lane ends in it.
        """
        x = checked_obs(next_obs, self.obs_shape, self.obs.dtype)
        lane: int | slice
        if x.shape == self.obs_shape and self.lanes == 1:
            lane, stepped = 0, 1
            if self.over:
                raise ValueError("no episode is going on: reset, then call begin(obs)")
            self._check_step(action, reward, terminated, truncated)
            over: Any = terminated or truncated
        else:
            lane, stepped = slice(None), self._check_steps(x, action, reward, terminated, truncated)
            over = self.lanes == 1 and np.logical_or(terminated, truncated)[0]

        allowed = self._checked_mask(mask, terminated)

        # complete the head, and open the next slot with the observation that followed
        slot = self.count % self.slots
        self.action[slot, lane] = action
        self.reward[slot, lane] = reward
        self.terminated[slot, lane] = terminated
        self.truncated[slot, lane] = truncated
        self.count += 1
        head = self.count % self.slots
        self.obs[head, lane] = x
        self.mask[head] = allowed
        self.over = over
        self._moved_on(self.count - 1)
        return stepped

    def sample(
        self,
        batch_size: int,
        rng: np.random.Generator,
        n_step: int,
        gamma: float,
        beta: float = 1.0,
    ) -> Batch:
        """Draw transitions, each stored one equally likely, with replacement.

        (`beta` is for PrioritizedReplay, in which they are not equally likely.)
        """
        if not 0 < batch_size <= len(self):
            raise ValueError(f"batch_size {batch_size}: expected 1 to the {len(self)} steps stored")
        starts, weights = self._draw(batch_size, rng, beta)
        batch = Batch(
            np.empty((batch_size, *self.obs_shape), self.obs.dtype),
            np.empty(batch_size, np.int32),
            np.empty(batch_size, np.float32),
            np.empty(batch_size, np.float32),
            np.empty((batch_size, *self.obs_shape), self.obs.dtype),
            np.empty((batch_size, self.n_actions), np.bool_),
            starts,
            weights,
        )
        gather(
            starts,
            self.count % self.slots * self.lanes,
            self.lanes,
            n_step,
            gamma,
            *self.flat,
            batch.obs.reshape(batch_size, -1),
            batch.actions,
            batch.returns,
            batch.discounts,
            batch.next_obs.reshape(batch_size, -1),
            batch.next_mask,
        )
        return batch

    def _draw(self, batch_size: int, rng: np.random.Generator, beta: float) -> tuple[Array, Array]:
        """Where the transitions of a batch begin, and the weights of their losses: (B,) each.

        Ages are drawn over all slots, and those that hit a bridge are drawn again.
        """
        starts, found = np.empty(batch_size, np.int64), 0
        _, _, _, terminated, truncated, _ = self.flat
        while found < batch_size:
            uniforms = rng.random(2 * (batch_size - found))  # some will hit a bridge
            found = draw_starts(
                uniforms, found, self.count, self.lanes, terminated, truncated, starts
            )
        if len(self._ones) != batch_size:
            self._ones = np.ones(batch_size, np.float32)
        return starts, self._ones

    def _moved_on(self, last: int) -> None:
        """Hear that the head has moved on, and slot `last` is complete; see PrioritizedReplay."""

    def learned(self, starts: Array, errors: Array) -> None:
        """Hear of the TD errors that an update found; see PrioritizedReplay."""

    def _checked_mask(self, mask: ArrayLike | None, terminated: ArrayLike) -> Any:
        """`mask` as booleans, (lanes, A), or True for None; where an episode goes on, one is."""
        if mask is None:
            return True
        allowed = checked_mask(mask, (self.lanes, self.n_actions), self.lanes == 1)
        if not np.logical_or(allowed.any(axis=1), terminated).all():
            raise ValueError(f"action_mask {mask!r}: expected one action or more to be allowed")
        return allowed

    def _check_step(self, action: Any, reward: Any, terminated: Any, truncated: Any) -> None:
        """Raise ValueError unless this is what one environment's step may give."""
        try:
            if not 0 <= index(action) < self.n_actions:
                wrong = f"action {action}: expected 0 to {self.n_actions - 1}"
            elif not -MAX_REWARD <= reward <= MAX_REWARD or isnan(reward):
                wrong = f"reward {reward}: expected a finite number, as a float32"
            elif type(terminated) not in FLAGS or type(truncated) not in FLAGS:
                wrong = f"terminated {terminated}, truncated {truncated}: expected True or False"
            else:
                return
        except (TypeError, ValueError):  # not a number, or several
            wrong = f"action {action}, reward {reward}: expected an integer and a finite number"
        raise ValueError(wrong)

    def _check_steps(self, x: Array, *parts: Any) -> int:
        """The same for every lane, with x (lanes, ...); return how many did not just reset."""
        if x.shape != self.obs.shape[1:]:
            raise ValueError(self._expected_lanes(x))
        if not self.begun:
            raise ValueError("no stream is open: reset, then call begin(obs)")
        for part in parts:
            if np.shape(part) != (self.lanes,):
                raise ValueError(
                    f"{part} has shape {np.shape(part)}: expected ({self.lanes},), one a lane"
                )
        ended = self.ended
        steps = zip(*(np.asarray(part).tolist() for part in parts), strict=True)
        for lane, (action, reward, terminated, truncated) in enumerate(steps):
            self._check_step(action, reward, terminated, truncated)
            if ended[lane] and (terminated or truncated):
                raise ValueError(f"lane {lane} ended twice: expected NEXT_STEP autoreset")
        return self.lanes - int(ended.sum())

    def _expected_lanes(self, x: Array) -> str:
        return f"observation has shape {x.shape}: expected one for each of {self.lanes} lanes"
