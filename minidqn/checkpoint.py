"""Save and load a whole agent: networks, optimiser, replay buffer, generator, counters.

One safetensors file holds the arrays, and beside them a line of JSON for the
rest. It is data and nothing else: reading one can run no code, as unpickling
would. A file is written beside the old one, brought to disk, and then renamed
over it, so that at every moment one whole checkpoint is there.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from minidqn.agent import DQN, DQNConfig
from minidqn.layers import Array
from minidqn.network import Network
from minidqn.schedules import ExponentialDecay, LinearDecay

FORMAT = 2
FIELDS = fields(DQNConfig)
DECAYS = {decay.__name__: decay for decay in (LinearDecay, ExponentialDecay)}


class CheckpointError(Exception):
    """The file is not a checkpoint that this version can read, and why."""


def save(agent: DQN, path: str | Path) -> None:
    """Write the agent to `path`, all at once or not at all.

    Raises CheckpointError if a schedule is a function of your own, for code cannot be
    saved, and OSError if the file cannot be written.
    """
    path = Path(path)
    about = {
        "format": FORMAT,
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
        "replay_over": bool(agent.replay.over),
    }
    space = agent.observation_space
    arrays = {"space_low": space.low, "space_high": space.high, **_state(agent)}
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    data = to_bytes(contiguous, {"minidqn": json.dumps(about)})

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
    """The agent that `save` wrote, ready to act and to go on learning.

    `network` is needed again if the agent was made with one. Raises CheckpointError if
    the file is damaged, of another kind, or written by a newer minidqn.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            arrays = {name: file.get_tensor(name) for name in names}
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"{path} is no safetensors file, or damaged: {error}") from error
    if "minidqn" not in metadata:
        raise CheckpointError(f"{path} was not written by minidqn: it holds {sorted(arrays)}")
    try:
        about = json.loads(metadata["minidqn"])
        if about["format"] > FORMAT:
            raise CheckpointError(
                f"{path} was written by a newer minidqn: format {about['format']}"
            )
        if about["format"] < FORMAT:
            raise CheckpointError(f"{path} was written by an older minidqn: {about['format']}")
        return _build(about, arrays, network)
    except CheckpointError:
        raise
    except Exception as error:  # a stranger's file can be wrong in any way
        raise CheckpointError(f"{path} does not describe an agent: {error!r}") from error


def _build(about: dict[str, Any], arrays: dict[str, Array], network: Any) -> DQN:
    low, high = arrays.pop("space_low"), arrays.pop("space_high")
    space = Box(low, high, dtype=low.dtype.type)
    config = DQNConfig(**{name: _from_json(value) for name, value in about["config"].items()})
    actions = Discrete(about["n_actions"])
    agent = DQN(space, actions, config, about["seed"], about["num_envs"], network)
    if about["layers"] != _layout(agent):
        raise ValueError(f"layers {about['layers']}: the network here has {_layout(agent)}")
    agent.rng.bit_generator.state = about["rng"]
    agent.steps, agent.updates = about["steps"], about["updates"]
    agent.resets = about["resets"]
    agent.adam.t = about["adam_t"]
    agent.replay.count, agent.replay.begun = about["replay_count"], about["replay_begun"]
    agent.replay.over = about["replay_over"]

    state = _state(agent)
    if state.keys() != arrays.keys():
        raise ValueError(f"arrays {sorted(arrays)}: expected {sorted(state)}")
    for name, view in state.items():
        array = arrays[name]
        if array.shape != view.shape or array.dtype != view.dtype:
            raise ValueError(
                f"{name} has shape {array.shape} and dtype {array.dtype}: "
                f"expected {view.shape} and {view.dtype}"
            )
        view[:] = array
    if not (agent.replay.action >= 0).all() or not (agent.replay.action < agent.n_actions).all():
        raise ValueError(f"an action in the replay buffer is not in 0 to {agent.n_actions - 1}")
    return agent


def _layout(agent: DQN) -> list[list[Any]]:
    """The kind and size of each layer: what a network must agree in to take the parameters."""
    return [
        [type(layer).__name__, layer.size, getattr(layer, "relu", False)]
        for layer in agent.online.layers
    ]


def _state(agent: DQN) -> dict[str, Array]:
    """The arrays that an agent is made of: views, to be read by save and written by load."""
    replay = agent.replay
    used = min(replay.count + 1, replay.slots)  # the head too; the other slots are still 0
    return {
        "params": agent.online.params,
        "target_params": agent.target.params,
        "adam_m": agent.adam.m,
        "adam_v": agent.adam.v,
        **{f"replay_{name}": array[:used] for name, array in replay.arrays.items()},
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
