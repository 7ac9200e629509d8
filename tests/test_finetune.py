"""Going on with other settings, from a checkpoint, a policy, or in another process."""

import copy
import json
import pickle
import pydoc
import tracemalloc
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from minidqn import (
    DQN,
    CheckpointError,
    DQNConfig,
    ExponentialDecay,
    GeometricDecay,
    History,
    LinearDecay,
    checks,
    evaluate,
    load,
    load_run,
    plot_value_function,
    save,
    train,
)
from minidqn.lab.arrays import agent_arrays
from minidqn.lab.settings import from_json, own_schedules, settings
from minidqn.nn.layers import Linear
from minidqn.nn.network import Network
from minidqn.parts.decays import Delayed
from minidqn.parts.frames import Flatten, StackedReplay
from minidqn.parts.prioritized import PrioritizedSampler
from minidqn.parts.repeat import RepeatedActions
from minidqn.sampler import UniformSampler

from .test_agent import live, small_agent
from .test_parts import ALL
from .test_resume import assert_same_arrays, environments
from .test_training import agent_for, chain


def own(space: Box, n_actions: int) -> Network:
    return Network([Linear(3, 8, relu=True), Linear(8, n_actions)])


def of_images(space: Box, n_actions: int) -> Network:
    return Network([Flatten(), Linear(36, n_actions)])


def trained(steps: int = 200, **settings: Any) -> DQN:
    agent = agent_for(chain(), **settings)
    train(agent, chain(), steps, progress=False)
    return agent


# --- Settings


def test_what_may_change_changes_from_the_next_step_on(tmp_path: Path) -> None:
    agent, path = trained(learning_rate=LinearDecay(0.01, 0.0, 200)), tmp_path / "agent"
    save(agent, path)
    changes: dict[str, Any] = {
        "learning_rate": 0.01,
        "epsilon": 0.25,
        "gamma": 0.5,
        "n_step": 5,
        "batch_size": 16,
        "train_every": 3,
        "gradient_steps": 2,
        "epsilon_hold": 4,
        "param_noise": 0.2,
        "tau": 1.0,
        "target_every": 2,
        "double": False,
        "huber_delta": 2.0,
        "learning_starts": 16,
    }
    twin, history = load_run(path, **changes)
    assert {name: getattr(twin.config, name) for name in changes} == changes
    nothing = np.zeros((2, 1), np.int64)
    new = {  # no action is repeated yet, and no noise is drawn
        "repeat": nothing,
        "noise_seeds": np.zeros(1, np.int64),
        "noise_scales": np.zeros(1),
    }
    assert_same_arrays(agent, twin, **new)
    assert (twin.steps, twin.updates, twin.updates_due) == (
        200,
        agent.updates,
        0,
    )  # no burst
    before = twin.online.params.copy()
    train(twin, chain(), 30, history=history, progress=False)
    assert twin.updates == agent.updates + 20
    assert (twin.online.params != before).any()
    save(twin, path)
    assert load(path).config == twin.config


@pytest.mark.parametrize("num_envs", [1, 2])
def test_a_larger_buffer_takes_what_is_stored_with_it(
    num_envs: int, tmp_path: Path
) -> None:
    agent = DQN(
        Box(-9, 9, (3,)), Discrete(2), DQNConfig(buffer_size=90), num_envs=num_envs
    )
    rng = np.random.default_rng(0)

    def step(each: DQN, obs: Any, over: bool) -> None:
        x, flags = np.repeat(obs[None], num_envs, 0), np.full(num_envs, over)
        each.observe(np.arange(num_envs) % 2, x[:, 0], x, flags, flags & False)
        if over:
            each.begin(x)

    agent.begin(np.zeros((num_envs, 3)))
    stream = [(rng.normal(size=3), number % 7 == 6) for number in range(300)]
    for obs, over in stream[:200]:
        step(agent, obs, over)
    save(agent, tmp_path / "agent")
    twin = load(tmp_path / "agent", buffer_size=300)
    assert len(twin.replay) == len(agent.replay) == 90
    oldest = agent.replay.count % agent.replay.slots + 1
    size = 90 // num_envs
    for slots in (
        np.arange(size),
        np.arange(3, size, 5),
    ):  # the same transitions, oldest first
        theirs = (oldest + slots) % agent.replay.slots * num_envs
        for ours, original in zip(
            twin.replay.batch(slots * num_envs, 4, 0.9),
            agent.replay.batch(theirs, 4, 0.9),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, original)
    for obs, over in stream[200:]:
        step(agent, obs, over)
        step(twin, obs, over)
    np.testing.assert_array_equal(twin.replay.head, agent.replay.head)
    assert len(twin.replay) > 90
    save(twin, tmp_path / "agent")
    assert_same_arrays(twin, load(tmp_path / "agent"))


