"""The ring against a plain list, and exact accounts of what it may draw."""

import copy
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from minidqn.batch import TRUNCATED, Batch, draw_starts, gather
from minidqn.nn.layers import Array
from minidqn.replay import Replay

from .conftest import plain


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


def draw_all(replay: Replay, n_valid: int, n_step: int = 1, gamma: float = 0.5) -> Batch:
    """Every transition that can be drawn, from oldest to newest, each once."""
    starts = replay.draw(len(replay), Everything(len(replay)))[:n_valid]
    return replay.batch(starts, n_step, gamma)


def sample(replay: Replay, size: int, rng: np.random.Generator, n_step: int, gamma: float) -> Batch:
    """Transitions drawn at random."""
    return replay.batch(replay.draw(size, rng), n_step, gamma)


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
    def start(self, num_envs: int, per_lane: int, vector: bool, data: st.DataObject) -> None:
        self.num_envs, self.vector = num_envs, vector or num_envs > 1
        self.per_lane = per_lane
        spare = data.draw(st.integers(0, num_envs - 1))  # a capacity that num_envs may not divide
        self.frames = data.draw(st.integers(1, 4))
        self.replay = self.build(num_envs * per_lane + spare, data)
        self.stream: list[list[Step]] = [[] for _ in range(num_envs)]
        self.numbers = iter(range(1, 10**6))
        self.episode = [0] * num_envs
        self.now = [0.0] * num_envs
        self.over = [False] * num_envs
        self.fresh = True  # the present observations are first ones, and no action was taken yet
        self.do_begin(data)

    def build(self, capacity: int, data: st.DataObject) -> Replay:
        return Replay(capacity, (2,), np.float64, 4, self.num_envs, self.frames)

    def new_obs(self, data: st.DataObject, terminated: Any) -> tuple[Array, Array | None]:
        """Observations and the masks that come with them; where it goes on, one is allowed."""
        self.next = [float(next(self.numbers)) for _ in range(self.num_envs)]
        obs = np.array([[number, -number] for number in self.next])
        obs = obs if self.vector else obs[0]
        self.next_mask = [[True] * 4 for _ in range(self.num_envs)]
        dtype = data.draw(st.sampled_from([None, np.bool_, np.int8, np.float64]))
        if dtype is None:
            return obs, None
        bits = [data.draw(st.integers(0 if end else 1, 15)) for end in terminated]
        self.next_mask = [[bool(b >> action & 1) for action in range(4)] for b in bits]
        mask = np.array(self.next_mask, dtype)
        return obs, mask if self.num_envs > 1 or data.draw(st.booleans()) else mask[0]

    def do_begin(self, data: st.DataObject) -> None:
        obs, mask = self.new_obs(data, [False] * self.num_envs)
        self.replay.begin(obs, mask)
        if not self.fresh:
            for env, steps in enumerate(self.stream):
                if not (steps[-1].terminated or steps[-1].truncated or steps[-1].bridge):
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
                np.array(actions), np.array(rewards), next_obs, terminated, truncated, mask
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
    def ends(self) -> None:
        assert self.replay.begun
        assert self.replay.ended.tolist() == self.over
        assert self.replay.over == all(self.over)

    def stored(self) -> list[tuple[int, int]]:
        """Where the transitions are that the ring still has, oldest first: step, env."""
        count = len(self.stream[0])
        places = product(range(max(count - self.per_lane, 0), count), range(self.num_envs))
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
        assert batch.obs.shape == batch.next_obs.shape == (len(batch.obs), *self.replay.stack_shape)
        obs, next_obs = (x.reshape(-1, self.frames, 2) for x in (batch.obs, batch.next_obs))
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
        starts = self.replay.draw(len(self.replay), Everything(len(self.replay)))[: len(places)]
        assert starts.tolist() == [self.leaf(*place) for place in places]
        batch = self.replay.batch(starts, n_step, 0.5)
        assert self.rows(batch) == [self.expected(*place, n_step, 0.5) for place in places]


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
    np.testing.assert_array_equal(batch.next_obs[:, 0], np.arange(steps - stored, steps) + 1)


