"""The loop: what is counted, who watches, and what ends a run."""

import math
import threading
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numba.core.event import trigger_event
from threadpoolctl import threadpool_info, threadpool_limits

from minidqn import (
    DQN,
    DQNConfig,
    GeometricDecay,
    History,
    LinearDecay,
    Metrics,
    evaluate,
    load_run,
    save,
    train,
)
from minidqn.batch import TRUNCATED
from minidqn.lab.envs import TEST, TRAIN, episode_seed
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


def accounted_steps(agent: DQN, history: History) -> int:
    """The steps in the rows of a history, and in the episodes that are going on."""
    steps = int(history["length"].sum())
    for episode, over in zip(history.unfinished, agent.replay.ended, strict=False):
        if not over:
            steps += len(episode.actions)
    return steps


@pytest.mark.filterwarnings("ignore:.*WARN.*:DeprecationWarning")
@pytest.mark.parametrize("values", [4, 6])
def test_a_step_of_the_old_api_in_a_wrapper_is_explained(values: int) -> None:
    """A wrapper of Gymnasium unpacks what step returned before minidqn sees it."""

    class Old(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            obs, reward, terminated, _, info = super().step(action)
            return (obs, reward, terminated, info, info, info)[:values]

    env = gym.wrappers.TimeLimit(Old(chain()), 5)
    with pytest.raises(ValueError, match="values to unpack") as raised:
        train(agent_for(env), env, 100, progress=False)
    where, why = raised.value.__notes__
    assert where == "in step 1 of the run"
    assert why.startswith(f"env.step returned {'4' if values == 4 else 'more'} values:")
    assert "expected obs, reward, terminated, truncated, info (Gymnasium since" in why
    with pytest.raises(ValueError, match="values to unpack") as raised:
        evaluate(agent_for(env), env, 1)
    assert raised.value.__notes__[1] == why


def test_steps_updates_and_history_add_up() -> None:
    env = chain()
    agent = agent_for(env)
    history = train(agent, env, 100, progress=False)
    assert agent.steps == 100
    assert agent.updates == 93  # at steps 8 to 100
    assert agent.updates_due == 0
    np.testing.assert_array_equal(np.cumsum(history["length"]), history["step"])
    assert 100 - history["step"][-1] < 5  # only the last episode is unfinished
    assert accounted_steps(agent, history) == 100
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
    assert accounted_steps(agent, history) == agent.steps
    assert set(history["episode_return"]) <= {0.0, 1.0}
    assert agent.updates == agent.steps - 7
    assert 250 < history["length"].sum() <= agent.steps
    assert history["length"].max() <= 5


# --- Watchers


def test_a_watcher_stops_a_run() -> None:
    env = chain()
    agent = agent_for(env)

    def at_step_20(agent: DQN, history: History) -> bool:
        return agent.steps == 20

    def after_4_episodes(agent: DQN, history: History) -> bool:
        return history.just_ended > 0 and len(history) >= 4

    train(agent, env, 100, on_step=at_step_20, progress=False)
    assert agent.steps == 20
    history = train(agent, env, 100, on_step=after_4_episodes, progress=False)
    assert len(history) == 4


@pytest.mark.parametrize(
    ("answer", "stops"),
    [
        (True, True),
        (np.True_, True),
        (np.array([1]), True),
        (3, True),
        ("enough", True),
        (None, False),
        (False, False),
        (np.False_, False),
        (np.array([0]), False),
        (0.0, False),
        ([], False),
    ],
)
def test_what_counts_as_true_stops_a_run(answer: Any, stops: bool) -> None:
    env = chain()
    agent = agent_for(env)
    train(agent, env, 30, on_step=[lambda *_: answer, lambda *_: None], progress=False)
    assert agent.steps == (1 if stops else 30)


def test_all_watchers_are_called_after_every_step() -> None:
    env = chain()
    agent = agent_for(env)
    calls: list[tuple[str, int]] = []

    def first(agent: DQN, history: History) -> bool:
        calls.append(("first", agent.steps))
        return agent.steps > 40

    def second(agent: DQN, history: History) -> None:
        calls.append(("second", agent.steps))

    def each(steps: range) -> list[tuple[str, int]]:
        return [(who, step) for step in steps for who in ("first", "second")]

    train(agent, env, 30, on_step=[first, second], progress=False)
    assert calls == each(range(1, 31))  # the last one too
    calls.clear()
    train(agent, env, 100, on_step=(first, second), progress=False)
    assert calls == each(range(31, 42))  # the second one, too, where the first stops


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_watcher_sees_the_rows_of_the_step(num_envs: int) -> None:
    env: Any = chain()
    if num_envs > 1:
        env = SyncVectorEnv([chain] * 3, autoreset_mode=AutoresetMode.DISABLED)
    agent = agent_for(env, num_envs)
    seen: list[Any] = []
    ended = []

    def watch(agent: DQN, history: History) -> None:
        assert history.just_ended == agent.replay.ended.sum()
        assert accounted_steps(agent, history) == agent.steps
        rows = history.episodes(len(history) - history.just_ended)
        assert {row.step for row in rows} <= {agent.steps}
        seen.extend(rows)
        ended.append(history.just_ended)

    history = train(agent, env, 90, on_step=watch, progress=False)
    np.testing.assert_array_equal(seen, history.rows)
    assert sum(ended) == len(history) == agent.episodes
    assert max(ended) == (1 if num_envs == 1 else 2)  # several ended in one step


@pytest.mark.parametrize(
    "wrong", [None, "abc", 5, [None], ["abc"], [lambda agent, history: None, 7]]
)
def test_what_is_no_watcher_is_refused_before_anything_runs(wrong: Any) -> None:
    env = chain()
    agent = agent_for(env)
    with pytest.raises(TypeError, match=r"on_step is .*: expected functions of the"):
        train(agent, env, 20, on_step=wrong, progress=False)
    assert not agent.replay.begun
    assert not hasattr(env, "state")  # it was not even reset


def test_an_error_in_a_watcher_loses_nothing() -> None:
    env, whole_env = chain(), chain()
    agent, whole_agent = agent_for(env), agent_for(whole_env)
    history = History()
    whole = train(whole_agent, whole_env, 60, progress=False)

    def fail(agent: DQN, history: History) -> None:
        if len(history) == 4:
            raise ValueError("not this one")

    with pytest.raises(ValueError, match="not this one"):
        train(agent, env, 60, history=history, on_step=fail, progress=False)
    assert accounted_steps(agent, history) == agent.steps < 60
    train(agent, env, 60 - agent.steps, history=history, progress=False)
    np.testing.assert_array_equal(history.rows, whole.rows)
    np.testing.assert_array_equal(agent.online.params, whole_agent.online.params)


@pytest.mark.parametrize("error", [FloatingPointError, KeyboardInterrupt])
@pytest.mark.parametrize("num_envs", [1, 3])
def test_an_episode_that_ends_in_a_step_whose_update_fails_gets_its_row(
    error: type[BaseException], num_envs: int
) -> None:
    env: Any = chain()
    if num_envs > 1:
        env = SyncVectorEnv([chain] * 3, autoreset_mode=AutoresetMode.DISABLED)

    class Fails(DQN):
        def learn(self) -> Metrics:
            if fails and self.replay.ended.any() and self.steps > 30:
                raise error("in an update")
            return super().learn()

    fails = True
    config = agent_for(env, num_envs).config
    space = getattr(env, "single_observation_space", env.observation_space)
    actions = getattr(env, "single_action_space", env.action_space)
    agent = Fails(space, actions, config, num_envs=num_envs)
    history = History()
    with pytest.raises(error, match="in an update"):
        train(agent, env, 60, history=history, progress=False)
    assert agent.updates_due > 0
    assert agent.episodes == len(history)
    assert accounted_steps(agent, history) == agent.steps > 30

    fails = False
    train(agent, env, 60, history=history, progress=False)
    assert agent.updates_due == 0  # the update was made up for
    assert agent.episodes == len(history)
    assert accounted_steps(agent, history) == agent.steps


@pytest.mark.parametrize("num_envs", [1, 3])
def test_an_episode_after_which_a_schedule_fails_gets_its_row(
    num_envs: int, tmp_path: Path
) -> None:
    """Epsilon is asked for once more when an episode has ended: for its row."""
    path = tmp_path / "checkpoint.safetensors"
    env: Any = chain()
    if num_envs > 1:
        env = SyncVectorEnv([chain] * 3, autoreset_mode=AutoresetMode.DISABLED)
    fails = True

    def schedule(step: int) -> float:
        if fails and agent.replay.begun and agent.replay.ended.any() and step > 30:
            raise RuntimeError("in a schedule")
        return 0.5

    agent = agent_for(env, num_envs, epsilon=schedule)
    history = History()
    with pytest.raises(RuntimeError, match="in a schedule"):
        train(agent, env, 60, history=history, progress=False)
    assert agent.episodes == len(history)
    assert accounted_steps(agent, history) == agent.steps > 30
    assert np.isnan(history["epsilon"][-1])
    assert np.isfinite(history["epsilon"][0])
    save(agent, path, history)

    fails = False
    agent, history = load_run(path, epsilon=schedule)
    train(agent, env, 60, history=history, progress=False)
    assert agent.episodes == len(history)
    assert accounted_steps(agent, history) == agent.steps


@pytest.mark.filterwarnings("ignore:no episode has ended:RuntimeWarning")
def test_a_long_unfinished_episode() -> None:
    """No row until it ends; then one, with all of its steps and updates."""
    env = TableEnv([[0, 0]], [[1, 1]], limit=3000)
    agent = agent_for(env, train_every=10)
    history = History()
    for steps in (1000, 1000, 999):
        train(agent, env, steps, history=history, progress=False)
        assert len(history) == 0
        assert math.isnan(history.mean_return())
        (unfinished,) = history.unfinished
        assert len(unfinished.actions) == unfinished.episode_return == agent.steps
        assert history.updates[0] == agent.updates
    mean = history.updates[1:] / history.updates[0]
    assert agent.updates_due == 0
    train(agent, env, 1, history=history, progress=False)
    (row,) = history.episodes()
    assert row[:3] == (3000, 3000.0, 3000)
    np.testing.assert_allclose(row[4:], mean)


# --- Runs beside each other


def finished_run() -> tuple[DQN, History]:
    env = chain()
    agent = agent_for(env)
    return agent, train(agent, env, 60, progress=False)


def test_a_run_in_a_thread() -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(finished_run()))
    thread.start()
    thread.join()
    agent, history = finished_run()
    ((in_thread, its_history),) = found
    np.testing.assert_array_equal(in_thread.online.params, agent.online.params)
    np.testing.assert_array_equal(its_history.rows, history.rows)


