"""Prioritised replay: transitions that surprised are drawn more often.

Most of what is stored was understood long ago. So let the chance of a transition i
grow with the TD error delta_i that it showed when it was last learned from:

    P(i) = p_i / sum of all p        p_i = (|delta_i| + 0.01)^alpha

alpha = 0 would draw all alike. A transition that was never learned from gets the
largest p so far, and so comes soon. (Schaul clips delta to [-1, 1]; here it is as it
is.) Drawing unevenly bends the expectation that the
update estimates; each row's loss is weighted to unbend it, fully so with beta = 1:

    w_i = (min over the batch of P / P(i))^beta

Slots where no transition begins have p = 0: the head and the bridges (replay.py), and
a start whose n rewards have not all come, while its episode goes on: it would be learned
from at the highest priority, with a shorter return than was asked for.

The draw must be proportional among a million numbers that change all the time. A *sum
tree* does it in 20 steps: a binary tree whose leaves are the p_i, and every other node
the sum of its two children. It lies in an array, without pointers: the root is node 1,
the children of node k are 2k and 2k + 1, and node 0 is spare. To draw, throw a number
below the root's, and go down: left if it is less than the left child's sum, else
take that off and go right.

Letters: B batch, L leaves, a power of two.
Source: Schaul et al. 2016, "Prioritized experience replay", section 3 and appendix B.2.1.
"""

import numpy as np
from numpy.typing import DTypeLike

from minidqn.jit import kernel
from minidqn.layers import Array
from minidqn.replay import Replay

SMALLEST = 0.01  # what an error counts at least, so that each transition comes again


@kernel
def set_leaf(tree: Array, leaf: int, priority: float) -> None:
    """Give `leaf` its priority, and every node above it its sum: O(log L)."""
    node = len(tree) // 2 + leaf
    tree[node] = priority
    while node > 1:
        node //= 2
        # summed up afresh: adding the difference would let errors of rounding pile up
        tree[node] = tree[2 * node] + tree[2 * node + 1]


@kernel
def find_leaf(tree: Array, target: float) -> int:
    """The leaf at which the sum of the leaves, from the first on, passes `target`."""
    node = 1
    while node < len(tree) // 2:
        node *= 2
        # the second condition: rounding must never lead to a leaf of priority 0
        if target >= tree[node] and tree[node + 1] > 0.0:
            target -= tree[node]
            node += 1
    return node - len(tree) // 2


@kernel
def draw_leaves(tree: Array, uniforms: Array, beta: float, starts: Array, weights: Array) -> None:
    """A leaf and its weight for each number in [0, 1): (2 L,), (B,) to (B,), (B,).

    The numbers are spread over B stretches of equal mass, which covers the range evenly.
    """
    batch, least = len(starts), np.inf
    for i in range(batch):
        starts[i] = find_leaf(tree, (i + uniforms[i]) / batch * tree[1])
        least = min(least, tree[len(tree) // 2 + starts[i]])
    for i in range(batch):
        weights[i] = (least / tree[len(tree) // 2 + starts[i]]) ** beta


@kernel
def admit(
    tree: Array,
    last: int,  # the slot just completed, counted since the start
    most: int,  # slots to go back at most
    n: int,
    terminated: Array,  # (slots, lanes)
    truncated: Array,
    priority: float,
) -> None:
    """Let those starts be drawn whose n rewards, or all to the end of the episode, have come."""
    slots, lanes = terminated.shape
    for lane in range(lanes):
        over = terminated[last % slots, lane] or truncated[last % slots, lane]
        for back in range(min(n, most)):
            slot = (last - back) % slots
            if terminated[slot - 1, lane] or truncated[slot - 1, lane]:
                break  # a bridge: the episode began behind it
            leaf = slot * lanes + lane
            if (over or back == n - 1) and tree[len(tree) // 2 + leaf] == 0.0:
                set_leaf(tree, leaf, priority)


@kernel
def set_priorities(tree: Array, starts: Array, errors: Array, alpha: float) -> float:
    """p = (|delta| + SMALLEST)^alpha at each start: (B,), (B,); return the largest."""
    largest = 0.0
    for i in range(len(starts)):
        priority = (abs(errors[i]) + SMALLEST) ** alpha
        set_leaf(tree, starts[i], priority)
        largest = max(largest, priority)
    return largest


class PrioritizedReplay(Replay):
    """A replay buffer that draws in proportion to priorities.

    `n_step` is that of the draws to come: a start is admitted when so many steps followed.
    """

    def __init__(
        self,
        capacity: int,
        obs_shape: tuple[int, ...],
        obs_dtype: DTypeLike,
        n_actions: int,
        lanes: int = 1,
        *,
        n_step: int,
        alpha: float,
    ) -> None:
        super().__init__(capacity, obs_shape, obs_dtype, n_actions, lanes)
        leaves = 1 << (self.slots * lanes - 1).bit_length()
        self.tree = np.zeros(2 * leaves)
        self.largest = np.ones(1)  # priority so far
        self.n_step, self.alpha = n_step, alpha

    @property
    def arrays(self) -> dict[str, Array]:
        return super().arrays | {"tree": self.tree, "largest": self.largest}

    def _moved_on(self, last: int) -> None:
        """The head holds no transition now; those that slot `last` completed can be drawn."""
        head = self.count % self.slots * self.lanes
        for leaf in range(head, head + self.lanes):
            set_leaf(self.tree, leaf, 0.0)
        admit(
            self.tree,
            last,
            min(self.count, self.slots - 1) - (self.count - 1 - last),
            self.n_step,
            self.terminated,
            self.truncated,
            self.largest[0],
        )

    def _draw(self, batch_size: int, rng: np.random.Generator, beta: float) -> tuple[Array, Array]:
        if not self.tree[1] > 0.0:
            raise ValueError(f"no transition of {self.n_step} steps is complete yet")
        starts, weights = np.empty(batch_size, np.int64), np.empty(batch_size, np.float32)
        draw_leaves(self.tree, rng.random(batch_size), beta, starts, weights)
        return starts, weights

    def learned(self, starts: Array, errors: Array) -> None:
        """Set the priorities of what was drawn, from its TD errors: (B,), (B,)."""
        largest = set_priorities(self.tree, starts, errors, self.alpha)
        self.largest[0] = max(self.largest[0], largest)

    def is_sound(self) -> bool:
        """Whether the draw can rely on the tree: sums, and 0 at head, bridges and beyond."""
        tree, leaves = self.tree, self.tree[len(self.tree) // 2 :]
        ended = self.terminated | self.truncated  # (slots, lanes)
        bridges = np.roll(ended, 1, axis=0)
        bridges[self.count % self.slots] = True  # the head, from which nothing starts yet
        bridges[min(self.count, self.slots) :] = True
        nothing = np.ones(len(leaves), np.bool_)
        nothing[: bridges.size] = bridges.reshape(-1)
        sums = tree[2::2] + tree[3::2]
        return bool(
            (leaves >= 0.0).all()
            and (leaves[nothing] == 0.0).all()
            and (tree[1 : len(sums) + 1] == sums).all()
            and max(leaves.max(), 1e-9) <= self.largest[0] < 1e100
        )
