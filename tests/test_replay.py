"""The ring: an episode slot by slot, then against a plain list, and what it refuses."""

import copy
import tracemalloc
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

import minidqn.replay
import minidqn.sampler
from minidqn import checks
from minidqn.batch import BRIDGE, STEP, TERMINATED, TRUNCATED, Batch, draw_starts
from minidqn.nn.layers import Array
from minidqn.parts.frames import StackedReplay
from minidqn.replay import Replay
from minidqn.sampler import UniformSampler

from .conftest import plain


def test_a_short_episode_slot_by_slot() -> None:
    """The table in replay.py's docstring, and what is drawn for the last step."""
    s0, s1, s2, z0, z1 = [1.0], [2.0], [3.0], [7.0], [8.0]  # observations
    a0, a1, b0 = 2, 1, 3  # actions
    r0, r1, p0 = 10.0, 20.0, 30.0  # rewards

    replay = Replay(10, (1,), np.float32, n_actions=4)
    replay.begin(s0)
    replay.add(a0, r0, s1, terminated=False, truncated=False)
    replay.add(a1, r1, s2, terminated=True, truncated=False)
    replay.begin(z0)
    replay.add(b0, p0, z1, terminated=False, truncated=False)

    # One environment: index 0. In slot 2, the bridge, no action is taken. Slot 4 is the
    # head: its action is not chosen yet.
    assert replay.obs[:5, 0].tolist() == [s0, s1, s2, z0, z1]
    assert replay.action[[0, 1, 3], 0].tolist() == [a0, a1, b0]
    assert replay.reward[[0, 1, 3], 0].tolist() == [r0, r1, p0]
    assert replay.kind[:4, 0].tolist() == [STEP, TERMINATED, BRIDGE, STEP]
    assert replay.head.tolist() == [z1]
    assert len(replay) == 4  # slots stored, the bridge among them

    # Slot 1 is the episode's last step. After s2 there is nothing: whatever a network
    # says about s2, it counts 0 times.
    batch = replay.batch(np.array([1]), n_step=3, gamma=0.5)
    assert batch.obs.tolist() == [s1]
    assert batch.actions.tolist() == [a1]
    assert batch.returns.tolist() == [r1]
    assert batch.next_obs.tolist() == [s2]
    assert batch.discounts.tolist() == [0.0]

    # Had a time limit cut the episode there, it would have gone on from s2. So what a
    # network says about s2 counts, once discounted.
    replay = Replay(10, (1,), np.float32, n_actions=4)
    replay.begin(s0)
    replay.add(a0, r0, s1, terminated=False, truncated=False)
    replay.add(a1, r1, s2, terminated=False, truncated=True)
    replay.begin(z0)
    replay.add(b0, p0, z1, terminated=False, truncated=False)
    assert replay.kind[:4, 0].tolist() == [STEP, TRUNCATED, BRIDGE, STEP]
    batch = replay.batch(np.array([1]), n_step=3, gamma=0.5)
    assert batch.returns.tolist() == [r1]  # p0 belongs to another episode
    assert batch.next_obs.tolist() == [s2]  # and so does z0
    assert batch.discounts.tolist() == [0.5]

    # From slot 0 on, two rewards are stored until the end: r0 + 0.5 r1.
    batch = replay.batch(np.array([0]), n_step=3, gamma=0.5)
    assert batch.returns.tolist() == [r0 + 0.5 * r1]
    assert batch.next_obs.tolist() == [s2]
    assert batch.discounts.tolist() == [0.25]

    # A draw gives slots 0, 1 and 3, each equally often, and never the bridge.
    sampler, rng = UniformSampler(replay), np.random.default_rng(0)
    drawn = set()
    for _ in range(100):
        starts, weights = sampler.draw(4, rng, step=3)
        drawn.update(starts.tolist())
    assert drawn == {0, 1, 3}
    assert weights.tolist() == [1.0, 1.0, 1.0, 1.0]


class Everything(np.random.Generator):
    """A generator whose first draw hits each of `stored` slots once, from the oldest on."""

    def __init__(self, stored: int) -> None:
        super().__init__(np.random.PCG64(0))
        self.uniforms = (np.arange(stored) + 0.5) / stored

    def random(self, size: Any = None) -> Any:  # type: ignore[override]  # fewer arguments
        draws = super().random(size)
        draws[: len(self.uniforms)] = self.uniforms
        self.uniforms = self.uniforms[:0]
        return draws


def draw_all(
    replay: Replay, n_valid: int, n_step: int = 1, gamma: float = 0.5
) -> Batch:
    """Every transition that can be drawn, from oldest to newest, each once."""
    sampler = UniformSampler(replay)
    starts, _ = sampler.draw(len(replay), Everything(len(replay)), step=0)
    return replay.batch(starts[:n_valid], n_step, gamma)


def copied(batch: Batch) -> Batch:
    """A batch that the next one does not overwrite."""
    return Batch(*(part.copy() for part in batch))


def sample(
    replay: Replay, size: int, rng: np.random.Generator, n_step: int, gamma: float
) -> Batch:
    """Transitions drawn at random."""
    starts, _ = UniformSampler(replay).draw(size, rng, step=0)
    return copied(replay.batch(starts, n_step, gamma))


