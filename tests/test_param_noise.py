"""Noise on the weights: how much of it, for how long, and in which environment."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Discrete

from minidqn import DQN, DQNConfig, load, save
from minidqn.lab.soundness import CheckpointError
from minidqn.nn.layers import Array, Linear
from minidqn.nn.network import Network
from minidqn.parts.param_noise import SMALLEST_EXPONENT, NoisyBehaviour, OnlineBehaviour

from .test_agent import SPACE, live, small_agent


def behaviour_of(agent: DQN) -> NoisyBehaviour:
    assert isinstance(agent.behaviour, NoisyBehaviour)
    return agent.behaviour


def noisy_agent(share: float = 0.2, steps: int = 700, **numbers: Any) -> DQN:
    """An agent with random weights, which has lived for `steps` steps."""
    sizes = {"batch_size": 500, "buffer_size": 2000, "learning_starts": 500}
    agent = small_agent(n_actions=2, param_noise=share, **(sizes | numbers))
    agent.online.initialize(np.random.default_rng(1))
    live(agent, steps, seed=2)
    return agent


def difference(agent: DQN) -> Array:
    """What was added to the weights when the agent last explored: (P,)."""
    return behaviour_of(agent).explorer.params - agent.online.params


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_the_noise_changes_the_wanted_share_of_the_greedy_actions(share: float) -> None:
    agent = noisy_agent(share)
    random = np.random.default_rng(3).uniform(-1, 1, (4000, 3)).astype(np.float32)
    greedy = agent.q_values(random).argmax(axis=1)
    found = []
    for _ in range(20):
        agent.begin(np.zeros(3))
        agent.explore()
        others = behaviour_of(agent).explorer.predict(random).argmax(axis=1)
        found.append(np.mean(others != greedy))
    assert np.mean(found) == pytest.approx(share, rel=0.25)
    assert min(found) > 0.3 * share
    assert max(found) < 2.0 * share


def test_the_noise_stays_for_an_episode_while_the_weights_are_learned() -> None:
    agent = noisy_agent()
    agent.begin(np.zeros(3))
    agent.explore()
    noise = difference(agent)
    assert abs(noise).max() > 0.0
    weights = agent.online.params.copy()
    for _ in range(3):
        agent.observe(0, 1.0, np.ones(3), False, False)
        agent.learn()
        agent.explore()
        np.testing.assert_allclose(difference(agent), noise, atol=1e-6)
    assert abs(agent.online.params - weights).max() > 1e-4  # it did learn

    agent.observe(0, 1.0, np.ones(3), True, False)
    agent.begin(np.zeros(3))
    agent.explore()
    other = difference(agent)
    assert abs(np.corrcoef(noise, other)[0, 1]) < 0.2


def test_the_noise_is_normal_and_independent_for_each_parameter() -> None:
    agent = noisy_agent(hidden=(64, 64))
    agent.begin(np.zeros(3))
    agent.explore()
    noise = difference(agent) / behaviour_of(agent).scales[0]
    assert abs(noise.mean()) < 0.06
    assert noise.std() == pytest.approx(1.0, abs=0.04)
    assert np.mean(abs(noise) < 1.0) == pytest.approx(0.683, abs=0.03)


def test_the_action_is_the_best_one_of_the_noisy_weights() -> None:
    agent = noisy_agent(0.3, epsilon=0.0)
    changed = 0
    for obs in np.random.default_rng(4).uniform(-1, 1, (200, 3)).astype(np.float32):
        agent.begin(obs)
        action = agent.explore()[0]
        assert action == behaviour_of(agent).explorer.predict(obs[None])[0].argmax()
        changed += action != agent.act(obs)
    assert 0.2 * 200 < changed < 0.4 * 200


def test_only_exploring_is_noisy() -> None:
    agent, plain = noisy_agent(), noisy_agent(share=0.0)
    assert type(plain.behaviour) is OnlineBehaviour
    agent.explore()
    obs = np.random.default_rng(5).uniform(-1, 1, (50, 3)).astype(np.float32)
    np.testing.assert_array_equal(agent.q_values(obs), plain.q_values(obs))
    np.testing.assert_array_equal(agent.act(obs), plain.act(obs))
    agent.rng.bit_generator.state = plain.rng.bit_generator.state
    assert agent.learn() == plain.learn()
    np.testing.assert_array_equal(agent.online.params, plain.online.params)


def test_there_is_none_before_a_batch_is_stored() -> None:
    agent = small_agent(param_noise=0.2, batch_size=20, learning_starts=20)
    agent.begin(np.zeros(3))
    for step in range(40):
        agent.explore()
        assert (abs(difference(agent)).max() > 0.0) == (step >= 20)
        agent.observe(0, 1.0, np.full(3, step / 40), False, False)


def test_each_environment_has_its_own_and_keeps_it_to_its_end() -> None:
    config = DQNConfig(param_noise=0.2, batch_size=4, learning_starts=4)
    agent = DQN(SPACE, Discrete(3), config, seed=0, num_envs=2)
    no, rewards = [False, False], [0.0, 0.0]

    def step(*ended: bool) -> Array:
        """The noise of both in the next step, (2, P)."""
        obs = agent.rng.uniform(-1, 1, (2, 3))
        agent.observe(agent.explore(), rewards, obs, ended, no)
        agent.explore()
        return behaviour_of(agent).noise.copy()

    agent.begin(np.zeros((2, 3)))
    for _ in range(2):
        step(False, False)
    first = step(False, False)
    assert (first[0] != first[1]).all()
    np.testing.assert_array_equal(step(False, False), first)
    second = step(True, False)
    assert (second[0] != first[0]).all()
    np.testing.assert_array_equal(second[1], first[1])
    np.testing.assert_array_equal(step(False, False), second)  # the reset of the first


def test_a_share_that_cannot_be_reached_gives_the_nearest() -> None:
    """All Q-values are equal, so any noise decides: in about half of the states."""
    agent = noisy_agent(0.2)
    agent.online.params[:] = 0.0
    agent.explore()
    exponent = np.log2(behaviour_of(agent).scales[0])
    assert exponent == pytest.approx(SMALLEST_EXPONENT, abs=0.2)

    # no noise changes the best action, so the smallest scale of those tried is taken
    agent.online.params[-2:] = [0.0, 1e9]
    agent.begin(np.zeros(3))
    agent.explore()
    assert np.log2(behaviour_of(agent).scales[0]) == -8.0


@pytest.mark.parametrize("after", [None, [[0, 0, 0, 0]]])
def test_the_share_is_that_of_the_states_where_actions_are_taken(after: Any) -> None:
    """Episodes of one step: no action follows their last observations, which differ."""
    rng = np.random.default_rng(0)
    agent = small_agent(
        n_actions=4,
        param_noise=0.2,
        batch_size=64,
        learning_starts=64,
        buffer_size=1000,
        final_gain=1.0,
        epsilon=0.0,
    )
    changed = []
    for _ in range(600):
        obs = rng.uniform(-1, 1, 3).astype(np.float32)
        agent.begin(obs)
        action = agent.explore()[0]
        changed.append(action != agent.act(obs))
        agent.observe(action, 1.0, np.zeros(3), True, False, mask=after)
    assert np.mean(changed[100:]) == pytest.approx(0.2, abs=0.05)


def test_where_one_action_is_allowed_it_is_taken() -> None:
    agent = small_agent(param_noise=0.2, batch_size=20, learning_starts=20)
    agent.begin(np.zeros(3), mask=[[1, 0]])
    for _ in range(30):
        obs = agent.rng.uniform(-1, 1, 3)
        agent.observe(0, 1.0, obs, False, False, mask=[[1, 0]])
        assert agent.explore().tolist() == [0]


def test_a_network_of_ones_own_must_be_new_each_time() -> None:
    two = [Network([Linear(3, 8, relu=True), Linear(8, 2)]) for _ in range(2)]
    calls = []

    def build(space: Any, n_actions: int) -> Network:
        calls.append(space)
        return two[len(calls) % 2]

    config = DQNConfig(param_noise=0.2)
    with pytest.raises(ValueError, match="gave the same network twice"):
        DQN(SPACE, Discrete(2), config, network=build)
    assert len(calls) == 3


@pytest.mark.parametrize(
    "parts", [{"quantiles": 3}, {"dueling": True}, {"normalize_obs": "running"}]
)
def test_it_goes_with_other_parts(parts: dict[str, Any]) -> None:
    agent = noisy_agent(**parts)
    agent.begin(np.ones(3))
    agent.explore()
    behaviour = behaviour_of(agent)
    behaviour.add_noise(0, 0.0)
    obs = np.random.default_rng(6).uniform(-1, 1, (9, 3)).astype(np.float32)
    expected = agent.online.predict(obs).copy()
    np.testing.assert_array_equal(behaviour.explorer.predict(obs), expected)


def test_a_loaded_agent_has_the_same_noise(tmp_path: Path) -> None:
    agent, path = noisy_agent(), tmp_path / "agent.safetensors"
    agent.begin(np.zeros(3))
    agent.explore()
    save(agent, path)
    twin = load(path)
    for _ in range(5):
        np.testing.assert_array_equal(twin.explore(), agent.explore())
        np.testing.assert_array_equal(difference(twin), difference(agent))
        for one in (agent, twin):
            one.observe(1, 0.0, np.full(3, 0.5), False, False)
    other = load(path, param_noise=0.4)
    assert not behaviour_of(other).seeds.any()  # so it draws its own
    assert isinstance(load(path, param_noise=0.0).behaviour, OnlineBehaviour)


@pytest.mark.parametrize(
    ("name", "value"), [("seeds", -1), ("scales", -1), ("scales", 17)]
)
def test_an_impossible_seed_or_scale_is_not_saved(
    name: str, value: int, tmp_path: Path
) -> None:
    agent = noisy_agent()
    behaviour_of(agent).arrays[name][:] = value
    with pytest.raises(CheckpointError, match=f"noise_{name} of {value}"):
        save(agent, tmp_path / "agent.safetensors")


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_the_share_is_a_number_from_0_to_1(share: float) -> None:
    with pytest.raises(ValueError, match=r"param_noise is .*: expected 0 to less than"):
        DQNConfig(param_noise=share)
