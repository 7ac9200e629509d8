"""The loops: what is counted, what stops them, and that evaluation leaves no trace."""

import inspect
import signal
import time
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from threadpoolctl import threadpool_info, threadpool_limits

from minidqn import (
    DQN,
    DQNConfig,
    GeometricDecay,
    History,
    LinearDecay,
    evaluate,
    stop_on_interrupt,
    train,
)
from minidqn.batch import TRUNCATED
from minidqn.lab.envs import TEST, TRAIN, OwnEnvs, episode_seed
from minidqn.lab.training import in_training
from minidqn.nn.layers import Array

from .conftest import TableEnv


def chain(limit: int = 5) -> TableEnv:
    """Action 0 stays, for 0; action 1 goes on: from state 2 to the end, for 1."""
    return TableEnv([[0, 1], [1, 2], [2, -1]], [[0, 0], [0, 0], [0, 1]], limit)


def agent_for(env: Any, num_envs: int = 1, **numbers: Any) -> DQN:
    defaults: dict[str, Any] = {
        "hidden": (8,),
        "batch_size": 8,
        "learning_starts": 8,
        "buffer_size": 200,
    }
    space = getattr(env, "single_observation_space", env.observation_space)
    actions = getattr(env, "single_action_space", env.action_space)
    return DQN(space, actions, DQNConfig(**(defaults | numbers)), num_envs=num_envs)


def test_steps_updates_and_history_add_up() -> None:
    env = chain()
    agent = agent_for(env)
    history = train(agent, env, 100, progress=False)
    assert agent.steps == 100
    assert agent.updates == 93  # at steps 8 to 100
    assert agent.updates_due == 0
    np.testing.assert_array_equal(np.cumsum(history["length"]), history["step"])
    assert 100 - history["step"][-1] < 5  # only the last episode is unfinished
    assert set(history["episode_return"]) <= {0.0, 1.0}
    assert np.isnan(history["loss"][0])
    assert np.isfinite(history["loss"][10:]).all()
    train(agent, env, 50, history=history, progress=False)
    assert agent.steps == 150
    assert history["step"][-1] > 140


def test_one_environment_and_a_vector_of_one_give_the_same_bits() -> None:
    single = chain()
    vector = SyncVectorEnv([chain], autoreset_mode=AutoresetMode.DISABLED)
    one, many = agent_for(single), agent_for(vector)
    history = train(one, single, 150, progress=False)
    vector_history = train(many, vector, 150, progress=False)
    for name, array in one.replay.arrays.items():
        np.testing.assert_array_equal(array, many.replay.arrays[name])
    np.testing.assert_array_equal(one.online.params, many.online.params)
    np.testing.assert_array_equal(
        history["episode_return"], vector_history["episode_return"]
    )


def test_many_lanes_count_every_real_step() -> None:
    vector = SyncVectorEnv([chain, chain, lambda: chain(limit=3)])
    agent = agent_for(vector, num_envs=3)
    history = train(agent, vector, 300, progress=False)
    assert 300 <= agent.steps < 303
    assert set(history["episode_return"]) <= {0.0, 1.0}
    assert agent.updates == agent.steps - 7
    assert 250 < history["length"].sum() <= agent.steps
    assert history["length"].max() <= 5


def test_watchers_stop_a_run() -> None:
    env = chain()
    agent = agent_for(env)
    train(
        agent,
        env,
        100,
        on_step=lambda agent, history: agent.steps == 20,
        progress=False,
    )
    assert agent.steps == 20
    history = train(
        agent,
        env,
        100,
        on_episode=lambda a, h: h["step"].size >= np.int64(4),
        progress=False,
    )
    assert len(history) == 4


