"""What an interrupt, or a question in the wrong moment, must not leave behind."""

import copy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import minidqn.parts.prioritized
from minidqn import DQN, DQNConfig, checks, load, save
from minidqn.exploration import greedy
from minidqn.nn.network import KEPT_BATCH_SIZES, Network
from minidqn.parts.noisy import NoisyLinear
from minidqn.parts.prioritized import PrioritizedSampler

PACKAGE = str(Path(minidqn.__file__).parent)
NO_JIT = not hasattr(greedy, "py_func")
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


def test_ctrl_c_between_priorities_and_the_largest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run used to be lost: what was saved could not be loaded."""
    kernel = minidqn.parts.prioritized.set_priorities

    def ctrl_c_after(*arguments: Any) -> float:
        kernel(*arguments)
        raise KeyboardInterrupt

    agent = DQN(SPACE, Discrete(2), DQNConfig(priority_alpha=0.5, n_step=1, **SMALL))
    agent.begin(np.zeros(2))
    for _ in range(20):
        agent.observe(0, 100.0, np.zeros(2), False, False)
    with monkeypatch.context() as patch:
        patch.setattr("minidqn.parts.prioritized.set_priorities", ctrl_c_after)
        with pytest.raises(KeyboardInterrupt):
            agent.learn()
    assert isinstance(agent.sampler, PrioritizedSampler)
    assert agent.sampler.largest[0] == 1.0 < agent.sampler.leaves.max()
    save(agent, tmp_path / "agent")
    twin = load(tmp_path / "agent")
    assert isinstance(twin.sampler, PrioritizedSampler)
    assert twin.sampler.largest[0] == twin.sampler.leaves.max() > 1.0


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


# --- A Ctrl-C anywhere, and then a save


def interrupted(line: int, call: Callable[[], object]) -> bool:
    """Whether a Ctrl-C came: in that line of minidqn's, counted while `call` runs."""
    count = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            count += 1
            if count == line:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.skipif(NO_JIT, reason="a kernel is not interrupted, but its Python is")
@pytest.mark.parametrize("steps", [2, 30], ids=["a new ring", "a full ring"])
@pytest.mark.parametrize("call", ["begin", "step", "last step", "learn"])
@pytest.mark.parametrize(
    "settings",
    [
        {"frame_stack": 2, "param_noise": 0.2},
        {"n_step": 2, "priority_alpha": 0.5, "epsilon_hold": 3, "epsilon": 1.0},
    ],
    ids=["stacks", "priorities"],
)
def test_ctrl_c_in_any_line_leaves_an_agent_that_can_be_saved(
    settings: dict[str, Any], call: str, steps: int
) -> None:
    """A copy is made as a file is written and read: see lab/restore.py."""
    numbers = {"buffer_size": 10, "batch_size": 2, "learning_starts": 2} | settings
    rng = np.random.default_rng(0)

    def step(agent: DQN, over: bool) -> None:
        actions = agent.explore()
        mask = rng.permutation([1, int(rng.integers(2))])
        agent.observe(
            actions[0], 9 * rng.normal(), rng.uniform(-1, 1, 2), over, False, mask
        )

    line = 0
    went_through = False
    while not went_through:
        line += 1
        agent = DQN(SPACE, Discrete(2), DQNConfig(hidden=(4,), **numbers))
        agent.begin(np.zeros(2), [0, 1])
        for number in range(steps):
            step(agent, over=number % 5 == 4)
            if agent.replay.over:
                agent.begin(np.zeros(2))
        agent.learn()
        calls: dict[str, Callable[[], object]] = {
            "begin": partial(agent.begin, np.ones(2), [1, 0]),
            "step": partial(step, agent, over=False),
            "last step": partial(step, agent, over=True),
            "learn": agent.learn,
        }
        went_through = not interrupted(line, calls[call])
        copy.deepcopy(agent)
        if agent.replay.over or call == "begin":
            agent.begin(np.ones(2))
        step(agent, over=False)
        agent.learn()
        copy.deepcopy(agent)
    assert line > 20


@pytest.mark.skipif(NO_JIT, reason="a kernel is not interrupted, but its Python is")
def test_ctrl_c_in_any_line_of_the_first_begin() -> None:
    line = 0
    went_through = False
    while not went_through:
        line += 1
        agent = DQN(SPACE, Discrete(2), DQNConfig(priority_alpha=0.5, **SMALL))
        went_through = not interrupted(line, partial(agent.begin, np.zeros(2), [1, 0]))
        copy.deepcopy(agent)
        agent.begin(np.zeros(2))
        agent.observe(agent.explore()[0], 0.0, np.zeros(2), False, False)
        copy.deepcopy(agent)
    assert line > 20