def test_a_run_inside_a_watcher_of_another() -> None:
    inner: list[tuple[DQN, History]] = []

    def watch(agent: DQN, history: History) -> None:
        if agent.steps in (20, 33):
            inner.append(finished_run())

    env = chain()
    outer = agent_for(env)
    outer_history = train(outer, env, 60, on_step=watch, progress=False)
    assert len(inner) == 2
    alone, history = finished_run()
    for agent, rows in [(outer, outer_history), *inner]:
        np.testing.assert_array_equal(agent.online.params, alone.online.params)
        np.testing.assert_array_equal(rows.rows, history.rows)


def test_an_agent_has_one_stream_of_experience() -> None:
    env = chain()
    agent = agent_for(env)

    def elsewhere(agent: DQN, history: History) -> None:
        train(agent, chain(), 20, progress=False)

    with pytest.raises(
        ValueError, match="the agent is being trained: expected another"
    ):
        train(agent, env, 20, on_step=elsewhere, progress=False)
    assert agent.steps == 1
    train(agent, env, 20, progress=False)  # now it is free


# --- Schedules, threads of BLAS, seeds


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


def test_a_run_that_cannot_learn_is_warned_of() -> None:
    env = chain()
    agent = agent_for(env, learning_rate=LinearDecay(1e-2, 0.0, 20))
    history = train(agent, env, 20, progress=False)
    with pytest.warns(
        RuntimeWarning, match=r"learning_rate is 0 from step 20 to 40, so nothing is l"
    ) as warned:
        train(agent, env, 20, history=history, progress=False)
    assert [warning.filename for warning in warned] == [__file__]


