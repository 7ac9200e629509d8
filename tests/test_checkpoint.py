"""Checkpoints: the whole agent comes back, and nothing else is let in."""

import copy
import errno
import json
import math
import os
import random
import re
import struct
import subprocess
import sys
import time
import timeit
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from minidqn import (
    DQN,
    CheckpointError,
    DQNConfig,
    ExponentialDecay,
    History,
    LinearDecay,
    Metrics,
    evaluate,
    load,
    load_run,
    save,
    train,
)
from minidqn.batch import BRIDGE, STEP, TERMINATED, TRUNCATED
from minidqn.lab.arrays import agent_arrays
from minidqn.lab.checkpoint import replacing
from minidqn.lab.header import FORMAT
from minidqn.lab.history import Unfinished
from minidqn.lab.history_arrays import unfinished_episodes, unfinished_rows
from minidqn.nn.layers import Array, Linear
from minidqn.nn.network import Network
from minidqn.parts.prioritized import PrioritizedSampler
from minidqn.parts.repeat import RepeatedActions
from minidqn.replay import Replay

from .conftest import TableEnv
from .test_agent import live, small_agent
from .test_masks import MaskedEnv
from .test_parts import ALL, PARTS
from .test_resume import assert_same_arrays, environments
from .test_training import agent_for, chain


@pytest.fixture
def agent() -> DQN:
    """An agent in mid-life, its ring already going round."""
    agent = small_agent(
        learning_rate=LinearDecay(1e-2, 0.0, 1000),
        epsilon=ExponentialDecay(1.0, 0.1, 100),
        max_grad_norm=float("inf"),
        tau=0.1,
    )
    live(agent, 130)
    for _ in range(10):
        agent.learn()
    return agent


def test_a_loaded_agent_goes_on_exactly_as_the_saved_one(
    agent: DQN, tmp_path: Path
) -> None:
    path = tmp_path / "agent.safetensors"
    save(agent, path)
    twin = load(path)
    assert twin.config == agent.config
    assert twin.observation_space == agent.observation_space
    assert (twin.steps, twin.updates, twin.episodes, twin.resets) == (130, 10, 18, 19)
    assert twin.last_metrics == agent.last_metrics is not None
    for each in (agent, twin):
        live(each, 50, seed=1)
    assert [agent.learn() for _ in range(10)] == [twin.learn() for _ in range(10)]
    np.testing.assert_array_equal(agent.online.params, twin.online.params)
    np.testing.assert_array_equal(agent.target.params, twin.target.params)
    obs = np.zeros(3)
    assert [agent.act(obs, 0.5) for _ in range(50)] == [
        twin.act(obs, 0.5) for _ in range(50)
    ]


def test_metrics_that_are_numbers_of_numpy(agent: DQN, tmp_path: Path) -> None:
    """A loss of your own may return them, and Huber's does under NUMBA_DISABLE_JIT=1."""
    path = tmp_path / "agent.safetensors"
    agent.last_metrics = Metrics(*np.array([0.5, 2.0, 1.25], np.float32))
    save(agent, path)
    assert load(path).last_metrics == Metrics(0.5, 2.0, 1.25)


def test_an_agent_that_has_lived_little(tmp_path: Path) -> None:
    for steps in (0, 1, 7, 99, 100):
        agent = small_agent()
        if steps:
            live(agent, steps)
        save(agent, tmp_path / "agent.safetensors")
        twin = load(tmp_path / "agent.safetensors")
        assert_same_arrays(agent, twin)
        assert len(twin.replay) == len(agent.replay)
        if steps == 0:
            with pytest.raises(ValueError, match="no episode is going on"):
                twin.observe(0, 0.0, np.zeros(3), False, False)


