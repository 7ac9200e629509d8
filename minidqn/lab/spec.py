"""One run: what it is, as plain data, and how it is made."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from minidqn.agent import DQN
from minidqn.checks import probability
from minidqn.config import DQNConfig
from minidqn.lab.checkpoint import load_run, save
from minidqn.lab.expect import expect
from minidqn.lab.folder import AGENT, CHECKPOINT, HISTORY, Json, normal
from minidqn.lab.history import History
from minidqn.lab.plotting import rolling_mean
from minidqn.lab.snapshot import settings
from minidqn.lab.training import evaluate, train
from minidqn.nn.layers import Array

POINTS, WINDOW = (
    100,
    20,
)  # of the learning curve in a summary; episodes that a point is a mean of


@dataclass(frozen=True)
class Spec:
    """One run: all that it takes to make it, here or on another machine.

    `make_env`, if given, makes the environment instead of gymnasium.make(env_id), and takes
    its options. `train_wrapper` wraps it for training only, and may change its rewards. The
    test has `test_episodes` episodes; an action is random with probability `test_epsilon`. The
    task is solved if the mean return is `solved_at` or more, by default the environment's own.
    `name` is the folder of the run in a sweep, by default env_id/seed; all but its last part is
    shared by runs that differ only in their seeds.
    """

    env_id: str
    config: DQNConfig
    steps: int
    seed: int = 0
    name: str = ""
    make_env: Callable[..., gym.Env[Any, Any]] | None = None
    train_wrapper: Callable[[Any], gym.Env[Any, Any]] | None = None
    solved_at: float | None = None
    test_epsilon: float = 0.0
    test_episodes: int = 100

    def __post_init__(self) -> None:
        name = f"{self.env_id.replace(':', '.')}/{self.seed}"  # no folder of Windows has a colon
        object.__setattr__(self, "name", self.name or name)
        probability("test_epsilon", self.test_epsilon)
        expect(
            self.test_episodes >= 1,
            f"test_episodes is {self.test_episodes}",
            "1 or more",
        )

    def make(self, *, training: bool = False, **options: Any) -> gym.Env[Any, Any]:
        """The environment: of the test, or the one to train in."""
        env = (
            self.make_env(**options)
            if self.make_env
            else gym.make(self.env_id, **options)
        )
        return self.train_wrapper(env) if training and self.train_wrapper else env

    def threshold(self) -> float:
        """The mean return from which it is solved; inf if nobody said."""
        spec = gym.registry.get(self.env_id.split(":")[-1])  # without its module
        known = (
            spec.reward_threshold if spec and self.solved_at is None else self.solved_at
        )
        return float("inf") if known is None else known

    def about(self) -> Json:
        """What makes this run another one: a folder takes only runs in which all is equal."""
        about = {"env_id": self.env_id, "seed": self.seed, "steps": self.steps}
        about |= {
            name: named(getattr(self, name)) for name in ("make_env", "train_wrapper")
        }
        about |= {
            "test_epsilon": self.test_epsilon,
            "test_episodes": self.test_episodes,
        }
        return normal(about | settings(self.config))

    def outcome(
        self, agent: DQN, history: History, returns: Array, seconds: float | None
    ) -> Json:
        """The numbers that came of it. `seconds` of training, None if it was resumed."""
        digest = hashlib.sha256(agent.online.params.tobytes()).hexdigest()
        threshold = self.threshold()
        run: Json = {"solved_at": threshold if threshold < float("inf") else None}
        run |= {"steps": agent.steps, "updates": agent.updates}
        run |= {"train_seconds": seconds, "params_sha256": digest}
        run |= {
            "eval_mean": returns.mean(),
            "eval_std": returns.std(),
            "eval_min": returns.min(),
        }
        curve = learning_curve(history, agent.steps)
        return normal(run | {"eval_returns": returns.tolist(), "curve": curve})


def named(value: Any) -> Any:
    """A function's name, with what a partial one is given; any other value as it is."""
    if isinstance(value, partial):
        keywords = {name: named(given) for name, given in value.keywords.items()}
        return f"{named(value.func)} {tuple(map(named, value.args))} {keywords}"
    name = getattr(value, "__qualname__", None)
    if name:
        return f"{value.__module__}.{name}"
    expected = "functions, classes and plain data, which are the same in every process"
    expect(
        " at 0x" not in repr(value),
        f"make_env or train_wrapper has {value!r}",
        expected,
    )
    return value


def train_and_test(spec: Spec, folder: Path, checkpoint_seconds: float = 60.0) -> Json:
    """Train an agent, or go on from its checkpoint, and test its last policy."""
    path, start = folder / CHECKPOINT, time.perf_counter()
    with spec.make(training=True) as env:
        if path.exists():
            agent, history = load_run(path)
        else:
            agent = DQN(env.observation_space, env.action_space, spec.config, spec.seed)
            history = History()
        resumed, due = agent.steps > 0, start + checkpoint_seconds

        def checkpoint(agent: DQN, history: History) -> None:
            nonlocal due
            if time.perf_counter() >= due:
                save(agent, path, history)
                due = time.perf_counter() + checkpoint_seconds

        left = spec.steps - agent.steps
        if left > 0:
            train(agent, env, left, history=history, on_step=checkpoint, progress=False)
    seconds = None if resumed else time.perf_counter() - start
    with spec.make() as env:
        options: Any = {"epsilon": spec.test_epsilon, "progress": False}
        returns = evaluate(agent, env, spec.test_episodes, spec.seed, **options)
    save(agent, folder / AGENT, replay=False)
    history.write_csv(folder / HISTORY)
    return spec.outcome(agent, history, returns, seconds)


def learning_curve(history: History, steps: int) -> list[float | None]:
    """Mean return of the last 20 episodes, at 100 moments up to `steps`; None before the first."""
    moments = np.linspace(0, steps, POINTS + 1)[1:]
    ended = np.searchsorted(history["step"], moments, side="right")  # episodes, by then
    means = [*rolling_mean(history["episode_return"], WINDOW).tolist(), None]
    return [means[number - 1] for number in ended]  # -1 is the last: None
