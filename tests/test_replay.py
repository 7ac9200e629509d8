"""The ring against a plain list, and exact accounts of what it may draw."""

import copy
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from minidqn.layers import Array
from minidqn.replay import Batch, Replay, draw_transitions

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
    batch = replay.sample(len(replay), Everything(len(replay)), n_step, gamma)
    return Batch(*(part[:n_valid] for part in batch))


class Step(NamedTuple):
    """A transition as people write it, with a next observation of its own."""

    obs: float
    action: int
    reward: float
    next_obs: float
    terminated: bool
    truncated: bool
    episode: int
    bridge: bool = False


class ReplayMachine(RuleBasedStateMachine):
    """Drives a small ring and a list side by side; every observation is a new number."""

    @initialize(
        lanes=st.integers(1, 3), per_lane=st.integers(3, 12), vector=st.booleans(), data=st.data()
    )
    def start(self, lanes: int, per_lane: int, vector: bool, data: st.DataObject) -> None:
        self.lanes, self.vector = lanes, vector or lanes > 1
        self.per_lane = per_lane
        spare = data.draw(st.integers(0, lanes - 1))  # a capacity that lanes may not divide
        self.replay = Replay(lanes * per_lane + spare, (2,), np.float64, 4, lanes)
        self.stream: list[list[Step]] = [[] for _ in range(lanes)]
        self.numbers = iter(range(1, 10**6))
        self.episode = [0] * lanes
        self.now = [0.0] * lanes
        self.over = [False] * lanes
        self.fresh = True  # the present observations are first ones, and no action was taken yet
        self.do_begin()

    def new_obs(self) -> Array:
        self.next = [float(next(self.numbers)) for _ in range(self.lanes)]
        obs = np.array([[number, -number] for number in self.next])
        return obs if self.vector else obs[0]

    def do_begin(self) -> None:
        self.replay.begin(self.new_obs())
        if not self.fresh:
            for lane, steps in enumerate(self.stream):
                if not (steps[-1].terminated or steps[-1].truncated or steps[-1].bridge):
                    steps[-1] = steps[-1]._replace(truncated=True)
                steps.append(self.bridge(lane))
                self.episode[lane] += 1
        self.now, self.over = self.next, [False] * self.lanes
        self.fresh = True

    def bridge(self, lane: int) -> Step:
        return Step(self.now[lane], 0, 0.0, np.nan, False, False, self.episode[lane], True)

    @rule()
    def begin(self) -> None:
        self.do_begin()

    @precondition(lambda self: self.vector or not self.over[0])
    @rule(data=st.data())
    def add(self, data: st.DataObject) -> None:
        endings = st.sampled_from(
            [(False, False)] * 3 + [(True, False), (False, True), (True, True)]
        )
        actions = [data.draw(st.integers(0, 3)) for _ in range(self.lanes)]
        rewards = [float(data.draw(st.integers(-4, 4))) for _ in range(self.lanes)]
        ends = [(False, False) if over else data.draw(endings) for over in self.over]
        next_obs = self.new_obs()
        terminated, truncated = (np.array(flags) for flags in zip(*ends, strict=True))
        if self.vector:
            stepped = self.replay.add(
                np.array(actions), np.array(rewards), next_obs, terminated, truncated
            )
        else:
            stepped = self.replay.add(actions[0], rewards[0], next_obs, *ends[0])
        assert stepped == self.over.count(False)
        next_obs[:] = np.nan  # the environment may do as it likes with its array

        for lane in range(self.lanes):
            if self.over[lane]:
                self.stream[lane].append(self.bridge(lane))
                self.episode[lane] += 1
            else:
                self.stream[lane].append(
                    Step(
                        self.now[lane],
                        actions[lane],
                        rewards[lane],
                        self.next[lane],
                        *ends[lane],
                        self.episode[lane],
                    )
                )
        self.fresh = all(self.over)  # then this step was nothing but a reset
        self.now, self.over = self.next, [end or cut for end, cut in ends]

    @invariant()
    def length(self) -> None:
        stored = min(len(self.stream[0]), self.per_lane)
        assert len(self.replay) == stored * self.lanes

    @rule(n_step=st.integers(1, 6))
    def draw(self, n_step: int) -> None:
        gamma = 0.5
        expected = []
        stored = len(self.replay) // self.lanes
        for age in range(stored):
            for steps in self.stream:
                window = steps[len(steps) - stored :]
                first = window[age]
                if first.bridge:
                    continue
                future = [s for s in window[age:] if s.episode == first.episode and not s.bridge]
                walk = future[:n_step]
                total = sum(gamma**k * s.reward for k, s in enumerate(walk))
                discount = 0.0 if walk[-1].terminated else gamma ** len(walk)
                expected.append((first.obs, first.action, total, discount, walk[-1].next_obs))
        if not expected:
            return
        batch = draw_all(self.replay, len(expected), n_step, gamma)
        got = list(
            zip(
                batch.obs[:, 0].tolist(),
                batch.actions.tolist(),
                batch.returns.tolist(),
                batch.discounts.tolist(),
                batch.next_obs[:, 0].tolist(),
                strict=True,
            )
        )
        assert got == expected
        np.testing.assert_array_equal(batch.obs[:, 1], -batch.obs[:, 0])


ReplayMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
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
    drawn = np.concatenate([replay.sample(20, rng, 1, 0.9).obs[:, 0] for _ in range(10_000)])
    numbers, counts = np.unique(drawn, return_counts=True)

    # The last 20 slots: of each episode's 3 steps and a bridge, all but the bridges.
    assert len(numbers) == 15
    p = 1 / len(numbers)
    deviation = (counts - len(drawn) * p) / np.sqrt(len(drawn) * p * (1 - p))
    assert abs(deviation).max() < 4.0


def test_draws_do_not_repeat_themselves_and_follow_the_generator() -> None:
    replay = filled(10)
    rng, same = np.random.default_rng(3), np.random.default_rng(3)
    first, second = replay.sample(8, rng, 1, 0.9), replay.sample(8, rng, 1, 0.9)
    assert first.obs.tolist() != second.obs.tolist()
    np.testing.assert_array_equal(first.obs, replay.sample(8, same, 1, 0.9).obs)


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


def test_the_kernel_agrees_with_its_plain_python() -> None:
    replay = filled(30, capacity=12, end_every=4)
    uniforms = np.random.default_rng(0).random(40)
    batches = []
    for function in (draw_transitions, plain(draw_transitions)):
        batch = [np.zeros((30, 1), np.float32), np.zeros(30, np.int32)]
        batch += [np.zeros(30, np.float32), np.zeros(30, np.float32), np.zeros((30, 1), np.float32)]
        rows = function(uniforms, 2, replay.count, 1, 3, 0.9, *replay.flat, *batch)
        assert rows == 2 + 28
        batches.append(batch)
    for compiled, python in zip(*batches, strict=True):
        np.testing.assert_allclose(compiled, python, rtol=1e-6)
        assert (compiled[2:] != 0).any()
        assert (compiled[:2] == 0).all()


def test_all_ages_are_hit_by_equally_many_of_the_32_bit_numbers() -> None:
    replay = filled(3, capacity=3)  # 2^32 is no multiple of 3
    batch = draw_all(replay, 1)

    def age_of(number: int) -> float | None:
        """The age that a draw of number / 2^32 gives, None if it is passed over."""
        uniforms = np.array([number / 2**32])
        hit = draw_transitions(uniforms, 0, replay.count, 1, 1, 0.5, *replay.flat, *batch)
        return batch.obs[0, 0] if hit else None

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
    assert cartpole.nbytes == 50_001 * (4 * 4 + 4 + 4 + 1 + 1)
    ram = Replay(1000, (128,), np.uint8, 4, lanes=4)
    assert ram.obs.dtype == np.uint8
    assert ram.nbytes == 251 * 4 * (128 + 4 + 4 + 1 + 1)


GOOD: dict[str, Any] = {
    "action": 1,
    "reward": 1.0,
    "next_obs": [0.0, 0.0],
    "terminated": False,
    "truncated": False,
}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"next_obs": [0.0, np.nan]}, "observation is not finite"),
        ({"next_obs": [np.nan, 0.0]}, "observation is not finite"),
        ({"next_obs": [0.0, np.inf]}, "observation is not finite"),
        ({"next_obs": [0.0, 1e300]}, "observation is not finite"),  # inf, as a float32
        ({"next_obs": [0.0]}, r"shape \(1,\): expected \(2,\)"),
        ({"next_obs": [[0.0, 0.0], [0.0, 0.0]]}, "expected one for each of 1 lanes"),
        ({"next_obs": [0j, 0j]}, "dtype complex128: expected float32"),
        ({"reward": np.nan}, "reward nan: expected a finite"),
        ({"reward": -np.inf}, "reward -inf: expected a finite"),
        ({"reward": 1e39}, "reward 1e.39: expected a finite"),
        ({"action": 2}, "action 2: expected 0 to 1"),
        ({"action": -1}, "action -1: expected 0 to 1"),
        ({"action": 0.5}, "action 0.5, reward 1.0: expected an integer and"),
        ({"action": [1]}, r"action \[1\], reward 1.0: expected an integer and"),
        ({"action": np.array([1])}, r"action \[1\], reward 1.0: expected an integer and"),
        ({"reward": None}, "reward None: expected an integer and a finite number"),
        ({"reward": 1j}, "reward 1j: expected an integer and a finite number"),
        ({"reward": np.ones(2)}, r"reward \[1. 1.\]: expected an integer and a finite number"),
        ({"reward": 10**400}, "reward 10{400}: expected a finite number"),
        ({"terminated": [False, True]}, r"terminated \[False, True\], truncated False: expected"),
        ({"terminated": np.array([True])}, r"terminated \[ True\], truncated False: expected"),
        ({"truncated": np.nan}, "truncated nan: expected True or False"),
        ({"truncated": 1}, "truncated 1: expected True or False"),
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
    assert replay.truncated[0, 0]


