"""The sum tree against sums, and what may be drawn, and how often, against a plain list."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from minidqn import LinearDecay
from minidqn.batch import BRIDGE, STEP, TERMINATED, TRUNCATED, Batch
from minidqn.nn.layers import Array
from minidqn.parts.frames import StackedReplay
from minidqn.parts.prioritized import (
    SMALLEST,
    PrioritizedSampler,
    admit_starts,
    draw_leaves,
    find_leaf,
    set_leaf,
    set_priorities,
)
from minidqn.replay import Replay
from minidqn.schedules import Schedule

from .conftest import plain
from .test_replay import ReplayMachine, copied

depths = st.integers(0, 5)
whole_numbers = st.integers(0, 8).map(float)  # whose sums are exact
priorities = st.just(0.0) | st.floats(1e-9, 1e9)


def tree_of(values: Any) -> Array:
    """A tree with these leaves, and as many of 0 as it takes to fill it."""
    leaves = 1 << (len(values) - 1).bit_length()
    tree = np.zeros(2 * leaves)
    for leaf, value in enumerate(values):
        set_leaf(tree, leaf, value)
    return tree


@pytest.mark.parametrize("function", [set_leaf, plain(set_leaf)])
def test_every_node_is_the_sum_of_its_children(function: Any) -> None:
    @given(depth=depths, data=st.data())
    def check(depth: int, data: st.DataObject) -> None:
        leaves = 1 << depth
        tree, values = np.zeros(2 * leaves), np.zeros(leaves)
        places = st.tuples(st.integers(0, leaves - 1), priorities)
        for leaf, value in data.draw(st.lists(places, max_size=20)):
            function(tree, leaf, value)
            values[leaf] = value
        np.testing.assert_array_equal(tree[leaves:], values)
        for node in range(1, leaves):
            assert tree[node] == tree[2 * node] + tree[2 * node + 1]
        assert tree[0] == 0.0

    check()


@pytest.mark.parametrize("function", [find_leaf, plain(find_leaf)])
def test_a_leaf_is_found_as_by_walking_along_all(function: Any) -> None:
    @given(values=st.lists(whole_numbers, min_size=1, max_size=40))
    def check(values: list[float]) -> None:
        tree = tree_of(values)
        found = [
            function(tree, k + offset)
            for k in range(int(sum(values)))
            for offset in (0, 0.5)
        ]
        assert found == [
            leaf for leaf, value in enumerate(values) for _ in range(int(2 * value))
        ]

    check()


@pytest.mark.parametrize("function", [find_leaf, plain(find_leaf)])
def test_no_leaf_of_priority_0_is_ever_found(function: Any) -> None:
    @given(
        values=st.lists(priorities, min_size=1, max_size=40).filter(any), data=st.data()
    )
    def check(values: list[float], data: st.DataObject) -> None:
        tree = tree_of(values)
        total = tree[1]
        edges = [partial for partial in np.cumsum(values) if partial <= total]
        edges += [tree[node] for node in range(1, len(tree)) if tree[node] <= total]
        for edge in [0.0, total, data.draw(st.floats(0.0, 1.0)) * total, *edges]:
            for target in (np.nextafter(edge, 0.0), edge, np.nextafter(edge, np.inf)):
                leaf = function(tree, target)
                assert leaf < len(values)
                assert values[leaf] > 0.0

    check()


class Highest(np.random.Generator):
    """The largest number below 1, each time."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def random(self, size: Any = None) -> Any:  # type: ignore[override]  # fewer arguments
        return np.full(size, np.nextafter(1.0, 0.0))


def test_the_highest_random_number_is_not_beyond_the_last_leaf() -> None:
    sampler = filled(40)
    starts, _ = sampler.draw(32, Highest(), step=0)
    assert starts[-1] == 39
    assert (sampler.leaves[starts] > 0.0).all()


