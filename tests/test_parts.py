"""The parts that may be added to DQN, each alone and all together, in an agent that lives."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from minidqn import DQN, DQNConfig, GeometricDecay, LinearDecay, train
from minidqn.batch import Batch
from minidqn.nn.layers import Array
from minidqn.parts.noisy import NoisyLinear
from minidqn.parts.prioritized import PrioritizedSampler

from .test_agent import live, small_agent
from .test_replay import copied
from .test_training import agent_for, chain

ALL: dict[str, Any] = {
    "layer_norm": True,
    "dueling": True,
    "quantiles": 5,
    "priority_alpha": 0.6,
    "noisy": True,
    "epsilon_hold": 4,
    "param_noise": 0.2,
}
PARTS: dict[str, dict[str, Any]] = {
    "none": {},
    **{name: {name: value} for name, value in ALL.items()},
    "two quantiles": {"quantiles": 2},
    "all": ALL,
}
BATCH: dict[str, Any] = {
    "batch_size": 20,
    "learning_starts": 20,
    "max_grad_norm": math.inf,
}

each_part = pytest.mark.parametrize("part", PARTS)


class Seen:
    """Copies of what the next updates draw, and of what goes into their loss."""

    def __init__(self, agent: DQN, monkeypatch: pytest.MonkeyPatch) -> None:
        self.make_batch = agent.replay.batch
        self.make_loss: Any = agent.loss.gradient
        self.n_actions = agent.n_actions
        self.batch: Batch
        self.starts: Array
        self.change_weights: Array | None = None  # to be put in place of its own
        monkeypatch.setattr(agent.replay, "batch", self.draw)
        monkeypatch.setattr(agent.loss, "gradient", self.loss)

    def draw(self, starts: Array, *arguments: Any) -> Batch:
        batch = self.make_batch(starts, *arguments)
        self.starts, self.batch = starts.copy(), copied(batch)
        return batch

    def loss(self, outputs: Array, actions: Array, y: Array, weights: Array) -> Any:
        if self.change_weights is not None:
            weights = self.change_weights
        self.targets, self.weights = y.copy(), weights.copy()
        self.y = self.targets.reshape(len(y), -1)  # (B, N)
        self.q = outputs.reshape(len(y), self.n_actions, -1).copy()  # (B, A, N)
        return self.make_loss(outputs, actions, y, weights)


@each_part
def test_an_update_lowers_the_loss_of_its_own_batch(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = small_agent(**BATCH | {"double": True, "n_step": 3} | PARTS[part])
    live(agent, 60)
    for _ in range(20):
        agent.learn()
    seen, forward, states = Seen(agent, monkeypatch), agent.online.forward, []

    def follow(x: Array, rng: np.random.Generator | None = None) -> Array:
        states.append(agent.rng.bit_generator.state)
        return forward(x, rng)

    monkeypatch.setattr(agent.online, "forward", follow)
    before = agent.online.params.copy()
    metrics = agent.learn()
    after = agent.online.params.copy()
    assert (after != before).mean() > 0.5
    assert np.isfinite(after).all()
    assert np.isfinite(metrics).all()

    def loss(params: Array) -> float:
        """With these parameters, and the noise of the update's last forward."""
        agent.online.params[:] = params
        agent.rng.bit_generator.state = states[-1]
        outputs = forward(seen.batch.obs, agent.rng)
        value: float
        value, *_ = seen.make_loss(
            outputs, seen.batch.actions, seen.targets, seen.weights
        )
        return value

    assert loss(before) == pytest.approx(metrics.loss, rel=1e-6)
    assert loss(after) < metrics.loss


@each_part
def test_it_learns(part: str) -> None:
    """On `chain`: the values of going on, and so the return, whatever parts there are."""
    numbers = {
        "epsilon": 0.3,
        "learning_rate": 1e-2,
        "gamma": 0.5,
        "target_every": 1,
        "tau": 0.1,
    }
    env = chain(limit=8)
    agent = agent_for(env, **numbers | PARTS[part])
    train(agent, env, 400, progress=False)
    q = agent.q_values(np.eye(3))
    assert q.argmax(axis=1).tolist() == [1, 1, 1]
    assert abs(q[:, 1] - [0.25, 0.5, 1.0]).max() < 0.2


@each_part
def test_the_seed_settles_a_run_to_the_last_bit(part: str) -> None:
    def params(seed: int) -> bytes:
        env = chain()
        config = DQNConfig(batch_size=8, learning_starts=8, hidden=(8,), **PARTS[part])
        agent = DQN(env.observation_space, env.action_space, config, seed)
        train(agent, env, 300 if part == "all" else 100, progress=False)
        return agent.online.params.tobytes()

    assert params(0) == params(0)
    assert params(0) != params(1)