class Step(NamedTuple):
    """A transition as people write it, with a next observation of its own."""

    obs: float
    action: int
    reward: float
    next_obs: float
    next_mask: list[bool]
    terminated: bool
    truncated: bool
    episode: int
    bridge: bool = False


class ReplayMachine(RuleBasedStateMachine):
    """Drives a small ring and a list side by side; every observation is a new number."""

    @initialize(
        num_envs=st.integers(1, 3),
        per_lane=st.integers(3, 12),
        vector=st.booleans(),
        data=st.data(),
    )
    def start(
        self, num_envs: int, per_lane: int, vector: bool, data: st.DataObject
    ) -> None:
        self.num_envs, self.vector = num_envs, vector or num_envs > 1
        self.per_lane = per_lane
        spare = data.draw(
            st.integers(0, num_envs - 1)
        )  # a capacity that num_envs may not divide
        self.frames = data.draw(st.integers(1, 4))
        self.without_masks = data.draw(st.integers(0, 30))  # so many observations
        self.masked = False  # whether a mask has come
        self.replay = self.build(num_envs * per_lane + spare, data)
        self.stream: list[list[Step]] = [[] for _ in range(num_envs)]
        self.numbers = iter(range(1, 10**6))
        self.episode = [0] * num_envs
        self.now = [0.0] * num_envs
        self.over = [False] * num_envs
        self.fresh = (
            True  # the present observations are first ones, and no action was taken yet
        )
        self.do_begin(data)

    def build(self, capacity: int, data: st.DataObject) -> Replay:
        replay = self.ring(capacity, data)
        self.sampler = UniformSampler(replay)
        return replay

    def ring(self, capacity: int, data: st.DataObject) -> Replay:
        arguments = capacity, (2,), np.float64, 4, self.num_envs
        if self.frames == 1 and data.draw(st.booleans()):
            return Replay(*arguments)
        return StackedReplay(*arguments, self.frames)

    def new_obs(
        self, data: st.DataObject, terminated: Any
    ) -> tuple[Array, Array | None]:
        """Observations and the masks that come with them; where it goes on, one is allowed."""
        self.next = [float(next(self.numbers)) for _ in range(self.num_envs)]
        obs = np.array([[number, -number] for number in self.next])
        obs = obs if self.vector else obs[0]
        self.next_mask = [[True] * 4 for _ in range(self.num_envs)]
        self.without_masks -= 1
        if self.without_masks >= 0:
            return obs, None
        dtype = data.draw(st.sampled_from([None, np.bool_, np.int8, np.float64]))
        if dtype is None:
            return obs, None
        self.masked = True
        bits = [data.draw(st.integers(0 if end else 1, 15)) for end in terminated]
        self.next_mask = [[bool(b >> action & 1) for action in range(4)] for b in bits]
        mask = np.array(self.next_mask, dtype)
        return obs, mask if self.num_envs > 1 or data.draw(st.booleans()) else mask[0]

    def do_begin(self, data: st.DataObject) -> None:
        obs, mask = self.new_obs(data, [False] * self.num_envs)
        self.replay.begin(obs, mask)
        if not self.fresh:
            for env, steps in enumerate(self.stream):
                if not (
                    steps[-1].terminated or steps[-1].truncated or steps[-1].bridge
                ):
                    steps[-1] = steps[-1]._replace(truncated=True)
                steps.append(self.bridge(env))
                self.episode[env] += 1
        self.now, self.over = self.next, [False] * self.num_envs
        self.fresh = True

    def bridge(self, env: int) -> Step:
        now, episode = self.now[env], self.episode[env]
        return Step(now, 0, 0.0, np.nan, [], False, False, episode, True)

    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.do_begin(data)

    @precondition(lambda self: self.vector or not self.over[0])
    @rule(data=st.data())
    def add(self, data: st.DataObject) -> None:
        endings = st.sampled_from(
            [(False, False)] * 3 + [(True, False), (False, True), (True, True)]
        )
        actions = [data.draw(st.integers(0, 3)) for _ in range(self.num_envs)]
        rewards = [float(data.draw(st.integers(-4, 4))) for _ in range(self.num_envs)]
        ends = [(False, False) if over else data.draw(endings) for over in self.over]
        terminated, truncated = (np.array(flags) for flags in zip(*ends, strict=True))
        next_obs, mask = self.new_obs(data, terminated)
        if self.vector:
            counts = self.replay.add(
                np.array(actions),
                np.array(rewards),
                next_obs,
                terminated,
                truncated,
                mask,
            )
        else:
            counts = self.replay.add(actions[0], rewards[0], next_obs, *ends[0], mask)
        assert counts == (self.over.count(False), sum(end or cut for end, cut in ends))
        next_obs[:] = np.nan  # the environment may do as it likes with its arrays
        if mask is not None:
            mask[:] = 1 - mask

        for env in range(self.num_envs):
            if self.over[env]:
                self.stream[env].append(self.bridge(env))
                self.episode[env] += 1
            else:
                self.stream[env].append(
                    Step(
                        self.now[env],
                        actions[env],
                        rewards[env],
                        self.next[env],
                        self.next_mask[env],
                        *ends[env],
                        self.episode[env],
                    )
                )
        self.fresh = all(self.over)  # then this step was nothing but a reset
        self.now, self.over = self.next, [end or cut for end, cut in ends]

    @invariant()
    def length(self) -> None:
        stored = min(len(self.stream[0]), self.per_lane)
        assert len(self.replay) == stored * self.num_envs

    @invariant()
    def head(self) -> None:
        assert self.replay.head[:, 0].tolist() == self.now
        assert self.replay.head_mask.tolist() == self.next_mask
        stacks = self.replay.head_stack.reshape(self.num_envs, self.frames, 2)[:, :, 0]
        for env, steps in enumerate(self.stream):
            first = not steps or steps[-1].bridge
            before = [] if first else self.episode_until(len(steps) - 1, env)
            assert stacks[env].tolist() == self.padded([*before, self.now[env]])

    @invariant()
    def masks(self) -> None:
        """There is no array of masks until the first one comes."""
        assert (self.replay.mask.array is not None) == self.masked
        assert ("mask" in self.replay.arrays) == self.masked

    @invariant()
    def ends(self) -> None:
        assert self.replay.begun
        assert self.replay.ended.tolist() == self.over
        assert self.replay.over == all(self.over)

    def stored(self) -> list[tuple[int, int]]:
        """Where the transitions are that the ring still has, oldest first: step, env."""
        count = len(self.stream[0])
        places = product(
            range(max(count - self.per_lane, 0), count), range(self.num_envs)
        )
        return [(t, env) for t, env in places if not self.stream[env][t].bridge]

    def walk(self, t: int, env: int, n_step: int) -> list[Step]:
        """The steps from there on, up to n of them, of the same episode."""
        episode = self.stream[env][t].episode
        future = self.stream[env][t : t + n_step]
        return [s for s in future if s.episode == episode and not s.bridge]

    def episode_until(self, t: int, env: int) -> list[float]:
        """The observations of an episode up to its step t."""
        steps = self.stream[env][: t + 1]
        first = max([i + 1 for i, step in enumerate(steps) if step.bridge], default=0)
        return [step.obs for step in steps[first:]]

    def padded(self, episode: list[float]) -> list[float]:
        """The stack of the last one: before the first, that is repeated."""
        return ([episode[0]] * self.frames + episode)[-self.frames :]

    def expected(self, t: int, env: int, n_step: int, gamma: float) -> tuple[Any, ...]:
        """What is to be drawn there, as `rows` gives it."""
        walk = self.walk(t, env, n_step)
        total = sum(gamma**k * s.reward for k, s in enumerate(walk))
        discount = 0.0 if walk[-1].terminated else gamma ** len(walk)
        first, last = walk[0], walk[-1]
        obs = self.padded(self.episode_until(t, env))
        until_last = self.episode_until(t + len(walk) - 1, env)
        next_obs = self.padded([*until_last, last.next_obs])
        return obs, first.action, total, discount, next_obs, last.next_mask

    def rows(self, batch: Batch) -> list[tuple[Any, ...]]:
        assert (
            batch.obs.shape
            == batch.next_obs.shape
            == (len(batch.obs), *self.replay.stack_shape)
        )
        obs, next_obs = (
            x.reshape(-1, self.frames, 2) for x in (batch.obs, batch.next_obs)
        )
        np.testing.assert_array_equal(obs[:, :, 1], -obs[:, :, 0])
        np.testing.assert_array_equal(next_obs[:, :, 1], -next_obs[:, :, 0])
        parts = (
            obs[:, :, 0],
            batch.actions,
            batch.returns,
            batch.discounts,
            next_obs[:, :, 0],
            batch.next_mask,
        )
        return list(zip(*(part.tolist() for part in parts), strict=True))

    def leaf(self, t: int, env: int) -> int:
        return t % (self.per_lane + self.frames) * self.num_envs + env

    @rule(n_step=st.integers(1, 6))
    def draw(self, n_step: int) -> None:
        places = self.stored()
        if not places:
            return
        stored = len(self.replay)
        starts, weights = self.sampler.draw(stored, Everything(stored), step=0)
        assert weights.tolist() == [1.0] * stored
        starts = starts[: len(places)]
        assert starts.tolist() == [self.leaf(*place) for place in places]
        batch = self.replay.batch(starts, n_step, 0.5)
        assert self.rows(batch) == [
            self.expected(*place, n_step, 0.5) for place in places
        ]


ReplayMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestReplay = ReplayMachine.TestCase


def filled(steps: int, capacity: int = 10, end_every: int = 10**9) -> Replay:
    """A ring after so many steps of one environment; observation and reward count up."""
    replay = Replay(capacity, (1,), np.float32, 2)
    replay.begin([0.0])
    for t in range(1, steps + 1):
        over = t % end_every == 0
        replay.add(t % 2, float(t), [float(t)], over, False)
        if over:
            replay.begin([t + 0.5])
    return replay


@pytest.mark.parametrize("steps", [9, 10, 11, 25])
def test_it_holds_exactly_its_capacity(steps: int) -> None:
    replay = filled(steps)
    stored = min(steps, 10)
    assert len(replay) == stored
    batch = draw_all(replay, stored)
    np.testing.assert_array_equal(batch.obs[:, 0], np.arange(steps - stored, steps))
    np.testing.assert_array_equal(
        batch.next_obs[:, 0], np.arange(steps - stored, steps) + 1
    )


def test_every_transition_is_equally_likely() -> None:
    replay = filled(40, capacity=20, end_every=3)
    rng = np.random.default_rng(0)
    drawn = np.concatenate(
        [sample(replay, 20, rng, 1, 0.9).obs[:, 0] for _ in range(10_000)]
    )
    numbers, counts = np.unique(drawn, return_counts=True)

    # The last 20 slots: of each episode's 3 steps and a bridge, all but the bridges.
    assert len(numbers) == 15
    p = 1 / len(numbers)
    deviation = (counts - len(drawn) * p) / np.sqrt(len(drawn) * p * (1 - p))
    assert abs(deviation).max() < 4.0


