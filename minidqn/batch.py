"""What a batch is made of: transitions, read from the stream that replay.py stores.

The stream is complete, so the n-step return can be summed up when a batch is made: from
slot t on, until there are n rewards, the episode ends, or the head is reached.

    R = r_t + gamma r_{t+1} + ... + gamma^(k-1) r_{t+k-1},    k <= n

The target is y = R + discount * Q(s', a'), where s' is the state reached. The discount
is gamma^k, or 0 if the episode *terminated* in s'. *Truncated* is not terminated: the
episode would have gone on, so the value of its final observation still counts.

The kernels that read the constants of a slot's kind are here: a kernel reads no
constant of another file (nn/jit.py). In them, the environments lie side by side, so
that an index of the ring's flat arrays is slot * E + environment.

Letters: B batch, A actions, E environments, D numbers in an observation.
Source: Sutton & Barto 2018, section 7.1, on n-step returns.
"""

from typing import Any, NamedTuple

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array

# kinds of slots, see replay.py; from TRUNCATED on, an episode ends
BRIDGE, STEP, TRUNCATED, TERMINATED = range(4)


class Batch(NamedTuple):
    """B transitions. The next batch of the same size overwrites these arrays."""

    obs: Array  # (B, ...), in the dtype of the environment
    actions: Array  # (B,)
    returns: Array  # (B,) R, the discounted sum of up to n rewards
    discounts: Array  # (B,) gamma^k, or 0 where the episode terminated
    next_obs: Array  # (B, ...) where to bootstrap from
    next_mask: Array  # (B, A) which actions are allowed there


def kind_of(terminated: bool, truncated: bool) -> int:
    """The kind of slot that a step makes. If both are true, it is TERMINATED."""
    if terminated:
        return TERMINATED
    return TRUNCATED if truncated else STEP


@kernel
def slot_kinds(
    action: Array,
    reward: Array,
    terminated: Array,
    truncated: Array,
    ended: Array,
    n_actions: int,
    largest: float,
    kinds: Array,
) -> int:
    """The kind of slot that the step of each environment makes, all (E,).

    Where the last step `ended` an episode, this one is the reset: a bridge. Returns the
    first environment whose step is not valid, or E.
    """
    for env in range(len(kinds)):
        if terminated[env]:
            kind = TERMINATED
        elif truncated[env]:
            kind = TRUNCATED
        else:
            kind = STEP
        action_fits = 0 <= action[env] < n_actions
        reward_fits = abs(reward[env]) <= largest  # False for NaN, too
        ended_twice = ended[env] and kind != STEP
        if not action_fits or not reward_fits or ended_twice:
            return env
        kinds[env] = BRIDGE if ended[env] else kind
    return len(kinds)


@kernel
def draw_starts(
    uniforms: Array, oldest: int, stored: int, kind: Array, starts: Array, found: int
) -> int:
    """Fill `starts`, (B,), from index `found` on, from numbers in [0, 1).

    `kind` is flat, (slots * E,), and `stored` of its entries from `oldest` on are
    complete. A number that hits a bridge is left out. Returns the new count.
    """
    for uniform in uniforms:
        if found == len(starts):
            break
        start = oldest + int(uniform * stored)
        if start >= len(kind):
            start -= len(kind)
        if kind[start] != BRIDGE:
            starts[found] = start
            found += 1
    return found


@kernel
def n_step_returns(
    starts: Array,
    head: int,
    num_envs: int,
    n: int,
    gamma: float,
    action: Array,
    reward: Array,
    kind: Array,
    actions: Array,
    returns: Array,
    discounts: Array,
    ends: Array,
) -> None:
    """The action, R, the discount, and the place of s', for each start: (B,) each.

    action, reward and kind are flat, (slots * E,): the next step of an environment is
    num_envs further. `head` is the first entry that holds no transition yet.
    """
    for row in range(len(starts)):
        place = starts[row]
        actions[row] = action[place]
        total = 0.0
        discount = 1.0
        for _ in range(n):
            total += discount * float(reward[place])
            discount *= 0.0 if kind[place] == TERMINATED else gamma
            ended = kind[place] != STEP
            place += num_envs
            if place >= len(kind):
                place -= len(kind)
            if ended or head <= place < head + num_envs:
                break
        returns[row] = total
        discounts[row] = discount
        ends[row] = place


@kernel
def copy_rows(
    source: Array, starts: Array, ends: Array, obs: Array, next_obs: Array
) -> None:
    """The rows of `source`, (slots * E, D), at starts and ends, (B,): to (B, D)."""
    for i in range(len(starts)):
        for d in range(source.shape[1]):
            obs[i, d] = source[starts[i], d]
            next_obs[i, d] = source[ends[i], d]


class BatchArrays:
    """The arrays that a batch is filled into, made once for a batch size."""

    def __init__(self, size: int, shape: Any, dtype: Any, n_actions: int) -> None:
        self.actions = np.empty(size, np.int32)  # (B,), like the next three
        self.returns = np.empty(size)
        self.discounts = np.empty(size)
        self.ends = np.empty(size, np.int64)  # (B,) where s' is
        self.next_mask = np.ones((size, n_actions), np.bool_)
        obs: Array = np.empty((size, *shape), dtype)
        next_obs: Array = np.empty((size, *shape), dtype)
        self.obs_rows = obs.reshape(size, -1)  # (B, D), views
        self.next_obs_rows = next_obs.reshape(size, -1)
        self.batch = Batch(
            obs, self.actions, self.returns, self.discounts, next_obs, self.next_mask
        )
