"""Which transitions an update learns from: uniform draws.

Random draws from a long memory make the transitions of a batch nearly independent, and
use each transition several times.

But an old transition tells how an early, bad policy went on after the action. This
matters for n-step returns, whose n rewards come from the actions that were taken. If
the agent no longer takes some action in a state, only old transitions tell about it,
and they say that it is bad. So the draw may leave out what is old, for example the
older half of what is stored.

parts/prioritized.py has another sampler, with the same three methods.

Letters: B batch. Source on the age of transitions: Fedus et al. 2020, "Revisiting
fundamentals of experience replay", section 3.
"""

import math

import numpy as np

from minidqn import checks
from minidqn.batch import draw_starts
from minidqn.nn.layers import Array
from minidqn.replay import Replay


class Newest:
    """The part of a ring that is drawn from: its newest slots.

    They are this `share` of the slots that are stored, but at least `least` slots, of
    all environments together. By default they are all.
    """

    def __init__(self, replay: Replay, share: float = 1.0, least: int = 1) -> None:
        self.replay = replay
        self.share = share
        # of one environment; and one slot alone may be a bridge, without a transition
        self.least_slots = max(2, math.ceil(least / replay.num_envs))

    def first(self, count: int) -> int:
        """The first of the newest slots when `count` slots were completed.

        Slots are counted from the beginning of the run, as in Replay.count.
        """
        stored = min(count, self.replay.slots - self.replay.spare_slots)
        newest = max(self.least_slots, math.ceil(self.share * stored))
        return count - min(newest, stored)


class UniformSampler:
    """Draws each of the newest transitions equally often; by default all."""

    def __init__(self, replay: Replay, newest: Newest | None = None) -> None:
        self.replay = replay
        self.newest = newest or Newest(replay)
        self.starts = np.empty(0, np.int64)
        self.weights = np.empty(0, np.float32)

    def draw(
        self, batch_size: int, rng: np.random.Generator, step: int
    ) -> tuple[Array, Array]:
        """The starts of B transitions, (B,), and the weights of their losses, (B,).

        The starts are drawn with replacement. The weights are 1 here, at every `step`
        of the run. The next draw overwrites both arrays.
        """
        ring = self.replay
        checks.batch_size(batch_size, len(ring))
        if len(self.starts) != batch_size:
            self.starts = np.empty(batch_size, np.int64)
            self.weights = np.ones(batch_size, np.float32)
        first = self.newest.first(ring.count)
        oldest = first % ring.slots * ring.num_envs
        drawn_from = (ring.count - first) * ring.num_envs
        found = 0
        while found < batch_size:
            # a few more than needed, because some will hit a bridge
            uniforms = rng.random(batch_size + batch_size // 4)
            found = draw_starts(
                uniforms, oldest, drawn_from, ring.flat_kind, self.starts, found
            )
        return self.starts, self.weights

    def admit(self) -> None:
        """Called after each begin and add. Does nothing here: any step may be drawn."""

    def update(self, starts: Array, errors: Array) -> None:
        """Takes the TD errors of the last draw, (B,), (B,). Does nothing here."""
