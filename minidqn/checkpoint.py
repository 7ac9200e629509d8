"""Save and load a run: networks, optimiser, replay buffer, generator, counters, history.

One safetensors file holds the arrays, and beside them a line of JSON for the
rest. It is data and nothing else: reading one can run no code, as unpickling
would. A file is written beside the old one, brought to disk, and then renamed
over it, so that at every moment one whole checkpoint is there.

What a file says is believed only after it was checked, for it may be damaged, or a
stranger's: sizes first, as the arrays in the file bound all that is allocated for them.
"""

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

import minidqn
from minidqn.agent import DQN, Metrics
from minidqn.config import DQNConfig
from minidqn.history import Episode, History, Unfinished
from minidqn.layers import Array
from minidqn.network import Network
from minidqn.prioritized import PrioritizedReplay
from minidqn.replay import all_finite
from minidqn.schedules import ExponentialDecay, GeometricDecay, LinearDecay

FORMAT = 4
FIELDS = fields(DQNConfig)
COUNTERS = ("n_actions", "num_envs", "steps", "updates", "resets", "adam_t", "replay_count")
HISTORY = ("history", "metrics", "unfinished", "actions")  # arrays
LONGEST_TEXT = 100_000  # Python takes several times as much for what the text describes
DECAYS = {decay.__name__: decay for decay in (LinearDecay, ExponentialDecay, GeometricDecay)}


class CheckpointError(Exception):
    """The file is not a checkpoint that this version can read, and why."""


def save(agent: DQN, path: str | Path, history: History | None = None) -> None:
    """Write the agent to `path`, and the history of its run, all at once or not at all.

    Raises CheckpointError if a schedule is a function of your own, for code cannot be
    saved, and OSError if the file cannot be written.
    """
    path = Path(path)
    history = History() if history is None else history
    about = {
        "format": FORMAT,
        "version": minidqn.__version__,
        "config": {f.name: _to_json(f.name, getattr(agent.config, f.name)) for f in FIELDS},
        "layers": _layout(agent),
        "n_actions": agent.n_actions,
        "num_envs": agent.replay.lanes,
        "seed": agent.seed,
        "rng": agent.rng.bit_generator.state,
        "steps": agent.steps,
        "updates": agent.updates,
        "resets": agent.resets,
        "adam_t": agent.adam.t,
        "replay_count": agent.replay.count,
        "replay_begun": agent.replay.begun,
        "last_metrics": agent.last_metrics,
    }
    space = agent.observation_space
    episodes = history.unfinished
    unfinished = [(episode.reset, len(episode.actions)) for episode in episodes]
    arrays = {
        "space_low": space.low,
        "space_high": space.high,
        "history": history.rows,
        "metrics": history.updates,
        "unfinished": np.array(unfinished, np.int64).reshape(-1, 2),
        "actions": np.array([a for e in episodes for a in e.actions], np.int32),
        **_state(agent),
    }
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    text = json.dumps(about)
    if len(text) > LONGEST_TEXT:
        raise CheckpointError(f"{len(text)} characters describe the agent: expected {LONGEST_TEXT}")
    data = to_bytes(contiguous, {"minidqn": text})

    beside = path.with_name(path.name + ".tmp")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # where folders can be opened, make the new name last too
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)


def load(path: str | Path, network: Callable[[Box, int], Network] | None = None) -> DQN:
    """The agent that `save` wrote, ready to act and to go on learning; see `load_run`."""
    return load_run(path, network)[0]


