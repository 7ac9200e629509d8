"""How actions are chosen: greedily, at random, and random ones that are repeated."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidqn.policy import Repeat, epsilon_greedy, greedy

from .conftest import plain
from .test_targets import batches


@given(batches())
def test_greedy_actions_are_the_first_of_the_best_allowed(b: dict[str, Any]) -> None:
    q, mask = b["q"][:, :, 0], b["mask"]
    best = []
    for values, allowed in zip(q, mask, strict=True):
        choice = [a for a in range(len(values)) if allowed[a]]
        best.append(min(choice, key=lambda a: (-values[a], a)) if choice else 0)
    np.testing.assert_array_equal(greedy(q, mask), best)
    np.testing.assert_array_equal(plain(greedy)(q, mask), best)


def test_greedy_actions_by_hand() -> None:
    q = np.array([[9.0, -3.0, -2.0, -2.0]] * 4)
    mask = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], np.bool_)
    np.testing.assert_array_equal(greedy(q, mask), [0, 2, 1, 0])
    np.testing.assert_array_equal(greedy(q, np.ones((4, 4), np.bool_)), q.argmax(axis=1))


@given(batches(), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 2**32))
def test_epsilon_greedy_by_rows(b: dict[str, Any], epsilon: float, seed: int) -> None:
    q, mask = b["q"][:, :, 0], b["mask"]
    u = np.random.default_rng(seed).random(len(q))
    expected = greedy(q, mask)
    for i, allowed in enumerate(map(np.flatnonzero, mask)):
        if u[i] < epsilon and len(allowed):
            expected[i] = allowed[int(u[i] / epsilon * len(allowed))]
    np.testing.assert_array_equal(epsilon_greedy(q, mask, u, epsilon), expected)
    np.testing.assert_array_equal(plain(epsilon_greedy)(q, mask, u, epsilon), expected)


def test_the_largest_number_below_epsilon_gives_the_last_action() -> None:
    q, mask = np.zeros((1, 3)), np.ones((1, 3), np.bool_)
    for epsilon in np.linspace(0.01, 1.0, 100):
        u = np.array([np.nextafter(epsilon, 0.0)])
        assert epsilon_greedy(q, mask, u, epsilon).tolist() == [2]
        assert epsilon_greedy(q, mask, np.array([epsilon]), epsilon).tolist() == [0]  # greedy


def test_what_is_repeated_ends_where_an_episode_does() -> None:
    repeat, rng = Repeat(3, hold=9), np.random.default_rng(0)
    repeat.state[:] = [[2, 1, 0], [5, 5, 5]]
    repeat.stop(np.array([False, True, False]))
    assert repeat.state[1].tolist() == [5, 0, 5]
    actions, nothing = np.array([0, 0, 1]), np.zeros(3, np.bool_)
    repeat.apply(actions, nothing, np.ones((3, 3), np.bool_), rng)
    assert actions.tolist() == [2, 0, 0]
    assert repeat.state[1].tolist() == [4, 0, 4]
    repeat.stop()
    assert repeat.state[1].tolist() == [0, 0, 0]