def test_misuse_is_refused() -> None:
    replay = Replay(10, (2,), np.float32, 2)
    with pytest.raises(ValueError, match="call begin"):
        replay.add(**GOOD)
    with pytest.raises(ValueError, match="batch_size 1: expected 1 to the 0 steps"):
        replay.sample(1, np.random.default_rng(0), 1, 0.9)
    replay.begin([0.0, 0.0])
    replay.add(**(GOOD | {"terminated": True}))
    with pytest.raises(ValueError, match="no episode is going on: reset"):
        replay.add(**GOOD)
    replay.begin([0.0, 0.0])
    replay.add(**(GOOD | {"truncated": True}))
    with pytest.raises(ValueError, match="no episode is going on: reset"):
        replay.add(**GOOD)
    replay.begin([0.0, 0.0])
    replay.add([0], [0.0], [[0.0, 0.0]], [True], [False])  # as a vector of one
    with pytest.raises(ValueError, match="no episode is going on: reset"):
        replay.add(**GOOD)
    with pytest.raises(TypeError, match="a copy would detach the views"):
        copy.deepcopy(replay)
    with pytest.raises(ValueError, match="capacity 5 over 2 lanes: expected 3 steps"):
        Replay(5, (2,), np.float32, 2, lanes=2)


def test_bad_data_in_one_lane_changes_none() -> None:
    replay = Replay(12, (1,), np.float32, 2, lanes=2)
    zeros, flags = np.zeros((2, 1)), np.zeros(2, bool)
    with pytest.raises(ValueError, match="observation is not finite"):
        replay.begin([[0.0], [np.nan]])
    assert not replay.begun
    with pytest.raises(ValueError, match="no stream is open"):
        replay.add([0, 1], [0.0, 0.0], zeros, flags, flags)
    replay.begin(zeros)
    replay.add([0, 1], [0.0, 0.0], zeros, [True, False], flags)
    before = {name: array.copy() for name, array in replay.arrays.items()}
    bad: list[tuple[tuple[Any, ...], str]] = [
        (([0, 2], [0.0, 0.0], zeros, flags, flags), "action 2: expected"),
        (([0, 1], [0.0, np.nan], zeros, flags, flags), "reward nan: expected"),
        (([0, 1], [0.0, 0.0], [[0.0], [np.inf]], flags, flags), "observation is not finite"),
        (([0, 1], [0.0, 0.0], zeros, [True, False], flags), "lane 0 ended twice: .*NEXT_STEP"),
        (([0, 1], [0.0], zeros, flags, flags), r"has shape \(1,\): expected \(2,\)"),
        ((0, [0.0, 0.0], zeros, flags, flags), r"has shape \(\): expected \(2,\)"),
        (([0], [0.0], zeros[:1], [False], [False]), "expected one for each of 2 lanes"),
        ((0, 0.0, [0.0], False, False), "expected one for each of 2 lanes"),
        (([0, 1], [0.0, 0.0], zeros, flags, [True, False]), "lane 0 ended twice: .*NEXT_STEP"),
    ]
    for arguments, message in bad:
        with pytest.raises(ValueError, match=message):
            replay.add(*arguments)
    for lanes in (1, 3):
        with pytest.raises(ValueError, match="expected one for each of 2 lanes"):
            replay.begin(np.zeros((lanes, 1)))
    for name, array in replay.arrays.items():
        np.testing.assert_array_equal(array, before[name])
    assert replay.count == 1


def test_integers_must_fit() -> None:
    replay = Replay(10, (2,), np.uint8, 2)
    replay.begin([0, 255])
    with pytest.raises(ValueError, match=r"\[  0 256\] does not fit into uint8"):
        replay.begin([0, 256])
    with pytest.raises(ValueError, match="does not fit into uint8"):
        replay.begin([0.0, 0.5])
    assert replay.obs[0, 0].tolist() == [0, 255]