def load_run(
    path: str | Path, network: Callable[[Box, int], Network] | None = None
) -> tuple[DQN, History]:
    """The agent that `save` wrote and the history of its run, for `train` to go on with.

    `network` is needed again if the agent was made with one. Raises CheckpointError if
    the file is damaged, of another kind, or written by a newer minidqn.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return _read(file, network)
    except OSError:
        raise
    except SafetensorError as error:
        raise CheckpointError(f"{path} is no safetensors file, or damaged: {error}") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path} {error}") from error
    except Exception as error:  # a stranger's file can be wrong in any way
        raise CheckpointError(f"{path} does not describe an agent: {error!r}") from error


def _read(file: Any, network: Any) -> tuple[DQN, History]:
    text = (file.metadata() or {}).get("minidqn")
    if text is None:
        raise CheckpointError(f"was not written by minidqn: it holds {sorted(file.keys())[:20]}")
    _expect(len(text) <= LONGEST_TEXT, f"{len(text)} characters of text", f"up to {LONGEST_TEXT}")
    about = json.loads(text)
    if about["format"] > FORMAT:
        raise CheckpointError(
            f"was written by a newer minidqn: format {about['format']}, {about.get('version')}"
        )
    if about["format"] < FORMAT:
        raise CheckpointError(f"was written by an older minidqn: format {about['format']}")
    for name in COUNTERS:
        _expect(_is_count(about[name]), f"{name} {about[name]!r}", "an integer from 0 to 2^62")
    seed, lanes = about["seed"], about["num_envs"]
    count = about["replay_count"] * lanes
    _expect(about["steps"] <= count, f"{about['steps']} steps", f"up to the {count} ever stored")
    _expect(type(seed) is int, f"seed {seed!r}", "an integer")
    _expect(type(about["replay_begun"]) is bool, f"begun {about['replay_begun']!r}", "a bool")
    given, known = sorted(about["config"]), sorted(f.name for f in FIELDS)
    _expect(given == known, f"settings {given}", f"{known}")
    config = DQNConfig(**{name: _from_json(value) for name, value in about["config"].items()})
    low, high = file.get_tensor("space_low"), file.get_tensor("space_high")
    space = Box(low, high, dtype=low.dtype.type)

    # Before anything is allocated: does the file hold what the agent would have?
    names = file.keys()
    sizes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    slots = config.buffer_size // max(lanes, 1) + 1
    n_actions = about["n_actions"]
    _expect(sizes["replay_obs"] == (slots, lanes, *space.shape), "the replay buffer", "its size")
    _expect(sizes["replay_mask"] == (slots, lanes, n_actions), "the action masks", "their size")
    if config.priority_alpha > 0.0:
        leaves = 1 << (slots * lanes - 1).bit_length()
        _expect(sizes["replay_tree"] == (2 * leaves,), "the priorities", "their size")
    if network is None:
        outputs = (n_actions + config.dueling) * config.quantiles
        widths = [math.prod(space.shape), *config.hidden, outputs]
        size = sum((n_in + 1) * n_out for n_in, n_out in pairwise(widths)) * (1 + config.noisy)
        size += 2 * sum(config.hidden) * config.layer_norm
        _expect(sizes["params"] == (size,), f"{sizes['params']} parameters", f"{size}")

    agent = DQN(space, Discrete(n_actions), config, seed, lanes, network)
    _expect(about["layers"] == _layout(agent), f"layers {about['layers']}", f"{_layout(agent)}")
    _expect(about["rng"]["state"]["inc"] % 2 == 1, "a generator that stands still", "an odd inc")
    agent.rng.bit_generator.state = about["rng"]
    agent.steps, agent.updates, agent.resets = about["steps"], about["updates"], about["resets"]
    agent.adam.t = about["adam_t"]
    if about["last_metrics"] is not None:
        agent.last_metrics = Metrics(*map(float, about["last_metrics"]))
    agent.replay.count, agent.replay.begun = about["replay_count"], about["replay_begun"]
    state = _state(agent)
    expected = sorted(["space_low", "space_high", *HISTORY, *state])
    _expect(sorted(names) == expected, f"arrays {sorted(names)}", f"{expected}")
    for name, view in state.items():
        array = file.get_tensor(name)
        same = array.shape == view.shape and array.dtype == view.dtype
        found = f"{name} of shape {array.shape} and dtype {array.dtype}"
        _expect(same, found, f"{view.shape} and {view.dtype}")
        if view.dtype.kind == "f":
            _expect(all_finite(array), f"NaN or inf in {name}", "finite numbers")
        if view.dtype.kind == "b":
            _expect(array.view(np.uint8).max() <= 1, f"{name}", "0 and 1")
        view[:] = array
    _check_replay(agent)
    agent.replay.over = lanes == 1 and bool(not agent.replay.begun or agent.replay.ended[0])
    return agent, _history(agent, *(file.get_tensor(name) for name in HISTORY))


def _check_replay(agent: DQN) -> None:
    """Whether sampling can rely on the ring: actions in range, a bridge after each end."""
    replay = agent.replay
    actions = replay.action
    _expect(actions.min() >= 0 and actions.max() < agent.n_actions, "an action", "one in range")
    stored = min(replay.count, replay.slots)  # with the head, in whose flags the past lives on
    order = np.arange(replay.count - stored, replay.count) % replay.slots
    ended = (replay.terminated | replay.truncated)[order]  # (stored, lanes), oldest first
    # two in a row there are: a bridge counts as truncated when its stream is cut there
    _expect(not (ended[2:] & ended[1:-1] & ended[:-2]).any(), "three ends in a row", "bridges")
    no_future = np.roll(replay.terminated, 1, axis=0)[order]  # of the slot before
    some = (replay.mask[order].any(axis=2) | no_future).all()
    _expect(some, "a state without an action", "one allowed or more")
    unwritten = replay.terminated[replay.count :] | replay.truncated[replay.count :]
    _expect(not unwritten.any(), "ends of steps that were never made", "none")
    _expect((agent.adam.v >= 0).all(), "adam_v with negative numbers", "squares")
    held, left = agent.held
    valid = (
        (held >= 0) & (held < agent.n_actions) & (left >= 0) & (left < agent.config.epsilon_hold)
    )
    _expect(valid.all(), f"held actions {agent.held.tolist()}", "those in range")
    if isinstance(replay, PrioritizedReplay):
        _expect(replay.is_sound(), "priorities", "a tree of sums, 0 where nothing can be drawn")


def _history(agent: DQN, rows: Array, updates: Array, unfinished: Array, actions: Array) -> History:
    for name, array, dtype, shape in (
        ("history", rows, "f8", (len(rows), len(Episode._fields))),
        ("metrics", updates, "f8", (len(updates), len(Metrics._fields))),
        ("unfinished", unfinished, "i8", (len(unfinished), 2)),
        ("actions", actions, "i4", (len(actions),)),
    ):
        same = array.dtype == dtype and array.shape == shape
        _expect(same, f"{name} of shape {array.shape}, {array.dtype}", f"{shape}, {dtype}")
    _expect(np.isfinite(rows[:, :3]).all(), "NaN or inf in history", "finite numbers")
    _expect(len(unfinished) in (0, agent.replay.lanes), "unfinished episodes", "one for each lane")
    _expect(((actions >= 0) & (actions < agent.n_actions)).all(), "an action", "one in range")
    resets, lengths = unfinished.T  # (lanes,) each
    valid = (resets >= 0) & (resets < agent.resets) & (lengths >= 0) & (lengths <= len(actions))
    _expect(valid.all(), f"unfinished {unfinished.tolist()[:9]}", f"resets up to {agent.resets}")
    _expect(lengths.sum() == len(actions), f"{len(actions)} actions", f"{lengths.sum()}")
    pieces = np.split(actions, np.cumsum(lengths)[:-1])
    episodes = [
        Unfinished(reset, piece.tolist())
        for reset, piece in zip(resets.tolist(), pieces, strict=False)
    ]
    return History.restored(rows, updates, episodes)


def _expect(valid: Any, found: str, expected: str) -> None:
    if not valid:
        raise CheckpointError(f"does not describe an agent: it has {found}, expected {expected}")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _layout(agent: DQN) -> list[list[Any]]:
    """The kind and size of each layer: what a network must agree in to take the parameters."""
    return [
        [type(layer).__name__, layer.size, getattr(layer, "relu", False)]
        for layer in agent.online.layers
    ]


def _state(agent: DQN) -> dict[str, Array]:
    """The arrays that an agent is made of: views, to be read by save and written by load."""
    return {
        "params": agent.online.params,
        "target_params": agent.target.params,
        "adam_m": agent.adam.m,
        "adam_v": agent.adam.v,
        "held": agent.held,
        **{f"replay_{name}": array for name, array in agent.replay.arrays.items()},
    }


def _to_json(name: str, value: Any) -> Any:
    if type(value) in DECAYS.values():
        return {type(value).__name__: asdict(value)}
    if callable(value):
        raise CheckpointError(f"{name} is {value!r}: expected a number or one of {sorted(DECAYS)}")
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        ((decay, arguments),) = value.items()
        return DECAYS[decay](**arguments)
    return value