def noisy_agent(**numbers: Any) -> DQN:
    agent = small_agent(n_actions=4, noisy=True, epsilon=0.0, **numbers)
    agent.begin(np.array([0.5, -0.5, 0.2]))
    return agent


def test_noise_explores_where_epsilon_is_0_and_act_is_quiet() -> None:
    agent = noisy_agent()
    explored = [int(agent.explore()[0]) for _ in range(100)]
    assert set(explored) == {0, 1, 2, 3}
    state = agent.rng.bit_generator.state
    obs = agent.replay.head[0]
    q = agent.q_values(obs)
    assert {agent.act(obs) for _ in range(20)} == {int(q.argmax())}
    np.testing.assert_array_equal(agent.q_values(obs), q)
    np.testing.assert_array_equal(q, agent.online.forward(obs[None])[0])
    assert agent.rng.bit_generator.state == state


def test_the_quiet_policy_knows_nothing_of_the_scales() -> None:
    agent = noisy_agent()
    obs = agent.replay.head[0]
    q = agent.q_values(obs)
    for layer in noisy_layers(agent):
        layer.scales[:] = 7.0
    np.testing.assert_array_equal(agent.q_values(obs), q)
    for layer in noisy_layers(agent):
        layer.scales[:] = 0.0
    assert {int(agent.explore()[0]) for _ in range(50)} == {int(q.argmax())}


def test_without_noisy_layers_exploring_greedily_draws_nothing() -> None:
    agent = small_agent(epsilon=0.0)
    agent.begin(np.zeros(3))
    state = agent.rng.bit_generator.state
    agent.explore()
    assert agent.rng.bit_generator.state == state


def noisy_layers(agent: DQN) -> list[NoisyLinear]:
    return [layer for layer in agent.online.layers if isinstance(layer, NoisyLinear)]


def test_the_scales_of_the_noise_learn() -> None:
    agent = small_agent(**BATCH, noisy=True)
    live(agent, 60)
    layers = noisy_layers(agent)
    assert len(layers) == 2
    before = [layer.scales.copy() for layer in layers]
    agent.learn()
    for layer, scales in zip(layers, before, strict=True):
        changed = (
            layer.scales != scales
        )  # (I + 1, O): the last row is that of the biases
        assert (layer.dscales[:-1] != 0.0).mean() > 0.4
        assert changed[:-1].mean() > 0.4
        assert changed[-1].mean() > 0.4


def test_each_forward_of_an_update_has_noise_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = small_agent(**BATCH, noisy=True, double=True)
    live(agent, 60)
    draws, forward = [], NoisyLinear.forward

    def follow(layer: NoisyLinear, *arguments: Any) -> Array:
        y = forward(layer, *arguments)
        draws.append((*layer.f_in.tolist(), *layer.f_out.tolist()))
        return y

    monkeypatch.setattr(NoisyLinear, "forward", follow)
    for _ in range(3):
        agent.learn()
    # of two layers: to select, to value, and to learn
    assert len(draws) == len(set(draws)) == 3 * 3 * 2
    assert all(f_out != 0.0 for draw in draws for f_out in draw[-2:])
    draws.clear()
    agent.act(np.zeros(3))
    agent.q_values(np.zeros(3))
    assert len(draws) == 2 * 2
    assert all(f_out == 0.0 for draw in draws for f_out in draw[-2:])


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(
    "parts", [{}, {"noisy": True, "dueling": True, "quantiles": 3}]
)
def test_forwards_that_share_caches_do_not_disturb_each_other(
    parts: dict[str, Any], double: bool
) -> None:
    config = DQNConfig(
        conv=((4, 4, 2), (3, 3, 1)), hidden=(5,), double=double, **BATCH, **parts
    )
    agents = [
        DQN(Box(0, 255, (10, 10, 1), np.uint8), Discrete(3), config) for _ in range(2)
    ]
    assert agents[0].target.caches is agents[0].online.caches
    agents[1].target.caches = {}  # its own
    for agent in agents:
        rng = np.random.default_rng(0)
        agent.begin(rng.integers(0, 256, (10, 10, 1), dtype=np.uint8))
        for step in range(60):
            image = rng.integers(0, 256, (10, 10, 1), dtype=np.uint8)
            agent.observe(step % 3, float(step % 5), image, False, False)
        for _ in range(5):
            agent.learn()
    assert agents[1].target.caches is not agents[1].online.caches
    assert agents[1].target.caches
    shared, apart = (agent.online.params for agent in agents)
    np.testing.assert_array_equal(shared, apart)