def test_draws_do_not_repeat_themselves_and_follow_the_generator() -> None:
    replay = filled(10)
    rng, same = np.random.default_rng(3), np.random.default_rng(3)
    first, second = sample(replay, 8, rng, 1, 0.9), sample(replay, 8, rng, 1, 0.9)
    assert first.obs.tolist() != second.obs.tolist()
    np.testing.assert_array_equal(first.obs, sample(replay, 8, same, 1, 0.9).obs)


def test_an_interrupted_episode_is_a_truncated_one() -> None:
    replay = Replay(10, (1,), np.float32, 2)
    replay.begin([0.0])
    replay.add(0, 1.0, [1.0], False, False)
    replay.begin([5.0])
    replay.add(0, 2.0, [6.0], False, False)
    batch = draw_all(replay, 2, n_step=3, gamma=0.5)
    np.testing.assert_array_equal(batch.obs[:, 0], [0.0, 5.0])
    np.testing.assert_array_equal(batch.next_obs[:, 0], [1.0, 6.0])  # not 5
    np.testing.assert_array_equal(batch.returns, [1.0, 2.0])
    np.testing.assert_array_equal(batch.discounts, [0.5, 0.5])


def test_the_kernels_agree_with_their_plain_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replay = filled(30, capacity=12, end_every=4)
    assert replay.count > 2 * replay.slots

    def drawn() -> list[Array]:
        rng = np.random.default_rng(0)
        starts, weights = UniformSampler(replay).draw(12, rng, step=0)
        starts, weights = starts.copy(), weights.copy()
        return [starts, weights, *copied(replay.batch(starts, n_step=3, gamma=0.9))]

    compiled = drawn()
    for module, name in (
        (minidqn.sampler, "draw_starts"),
        (minidqn.replay, "n_step_returns"),
        (minidqn.replay, "copy_rows"),
    ):
        monkeypatch.setattr(module, name, plain(getattr(module, name)))
    for part, python in zip(compiled, drawn(), strict=True):
        np.testing.assert_allclose(part, python, rtol=1e-6)
        assert (part != 0).any()
    assert len(set(compiled[0].tolist())) > 5


@pytest.mark.parametrize("function", [draw_starts, plain(draw_starts)])
def test_a_start_is_the_share_of_the_ring_that_the_number_says(function: Any) -> None:
    """In a ring of 7 slots: 5 are stored, from slot 4 on, and slot 6 is a bridge."""
    kind = np.array([STEP, STEP, BRIDGE, BRIDGE, STEP, STEP, BRIDGE], np.int8)
    starts = np.full(8, -1)
    uniforms = np.array([0.0, 0.1999, 0.2, 0.4, 0.5999, 0.6, 0.8, 0.9999])
    assert function(uniforms, 4, 5, kind, starts, 1) == 1 + 6
    assert starts.tolist() == [-1, 4, 4, 5, 0, 1, 1, -1]
    assert function(uniforms, 4, 5, kind, starts, 7) == 8  # no more than fit
    assert starts.tolist() == [-1, 4, 4, 5, 0, 1, 1, 4]


def test_the_highest_random_number_is_not_beyond_the_newest_step() -> None:
    highest = np.array([np.nextafter(1.0, 0.0)])
    starts = np.zeros(1, np.int64)
    for stored in (1, 2, 3, 1023, 1024, 1025, 50_000, 2**20 - 1, 2**20 + 1):
        kind = np.full(stored + 1, STEP, np.int8)
        assert draw_starts(highest, 0, stored, kind, starts, 0) == 1
        assert starts[0] == stored - 1
        assert draw_starts(highest, 2, stored, kind, starts, 0) == 1
        assert starts[0] == 0  # the newest slot, past the end of the ring
    most = 2**31 - 1  # of buffer_size
    kind = np.broadcast_to(np.int8(STEP), most + 1)  # takes no memory
    assert plain(draw_starts)(highest, 0, most, kind, starts, 0) == 1
    assert starts[0] == most - 1


def test_the_next_batch_of_the_same_size_overwrites_the_arrays() -> None:
    """So what is to be kept must be copied. Another size has arrays of its own."""
    replay = filled(10)
    first = replay.batch(np.array([1, 2]), 1, 0.9)
    assert first.obs[:, 0].tolist() == [1.0, 2.0]
    larger = replay.batch(np.array([5, 6, 7]), 1, 0.9)
    assert first.obs[:, 0].tolist() == [1.0, 2.0]
    again = replay.batch(np.array([8, 9, 3]), 1, 0.9)
    assert larger.obs[:, 0].tolist() == [8.0, 9.0, 3.0]
    assert all(one is other for one, other in zip(larger, again, strict=True))


