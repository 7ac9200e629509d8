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

import math
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from minidqn.jit import kernel
from minidqn.layers import Array

MAX_REWARD = float(np.finfo(np.float32).max)  # rewards are stored as float32


class Batch(NamedTuple):
    obs: Array  # (B, ...), in the dtype of the environment
    actions: Array  # (B,)
    returns: Array  # (B,) R, the discounted sum of up to n rewards
    discounts: Array  # (B,) gamma^k, or 0 where the episode terminated
    next_obs: Array  # (B, ...) where to bootstrap from


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
    # x . x is the fastest way to see a NaN or inf; it may overflow, so look again
    if x.dtype.kind == "f" and not math.isfinite(np.vdot(x, x)) and not np.isfinite(x).all():
        raise ValueError(f"observation is not finite: {x}")
    return x


@kernel
def ended_before(i: int, lanes: int, terminated: Array, truncated: Array) -> bool:
    """Whether flat slot i is a bridge: whether the slot before it, in its lane, ended.

    The slot before the oldest one is the head, whose flags still are those of the
    step that the head has yet to overwrite: exactly the one that is asked for.
    """
    before = i - lanes  # -1 wraps around, as in any array
    return bool(terminated[before] or truncated[before])


@kernel
def keep_starts(
    draws: Array,  # ages in [0, stored * lanes), 0 the oldest
    oldest: int,  # the flat slot of age 0
    lanes: int,
    terminated: Array,  # flat, (slots * lanes,), like all arrays of the ring below
    truncated: Array,
    starts: Array,  # (B,), filled from `found` on
    found: int,
) -> int:
    """Turn ages into flat slots, pass over the bridges; return how many starts there are now."""
    for age in draws:
        i = (oldest + age) % len(terminated)
        if not ended_before(i, lanes, terminated, truncated):
            starts[found] = i
            found += 1
    return found