def blas_threads() -> set[int]:
    return {
        library["num_threads"]
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }


def test_blas_has_one_thread_in_training_and_tests_and_as_many_as_before_after() -> (
    None
):
    seen: list[set[int]] = []

    class Tested(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            seen.append(blas_threads())
            return self.env.step(action)

    env = chain()
    agent = agent_for(env)
    assert blas_threads()
    with threadpool_limits(2, user_api="blas"):
        train(
            agent,
            env,
            10,
            on_step=lambda *_: seen.append(blas_threads()),
            progress=False,
        )
        assert max(blas_threads()) == 2
        assert len(seen) == 10
        evaluate(agent, Tested(chain()), 2, progress=False)
        assert max(blas_threads()) == 2
        assert len(seen) > 10
    assert set.union(*seen) == {1}


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_short_repeat_reaches_the_run(num_envs: int) -> None:
    env: Any = chain() if num_envs == 1 else SyncVectorEnv([chain] * num_envs)
    numbers = {"epsilon": 1.0, "learning_starts": 50, "batch_size": 50}
    once, twice = (agent_for(env, num_envs, epsilon_hold=n, **numbers) for n in (1, 2))
    for agent in (once, twice):
        train(agent, env, 60, progress=False)
    assert once.replay.action.tolist() != twice.replay.action.tolist()


def test_a_repeated_action_ends_with_all_episodes_of_a_run() -> None:
    """With each action repeated for long, an episode begins with one of its own."""
    env = SyncVectorEnv(
        [lambda: chain(limit=1)] * 2, autoreset_mode=AutoresetMode.DISABLED
    )
    agent = agent_for(
        env, 2, epsilon=1.0, epsilon_hold=1000, learning_starts=100, batch_size=100
    )
    train(agent, env, 200, progress=False)
    # all steps are first ones
    first = agent.replay.action[agent.replay.kind >= TRUNCATED]
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
    # goes on, and does not play the same episodes again
    train(agent, env, 20, progress=False)
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


# --- The progress bar


def test_the_bar_shows_epsilon_and_the_mean_return(
    capsys: pytest.CaptureFixture[str],
) -> None:
    env = TableEnv([[0, 0]], [[1, 1]], limit=5)
    agent = agent_for(env, epsilon=0.25)
    train(agent, env, 30)
    shown = capsys.readouterr().err
    assert "30/30" in shown
    assert "epsilon 0.25, mean return 5.0" in shown
    train(agent, env, 30, progress=False)
    assert capsys.readouterr().err == ""


def test_the_bar_says_when_numba_compiles(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numba compiles at the first use. Here it does so in the 300th step."""
    clock = 0.0
    monkeypatch.setattr("tqdm.std.time", lambda: clock)

    def compile_late(agent: DQN, history: History) -> None:
        nonlocal clock
        clock += 0.01  # each step takes 10 ms
        if agent.steps == 300:
            with trigger_event("numba:compile"):
                clock += 1000.0

    env = TableEnv([[0, 0]], [[1, 1]], limit=5)
    agent = agent_for(env)
    train(agent, env, 600, on_step=compile_late)
    shown = capsys.readouterr().err.split("\r")
    (compiling,) = [line for line in shown if "compiling, once" in line]
    assert " 200/600 " in compiling
    for line in shown[shown.index(compiling) + 1 :]:
        assert "compiling" not in line
        assert "[00:0" in line  # as if these 1000 seconds had never been
    trigger = trigger_event("numba:compile")  # after training nobody listens
    with trigger:
        pass
    assert capsys.readouterr().err == ""


# --- What is refused


@pytest.mark.parametrize("steps", [0, -5, math.nan])
def test_a_number_of_steps_that_is_none_is_refused(steps: Any) -> None:
    env = chain()
    with pytest.raises(ValueError, match=f"steps is {steps}: expected a number of 1"):
        train(agent_for(env), env, steps, progress=False)


@pytest.mark.parametrize("wrong", [None, "CartPole-v1", lambda: chain()])
def test_what_is_no_environment_is_refused(wrong: Any) -> None:
    agent = agent_for(chain())
    with pytest.raises(TypeError, match=r"env is .*: expected an environment, or a v"):
        train(agent, wrong, 20, progress=False)


def test_what_does_not_fit_is_refused() -> None:
    env = chain()
    agent = agent_for(env)
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
    with pytest.raises(ValueError, match="2 environments: expected num_envs=1"):
        train(agent, SyncVectorEnv([chain, chain]), 100, progress=False)
    same_step = SyncVectorEnv([chain], autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(ValueError, match=r"SAME_STEP.*expected .*NEXT_STEP"):
        train(agent, same_step, 100, progress=False)
    assert agent.steps == 0
    assert not agent.replay.begun


def test_an_environment_that_returns_nan_leaves_the_agent_whole() -> None:
    class Broken(TableEnv):
        def step(self, action: int) -> Any:
            obs, *rest = super().step(action)
            self.total = getattr(self, "total", 0) + 1
            return (obs * np.nan if self.total == 5 else obs, *rest)

    env = Broken([[0], [0]], [[1.0], [1.0]])
    agent = agent_for(env)
    history = History()
    with pytest.raises(
        ValueError,
        match=r"step 5: observation has nan at index \(0,\): expected finite",
    ) as raised:
        train(agent, env, 100, history=history, progress=False)
    assert raised.value.__notes__ == ["in step 5 of the run"]
    assert agent.steps == agent.replay.count == accounted_steps(agent, history) == 4
    assert np.isfinite(agent.replay.obs).all()


def raise_at_300(step: int) -> float:
    if step > 300:
        raise TypeError("the schedule is wrong")
    return 1e-3


def test_an_error_in_an_update_says_where() -> None:
    """A traceback alone does not say in which step of the run it was."""
    env = chain()
    for setting, where in (("learning_rate", "update 294"), ("epsilon", "step 301")):
        own: dict[str, Any] = {setting: raise_at_300}
        agent = agent_for(env, **own)
        with pytest.raises(TypeError, match="the schedule is wrong") as raised:
            train(agent, env, 400, progress=False)
        assert raised.value.__notes__ == [f"in {where} of the run"]


def test_what_is_no_history_is_refused() -> None:
    env = chain()
    with pytest.raises(
        TypeError, match=r"history is \[\]: expected a History, or None"
    ):
        train(agent_for(env), env, 400, history=[], progress=False)  # type: ignore[arg-type]  # a list
    with pytest.raises(ValueError, match="steps is '500': expected a number"):
        train(agent_for(env), env, "500", progress=False)  # type: ignore[arg-type]  # a text