class PrioritizedMachine(ReplayMachine):
    """The same small ring; beside the list, what each transition's priority should be."""

    def build(self, capacity: int, data: st.DataObject) -> Replay:
        self.n_step = data.draw(st.integers(1, 5))
        self.alpha = data.draw(st.sampled_from([0.5, 1.0]))
        self.largest = 1.0
        self.priorities: dict[tuple[int, int], float] = {}
        replay = self.ring(capacity, data)
        self.beta = 0.0  # at each draw another one
        self.prioritized = PrioritizedSampler(
            replay, self.n_step, self.alpha, lambda step: self.beta
        )
        return replay

    def do_begin(self, data: st.DataObject) -> None:
        super().do_begin(data)
        self.prioritized.admit()

    @precondition(lambda self: self.vector or not self.over[0])
    @rule(data=st.data())
    def add(self, data: st.DataObject) -> None:
        super().add(data)
        self.prioritized.admit()

    def is_complete(self, t: int, env: int) -> bool:
        walk = self.walk(t, env, self.n_step)
        return len(walk) == self.n_step or walk[-1].terminated or walk[-1].truncated

    @invariant()
    def complete_transitions_alone_can_be_drawn(self) -> None:
        self.complete = [place for place in self.stored() if self.is_complete(*place)]
        for place in self.complete:
            self.priorities.setdefault(place, self.largest)
        tree = self.prioritized.tree
        leaves = np.zeros(len(tree) // 2)
        for place in self.complete:
            leaves[self.leaf(*place)] = self.priorities[place]
        np.testing.assert_allclose(tree[len(tree) // 2 :], leaves, rtol=1e-12)
        np.testing.assert_array_equal(tree[1 : len(leaves)], tree[2::2] + tree[3::2])
        assert self.prioritized.largest[0] == pytest.approx(self.largest, rel=1e-12)
        before = tree.copy()
        self.prioritized.restore()
        assert self.prioritized.is_sound()
        np.testing.assert_array_equal(tree, before)

    @precondition(lambda self: self.complete)
    @rule(
        n_step=st.just(0),  # that of the sampler
        beta=st.sampled_from([0.0, 0.4, 1.0]),
        errors=st.lists(st.floats(-5.0, 5.0), min_size=1, max_size=8),
        seed=st.integers(0, 2**32),
    )
    def draw(self, n_step: int, beta: float, errors: list[float], seed: int) -> None:
        size = min(len(errors), len(self.replay))
        self.beta = beta
        rng = np.random.default_rng(seed)
        starts, weights = self.prioritized.draw(size, rng, step=0)
        batch = self.replay.batch(starts, self.n_step, 0.5)
        at = {self.leaf(*place): place for place in self.complete}
        places = [at[start] for start in starts.tolist()]
        assert self.rows(batch) == [
            self.expected(*place, self.n_step, 0.5) for place in places
        ]
        p = np.array([self.priorities[place] for place in places])
        np.testing.assert_allclose(weights, (p.min() / p) ** beta, rtol=1e-5)

        self.prioritized.update(starts, np.array(errors[:size]))
        for place, error in zip(places, errors[:size], strict=True):
            self.priorities[place] = (abs(error) + 0.01) ** self.alpha
            self.largest = max(self.largest, self.priorities[place])


PrioritizedMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40)
TestPrioritizedReplay = PrioritizedMachine.TestCase


def prioritized(
    capacity: int,
    n_step: int = 1,
    alpha: float = 1.0,
    beta: Schedule = 1.0,
    num_envs: int = 1,
) -> PrioritizedSampler:
    replay = Replay(capacity, (1,), np.float32, 2, num_envs)
    return PrioritizedSampler(replay, n_step, alpha, beta)


def begin(sampler: PrioritizedSampler, *first: Any) -> None:
    sampler.replay.begin(*first)
    sampler.admit()


def add(sampler: PrioritizedSampler, *step: Any) -> None:
    sampler.replay.add(*step)
    sampler.admit()


def filled(
    steps: int, capacity: int = 100, alpha: float = 1.0, beta: Schedule = 1.0
) -> PrioritizedSampler:
    """One long episode whose observations count up; every step is complete at once."""
    sampler = prioritized(capacity, alpha=alpha, beta=beta)
    begin(sampler, [0.0])
    for t in range(1, steps + 1):
        add(sampler, 0, float(t), [float(t)], False, False)
    return sampler


def sample(
    sampler: PrioritizedSampler, size: int, rng: np.random.Generator, step: int = 0
) -> tuple[Array, Array, Batch]:
    starts, weights = sampler.draw(size, rng, step)
    batch = sampler.replay.batch(starts, sampler.n_step, 0.9)
    return starts.copy(), weights.copy(), copied(batch)


def errors_for(priorities: Array, alpha: float = 1.0) -> Array:
    return np.asarray(priorities ** (1 / alpha) - SMALLEST)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_the_chance_is_proportional_to_the_error_to_the_power_of_alpha(
    alpha: float,
) -> None:
    sampler = filled(30, alpha=alpha)
    rng = np.random.default_rng(0)
    errors = rng.exponential(size=30) * rng.choice([-1.0, 1.0], 30)
    errors[:3] = 0.0
    sampler.update(np.arange(30), errors)
    p = (abs(errors) + 0.01) ** alpha
    p /= p.sum()
    batches, size = 5000, 20
    counts = np.zeros(30)
    for _ in range(batches):
        starts, _, batch = sample(sampler, size, rng)
        once = np.bincount(starts, minlength=30)
        assert (
            abs(once - size * p) < 2.0
        ).all()  # for each batch covers the range evenly
        np.testing.assert_array_equal(batch.obs[:, 0], starts)
        counts += once
    n = batches * size
    assert (abs(counts - n * p) < 4 * np.sqrt(n * p * (1 - p))).all()
    assert counts.sum() == n


def test_weights_with_beta_1_make_up_for_the_uneven_draw() -> None:
    sampler = filled(30)
    rng = np.random.default_rng(0)
    p = rng.choice([0.1, 0.5, 2.0], 30)
    sampler.update(np.arange(30), errors_for(p))
    totals, squares = np.zeros(30), np.zeros(30)
    batches, size = 5000, 30
    for _ in range(batches):
        starts, weights, _ = sample(sampler, size, rng)
        p_min = p[starts].min()
        np.testing.assert_allclose(weights, p_min / p[starts], rtol=1e-5)
        assert weights.max() == 1.0
        np.add.at(totals, starts, weights / p_min)
        np.add.at(squares, starts, (weights / p_min) ** 2)
    expected = batches * size / p.sum()
    assert (abs(totals - expected) < 4 * np.sqrt(squares)).all()
    assert len(set(p)) == 3


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_beta_tempers_the_weights(beta: float) -> None:
    sampler = filled(10, beta=beta)
    p = np.arange(1.0, 11.0)
    sampler.update(np.arange(10), errors_for(p))
    starts, weights, _ = sample(sampler, 10, np.random.default_rng(0))
    p = p[starts]
    np.testing.assert_allclose(weights, (p.min() / p) ** beta, rtol=1e-6)


def test_beta_is_asked_for_at_each_step() -> None:
    sampler = filled(10, beta=LinearDecay(0.0, 1.0, 100))
    p = np.arange(1.0, 11.0)
    sampler.update(np.arange(10), errors_for(p))
    for step, beta in ((0, 0.0), (60, 0.6), (100, 1.0), (1000, 1.0)):
        starts, weights, _ = sample(sampler, 10, np.random.default_rng(0), step)
        drawn = p[starts]
        np.testing.assert_allclose(weights, (drawn.min() / drawn) ** beta, rtol=1e-6)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_a_beta_out_of_range_is_refused(value: float) -> None:
    sampler = filled(10, beta=lambda step: value)
    before, rng = sampler.tree.copy(), np.random.default_rng(0)
    with pytest.raises(
        ValueError, match=f"priority_beta at step 7 is {value}: expected 0 to 1"
    ):
        sampler.draw(4, rng, step=7)
    np.testing.assert_array_equal(sampler.tree, before)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_what_is_new_comes_with_the_largest_priority_so_far() -> None:
    sampler = filled(4)
    leaves = sampler.leaves[:, 0]
    assert leaves[:5].tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]
    sampler.update(np.array([1, 2]), np.array([-3.0, 0.0]))
    sampler.update(
        np.array([1]), np.array([0.5])
    )  # the largest stays, though nobody has it
    add(sampler, 0, 0.0, [9.0], False, False)
    np.testing.assert_allclose(leaves[:6], [1.0, 0.51, 0.01, 1.0, 3.01, 0.0])


def test_of_equal_starts_the_last_error_counts() -> None:
    sampler = filled(4)
    sampler.update(np.array([2, 2, 2]), np.array([5.0, 7.0, 0.09]))
    assert sampler.leaves[2, 0] == pytest.approx(0.1)
    assert sampler.largest[0] == pytest.approx(7.01)


def test_nothing_can_be_drawn_before_n_steps_or_an_end() -> None:
    rng, sampler = np.random.default_rng(0), prioritized(10, n_step=3)
    with pytest.raises(
        ValueError, match="batch_size is 1, but only 0 slots are filled"
    ):
        sampler.draw(1, rng, step=0)
    begin(sampler, [0.0])
    for t in (1.0, 2.0):
        add(sampler, 0, t, [t], False, False)
    with pytest.raises(
        ValueError, match="no transition is complete yet: expected one of 3 steps"
    ):
        sampler.draw(1, rng, step=0)
    add(sampler, 0, 3.0, [3.0], False, False)
    assert set(sampler.draw(3, rng, step=0)[0]) == {0}
    begin(sampler, [5.0])  # cuts the episode
    assert set(sampler.draw(3, rng, step=0)[0]) == {0, 1, 2}


@pytest.mark.parametrize("n_step", [2, 3, 4, 9])
@pytest.mark.parametrize("frames", [1, 3])
def test_at_the_end_of_a_long_episode_only_stored_steps_can_be_drawn(
    frames: int, n_step: int
) -> None:
    """Also where n is more than the ring has room for."""
    replay = StackedReplay(3, (1,), np.float32, 2, frames=frames)
    sampler = PrioritizedSampler(replay, n_step, alpha=1.0, beta=1.0)
    begin(sampler, [0.0])
    for t in range(1, 11):
        add(sampler, 0, float(t), [float(t)], t == 10, False)
    last = [t % replay.slots for t in (7, 8, 9)]
    assert set(np.flatnonzero(sampler.leaves[:, 0])) == set(last)
    sampler.restore()
    assert sampler.is_sound()


@pytest.mark.parametrize("per_env", [3, 4, 5])
def test_what_is_drawn_once_can_always_be_drawn(per_env: int) -> None:
    """Also when the ring goes round, whatever n_step it has room for."""
    sampler = prioritized(2 * per_env, n_step=per_env - 1, num_envs=2)
    rng = np.random.default_rng(0)
    begin(sampler, [[0.0], [0.0]])
    over = np.zeros(2, np.bool_)
    for t in range(500):
        if rng.random() < 0.1:
            begin(sampler, [[0.0], [0.0]])
            over[:] = False
        over = (rng.random(2) < 0.2) & ~over
        add(sampler, [0, 0], [0.0, 0.0], [[0.0], [0.0]], over, np.zeros(2, np.bool_))
        assert t < per_env or sampler.tree[1] > 0.0


def test_the_kernels_agree_with_their_plain_python() -> None:
    trees = []
    rng = np.random.default_rng(0)
    uniforms, errors = rng.random(16), rng.normal(size=16)
    kind = np.full((20, 2), STEP, np.int8)
    kind[rng.random((20, 2)) < 0.1] = TERMINATED
    kind[rng.random((20, 2)) < 0.1] = TRUNCATED
    kind[np.roll(kind >= TRUNCATED, 1, axis=0)] = BRIDGE
    for wrap in (lambda compiled: compiled, plain):
        tree = np.zeros(128)
        for count in range(1, 61):
            wrap(admit_starts)(tree, kind, BRIDGE, TRUNCATED, count, 1, 3, 1.5)
        starts, weights = np.zeros(16, np.int64), np.zeros(16, np.float32)
        wrap(draw_leaves)(tree, uniforms, 0.7, starts, weights)
        largest = wrap(set_priorities)(tree, starts, errors, 0.6)
        assert largest == pytest.approx((abs(errors).max() + 0.01) ** 0.6)
        wrap(draw_leaves)(tree, uniforms, 0.7, starts, weights)
        trees.append([tree, starts, weights])
        assert len(set(weights.tolist())) > 5
    for compiled, python in zip(*trees, strict=True):
        np.testing.assert_allclose(compiled, python, rtol=1e-6)


@pytest.mark.parametrize("steps", [7, 25])
def test_leaves_that_the_draw_cannot_rely_on(steps: int) -> None:
    sampler = filled(steps, capacity=10)
    begin(sampler, [0.0])  # a bridge
    add(sampler, 0, 0.0, [1.0], False, False)
    replay = sampler.replay
    bridge, head = (replay.count - 2) % replay.slots, replay.count % replay.slots
    first = (bridge - 1) % replay.slots
    before = sampler.tree.copy()
    for leaf, priority in ((first, -1.0), (bridge, 1.0), (head, 1.0), (first, 2.0)):
        sampler.restore()
        assert sampler.is_sound()
        sampler.leaves[leaf, 0] = priority
        sampler.restore()
        assert not sampler.is_sound(), (leaf, priority)
        sampler.tree[:] = before
    for largest in (0.5, 1e100, np.inf, np.nan):
        sampler.largest[0] = largest
        sampler.restore()
        assert not sampler.is_sound()


@pytest.mark.parametrize("steps", [5, 25])
def test_slots_kept_for_stacks_have_no_priority(steps: int) -> None:
    """A ring for stacks of three has the head and two more of them."""
    replay = StackedReplay(10, (1,), np.float32, 2, frames=3)
    sampler = PrioritizedSampler(replay, n_step=1, alpha=1.0, beta=1.0)
    begin(sampler, [0.0])
    for t in range(1, steps + 1):
        add(sampler, 0, float(t), [float(t)], False, False)
    for after in range(3):
        sampler.restore()
        assert sampler.is_sound()
        sampler.leaves[(steps + after) % 13, 0] = 1.0
        sampler.restore()
        assert not sampler.is_sound(), after
        sampler.leaves[(steps + after) % 13, 0] = 0.0


def test_a_tree_is_restored_from_its_leaves() -> None:
    sampler, rng = filled(30, capacity=20), np.random.default_rng(0)
    drawable = sampler.leaves[:, 0] > 0.0
    sampler.update(np.flatnonzero(drawable), rng.normal(size=drawable.sum()))
    tree, leaves = sampler.tree.copy(), sampler.leaves.copy()
    sampler.tree[:] = 0.0
    sampler.leaves[:] = leaves
    sampler.restore()
    assert sampler.is_sound()
    np.testing.assert_array_equal(sampler.tree, tree)


@pytest.mark.parametrize(
    ("capacity", "leaves"), [(1000, 1024), (1023, 1024), (1024, 2048)]
)
def test_memory_and_arrays(capacity: int, leaves: int) -> None:
    sampler = prioritized(capacity)
    begin(sampler, [0.0])
    assert sampler.tree.size == 2 * leaves
    assert sampler.arrays.keys() == {"leaves", "largest"}
    assert sampler.leaves.shape == sampler.replay.kind.shape
    for name, array in sampler.arrays.items():
        assert np.shares_memory(array, getattr(sampler, name))
    assert np.shares_memory(sampler.leaves, sampler.tree)
