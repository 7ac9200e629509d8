"""Policies as ONNX models: onnxruntime computes the Q-values that minidqn computes.

The largest difference may be 1e-5 of the largest Q-value of the test, or 1e-5 where
that is below 1: both compute in float32, and sum in another order.
"""

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from threadpoolctl import threadpool_limits

from minidqn import DQN, DQNConfig, examples, save
from minidqn.nn.layers import Array, Layer, Linear
from minidqn.nn.network import Network
from tests.policies import (
    IMAGES,
    OBSERVATIONS,
    SHIPPED,
    VECTORS,
    made,
    random_observations,
    seen,
    shipped,
    shipped_file,
)

onnx = pytest.importorskip("onnx", reason="it takes the extra `onnx`")
onnxruntime = pytest.importorskip("onnxruntime", reason="it takes the extra `onnx`")
export_onnx = import_module("minidqn.examples.export_onnx")

SCRIPT = examples.FOLDER / "export_onnx.py"
BATCH = 50  # observations at a time


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As in `evaluate`: more of them slow small products down."""
    with threadpool_limits(1, user_api="blas"):
        yield


def session_of(model: Any) -> Any:
    """A model in onnxruntime, with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])


def largest_difference(agent: DQN, obs: Array) -> tuple[float, float]:
    """Between the Q-values of both, over all observations; and the largest Q-value."""
    session = session_of(export_onnx.model_of(agent))
    differences = []
    sizes = []
    for start in range(0, len(obs), BATCH):
        batch = obs[start : start + BATCH]  # (B, ...)
        expected = agent.q_values(batch)  # (B, A)
        [found] = session.run(["q_values"], {"obs": batch})
        assert (found.shape, found.dtype) == (expected.shape, np.float32)
        differences.append(abs(found - expected).max())
        sizes.append(abs(expected).max())
    return float(max(differences)), float(max(sizes))


def check_values(agent: DQN, obs: Array) -> None:
    difference, size = largest_difference(agent, obs)
    assert difference <= 1e-5 * max(1.0, size)


def test_an_observation_of_cartpole() -> None:
    agent = shipped("CartPole-v1")
    session = session_of(export_onnx.model_of(agent))
    obs = np.array([0.01, -0.02, 0.03, 0.04], np.float32)
    [q] = session.run(None, {"obs": obs[None]})
    assert q.argmax() == agent.act(obs)
    np.testing.assert_allclose(q[0], agent.q_values(obs), rtol=1e-5)


@pytest.mark.parametrize("env_id", SHIPPED)
def test_what_minidqn_learned(env_id: str) -> None:
    agent = shipped(env_id)
    obs = seen(agent, env_id)
    assert len(obs) == OBSERVATIONS
    check_values(agent, obs)


@pytest.mark.parametrize("name", VECTORS)
def test_each_part(name: str) -> None:
    agent = made(VECTORS[name])
    check_values(agent, random_observations(agent, OBSERVATIONS))


@pytest.mark.parametrize("name", IMAGES)
def test_each_part_with_images(name: str) -> None:
    agent = made(IMAGES[name])
    check_values(agent, random_observations(agent, OBSERVATIONS // 5))


def kinds_of_layers(kind: type[Layer] = Layer) -> set[type[Layer]]:
    """The layers of minidqn."""
    kinds = set()
    for heir in kind.__subclasses__():
        if heir.__module__.startswith("minidqn."):
            kinds |= {heir} | kinds_of_layers(heir)
    return kinds


def test_every_layer_of_minidqn_can_be_written() -> None:
    assert export_onnx.WRITERS.keys() == kinds_of_layers()


def test_input_and_output() -> None:
    session = session_of(export_onnx.model_of(made(IMAGES["stack of images"])))
    [obs] = session.get_inputs()
    [q] = session.get_outputs()
    assert (obs.name, obs.type) == ("obs", "tensor(uint8)")
    assert obs.shape == ["batch", 3, 14, 12, 3]
    assert (q.name, q.type) == ("q_values", "tensor(float)")
    assert q.shape == ["batch", 3]


class Doubled(Linear):
    """A layer of one's own: twice what it inherits."""

    def forward(self, x: Array, cache: Any, rng: Any = None) -> Array:
        y = super().forward(x, cache, rng)
        y *= 2.0
        return y


def of_linear(space: Box, n_actions: int) -> Network:
    return Network([Linear(space.shape[0], n_actions)])


def of_doubled(space: Box, n_actions: int) -> Network:
    return Network([Doubled(space.shape[0], n_actions)])


def test_a_network_of_ones_own() -> None:
    space, _ = VECTORS["plain"]
    agent = DQN(space, Discrete(3), DQNConfig(), network=of_linear)
    check_values(agent, random_observations(agent, 10))


def test_a_layer_of_ones_own_is_refused() -> None:
    space, _ = VECTORS["plain"]
    agent = DQN(space, Discrete(3), DQNConfig(), network=of_doubled)
    with pytest.raises(TypeError, match="layer Doubled: expected one of Flatten"):
        export_onnx.model_of(agent)


def test_the_script_writes_a_model(tmp_path: Path) -> None:
    path = tmp_path / "cartpole.onnx"
    command = [sys.executable, str(SCRIPT), shipped_file("CartPole-v1"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shapes = "obs, (batch, 4) of float32, to q_values, (batch, 2)"
    assert (done.stdout, done.stderr) == (f"{path}: {shapes}\n", "")
    assert onnx.load(path) == export_onnx.model_of(shipped("CartPole-v1"))


def test_the_script_refuses_what_it_cannot_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, _ = VECTORS["plain"]
    policy = tmp_path / "agent.safetensors"
    agent = DQN(space, Discrete(3), DQNConfig(), network=of_linear)
    save(agent, policy, replay=False)
    out = tmp_path / "agent.onnx"
    monkeypatch.setattr(sys, "argv", ["export_onnx.py", str(policy), str(out)])
    with pytest.raises(SystemExit, match="has a network of your own"):
        export_onnx.main()
    assert not out.exists()


def test_the_folder_of_a_run_is_answered_with_the_file_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "agent.safetensors"
    save(shipped("CartPole-v1"), policy, replay=False)
    monkeypatch.setattr(sys, "argv", ["export_onnx.py", str(tmp_path), "a.onnx"])
    with pytest.raises(SystemExit, match=f"is a folder: give {policy}"):
        export_onnx.main()
