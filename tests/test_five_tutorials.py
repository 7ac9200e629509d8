"""The five tutorials: that each quirk does what it is called, and no more than that."""

import sys
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Discrete
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minidqn import (
    DQN,
    TRAIN,
    DQNConfig,
    ExponentialDecay,
    GeometricDecay,
    LinearDecay,
    episode_seed,
    train,
    tuned,
)
from minidqn.batch import BRIDGE, TERMINATED, TRUNCATED
from minidqn.examples.breakout_ram import OneBall
from minidqn.lab.watchers import until_solved
from minidqn.nn.layers import Array, Linear

from .test_agent import SPACE, force_q
from .test_parts import Seen
from .test_training import chain

pytest.importorskip("ale_py", reason="Breakout takes the extra `atari`")
sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import five_tutorials
from five_tutorials import (
    TUTORIALS,
    ActsWithOldCopy,
    EpsilonByEpisode,
    LastStepCosts,
    Memory,
    NoTerminalMask,
    NoUpdateAtTheEnd,
    Outcome,
    OverwritesRandom,
    Played,
    StaleDouble,
    StartsLike,
    StoresNextAction,
    ThrowsOutNewest,
    UpdateForEachEpisode,
    Variant,
    draw,
    interval,
    make_agent,
    make_env,
    outcome,
    play,
    prime,
    tables,
    variants,
)

QUIRKS = {
    name: tuple(q.name for q in tutorial.quirks) for name, tutorial in TUTORIALS.items()
}
GAMMA = 0.9

each_tutorial = pytest.mark.parametrize("name", TUTORIALS)


def small(kind: type[DQN], seed: int = 0, **numbers: Any) -> Any:
    """An agent with three actions."""
    defaults: dict[str, Any] = {
        "hidden": (8,),
        "final_gain": 3.0,  # so that the best action changes from state to state
        "batch_size": 8,
        "learning_starts": 8,
        "buffer_size": 400,
        "n_step": 1,
        "double": False,
        "gamma": 0.9,
        "epsilon": 1.0,
    }
    return kind(SPACE, Discrete(3), DQNConfig(**(defaults | numbers)), seed)


def written(name: str) -> Any:
    """The agent of a tutorial as it is written."""
    agent, _ = make_agent(TUTORIALS[name], QUIRKS[name], make_env(TUTORIALS[name]), 0)
    return agent


class Stream(NamedTuple):
    """What really happened in T steps."""

    obs: Array  # (T, D)
    actions: Array  # (T,), as all that follow but the next observations
    rewards: Array
    next_obs: Array
    terminated: Array
    truncated: Array

    def ended(self) -> Array:
        over: Array = self.terminated | self.truncated
        return over

    def times(self, obs: Array) -> Array:
        """When these observations were acted in; KeyError for one that never was."""
        found = {row.tobytes(): t for t, row in enumerate(self.obs)}
        return np.array([found[row.tobytes()] for row in obs], int)


def live(agent: DQN, steps: int, seed: int = 0) -> Stream:
    """The agent's own actions in random episodes, which end in either way."""
    rng = np.random.default_rng(seed)
    rows: list[Any] = []
    over = True
    for _ in range(steps):
        if over:
            obs = rng.uniform(-1, 1, agent.replay.obs_shape).astype(np.float32)
            agent.begin(obs)
        action, reward = int(agent.explore()[0]), rng.normal()
        next_obs = rng.uniform(-1, 1, obs.shape).astype(np.float32)
        over = rng.random() < 0.25
        terminated = bool(over and rng.random() < 0.5)
        truncated = bool(over and not terminated)
        agent.observe(action, reward, next_obs, terminated, truncated, None)
        rows.append((obs, action, np.float32(reward), next_obs, terminated, truncated))
        obs = next_obs
    return Stream(*map(np.array, zip(*rows, strict=True)))


def sample(agent: DQN, stream: Stream) -> Any:
    """A batch as large as the stream, and when each of its transitions happened."""
    c = agent.config
    rng = np.random.default_rng(1)
    starts, _ = agent.sampler.draw(len(stream.obs), rng, agent.steps)
    batch = agent.replay.batch(starts, c.n_step, c.gamma)
    times = stream.times(batch.obs)
    np.testing.assert_array_equal(batch.next_obs, stream.next_obs[times])
    return batch, times


# --- The overrides


