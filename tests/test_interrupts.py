"""What an interrupt, or a question in the wrong moment, must not leave behind."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from minidqn import DQN, DQNConfig, checks, load, save
from minidqn.nn.network import KEPT_BATCH_SIZES, Network
from minidqn.parts.noisy import NoisyLinear
from minidqn.parts.prioritized import PrioritizedSampler

SPACE = Box(-1.0, 1.0, (2,), np.float32)
SMALL: dict[str, Any] = {"buffer_size": 8, "batch_size": 4, "learning_starts": 4}


@pytest.mark.parametrize("go_on", [False, True])
def test_ctrl_c_between_a_step_and_its_priority(
    go_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DQNConfig(n_step=1, priority_alpha=0.5, **SMALL)
    agent = DQN(SPACE, Discrete(2), config)
    agent.begin(np.zeros(2))
    for _ in range(20):
        agent.observe(0, 1.0, np.zeros(2), False, False)

    def ctrl_c() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(agent.sampler, "admit", ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            agent.observe(0, 1.0, np.zeros(2), True, False)
    bridge = agent.replay.count % agent.replay.slots
    if go_on:
        agent.begin(np.ones(2))
        agent.observe(0, 1.0, np.ones(2), False, False)
    save(agent, tmp_path / "agent.safetensors")
    assert isinstance(agent.sampler, PrioritizedSampler)
    assert agent.sampler.leaves[bridge, 0] == 0.0  # nothing begins there
    last = (bridge - 1) % agent.replay.slots
    assert agent.sampler.leaves[last, 0] > 0.0
    load(tmp_path / "agent.safetensors")


def test_a_schedule_may_ask_the_agent_while_it_explores() -> None:
    asked: list[DQN] = []

    def ask(step: int) -> float:
        for agent in asked:
            agent.q_values(np.full(2, -1.0))
        return 0.0

    agent = DQN(SPACE, Discrete(3), DQNConfig(epsilon=ask, final_gain=1.0), seed=1)
    asked.append(agent)
    rng = np.random.default_rng(0)
    for _ in range(50):
        obs = rng.uniform(-1, 1, 2)
        agent.begin(obs)
        assert agent.explore()[0] == agent.act(obs)


def test_masks_that_do_not_fit_into_memory_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = DQN(SPACE, Discrete(2), DQNConfig(**SMALL))
    agent.begin(np.zeros(2))
    for i in range(12):
        agent.observe(0, 1.0, np.full(2, i / 20), False, False)
    before = {name: array.copy() for name, array in agent.replay.arrays.items()}
    count = agent.replay.count
    monkeypatch.setattr(checks, "free_megabytes", lambda: 0.0)
    with pytest.raises(ValueError, match=r"an array of action masks of 0 MB: expected"):
        agent.observe(1, 7.0, np.ones(2), False, False, [1, 0])
    with pytest.raises(ValueError, match="an array of action masks"):
        agent.begin(np.ones(2), [1, 0])
    assert agent.replay.count == count
    for name, array in agent.replay.arrays.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("value", [None, "0.5", np.array([0.5]), np.nan, 2])
def test_a_schedule_that_gives_no_probability_is_named(value: Any) -> None:
    agent = DQN(SPACE, Discrete(2), DQNConfig(epsilon=lambda step: value))
    agent.begin(np.zeros(2))
    before = agent.rng.bit_generator.state
    with pytest.raises(ValueError, match=r"epsilon at step 0 is .*: expected 0 to 1"):
        agent.explore()
    with pytest.raises(ValueError, match=r"epsilon is .*: expected 0 to 1"):
        agent.act(np.zeros(2), value)
    assert agent.rng.bit_generator.state == before


def test_a_large_batch_is_not_kept_beside_another() -> None:
    network = Network([NoisyLinear(2, 3)])
    for size in (1, 2, 3, 1000, 2000, 3000):
        network.predict(np.zeros((size, 2), np.float32))
    assert sorted(network.caches) == [1, 2, 3, 3000]
    assert len(network.caches) == KEPT_BATCH_SIZES


def test_what_is_no_network_is_refused() -> None:
    wrong: Any = lambda space, n_actions: 5  # noqa: E731  # the shortest wrong one
    with pytest.raises(TypeError, match="`network` gave 5: expected a Network"):
        DQN(SPACE, Discrete(2), network=wrong)