def test_a_uniform_draw_takes_no_notice_of_errors() -> None:
    replay = filled(10)
    sampler = UniformSampler(replay)
    before = sampler.draw(8, np.random.default_rng(0), step=1)[0].copy()
    sampler.update(before, np.full(8, 1e9))
    sampler.admit()
    starts, weights = sampler.draw(8, np.random.default_rng(0), step=10_000)
    np.testing.assert_array_equal(starts, before)
    assert weights.dtype == np.float32
    assert weights.tolist() == [1.0] * 8


def test_memory() -> None:
    cartpole = Replay(50_000, (4,), np.float32, 2)
    assert cartpole.nbytes == 50_001 * (4 * 4 + 4 + 4 + 1)
    ram = Replay(1000, (128,), np.uint8, 4, num_envs=4)
    assert ram.dtype == np.uint8
    assert ram.nbytes == 251 * 4 * (128 + 4 + 4 + 1)
    ram.begin(np.zeros((4, 128)), np.ones((4, 4)))
    assert ram.nbytes == 251 * 4 * (128 + 4 + 4 + 1 + 4)  # with the masks


def test_a_ring_takes_no_memory_before_it_begins() -> None:
    tracemalloc.start()
    replay = Replay(2_000_000_000, (84, 84), np.uint8, 18, num_envs=1_000_000)
    stacks = StackedReplay(2_000_000_000, (84, 84), np.uint8, 18, frames=4)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000
    assert replay.nbytes == 2001 * 1_000_000 * (84 * 84 + 9)
    assert replay.dtype == np.uint8
    assert (replay.obs_shape, len(replay)) == ((84, 84), 0)
    assert stacks.stack_shape == (4, 84, 84)
    assert not replay.begun


def test_a_ring_that_does_not_fit_into_memory_begins_when_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replay = Replay(1_000_000, (2,), np.float32, 2)
    monkeypatch.setattr(checks, "free_megabytes", lambda: 17.0)
    text = "a replay buffer of 17 MB: expected less than the free memory, 17 MB"
    for _ in range(2):
        with pytest.raises(ValueError, match=text):
            replay.begin([0.0, 0.0])
    assert not replay.begun
    monkeypatch.setattr(checks, "free_megabytes", lambda: 18.0)
    replay.begin([1.0, 2.0])
    assert replay.head.tolist() == [[1.0, 2.0]]
    monkeypatch.setattr(checks, "free_megabytes", lambda: 0.0)
    replay.add(**GOOD)
    replay.begin([3.0, 4.0])  # it has its memory
    assert replay.obs[:3, 0].tolist() == [[1.0, 2.0], [0.0, 0.0], [3.0, 4.0]]


def test_many_actions_take_no_memory_where_no_mask_is_given() -> None:
    few, many = (Replay(1000, (10,), np.float32, n) for n in (4, 13_000))
    for replay in (few, many):
        replay.begin(np.zeros(10))
        for action in range(4):
            replay.add(action, 0.0, np.zeros(10), False, False)
        batch = replay.batch(np.array([0, 1]), 1, 0.9)
        assert batch.next_mask.shape == (2, replay.n_actions)
        assert batch.next_mask.all()
        assert replay.head_mask.shape == (1, replay.n_actions)
        assert replay.head_mask.all()
        assert replay.mask.array is None
    assert few.nbytes == many.nbytes == 1001 * (10 * 4 + 4 + 4 + 1)


def add_masked(replay: Replay, number: float, mask: Any = None) -> None:
    replay.add(0, number, [number], False, False, mask)


@pytest.mark.parametrize("steps", [1, 4, 9, 10, 11, 25])
def test_the_first_mask_may_come_late(steps: int) -> None:
    """In the middle of an episode, also once the ring has gone round."""
    replay = filled(steps)
    stored = min(steps, 10)
    assert draw_all(replay, stored).next_mask.all()
    assert replay.mask.array is None
    add_masked(replay, 100.0, [0, 1])
    assert replay.head_mask.tolist() == [[False, True]]
    stored = min(steps + 1, 10)
    masks = draw_all(replay, stored).next_mask.tolist()
    # until then all actions were allowed
    assert masks == [[True, True]] * (stored - 1) + [[False, True]]
    add_masked(replay, 101.0)  # and so they are where none comes
    assert replay.head_mask.tolist() == [[True, True]]
    add_masked(replay, 102.0, [1, 0])
    stored = min(steps + 3, 10)
    masks = draw_all(replay, stored).next_mask.tolist()[-3:]
    assert masks == [[False, True], [True, True], [True, False]]


def test_the_first_mask_may_come_with_a_new_episode() -> None:
    replay = filled(15)
    replay.begin([50.0], [0, 1])
    assert replay.head_mask.tolist() == [[False, True]]
    add_masked(replay, 51.0, [1, 0])
    batch = draw_all(replay, 9)  # of 10 slots, one is the bridge
    assert batch.next_obs[:, 0].tolist() == [*range(8, 16), 51.0]
    assert batch.next_mask.tolist() == [[True, True]] * 8 + [[True, False]]


