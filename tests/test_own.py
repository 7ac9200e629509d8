"""Ideas of one's own, as docs/extending.md shows them: each trains, saves and loads."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidqn import (
    DQN,
    CheckpointError,
    Spec,
    load,
    load_run,
    run,
    save,
    sweep,
    train,
)
from minidqn.batch import BRIDGE, Batch
from minidqn.exploration import EpsilonGreedy
from minidqn.nn.layers import Array
from minidqn.sampler import UniformSampler
from minidqn.targets import HuberLoss

from .conftest import TableEnv
from .test_run import CONFIG, Corridor
from .test_training import agent_for


class MyDQN(DQN):
    """It believes in half of what it is promised."""

    def targets(self, batch: Batch) -> Array:
        half: Array = 0.5 * super().targets(batch)
        return half


class Softmax(EpsilonGreedy):
    """Draws actions in proportion to exp(Q)."""

    def choose(
        self, q: Array, mask: Array, epsilon: float, rng: np.random.Generator
    ) -> Array:
        noise = rng.gumbel(size=q.shape)
        actions: Array = np.where(mask, q + noise, -np.inf).argmax(axis=1)
        return actions


class Drawn(DQN):
    """An agent with an exploration of its own."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.exploration = Softmax()


class Recent(UniformSampler):
    """Draws from the last slots alone."""

    def draw(self, batch_size: int, rng: np.random.Generator, step: int) -> Any:
        ring = self.replay
        last = np.arange(max(ring.count - 30, 0), ring.count) % ring.slots
        steps = last[ring.flat_kind[last] != BRIDGE]
        _, weights = super().draw(batch_size, rng, step)
        return rng.choice(steps, batch_size), weights


class Forgetful(DQN):
    """An agent with a sampler of its own."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.sampler = Recent(self.replay)


class Doubled(HuberLoss):
    """Every error counts twice."""

    def gradient(self, outputs: Array, actions: Array, y: Array, weights: Array) -> Any:
        return super().gradient(outputs, actions, y, 2.0 * weights)


class Twice(DQN):
    """An agent with a loss of its own."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        config, dtype = self.config, self.online.dtype
        self.loss = Doubled(
            config.batch_size, self.n_actions, dtype, config.huber_delta
        )


class Curious(DQN):
    """Gets a bonus for states that are rare in its replay buffer."""

    def observe(
        self,
        action: Any,
        reward: Any,
        obs: Any,
        terminated: Any,
        truncated: Any,
        mask: Any = None,
    ) -> None:
        stored = self.replay.obs[:, 0]
        reward += 0.1 / np.sqrt(stored[:, np.argmax(obs)].sum() + 1)
        super().observe(action, reward, obs, terminated, truncated, mask)


KINDS = [MyDQN, Twice, Drawn, Forgetful, Curious]


def chain() -> TableEnv:
    return TableEnv([[0, 1], [1, 2], [2, -1]], [[0, 0], [0, 0], [0, 3]], limit=8)


def made(kind: type[DQN]) -> DQN:
    plain = agent_for(chain())
    return kind(plain.observation_space, plain.action_space, plain.config, seed=3)


def test_the_targets_of_ones_own_class_are_learned() -> None:
    """The last reward is 3."""
    values = {}
    for kind in (DQN, MyDQN):
        agent = made(kind)
        train(agent, chain(), 1500, progress=False)
        values[kind] = agent.q_values(np.array([0.0, 0.0, 1.0], np.float32)).max()
    assert values[DQN] > 2.0
    assert 1.0 < values[MyDQN] < 2.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_of_ones_own_survives(kind: type[DQN], tmp_path: Path) -> None:
    """Through save, load, copy and a resume to the same bits."""
    straight = made(kind)
    train(straight, chain(), 120, progress=False)
    first = made(kind)
    history = train(first, chain(), 50, progress=False)
    file = tmp_path / "it"
    save(first, file, history)
    with pytest.raises(
        CheckpointError, match=f"has an agent of your own, .*{kind.__name__}: "
    ):
        load(file)
    gone_on, history = load_run(file, agent=kind)
    assert type(gone_on) is kind
    train(gone_on, chain(), 70, history=history, progress=False)
    np.testing.assert_array_equal(gone_on.online.params, straight.online.params)
    assert type(copy.deepcopy(first)) is kind
    save(first, tmp_path / "policy", replay=False)
    assert type(load(tmp_path / "policy", agent=kind)) is kind


def test_a_run_and_a_sweep_of_ones_own_class(tmp_path: Path) -> None:
    specs = []
    for agent in (DQN, *KINDS):
        name = f"{agent.__name__}/0"
        spec = Spec(
            "Corridor-v0", CONFIG, 300, name=name, make_env=Corridor, agent=agent
        )
        specs.append(spec)
    results = list(sweep(specs, tmp_path / "sweep", workers=1, progress=False))
    digests = {result["name"]: result["params_sha256"] for result in results}
    assert len(set(digests.values())) == 1 + len(KINDS)
    alone = run(specs[1], tmp_path / "alone", progress=False)
    assert alone["params_sha256"] == digests["MyDQN/0"]
    assert alone["agent"].endswith("MyDQN")
    assert run(specs[1], tmp_path / "alone", progress=False) == alone