@pytest.mark.parametrize(("shape", "dtype"), [((), "float32"), ((6, 5, 4), "uint8")])
def test_any_observation_shape_and_many_lanes(
    shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    space = Box(0, 100, shape, np.dtype(dtype).type)
    config = DQNConfig(conv=((2, 3, 1), (3, 2, 1)) if shape else (), frame_stack=3)
    agent = DQN(space, Discrete(3), config, seed=7, num_envs=2)
    rng = np.random.default_rng(0)
    agent.begin(rng.integers(0, 100, (2, *shape)))
    for _ in range(5):
        obs = rng.integers(0, 100, (2, *shape))
        agent.observe([0, 2], [1.0, 2.0], obs, [False, False], [False, False])
    save(agent, tmp_path / "agent.safetensors")
    twin = load(tmp_path / "agent.safetensors")
    assert (twin.seed, twin.replay.num_envs, twin.steps) == (7, 2, 10)
    assert_same_arrays(agent, twin)
    twin.observe(
        [0, 0], [0.0, 0.0], obs, [False, False], [False, False]
    )  # the stream is open


def test_the_old_file_stays_until_the_new_one_is_whole(
    agent: DQN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "agent.safetensors"
    save(agent, path)
    before = path.read_bytes()
    agent.learn()

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            save(agent, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    save(agent, path)
    assert path.read_bytes() != before


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_a_file_may_be_read_by_those_who_may_read_any_other(
    agent: DQN, tmp_path: Path
) -> None:
    (tmp_path / "other").write_text("")
    save(agent, tmp_path / "agent.safetensors")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_the_first_format_can_be_read() -> None:
    """data/format_1.safetensors is kept: every later version can read it.

    It was written in the middle of an episode of `chain`, by an agent with all parts
    that there were. Noise on the weights came later, so the file has none.
    """
    assert FORMAT == 1
    agent, history = load_run(Path(__file__).parent / "data" / "format_1.safetensors")
    assert (agent.steps, agent.updates, agent.episodes, agent.resets) == (
        51,
        43,
        13,
        14,
    )
    expected = [
        [0.10658200, 0.30177963],
        [0.14527127, 0.59712011],
        [0.16411922, 0.65557420],
    ]
    np.testing.assert_allclose(agent.q_values(np.eye(3)), expected, rtol=1e-5)
    assert agent.config.epsilon == ExponentialDecay(1.0, 0.1, 50)
    assert agent.config.learning_rate == LinearDecay(1e-2, 1e-3, 100)
    parts = ALL | {"param_noise": 0.0}
    assert {name: getattr(agent.config, name) for name in parts} == parts
    assert len(history) == 13
    means = [0.4446035974, 0.0579708611, 0.4447578331, 0.1226789626]
    np.testing.assert_allclose(history.rows[-1], [48.0, 1.0, 4.0, *means], rtol=1e-8)
    (unfinished,) = history.unfinished
    assert (unfinished.number, list(unfinished.actions)) == (13, [0, 0, 0])
    # it has the metrics of each update since the last row: three of them
    sums = [3.0, 0.2342901168, 1.4462984204, 0.6330053890]
    np.testing.assert_allclose(history.updates, sums, rtol=1e-8)
    train(agent, chain(), 49, history=history, progress=False)
    assert (agent.steps, agent.updates) == (100, 92)


def test_the_first_format_of_three_environments() -> None:
    """Written by the first minidqn, in the middle of three episodes of MaskedEnv.

    It has stacks of frames, masks, priorities, and an action that is being repeated.
    """
    path = Path(__file__).parent / "data" / "format_1_three.safetensors"
    agent, history = load_run(path)
    counts = (agent.steps, agent.updates, agent.episodes, agent.resets)
    assert counts == (173, 166, 43, 46)
    expected = [
        [0.56013316, 1.2189946, 1.4178194, 1.7367203],
        [0.53422070, 1.1023712, 1.3948793, 1.6801463],
        [0.44707865, 1.0581762, 1.2655159, 1.5123044],
    ]
    q = agent.q_values(agent.replay.head_stack)
    np.testing.assert_allclose(q, expected, rtol=1e-5)
    assert agent.replay.head_mask.astype(int).tolist() == [
        [1, 0, 0, 1],
        [0, 0, 1, 1],
        [1, 0, 0, 1],
    ]
    assert isinstance(agent.exploration, RepeatedActions)
    assert agent.exploration.state.tolist() == [[2, 3, 1], [0, 0, 1]]
    assert isinstance(agent.sampler, PrioritizedSampler)
    assert agent.sampler.tree.max() == pytest.approx(47.101356566)
    unfinished = [(e.number, e.actions.tolist()) for e in history.unfinished]
    assert unfinished == [(45, []), (43, [1, 3]), (44, [0, 1])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it goes on exactly, and keeps to the masks
        several = environments(3, MaskedEnv)
        train(agent, several, 60, history=history, progress=False)
    assert agent.resets > 50


def as_the_first_wrote_it(path: Path, agent: DQN) -> None:
    """Change a new file to what the first minidqn wrote.

    It always stored the ring, masks and repeated actions, and did not say whether an episode was
    over: before the first step the masks told it.
    """
    arrays, ring = load_file(path), agent.replay
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["minidqn"])
    del about["replay_over"]
    mask = np.zeros((ring.slots, ring.num_envs, ring.n_actions), np.bool_)
    if ring.begun:
        mask[: ring.count + 1] = True
    else:  # it always stored the ring, too
        agent = copy.deepcopy(agent)
        agent.replay.make()
        arrays |= agent_arrays(agent)
    arrays = {
        "replay_mask": mask,
        "repeat": np.zeros((2, ring.num_envs), np.int64),
    } | arrays
    save_file(arrays, path, {"minidqn": json.dumps(about)})


@pytest.mark.parametrize("steps", [None, 0, 1, 99])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"frame_stack": 3},
        {"priority_alpha": 0.5},
        {"epsilon_hold": 4, "epsilon": 1.0},
    ],
    ids=str,
)
def test_files_of_the_first_minidqn_go_on_as_new_ones(
    settings: dict[str, Any], steps: int | None, tmp_path: Path
) -> None:
    agent, path = small_agent(**settings), tmp_path / "agent.safetensors"
    if steps is not None:
        live(agent, steps)
    save(agent, path)
    new = load(path)
    as_the_first_wrote_it(path, agent)
    old = load(path)
    assert old.replay.over == new.replay.over == agent.replay.over
    assert old.replay.begun == agent.replay.begun == (steps is not None)
    assert old.replay.made
    assert old.replay.mask.array is not None
    assert_same_arrays(new, old, replay_mask=old.replay.mask.array)
    for each in (new, old):
        if steps is None:
            with pytest.raises(ValueError, match="no episode is going on"):
                each.explore()
        else:
            assert each.explore().tolist() in ([0], [1])
        live(each, 40, seed=1)
        for _ in range(10):
            each.learn()
    np.testing.assert_array_equal(new.online.params, old.online.params)
    assert new.rng.bit_generator.state == old.rng.bit_generator.state