def test_a_slot_that_is_used_again_forgets_its_mask() -> None:
    replay = filled(1)
    for _ in range(11):
        add_masked(replay, 0.0, [0, 1])
    assert not draw_all(replay, 10).next_mask.all(axis=1).any()
    for _ in range(11):
        add_masked(replay, 0.0)
    assert draw_all(replay, 10).next_mask.all()


GOOD: dict[str, Any] = {
    "action": 1,
    "reward": 1.0,
    "obs": [0.0, 0.0],
    "terminated": False,
    "truncated": False,
}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            {"obs": [0.0, np.nan]},
            r"observation has nan at index \(1,\): expected finite",
        ),
        (
            {"obs": [np.nan, 0.0]},
            r"observation has nan at index \(0,\): expected finite",
        ),
        (
            {"obs": [0.0, np.inf]},
            r"observation has inf at index \(1,\): expected finite",
        ),
        (
            {"obs": [0.0, 1e300]},
            r"observation has inf at index \(1,\)",
        ),  # inf, as a float32
        ({"obs": [0.0]}, r"shape \(1,\): expected \(2,\)"),
        ({"obs": [[0.0, 0.0], [0.0, 0.0]]}, r"shape \(2, 2\): expected \(2,\)"),
        ({"obs": [0j, 0j]}, "type list: expected one array of numbers"),
        ({"reward": np.nan}, "reward is nan, .*: expected a finite"),
        ({"reward": -np.inf}, "reward is -inf, .*: expected a finite"),
        (
            {"reward": np.float16(np.inf)},
            r"reward is np.float16\(inf\), .*: expected a finite",
        ),  # LARGEST is inf, too
        ({"reward": 1e39}, "reward is 1e.39, .*: expected a finite"),
        ({"action": 2}, "action is 2, .*: expected an integer from 0 to 1"),
        ({"action": -1}, "action is -1, .*: expected an integer from 0 to 1"),
        ({"action": 0.5}, "action is 0.5, of type float: expected an integer"),
        ({"action": [1]}, r"action is \[1\], of type list: expected an integer"),
        (
            {"action": np.array([1])},
            r"action is array\(\[1\]\), .* shape \(1,\): expected an integer",
        ),
        ({"reward": None}, "reward is None, .*: expected a finite number"),
        ({"reward": 1j}, "reward is 1j, .*: expected a finite number"),
        (
            {"reward": np.ones(2)},
            r"reward is array.* shape \(2,\): expected a finite number",
        ),
        ({"reward": [1.0]}, r"reward is \[1.0\], .*: expected a finite number"),
        (
            {"reward": 10**400},
            r"reward is 10{17}\.\.\.0{19}, .*: expected a finite number",
        ),
        (
            {"terminated": [False, True]},
            r"terminated is \[False, True\], of type list: expected",
        ),
        (
            {"terminated": np.array([True])},
            r"terminated is array\(\[ True\]\), .* shape \(1,\): expected",
        ),
        ({"truncated": np.nan}, "truncated is nan, .*: expected True or False"),
        ({"truncated": 1}, "truncated is 1, .*: expected True or False"),
        ({"mask": [True]}, r"action_mask has shape \(1,\): expected \(1, 2\)"),
        ({"mask": [1, 1, 1]}, r"action_mask has shape \(3,\): expected \(1, 2\)"),
        ({"mask": True}, r"action_mask has shape \(\): expected \(1, 2\)"),
        (
            {"mask": [[1, 1], [1, 1]]},
            r"action_mask has shape \(2, 2\): expected \(1, 2\)",
        ),
        (
            {"mask": [0, 2]},
            r"action_mask has 2 at index \(1,\): expected 0 or 1 for each action",
        ),
        (
            {"mask": [1, -1]},
            r"action_mask has -1 at index \(1,\): expected 0 or 1 for each action",
        ),
        ({"mask": [1.0, 0.5]}, "expected 0 or 1 for each action"),
        ({"mask": [1.0, np.nan]}, "expected 0 or 1 for each action"),
        ({"mask": [0, 0]}, "action_mask allows no action in row 0: expected one"),
        (
            {"mask": [0, 0], "truncated": True},
            "action_mask allows no action in row 0: expected one",
        ),  # its value still counts
    ],
)
def test_bad_data_is_refused_and_nothing_changes(
    bad: dict[str, Any], message: str
) -> None:
    for mask in (None, [0, 1]):
        replay = Replay(10, (2,), np.float32, 2)
        replay.begin([1.0, 2.0], mask)
        replay.add(**GOOD)
        before = {name: array.copy() for name, array in replay.arrays.items()}
        with pytest.raises((ValueError, TypeError), match=message):
            replay.add(**(GOOD | bad))
        assert replay.arrays.keys() == before.keys()  # so no array of masks is made
        for name, array in replay.arrays.items():
            np.testing.assert_array_equal(array, before[name])
        assert (replay.count, replay.over) == (1, False)


def test_huge_but_finite_observations_are_fine() -> None:
    replay = Replay(10, (2,), np.float32, 2)
    replay.begin([3e38, -3e38])  # their squares overflow
    assert replay.obs[0, 0, 0] == np.float32(3e38)


def test_numpy_scalars_and_integer_rewards_are_fine() -> None:
    replay = Replay(10, (2,), np.float32, 2)
    replay.begin(np.zeros(2))
    replay.add(np.int64(1), np.array(3), np.ones(2), np.bool_(False), np.bool_(True))
    assert replay.reward[0, 0] == 3.0
    assert replay.kind[0, 0] == TRUNCATED