def test_every_transition_is_equally_likely() -> None:
    replay = filled(40, capacity=20, end_every=3)
    rng = np.random.default_rng(0)
    drawn = np.concatenate([sample(replay, 20, rng, 1, 0.9).obs[:, 0] for _ in range(10_000)])
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


def oldest(replay: Replay) -> int:
    return max(replay.count - replay.slots + 1, 0) % replay.slots


def test_the_kernels_agree_with_their_plain_python() -> None:
    replay = filled(30, capacity=12, end_every=4)
    uniforms, kind = np.random.default_rng(0).random(40), replay.kind.ravel()
    head, batches = replay.count % replay.slots, []
    for draw, collect in ((draw_starts, gather), (plain(draw_starts), plain(gather))):
        starts = np.full(30, -1)
        assert draw(uniforms, oldest(replay), len(replay), kind, starts, 2) == 2 + 28
        assert (starts[:2] == -1).all()
        batch: list[Array] = [np.zeros((30, 1, 1), np.float32), np.zeros(30, np.int32)]
        batch += [np.zeros(30, np.float32), np.zeros(30, np.float32)]
        batch += [np.zeros((30, 1, 1), np.float32), np.zeros((30, 2), np.bool_)]
        collect(starts[2:], head, 1, 3, 0.9, *replay._flat, *(part[2:] for part in batch))
        batches.append([starts, *batch])
    for compiled, python in zip(*batches, strict=True):
        np.testing.assert_allclose(compiled, python, rtol=1e-6)
        assert (compiled[2:] != 0).any()