@kernel
def n_step_returns(
    starts: Array,  # (B,) flat slots
    head: int,  # the slot whose action is not chosen yet, 0 to slots - 1
    lanes: int,
    rewards: Array,
    terminated: Array,
    truncated: Array,
    n: int,
    gamma: float,
) -> tuple[Array, Array, Array]:
    """Walk forward from each start: R, its discount, and the flat slot to bootstrap from."""
    returns = np.empty(len(starts), np.float32)
    discounts = np.empty(len(starts), np.float32)
    ends = np.empty(len(starts), np.int64)
    for b in range(len(starts)):
        i = starts[b]
        head_of_lane = head * lanes + i % lanes
        total, discount = 0.0, 1.0
        for _ in range(n):
            total += discount * rewards[i]
            discount *= gamma
            if terminated[i]:
                discount = 0.0
            over = terminated[i] or truncated[i]
            i += lanes
            if i >= len(rewards):
                i -= len(rewards)
            if over or i == head_of_lane:
                break
        returns[b], discounts[b], ends[b] = total, discount, i
    return returns, discounts, ends


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
        self.count = 0  # slots completed since the start; the head is slot count % slots
        self.begun = False

    @property
    def arrays(self) -> dict[str, Array]:
        """The ring itself: its five arrays, by name."""
        names = ("obs", "action", "reward", "terminated", "truncated")
        return {name: getattr(self, name) for name in names}

    @property
    def nbytes(self) -> int:
        """Memory that the ring takes once it is full, in bytes."""
        return sum(array.nbytes for array in self.arrays.values())

    def __len__(self) -> int:
        """Steps stored, bridges included."""
        return min(self.count, self.slots - 1) * self.lanes

    def begin(self, obs: ArrayLike) -> None:
        """Open the stream of every lane at `obs`, what the environment's reset returned.

        An episode that was still going on counts as truncated: its last observation
        stays, as a bridge.
        """
        x = self._lane_obs(obs)
        # Where the slot before the last one ended an episode, the last is a bridge and the
        # head a first observation already, which x replaces: so it is after a begin.
        last, before = (self.count - 1) % self.slots, (self.count - 2) % self.slots
        if self.count and not (self.terminated[before] | self.truncated[before]).all():
            self.truncated[last] |= ~self.terminated[last]
            self._write(0, 0.0, x, False, False)  # the bridge, and x behind it
        self.obs[self.count % self.slots] = x
        self.begun = True

    def add(
        self,
        action: ArrayLike,
        reward: ArrayLike,
        next_obs: ArrayLike,
        terminated: ArrayLike,
        truncated: ArrayLike,
    ) -> int:
        """Store what came of the action in each lane; return how many lanes really stepped.

        Arguments have shape (lanes, ...), or are bare for a single environment.
        After the end of an episode a single environment is reset and goes on with
        `begin`. A vector environment spends its next step on the reset: the action
        is ignored, the slot is that lane's bridge, and no lane ends in it.
        """
        if not self.begun:
            raise ValueError("no stream is open: call begin(obs) with what reset() returned")
        x = self._lane_obs(next_obs)
        bare = np.ndim(next_obs) == len(self.obs_shape)
        parts = [action, reward, terminated, truncated]
        if bare and any(isinstance(part, np.ndarray) and part.ndim for part in parts):
            raise ValueError(f"{parts} beside one observation: expected one value each")
        steps = [parts] if bare else list(zip(*map(self._per_lane, parts), strict=True))

        last = (self.count - 1) % self.slots
        stepped = 0
        for lane, (a, r, end, cut) in enumerate(steps):
            if a not in range(self.n_actions):
                raise ValueError(f"action {a}: expected an integer from 0 to {self.n_actions - 1}")
            if not (isinstance(r, Real | np.ndarray) and abs(float(r)) <= MAX_REWARD):
                raise ValueError(f"reward {r}: expected a finite number, as a float32")
            if end not in (True, False) or cut not in (True, False):
                raise ValueError(f"terminated {end}, truncated {cut}: expected True or False")
            if not (self.terminated[last, lane] or self.truncated[last, lane]):
                stepped += 1
            elif bare:
                raise ValueError("the episode has ended: reset, then call begin(obs)")
            elif end or cut:
                raise ValueError(f"lane {lane} ended twice: expected NEXT_STEP autoreset")

        self._write(action, reward, x, terminated, truncated)
        return stepped

    def sample(self, batch_size: int, rng: np.random.Generator, n_step: int, gamma: float) -> Batch:
        """Draw transitions, each stored one equally likely, with replacement.

        Ages are drawn over all slots, and those that hit a bridge are drawn again.
        """
        if not 0 < batch_size <= len(self):
            raise ValueError(f"batch_size {batch_size}: expected 1 to the {len(self)} steps stored")
        terminated, truncated = self.terminated.reshape(-1), self.truncated.reshape(-1)
        oldest = max(self.count - self.slots + 1, 0) % self.slots * self.lanes
        starts = np.empty(batch_size, np.int64)
        found = 0
        while found < batch_size:
            draws = rng.integers(len(self), size=batch_size - found)
            found = keep_starts(draws, oldest, self.lanes, terminated, truncated, starts, found)

        head = self.count % self.slots
        rewards = self.reward.reshape(-1)
        returns, discounts, ends = n_step_returns(
            starts, head, self.lanes, rewards, terminated, truncated, n_step, gamma
        )
        obs = self.obs.reshape(-1, *self.obs_shape)
        return Batch(
            obs.take(starts, axis=0),
            self.action.take(starts),
            returns,
            discounts,
            obs.take(ends, axis=0),
        )

    def _write(
        self,
        action: ArrayLike,
        reward: ArrayLike,
        next_obs: Array,
        terminated: ArrayLike,
        truncated: ArrayLike,
    ) -> None:
        """Complete the head, and open the next slot with the observation that followed."""
        slot = self.count % self.slots
        self.action[slot] = action
        self.reward[slot] = reward
        self.terminated[slot] = terminated
        self.truncated[slot] = truncated
        self.count += 1
        self.obs[self.count % self.slots] = next_obs

    def _lane_obs(self, obs: ArrayLike) -> Array:
        """`obs` with its lanes in front: (lanes, ...)."""
        x = checked_obs(obs, self.obs_shape, self.obs.dtype)
        if x.size != self.obs[0].size:
            raise ValueError(
                f"observation has shape {x.shape}: expected one for each of {self.lanes} lanes"
            )
        return x.reshape(self.obs[0].shape)

    def _per_lane(self, part: ArrayLike) -> list[Any]:
        """The values of one argument of `add`, lane by lane."""
        x = np.asarray(part)
        if x.shape != (self.lanes,):
            raise ValueError(f"{x} has shape {x.shape}: expected ({self.lanes},), one a lane")
        values: list[Any] = x.tolist()
        return values
