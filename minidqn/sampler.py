"""Which transitions an update learns from: uniform draws.

Random draws from a long memory make the transitions of a batch nearly independent, and
use each transition several times. parts/prioritized.py has another sampler, with the
same three methods.

Letters: B batch.
"""

import numpy as np

from minidqn import checks
from minidqn.batch import draw_starts
from minidqn.nn.layers import Array
from minidqn.replay import Replay


class UniformSampler:
    """Draws each stored transition equally often."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
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
        stored = len(ring)
        checks.batch_size(batch_size, stored)
        if len(self.starts) != batch_size:
            self.starts = np.empty(batch_size, np.int64)
            self.weights = np.ones(batch_size, np.float32)
        oldest = (ring.count - stored // ring.num_envs) % ring.slots * ring.num_envs
        found = 0
        while found < batch_size:
            # a few more than needed, because some will hit a bridge
            uniforms = rng.random(batch_size + batch_size // 4)
            found = draw_starts(
                uniforms, oldest, stored, ring.flat_kind, self.starts, found
            )
        return self.starts, self.weights

    def admit(self) -> None:
        """Called after each begin and add. Does nothing here: any step may be drawn."""

    def update(self, starts: Array, errors: Array) -> None:
        """Takes the TD errors of the last draw, (B,), (B,). Does nothing here."""