@pytest.mark.parametrize("kind", [DQN, NoTerminalMask])
def test_without_a_terminal_mask_what_follows_an_end_counts(kind: type[DQN]) -> None:
    agent = small(kind)
    stream = live(agent, 200)
    batch, times = sample(agent, stream)
    terminated = stream.terminated[times]
    assert 0 < terminated.sum() < stream.ended()[times].sum()
    at_end = GAMMA if kind is NoTerminalMask else 0.0
    np.testing.assert_array_equal(batch.discounts, np.where(terminated, at_end, GAMMA))
    np.testing.assert_array_equal(batch.returns, stream.rewards[times])
    np.testing.assert_array_equal(batch.actions, stream.actions[times])


def test_both_ends_at_once_are_one_end() -> None:
    agent = small(NoTerminalMask)
    agent.begin(np.zeros(3))
    agent.observe(0, 1.0, np.ones(3), True, True, None)
    agent.begin(np.full(3, 0.5))
    assert agent.replay.kind[:3, 0].tolist() == [TRUNCATED, BRIDGE, BRIDGE]
    assert (agent.replay.kind < TERMINATED).all()


def test_the_last_step_costs_however_it_ended() -> None:
    agent = small(LastStepCosts)
    stream = live(agent, 200)
    batch, times = sample(agent, stream)
    assert stream.terminated[times].any()
    assert stream.truncated[times].any()
    expected = np.where(stream.ended(), -1.0, stream.rewards)[times]
    np.testing.assert_array_equal(batch.returns, expected)
    np.testing.assert_array_equal(
        batch.discounts, np.where(stream.terminated[times], 0.0, GAMMA)
    )


def test_t3_pays_for_an_end_and_does_not_mark_it() -> None:
    agent = written("T3")
    stream = live(agent, 200)
    batch, times = sample(agent, stream)
    assert stream.terminated[times].any()
    expected = np.where(stream.ended(), -1.0, stream.rewards)[times]
    np.testing.assert_array_equal(batch.returns, expected)
    np.testing.assert_array_equal(batch.discounts, 0.8)


def test_what_is_stored_is_done_one_step_later() -> None:
    agent = small(StoresNextAction)
    stream = live(agent, 200)
    batch, times = sample(agent, stream)
    goes_on = (times < len(stream.obs) - 1) & ~stream.ended()[times]
    stored, at = batch.actions[goes_on], times[goes_on]
    np.testing.assert_array_equal(stored, stream.actions[at + 1])
    assert (stored != stream.actions[at]).any()
    assert set(stored) == {0, 1, 2}


def test_the_next_action_is_the_best_and_after_a_reset_a_fresh_one() -> None:
    agent = small(StoresNextAction, epsilon=0.0)
    stream = live(agent, 200)
    np.testing.assert_array_equal(stream.actions, agent.act(stream.obs))
    batch, times = sample(agent, stream)
    np.testing.assert_array_equal(batch.actions, agent.act(stream.next_obs[times]))
    last = stream.ended()[:-1]
    assert (agent.act(stream.next_obs[:-1])[last] != stream.actions[1:][last]).any()


def test_what_was_chosen_is_done_though_the_network_has_changed_since() -> None:
    agent = small(StoresNextAction, epsilon=0.0)
    force_q(agent, [0.0, 1.0, 0.0])
    agent.begin(np.zeros(3))
    agent.observe(0, 0.0, np.ones(3), False, False, None)
    force_q(agent, [0.0, 0.0, 1.0])
    assert agent.explore().tolist() == [1]
    agent.observe(1, 0.0, np.ones(3), False, False, None)
    assert agent.replay.action[:2, 0].tolist() == [1, 2]
    agent.begin(np.zeros(3))
    assert agent.explore().tolist() == [2]


def test_the_copy_acts_and_the_online_network_does_not_notice() -> None:
    agent = small(ActsWithOldCopy, epsilon=0.0)
    force_q(agent, [3.0, 1.0, 2.0])
    agent.copy[:] = agent.online.params
    force_q(agent, [1.0, 2.0, 3.0])
    before = agent.online.params.copy()
    agent.begin(np.zeros(3))
    assert agent.explore().tolist() == [0]
    assert agent.act(np.zeros(3)) == 0  # in a test, too
    assert agent.online.params.tobytes() == before.tobytes()