def test_all_ages_are_hit_by_equally_many_of_the_32_bit_numbers() -> None:
    replay = filled(3, capacity=3)  # 2^32 is no multiple of 3
    starts = np.zeros(1, np.int64)

    def age_of(number: int) -> int | None:
        """The age that a draw of number / 2^32 gives, None if it is passed over."""
        uniforms = np.array([number / 2**32])
        hit = draw_starts(uniforms, oldest(replay), len(replay), replay.kind.ravel(), starts, 0)
        return int(starts[0]) if hit else None

    counts = []
    for age in range(3):
        first, beyond = -(-(age << 32) // 3), -(-((age + 1) << 32) // 3)
        passed_over = [number for number in range(first, first + 9) if age_of(number) is None]
        assert passed_over == list(range(first, first + len(passed_over)))
        assert {age_of(first + 9), age_of(beyond - 1)} == {age}
        counts.append(beyond - first - len(passed_over))
    assert counts == [2**32 // 3] * 3


def test_memory() -> None:
    cartpole = Replay(50_000, (4,), np.float32, 2)
    assert cartpole.nbytes == 50_001 * (4 * 4 + 4 + 4 + 1 + 2)
    ram = Replay(1000, (128,), np.uint8, 4, num_envs=4)
    assert ram.obs.dtype == np.uint8
    assert ram.nbytes == 251 * 4 * (128 + 4 + 4 + 1 + 4)


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
        ({"obs": [0.0, np.nan]}, r"observation has nan at index \(1,\): expected finite"),
        ({"obs": [np.nan, 0.0]}, r"observation has nan at index \(0,\): expected finite"),
        ({"obs": [0.0, np.inf]}, r"observation has inf at index \(1,\): expected finite"),
        ({"obs": [0.0, 1e300]}, r"observation has inf at index \(1,\)"),  # inf, as a float32
        ({"obs": [0.0]}, r"shape \(1,\): expected \(2,\)"),
        ({"obs": [[0.0, 0.0], [0.0, 0.0]]}, "for each of 1 environments"),
        ({"obs": [0j, 0j]}, "dtype complex128: expected float32"),
        ({"reward": np.nan}, "reward nan: expected a finite"),
        ({"reward": -np.inf}, "reward -inf: expected a finite"),
        ({"reward": np.float16(np.inf)}, "reward inf: expected a finite"),  # LARGEST is inf, too
        ({"reward": 1e39}, "reward 1e.39: expected a finite"),
        ({"action": 2}, "action 2: expected 0 to 1"),
        ({"action": -1}, "action -1: expected 0 to 1"),
        ({"action": 0.5}, "action 0.5, reward 1.0: expected an integer and"),
        ({"action": [1]}, r"action \[1\], reward 1.0: expected an integer and"),
        ({"action": np.array([1])}, r"action \[1\], reward 1.0: expected an integer and"),
        ({"reward": None}, "reward None: expected an integer and a finite number"),
        ({"reward": 1j}, "reward 1j: expected an integer and a finite number"),
        ({"reward": np.ones(2)}, r"reward \[1. 1.\]: expected an integer and a finite number"),
        ({"reward": 10**400}, "reward 10{400}: expected an integer and a finite number"),
        ({"terminated": [False, True]}, r"terminated \[False, True\], truncated False: expected"),
        ({"terminated": np.array([True])}, r"terminated \[ True\], truncated False: expected"),
        ({"truncated": np.nan}, "truncated nan: expected True or False"),
        ({"truncated": 1}, "truncated 1: expected True or False"),
        ({"mask": [True]}, r"action_mask has shape \(1,\): expected \(1, 2\)"),
        ({"mask": [1, 1, 1]}, r"action_mask has shape \(3,\): expected \(1, 2\)"),
        ({"mask": True}, r"action_mask has shape \(\): expected \(1, 2\)"),
        ({"mask": [[1, 1], [1, 1]]}, r"action_mask has shape \(2, 2\): expected \(1, 2\)"),
        ({"mask": [0, 2]}, r"action_mask has 2 at index \(1,\): expected 0 or 1 for each action"),
        ({"mask": [1, -1]}, r"action_mask has -1 at index \(1,\): expected 0 or 1 for each action"),
        ({"mask": [1.0, 0.5]}, "expected 0 or 1 for each action"),
        ({"mask": [1.0, np.nan]}, "expected 0 or 1 for each action"),
        ({"mask": [0, 0]}, "action_mask allows no action: expected one or more"),
        (
            {"mask": [0, 0], "truncated": True},
            "action_mask allows no action: expected one or more",
        ),  # its value still counts
    ],
)
def test_bad_data_is_refused_and_nothing_changes(bad: dict[str, Any], message: str) -> None:
    replay = Replay(10, (2,), np.float32, 2)
    replay.begin([1.0, 2.0])
    replay.add(**GOOD)
    before = {name: array.copy() for name, array in replay.arrays.items()}
    with pytest.raises((ValueError, TypeError), match=message):
        replay.add(**(GOOD | bad))
    for name, array in replay.arrays.items():
        np.testing.assert_array_equal(array, before[name])
    assert replay.count == 1


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


def test_a_bad_mask_at_the_start_changes_nothing() -> None:
    replay = Replay(10, (2,), np.float32, 2)
    for mask in ([0, 0], [0, 2], [1], [[1, 1], [1, 1]]):
        with pytest.raises(ValueError, match="action_mask"):
            replay.begin([1.0, 2.0], mask)
    assert not replay.begun
    replay.begin([1.0, 2.0], [0, 1])
    replay.add(**(GOOD | {"mask": [1, 0]}))
    before = {name: array.copy() for name, array in replay.arrays.items()}
    with pytest.raises(ValueError, match="action_mask allows no action: expected one or more"):
        replay.begin([3.0, 4.0], [0, 0])
    for name, array in replay.arrays.items():
        np.testing.assert_array_equal(array, before[name])
    assert (replay.count, replay.over) == (1, False)


