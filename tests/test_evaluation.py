"""The test: whole episodes, of its own seeds, which leave no trace in the agent."""

import inspect
import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from minidqn import DQN, TEST, episode_seed, evaluate, train
from minidqn.lab import evaluation, progress

from .conftest import TableEnv
from .test_training import agent_for, chain


def test_a_test_return_is_the_sum_of_the_rewards_of_its_episode() -> None:
    env = TableEnv([[1], [2], [-1]], [[1.0], [10.0], [100.0]])
    agent = agent_for(env)
    returns = evaluate(agent, env, 20, seed=5)
    starts = [episode_seed(5, TEST, number) % 3 for number in range(20)]
    assert returns.tolist() == [[111.0, 110.0, 100.0][start] for start in starts]
    assert len(set(returns)) == 3


def test_the_random_actions_of_a_test_are_its_own() -> None:
    env = gym.make("CartPole-v1")
    agent = agent_for(env)
    generators = []

    class Spy(DQN):
        def act(self, *arguments: Any, **named: Any) -> Any:
            generators.append(self.rng)
            return super().act(*arguments, **named)

    spy = Spy(agent.observation_space, agent.action_space, agent.config)
    before = spy.rng
    evaluate(spy, env, 2, seed=3, epsilon=0.5)
    assert spy.rng is before
    assert before not in generators
    assert len(set(map(id, generators))) == 1
    draws = np.random.default_rng((3, TEST)).random(2 * len(generators) + 1)
    # for each action, whether it is random and which: no other draws
    assert generators[0].random() == draws[-1]