def test_the_copy_follows_only_now_and_then() -> None:
    class Often(ActsWithOldCopy):
        copied_every = 3

    agent = small(Often)
    live(agent, 20)
    for update in range(1, 8):
        before = agent.copy.copy()
        agent.learn()
        expected = before if update % 3 else agent.online.params
        np.testing.assert_array_equal(agent.copy, expected)
        assert (agent.copy == agent.online.params).all() == (update % 3 == 0)
    assert ActsWithOldCopy.copied_every == 300


def test_in_t2_the_copy_also_chooses_the_action_that_is_stored() -> None:
    agent = written("T2")
    np.testing.assert_array_equal(
        agent.copy, agent.online.params
    )  # Keras' weights, too
    agent._config = replace(agent.config, epsilon=0.0)
    force_q(agent, [0.0, 0.0, 1.0, 0.0])
    agent.copy[:] = agent.online.params
    force_q(agent, [0.0, 1.0, 0.0, 0.0])
    obs = np.zeros(128, np.uint8)
    agent.begin(obs)
    assert agent.explore().tolist() == [2]
    agent.observe(0, 1.0, obs, True, False, None)
    assert agent.replay.action[0].tolist() == [2]
    assert agent.replay.kind[0] == TRUNCATED


@settings(max_examples=25)
@given(
    st.sampled_from([ThrowsOutNewest, OverwritesRandom]),
    st.integers(1, 60),
    st.integers(0, 99),
)
def test_a_memory_gives_back_what_happened(
    kind: type[ThrowsOutNewest], steps: int, seed: int
) -> None:
    class Watched(kind):  # type: ignore[valid-type, misc]  # mypy knows no base in a variable
        size = 10

        def observe(self, *step: Any, **_: Any) -> None:
            super().observe(*step)
            kept = self.sampler.entries[: self.sampler.filled]
            assert len(np.unique(kept)) == len(kept) == min(self.steps, 10)
            if kind is OverwritesRandom:
                assert self.replay.count - 1 in kept

    agent = small(Watched)
    stream = live(agent, steps, seed)
    memory = agent.sampler
    kept = stream.times(agent.replay.obs[memory.entries[: memory.filled], 0])
    if kind is ThrowsOutNewest:
        assert kept.tolist() == list(range(min(steps, 10)))

    seen: set[int] = set()
    for _ in range(200 // steps + 1):
        starts, weights = memory.draw(steps, agent.rng, agent.steps)
        np.testing.assert_array_equal(weights, np.ones(steps))
        batch = agent.replay.batch(starts, 1, 0.9)
        times = stream.times(batch.obs)
        np.testing.assert_array_equal(batch.actions, stream.actions[times])
        np.testing.assert_array_equal(batch.returns, stream.rewards[times])
        np.testing.assert_array_equal(batch.next_obs, stream.next_obs[times])
        discounts = np.where(stream.terminated[times], 0.0, GAMMA)
        np.testing.assert_array_equal(batch.discounts, discounts)
        seen.update(times)
    assert seen == set(
        kept
    )  # one of 10 is missed in 200 draws with a chance of 10 * 0.9^200


def test_some_old_steps_survive_and_any_may_be_overwritten() -> None:
    class Small(OverwritesRandom):
        size = 40

    survived = np.zeros(80)
    for seed in range(50):
        agent = small(Small, seed)
        stream = live(agent, 80)
        survived[stream.times(agent.replay.obs[agent.sampler.entries, 0])] += 1
    # The first 40 are overwritten with a chance of 1/40, 40 times; means of 2000 events.
    chance = (1 - 1 / 40) ** 40
    assert survived[:40].mean() / 50 == pytest.approx(chance, abs=0.05)
    chances = (1 - 1 / 40) ** np.arange(
        39, -1, -1
    )  # of the others: the later, the better
    assert survived[40:60].mean() / 50 == pytest.approx(chances[:20].mean(), abs=0.05)
    assert survived[60:].mean() / 50 == pytest.approx(chances[20:].mean(), abs=0.05)
    assert survived[-1] == 50
    assert survived[:40].min() > 0


class Restless(StaleDouble):
    """Its online network is another one in every step; `best` is what each thought best."""

    best: list[int]

    def observe(self, *step: Any, **_: Any) -> None:
        self.online.params[:] = self.rng.normal(size=self.online.params.size)
        self.best.append(self.act(step[2]))
        super().observe(*step)


def test_double_goes_by_what_was_best_back_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = small(Restless, batch_size=100, learning_starts=100, target_every=2)
    agent.best = []
    stream = live(agent, 200)
    best = np.array(agent.best)
    assert set(best) == {0, 1, 2}
    agent.target.params[:] = agent.rng.normal(size=agent.target.params.size)
    seen = Seen(agent, monkeypatch)
    agent.learn()

    times = stream.times(seen.batch.obs)
    np.testing.assert_array_equal(seen.batch.next_mask, np.eye(3)[best[times]])
    q = agent.target.forward(seen.batch.next_obs)
    goes_on = ~stream.terminated[times]
    stale = q[np.arange(100), best[times]]
    expected = stream.rewards[times] + 0.9 * goes_on * stale
    np.testing.assert_allclose(seen.y[:, 0], expected, rtol=1e-5, atol=1e-5)
    assert (goes_on & (stale < q.max(axis=1))).any()


def test_exploration_is_free_of_what_was_best() -> None:
    agent = small(StaleDouble, epsilon=0.0)
    force_q(agent, [1.0, 0.0, 0.0])
    agent.begin(np.zeros(3))
    agent.observe(1, 0.0, np.ones(3), False, False, None)
    assert agent.replay.head_mask.tolist() == [[True, False, False]]
    force_q(agent, [0.0, 0.0, 1.0])
    assert agent.explore().tolist() == [2]
    agent._config = replace(agent.config, epsilon=1.0)
    assert {int(agent.explore()[0]) for _ in range(50)} == {0, 1, 2}


@pytest.mark.parametrize("others", [(), (NoTerminalMask,)])
def test_there_is_an_update_for_each_episode(others: tuple[type[DQN], ...]) -> None:
    env = chain()
    kind = type("Agent", (UpdateForEachEpisode, *others), {})
    config = DQNConfig(hidden=(8,), batch_size=30, learning_starts=30, epsilon=0.5)
    agent = kind(env.observation_space, env.action_space, config)
    prime(agent, env)
    assert (agent.steps, agent.updates) == (30, 0)
    seen = []

    def watch(agent: DQN, history: Any) -> None:
        seen.append((agent.steps, len(history), agent.updates))

    train(agent, env, 150, on_step=watch, progress=False)
    _, finished, updates = np.array(seen).T
    np.testing.assert_array_equal(updates, finished)
    assert updates[-1] > 25


def test_epsilon_falls_with_the_number_of_the_episode() -> None:
    seen = []

    class Watched(EpsilonByEpisode):
        def explore(self) -> Array:
            seen.append(self.epsilon)
            return super().explore()

    env = chain()
    config = DQNConfig(hidden=(8,), batch_size=30, learning_starts=30)
    agent = Watched(env.observation_space, env.action_space, config)
    prime(agent, env)
    assert not seen
    history = train(agent, env, 150, progress=False)
    lengths = history["length"].astype(int)
    episode = np.repeat(np.arange(1, len(lengths) + 1), lengths)
    assert len(episode) > 100
    np.testing.assert_array_equal(seen[: len(episode)], 0.3 / episode)


def test_it_is_primed_with_first_steps() -> None:
    env = make_env(TUTORIALS["T5"])
    agent, until = make_agent(TUTORIALS["T5"], QUIRKS["T5"], env, seed=3)
    assert until is None
    prime(agent, env)
    assert (agent.steps, agent.resets, agent.updates, agent.updates_due) == (
        128,
        128,
        0,
        0,
    )
    replay, memory = agent.replay, agent.sampler
    assert isinstance(memory, Memory)
    entries = memory.entries[:128]
    assert memory.filled == 128
    firsts = [
        env.reset(seed=episode_seed(3, TRAIN, number))[0] for number in range(128)
    ]
    np.testing.assert_array_equal(replay.obs[entries, 0], firsts)
    assert (replay.kind[entries[:-1], 0] == TRUNCATED).all()
    batch = replay.batch(entries[:-1], 1, 0.5)
    np.testing.assert_array_equal(batch.returns, 1.0)
    np.testing.assert_array_equal(batch.discounts, 0.5)
    assert 40 < batch.actions.sum() < 88
    random_next = batch.next_mask.argmax(axis=1)
    np.testing.assert_array_equal(batch.next_mask.sum(axis=1), 1)
    assert 40 < random_next.sum() < 88
    assert (random_next != batch.actions).any()


def test_the_last_step_of_an_episode_brings_no_update() -> None:
    agent = small(NoUpdateAtTheEnd, learning_starts=8)
    agent.begin(np.zeros(3))
    for step in range(1, 30):
        over = step % 5 == 0
        agent.observe(0, 1.0, np.ones(3), over, False)
        assert agent.updates_due == (step >= 8 and not over)
        for _ in range(agent.updates_due):
            agent.learn()
        if over:
            agent.begin(np.zeros(3))
    assert agent.updates == 22 - 4
    assert isinstance(written("T1"), NoUpdateAtTheEnd)
    assert isinstance(
        make_agent(TUTORIALS["T1"], (), make_env(TUTORIALS["T1"]), 0)[0],
        NoUpdateAtTheEnd,
    )
    assert not isinstance(written("T3"), NoUpdateAtTheEnd)


@pytest.mark.parametrize("initial", ["Keras", "PyTorch", "He"])
def test_weights_start_as_in_the_framework(initial: str) -> None:
    agent = small(type("Agent", (StartsLike,), {"initial": initial}), hidden=(50, 30))
    layers = [layer for layer in agent.online.layers if isinstance(layer, Linear)]
    assert [layer.W.shape for layer in layers] == [(3, 50), (50, 30), (30, 3)]
    for layer in layers:
        n_in, n_out = layer.W.shape
        reach = {"Keras": 6 / (n_in + n_out), "PyTorch": 1 / n_in, "He": 6 / n_in}[
            initial
        ] ** 0.5
        assert np.float32(-reach) <= layer.W.min() < -0.9 * reach
        assert 0.9 * reach < layer.W.max() <= np.float32(reach)
        if initial == "PyTorch":
            assert 0.2 * reach < abs(layer.b).max() <= np.float32(reach)
        else:
            assert not layer.b.any()
    np.testing.assert_array_equal(agent.target.params, agent.online.params)
    assert np.ptp(agent.online.params) > 0


# --- The tutorials


@each_tutorial
def test_the_variants_differ_in_one_quirk(name: str) -> None:
    runs, quirks = variants(name), QUIRKS[name]
    assert len(set(quirks)) == len(quirks) > 0
    assert runs.pop("as written") == Variant(quirks, TUTORIALS[name].episodes)
    assert runs.pop("fixed") == Variant((), TUTORIALS[name].episodes)
    assert runs.pop("minidqn") == Variant(None, TUTORIALS[name].episodes)
    for quirk in quirks:
        without, only = runs.pop(f"without {quirk}"), runs.pop(f"only {quirk}")
        assert without.quirks is not None
        assert set(without.quirks) == set(quirks) - {quirk}
        assert only.quirks == (quirk,)
        assert without.episodes == only.episodes == TUTORIALS[name].episodes
    assert runs == (
        {"as written, longer": Variant(quirks, 800)} if name == "T3" else {}
    )


@each_tutorial
def test_every_variant_has_just_its_quirks_and_lives(name: str) -> None:
    tutorial = TUTORIALS[name]
    env = make_env(tutorial)
    for variant in variants(name).values():
        if variant.quirks is None:
            continue
        agent, until = make_agent(tutorial, variant.quirks, env, 3)
        got = {**vars(agent.config), "until": until}
        overrides = set()
        for quirk in tutorial.quirks:
            has = quirk.name in variant.quirks
            expected = quirk.written if has else quirk.fixed
            assert {key: got[key] for key in expected} == expected
            overrides |= {quirk.override} if has else set()
        # StaleDouble's `double` is the only one of the other settings that a quirk changes
        settled = {
            key for quirk in tutorial.quirks for key in {**quirk.written, **quirk.fixed}
        }
        assert settled & set(tutorial.settings) <= {"double"}
        expected = {
            key: tutorial.settings[key] for key in set(tutorial.settings) - settled
        }
        assert {key: got[key] for key in expected} == expected
        for kind in {quirk.override for quirk in tutorial.quirks} - {DQN}:
            assert isinstance(agent, kind) == (kind in overrides)
        assert isinstance(agent, StartsLike)
        assert (agent.initial, agent.seed) == (tutorial.initial, 3)

        obs, _ = env.reset(seed=0)
        agent.begin(obs)
        for _ in range(5):
            action = int(agent.explore()[0])
            obs, reward, *_ = env.step(action)
            agent.observe(action, float(reward), obs, False, False, None)
        assert agent.steps == 5


NUMBERS: dict[str, dict[str, Any]] = {
    "T1": {
        "hidden": (24, 24),
        "gamma": 0.95,
        "batch_size": 24,
        "buffer_size": 2_500,
        "learning_rate": 1e-3,
        "epsilon": GeometricDecay(1.0, 0.001, 0.995, per="update"),
        "tau": 1.0,
        "target_every": 1,
        "learning_starts": 25,  # more than a batch
        "huber_delta": np.inf,
    },
    "T2": {
        "hidden": (80, 60),
        "gamma": 0.99,
        "batch_size": 100,
        "buffer_size": 10_000,
        "learning_rate": 0.01,
        "learning_starts": 6_000,
        "normalize_obs": False,
        "epsilon": GeometricDecay(1.0, 0.1, 0.999999, per="update"),
        "tau": 1.0,
        "target_every": 1,
        "huber_delta": np.inf,
    },
    "T3": {
        "hidden": (256,),
        "gamma": 0.8,
        "batch_size": 64,
        "buffer_size": 10_000,
        "learning_rate": 1e-3,
        "epsilon": ExponentialDecay(0.9, 0.05, 200),
        "tau": 1.0,
        "target_every": 1,
        "learning_starts": 64,
        "huber_delta": 1.0,
    },
    "T4": {
        "hidden": (24, 12),
        "gamma": 0.99,
        "epsilon": LinearDecay(1.0, 0.05, 10_000),
        "tau": 1.0,
        "target_every": 200,
        "huber_delta": np.inf,
    },
    "T5": {
        "hidden": (128, 128),
        "gamma": 0.3,
        "batch_size": 128,
        "learning_rate": 1e-4,
        "tau": 1.0,
        "target_every": 200,
        "learning_starts": 128,
        "huber_delta": 1.0,
    },
}


LENGTHS = {
    "T1": (210, 500),
    "T2": (None, 80),
    "T3": (200, 200),
    "T4": (500, 300),
    "T5": (200, 250),
}


@each_tutorial
def test_as_written_has_the_numbers_of_the_page(name: str) -> None:
    tutorial, config = TUTORIALS[name], written(name).config
    assert (tutorial.limit, tutorial.episodes) == LENGTHS[name]
    assert (config.train_every, config.gradient_steps) == (1, 1)
    assert {key: getattr(config, key) for key in NUMBERS[name]} == NUMBERS[name]
    # none of what came to DQN later
    assert (config.double, config.n_step, config.max_grad_norm) == (False, 1, np.inf)
    assert (config.dueling, config.noisy, config.quantiles) == (False, False, 1)
    assert config.priority_alpha == 0.0


def test_a_run_in_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = []

    def instead(*task: Any) -> Outcome:
        played.append(task)
        return Outcome([1.0, 2.0], 1, 3.5)

    monkeypatch.setattr(five_tutorials, "play", instead)
    run = Played("T5", "only epsilon 0.3 / episode", 4)
    assert run.name == "T5/only epsilon 0.3 by episode/4"
    assert outcome(run, tmp_path) == {"returns": [1.0, 2.0], "trained": 1, "test": 3.5}
    assert played == [("T5", variants("T5")["only epsilon 0.3 / episode"], 4)]


@pytest.mark.parametrize("name", ["T4", "T5"])
def test_a_memory_keeps_the_longest_run_there_can_be(name: str) -> None:
    tutorial, agent = TUTORIALS[name], written(name)
    assert tutorial.limit is not None
    most = (
        tutorial.episodes * (tutorial.limit + 1) - 1
    )  # a bridge after each episode but the last
    most += 2 * 128 if name == "T5" else 0  # that prime it
    assert isinstance(agent, ThrowsOutNewest)
    assert most < agent.replay.slots
    assert len(agent.sampler.entries) == 10_000


@pytest.mark.parametrize("name", ["T1", "T3"])
def test_a_run_has_as_many_returns_as_episodes_and_its_seed_settles_it(
    name: str,
) -> None:
    run = play(name, Variant(QUIRKS[name], 6), 0)
    assert (run.trained, len(run.returns)) == (6, 6)
    assert all(0 < episode_return <= 210 for episode_return in run.returns)
    assert 0 < run.test <= 210
    assert play(name, Variant(QUIRKS[name], 6), 0) == run
    assert play(name, Variant(QUIRKS[name], 6), 1) != run


class FakeTest:
    """Stands in for `evaluate`, and remembers the agent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(five_tutorials, "evaluate", self.evaluate)

    def evaluate(
        self,
        agent: DQN,
        env: Any,
        episodes: int,
        seed: int,
        epsilon: float,
        progress: bool,
    ) -> Array:
        assert not progress  # of one run among many
        self.agent = agent
        self.env = env
        self.seed = seed
        self.epsilon = epsilon
        return np.arange(episodes) + 1000.0


def test_where_training_stops_the_test_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    tested, asked = FakeTest(monkeypatch), []

    def soon(solved_at: float, episodes: int) -> Any:
        asked.append((solved_at, episodes))
        return until_solved(1.0, episodes)

    monkeypatch.setattr(five_tutorials, "until_solved", soon)
    run = play("T1", Variant(("stops after 5 good episodes",), 8), 0)
    assert set(asked) == {(195.0, 5)}
    assert (run.trained, len(run.returns)) == (5, 8)
    assert max(run.returns[:5]) <= 210
    assert run.returns[5:] == [1000.0, 1001.0, 1002.0]
    assert run.test == 1049.5  # of 100
    assert (tested.agent.resets, tested.seed, tested.epsilon) == (5, 0, 0.0)

    run = play("T1", Variant((), 8), 0)  # fixed, it takes 100 good episodes
    assert (run.trained, len(run.returns)) == (8, 8)
    assert max(run.returns) <= 210
    run = play("T1", Variant((), 103), 0)
    assert (run.trained, run.returns[100:]) == (100, [1000.0, 1001.0, 1002.0])


def test_more_games_may_be_left_than_the_test_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FakeTest(monkeypatch)
    monkeypatch.setattr(five_tutorials, "until_solved", lambda *_: until_solved(1.0, 1))
    run = play("T1", Variant(QUIRKS["T1"], 150), 0)
    assert (run.trained, run.returns[1:]) == (1, [1000.0 + n for n in range(149)])
    assert run.test == 1049.5


def test_breakout_is_counted_in_games_though_minidqn_learns_from_balls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tested = FakeTest(monkeypatch)
    run = play("T2", Variant((), 1), 0)
    assert (run.trained, tested.agent.resets, len(run.returns)) == (1, 1, 1)
    assert (run.test, tested.epsilon) == (1002.0, 0.05)  # of 5

    # let it play at random: then it need not learn first to end a game
    at_random = partial(tuned, epsilon=1.0)
    monkeypatch.setattr(five_tutorials, "tuned", at_random)
    run = play("T2", Variant(None, 2), 0)
    assert type(tested.agent) is DQN
    assert (run.trained, tested.agent.resets, len(run.returns)) == (2, 10, 2)
    assert tested.env.reset()[1]["lives"] == 5
    assert not isinstance(tested.env, OneBall)


# --- The numbers


def test_an_interval_holds_the_mean_and_all_of_nothing() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    low, high = interval(x)
    assert low.shape == high.shape == (3,)
    assert (low < x.mean(axis=0)).all()
    assert (x.mean(axis=0) < high).all()
    for column in range(3):
        assert [*interval(x[:, column])] == pytest.approx([low[column], high[column]])
    assert [*interval([2.5] * 7)] == [2.5, 2.5]


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(200):
        low, high = interval(rng.normal(size=20))
        held.append(low <= 0.0 <= high)
    assert (
        170 <= sum(held) <= 199
    )  # of 190; bootstrap intervals of few seeds are a little narrow


def fabricated(names: list[str]) -> dict[str, dict[str, list[Outcome]]]:
    """Three seeds that differ by 100; the quirk at k costs k + 1 as written, and twice that alone.

    They train for 10, 20 and 30 of 30 episodes, the first two until five returns were 200.
    """
    rng = np.random.default_rng(0)
    results: dict[str, dict[str, list[Outcome]]] = {}
    for name in names:
        tests = {"as written": 50.0, "fixed": 90.0, "minidqn": 95.0}
        for k, quirk in enumerate(QUIRKS[name]):
            tests |= {f"without {quirk}": 51.0 + k, f"only {quirk}": 88.0 - 2 * k}
        results[name] = {key: [] for key in variants(name)}
        for key, seed in product(variants(name), range(3)):
            returns, trained = rng.uniform(0, 190, 30), 10 + 10 * seed
            if seed < 2:
                returns[trained - 5 : trained] = 200.0
            test = tests.get(key, 0.0) + 100 * seed
            results[name][key].append(Outcome(returns.tolist(), trained, test))
    return results


def test_each_quirk_has_a_row_with_what_it_costs_the_same_seed() -> None:
    lines = tables(fabricated(list(TUTORIALS))).splitlines()
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in lines
        if "|" in line
    ]
    assert {len(row) for row in rows} == {6, 8}
    summary = {row[0]: row for row in rows[2:] if len(row) == 6}
    quirks = {
        (row[0], row[1]): row[2:]
        for row in rows
        if len(row) == 8 and row[0] in TUTORIALS
    }
    assert list(summary) == list(TUTORIALS)
    assert list(quirks) == [
        (name, quirk) for name in TUTORIALS for quirk in QUIRKS[name]
    ]
    for name, quirk in quirks:
        cost = QUIRKS[name].index(quirk) + 1
        assert quirks[name, quirk] == [
            "150.0",
            f"{150 + cost:.1f}",
            f"+{cost:.1f} (+{cost:.1f} to +{cost:.1f})",
            "190.0",
            f"{190 - 2 * cost:.1f}",
            f"-{2 * cost:.1f} (-{2 * cost:.1f} to -{2 * cost:.1f})",
        ]
    for name, row in summary.items():
        assert row[1] == TUTORIALS[name].claim
        assert [cell.split()[0] for cell in row[3:]] == ["150.0", "190.0", "195.0"]
    assert summary["T1"][2] == "2 of 3 seeds do, after 15 episodes on average"


def test_what_is_found_is_of_the_right_runs() -> None:
    results = fabricated(["T1", "T3", "T4"])
    results["T1"]["as written"] = [Outcome([9.0] * 30, 30, 9.0)] * 3
    results["T3"]["as written, longer"] = [
        Outcome([1.0] * 700 + [7.0] * 100, 800, 0.0)
    ] * 3
    results["T4"]["as written"] = [Outcome([4.0, 6.0], 2, 0.0)] * 3
    text = tables(results)
    assert "| 0 of 3 seeds do |" in text
    assert "| the mean of episodes 701 to 800 is 7.0 (7.0 to 7.0) |" in text
    assert "| the average over 2 episodes is 5.0 (5.0 to 5.0) |" in text


@pytest.mark.parametrize("names", [["T3"], list(TUTORIALS)])
def test_the_figure_is_drawn(names: list[str], tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    draw(fabricated(names), path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("L"))
    height, width = pixels.shape
    dark = (pixels < 200).mean()
    assert dark > 0.005
    # the third panel of the first row, and of the second, which only has the legend
    drawn = (pixels[height // 5 : height // 2, 3 * width // 4 :] < 250).mean()
    assert (drawn > 0.05) == (len(names) > 1)
    assert (pixels[height // 2 :, 2 * width // 3 :] < 250).any()


# --- Breakout, ball by ball


def breakout(**options: Any) -> Any:
    return gym.make("ale_py:ALE/Breakout-v5", obs_type="ram", **options)


def test_an_episode_is_a_ball_and_a_game_five_of_them() -> None:
    # a brick of the lower rows is worth 1 anyway, and random play hits no others
    env = OneBall(
        gym.wrappers.TransformReward(breakout(), lambda reward: 4 * float(reward))
    )
    rng = np.random.default_rng(0)
    obs, info = env.reset(seed=0)
    assert info["lives"] == 5
    lives, frame = 5, info["episode_frame_number"]
    rewards, starts = [], [5]
    for _ in range(1200):
        obs, reward, terminated, truncated, info = env.step(int(rng.integers(4)))
        assert obs.dtype == np.uint8
        assert obs.shape == (128,)
        assert terminated == (info["lives"] < lives)
        assert info["lives"] >= lives - 1
        assert not truncated
        assert info["episode_frame_number"] > frame
        rewards.append(reward)
        lives, frame = info["lives"], info["episode_frame_number"]
        if terminated:
            obs, info = env.reset(seed=1)
            assert obs.dtype == np.uint8
            assert obs.shape == (128,)
            # the same game goes on, or a new one begins
            assert info["lives"] == env.balls == (lives or 5)
            assert (info["episode_frame_number"] > frame) == (lives > 0)
            lives, frame = info["lives"], info["episode_frame_number"]
            starts.append(lives)
    assert set(rewards) == {0.0, 1.0}
    assert len(starts) > 10
    assert starts == [5 - n % 5 for n in range(len(starts))]


def test_a_game_that_is_cut_short_is_over() -> None:
    env = OneBall(breakout(max_episode_steps=5))
    _, info = env.reset(seed=0)
    first = info["episode_frame_number"]
    ends = [env.step(0)[2:4] for _ in range(5)]
    assert ends == [(False, False)] * 4 + [(False, True)]
    _, info = env.reset(seed=0)
    assert (info["lives"], info["episode_frame_number"]) == (5, first)