def test_a_longer_repeat_is_one_from_the_next_step_on(tmp_path: Path) -> None:
    agent, path = small_agent(n_actions=4, epsilon=1.0), tmp_path / "agent"
    live(agent, 10)
    save(agent, path)
    for twin, repeats in ((load(path), False), (load(path, epsilon_hold=10**6), True)):
        actions = {int(twin.explore()[0]) for _ in range(50)}
        assert (len(actions) == 1) == repeats


@pytest.mark.parametrize("hold", [1, 5])
def test_an_episode_goes_on_exactly_in_a_larger_buffer(
    hold: int, tmp_path: Path
) -> None:
    """As long as nothing is overwritten, the size changes nothing, nor a repeat."""
    agent, path = agent_for(chain(), epsilon=1.0, epsilon_hold=hold), tmp_path / "agent"
    history = History()

    def in_mid_episode(agent: DQN, history: History) -> bool:
        repeats = hold == 1 or agent_arrays(agent)["repeat"][1].any()
        return agent.steps > 20 and not agent.replay.over and bool(repeats)

    train(agent, chain(), 90, history=history, on_step=in_mid_episode, progress=False)
    assert agent.steps < 90
    save(agent, path, history)
    twin, twin_history = load_run(path, buffer_size=300)
    if isinstance(twin.exploration, RepeatedActions):
        assert twin.exploration.replay is twin.replay
    train(agent, chain(), 60, history=history, progress=False)
    train(twin, chain(), 60, history=twin_history, progress=False)
    np.testing.assert_array_equal(agent.online.params, twin.online.params)
    np.testing.assert_array_equal(history.rows, twin_history.rows)


def test_a_decay_that_load_is_given_counts_from_here(tmp_path: Path) -> None:
    """After 200 steps: 0.5 now, 0.25 in 50 steps, 0 in 100; also from a second file."""
    path = tmp_path / "agent"
    save(trained(200), path)
    agent = load(path, epsilon=LinearDecay(0.5, 0.0, 100))
    epsilons = [agent.epsilon]
    history = train(agent, chain(), 50, progress=False)
    epsilons.append(agent.epsilon)
    save(agent, path, history)
    agent, history = load_run(path)
    assert agent.config.epsilon == Delayed(LinearDecay(0.5, 0.0, 100), 200)
    train(agent, chain(), 50, history=history, progress=False)
    epsilons.append(agent.epsilon)
    assert epsilons == [0.5, 0.25, 0.0]
    again = load(path, epsilon=agent.config.epsilon)  # it has its beginning already
    assert again.config.epsilon == agent.config.epsilon


def test_a_decay_begins_by_what_it_counts(tmp_path: Path) -> None:
    agent = trained(200)
    save(agent, tmp_path / "agent")
    for per, begin in (("update", agent.updates), ("episode", agent.episodes)):
        decay = GeometricDecay(0.5, 0.1, 0.9, per)
        changed: Any = load(tmp_path / "agent", epsilon=decay).config.epsilon
        assert (changed.per, changed.begin) == (per, begin)
        assert changed.bounds == decay.bounds
    from_policy = tmp_path / "policy"
    save(agent, from_policy, replay=False)  # a new run begins with it, at step 0
    decay_of_policy = LinearDecay(0.5, 0.0, 100)
    assert load(from_policy, epsilon=decay_of_policy).config.epsilon == decay_of_policy


@pytest.mark.parametrize("begin", [None, "soon"])
def test_a_decay_begins_at_a_number(begin: Any) -> None:
    with pytest.raises(ValueError, match=f"begin is {begin!r}: expected a number"):
        Delayed(LinearDecay(1.0, 0.0, 10), begin)