def test_where_the_episode_terminated_no_action_need_be_allowed() -> None:
    replay = Replay(12, (1,), np.float32, 2, num_envs=2)
    zeros, flags = np.zeros((2, 1)), np.zeros(2, bool)
    replay.begin(zeros)
    mask = [[0, 0], [1, 0]]
    with pytest.raises(ValueError, match="action_mask allows no action: expected one or more"):
        replay.add([0, 1], [0.0, 0.0], zeros, [False, True], flags, mask)
    replay.add([0, 1], [0.0, 0.0], zeros, [True, False], flags, mask)
    assert replay.head_mask.tolist() == [[False, False], [True, False]]
    with pytest.raises(
        ValueError, match="action_mask allows no action: expected one or more"
    ):  # for the next episode has begun
        replay.add([0, 1], [0.0, 0.0], zeros, flags, flags, mask)
    with pytest.raises(ValueError, match=r"action_mask has shape .*: expected \(2, 2\)"):
        replay.add([0, 1], [0.0, 0.0], zeros, flags, flags, [1, 1])
    replay.add([0, 1], [0.0, 0.0], zeros, flags, flags)
    assert replay.head_mask.all()


def test_misuse_is_refused() -> None:
    replay = Replay(10, (2,), np.float32, 2)
    with pytest.raises(ValueError, match="no episode is going on"):
        replay.add(**GOOD)
    with pytest.raises(ValueError, match="batch_size 1: expected 1 to the 0 steps"):
        replay.draw(1, np.random.default_rng(0))
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
    with pytest.raises(ValueError, match="capacity 5 over 2 environments: expected 3 steps"):
        Replay(5, (2,), np.float32, 2, num_envs=2)


def test_bad_data_in_one_lane_changes_none() -> None:
    replay = Replay(12, (1,), np.float32, 2, num_envs=2)
    zeros, flags = np.zeros((2, 1)), np.zeros(2, bool)
    with pytest.raises(ValueError, match=r"observation has nan at index \(1, 0\): expected fin"):
        replay.begin([[0.0], [np.nan]])
    assert not replay.begun
    with pytest.raises(ValueError, match="no episode has begun"):
        replay.add([0, 1], [0.0, 0.0], zeros, flags, flags)
    replay.begin(zeros)
    replay.add([0, 1], [0.0, 0.0], zeros, [True, False], flags)
    before = {name: array.copy() for name, array in replay.arrays.items()}
    bad: list[tuple[tuple[Any, ...], str]] = [
        (([0, 2], [0.0, 0.0], zeros, flags, flags), "action 2: expected"),
        (([0, 1], [0.0, np.nan], zeros, flags, flags), "reward nan: expected"),
        (
            ([0, 1], [0.0, 0.0], [[0.0], [np.inf]], flags, flags),
            r"observation has inf at index \(1, 0\)",
        ),
        (
            ([0, 1], [0.0, 0.0], zeros, [True, False], flags),
            "environment 0 ended twice.*NEXT",
        ),
        (([0, 1], [0.0], zeros, flags, flags), r"reward has shape \(1,\): expected \(2,\)"),
        ((0, [0.0, 0.0], zeros, flags, flags), r"action has shape \(\): expected \(2,\)"),
        (([0, 1], [0.0, 0.0], zeros, True, flags), r"terminated has shape \(\): expected"),
        (([0, 1], [0.0, 0.0], zeros, flags, [[0]]), r"truncated has shape \(1, 1\): expected"),
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
    with pytest.raises(ValueError, match=r"observation has 256 at index \(1,\): expected uint8"):
        replay.begin([0, 256])
    with pytest.raises(ValueError, match=r"observation has 0.5 at index \(1,\): expected uint8"):
        replay.begin([0.0, 0.5])
    assert replay.obs[0, 0].tolist() == [0, 255]
    for dtype, number in ((np.int32, 0.5), (np.int64, 1.5), (np.bool_, 2)):
        with pytest.raises(ValueError, match=f"observation has {number}.* at index .0,.: expected"):
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
    with pytest.raises(ValueError, match=r"7.0 at index \(1999,\): expected 0 or 1") as refused:
        replay.begin([0.0], mask)
    assert len(str(refused.value)) < 100