FOREIGN = [np.dtype(kind).newbyteorder("S") for kind in (np.int32, np.float64)]


@pytest.mark.parametrize(
    "dtype",
    [
        np.bool_,
        np.int8,
        np.uint64,
        np.float16,
        np.float32,
        np.longdouble,
        *FOREIGN,
    ],
    ids=lambda dtype: np.dtype(dtype).str,
)
def test_rewards_and_actions_of_any_number_type(dtype: Any) -> None:
    replay = Replay(12, (1,), np.float32, 3, num_envs=2)
    zeros, flags = np.zeros((2, 1)), np.zeros(2, bool)
    replay.begin(zeros)
    replay.add([0, 2], np.array([1, 0], dtype), zeros, flags, flags)
    assert replay.reward[0].tolist() == [1.0, 0.0]
    assert replay.kind[0].tolist() == [STEP, STEP]
    if np.dtype(dtype).kind in "iu":
        replay.add(np.array([1, 2], dtype), [0.0, 0.0], zeros, flags, flags)
        assert replay.action[1].tolist() == [1, 2]


@pytest.mark.parametrize("num_envs", [1, 2])
def test_counts_are_python_s_integers(num_envs: int) -> None:
    """A checkpoint could not store NumPy's."""
    replay = Replay(12, (1,), np.float32, 2, num_envs)
    zeros, flags = np.zeros((num_envs, 1)), np.zeros(num_envs, bool)
    replay.begin(zeros)
    counts = replay.add([0] * num_envs, [0.0] * num_envs, zeros, ~flags, flags)
    assert counts == (num_envs, num_envs)
    assert [type(count) for count in counts] == [int, int]
    if num_envs == 1:
        replay.begin([0.0])
        counts = replay.add(0, 0.0, [0.0], False, False)
        assert [type(count) for count in counts] == [int, int]


def test_a_bad_mask_at_the_start_changes_nothing() -> None:
    replay = Replay(10, (2,), np.float32, 2)
    for mask in ([0, 0], [0, 2], [1], [[1, 1], [1, 1]]):
        with pytest.raises(ValueError, match="action_mask"):
            replay.begin([1.0, 2.0], mask)
    assert not replay.begun
    assert replay.mask.array is None
    replay.begin([1.0, 2.0], [0, 1])
    replay.add(**(GOOD | {"mask": [1, 0]}))
    before = {name: array.copy() for name, array in replay.arrays.items()}
    with pytest.raises(
        ValueError, match="action_mask allows no action in row 0: expected one"
    ):
        replay.begin([3.0, 4.0], [0, 0])
    for name, array in replay.arrays.items():
        np.testing.assert_array_equal(array, before[name])
    assert (replay.count, replay.over) == (1, False)


def test_where_the_episode_terminated_no_action_need_be_allowed() -> None:
    replay = Replay(12, (1,), np.float32, 2, num_envs=2)
    zeros, flags = np.zeros((2, 1)), np.zeros(2, bool)
    replay.begin(zeros)
    mask = [[0, 0], [1, 0]]
    with pytest.raises(
        ValueError, match="action_mask allows no action in row 0: expected one"
    ):
        replay.add([0, 1], [0.0, 0.0], zeros, [False, True], flags, mask)
    replay.add([0, 1], [0.0, 0.0], zeros, [True, False], flags, mask)
    assert replay.head_mask.tolist() == [[False, False], [True, False]]
    with pytest.raises(
        ValueError, match="action_mask allows no action in row 0: expected one"
    ):  # for the next episode has begun
        replay.add([0, 1], [0.0, 0.0], zeros, flags, flags, mask)
    with pytest.raises(
        ValueError, match=r"action_mask has shape .*: expected \(2, 2\)"
    ):
        replay.add([0, 1], [0.0, 0.0], zeros, flags, flags, [1, 1])
    replay.add([0, 1], [0.0, 0.0], zeros, flags, flags)
    assert replay.head_mask.all()


def test_misuse_is_refused() -> None:
    replay = Replay(10, (2,), np.float32, 2)
    with pytest.raises(ValueError, match="no episode is going on"):
        replay.add(**GOOD)
    sampler, rng = UniformSampler(replay), np.random.default_rng(0)
    with pytest.raises(
        ValueError, match="batch_size is 1, but only 0 slots are filled"
    ):
        sampler.draw(1, rng, step=0)
    with pytest.raises(ValueError, match="batch_size is 0: expected 1 or more"):
        sampler.draw(0, rng, step=0)
    replay.begin([0.0, 0.0])
    replay.add(**(GOOD | {"terminated": True}))
    with pytest.raises(ValueError, match="no episode is going on"):
        replay.add(**GOOD)
    replay.begin([0.0, 0.0])
    replay.add(**(GOOD | {"truncated": True}))
    with pytest.raises(ValueError, match="no episode is going on"):
        replay.add(**GOOD)
    replay.begin([0.0, 0.0])
    replay.add([0], [0.0], [[0.0, 0.0]], [True], [False])  # as a vector of one
    with pytest.raises(ValueError, match="no episode is going on"):
        replay.add(**GOOD)
    with pytest.raises(TypeError, match="a copy would detach the views"):
        copy.deepcopy(replay)
    with pytest.raises(
        ValueError, match="capacity 5 over 2 environments: expected 3 steps"
    ):
        Replay(5, (2,), np.float32, 2, num_envs=2)