def test_all_watchers_are_called_at_every_step_and_episode() -> None:
    env = chain()
    agent = agent_for(env)
    steps: list[int] = []
    episodes: list[tuple[str, int, int]] = []

    def after_step(agent: DQN, history: History) -> None:
        steps.append(agent.steps)

    def first(agent: DQN, history: History) -> bool:
        episodes.append(("first", len(history), agent.steps))
        return agent.steps > 50

    def second(agent: DQN, history: History) -> None:
        episodes.append(("second", len(history), agent.steps))

    history = train(
        agent, env, 30, on_step=after_step, on_episode=second, progress=False
    )
    assert steps == list(range(1, 31))  # the last one too
    assert episodes == [("second", n, int(s)) for n, s in enumerate(history["step"], 1)]
    steps.clear()
    episodes.clear()
    again = train(
        agent,
        env,
        100,
        on_step=[after_step],
        on_episode=[first, second],
        progress=False,
    )
    assert steps == list(range(31, agent.steps + 1))
    assert 50 < agent.steps < 60
    numbers = [(n, int(s)) for n, s in enumerate(again["step"], 1)]
    assert episodes == [(who, *at) for at in numbers for who in ("first", "second")]


@pytest.mark.parametrize("steps", [9, 12])
def test_the_learning_rate_is_that_of_the_step(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, rates = chain(), []
    decay = LinearDecay(1e-2, 0.0, 20)
    agent = agent_for(env, learning_rate=decay)
    step = agent.adam.step

    def remember(grads: Array, lr: float) -> None:
        rates.append(lr)
        step(grads, lr)

    monkeypatch.setattr(agent.adam, "step", remember)
    train(agent, env, steps, progress=False)
    assert rates == [decay(t) for t in range(8, steps + 1)]


def test_blas_has_one_thread_in_training_and_tests_and_as_many_as_before_after() -> (
    None
):
    def threads() -> list[int]:
        return [
            library["num_threads"]
            for library in threadpool_info()
            if library["user_api"] == "blas"
        ]

    class Tested(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            seen.append(threads())
            return self.env.step(action)

    env, seen = chain(), []
    agent, before = agent_for(env), threads()
    assert before
    with threadpool_limits(2, user_api="blas"):
        train(agent, env, 10, on_step=lambda *_: seen.append(threads()), progress=False)
        assert max(threads()) == 2
        assert len(seen) == 10
        evaluate(agent, Tested(chain()), 2, progress=False)
        assert max(threads()) == 2
        assert len(seen) > 10
    assert {count for counts in seen for count in counts} == {1}


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_short_repeat_reaches_the_run(num_envs: int) -> None:
    env: Any = chain() if num_envs == 1 else SyncVectorEnv([chain] * num_envs)
    numbers = {"epsilon": 1.0, "learning_starts": 50, "batch_size": 50}
    once, twice = (agent_for(env, num_envs, epsilon_hold=n, **numbers) for n in (1, 2))
    for agent in (once, twice):
        train(agent, env, 60, progress=False)
    assert once.replay.action.tolist() != twice.replay.action.tolist()


def test_a_repeated_action_ends_with_all_episodes_of_a_run() -> None:
    """With every action repeated for long, each episode begins with an action of its own."""
    env = SyncVectorEnv(
        [lambda: chain(limit=1)] * 2, autoreset_mode=AutoresetMode.DISABLED
    )
    agent = agent_for(
        env, 2, epsilon=1.0, epsilon_hold=1000, learning_starts=100, batch_size=100
    )
    train(agent, env, 200, progress=False)
    first = agent.replay.action[
        agent.replay.kind >= TRUNCATED
    ]  # all steps are first ones
    assert len(first) >= 90
    assert 0.3 < first.mean() < 0.7


def test_epsilon_falls_with_the_episodes_of_a_vector() -> None:
    env, seen = SyncVectorEnv([chain, lambda: chain(limit=3)]), []
    agent = agent_for(env, 2, epsilon=GeometricDecay(1.0, 0.0, 0.5, per="episode"))

    def watch(agent: DQN, history: History) -> None:
        seen.append((agent.epsilon, len(history)))

    history = train(agent, env, 30, on_step=watch, progress=False)
    assert [epsilon for epsilon, _ in seen] == [0.5**ended for _, ended in seen]
    assert agent.episodes == len(history) > 5


@pytest.fixture
def foreground() -> Iterator[None]:
    """Ctrl-C as a process in the foreground has it; one in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("foreground")
def test_interrupt_stops_between_two_steps() -> None:
    env = chain()
    agent = agent_for(env)

    with stop_on_interrupt() as interrupted:

        def watch(agent: DQN, history: History) -> object:
            if agent.steps == 30:
                signal.raise_signal(signal.SIGINT)
            return interrupted(agent, history)

        train(agent, env, 100, on_step=watch, progress=False)
        with pytest.raises(KeyboardInterrupt):  # the second one is as usual
            signal.raise_signal(signal.SIGINT)
    assert agent.steps == 30
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("foreground")
def test_after_a_run_ctrl_c_is_as_before() -> None:
    env = chain()
    with stop_on_interrupt() as interrupted:
        train(agent_for(env), env, 10, on_step=interrupted, progress=False)
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


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
    with pytest.raises(ValueError, match="epsilon is 2"):
        evaluate(agent, env, 1, epsilon=2.0)
    for each in (agent, twin):
        each.learn()
    np.testing.assert_array_equal(agent.online.params, twin.online.params)
    assert (agent.steps, agent.resets) == (twin.steps, twin.resets)
    assert agent.rng.bit_generator.state == twin.rng.bit_generator.state


def test_every_episode_has_a_seed_of_its_own() -> None:
    seeds = [
        episode_seed(seed, purpose, episode)
        for seed in range(5)
        for purpose in (TRAIN, TEST)
        for episode in range(200)
    ]
    assert len(set(seeds)) == len(seeds)

    class Recorder(gym.Wrapper[Any, Any, Any, Any]):
        seen: list[int | None] = []  # noqa: RUF012 (one list is meant)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            self.seen.append(seed)
            return self.env.reset(seed=seed, options=options)

    env = Recorder(chain())
    agent = agent_for(env)
    train(agent, env, 20, progress=False)
    train(
        agent, env, 20, progress=False
    )  # goes on, and does not play the same episodes again
    evaluate(agent, env, 3, seed=agent.seed)
    assert len(set(env.seen)) == len(env.seen)
    assert env.seen[0] == episode_seed(agent.seed, TRAIN, 0)
    assert env.seen[-1] == episode_seed(agent.seed, TEST, 2)


def test_the_same_seed_gives_the_same_run() -> None:
    def params() -> bytes:
        env = gym.make("CartPole-v1")
        agent = agent_for(env)
        train(agent, env, 200, progress=False)
        return agent.online.params.tobytes()

    assert params() == params()


def test_what_does_not_fit_is_refused() -> None:
    env = chain()
    agent = agent_for(env)
    for steps in (0, -5):
        with pytest.raises(ValueError, match=f"steps is {steps}: expected 1 or more"):
            train(agent, env, steps, progress=False)
    with pytest.raises(
        ValueError,
        match="steps is 7: expected enough for the first update, at learning_starts, 8",
    ):
        train(agent, env, 7, progress=False)
    train(agent_for(env), chain(), 8, progress=False)  # is just enough
    with pytest.raises(
        ValueError, match=r"spaces are \(Box.*expected the agent's, \(Box"
    ):
        train(agent, gym.make("CartPole-v1"), 100, progress=False)
    with pytest.raises(
        ValueError, match=r"spaces are .*Discrete\(3\)\): expected the agent's, "
    ):
        evaluate(agent, TableEnv(np.zeros((3, 3), int), np.zeros((3, 3))))
    with pytest.raises(ValueError, match="2 environments: expected num_envs=1"):
        train(agent, SyncVectorEnv([chain, chain]), 100, progress=False)
    same_step = SyncVectorEnv([chain], autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(ValueError, match=r"SAME_STEP.*expected .*NEXT_STEP"):
        train(agent, same_step, 100, progress=False)
    with pytest.raises(TypeError, match=r"env is Sync.*: expected one environment"):
        evaluate(agent, SyncVectorEnv([chain]))  # type: ignore[arg-type]  # that is the test
    assert agent.steps == 0


def test_an_environment_that_returns_nan_leaves_the_agent_whole() -> None:
    class Broken(TableEnv):
        def step(self, action: int) -> Any:
            obs, *rest = super().step(action)
            self.total = getattr(self, "total", 0) + 1
            return (obs * np.nan if self.total == 5 else obs, *rest)

    env = Broken([[0], [0]], [[1.0], [1.0]])
    agent = agent_for(env)
    with pytest.raises(
        ValueError,
        match=r"step 5: observation has nan at index \(0,\): expected finite",
    ):
        train(agent, env, 100, progress=False)
    assert agent.steps == agent.replay.count == 4
    assert np.isfinite(agent.replay.obs).all()


class Endless(TableEnv):
    """No episode ends: each step gives 1."""

    def __init__(self) -> None:
        super().__init__([[0, 0]], [[1, 1]], limit=10**9)


def test_an_episode_that_does_not_end_is_cut_with_a_warning() -> None:
    agent = agent_for(Endless())
    with pytest.warns(
        RuntimeWarning, match="3 of 3 episodes had not ended after 50 steps, and w"
    ):
        returns = evaluate(agent, Endless(), 3, max_steps=50)
    assert returns.tolist() == [50.0] * 3
    five = TableEnv([[0, 0]], [[1, 1]], limit=5)
    assert (
        evaluate(agent_for(five), five, 3, max_steps=5).tolist() == [5.0] * 3
    )  # just in time
    default = inspect.signature(evaluate).parameters["max_steps"].default
    assert 27_000 < default < 10**6  # above the longest game of Atari


def test_a_long_test_shows_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    class Slow(TableEnv):
        def step(self, action: int) -> Any:
            time.sleep(0.001)
            return super().step(action)

    env, short = (Slow([[0, 0]], [[1, 1]], limit=limit) for limit in (600, 50))
    agent = agent_for(env)
    evaluate(agent, env, 4)
    shown = capsys.readouterr().err
    assert "/4 [" in shown
    assert "1000 steps" in shown
    evaluate(agent, env, 3, progress=False)
    evaluate(agent, short, 1)  # takes less than a second
    assert capsys.readouterr().err == ""


def test_the_environment_of_training_is_not_tested_in() -> None:
    env, test_env, other = chain(), chain(), chain()
    agent = agent_for(env)
    tested = []

    def test_somewhere(agent: DQN, history: History) -> None:
        tested.append(evaluate(agent, test_env, 2))
        train(
            agent_for(other), other, 10, progress=False
        )  # another run inside this one
        for taken in (env, gym.wrappers.TimeLimit(env, 3)):
            with pytest.raises(
                ValueError, match=r"is being trained in: expected another one"
            ):
                evaluate(agent, taken, 2)

    history = train(agent, env, 30, on_episode=test_somewhere, progress=False)
    assert len(tested) == len(history) > 3
    assert len(evaluate(agent, env, 2)) == 2  # after training it is free
    first, second = (in_training(OwnEnvs([e], agent)) for e in (env, other))
    first.__enter__(), second.__enter__()  # two runs in threads
    first.__exit__(None, None, None)
    with pytest.raises(ValueError, match="is being trained in"):
        evaluate(agent, other, 2)
    second.__exit__(None, None, None)
    for free in (env, other):
        assert len(evaluate(agent, free, 2)) == 2
    many = SyncVectorEnv([chain, lambda: env], autoreset_mode=AutoresetMode.DISABLED)

    def test_lane(agent: DQN, history: History) -> None:
        evaluate(agent, env, 2)

    with pytest.raises(ValueError, match="is being trained in"):
        train(agent_for(many, 2), many, 30, on_step=test_lane, progress=False)
    assert len(evaluate(agent, env, 2)) == 2
