"""Random actions that are repeated, in an agent; test_exploration.py has them alone."""

import numpy as np
import pytest
from gymnasium.spaces import Discrete

from minidqn import DQN, DQNConfig
from minidqn.parts.repeat import RepeatedActions

from .test_agent import SPACE, force_q, small_agent


def repeated_by(agent: DQN) -> RepeatedActions:
    assert isinstance(agent.exploration, RepeatedActions)
    return agent.exploration


def test_a_random_action_is_repeated() -> None:
    hold, n = 5, 20_000
    agent = small_agent(n_actions=3, epsilon=0.1, epsilon_hold=hold, buffer_size=10)
    force_q(agent, [0.0, 5.0, 0.0])
    agent.begin(np.zeros(3))
    actions = []
    for _ in range(n):
        actions.append(int(agent.explore()[0]))
        agent.observe(actions[-1], 0.0, np.zeros(3), False, False)
    changes = np.flatnonzero(np.diff(actions)) + 1
    random = np.array(actions)[changes[:-1]] != 1  # the others are greedy
    lengths = np.diff(changes)[random]
    # 1 to 5 steps, alike, but for runs that another random action joins on to
    single = lengths[lengths <= hold]
    assert len(single) > 0.9 * len(lengths)
    counts = np.bincount(single, minlength=hold + 1)[1:]
    assert (abs(counts / len(single) - 1 / hold) < 0.05).all()
    # of the steps, those that hold make up: epsilon * mean length, to 1 - epsilon
    share = np.mean(np.array(actions) != 1)
    mean = (1 + hold) / 2
    assert share == pytest.approx(2 / 3 * 0.1 * mean / (0.1 * mean + 0.9), rel=0.1)


def test_a_repeated_action_that_is_not_allowed_any_more_is_dropped() -> None:
    agent = small_agent(n_actions=3, epsilon=0.0, epsilon_hold=9)
    force_q(agent, [0.0, 5.0, 0.0])
    agent.begin(np.zeros(3))
    repeated_by(agent).state[:] = [[2], [4]]
    assert agent.explore().tolist() == [2]
    agent.observe(2, 0.0, np.zeros(3), False, False, mask=[1, 1, 0])
    assert agent.explore().tolist() == [1]
    agent.observe(1, 0.0, np.zeros(3), False, False)
    assert agent.explore().tolist() == [1]


def test_an_action_is_not_repeated_beyond_its_episode() -> None:
    agent = small_agent(n_actions=3, epsilon=0.0, epsilon_hold=9)
    force_q(agent, [0.0, 5.0, 0.0])
    agent.begin(np.zeros(3))
    repeated_by(agent).state[:] = [[2], [4]]
    agent.begin(np.zeros(3))
    assert agent.explore().tolist() == [1]
    several = DQN(
        SPACE, Discrete(3), DQNConfig(epsilon=0.0, epsilon_hold=9), 0, num_envs=2
    )
    several.begin(np.zeros((2, 3)))
    repeated_by(several).state[:] = [[2, 2], [4, 4]]
    several.observe([2, 2], [0.0, 0.0], np.zeros((2, 3)), [True, False], [False, False])
    several.explore()
    assert repeated_by(several).state[1].tolist() == [0, 3]


@pytest.mark.parametrize("num_envs", [1, 2])
def test_nothing_is_repeated_after_all_episodes_ended_together(num_envs: int) -> None:
    """Also for whoever does not ask for an action while every environment is reset."""
    agent = DQN(SPACE, Discrete(3), DQNConfig(epsilon=0.0, epsilon_hold=9), 0, num_envs)
    force_q(agent, [0.0, 5.0, 0.0])
    obs, no, yes = np.zeros((num_envs, 3)), [False] * num_envs, [True] * num_envs
    agent.begin(obs)
    repeated_by(agent).state[:] = [[2] * num_envs, [4] * num_envs]
    agent.observe([2] * num_envs, [0.0] * num_envs, obs, yes, no)
    agent.observe([0] * num_envs, [0.0] * num_envs, obs, no, no)  # the resets
    assert agent.explore().tolist() == [1] * num_envs


def test_no_random_action_starts_where_an_environment_is_being_reset() -> None:
    """It would be repeated in the next episode."""
    agent = DQN(
        SPACE, Discrete(3), DQNConfig(epsilon=1.0, epsilon_hold=9), 0, num_envs=2
    )
    obs, rewards, no = np.zeros((2, 3)), [0.0, 0.0], [False, False]
    agent.begin(obs)
    for _ in range(50):
        agent.observe(agent.explore(), rewards, obs, [True, False], no)
        assert repeated_by(agent).state[1, 0] == 0
        agent.observe(agent.explore(), rewards, obs, no, no)  # the reset of the first
        assert repeated_by(agent).state[1, 0] == 0


def test_with_eight_actions_one_in_eight_joins_on_to_the_last() -> None:
    agent = small_agent(n_actions=8, epsilon=1.0, epsilon_hold=4)
    agent.begin(np.zeros(3))
    actions = []
    for _ in range(4000):
        actions.append(int(agent.explore()[0]))
        agent.observe(actions[-1], 0.0, np.zeros(3), False, False)
    changes = np.flatnonzero(np.diff(actions))
    # repeated for 1 to 4 steps, 2.5 in the mean
    assert len(changes) == pytest.approx(4000 / 2.5 * 7 / 8, rel=0.05)
    runs = np.bincount(np.diff(changes))
    assert runs[1:5].min() > 200


def test_greedy_actions_are_not_repeated() -> None:
    agent = small_agent(n_actions=2, epsilon=0.0, epsilon_hold=10)
    agent.online.params[:] = 0.0
    agent.begin(np.zeros(3))
    for action in (0, 1, 0, 1, 1):
        agent.online.params[-2:] = [1.0 - action, float(action)]
        assert agent.explore()[0] == action