def test_saving_takes_no_second_copy_of_the_buffer(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="Windows has other measures of memory")
    code = """
import resource, sys
import numpy as np
from gymnasium.spaces import Box, Discrete
from minidqn import DQN, DQNConfig, save

config = DQNConfig(buffer_size=1000, hidden=(1,))
agent = DQN(Box(0, 255, (100_000,), np.uint8), Discrete(2), config)
agent.replay.make()
agent.replay.obs[:] = 1  # 100 MB, all in use
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
save(agent, sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)  # kB
"""
    if sys.platform != "linux":
        pytest.skip("other systems count in other units")
    path = tmp_path / "agent.safetensors"
    grown = subprocess.check_output([sys.executable, "-c", code, str(path)], text=True)
    assert path.stat().st_size > 1e8
    assert int(grown) < 20_000


def test_loading_takes_no_second_copy_of_the_buffer(tmp_path: Path) -> None:
    config = DQNConfig(buffer_size=100, hidden=(1,))
    agent = DQN(Box(0, 255, (900_000,), np.uint8), Discrete(2), config)
    agent.replay.make()
    values = agent.rng.integers(256, size=(101, 1, 1))  # one for each row
    agent.replay.obs[:] = values  # 91 MB
    save(agent, tmp_path / "agent.safetensors")
    tracemalloc.start()
    again = load(tmp_path / "agent.safetensors")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.8 * agent.replay.obs.nbytes  # with the networks, 30 MB
    assert (again.replay.obs == agent.replay.obs).all()


JUNK = [
    None,
    -1,
    0,
    1,
    2**70,
    10**400,
    0.5,
    math.nan,
    "x",
    "",
    [],
    {},
    [[1, 2]],
    True,
    {"x": 1},
]


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """The file with bits flipped, cut, bytes put in, or one part of it changed."""
    kind = chance.randrange(6)
    data = bytearray(whole)
    if kind == 0:  # anywhere, most often in the arrays
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        return bytes(data)
    if kind == 1:
        return whole[: chance.randrange(len(whole))]
    if kind == 2:
        place = chance.randrange(len(data))
        data[place:place] = chance.randbytes(chance.randint(1, 20))
        return bytes(data)

    size = int.from_bytes(whole[:8], "little")
    header, body = json.loads(whole[8 : 8 + size]), whole[8 + size :]
    about = json.loads(header["__metadata__"]["minidqn"])
    arrays = [name for name in header if name != "__metadata__"]
    if kind == 3:  # absurd shapes, other dtypes, arrays that are missing or swapped
        name, other = chance.sample(arrays, 2)
        change = chance.randrange(4)
        if change == 0:
            header[name]["shape"] = [chance.choice([0, 1, 3, 2**31, 2**62, -1])]
        if change == 1:
            header[name]["dtype"] = chance.choice(
                ["F64", "I32", "U8", "BOOL", "F16", "BF16", "X"]
            )
        if change == 2:
            del header[name]
        if change == 3:
            header[name], header[other] = header[other], header[name]
    if kind == 4:  # an entry of the text
        place = chance.choice(
            [about, about, about["config"], about["rng"], about["rng"]["state"]]
        )
        name = chance.choice(list(place))
        if chance.random() < 0.2:
            del place[name]
        else:
            place[name] = chance.choice(JUNK)
    if kind == 5:  # numbers that no run has
        start, end = header[chance.choice(arrays)]["data_offsets"]
        if end - start >= 8:
            place = start + chance.randrange((end - start) // 4) * 4
            number = chance.choice([math.nan, math.inf, -1.0, 1e30])
            body = body[:place] + struct.pack("<f", number) + body[place + 4 :]
    header["__metadata__"]["minidqn"] = json.dumps(about)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


class Masked(TableEnv):
    """`chain`, with masks that allow all."""

    def __init__(self) -> None:
        whole = chain()
        super().__init__(whole.next_state, whole.reward, whole.limit)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=seed)[0], {"action_mask": [1, 1]}

    def step(self, action: int) -> Any:
        return (*super().step(action)[:-1], {"action_mask": [1, 1]})


def saved_run(path: Path) -> None:
    """A checkpoint in the middle of an episode, with updates since the last row.

    It has masks, and repeated actions.
    """
    agent, history = agent_for(Masked(), n_step=3, epsilon_hold=3), History()

    def in_mid_episode(agent: DQN, history: History) -> bool:
        some = history.updates[0] > 1 and len(history.unfinished[0].actions) > 1
        return agent.steps > 100 and some and not agent.replay.over

    train(agent, Masked(), 300, history=history, on_step=in_mid_episode, progress=False)
    save(agent, path, history)


