"""The header of a checkpoint: a line of JSON with everything except the arrays.

For every agent it has the format, the settings, the number of actions and of
environments, and the layers of the network. For a whole run it also has the progress:
the counters, the state of the random generator and the last metrics.

A file may come from an unknown source, so every entry is checked when it is read.
"""

import json
import math
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from minidqn.agent import DQN, Metrics
from minidqn.config import DQNConfig
from minidqn.lab.settings import OWN, from_json, name_of, settings
from minidqn.lab.soundness import CheckpointError
from minidqn.nn.layers import Layer

FORMAT = 1
LONGEST_TEXT = 100_000  # characters; parsed, they take several times as much memory
LARGEST_COUNT = 2**62


@dataclass(frozen=True)
class Progress:
    """How far a run has got."""

    steps: int
    updates: int
    updates_skipped: int
    episodes: int
    adam_t: int  # Adam's steps
    replay_count: int  # slots of the ring completed
    over: bool | None  # no episode is going on; the oldest files do not have it
    rng: dict[str, Any]  # the state of the generator
    last_metrics: Metrics | None

    @property
    def counted(self) -> dict[str, int]:
        """What a schedule may count: see schedules.py."""
        return {"step": self.steps, "update": self.updates, "episode": self.episodes}


@dataclass(frozen=True)
class Header:
    """The content of a header."""

    config: DQNConfig  # with the default where a schedule of your own was
    own_schedules: dict[str, str]  # their names, by setting
    seed: int
    n_actions: int
    num_envs: int
    layers: list[list[Any]]  # see layout
    own_network: bool
    own_agent: str  # the name of your own class, or nothing
    progress: Progress | None  # None if only the policy was saved

    @property
    def slots(self) -> int:
        """Slots of the replay buffer, as replay.py counts them."""
        return self.config.buffer_size // self.num_envs + self.config.frame_stack

    @property
    def stored(self) -> int:
        """How many slots hold a step or a bridge, without those kept for stacks."""
        if self.progress is None:
            return 0
        return min(self.progress.replay_count, self.config.buffer_size // self.num_envs)

    @property
    def begun(self) -> bool:
        """Whether the agent has begun, so that it has a replay buffer."""
        if self.progress is None:
            return False
        return self.progress.replay_count > 0 or self.progress.over is not True

    @property
    def updates_due(self) -> int:
        """How many updates are still to be made; see DQN.updates_due."""
        if self.progress is None:
            return 0
        made = self.progress.updates + self.progress.updates_skipped
        return self.config.updates_by(self.progress.steps) - made


def write_header(agent: DQN, whole: bool) -> str:
    """The line of JSON for an agent; with `whole`, for its run, not only its policy.

    Raises CheckpointError for settings that JSON cannot hold.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": version("minidqn"),
        "seed": agent.seed,
        "n_actions": agent.n_actions,
        "num_envs": agent.replay.num_envs,
        "config": settings(agent.config),
        "layers": layout(agent.online.layers),
        "own_network": agent.network is not None,
        "own_agent": "" if type(agent) is DQN else name_of(type(agent)),
    }
    if whole:
        content.update(progress_of(agent))
    try:
        return json.dumps(content)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"has what JSON cannot hold: {error}") from None


def progress_of(agent: DQN) -> dict[str, Any]:
    """How far the agent has got: see Progress."""
    last_metrics = None
    if agent.last_metrics is not None:  # a loss of your own may give NumPy's numbers
        last_metrics = [float(number) for number in agent.last_metrics]
    return {
        "steps": agent.steps,
        "updates": agent.updates,
        "updates_skipped": agent.updates_skipped,
        "episodes": agent.episodes,
        "adam_t": agent.adam.t,
        "replay_count": agent.replay.count,
        "replay_over": agent.replay.over,
        "rng": agent.rng.bit_generator.state,
        "last_metrics": last_metrics,
    }


def read_header(text: str) -> Header:
    """The header in a line of JSON.

    Raises CheckpointError for values that no agent can have, and other errors, such as
    KeyError, for a line that is no header.
    """
    if len(text) > LONGEST_TEXT:
        raise CheckpointError(
            f"has {len(text)} characters of text: expected up to {LONGEST_TEXT}"
        )
    content = json.loads(text)
    check_format(content)
    config, own_schedules = read_settings(content["config"])
    layers = [same_kind(*layer) for layer in content["layers"]]
    header = Header(
        config=config,
        own_schedules=own_schedules,
        seed=count(content, "seed", most=math.inf),
        n_actions=count(content, "n_actions"),
        num_envs=count(content, "num_envs", least=1),
        layers=layers,
        own_network=bool(content.get("own_network", False)),  # not in the oldest files
        own_agent=str(content.get("own_agent", "")),
        progress=read_progress(content) if "rng" in content else None,
    )
    if header.progress is not None:
        most = (header.progress.steps + 1) * config.gradient_steps
        if header.updates_due > most:
            raise CheckpointError(
                f"has too many updates to be made: expected up to {most}"
            )
    return header


def check_format(content: dict[str, Any]) -> None:
    """Raise CheckpointError for a format that another version of minidqn wrote."""
    found = content["format"]
    if found == FORMAT:
        return
    age = "a newer" if found > FORMAT else "an older"
    raise CheckpointError(
        f"is of {age} minidqn, {content.get('version')}: format {found}"
    )


def read_settings(content: dict[str, Any]) -> tuple[DQNConfig, dict[str, str]]:
    """The settings, and the names of schedules of your own, by setting."""
    values = {}
    own_schedules = {}
    for name, value in content.items():
        if isinstance(value, dict) and value.keys() == {OWN}:
            own_schedules[name] = str(value[OWN])
        else:
            values[name] = from_json(value)
    return DQNConfig(**values), own_schedules


def read_progress(content: dict[str, Any]) -> Progress:
    """How far a run has got."""
    over = content.get("replay_over")
    if "replay_over" in content and type(over) is not bool:
        raise CheckpointError(f"has replay_over {over!r}: expected true or false")
    last_metrics = content["last_metrics"]
    if last_metrics is not None:
        last_metrics = Metrics(*[float(number) for number in last_metrics])
    if "updates_skipped" not in content:  # as in the oldest files
        content = content | {"updates_skipped": 0}
    return Progress(
        steps=count(content, "steps"),
        updates=count(content, "updates"),
        updates_skipped=count(content, "updates_skipped", least=-LARGEST_COUNT),
        episodes=count(content, "episodes"),
        adam_t=count(content, "adam_t"),
        replay_count=count(content, "replay_count"),
        over=over,
        rng=checked_state(content["rng"]),
        last_metrics=last_metrics,
    )


def count(
    content: dict[str, Any], name: str, least: int = 0, most: float = LARGEST_COUNT
) -> int:
    """An entry that is an integer, `least` to `most`, or CheckpointError."""
    number = content[name]
    if type(number) is not int or not least <= number <= most:
        raise CheckpointError(f"has {name} {number!r}: expected a count")
    return number


def checked_state(state: dict[str, Any]) -> dict[str, Any]:
    """A generator's state, after a check that DQN's kind of generator accepts it."""
    if state["state"]["inc"] % 2 == 0:
        raise CheckpointError(
            "has an even increment of the generator: expected an odd one"
        )
    np.random.default_rng(0).bit_generator.state = state  # raises if it does not fit
    return state


def layout(layers: list[Layer]) -> list[list[Any]]:
    """The kind and size of each layer, and whether a ReLU follows.

    A network can take the parameters if all these are the same.
    """
    described = []
    for layer in layers:
        relu = bool(getattr(layer, "relu", False))
        described.append(same_kind(type(layer).__name__, int(layer.size), relu))
    return described


def same_kind(kind: str, *sizes: Any) -> list[Any]:
    """An entry of `layout`. A CellConv2d is a Conv2d that is computed differently."""
    return ["Conv2d" if kind == "CellConv2d" else kind, *sizes]
