"""What a batch is made of: transitions, read from the stream that replay.py stores.

Because the stream is whole, the n-step return is summed up when a batch is made: from
slot t on, until there are n rewards, the episode ends, or the head is reached.

    R = r_t + gamma r_{t+1} + ... + gamma^(k-1) r_{t+k-1},    k <= n

Then the value of the state reached is added, times gamma^k, which is *bootstrapping*;
or times 0 if the episode *terminated* there. *Truncated* is not terminated: the episode
would have gone on, so the value of its final observation still counts.

One picture does not show how things move, so the network may see the last F observations,
a *stack of frames* (Mnih et al. 2015). The ring has each of them once, and a stack is put
together here, by walking back from its newest.

The functions are kernels (see nn/jit.py): of arrays, without state and random numbers.

Letters: B batch, A actions, F frames, D numbers in an observation.
Source: Sutton & Barto 2018, section 7.1, on n-step returns.
"""

from typing import NamedTuple

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array

BRIDGE, STEP, TRUNCATED, TERMINATED = range(4)  # kinds of slots; from TRUNCATED on, an end


class Batch(NamedTuple):
    obs: Array  # (B, ...), in the dtype of the environment
    actions: Array  # (B,)
    returns: Array  # (B,) R, the discounted sum of up to n rewards
    discounts: Array  # (B,) gamma^k, or 0 where the episode terminated
    next_obs: Array  # (B, ...) where to bootstrap from
    next_mask: Array  # (B, A) which actions are allowed there


@kernel
def draw_starts(
    uniforms: Array, oldest: int, stored: int, kind: Array, starts: Array, found: int
) -> int:
    """Fill `starts`, (B,), from index `found` on, from numbers in [0, 1); return the new count."""
    # A number times `stored`, rounded down, is a place; 0 is the oldest slot. Some places
    # would be likelier by 2^-32: their surplus products are skipped (Lemire 2019, "Fast
    # random integer generation in an interval").
    surplus = 2**32 % stored
    for uniform in uniforms:
        if found == len(starts):
            break
        product = np.int64(uniform * 2.0**32) * stored
        if product & (2**32 - 1) < surplus:
            continue
        start = oldest + (product >> 32)
        if start >= len(kind):
            start -= len(kind)
        if kind[start] != BRIDGE:
            starts[found] = start
            found += 1
    return found


@kernel
def copy_stack(obs: Array, kind: Array, i: int, num_envs: int, stacks: Array, row: int) -> None:
    """Fill stacks[row], (F, D), with the observations up to entry i, the oldest first.

    At an episode's first one (the slot before is a bridge) the walk stops; it fills the rest.
    """
    for f in range(stacks.shape[1] - 1, -1, -1):
        for d in range(obs.shape[1]):
            stacks[row, f, d] = obs[i, d]
        if f > 0 and kind[i - num_envs] != BRIDGE:  # a negative index counts from the end
            i -= num_envs


@kernel
def gather(
    starts: Array, head: int, num_envs: int, n: int, gamma: float,
    obs: Array, action: Array, reward: Array, kind: Array, mask: Array,
    obs_out: Array, actions: Array, returns: Array, discounts: Array,
    next_obs: Array, next_mask: Array,
) -> None:  # fmt: skip  # by what they belong to, not one a line
    """Fill a batch with the transitions that begin at `starts`, (B,).

    The ring's arrays are (slots * num_envs, ...), and `head` is their first entry that holds
    no transition yet; those of the batch are (B, ...), of the observations (B, F, D).
    """
    for row, start in enumerate(starts):
        total, discount, i = 0.0, 1.0, start
        for _ in range(n):
            total += discount * reward[i]
            discount = 0.0 if kind[i] == TERMINATED else discount * gamma
            ended = kind[i] >= TRUNCATED
            i += num_envs
            if i >= len(action):
                i -= len(action)
            if ended or head <= i < head + num_envs:
                break

        actions[row], returns[row], discounts[row] = action[start], total, discount
        if obs_out.shape[1] == 1:  # the usual case: no stack
            for d in range(obs.shape[1]):
                obs_out[row, 0, d] = obs[start, d]
                next_obs[row, 0, d] = obs[i, d]
        else:
            copy_stack(obs, kind, start, num_envs, obs_out, row)
            copy_stack(obs, kind, i, num_envs, next_obs, row)
        for a in range(mask.shape[1]):
            next_mask[row, a] = mask[i, a]
