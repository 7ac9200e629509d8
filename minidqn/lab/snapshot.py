"""An agent and its history as arrays and a line of JSON, and back, every part checked.

A checkpoint may be damaged, or come from a stranger, so everything is checked before it is
used. Sizes come first: no more is allocated than the arrays in the file need.

Agents are pickled and copied in the same way, because their arrays are views of each other.
"""

import copyreg
import json
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, cast

import numpy as np
from gymnasium.spaces import Box, Discrete

from minidqn.agent import DQN, Metrics
from minidqn.batch import BRIDGE, TERMINATED, TRUNCATED
from minidqn.config import DQNConfig
from minidqn.experience import LARGEST, all_finite
from minidqn.lab.expect import expect
from minidqn.lab.history import COLUMNS, METRICS, History, Unfinished
from minidqn.nn.layers import Array, Layer
from minidqn.nn.network import Network
from minidqn.parts.decays import ExponentialDecay, GeometricDecay
from minidqn.parts.prioritized import PrioritizedSampler
from minidqn.parts.qnetwork import q_layers
from minidqn.parts.repeat import RepeatedActions
from minidqn.replay import Replay
from minidqn.schedules import LinearDecay

FORMAT = 1
COUNTERS = ("steps", "updates", "updates_skipped", "episodes")  # of the agent
COUNTS = (*COUNTERS, "adam_t", "replay_count")
LONGEST_TEXT = 100_000  # parsed, it takes several times as much memory
DECAYS = {
    decay.__name__: decay for decay in (LinearDecay, ExponentialDecay, GeometricDecay)
}
Build = Callable[[Box, int], Network]


class CheckpointError(Exception):
    """A file is not a checkpoint that this version can read; the message says why."""


def take(
    agent: DQN, history: History, replay: bool = True
) -> tuple[str, dict[str, Array]]:
    """The run as text and arrays; without `replay` only the policy.

    Raises CheckpointError for a schedule of your own.
    """
    about: dict[str, Any] = {
        "format": FORMAT,
        "version": version("minidqn"),
        "seed": agent.seed,
    }
    about |= {"n_actions": agent.n_actions, "num_envs": agent.replay.num_envs}
    about |= {"config": settings(agent.config), "layers": _layout(agent.online.layers)}
    about["own_network"] = agent.network is not None
    space = cast(Box, agent.observation_space)
    arrays = {
        "space_low": space.low,
        "space_high": space.high,
        "params": agent.online.params,
    }
    if replay:
        agent.sampler.admit()  # a Ctrl-C may have come between a step and this
        about |= {name: getattr(agent, name) for name in COUNTERS}
        about |= {"adam_t": agent.adam.t, "replay_count": agent.replay.count}
        about["replay_over"] = agent.replay.over
        about |= {
            "rng": agent.rng.bit_generator.state,
            "last_metrics": agent.last_metrics,
        }
        arrays |= _arrays(agent) | _history_arrays(history)
    text = json.dumps(about)
    found = f"{len(text)} characters describe the agent"
    expect(len(text) <= LONGEST_TEXT, found, f"up to {LONGEST_TEXT}", CheckpointError)
    return text, arrays


