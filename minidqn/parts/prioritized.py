"""Prioritised replay: transitions with large errors are drawn more often.

Most stored transitions are already learned. So the probability of transition i grows
with the TD error delta_i that it had when it was last in a batch:

    P(i) = p_i / sum of all p        p_i = (|delta_i| + 0.01)^alpha

alpha = 0 would be the uniform draw. A new transition gets the largest p so far, so it
is drawn soon. (Schaul clips delta to [-1, 1]; here it is not clipped.) A draw that is
not uniform biases the update. A weight on each row's loss corrects the bias, fully with
beta = 1:

    w_i = (smallest P in the batch / P(i))^beta

Slots where no transition begins have p = 0: the head and the bridges (see replay.py).
Starts whose n rewards are not all stored yet also have p = 0, while their episode
continues. Otherwise they would be drawn at the highest priority, with too short a
return.

There may be a million p_i, which change often. A *sum tree* draws in proportion to them
in 20 steps. It is a binary tree: its leaves are the p_i, and every other node is the
sum of its two children. It is stored in an array: the root is node 1, the children of
node k are 2k and 2k + 1, node 0 is unused. To draw, take a random number below the
root's value, and go down: left if the number is less than the left child's sum, else
subtract that sum and go right.

Letters: B batch, L leaves, a power of two. Source: Schaul et al. 2016, "Prioritized
experience replay", section 3 and appendix B.2.1.
"""

import math

import numpy as np

from minidqn import checks
from minidqn.batch import BRIDGE, TRUNCATED
from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array
from minidqn.replay import Replay
from minidqn.schedules import Schedule, value_at

SMALLEST = 0.01  # added to each error, so that every transition is drawn again


@kernel
def set_leaf(tree: Array, leaf: int, priority: float) -> None:
    """Set the priority of `leaf`, and the sums of all nodes above it: O(log L)."""
    node = len(tree) // 2 + leaf
    tree[node] = priority
    while node > 1:
        node //= 2
        # a new sum: adding differences would accumulate rounding errors
        tree[node] = tree[2 * node] + tree[2 * node + 1]


@kernel
def find_leaf(tree: Array, target: float) -> int:
    """The first leaf at which the running sum of the leaves exceeds `target`."""
    node = 1
    while node < len(tree) // 2:
        node *= 2
        # the second condition: rounding must never lead to a leaf of priority 0
        if target >= tree[node] and tree[node + 1] > 0.0:
            target -= tree[node]
            node += 1
    return node - len(tree) // 2


