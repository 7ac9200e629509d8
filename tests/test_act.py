"""examples/act.py chooses what minidqn chooses, without minidqn."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from minidqn import DQN, DQNConfig, examples, load, save
from minidqn.nn.layers import Array, Linear
from minidqn.nn.network import Network
from tests.policies import (
    IMAGES,
    OBSERVATIONS,
    SHIPPED,
    VECTORS,
    made,
    random_masks,
    random_observations,
    seen,
    shipped,
    shipped_file,
)

SCRIPT = examples.FOLDER / "act.py"
act = import_module("minidqn.examples.act")


def seen_as_images(env_id: str) -> bool:
    return env_id.startswith(("MinAtar", "Pong"))


OF_VECTORS = [env_id for env_id in SHIPPED if not seen_as_images(env_id)]
OF_IMAGES = [env_id for env_id in SHIPPED if seen_as_images(env_id)]


def check_actions(path: str, agent: DQN, obs: Array) -> None:
    """The same actions, with masks and without.

    Where two Q-values differ by rounding alone, either is right.
    """
    policy = act.Policy(path)
    q = agent.q_values(obs)  # (B, A)
    rows = np.arange(len(obs))
    masks = random_masks(agent, len(obs))
    for allowed in (None, masks):
        expected = agent.act(obs, mask=allowed)  # (B,)
        if allowed is None:
            found = np.array([policy.act(x) for x in obs])
        else:
            found = np.array(
                [policy.act(x, mask) for x, mask in zip(obs, allowed, strict=True)]
            )
            assert allowed[rows, found].all()
        lost = q[rows, expected] - q[rows, found]
        assert lost.max() <= 1e-5 * max(1.0, abs(q).max())
        assert (found == expected).mean() > 0.99
    assert len(np.unique(agent.act(obs, mask=masks))) > 1


def test_an_observation_of_cartpole() -> None:
    path = shipped_file("CartPole-v1")
    obs = [0.01, -0.02, 0.03, 0.04]
    assert act.Policy(path).act(obs) == load(path).act(obs) == 1
    assert act.Policy(path).act(obs, mask=[1, 0]) == 0


@pytest.mark.parametrize("env_id", OF_VECTORS)
def test_what_minidqn_learned(env_id: str) -> None:
    agent = shipped(env_id)
    obs = seen(agent, env_id)
    assert len(obs) == OBSERVATIONS
    check_actions(shipped_file(env_id), agent, obs)


@pytest.mark.parametrize("name", VECTORS)
def test_each_part(name: str, tmp_path: Path) -> None:
    agent = made(VECTORS[name])
    path = tmp_path / "agent.safetensors"
    save(agent, path, replay=False)
    check_actions(str(path), agent, random_observations(agent, OBSERVATIONS))


def test_the_file_of_a_whole_run(tmp_path: Path) -> None:
    agent = made(VECTORS["all"])
    path = tmp_path / "checkpoint.safetensors"
    save(agent, path)
    check_actions(str(path), agent, random_observations(agent, 50))


@pytest.mark.parametrize("env_id", OF_IMAGES)
def test_images_are_refused(env_id: str) -> None:
    with pytest.raises(ValueError, match=r"no images.*Conv2d"):
        act.Policy(shipped_file(env_id))


def test_all_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    for case in IMAGES.values():
        save(made(case), path, replay=False)
        with pytest.raises(ValueError, match=r"no images.*Conv2d"):
            act.Policy(str(path))


def build(space: Box, n_actions: int) -> Network:
    return Network([Linear(space.shape[0], n_actions)])


def test_a_network_of_ones_own_is_refused(tmp_path: Path) -> None:
    space = VECTORS["plain"][0]
    agent = DQN(space, Discrete(2), DQNConfig(), network=build)
    path = tmp_path / "agent.safetensors"
    save(agent, path, replay=False)
    with pytest.raises(ValueError, match=r"no own network.*Linear"):
        act.Policy(str(path))


def test_a_layer_that_it_does_not_know_is_refused() -> None:
    policy = act.Policy(shipped_file("CartPole-v1"))
    policy.kinds = ("Normalize", "Linear", "Later", "Linear")
    with pytest.raises(KeyError, match="Later"):
        policy.act([0.0, 0.0, 0.0, 0.0])


def test_a_wrong_observation_is_refused() -> None:
    policy = act.Policy(shipped_file("CartPole-v1"))
    with pytest.raises(ValueError, match="reshape"):
        policy.act([0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="reshape"):
        policy.act([0.0] * 8)


def test_the_observation_is_left_as_it_is() -> None:
    obs = np.full(4, 0.5, np.float32)
    act.Policy(shipped_file("CartPole-v1")).act(obs)
    assert (obs == 0.5).all()


def test_it_prints_the_action() -> None:
    numbers = ["0.01", "-0.02", "0.03", "0.04"]
    command = [sys.executable, str(SCRIPT), shipped_file("CartPole-v1"), *numbers]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], ""),
        (["--help"], "No such file"),
        ([shipped_file("CartPole-v1"), "0.01", "-0.02"], "cannot reshape array"),
        ([shipped_file("CartPole-v1"), "0.01", "-0.02", "0", "x"], "could not convert"),
    ],
)
def test_wrong_words_are_answered_with_a_line(words: list[str], why: str) -> None:
    command = [sys.executable, str(SCRIPT), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("usage: python act.py POLICY NUMBER ... (")
    assert why in line


def imported(path: Path) -> set[str]:
    """The packages that a file imports."""
    names: set[Any] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


def test_it_stands_alone_and_is_short() -> None:
    assert imported(SCRIPT) == {"json", "sys", "numpy", "safetensors"}
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines[1:] if line]) <= 40  # of code
    assert max(map(len, lines)) <= 88