def restore(
    text: str, shapes: dict[str, Any], get: Callable[..., Array], network: Build | None
) -> tuple[DQN, History]:
    """What `take` wrote: its text, its arrays' shapes, and what reads an array, or rows of it.

    From a policy alone a new run begins, at step 0, with an empty replay buffer.
    """
    _expect(
        len(text) <= LONGEST_TEXT,
        f"{len(text)} characters of text",
        f"up to {LONGEST_TEXT}",
    )
    about = json.loads(text)
    if about["format"] != FORMAT:
        age = "a newer" if about["format"] > FORMAT else "an older"
        made_by = f"{age} minidqn, {about.get('version')}"
        raise CheckpointError(f"is of {made_by}: format {about['format']}")
    # the first files of this format had neither of these
    about = {"own_network": False, "updates_skipped": 0} | about
    if about["own_network"] and network is None:
        raise CheckpointError(
            "has a network of your own: give load the function, network=..."
        )
    whole = "rng" in about  # else it is a policy alone
    for name in ("seed", "n_actions", "num_envs", *(COUNTS if whole else ())):
        count = about[name]
        least = -(2**62) if name == "updates_skipped" else 0
        valid = (
            type(count) is int and least <= count and (name == "seed" or count < 2**62)
        )
        _expect(valid, f"{name} {count!r}", "a count")
    seed, num_envs, n_actions = about["seed"], about["num_envs"], about["n_actions"]
    config = DQNConfig(
        **{name: from_json(value) for name, value in about["config"].items()}
    )
    low, high = get("space_low"), get("space_high")
    space = Box(low, high, dtype=low.dtype.type)

    # Before anything is allocated: do the arrays in the file have the expected shapes?
    expected: dict[str, Any] = {}
    if network is None:
        expected["params"] = (
            sum(layer.size for layer in q_layers(config, space, n_actions)),
        )
    if whole:
        slots = config.buffer_size // max(num_envs, 1) + config.frame_stack
        expected["replay_obs"] = (slots, num_envs, *space.shape)
        if "replay_mask" in shapes:  # else no mask ever came
            expected["replay_mask"] = (slots, num_envs, n_actions)
    for name, shape in expected.items():
        _expect(shapes[name] == shape, f"{name} of shape {shapes[name]}", f"{shape}")

    agent = DQN(space, Discrete(n_actions), config, seed, num_envs, network)
    layout, layers = (
        _layout(agent.online.layers),
        [_layer(*layer) for layer in about["layers"]],
    )
    _expect(layers == layout, f"layers {layers}", f"{layout}")
    views, of_history = {"params": agent.online.params}, {}
    if whole:
        _expect(
            about["rng"]["state"]["inc"] % 2,
            "an even increment of the generator",
            "odd",
        )
        agent.rng.bit_generator.state = about["rng"]
        for name in COUNTERS:
            setattr(agent, name, about[name])
        most = (agent.steps + 1) * config.gradient_steps
        _expect(
            agent.updates_due <= most, "too many updates to be made", f"up to {most}"
        )
        agent.adam.t, agent.replay.count = about["adam_t"], about["replay_count"]
        if about["last_metrics"] is not None:
            agent.last_metrics = Metrics(*map(float, about["last_metrics"]))
        if "replay_mask" in shapes:
            agent.replay.mask.make()
        views, of_history = _arrays(agent), _history_arrays(History())
        if "repeat" not in views:  # the first files of this format always had it
            shapes = {name: shape for name, shape in shapes.items() if name != "repeat"}
    names = sorted(["space_low", "space_high", *views, *of_history])
    _expect(sorted(shapes) == names, f"arrays {sorted(shapes)}", f"{names}")
    for name, view in views.items():
        _expect(
            shapes[name] == view.shape,
            f"{name} of shape {shapes[name]}",
            f"{view.shape}",
        )
        most = max(1, 2**24 * len(view) // max(view.nbytes, 1))  # rows at a time: 16 MB
        for i in range(0, len(view), most):
            part = view[i : i + most]
            part[:] = _checked(
                name, get(name, slice(i, i + len(part))), part.dtype, part.shape
            )
    if not whole:
        agent.target.params[:] = agent.online.params
        return agent, History()
    _check_state(agent)
    agent.replay.over = _over(agent.replay, about)
    return agent, _history(agent, {name: get(name) for name in of_history})


def _rebuild(text: str, arrays: dict[str, Array], network: Build | None) -> DQN:
    shapes = {name: array.shape for name, array in arrays.items()}
    return restore(text, shapes, lambda name, rows=...: arrays[name][rows], network)[0]


copyreg.pickle(DQN, lambda agent: (_rebuild, (*take(agent, History()), agent.network)))


def _arrays(agent: DQN) -> dict[str, Array]:
    """The arrays that an agent is made of: views, to be read by save and written by load."""
    arrays = {
        "params": agent.online.params,
        "target_params": agent.target.params,
        "adam_m": agent.adam.m,
        "adam_v": agent.adam.v,
    }
    for name, array in agent.replay.arrays.items():
        arrays[f"replay_{name}"] = array
    if isinstance(agent.exploration, RepeatedActions):
        arrays["repeat"] = agent.exploration.state
    if isinstance(agent.sampler, PrioritizedSampler):
        for name, array in agent.sampler.arrays.items():
            arrays[f"priority_{name}"] = array
    return arrays


def _history_arrays(history: History) -> dict[str, Array]:
    # an unfinished episode is rows of its number and an action; -1 where it begins
    unfinished = [
        (e.number, action) for e in history.unfinished for action in (-1, *e.actions)
    ]
    pairs = np.array(unfinished, np.int64).reshape(-1, 2)
    return {"history": history.rows, "updates": history.updates, "unfinished": pairs}


def _checked(name: str, array: Array, dtype: Any, shape: tuple[int, ...]) -> Array:
    same = array.shape == shape and array.dtype == dtype
    found = f"{name} of shape {array.shape} and dtype {array.dtype}"
    _expect(same, found, f"{shape} and {np.dtype(dtype)}")
    if array.dtype.kind == "f" and name != "history":  # in which means may be NaN
        _expect(all_finite(array, LARGEST), f"NaN or inf in {name}", "finite numbers")
    if array.dtype.kind == "b":
        _expect(array.view(np.uint8).max() <= 1, f"{name}", "0 and 1")
    return array


def _check_state(agent: DQN) -> None:
    """Whether sampling can rely on the ring: actions in range, a bridge after each end."""
    replay, n_actions, kind = agent.replay, agent.n_actions, agent.replay.kind
    stored = min(replay.count, replay.slots - 1)
    order = np.arange(replay.count - stored, replay.count) % replay.slots
    kinds = kind[order]  # oldest first
    _expect(
        0 <= kind.min() <= kind.max() <= TERMINATED, "an unknown kind of slot", "0 to 3"
    )
    bridge, end = kinds == BRIDGE, kinds >= TRUNCATED
    _expect(bridge[1:][end[:-1]].all(), "an end without a bridge", "one after each")
    too_many = (bridge[2:] & bridge[1:-1] & bridge[:-2]).any() or (
        stored and bridge.all()
    )
    _expect(not too_many, "too many bridges in a row", "at most two")
    _expect(
        (kind[replay.count :] == BRIDGE).all(),
        "data in slots that were never used",
        "none",
    )
    if replay.mask.array is not None:
        after = replay.mask.array[(order + 1) % replay.slots]
        some = (after.any(axis=2) | (kinds == TERMINATED)).all()
        _expect(some, "a mask that allows no action", "one or more")
    of_actions = [replay.action]
    if isinstance(agent.exploration, RepeatedActions):
        of_actions.append(agent.exploration.repeated)
        left, most = agent.exploration.left, agent.config.epsilon_hold
        found = f"{left.max()} steps to repeat"
        _expect(0 <= left.min() <= left.max() < most, found, f"below {most}")
    for actions in of_actions:
        _expect(
            actions.min() >= 0 and actions.max() < n_actions,
            "an action",
            "one in range",
        )
    _expect((agent.adam.v >= 0).all(), "adam_v with negative numbers", "squares")
    if isinstance(agent.sampler, PrioritizedSampler):
        sound = agent.sampler.restore()
        _expect(
            sound,
            "priorities",
            "0 where nothing can be drawn, and none above the largest",
        )


def _over(ring: Replay, about: dict[str, Any]) -> bool:
    """Whether no episode is going on; before the first step the text says it."""
    if ring.count > 0:
        return bool(ring.ended.all())
    if "replay_over" not in about:  # in the first files of this format, the masks tell
        return ring.mask.array is None or not ring.mask.array[0].any()
    _expect(type(about["replay_over"]) is bool, "replay_over", "true or false")
    return bool(about["replay_over"])


def _history(agent: DQN, arrays: dict[str, Array]) -> History:
    rows, updates, unfinished = arrays.values()
    for (name, array), width in zip(arrays.items(), (COLUMNS, METRICS, 2), strict=True):
        _checked(
            name, array, "i8" if name == "unfinished" else "f8", (len(array), width)
        )
    _expect(np.isfinite(rows[:, :3]).all(), "NaN or inf in history", "finite numbers")
    numbers, actions = unfinished.T
    starts = np.flatnonzero(actions == -1)
    each = len(actions) == 0 or (
        actions[0] == -1 and len(starts) == agent.replay.num_envs
    )
    _expect(each, f"{len(starts)} unfinished episodes", "one for each environment")
    _expect(
        ((actions >= -1) & (actions < agent.n_actions)).all(),
        "an action",
        "one in range",
    )
    begun = ((numbers >= 0) & (numbers < agent.resets)).all()
    _expect(
        begun, "an unfinished episode", f"one of the {agent.resets} that have begun"
    )
    pieces = np.split(unfinished, starts[1:]) if len(starts) else []
    episodes = [Unfinished(int(piece[0, 0]), piece[1:, 1].tolist()) for piece in pieces]
    return History(rows, updates, episodes)


def _expect(valid: Any, found: str, expected: str) -> None:
    expect(
        valid, f"does not describe an agent: it has {found}", expected, CheckpointError
    )


def _layout(layers: list[Layer]) -> list[list[Any]]:
    """The kind and size of each layer: what a network must agree in to take the parameters."""
    return [
        _layer(type(la).__name__, la.size, getattr(la, "relu", False)) for la in layers
    ]


def _layer(kind: str, *sizes: Any) -> list[Any]:
    return ["Conv2d" if kind == "CellConv2d" else kind, *sizes]  # the same function


def settings(config: DQNConfig) -> dict[str, Any]:
    """The settings as JSON has them. Raises CheckpointError for a schedule of your own."""
    values: dict[str, Any] = dict(sorted(vars(config).items()))
    for name, value in values.items():
        if type(value) in DECAYS.values():
            values[name] = {type(value).__name__: asdict(value)}
        else:
            expected = f"a number or one of {sorted(DECAYS)}"
            expect(
                not callable(value), f"{name} is {value!r}", expected, CheckpointError
            )
    return values


def from_json(value: Any) -> Any:
    """A setting from what JSON has of it."""
    if isinstance(value, dict):
        ((decay, arguments),) = value.items()
        expect(decay in DECAYS, f"the schedule {decay!r}", f"one of {sorted(DECAYS)}")
        return DECAYS[decay](**arguments)
    return value
