"""Observations of any scale: counted along, seen by their own mean and variance."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from minidqn import (
    DQN,
    CheckpointError,
    DQNConfig,
    evaluate,
    load,
    load_run,
    save,
    train,
)
from minidqn.lab.parsing import parse
from minidqn.lab.tuned import untuned
from minidqn.parts.running import LARGEST, RunningNormalize, Statistics

SMALL: dict[str, Any] = {
    "hidden": (8,),
    "batch_size": 8,
    "learning_starts": 16,
    "buffer_size": 300,
    "normalize_obs": "running",
}


class Tap(gym.Env[Any, Any]):
    """A shower: its temperature, near 38, is to be held between 37 and 39."""

    def __init__(
        self,
        scale: float = 1.0,
        bounds: tuple[float, float] = (0, 100),
        reward: float = 1.0,
    ):
        self.scale = scale
        self.reward = reward
        self.observation_space = Box(*bounds, (1,), np.float32)
        self.action_space = Discrete(3)

    def seen(self) -> Any:
        return np.array([self.scale * self.heat], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.heat = 38 + self.np_random.integers(-1, 2)
        self.left = 60
        return self.seen(), {}

    def step(self, action: Any) -> Any:
        self.heat += action - 1
        self.left -= 1
        reward = self.reward if 37 <= self.heat <= 39 else -self.reward
        self.heat += self.np_random.integers(-1, 2)
        return self.seen(), reward, self.left == 0, False, {}


def agent_of(env: Any, **settings: Any) -> DQN:
    config = DQNConfig(**(SMALL | settings))
    return DQN(env.observation_space, env.action_space, config, seed=0)


def test_each_entry_is_seen_by_its_own_mean_and_variance() -> None:
    """A temperature and a speed: the network sees both near 1."""
    observed = np.array([[38.0, 0.01], [40.0, 0.03], [36.0, 0.02]])
    layer = RunningNormalize(2)
    for row in observed:
        layer.statistics.observe(row[None])
    cache = layer.new_cache(3, np.dtype(float))
    seen = layer.forward(observed, cache)
    expected = (observed - observed.mean(axis=0)) / observed.std(axis=0)
    np.testing.assert_allclose(seen, expected, atol=1e-3)  # 1e-8 beside 0.008^2
    outlier = layer.forward(
        np.array([[1e6, -1e6]]), layer.new_cache(1, np.dtype(float))
    )
    assert outlier.tolist() == [[LARGEST, -LARGEST]]


@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3),
        min_size=2,
        max_size=40,
    ),
    st.integers(1, 5),
)
def test_counting_along_gives_mean_and_variance(
    observed: list[list[float]], num_envs: int
) -> None:
    """Observations come one by one, or those of several environments together."""
    statistics = Statistics(3)
    x = np.array(observed, np.float32)
    for start in range(0, len(x), num_envs):
        statistics.observe(x[start : start + num_envs])
    exact = x.astype(np.float64)
    assert statistics.count[0] == len(x)
    size = np.abs(exact).max() + 1e-30
    np.testing.assert_allclose(statistics.mean, exact.mean(axis=0), atol=1e-12 * size)
    variance = statistics.squares / len(x)
    np.testing.assert_allclose(variance, exact.var(axis=0), atol=1e-10 * size**2)


def test_the_first_observation_is_seen_as_it_is() -> None:
    """One has no variance; without any, there is no mean."""
    layer = RunningNormalize(2)
    cache = layer.new_cache(1, np.dtype(float))
    x = np.array([[3.0, -2.0]])
    assert layer.forward(x, cache).tolist() == [[3.0, -2.0]]
    layer.statistics.observe(x)
    assert layer.forward(x + 1.0, cache).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("frames", [1, 3])
def test_the_gradient_of_the_layer(frames: int) -> None:
    """Beside a difference quotient, where nothing is cut and where it is."""
    rng = np.random.default_rng(0)
    layer = RunningNormalize(2, frames)
    layer.statistics.observe(rng.normal([5.0, -3.0], [2.0, 0.1], (50, 2)))
    x = np.tile(rng.normal([5.0, -3.0], [2.0, 0.1], (4, 2)), frames)
    x[0, 0] = 1e3  # is cut
    dy = rng.normal(size=x.shape)
    cache = layer.new_cache(4, np.dtype(float))
    layer.forward(x, cache)
    dx: Any = layer.backward(dy.copy(), cache)
    other = layer.new_cache(4, np.dtype(float))
    for at in np.ndindex(x.shape):
        change = np.zeros_like(x)
        change[at] = 1e-6
        up = (dy * layer.forward(x + change, other)).sum()
        down = (dy * layer.forward(x - change, other)).sum()
        assert dx[at] == pytest.approx((up - down) / 2e-6, abs=1e-4)
    assert dx[0, 0] == 0.0


def test_the_agent_counts_what_it_observes_and_nothing_else() -> None:
    env = Tap()
    agent = agent_of(env)
    train(agent, env, 150, progress=False)
    statistics: Any = agent.scaling
    stored = agent.replay.obs[: agent.replay.count + 1, 0].astype(np.float64)
    assert statistics.count[0] == len(stored)  # bridges and the head, too
    np.testing.assert_allclose(statistics.mean, stored.mean(axis=0))
    online: Any = agent.online.layers[0]
    target: Any = agent.target.layers[0]
    assert online.statistics is target.statistics is statistics
    before = copy.deepcopy(statistics.arrays)
    evaluate(agent, Tap(), 3, progress=False)
    agent.act(np.array([70.0], np.float32))
    for name, array in statistics.arrays.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"frame_stack": 3},
        {"quantiles": 3, "dueling": True, "noisy": True},
        {"priority_alpha": 0.6},
    ],
)
def test_a_run_goes_on_to_the_same_bits(parts: Any, tmp_path: Path) -> None:
    straight = agent_of(Tap(), **parts)
    train(straight, Tap(), 200, progress=False)
    first = agent_of(Tap(), **parts)
    history = train(first, Tap(), 90, progress=False)
    save(first, tmp_path / "it", history)
    gone_on, history = load_run(tmp_path / "it")
    train(gone_on, Tap(), 110, history=history, progress=False)
    np.testing.assert_array_equal(gone_on.online.params, straight.online.params)
    for name, array in straight.scaling.arrays.items():
        np.testing.assert_array_equal(gone_on.scaling.arrays[name], array)
    twin = copy.deepcopy(straight)
    obs = np.full(straight.replay.stack_shape, 41.0, np.float32)
    np.testing.assert_array_equal(twin.q_values(obs), straight.q_values(obs))


@pytest.mark.filterwarnings("ignore:epsilon is 1 again")
def test_a_policy_sees_as_the_agent_did_and_a_new_run_counts_on(tmp_path: Path) -> None:
    agent = agent_of(Tap())
    train(agent, Tap(), 150, progress=False)
    save(agent, tmp_path / "policy", replay=False)
    assert {"obs_count", "obs_mean", "obs_squares"} < load_file(
        tmp_path / "policy"
    ).keys()
    policy = load(tmp_path / "policy")
    for heat in (20.0, 38.0, 50.0):
        obs = np.array([heat], np.float32)
        np.testing.assert_array_equal(policy.q_values(obs), agent.q_values(obs))
    count = float(policy.scaling.arrays["count"][0])
    train(policy, Tap(), 60, progress=False)
    assert policy.scaling.arrays["count"][0] == count + 61  # the first reset, too


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    agent = agent_of(Tap())
    save(agent, tmp_path / "policy", replay=False)
    file = tmp_path / "policy"
    good = load_file(file)
    text = {"minidqn": header_of(file)}
    for name, value, says in (
        ("obs_squares", np.array([-1.0]), "has obs_squares with negative numbers"),
        ("obs_mean", np.array([np.nan]), "has NaN or inf in obs_mean"),
        ("obs_mean", np.zeros(2), r"has obs_mean of shape \(2,\): expected \(1,\)"),
        ("obs_count", None, r"has the arrays \[.*\]: expected \["),
    ):
        arrays = {key: array for key, array in good.items() if key != name}
        if value is not None:
            arrays[name] = value
        save_file(arrays, file, text)
        with pytest.raises(CheckpointError, match=says):
            load(file)
    statistics: Any = agent.scaling
    statistics.mean[:] = np.inf
    with pytest.raises(
        CheckpointError, match="is not written: the agent has NaN or in"
    ):
        save(agent, file, replay=False)


def header_of(file: Path) -> str:
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as opened:
        text: str = opened.metadata()["minidqn"]
    return text


def test_the_setting() -> None:
    assert DQNConfig(normalize_obs=True) == DQNConfig(normalize_obs="bounds")
    assert DQNConfig(normalize_obs=False) == DQNConfig()
    for wrong in ("yes", 1, None):
        expected = "expected False, bounds or running"
        with pytest.raises(ValueError, match=f"normalize_obs is {wrong!r}: {expected}"):
            DQNConfig(normalize_obs=wrong)  # type: ignore[arg-type]  # it is wrong
    for text, value in (("running", "running"), ("bounds", "bounds"), ("no", False)):
        assert parse("normalize_obs", text, 100) == value
    with pytest.raises(ValueError, match="expected false, bounds or running"):
        parse("normalize_obs", "always", 100)


def test_what_needs_no_scale_is_refused() -> None:
    flags: Any = np.bool_
    with pytest.raises(ValueError, match="normalize_obs='running' with booleans: ex"):
        DQN(Box(0, 1, (3,), flags), Discrete(2), DQNConfig(normalize_obs="running"))
    config = DQNConfig(normalize_obs="running", conv=((4, 3, 1),))
    with pytest.raises(ValueError, match="normalize_obs with conv: expected False: pi"):
        DQN(Box(0, 255, (8, 8), np.uint8), Discrete(2), config)


# --- Warnings


def warned_of(env: Any, **settings: Any) -> list[str]:
    """What train warns of in a short run."""
    agent = agent_of(env, **settings)
    with pytest.warns(RuntimeWarning) as warned:
        train(agent, env, 600, progress=False)
    assert all(each.filename == __file__ for each in warned)  # where train is called
    return [str(each.message) for each in warned]


INF = float("inf")


@pytest.mark.parametrize(
    ("env", "normalize", "says"),
    [
        (Tap(), False, "entry 0 of the observations is about "),
        (Tap(1e-3), False, "entry 0 of the observations varies by 0.00"),
        (Tap(bounds=(-INF, INF)), "bounds", 'normalize_obs="bounds" does nothing'),
        (Tap(bounds=(0, 1e5)), "bounds", "the bounds of the observation space are fa"),
    ],
)
def test_a_scale_that_does_not_fit_is_said_once(
    env: Any, normalize: Any, says: str
) -> None:
    first, *_ = warned = warned_of(env, normalize_obs=normalize)
    assert says in first
    assert all('normalize_obs="running" scales each entry' in text for text in warned)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("normalize", ["bounds", "running"])
def test_a_scale_that_fits_is_not_warned_of(normalize: str) -> None:
    env = Tap(bounds=(30, 46))
    train(agent_of(env, normalize_obs=normalize), env, 600, progress=False)
    cartpole = gym.make("CartPole-v1")
    train(agent_of(cartpole, normalize_obs=False), cartpole, 1000, progress=False)


def test_rewards_that_are_too_large_are_said_once() -> None:
    (text,) = warned_of(Tap(reward=300.0))
    assert text.startswith("the rewards are about 300, or minus that: a network learns")
    assert "TransformReward(env, lambda r: r / 100)" in text
    (text,) = warned_of(Tap(reward=25.0))
    assert "lambda r: r / 10)" in text


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("env_id", ["CliffWalking-v1", "Taxi-v4"])
def test_rewards_of_usual_sizes_are_not_warned_of(env_id: str) -> None:
    """Nor a policy that walks off the cliff again and again, as seed 5 does."""
    env = gym.wrappers.FlattenObservation(gym.make(env_id))
    for seed in (4, 5):
        tried = untuned(env_id, 2_000).config
        config = replace(tried, buffer_size=2_000, learning_starts=500)
        agent = DQN(env.observation_space, env.action_space, config, seed)
        train(agent, env, 600, progress=False)
    small = Tap(reward=9.0)
    train(agent_of(small), small, 600, progress=False)


def test_the_wrapper_of_gymnasium_is_warned_of() -> None:
    env = gym.wrappers.NormalizeObservation(Tap())
    (text,) = warned_of(gym.wrappers.TimeLimit(env, 20))
    assert "a saved agent has none" in text
    assert 'normalize_obs="running" keeps them in the agent' in text


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_network_of_one_s_own_is_not_judged() -> None:
    from minidqn.nn.layers import Linear
    from minidqn.nn.network import Network

    agent = DQN(
        Box(0, 100, (1,)),
        Discrete(3),
        DQNConfig(learning_starts=64),
        network=lambda space, n: Network([RunningNormalize(1), Linear(1, n)]),
    )
    train(agent, Tap(), 600, progress=False)
    assert agent.scaling.arrays["count"][0] > 600  # its layer counts along


# --- It learns


def test_it_learns_what_no_bounds_tell() -> None:
    """The shower's bounds, 0 to 100, would do; plain numbers near 38 reach about -20."""
    env = Tap()
    agent = DQN(
        env.observation_space, env.action_space, DQNConfig(normalize_obs="running")
    )
    train(agent, env, 10_000, progress=False)
    assert evaluate(agent, env, progress=False).mean() > 50.0  # of 60; here it has 60