def test_ten_thousand_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    saved_run(path)
    whole = path.read_bytes()
    chance = random.Random(0)
    named, most = [], 0
    load(path).learn()  # compile first
    for number in range(10_000):
        path.write_bytes(damaged(whole, chance))
        if number % 10 == 0:  # for it takes time
            tracemalloc.start()
        try:
            twin, history = load_run(path)
        except CheckpointError as error:
            named.append(str(error).startswith(f"{path} "))
        else:  # a valid run, if another one
            if len(twin.replay) >= twin.config.batch_size:
                # flipped bits can make huge numbers
                with suppress(FloatingPointError), np.errstate(all="ignore"):
                    twin.learn()
            assert all(
                0 <= action < 2 for e in history.unfinished for action in e.actions
            )
            assert np.isfinite(history["episode_return"]).all()
            assert twin.act(np.zeros(3)) in (0, 1)
            assert all(
                np.isfinite(a).all() for a in (twin.online.params, twin.replay.obs)
            )
        if number % 10 == 0:
            most = max(most, tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert 5000 < len(named) < 9900
    assert all(named)
    assert (
        most < 2 * len(whole) + 200_000
    )  # Python's own objects, whatever the file's size


def test_every_part_of_a_run_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    saved_run(path)
    with safe_open(path, framework="numpy") as file:
        names = file.keys()
        arrays = {name: file.get_tensor(name) for name in names}
        about = json.loads(file.metadata()["minidqn"])
    count, kind = about["replay_count"], arrays["replay_kind"]
    assert count < len(kind) - 1
    ends, cuts, unwritten, bridges = (kind.copy() for _ in range(4))
    ends[2:4], cuts[2:4] = TERMINATED, TRUNCATED
    unwritten[-1] = STEP
    bridges[2:5] = BRIDGE
    odd_bool = arrays["replay_mask"].view(np.uint8).copy()
    odd_bool[0] = 2
    mask = arrays["replay_mask"].copy()
    mask[np.flatnonzero(kind[:, 0] == STEP)[0] + 1] = False
    repeat, unfinished = arrays["repeat"], arrays["unfinished"]
    other_action, three_steps = np.array([[2], [0]]), np.array([[0], [3]])
    number_up, action_up = np.array([[10**6, 0]]), np.array([[0, 1]])
    assert len(unfinished) > 2

    cases: list[tuple[dict[str, Array], dict[str, Any], str]] = [
        ({"replay_kind": ends}, {}, "an end without a bridge"),
        ({"replay_kind": cuts}, {}, "an end without a bridge"),
        ({"replay_kind": bridges}, {}, "too many bridges in a row"),
        ({"replay_kind": kind * 0}, {}, "too many bridges in a row"),
        ({"replay_kind": unwritten}, {}, "data in slots that were never used"),
        ({"replay_kind": kind + np.int8(4)}, {}, "an unknown kind of slot"),
        ({"replay_kind": kind - np.int8(1)}, {}, "an unknown kind of slot"),
        ({"replay_mask": odd_bool.view(np.bool_)}, {}, "replay_mask: expected 0 and 1"),
        ({"replay_mask": mask}, {}, "a mask that allows no action"),
        ({"replay_mask": mask[:-1]}, {}, "replay_mask of shape"),
        ({"replay_obs": arrays["replay_obs"][:-1]}, {}, "replay_obs of shape"),
        (
            {"replay_action": arrays["replay_action"] - 1},
            {},
            "the actions -1 to 0: expected 0 to 1",
        ),
        ({"adam_v": arrays["adam_v"] - 1}, {}, "adam_v with negative numbers"),
        ({"repeat": repeat + other_action}, {}, "the actions .*: expected 0 to 1"),
        ({"repeat": repeat - other_action}, {}, "the actions .*: expected 0 to 1"),
        ({"repeat": repeat + three_steps}, {}, "steps to repeat: expected below 3"),
        ({"repeat": repeat - three_steps}, {}, "steps to repeat: expected below 3"),
        (
            {"unfinished": unfinished + 2 * action_up},
            {},
            "unfinished episodes: expected one",
        ),
        (
            {"unfinished": unfinished - action_up},
            {},
            "unfinished episodes: expected one",
        ),
        ({"unfinished": unfinished[1:]}, {}, "unfinished episodes: expected one"),
        (
            {"unfinished": unfinished[[1, 0, 2]]},
            {},
            "unfinished episodes: expected one",
        ),
        (
            {"unfinished": unfinished * [[1, 2]]},
            {},
            "unfinished episodes: expected one",
        ),
        (
            {"unfinished": np.append(unfinished, [[0, 2]], axis=0)},
            {},
            "the actions .*: expected 0 to 1",
        ),
        (
            {"unfinished": np.append(unfinished, [[0, -2]], axis=0)},
            {},
            "the actions .*: expected 0 to 1",
        ),
        (
            {"unfinished": np.repeat(unfinished, 2, axis=0)},
            {},
            "unfinished episodes: expected one",
        ),
        (
            {"unfinished": unfinished.astype(np.float64)},
            {},
            "unfinished of shape .*float64",
        ),
        ({"unfinished": unfinished[:, :1]}, {}, "unfinished of shape"),
        (
            {"unfinished": np.add(unfinished, number_up)},
            {},
            "an unfinished episode of another run: expected",
        ),
        (
            {"unfinished": np.subtract(unfinished, number_up)},
            {},
            "an unfinished episode of another run: expected",
        ),
        ({"updates": np.zeros((2, 3, 2))}, {}, "updates of shape"),
        ({"updates": np.zeros((2, 2))}, {}, "updates of shape"),
        ({"updates": np.zeros(4, np.float32)}, {}, "updates of shape .*float32"),
        ({"updates": np.full(4, np.inf)}, {}, "NaN or inf in updates"),
        (
            {"history": arrays["history"].astype(np.float32)},
            {},
            "history of shape .*float32",
        ),
        ({"history": arrays["history"] * np.nan}, {}, "NaN or inf in history"),
        (
            {"replay_reward": arrays["replay_reward"] * np.nan},
            {},
            "NaN or inf in replay_reward",
        ),
        ({}, {"replay_count": 50}, "data in slots that were never used"),
        (
            {},
            {"updates_skipped": -(10**6)},
            "too many updates to be made: expected up to",
        ),
        ({}, {"replay_count": 2**63}, "replay_count .*: expected a count"),
        ({}, {"updates": True}, "updates True: expected a count"),
        ({}, {"steps": -1}, "steps -1: expected a count"),
        ({}, {"seed": 0.5}, "seed 0.5: expected a count"),
        ({}, {"format": FORMAT - 1}, "is of an older minidqn, 0.1.0: format 0"),
        (
            {},
            {"rng": about["rng"] | {"state": {"state": 0, "inc": 0}}},
            "an even increment",
        ),
        ({}, {"x": "x" * 100_000}, "characters of text: expected up to"),
        ({}, {"last_metrics": [1.0]}, "missing 2 required"),
        ({}, {"layers": about["layers"][:-1]}, "layers .*: expected"),
    ]
    for new_arrays, changes, message in cases:
        save_file(arrays | new_arrays, path, {"minidqn": json.dumps(about | changes)})
        with pytest.raises(CheckpointError, match=message):
            load_run(path)
    save_file(arrays, path, {"minidqn": json.dumps(about)})
    agent, _ = load_run(path)

    def save_with(updates_skipped: int) -> None:
        changed = about | {"updates_skipped": updates_skipped}
        save_file(arrays, path, {"minidqn": json.dumps(changed)})

    most = (agent.steps + 1) * agent.config.gradient_steps  # updates due
    least = agent.updates_skipped + agent.updates_due - most
    save_with(least)
    assert load(path).updates_due == most
    save_with(least - 1)
    with pytest.raises(
        CheckpointError, match=f"too many updates to be made: .* {most}"
    ):
        load(path)


def test_any_seed_and_any_integer_can_be_saved(tmp_path: Path) -> None:
    settings = DQNConfig(hidden=(4,), buffer_size=200, batch_size=8, learning_starts=50)
    three: Any = np.int64(3)
    agent = DQN(chain().observation_space, Discrete(2), settings, 2**100, three)
    save(agent, tmp_path / "agent.safetensors")
    again = load(tmp_path / "agent.safetensors")
    assert (again.seed, again.replay.num_envs) == (2**100, 3)


def test_a_small_file_takes_no_more_memory_than_it_has(
    agent: DQN, tmp_path: Path
) -> None:
    path = tmp_path / "agent.safetensors"
    save(agent, path)
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    about = json.loads(header["__metadata__"]["minidqn"])
    for config in (
        {"buffer_size": 10**9},
        {"hidden": [10**6, 10**6]},
        {"batch_size": 10**9},
    ):
        changed = about | {"config": about["config"] | config}
        header["__metadata__"]["minidqn"] = json.dumps(changed)
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + size :])
        tracemalloc.start()
        with pytest.raises(CheckpointError):
            load(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1e6


def test_every_truncated_file_is_refused(agent: DQN, tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    save(agent, path)
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            load(path)


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    with pytest.raises(CheckpointError, match="is no safetensors file, or damaged: "):
        load(path)
    save_file({"weights": np.zeros(3)}, path)
    with pytest.raises(CheckpointError) as refused:
        load(path)
    assert (
        str(refused.value)
        == f"{path} was not written by minidqn: it contains ['weights']"
    )
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")


def test_what_a_file_says_of_itself_is_checked(agent: DQN, tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    save(agent, path)
    with safe_open(path, framework="numpy") as file:
        names = file.keys()
        arrays = {name: file.get_tensor(name) for name in names}
        about = json.loads(file.metadata()["minidqn"])

    def rewritten(new_arrays: dict[str, Array] = arrays, **changes: object) -> Path:
        save_file(new_arrays, path, {"minidqn": json.dumps(about | changes)})
        return path

    load(rewritten())
    with pytest.raises(
        CheckpointError, match=f"newer minidqn, .*: format {FORMAT + 1}"
    ):
        load(rewritten(format=FORMAT + 1))
    with pytest.raises(CheckpointError, match=r"unexpected keyword argument .*gama"):
        load(rewritten(config=about["config"] | {"gama": 0.9}))
    with pytest.raises(CheckpointError, match=r"params of shape .* expected"):
        load(rewritten(config=about["config"] | {"hidden": [5, 3]}))
    with pytest.raises(CheckpointError, match="replay_obs of shape"):
        load(rewritten(config=about["config"] | {"buffer_size": 10**9}))
    with pytest.raises(CheckpointError, match="up to 2147483647"):
        load(rewritten(config=about["config"] | {"n_step": 2**70}))
    with pytest.raises(CheckpointError, match="the actions 10 to 11: expected 0 to 1"):
        load(rewritten(arrays | {"replay_action": arrays["replay_action"] + 10}))
    with pytest.raises(CheckpointError, match="OverflowError"):
        load(rewritten(rng=about["rng"] | {"state": {"state": 2**200, "inc": 1}}))
    with pytest.raises(CheckpointError, match=r"gamma is 7\.0: expected 0 to 1"):
        load(rewritten(config=about["config"] | {"gamma": 7}))
    with pytest.raises(CheckpointError, match=r"arrays .*expected.*adam_m"):
        load(
            rewritten(
                {name: array for name, array in arrays.items() if name != "adam_m"}
            )
        )
    with pytest.raises(
        CheckpointError, match=r"params of .*float64: expected .*float32"
    ):
        load(rewritten(arrays | {"params": arrays["params"].astype(np.float64)}))


def test_an_agent_from_another_environment_is_refused_there(
    agent: DQN, tmp_path: Path
) -> None:
    save(agent, tmp_path / "agent.safetensors")
    other = TableEnv(np.zeros((2, 2), int), np.zeros((2, 2)))
    with pytest.raises(
        ValueError, match=r"the environment's spaces are .* expected the agent's"
    ):
        evaluate(load(tmp_path / "agent.safetensors"), other)


def test_another_kind_of_network_is_refused(tmp_path: Path) -> None:
    def build(relu: bool) -> Callable[[Box, int], Network]:
        return lambda space, n: Network([Linear(3, 8, relu=relu), Linear(8, n)])

    agent = DQN(Box(-1, 1, (3,)), Discrete(2), network=build(True))
    save(agent, tmp_path / "agent.safetensors")
    obs = np.ones(3)
    twin = load(tmp_path / "agent.safetensors", build(True))
    np.testing.assert_array_equal(twin.q_values(obs), agent.q_values(obs))
    with pytest.raises(CheckpointError, match=r"layers .*True.* expected .*False"):
        load(tmp_path / "agent.safetensors", build(False))


def test_layers_by_their_names(tmp_path: Path) -> None:
    """A CellConv2d is a Conv2d to a checkpoint; yours may be called Cell, too."""

    class CellLinear(Linear):
        pass

    def build(space: Box, n: int) -> Network:
        return Network([CellLinear(3, n)])

    path = tmp_path / "agent.safetensors"
    save(DQN(Box(-1, 1, (3,)), Discrete(2), network=build), path)
    load(path, build)

    space = Box(0, 255, (6, 6, 1), np.uint8)
    agent = DQN(space, Discrete(2), DQNConfig(conv=((2, 4, 2),), hidden=(3,)))
    save(agent, path, replay=False)
    with safe_open(path, framework="numpy") as file:
        text = file.metadata()["minidqn"]
    assert text.count('"Conv2d"') == 1
    save_file(
        load_file(path), path, {"minidqn": text.replace('"Conv2d"', '"CellConv2d"')}
    )
    np.testing.assert_array_equal(load(path).online.params, agent.online.params)


# --- What load would refuse is not saved, and the file that is there stays


def refused_by_save(agent: DQN, path: Path, *history: History, **options: Any) -> str:
    """What `save` says; the file that was there stays as it was, and alone."""
    save(small_agent(), path)
    before = path.read_bytes()
    with pytest.raises(CheckpointError) as refused:
        save(agent, path, *history, **options)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    text = str(refused.value)
    assert text.startswith(f"{path} is not written: the agent ")
    return text


def test_more_text_than_can_be_loaded(tmp_path: Path) -> None:
    agent = DQN(Box(-1, 1, (3,)), Discrete(2), DQNConfig(hidden=(1,) * 5000))
    text = refused_by_save(agent, tmp_path / "agent")
    assert "characters of text: expected up to 100000" in text


@pytest.mark.parametrize("replay", [True, False])
def test_parameters_that_are_no_numbers(replay: bool, tmp_path: Path) -> None:
    for number in (np.nan, np.inf):
        agent = small_agent()
        live(agent, 20)
        agent.online.params[7] = number
        text = refused_by_save(agent, tmp_path / "agent", replay=replay)
        assert text.endswith("NaN or inf in params: expected finite numbers")
    agent = small_agent()
    agent.adam.m[3] = np.nan  # is not in a policy
    save(agent, tmp_path / "agent", replay=False)
    assert "NaN or inf in adam_m" in refused_by_save(agent, tmp_path / "agent")


def no_action_allowed(agent: DQN) -> None:
    agent.replay.mask.make()
    assert agent.replay.mask.array is not None
    agent.replay.mask.array[:] = False


def turned_round(agent: DQN) -> None:
    agent.observation_space = Box(-1.0, 1.0, (3,))
    agent.observation_space.high.fill(-2.0)


def other_ring() -> Replay:
    ring = Replay(50, (3,), np.float32, 2)
    ring.begin(np.zeros(3))
    return ring


UNSOUND: dict[str, tuple[Callable[[DQN], Any], str]] = {
    "seed": (lambda agent: setattr(agent, "seed", -1), "seed -1: expected a count"),
    "float": (
        lambda agent: setattr(agent, "steps", 0.5),
        "steps 0.5: expected a count",
    ),
    "steps": (lambda agent: setattr(agent, "steps", -1), "steps -1: expected a count"),
    "integer": (
        lambda agent: setattr(agent, "updates", np.int64(3)),
        "what JSON cannot hold: Object of type int64",
    ),
    "many digits": (
        lambda agent: setattr(agent, "seed", 10**5000),
        "what JSON cannot hold: Exceeds the limit",
    ),
    "generator": (
        lambda agent: setattr(agent, "rng", np.random.Generator(np.random.Philox(0))),
        "what JSON cannot hold: Object of type ndarray",
    ),
    "another generator": (
        lambda agent: setattr(agent, "rng", np.random.Generator(np.random.PCG64DXSM())),
        "could not be read again: ValueError.*PCG64",
    ),
    "kinds": (lambda agent: agent.replay.kind.fill(STEP), "slots that were never used"),
    "reward": (lambda agent: agent.replay.reward.fill(np.inf), "inf in replay_reward"),
    "actions": (
        lambda agent: agent.replay.action.fill(2),
        "actions 2 to 2: expected 0 ",
    ),
    "moments": (lambda agent: agent.adam.v.fill(-1.0), "adam_v with negative numbers"),
    "no mask": (no_action_allowed, "a mask that allows no action: expected one"),
    "ring": (
        lambda agent: setattr(agent, "replay", other_ring()),
        "replay_obs of shape",
    ),
    "repeats": (
        lambda agent: agent.exploration.left.fill(3),  # type: ignore[attr-defined]  # it repeats
        "3 to 3 steps to repeat: expected below 3",
    ),
    "priorities": (
        lambda agent: agent.sampler.leaves.fill(0.5),  # type: ignore[union-attr]  # it has them
        "unsound priorities: expected 0 where",
    ),
    "space": (turned_round, "Box all low values must be less than or equal to high"),
}


@pytest.mark.parametrize("fault", UNSOUND)
def test_an_agent_that_could_not_be_read_again(fault: str, tmp_path: Path) -> None:
    """As nobody should leave one; but then it is better to know it now."""
    agent = small_agent(epsilon_hold=3, priority_alpha=0.5)
    live(agent, 20)
    spoil, message = UNSOUND[fault]
    spoil(agent)
    assert re.search(message, refused_by_save(agent, tmp_path / "agent"))


def unfinished(*numbers: int, actions: Sequence[int] = ()) -> History:
    return History(unfinished=[Unfinished(number, actions) for number in numbers])


def test_a_history_of_another_agent(tmp_path: Path) -> None:
    path, agent = tmp_path / "agent", small_agent()
    live(agent, 20)  # two episodes have ended, and the third is going on
    rows = History()
    rows.add_episode(20, 0.5, np.nan, 7)
    for history, message in (
        (
            unfinished(3),
            "unfinished episode of another run: expected one of the 3 that",
        ),
        (
            unfinished(-1),
            "unfinished episode of another run: expected one of the 3 that",
        ),
        (unfinished(1, 2), "2 unfinished episodes: expected one for each of 1 environ"),
        (unfinished(2, actions=[0, 2]), "the actions 0 to 2: expected 0 to 1"),
        (unfinished(2, actions=[0, -2]), "the actions -2 to 0: expected 0 to 1"),
        (
            unfinished(2, actions=[0, -1]),
            "2 unfinished episodes: expected one for each",
        ),
        (unfinished(2**70), "could not be read again: OverflowError"),
        (rows, "NaN or inf in history: expected finite numbers"),
    ):
        assert message in refused_by_save(agent, path, history)
    save(agent, path, unfinished(2, actions=[0, 1]))
    assert list(load_run(path)[1].unfinished[0].actions) == [0, 1]


def test_an_agent_that_has_not_begun_has_no_episode(tmp_path: Path) -> None:
    text = refused_by_save(small_agent(), tmp_path / "agent", unfinished(0))
    assert "of another run: expected one of the 0 that have begun" in text


def test_large_numbers_that_an_update_may_give_can_be_saved(tmp_path: Path) -> None:
    """A loss is a float64, and may be more than a float32 holds."""
    history = History()
    history.add_update(Metrics(1e39, -1e38, 1e10))
    save(small_agent(), tmp_path / "agent", history)
    _, again = load_run(tmp_path / "agent")
    assert again.updates.tolist() == [1.0, 1e39, -1e38, 1e10]


def test_a_layer_of_your_own_may_count_in_numpy_s_integers(tmp_path: Path) -> None:
    class OfNumPy(Linear):
        def __init__(self, n_in: int, n_out: int) -> None:
            super().__init__(n_in, n_out, relu=np.True_)  # type: ignore[arg-type]  # the test
            self.size = np.int64(self.size)  # type: ignore[assignment]  # the test

    def build(space: Box, n_actions: int) -> Network:
        return Network([OfNumPy(3, n_actions)])

    agent = DQN(Box(-1, 1, (3,)), Discrete(2), network=build)
    save(agent, tmp_path / "agent")
    np.testing.assert_array_equal(
        load(tmp_path / "agent", build).online.params, agent.online.params
    )


def test_numbers_that_the_format_does_not_have(tmp_path: Path) -> None:
    """The network of a gradient check, by the complex step, is for no file."""
    path = tmp_path / "agent"

    def build(space: Box, n_actions: int) -> Network:
        return Network([Linear(3, n_actions)], np.complex128)

    agent = DQN(Box(-1, 1, (3,)), Discrete(2), network=build)
    with pytest.raises(OSError, match=f"{path} cannot be written: .*complex128"):
        save(agent, path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("seed", range(3))
def test_what_a_loop_of_your_own_leaves_can_be_saved_and_loaded(
    part: str, num_envs: int, seed: int, tmp_path: Path
) -> None:
    """At any moment: between explore and observe, before begin, after many updates."""
    path, chance = tmp_path / "agent", random.Random(seed)
    numbers = {"learning_starts": 9, "buffer_size": 40} | PARTS[part]
    env = environments(num_envs, MaskedEnv if seed else chain)
    agent = agent_for(env, num_envs, **numbers)
    flags = np.zeros(num_envs, np.bool_)
    obs = np.zeros((num_envs, *agent.replay.obs_shape))
    for _ in range(60):
        kind = chance.choice(["begin", "step", "step", "step", "explore", "learn"])
        if kind == "begin" or not agent.replay.begun or agent.replay.over:
            agent.begin(obs)
        elif kind == "step":
            over = (
                np.array([chance.random() < 0.3 for _ in flags]) & ~agent.replay.ended
            )
            step = (agent.explore(), np.ones(num_envs), obs, over, flags)
            agent.observe(*step)
        elif kind == "explore":
            agent.explore()
        elif len(agent.replay) >= 9 and len(agent.replay) >= agent.config.batch_size:
            with suppress(ValueError):  # no transition is complete yet
                agent.learn()
        save(agent, path)
        twin = load(path)
        assert_same_arrays(agent, twin)
        if chance.random() < 0.1:
            agent = twin


def test_an_agent_between_two_episodes(tmp_path: Path) -> None:
    for end in (True, False):
        agent = small_agent()
        agent.begin(np.zeros(3))
        agent.observe(0, 1.0, np.ones(3), end, False)
        save(agent, tmp_path / "agent.safetensors")
        twin = load(tmp_path / "agent.safetensors")
        if end:
            with pytest.raises(ValueError, match="no episode is going on"):
                twin.observe(0, 1.0, np.ones(3), False, False)
        for each in (agent, twin):
            each.begin(np.full(3, 2.0))
            each.observe(1, 1.0, np.ones(3), False, False)
        assert_same_arrays(agent, twin)


# --- Files


def test_no_folder_to_save_in(agent: DQN, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "agent.safetensors"
    with pytest.raises(FileNotFoundError, match=f"'{path}'$"):
        save(agent, path)


def test_a_folder_is_no_file(agent: DQN, tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    for call in (partial(load, path), partial(save, agent, path)):
        with pytest.raises(OSError, match=f"{path}'") as refused:
            call()
        if os.name != "nt":
            assert isinstance(refused.value, IsADirectoryError)
    assert list(tmp_path.iterdir()) == [path]
    assert not list(path.iterdir())


def test_the_folder_of_a_run_is_answered_with_the_files_in_it(
    agent: DQN, tmp_path: Path
) -> None:
    for name in ("checkpoint.safetensors", "agent.safetensors"):
        save(agent, tmp_path / name)
    for read in (load, load_run):
        with pytest.raises(IsADirectoryError) as refused:
            read(tmp_path)
        assert str(refused.value) == (
            f"'{tmp_path}' is a folder: give {tmp_path / 'agent.safetensors'} or "
            f"{tmp_path / 'checkpoint.safetensors'}"
        )


@pytest.mark.skipif(os.name == "nt", reason="links take a right there")
def test_a_link_stays_a_link(agent: DQN, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "first", tmp_path / "latest"
    link.symlink_to(Path("store") / "first")
    for updates in (10, 11):  # it may point to a file that is not there yet
        save(agent, link)
        assert link.is_symlink()
        assert load(target).updates == load(link).updates == updates
        agent.learn()
    assert list(tmp_path.iterdir()) in ([target.parent, link], [link, target.parent])
    assert list(target.parent.iterdir()) == [target]


def test_two_that_save_at_the_same_time_share_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replacing(path) as one, replacing(path) as other:
        assert one != other
        assert one.parent == other.parent == tmp_path
        one.write_text("1")
        other.write_text("2")
    assert path.read_text() == "1"  # the last one to end
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def interrupted() -> None:
        with replacing(path) as beside:
            beside.write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_is_removed_after_an_hour(tmp_path: Path) -> None:
    path = tmp_path / "file"
    long_ago = time.time() - 3700.0
    names = {
        "file.0123456789abcdef.tmp": False,  # it stays no longer
        "file.0123456789abcdeg.tmp": True,
        "file.tmp": True,
        "file.0123456789abcdef.tmp.gz": True,
        "other.0123456789abcdef.tmp": True,
    }
    for name in names:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (long_ago, long_ago))
    recent = tmp_path / "file.fedcba9876543210.tmp"
    recent.touch()
    with replacing(path) as beside:
        beside.write_text("new")
    for name, stays in names.items():
        assert (tmp_path / name).exists() == stays, name
    assert recent.exists()


def test_a_long_episode_is_saved_quickly() -> None:
    actions = np.random.default_rng(0).integers(2, size=1_000_000)
    episodes = [Unfinished(7, actions.tolist()), Unfinished(8), Unfinished(3, [1, 0])]
    rows = unfinished_rows(episodes)
    assert rows[:2].tolist() == [[7, -1], [7, actions[0]]]
    assert rows[-5:].tolist() == [[7, actions[-1]], [8, -1], [3, -1], [3, 1], [3, 0]]

    def slow() -> list[list[int]]:
        return [[e.number, action] for e in episodes for action in (-1, *e.actions)]

    assert rows.tolist() == slow()
    # the best of several: other processes may take the core for a moment
    fast_seconds = timeit.repeat(lambda: unfinished_rows(episodes), number=1, repeat=5)
    slow_seconds = timeit.repeat(slow, number=1, repeat=3)
    assert min(fast_seconds) < 0.4 * min(slow_seconds)
    for one, other in zip(unfinished_episodes(rows), episodes, strict=True):
        assert (one.number, one.actions) == (other.number, other.actions)
    assert unfinished_episodes(unfinished_rows([])) == []