@kernel
def draw_leaves(
    tree: Array, uniforms: Array, beta: float, starts: Array, weights: Array
) -> None:
    """A leaf and its weight for each number in [0, 1): (2 L,), (B,) to (B,), (B,).

    The range is split into B equal parts, with one number in each.
    """
    batch = len(starts)
    least = np.inf
    for i in range(batch):
        starts[i] = find_leaf(tree, (i + uniforms[i]) / batch * tree[1])
        least = min(least, tree[len(tree) // 2 + starts[i]])
    for i in range(batch):
        weights[i] = (least / tree[len(tree) // 2 + starts[i]]) ** beta


@kernel
def admit_starts(
    tree: Array,
    kind: Array,
    bridge: int,
    truncated: int,
    count: int,
    spare_slots: int,
    n: int,
    priority: float,
) -> None:
    """Let a start be drawn once its n rewards, or all of its episode, are stored.

    tree (2 L,), kind (slots, E); `count` slots are complete. `bridge` and `truncated`
    are kinds: from `truncated` on, a kind ends an episode. The head is not drawn, nor
    are the oldest slots, which are kept only for the stacks of the next ones.
    """
    slots, num_envs = kind.shape
    for env in range(num_envs):
        set_leaf(tree, (count + spare_slots - 1) % slots * num_envs + env, 0.0)
        last = count - 1
        if kind[last % slots, env] == bridge:
            last -= 1  # the episode before it may just have been cut
        over = kind[last % slots, env] >= truncated
        oldest = max(count + spare_slots - slots, 0)
        for back in range(min(n, last + 1 - oldest)):
            slot = (last - back) % slots
            if kind[slot, env] == bridge:
                break
            leaf = slot * num_envs + env
            complete = over or back == n - 1
            if complete and tree[len(tree) // 2 + leaf] == 0.0:
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


class PrioritizedSampler:
    """Draws transitions in proportion to their priorities.

    It replaces sampler.UniformSampler. `n_step` is the same as for the batches.
    """

    def __init__(
        self, replay: Replay, n_step: int, alpha: float, beta: Schedule
    ) -> None:
        self.replay = replay
        self.n_step = n_step
        self.alpha = alpha
        self.beta = beta
        self.largest = np.ones(1)  # the largest priority so far
        self.admitted = 0  # the replay's count at the last admit
        self.made = False  # whether the tree is there

    def make(self) -> None:
        """Make the tree, unless it is there: like the ring, when an agent begins."""
        if self.made:
            return
        shape = (self.replay.slots, self.replay.num_envs)
        entries = math.prod(shape)
        leaves = 1 << (entries - 1).bit_length()
        self.tree = np.zeros(2 * leaves)  # (2 L,)
        # the priority of each slot, (slots, E): a view
        self.leaves = self.tree[leaves : leaves + entries].reshape(shape)
        self.made = True

    @property
    def arrays(self) -> dict[str, Array]:
        """The arrays to save, by name: views."""
        self.make()
        # a Ctrl-C may have come in `update`, before the largest was set
        self.largest[0] = max(self.largest[0], self.leaves.max())
        return {"leaves": self.leaves, "largest": self.largest}

    def admit(self) -> None:
        """After each `begin` and `add`: new transitions get the largest priority."""
        if not self.made:
            self.make()
        ring = self.replay
        # usually once; again if an interrupt came between a step and its admission
        first = min(self.admitted + 1, ring.count)
        for count in range(first, ring.count + 1):
            admit_starts(
                self.tree,
                ring.kind,
                BRIDGE,
                TRUNCATED,
                count,
                ring.spare_slots,
                self.n_step,
                self.largest[0],
            )
        self.admitted = ring.count

    def draw(
        self, batch_size: int, rng: np.random.Generator, step: int
    ) -> tuple[Array, Array]:
        """The starts of transitions, and the weights of their losses: (B,), (B,).

        The weights use beta's value at this `step` of the run.
        """
        checks.batch_size(batch_size, len(self.replay))
        if self.tree[1] == 0.0:
            raise ValueError(
                f"no transition is complete yet: expected one of {self.n_step} steps, "
                "or up to the end of its episode"
            )
        beta = checks.probability("priority_beta", value_at(self.beta, step), step)
        starts = np.empty(batch_size, np.int64)
        weights = np.empty(batch_size, np.float32)
        draw_leaves(self.tree, rng.random(batch_size), beta, starts, weights)
        return starts, weights

    def update(self, starts: Array, errors: Array) -> None:
        """Set the priorities of these starts, from their TD errors: (B,), (B,)."""
        largest = set_priorities(self.tree, starts, errors, self.alpha)
        self.largest[0] = max(self.largest[0], largest)

    def restore(self) -> None:
        """Compute the sums, after the leaves were set."""
        first = len(self.tree) // 2  # the first leaf, then the first node of each level
        while first > 1:
            level = self.tree[first : 2 * first]
            self.tree[first // 2 : first] = level[::2] + level[1::2]
            first //= 2
        self.admitted = self.replay.count

    def is_sound(self) -> bool:
        """Whether a draw can rely on the leaves: 0 where no transition begins."""
        ring = self.replay
        nothing = ring.kind == BRIDGE  # (slots, E)
        for slot in range(ring.count, ring.count + ring.spare_slots):
            nothing[slot % ring.slots] = True  # the head, and slots kept for stacks
        least = self.leaves.min()
        most = max(self.leaves.max(), 1e-9)  # so that `largest` must be above 0
        valid = least >= 0.0 and most <= self.largest[0] < 1e100
        return bool(valid and (self.leaves[nothing] == 0.0).all())
