"""How actions are chosen: greedily, at random, and random ones that are repeated."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn.exploration import (
    EpsilonGreedy,
    epsilon_greedy,
    greedy,
    greedy_or_random,
)
from minidqn.nn.layers import Array
from minidqn.parts.repeat import RepeatedActions
from minidqn.replay import Replay

from .conftest import plain
from .test_targets import batches


def filled(function: Any, q: Array, *arguments: Any) -> Array:
    """The actions that a kernel puts into the array it is given: (B,)."""
    actions = np.full(len(q), -1)
    function(q, *arguments, actions)
    return actions


def first_best(values: Array, allowed: Array) -> int:
    choice = [a for a in range(len(values)) if allowed[a]]
    return min(choice, key=lambda a: (-values[a], a)) if choice else 0


def test_greedy_actions_by_hand() -> None:
    q = np.array([[9.0, -3.0, -2.0, -2.0]] * 4)
    mask = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], np.bool_)
    np.testing.assert_array_equal(filled(greedy, q, mask), [0, 2, 1, 0])
    everything = np.ones((4, 4), np.bool_)
    np.testing.assert_array_equal(filled(greedy, q, everything), q.argmax(axis=1))


@given(batches())
def test_greedy_actions_are_the_first_of_the_best_allowed(b: dict[str, Any]) -> None:
    q, mask = b["q"], b["mask"]
    best = [first_best(values, row) for values, row in zip(q, mask, strict=True)]
    np.testing.assert_array_equal(filled(greedy, q, mask), best)
    np.testing.assert_array_equal(filled(plain(greedy), q, mask), best)


@given(batches(), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 2**32))
def test_epsilon_greedy_by_rows(b: dict[str, Any], epsilon: float, seed: int) -> None:
    q, mask = b["q"], b["mask"]
    # in each row, the first number decides whether, and the second which
    u = np.random.default_rng(seed).random((len(q), 2))
    expected = [first_best(values, row) for values, row in zip(q, mask, strict=True)]
    for i, allowed in enumerate(map(np.flatnonzero, mask)):
        if u[i, 0] < epsilon and len(allowed):
            expected[i] = allowed[int(u[i, 1] * len(allowed))]
    chosen = epsilon_greedy(q, mask, epsilon, np.random.default_rng(seed))
    np.testing.assert_array_equal(chosen, expected)
    np.testing.assert_array_equal(
        EpsilonGreedy().choose(q, mask, epsilon, np.random.default_rng(seed)), expected
    )
    for function in (greedy_or_random, plain(greedy_or_random)):
        actions = filled(function, q, mask, u.reshape(-1), epsilon)
        np.testing.assert_array_equal(actions, expected)


def test_epsilon_is_a_chance_and_all_allowed_actions_are_alike() -> None:
    n, rng = 30_000, np.random.default_rng(0)
    q = np.tile([5.0, 1.0, 9.0, 2.0], (n, 1))
    mask = np.tile([True, True, False, True], (n, 1))
    counts = np.bincount(epsilon_greedy(q, mask, 0.3, rng), minlength=4)
    p = np.array([0.8, 0.1, 0.0, 0.1])  # a third of 0.3 each, and 0.7 the greedy one
    assert (abs(counts - n * p) <= 4.0 * np.sqrt(n * p * (1.0 - p))).all()


def test_without_epsilon_no_random_number_is_drawn() -> None:
    q, mask = np.eye(3), np.ones((3, 3), np.bool_)
    rng = np.random.default_rng(0)
    assert epsilon_greedy(q, mask, 0.0, rng).tolist() == [0, 1, 2]
    assert EpsilonGreedy().choose(q, mask, 0.0, rng).tolist() == [0, 1, 2]
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


@pytest.mark.parametrize("n_actions", [*range(1, 70), 1000, 2**16 + 1])
def test_the_largest_number_below_1_gives_the_last_action(n_actions: int) -> None:
    q, mask = np.zeros((1, n_actions)), np.ones((1, n_actions), np.bool_)
    last = np.nextafter(1.0, 0.0)
    for u, action in ((0.0, 0), (last, n_actions - 1)):
        actions = filled(greedy_or_random, q, mask, np.array([last, u]), 1.0)
        assert actions.tolist() == [action]


def test_a_number_of_just_epsilon_is_greedy() -> None:
    q, mask = np.array([[1.0, 0.0, 0.0]]), np.ones((1, 3), np.bool_)
    for epsilon in np.linspace(0.01, 1.0, 100):
        for u, action in ((np.nextafter(epsilon, 0.0), 2), (epsilon, 0)):
            uniforms = np.array([u, 0.9])
            actions = filled(greedy_or_random, q, mask, uniforms, epsilon)
            assert actions.tolist() == [action]


def test_nothing_of_epsilon_greedy_goes_on_beyond_an_episode() -> None:
    exploration = EpsilonGreedy()
    exploration.stop()
    exploration.stop(np.array([True, False]))
    assert vars(exploration) == {}


def ring(num_envs: int) -> Replay:
    """A replay buffer, with an episode going on in each environment."""
    replay = Replay(10 * num_envs, (1,), np.float32, 3, num_envs)
    replay.begin(np.zeros((num_envs, 1)))
    return replay


GREEDY_0_0_1 = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
ALL = np.ones((3, 3), np.bool_)


def test_what_is_repeated_ends_where_an_episode_does() -> None:
    repeat, rng = RepeatedActions(ring(3), hold=9), np.random.default_rng(0)
    repeat.state[:] = [[2, 1, 0], [5, 5, 5]]
    repeat.stop(np.array([False, True, False]))
    assert repeat.state[1].tolist() == [5, 0, 5]
    assert repeat.choose(GREEDY_0_0_1, ALL, 0.0, rng).tolist() == [2, 0, 0]
    assert repeat.state[1].tolist() == [4, 0, 4]
    repeat.stop()
    assert repeat.state[1].tolist() == [0, 0, 0]
    assert repeat.choose(GREEDY_0_0_1, ALL, 0.0, rng).tolist() == [0, 0, 1]


def test_what_is_repeated_is_dropped_where_it_is_forbidden() -> None:
    repeat, rng = RepeatedActions(ring(3), hold=9), np.random.default_rng(0)
    repeat.state[:] = [[2, 2, 2], [5, 1, 5]]
    mask = np.array([[1, 1, 0], [1, 1, 1], [1, 1, 1]], np.bool_)
    assert repeat.choose(GREEDY_0_0_1, mask, 0.0, rng).tolist() == [0, 2, 2]
    assert repeat.state[1].tolist() == [0, 0, 4]
    # also when it is allowed again; and after its last step
    assert repeat.choose(GREEDY_0_0_1, ALL, 0.0, rng).tolist() == [0, 0, 2]


def test_a_random_action_is_repeated_for_1_to_hold_steps() -> None:
    repeat, rng = RepeatedActions(ring(3), hold=4), np.random.default_rng(0)
    steps = []
    for _ in range(3000):
        actions = repeat.choose(GREEDY_0_0_1, ALL, 1.0, rng)
        np.testing.assert_array_equal(repeat.repeated, actions)
        left = repeat.left.copy()
        steps.extend((left + 1).tolist())
        while repeat.left.any():
            going_on = repeat.left > 0
            again = repeat.choose(GREEDY_0_0_1, ALL, 0.0, rng)
            expected = np.where(going_on, actions, [0, 0, 1])
            np.testing.assert_array_equal(again, expected)
            left = np.maximum(left - 1, 0)
            np.testing.assert_array_equal(repeat.left, left)
    counts = np.bincount(steps, minlength=5)
    assert len(counts) == 5
    assert counts[0] == 0
    assert (abs(counts[1:] - 9000 / 4) < 4.0 * np.sqrt(9000 * 3 / 16)).all()


def test_random_actions_alone_start_to_be_repeated() -> None:
    """Those whose first number is below epsilon; also one that is the greedy action."""
    repeat = RepeatedActions(ring(3), hold=10**9)
    for seed in range(200):
        repeat.stop()
        repeat.repeated[:] = -1
        random = np.random.default_rng(seed).random((3, 2))[:, 0] < 0.5
        rng = np.random.default_rng(seed)
        actions = repeat.choose(GREEDY_0_0_1, ALL, 0.5, rng)
        np.testing.assert_array_equal(repeat.repeated, np.where(random, actions, -1))
        np.testing.assert_array_equal(repeat.left > 0, random)
        np.testing.assert_array_equal(actions[~random], np.array([0, 0, 1])[~random])


def test_nothing_starts_where_an_episode_has_ended() -> None:
    """The environment is being reset: its action is ignored."""
    replay, rng = ring(3), np.random.default_rng(0)
    repeat = RepeatedActions(replay, hold=1000)
    no = np.zeros(3, np.bool_)
    ends = np.array([True, False, False])
    replay.add(np.zeros(3, np.int64), np.zeros(3), np.zeros((3, 1)), ends, no)
    repeat.choose(GREEDY_0_0_1, ALL, 1.0, rng)
    assert repeat.left[0] == 0
    assert repeat.left[1:].min() > 0
    replay.add(np.zeros(3, np.int64), np.zeros(3), np.zeros((3, 1)), no, no)
    repeat.choose(GREEDY_0_0_1, ALL, 1.0, rng)
    assert repeat.left[0] > 0


def test_holding_for_one_step_is_epsilon_greedy() -> None:
    repeat, rng = RepeatedActions(ring(3), hold=1), np.random.default_rng(0)
    for seed in range(100):
        state = rng.bit_generator.state
        actions = repeat.choose(GREEDY_0_0_1, ALL, 0.5, rng)
        assert not repeat.left.any()
        same = np.random.default_rng(seed)
        same.bit_generator.state = state
        np.testing.assert_array_equal(
            actions, epsilon_greedy(GREEDY_0_0_1, ALL, 0.5, same)
        )


@given(batches(), st.integers(0, 2**32))
def test_repeated_actions_are_allowed(b: dict[str, Any], seed: int) -> None:
    q, rng = b["q"], np.random.default_rng(seed)
    replay = Replay(3 * len(q), (1,), np.float32, q.shape[1], len(q))
    replay.make()
    repeat = RepeatedActions(replay, hold=5)
    for _ in range(8):
        mask = rng.random(q.shape) < 0.4
        actions = repeat.choose(q, mask, 0.5, rng)
        allowed = mask[np.arange(len(q)), actions]
        assert (allowed | ~mask.any(axis=1)).all()