def test_a_policy_that_acts_at_random_again_is_warned_of(tmp_path: Path) -> None:
    save(trained(200), tmp_path / "policy", replay=False)
    with pytest.warns(
        RuntimeWarning, match="epsilon is 1 again, so most actions are ra"
    ):
        train(load(tmp_path / "policy"), chain(), 20, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent = load(tmp_path / "policy", epsilon=0.05)
        train(agent, chain(), 20, progress=False)


@pytest.mark.filterwarnings("ignore:epsilon is 1 again")
@pytest.mark.parametrize("replay", [True, False])
def test_a_larger_buffer_keeps_the_stacks(replay: bool, tmp_path: Path) -> None:
    agent = agent_for(chain(), frame_stack=3, buffer_size=90)
    train(agent, chain(), 200, progress=False)
    save(agent, tmp_path / "agent", replay=replay)
    twin = load(tmp_path / "agent", buffer_size=300)
    assert isinstance(twin.replay, StackedReplay)
    assert twin.replay.frames == 3
    stack = np.ones((3, 3), np.float32)
    np.testing.assert_array_equal(twin.q_values(stack), agent.q_values(stack))
    if replay:
        np.testing.assert_array_equal(twin.replay.head_stack, agent.replay.head_stack)
    for _ in range(
        2
    ):  # at once, too: in the old ring, now full, the head had been something else
        save(twin, tmp_path / "twin")
        assert_same_arrays(twin, load(tmp_path / "twin"))
        train(twin, chain(), 100, progress=False)


@pytest.mark.filterwarnings("ignore:epsilon is 1 again")
def test_a_policy_learns_on_without_priorities(tmp_path: Path) -> None:
    save(trained(priority_alpha=0.5), tmp_path / "policy", replay=False)
    agent = load(tmp_path / "policy", priority_alpha=0.0)
    assert isinstance(agent.sampler, UniformSampler)
    train(agent, chain(), 100, progress=False)
    save(agent, tmp_path / "agent")
    assert_same_arrays(agent, load(tmp_path / "agent"))


def test_memory_that_is_taken_already_is_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    save(trained(), tmp_path / "agent")
    monkeypatch.setattr("minidqn.checks.free_megabytes", iter([100.0, 0.0]).__next__)
    assert load(tmp_path / "agent", gamma=0.5).config.gamma == 0.5


def test_settings_that_change_twice_bring_no_burst_of_updates(tmp_path: Path) -> None:
    agent, path = trained(), tmp_path / "agent"
    for changes in ({"train_every": 4}, {"gradient_steps": 3}, {"train_every": 1}):
        save(agent, path)
        agent = load(path, **changes)  # type: ignore[arg-type]  # each is a setting
        assert agent.updates_due == 0


def test_what_cannot_change_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "agent"
    save(trained(buffer_size=300), path)
    for changes, message in (
        (
            {"hidden": (5,)},
            r"hidden is \(5,\): expected \(8,\), which the saved agent is made for",
        ),
        ({"quantiles": 3}, "quantiles is 3: expected 1, which"),
        ({"frame_stack": 2}, "frame_stack is 2: expected 1, which"),
        ({"dueling": True}, "dueling is True: expected False, which"),
        ({"priority_alpha": 0.5}, "priority_alpha is 0.5: expected 0.0, which"),
        (
            {"buffer_size": 100},
            "buffer_size is 100: expected room for the .* steps stored",
        ),
        ({"gamma": 2.0}, "gamma is 2.0: expected 0 to 1"),
        ({"gama": 0.9}, "setting 'gama': expected gamma"),
        ({"batch_size": 400}, "batch_size is 400: expected at most buffer_size, 300"),
    ):
        with pytest.raises(ValueError, match=message):
            load(path, **changes)
    three = DQN(
        Box(-1.0, 1.0, (3,)), Discrete(2), DQNConfig(buffer_size=100), num_envs=3
    )
    save(three, path)
    with pytest.raises(
        ValueError, match="buffer_size 100 over 3 environments: expected room for"
    ):
        load(path, batch_size=100)
    save(trained(priority_alpha=0.5, buffer_size=300), path)
    for changes in ({"n_step": 7}, {"priority_alpha": 0.0}, {"buffer_size": 400}):
        with pytest.raises(
            ValueError, match=f"{next(iter(changes))} is .*: expected .*, which"
        ):
            load(path, **changes)
    assert load(path, gamma=0.5).config.priority_alpha == 0.5


def stopped_at(steps: int, **numbers: Any) -> DQN:
    """An agent in one long episode, with batches of 8 and up to 40 steps stored."""
    numbers = {"buffer_size": 40, "learning_starts": 8} | numbers
    agent = small_agent(batch_size=8, **numbers)
    agent.begin(np.zeros(3))
    for _ in range(steps):
        agent.observe(0, 1.0, np.zeros(3), False, False)
        for _ in range(agent.updates_due):
            agent.learn()
    return agent


def test_a_batch_larger_than_what_is_stored_is_refused(tmp_path: Path) -> None:
    """At once, and not in the first step of training, which could not learn from it."""
    path = tmp_path / "agent"
    save(stopped_at(100), path)
    text = (
        "batch_size is 80, and 40 slots are filled: expected up to 41, .* in step 101$"
    )
    with pytest.raises(ValueError, match=text):
        load(path, buffer_size=1000, batch_size=80, learning_starts=80)


def test_an_update_that_is_due_needs_its_batch_at_once(tmp_path: Path) -> None:
    agent, path = stopped_at(100), tmp_path / "agent"
    agent.observe(0, 1.0, np.zeros(3), False, False)
    assert agent.updates_due == 1
    save(agent, path)
    text = "batch_size is 41, and 40 .*: expected up to 40, .* in step 101$"
    with pytest.raises(ValueError, match=text):
        load(path, buffer_size=1000, batch_size=41, learning_starts=41)
    load(path, buffer_size=1000, batch_size=40, learning_starts=41).learn()


def refusal(function: Any, *arguments: Any, **named: Any) -> str:
    """The text of a ValueError, or nothing if there is none."""
    try:
        function(*arguments, **named)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("steps", [0, 5, 30, 100])
@pytest.mark.parametrize("learning_starts", [50, 80, 120, 140, 141])
@pytest.mark.parametrize("train_every", [1, 7])
def test_a_batch_is_refused_just_where_the_next_update_would_fail(
    steps: int,
    learning_starts: int,
    train_every: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "agent"
    save(stopped_at(steps, train_every=train_every), path)
    outcomes = set()
    for batch_size in (40, 41, 45, 48, 50, 80):
        changes: dict[str, Any] = {
            "buffer_size": 1000,
            "batch_size": batch_size,
            "learning_starts": max(learning_starts, batch_size),
            "train_every": 4,
            "gradient_steps": 2,
        }
        refused = refusal(load, path, **changes)
        with monkeypatch.context() as patch:
            patch.setattr("minidqn.lab.snapshot.check_batch", lambda *numbers: None)
            agent = load(path, **changes)
        if agent.steps == 0:
            agent.begin(np.zeros(3))
        while agent.updates_due <= 0:
            agent.observe(0, 1.0, np.zeros(3), False, False)
        failed = refusal(agent.learn)
        assert ("slots are filled: expected up to" in refused) == (failed != "")
        assert ("slots are filled" in failed) == (refused != "")
        outcomes.add(failed)
    assert "" in outcomes


def test_updates_that_are_due_stay_due_but_no_more_than_a_run_can_owe(
    tmp_path: Path,
) -> None:
    """So what is loaded with other settings can be saved again."""
    agent = small_agent(gradient_steps=4)
    live(agent, 120)
    due = agent.updates_due
    assert due == 4 * (120 - agent.config.learning_starts + 1)
    path = tmp_path / "agent"
    save(agent, path)
    assert load(path).updates_due == due
    assert load(path, train_every=3, gradient_steps=5).updates_due == due
    agent = load(path, gradient_steps=1)
    assert agent.updates_due == min(due, 121)
    save(agent, path)
    assert load(path).updates_due == agent.updates_due


@pytest.mark.filterwarnings("ignore:epsilon is 1 again")
def test_a_policy_begins_a_run_with_another_seed_and_more_environments(
    tmp_path: Path,
) -> None:
    agent, path = trained(300, **ALL), tmp_path / "policy"
    save(agent, path, replay=False)
    new: Any = {"seed": 5, "num_envs": 3, "buffer_size": 90}
    twin, history = load_run(path, **new)
    assert (twin.seed, twin.replay.num_envs, twin.config.buffer_size) == (5, 3, 90)
    np.testing.assert_array_equal(twin.online.params, agent.online.params)
    assert load(path, seed=5).rng.bit_generator.state == twin.rng.bit_generator.state
    assert load(path).rng.bit_generator.state != twin.rng.bit_generator.state
    train(twin, environments(3), 100, history=history, progress=False)
    assert twin.updates > 50
    save(twin, path, history)
    assert load(path).seed == 5
    for changes, message in (
        ({"seed": -1}, "seed .*-1: expected an integer of 0 or more"),
        ({"num_envs": 0}, "num_envs .*0: expected an integer of 1 or more"),
        ({"num_envs": 50}, "n_step 3 in 50 environments: expected up to 1"),
    ):
        save(agent, path, replay=False)
        with pytest.raises(ValueError, match=message) as refused:
            load(path, **changes)  # type: ignore[arg-type]  # each is an argument
        assert str(refused.value).startswith(f"{path}: ")


def test_a_whole_run_keeps_its_seed_and_its_environments(tmp_path: Path) -> None:
    agent, path = trained(), tmp_path / "agent"
    save(agent, path)
    for name, now, was in (("seed", 3, 0), ("num_envs", 2, 1)):
        text = f"{name} is {now}: expected {was}, .* a policy, .* another {name}$"
        changes: Any = {name: now}
        with pytest.raises(ValueError, match=text):
            load_run(path, **changes)
    assert_same_arrays(agent, load(path, seed=0, num_envs=1))  # nothing changes


def test_an_agent_s_settings_cannot_be_swapped() -> None:
    with pytest.raises(AttributeError, match="config"):
        small_agent().config = DQNConfig()  # type: ignore[misc]  # that is the test


@pytest.mark.parametrize(
    "decay",
    [
        LinearDecay(0.01, 0.0, 200),
        ExponentialDecay(0.01, 0.0, 0.25),
        GeometricDecay(0.01, 0.0, 1e-10, per="update"),
    ],
    ids=str,
)
def test_training_that_changes_nothing_warns(decay: Any) -> None:
    agent = trained(learning_rate=decay)
    before = agent.online.params.copy()
    with pytest.warns(
        RuntimeWarning, match="learning_rate is 0 from step 200 to 230, so nothing"
    ):
        train(agent, chain(), 30, progress=False)
    np.testing.assert_array_equal(agent.online.params, before)


@pytest.mark.parametrize(
    "rate",
    [
        lambda step: 1e-4 * abs(step - 200),  # 0 at first, and only then
        lambda step: 1e-4 * max(230 - step, 0),  # 0 in the end
        lambda step: 1e-6 * abs(step - 200) * abs(step - 230),  # 0 at both ends
    ],
)
def test_training_that_changes_something_does_not_warn(rate: Any) -> None:
    agent = trained(learning_rate=rate)
    before = agent.online.params.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(agent, chain(), 30, progress=False)
    assert (agent.online.params != before).any()


# --- Schedules of your own


def saw(step: int) -> float:
    """A schedule that a pickle finds by its name."""
    return 1.0 - step % 10 / 10


class Steps:
    """A schedule that is an object."""

    def __call__(self, step: int) -> float:
        return 0.5

    def half(self, step: int) -> float:
        return 0.5


HERE = __name__


@pytest.mark.parametrize(
    ("schedule", "name"),
    [
        (saw, f"{HERE}.saw"),
        (partial(partial(pow, 1.0)), "builtins.pow"),
        (Steps(), f"{HERE}.Steps"),
        (Steps().half, f"{HERE}.Steps.half"),
        (lambda step: 0.5, f"{HERE}.<lambda>"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("replay", [True, False])
def test_a_schedule_of_your_own_is_saved_by_its_name_and_asked_for(
    schedule: Any, name: str, replay: bool, tmp_path: Path
) -> None:
    agent, path = small_agent(epsilon=schedule), tmp_path / "agent"
    live(agent, 130)
    save(agent, path, replay=replay)
    with pytest.raises(CheckpointError) as refused:
        load(path, gamma=0.5)
    assert str(refused.value) == (
        f"{path} was made with a schedule of your own, {name}: give load the schedule, "
        "epsilon=..."
    )
    twin = load(path, epsilon=schedule)
    assert twin.config == agent.config
    if replay:
        assert agent.learn() == twin.learn()
    assert load(path, epsilon=0.25).epsilon == 0.25  # or another one
    with pytest.raises(ValueError, match=r"epsilon is 7.0: expected 0 to 1"):
        load(path, epsilon=7.0)


def test_every_schedule_of_your_own_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "agent"
    agent = small_agent(learning_rate=lambda step: 1e-3, epsilon=saw)
    live(agent, 20)
    save(agent, path)
    with pytest.raises(CheckpointError, match=r"own, .*saw: give .*, epsilon=..."):
        load(path, learning_rate=1e-3)
    with pytest.raises(CheckpointError, match=r"lambda>: give .*, learning_rate=..."):
        load(path, epsilon=saw)
    twin = load(path, learning_rate=1e-3, epsilon=saw)
    save(twin, path)
    assert load(path, epsilon=saw).config.learning_rate == 1e-3


def test_a_subclass_of_a_decay_is_a_schedule_of_your_own(tmp_path: Path) -> None:
    class Restarting(LinearDecay):
        def __call__(self, step: int) -> float:
            return super().__call__(step % 100)

    path = tmp_path / "agent"
    schedule = Restarting(1.0, 0.0, 100)
    save(small_agent(epsilon=schedule), path)
    with pytest.raises(CheckpointError, match=r"your own, .*<locals>.Restarting: give"):
        load(path)
    assert load(path, epsilon=schedule).config.epsilon is schedule


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"Linear": {}}, "the schedule {'Linear': {}}: expected one of LinearDecay, "),
        ({"own": "a.b"}, "the schedule {'own': 'a.b'}: expected one of LinearDecay, "),
        ({"LinearDecay": 5}, "the schedule {'LinearDecay': 5}: .*, with arguments"),
        ({}, "the schedule {}: expected one of LinearDecay, ExponentialDecay, Geo"),
        ({"LinearDecay": {}, "x": 1}, "the schedule .*: expected one of LinearDecay"),
    ],
    ids=str,
)
def test_json_that_is_no_schedule(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(value)


def test_settings_as_json_has_them_and_back() -> None:
    config = DQNConfig(
        epsilon=ExponentialDecay(1.0, 0.1, 50),
        learning_rate=GeometricDecay(1e-3, 0.0, 0.99, per="episode"),
        conv=((8, 4, 2),),
        max_grad_norm=np.inf,
    )
    read = json.loads(json.dumps(settings(config)))
    assert (
        DQNConfig(**{name: from_json(value) for name, value in read.items()}) == config
    )
    assert list(read) == sorted(vars(config))
    assert settings(DQNConfig(epsilon=saw))["epsilon"] == {"own": f"{HERE}.saw"}
    assert own_schedules(DQNConfig(epsilon=saw, learning_rate=0.1)) == {"epsilon": saw}


# --- Policies


def test_a_policy_is_small_and_acts_and_learns_from_an_empty_buffer(
    tmp_path: Path,
) -> None:
    agent, path = trained(300, **ALL), tmp_path / "policy"
    save(agent, path, replay=False)
    assert path.stat().st_size < 4 * agent.online.params.size + 4000
    twin, history = load_run(path)
    assert (
        twin.steps,
        twin.updates,
        twin.episodes,
        len(twin.replay),
        len(history),
    ) == (0,) * 5
    assert twin.config == agent.config
    np.testing.assert_array_equal(twin.online.params, agent.online.params)
    np.testing.assert_array_equal(twin.target.params, agent.online.params)
    obs = np.eye(3)
    np.testing.assert_array_equal(twin.q_values(obs), agent.q_values(obs))
    np.testing.assert_array_equal(
        evaluate(twin, chain(), 5), evaluate(agent, chain(), 5)
    )
    tuned = load(path, epsilon=0.1, learning_rate=1e-3, buffer_size=70, n_step=2)
    assert isinstance(tuned.sampler, PrioritizedSampler)
    assert (tuned.sampler.n_step, tuned.sampler.replay) == (2, tuned.replay)
    assert tuned.replay.slots == 71
    train(tuned, chain(), 100, progress=False)
    assert tuned.updates > 50
    assert (tuned.online.params != agent.online.params).any()


def test_a_policy_has_nothing_else(tmp_path: Path) -> None:
    agent, path = trained(), tmp_path / "policy"
    save(agent, path, replay=False)
    damaged = path.read_bytes().replace(b'"params"', b'"parama"')
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=r"the arrays \['parama', .*: expected"):
        load(path)


@pytest.mark.parametrize("part", [{}, {"priority_alpha": 0.5}, {"frame_stack": 2}])
def test_a_policy_asks_for_no_memory(
    part: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it begins to learn: its replay buffer may be far too large for here."""
    path, config = tmp_path / "policy", DQNConfig(buffer_size=2_000_000_000, **part)
    agent = DQN(chain().observation_space, Discrete(2), config)
    save(agent, path, replay=False)
    monkeypatch.setattr(checks, "free_megabytes", lambda: 0.01)
    evaluate(load(path), chain(), 1, progress=False)  # imports and compiles
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        twin = load(path, epsilon=0.0)
        stack = np.ones(twin.replay.stack_shape)
        np.testing.assert_array_equal(twin.q_values(stack), agent.q_values(stack))
        returns = evaluate(twin, chain(), 2, progress=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
    assert len(returns) == 2
    assert path.stat().st_size < 30_000
    with (
        pytest.warns(UserWarning, match="the replay buffer takes 42000 MB"),
        pytest.raises(ValueError, match="a replay buffer of 42000 MB: expected less"),
    ):
        twin.begin(np.zeros(3))
    save(twin, path)  # it has no ring, so there is nothing large to save
    assert path.stat().st_size < 90_000
    save(twin, path, replay=False)  # as often as you like


def test_a_run_that_does_not_fit_into_memory_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "agent"
    agent = small_agent()
    agent.begin(np.zeros(3), [1, 0])  # masks are a second array
    save(agent, path)
    for free, what in ((0.0, "a replay buffer"), (0.003, "an array of action masks")):
        monkeypatch.setattr(checks, "free_megabytes", iter([free, 0.0]).__next__)
        with pytest.raises(MemoryError) as refused:
            load(path)
        assert str(refused.value).startswith(f"{path} takes too much memory: {what}")

    def none_left(*shape: Any) -> None:
        raise MemoryError("Unable to allocate 9.0 TiB")

    monkeypatch.setattr(checks, "free_megabytes", lambda: 1e9)
    monkeypatch.setattr("minidqn.replay.Masks", none_left)
    with pytest.raises(
        MemoryError, match=f"^{path} takes too much .* allocate 9.0 TiB"
    ):
        load(path)


def test_a_network_of_your_own_is_asked_for(tmp_path: Path) -> None:
    agent, path = DQN(Box(-1, 1, (3,)), Discrete(2), network=own), tmp_path / "agent"
    for replay in (True, False):
        save(agent, path, replay=replay)
        with pytest.raises(
            CheckpointError, match=r"a network of your own: give load .*network="
        ):
            load(path)
        obs = np.ones(3)
        np.testing.assert_array_equal(
            load(path, own).q_values(obs), agent.q_values(obs)
        )
        assert load(path, own, gamma=0.5).config.gamma == 0.5
    image = DQN(Box(0, 255, (6, 6), np.uint8), Discrete(2), network=of_images)
    save(image, path)
    assert load(path, of_images, gamma=0.5).config.gamma == 0.5


def test_settings_that_your_own_network_ignores_are_refused() -> None:
    for changes in (
        {"hidden": (8,)},
        {"dueling": True},
        {"noisy": True},
        {"final_gain": 1.0},
    ):
        with pytest.raises(
            ValueError, match=f"{next(iter(changes))} is .* beside a network of"
        ):
            DQN(Box(-1, 1, (3,)), Discrete(2), DQNConfig(**changes), network=own)


# --- What is said of an agent


def test_an_agent_and_its_settings_fit_on_a_line() -> None:
    assert repr(DQNConfig()) == "DQNConfig()"
    config = DQNConfig(gamma=0.5, epsilon=LinearDecay(1.0, 0.0, 10))
    text = "DQNConfig(gamma=0.5, epsilon=LinearDecay(start=1.0, end=0.0, steps=10.0))"
    assert repr(config) == text
    assert eval(repr(config)) == config
    agent = DQN(Box(-1, 1, (3,)), Discrete(2), config)
    assert repr(agent) == f"DQN(2 actions, 4546 parameters, 0 steps, 0 updates, {text})"
    assert repr(History()) == "History(no episode has ended)"
    history = History()
    history.add_episode(7, 0.5, 3.0, 7)
    assert repr(history) == "History(1 episodes in 7 steps, mean of the last 20: 3.0)"


@pytest.mark.parametrize(
    "function", [DQN.act, DQN.q_values, evaluate, plot_value_function]
)
def test_help_fits_the_screen(function: Any) -> None:
    signature = pydoc.plain(pydoc.render_doc(function)).splitlines()[2]
    assert "Buffer" not in signature  # into which NumPy's ArrayLike expands
    assert len(signature) < 500


def test_a_large_buffer_says_so() -> None:
    space = Box(0, 1, (500,), np.int64)
    text = "the replay buffer takes 200 MB: .*DtypeObservation gives a smaller dtype"
    agent = DQN(space, Discrete(2))
    with pytest.warns(UserWarning, match=text) as seen:
        agent.begin(np.zeros(500))
    assert seen[0].filename == __file__
    agent = DQN(Box(0, 1, (500,), np.float32), Discrete(2))
    with pytest.warns(UserWarning, match="takes 100 MB: see buffer_size$"):
        agent.begin(np.zeros(500))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agent.begin(np.zeros(500))  # it has been said
        DQN(Box(0, 255, (1900,), np.uint8), Discrete(2)).begin(np.zeros(1900))


# --- Copies


def learn_there(agent: DQN) -> tuple[DQN, Any]:
    live(agent, 30, seed=2)
    return agent, agent.learn()


@pytest.mark.parametrize("network", [None, own])
def test_an_agent_crosses_processes_whole(network: Any) -> None:
    config = DQNConfig(batch_size=4, learning_starts=4, buffer_size=50, epsilon=0.3)
    here = DQN(Box(-1, 1, (3,)), Discrete(2), config, network=network)
    live(here, 60)
    here.learn()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        there, metrics = pool.submit(learn_there, here).result(timeout=120)
    assert learn_there(here)[1] == metrics
    assert_same_arrays(here, there)
    assert (
        here.learn() == there.learn()
    )  # its weights are views still, so it goes on learning
    assert_same_arrays(here, there)


def test_a_copy_is_another_agent() -> None:
    agent = trained(**ALL)
    for twin in (copy.deepcopy(agent), pickle.loads(pickle.dumps(agent))):
        assert_same_arrays(agent, twin)
        assert twin.learn() == copy.deepcopy(agent).learn()
        assert (twin.online.params != agent.online.params).any()
    assert agent.updates == twin.updates - 1


@pytest.mark.parametrize("part", [{}, {"priority_alpha": 0.5}, {"frame_stack": 2}])
def test_before_it_begins_an_agent_has_no_ring_to_be_copied(
    part: dict[str, Any], tmp_path: Path
) -> None:
    agent = small_agent(buffer_size=2_000_000_000, **part)
    agent.act(np.zeros(agent.replay.stack_shape), 0.5)  # it draws random numbers
    save(agent, tmp_path / "agent")
    twins = [copy.deepcopy(agent), pickle.loads(pickle.dumps(agent))]
    twins.append(load(tmp_path / "agent"))
    for twin in [agent, *twins]:
        assert not twin.replay.made
        assert not twin.replay.begun
        assert twin.rng.bit_generator.state == agent.rng.bit_generator.state
        np.testing.assert_array_equal(twin.target.params, agent.target.params)

    # with a buffer that there is memory for, they go on as any other
    agent = small_agent(**part)
    save(agent, tmp_path / "agent")
    twins = [copy.deepcopy(agent), load(tmp_path / "agent")]
    for twin in [agent, *twins]:
        live(twin, 130)
        twin.learn()
        np.testing.assert_array_equal(twin.online.params, agent.online.params)
    larger = load(tmp_path / "agent", buffer_size=200)
    live(larger, 130)
    larger.learn()


def test_a_copy_has_the_schedule_of_its_own() -> None:
    agent = small_agent(epsilon=saw, priority_alpha=0.5, priority_beta=lambda step: 0.5)
    live(agent, 130)
    twin = copy.deepcopy(agent)
    assert twin.config == agent.config
    assert twin.config.epsilon is saw
    assert_same_arrays(agent, twin)
    assert twin.epsilon == agent.epsilon == saw(130)
    assert twin.learn() == agent.learn()

    agent = small_agent(epsilon=saw)
    live(agent, 130)
    twin = pickle.loads(pickle.dumps(agent))
    assert twin.config.epsilon is saw
    assert twin.learn() == agent.learn()
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        pickle.dumps(small_agent(epsilon=lambda step: 0.1))


def test_an_agent_that_is_not_sound_cannot_be_copied() -> None:
    agent = small_agent()
    live(agent, 20)
    agent.target.params[3] = np.nan
    with pytest.raises(
        CheckpointError, match=r"^the agent has NaN or inf in target_params"
    ):
        copy.deepcopy(agent)