def test_evaluation_leaves_no_trace() -> None:
    env = gym.make("CartPole-v1")
    agent, twin = agent_for(env), agent_for(env)
    train(agent, env, 60, progress=False)
    train(twin, env, 60, progress=False)
    returns = evaluate(agent, env, 5, seed=3)
    np.testing.assert_array_equal(returns, evaluate(agent, env, 5, seed=3))
    assert (evaluate(agent, env, 5, seed=4) != returns).any()
    random = evaluate(agent, env, 5, seed=3, epsilon=1.0)
    np.testing.assert_array_equal(random, evaluate(agent, env, 5, seed=3, epsilon=1.0))
    assert (random != returns).any()
    for each in (agent, twin):
        each.learn()
    np.testing.assert_array_equal(agent.online.params, twin.online.params)
    assert (agent.steps, agent.resets) == (twin.steps, twin.resets)
    assert agent.rng.bit_generator.state == twin.rng.bit_generator.state


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["in a step", "in the bar"])
def test_a_test_that_fails_leaves_no_trace(
    error: type[BaseException], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fails(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            raise error("no more")

    def no_bar(*_: Any) -> Any:
        raise error("no more")

    env: Any = chain()
    agent = agent_for(env)
    rng = agent.rng
    if where == "in a step":
        env = Fails(env)
    else:
        monkeypatch.setattr(evaluation, "bar_of_test", no_bar)
    with pytest.raises(error, match="no more"):
        evaluate(agent, env, 2)
    assert agent.rng is rng


class Broken(TableEnv):
    """Its third reward is not a number."""

    def step(self, action: int) -> Any:
        obs, reward, *rest = super().step(action)
        return obs, math.nan if self.steps == 3 else reward, *rest


def test_a_reward_that_is_no_number_is_refused_in_a_test_too() -> None:
    env = Broken([[0, 0]], [[1, 1]], limit=5)
    agent = agent_for(env)
    with pytest.raises(
        ValueError, match="reward is nan, of type float: expected"
    ) as error:
        evaluate(agent, env, 2)
    assert error.value.__notes__ == ["in step 3 of a test episode"]


# --- Episodes that do not end


class Endless(TableEnv):
    """No episode ends: each step gives 1."""

    def __init__(self) -> None:
        super().__init__([[0, 0]], [[1, 1]], limit=10**9)


def test_an_episode_that_does_not_end_is_cut_with_a_warning() -> None:
    agent = agent_for(Endless())
    with pytest.warns(
        RuntimeWarning, match="3 of 3 episodes had not ended after 50 steps, and w"
    ) as warned:
        returns = evaluate(agent, Endless(), 3, max_steps=50)
    assert returns.tolist() == [50.0] * 3
    assert [warning.filename for warning in warned] == [__file__]


def test_an_episode_that_ends_just_in_time_is_not_cut() -> None:
    five = TableEnv([[0, 0]], [[1, 1]], limit=5)
    assert evaluate(agent_for(five), five, 3, max_steps=5).tolist() == [5.0] * 3


def test_of_two_episodes_one_is_cut() -> None:
    """From state 0 on it goes on for ever; from state 1 it ends at once."""
    env = TableEnv([[0], [-1]], [[1], [1]], limit=10**9)
    with pytest.warns(RuntimeWarning, match="1 of 2 episodes had not ended after 9 st"):
        returns = evaluate(agent_for(env), env, 2, seed=1, max_steps=9)
    assert sorted(returns) == [1.0, 9.0]


def test_a_test_is_of_100_greedy_episodes_that_may_be_long() -> None:
    parameters = inspect.signature(evaluate).parameters
    assert parameters["episodes"].default == 100
    assert parameters["seed"].default == 0
    assert parameters["epsilon"].default == 0.0
    assert 27_000 < parameters["max_steps"].default < 10**6  # no game of Atari is cut
    assert parameters["progress"].default is True


# --- The progress bar


class Bar:
    """Keeps what it is told to show."""

    def __init__(self) -> None:
        self.shown: list[Any] = []

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: Any) -> None:
        self.shown.append("closed")

    def set_postfix_str(self, text: str, refresh: bool) -> None:
        assert not refresh  # the next update does it, if it is time
        self.shown.append(text)

    def update(self, episodes: int = 1) -> None:
        self.shown.append(episodes)


def test_a_long_test_shows_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = Bar()
    monkeypatch.setattr(evaluation, "bar_of_test", lambda *_: bar)
    env = TableEnv([[0, 0]], [[1, 1]], limit=2500)
    evaluate(agent_for(env), env, 2)
    # the observation of the reset is the first of a thousand
    each = ["step 1000", 0, "step 2000", 0, 1]
    assert bar.shown == [*each, *each, "closed"]


def test_the_bar_appears_after_a_second_and_goes_in_the_end() -> None:
    with progress.bar_of_test(True, 5) as bar:
        assert bar.delay == 1
        assert bar.miniters == 0  # a long episode is shown, too
        assert not bar.leave
    with progress.bar_of_test(False, 5) as bar:
        assert bar.disable


# --- What is refused


@pytest.mark.parametrize("name", ["episodes", "max_steps"])
@pytest.mark.parametrize("value", [0, -1, 1.5, None, "3"])
def test_a_count_that_is_none_is_refused(name: str, value: Any) -> None:
    env = chain()
    with pytest.raises(ValueError, match=f"{name} is .*: expected an integer of 1 or"):
        evaluate(agent_for(env), env, **{name: value})


class Stuck(TableEnv):
    """After three steps, its mask allows nothing."""

    def step(self, action: int) -> Any:
        obs, reward, terminated, truncated, _ = super().step(action)
        mask = np.ones(1, np.int8) if self.steps < 3 else np.zeros(1, np.int8)
        return obs, reward, terminated, truncated, {"action_mask": mask}


def test_an_error_in_an_episode_names_the_step() -> None:
    """As in training."""
    env = Stuck([[0]], [[1]])
    with pytest.raises(ValueError, match="action_mask allows no action") as refused:
        evaluate(agent_for(env), env, 2)
    assert refused.value.__notes__ == ["in step 4 of a test episode"]


def test_what_does_not_fit_is_refused() -> None:
    agent = agent_for(chain())
    three_actions: Any = TableEnv(np.zeros((3, 3), int), np.zeros((3, 3)))
    with pytest.raises(
        ValueError, match=r"spaces are .*Discrete\(3\)\): expected the agent's, "
    ):
        evaluate(agent, three_actions)
    with pytest.raises(ValueError, match="epsilon is 2"):
        evaluate(agent, chain(), 1, epsilon=2.0)
    wrong: Any
    for wrong in (SyncVectorEnv([chain]), None, "CartPole-v1"):
        with pytest.raises(TypeError, match=r"env is .*: expected one environment"):
            evaluate(agent, wrong)
