"""That it learns: Q* of problems small enough to solve exactly."""

from typing import Any

import numpy as np
import pytest

from minidqn import DQN, DQNConfig, LinearDecay, train

from .conftest import TableEnv


def learned_q(env: TableEnv, steps: int, **numbers: Any) -> Any:
    config = DQNConfig(
        hidden=(64,),
        # Q-learning is off-policy: acting at random, it learns to act well
        epsilon=1.0,
        learning_rate=LinearDecay(3e-3, 0.0, steps),
        learning_starts=64,
        tau=1.0,
        target_every=50,
        **({"n_step": 1, "double": False} | numbers),
    )
    agent = DQN(env.observation_space, env.action_space, config)
    train(agent, env, steps, progress=False)
    return agent.q_values(np.eye(env.n_states, dtype=np.float32))


@pytest.mark.parametrize("double", [False, True])
def test_two_states(double: bool) -> None:
    """Stay in state 0 for 0.2, or give up 0.1 to reach state 1, where staying pays 0.5.

    It never terminates but is truncated after 20 steps, which must leave no mark.
    """
    env = TableEnv([[0, 1], [1, 0]], [[0.2, -0.1], [0.5, 0.0]])
    q = learned_q(env, 4000, gamma=0.8, double=double)
    v1 = 0.5 / (1 - 0.8)  # stay for ever
    v0 = -0.1 + 0.8 * v1
    closed_form = [[0.2 + 0.8 * v0, v0], [v1, 0.8 * v0]]
    np.testing.assert_allclose(env.optimal_q(0.8), closed_form, atol=1e-9)
    np.testing.assert_allclose(q, closed_form, atol=1e-2)


def test_gridworld() -> None:
    """3 by 3, the goal in a corner: it pays 1 and terminates. A pit pays -1."""
    next_state, reward = np.zeros((9, 4), int), np.zeros((9, 4))
    for state in range(9):
        row, column = divmod(state, 3)
        for action, (down, right) in enumerate([(-1, 0), (1, 0), (0, -1), (0, 1)]):
            to = 3 * min(max(row + down, 0), 2) + min(max(column + right, 0), 2)
            next_state[state, action] = -1 if to in (4, 8) else to
            reward[state, action] = {4: -1.0, 8: 1.0}.get(to, 0.0)
    env = TableEnv(next_state, reward)
    q = learned_q(env, 10_000, gamma=0.9)
    expected = env.optimal_q(0.9)
    assert expected[0].max() == pytest.approx(0.9**3)  # four moves around the pit
    np.testing.assert_allclose(q, expected, atol=1e-2)


def test_n_step_returns_across_time_limits() -> None:
    """A reward of 1 for ever, cut every 7 steps: V = 1 / (1 - gamma) all the same."""
    env = TableEnv([[1], [0]], [[1.0], [1.0]], limit=7)
    q = learned_q(env, 3000, gamma=0.8, n_step=5)
    np.testing.assert_allclose(q, 5.0, atol=1e-2)