def test_bad_data_in_one_lane_changes_none() -> None:
    replay = Replay(12, (1,), np.float32, 2, num_envs=2)
    zeros, flags = np.zeros((2, 1)), np.zeros(2, bool)
    with pytest.raises(
        ValueError, match=r"observation has nan at index \(1, 0\): expected fin"
    ):
        replay.begin([[0.0], [np.nan]])
    assert not replay.begun
    with pytest.raises(ValueError, match="no episode is going on"):
        replay.add([0, 1], [0.0, 0.0], zeros, flags, flags)
    replay.begin(zeros)
    replay.add([0, 1], [0.0, 0.0], zeros, [True, False], flags)
    before = {name: array.copy() for name, array in replay.arrays.items()}
    bad: list[tuple[tuple[Any, ...], str]] = [
        (
            ([0, 2], [0.0, 0.0], zeros, flags, flags),
            "in environment 1, action is 2, .*: expected",
        ),
        (
            ([0, 1], [0.0, np.nan], zeros, flags, flags),
            "in environment 1, reward is nan, .*: expected",
        ),
        (
            ([0, 1], [0.0, 0.0], [[0.0], [np.inf]], flags, flags),
            r"observation has inf at index \(1, 0\)",
        ),
        (
            ([0, 1], [0.0, 0.0], zeros, [True, False], flags),
            "environment 0 ended twice.*NEXT",
        ),
        (
            ([0, 1], [0.0], zeros, flags, flags),
            r"reward has shape \(1,\): expected \(2,\)",
        ),
        (
            (0, [0.0, 0.0], zeros, flags, flags),
            r"action has shape \(\): expected \(2,\)",
        ),
        (
            ([0, 1], [0.0, 0.0], zeros, True, flags),
            r"terminated has shape \(\): expected",
        ),
        (
            ([0, 1], [0.0, 0.0], zeros, flags, [[0]]),
            r"truncated has shape \(1, 1\): expected",
        ),
        (([0, 0.5], [0.0, 0.0], zeros, flags, flags), "action .*: expected"),
        (([0, 10**30], [0.0, 0.0], zeros, flags, flags), "action .*: expected"),
        (([0, 1], [0.0, None], zeros, flags, flags), "reward .*: expected"),
        (
            ([0, 1], [0.0, 1e39], zeros, flags, flags),
            "reward is 1e.39, .*: expected a fin",
        ),
        (([0, 1], [0.0, 10**400], zeros, flags, flags), "reward .*: expected"),
        (
            ([0, 1], [0.0, 0.0], zeros, [0, 1], flags),
            "terminated .*: expected True or False",
        ),
        (
            ([0, 1], [0.0, 0.0], zeros, flags, [None, False]),
            "truncated .*: expected True or False",
        ),
        (([0], [0.0], zeros[:1], [False], [False]), "for each of 2 environments"),
        ((0, 0.0, [0.0], False, False), "for each of 2 environments"),
        (
            ([0, 1], [0.0, 0.0], zeros, flags, [True, False]),
            "environment 0 ended twice.*NEXT",
        ),
    ]
    for arguments, message in bad:
        with pytest.raises(ValueError, match=message):
            replay.add(*arguments)
    for num_envs in (1, 3):
        with pytest.raises(ValueError, match="for each of 2 environments"):
            replay.begin(np.zeros((num_envs, 1)))
    for name, array in replay.arrays.items():
        np.testing.assert_array_equal(array, before[name])
    assert replay.count == 1


def test_integers_must_fit() -> None:
    replay = Replay(10, (2,), np.uint8, 2)
    replay.begin([0, 255])
    with pytest.raises(
        ValueError, match=r"observation has 256 at index \(1,\): expected uint8"
    ):
        replay.begin([0, 256])
    with pytest.raises(
        ValueError, match=r"observation has 0.5 at index \(1,\): expected uint8"
    ):
        replay.begin([0.0, 0.5])
    assert replay.obs[0, 0].tolist() == [0, 255]
    for dtype, number in ((np.int32, 0.5), (np.int64, 1.5), (np.bool_, 2)):
        with pytest.raises(
            ValueError, match=f"observation has {number}.* at index .0,.: expected"
        ):
            Replay(10, (1,), dtype, 2).begin([number])


def test_what_is_wrong_in_an_image_is_said_in_a_line() -> None:
    image = np.zeros((84, 84, 4), np.float32)
    replay = Replay(10, image.shape, np.float32, 2)
    image[3, 80, 1] = np.inf
    with pytest.raises(ValueError, match=r"inf at index \(3, 80, 1\)") as refused:
        replay.begin(image)
    assert len(str(refused.value)) < 100
    mask = np.ones(2000)
    mask[1999] = 7.0
    replay = Replay(10, (1,), np.float32, 2000)
    with pytest.raises(
        ValueError, match=r"7.0 at index \(1999,\): expected 0 or 1"
    ) as refused:
        replay.begin([0.0], mask)
    assert len(str(refused.value)) < 100