@pytest.mark.parametrize("quantiles", [1, 3])
def test_weights_are_factors_of_each_rows_gradient(
    quantiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grads(weights: Array) -> Array:
        agent = small_agent(**BATCH, quantiles=quantiles, priority_alpha=0.6)
        live(agent, 60)
        with monkeypatch.context() as patch:
            Seen(agent, patch).change_weights = weights.astype(np.float32)
            agent.learn()
        return agent.online.grads.copy()

    rng = np.random.default_rng(0)
    weights = rng.random(20)
    by_row = sum(
        weight * grads(row) for weight, row in zip(weights, np.eye(20), strict=True)
    )
    np.testing.assert_allclose(grads(weights), by_row, rtol=1e-4, atol=1e-7)
    assert abs(grads(weights) - grads(np.ones(20))).max() > 1e-3


def prioritized_by(agent: DQN) -> PrioritizedSampler:
    assert isinstance(agent.sampler, PrioritizedSampler)
    return agent.sampler


@pytest.mark.parametrize("quantiles", [1, 3])
def test_an_update_gives_each_transition_its_error_for_priority(
    quantiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = small_agent(
        **BATCH, quantiles=quantiles, priority_alpha=0.7, priority_beta=0.5
    )
    sampler = prioritized_by(agent)
    live(agent, 60)
    seen = Seen(agent, monkeypatch)
    for update in range(3):
        leaves = sampler.leaves[:, 0].copy()
        agent.learn()
        p = leaves[seen.starts]
        np.testing.assert_allclose(seen.weights, (p.min() / p) ** 0.5, rtol=1e-5)
        assert (update == 0) == (set(seen.weights.tolist()) == {1.0})

        chosen = seen.q[np.arange(20), seen.batch.actions]  # (B, N)
        errors = seen.y.mean(axis=1) - chosen.mean(axis=1)
        for start, error in zip(
            seen.starts, errors, strict=True
        ):  # the last one counts
            leaves[start] = (abs(error) + 0.01) ** 0.7
        after = sampler.leaves[:, 0]
        np.testing.assert_allclose(after, leaves, rtol=1e-4)
        assert len(set(after[seen.starts])) > 5


def test_prioritised_replay_draws_whole_transitions_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = small_agent(**BATCH, priority_alpha=0.7, n_step=3, gamma=0.5)
    agent.begin(np.zeros(3))
    for _ in range(20):
        agent.observe(0, 1.0, np.zeros(3), False, False)
    seen = Seen(agent, monkeypatch)
    for _ in range(5):
        agent.learn()
        assert set(seen.batch.discounts.tolist()) == {0.125}
        assert 14 < seen.starts.max() <= 17


def test_beta_follows_its_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = small_agent(
        **BATCH, priority_alpha=0.7, priority_beta=LinearDecay(0.0, 1.0, 100)
    )
    live(agent, 60)
    agent.learn()
    seen = Seen(agent, monkeypatch)
    for beta in (0.6, 0.8):
        leaves = prioritized_by(agent).leaves[:, 0].copy()
        agent.learn()
        p = leaves[seen.starts]
        assert len(set(p.tolist())) > 5
        np.testing.assert_allclose(seen.weights, (p.min() / p) ** beta, rtol=1e-5)
        live(agent, 20)


def test_a_diverging_update_leaves_the_priorities_as_they_were() -> None:
    agent = small_agent(
        priority_alpha=0.5,
        n_step=5,
        learning_starts=10,
        gamma=1.0,
        huber_delta=math.inf,
    )
    agent.begin(np.zeros(3))
    for _ in range(10):
        agent.observe(0, 3e38, np.zeros(3), False, False)
    sampler = prioritized_by(agent)
    before = sampler.tree.copy()
    with (
        pytest.raises(FloatingPointError, match="update 1 diverged"),
        np.errstate(all="ignore"),  # NumPy's products warn
    ):
        agent.learn()
    np.testing.assert_array_equal(sampler.tree, before)
    assert sampler.largest == 1.0


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"quantiles": 0}, "quantiles is 0: expected an integer of 1 or more"),
        ({"quantiles": 1.5}, "quantiles is 1.5: expected an integer of 1 or more"),
        ({"priority_alpha": 1.5}, "priority_alpha is 1.5: expected 0 to 1"),
        ({"priority_alpha": -0.1}, "priority_alpha is -0.1: expected 0 to 1"),
        ({"priority_alpha": math.nan}, "priority_alpha is nan: expected 0 to 1"),
        ({"priority_alpha": "x"}, "priority_alpha is 'x': expected a number"),
        ({"priority_beta": -0.1}, "priority_beta is -0.1: expected 0 to 1"),
        (
            {"priority_beta": LinearDecay(0.4, 1.1, 9)},
            "priority_beta is Lin.*: expected 0 to 1",
        ),
        (
            {"priority_beta": LinearDecay(-1, 1, 9)},
            "priority_beta is Lin.*: expected 0 to 1",
        ),
        (
            {"priority_beta": None},
            "priority_beta is None: expected a number or a function",
        ),
        (
            {"priority_beta": GeometricDecay(1.0, 0.1, 0.5, per="update")},
            r"priority_beta is Geom.*per='update'\): expected one that counts",
        ),
        (
            {"priority_beta": GeometricDecay(1.0, 0.1, 0.5, per="episode")},
            r"priority_beta is Geom.*per='episode'\): expected one that counts",
        ),
        ({"noisy": 2}, "noisy is 2: expected True or False"),
        ({"dueling": "yes"}, "dueling is 'yes': expected True or False"),
        ({"layer_norm": None}, "layer_norm is None: expected True or False"),
        ({"epsilon_hold": 0}, "epsilon_hold is 0: expected an integer of 1 or more"),
        (
            {"priority_alpha": 0.5, "n_step": 5},
            "n_step 5 in 1 env.*learning_starts is 4",
        ),
    ],
)
def test_numbers_out_of_range(numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_agent(**numbers)
    assert small_agent(priority_alpha=0.5, n_step=4)
    assert small_agent(priority_beta=GeometricDecay(1.0, 0.1, 0.5, per="step"))


def test_a_schedule_of_your_own_is_watched() -> None:
    agent = small_agent(priority_alpha=0.5, priority_beta=lambda step: 0.1 * step)
    live(agent, 10)
    agent.learn()
    live(agent, 1)
    with pytest.raises(
        ValueError, match=r"priority_beta at step 11 is 1.1.*: expected 0 to 1"
    ):
        agent.learn()


def test_the_agent_admits_what_a_new_beginning_has_cut() -> None:
    agent = small_agent(priority_alpha=0.5, n_step=3, buffer_size=20)
    sampler = prioritized_by(agent)
    agent.begin(np.zeros(3))
    for _ in range(2):
        agent.observe(0, 1.0, np.zeros(3), False, False)
    assert sampler.leaves.max() == 0.0  # no three rewards yet, and no end
    agent.begin(np.zeros(3))
    assert sampler.leaves[:3, 0].tolist() == [1.0, 1.0, 0.0]
    sampler.restore()
    assert sampler.is_sound()


def test_metrics_have_the_best_mean_of_the_quantiles() -> None:
    agent = small_agent(quantiles=4, batch_size=4, learning_starts=4)
    agent.begin(np.zeros(3))
    for _ in range(8):
        agent.observe(0, 1.0, np.zeros(3), False, False)
    before = agent.q_values(np.zeros(3)).max()
    assert agent.learn().q == pytest.approx(before, rel=1e-5)


def test_steps_of_many_environments_before_the_first_update() -> None:
    """8 rounds of 128 environments are more than 1,000 steps, and 7 are not."""
    config = DQNConfig(priority_alpha=0.5, n_step=8, learning_starts=1000)
    DQN(Box(-1, 1, (3,)), Discrete(2), config, num_envs=128)
    with pytest.raises(ValueError, match=r"n_step 9 in 128 env.*expected up to 8"):
        DQN(Box(-1, 1, (3,)), Discrete(2), replace(config, n_step=9), num_envs=128)


@pytest.mark.parametrize("num_envs", [1, 2])
def test_a_buffer_too_small_for_whole_transitions_is_refused_at_once(
    num_envs: int,
) -> None:
    """A bridge takes a slot: in a ring of n slots there might be no transition of n steps."""
    env = chain()
    numbers = {
        "priority_alpha": 0.5,
        "n_step": 4,
        "batch_size": 2,
        "learning_starts": 8,
    }
    with pytest.raises(ValueError, match=r"n_step 4.*buffer_size"):
        agent_for(env, num_envs, buffer_size=4 * num_envs, **numbers)
    agent = agent_for(env, num_envs, buffer_size=5 * num_envs, **numbers)
    flags = np.zeros(num_envs, np.bool_)
    agent.begin(np.zeros((num_envs, 3)))
    for t in range(60):
        ends = flags if t % 7 else ~flags
        agent.observe(
            [0] * num_envs, [0.0] * num_envs, np.zeros((num_envs, 3)), flags, ends
        )
        if t > 4:
            agent.learn()
        if t % 7 == 0:  # with NEXT_STEP autoreset, the bridge
            agent.observe(
                [0] * num_envs, [0.0] * num_envs, np.zeros((num_envs, 3)), flags, flags
            )
