"""The final test of a run, and its results in numbers: the content of summary.json."""

import hashlib
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from threadpoolctl import threadpool_info

from minidqn.agent import DQN
from minidqn.lab.evaluation import check_test, play_test, warn_of_cut
from minidqn.lab.history import History, rolling_mean
from minidqn.lab.identity import Json
from minidqn.lab.spec import Spec
from minidqn.nn.layers import Array

LONG_TEST = 1_000_000  # steps of a final test that takes minutes
POINTS = 100  # of the learning curve


def final_test(
    spec: Spec, agent: DQN, env: gym.Env[Any, Any], progress: bool
) -> tuple[Array, int]:
    """The returns of the test's episodes, and how many were cut at test_max_steps.

    If no episode has ended in training, and the test may be very long, it stops after
    its first episode, unless that one ends.
    """
    check_test(agent, env)
    longest = spec.test_max_steps
    play = partial(
        play_test,
        agent,
        env,
        seed=spec.seed,
        epsilon=spec.test_epsilon,
        max_steps=longest,
        reseed=spec.reseed,
        progress=progress,
    )
    if agent.episodes == 0 and spec.test_episodes * longest > LONG_TEST:
        returns, _, cut = play(episodes=1)
        if cut:
            warnings.warn(
                "no episode has ended in training, nor has the first of the test in "
                f"{longest} steps, so it is the only one: --test-max-steps 1000 (in a "
                "Spec, test_max_steps) cuts all of them there",
                RuntimeWarning,
                stacklevel=3,
            )
            return returns, cut
    returns, _, cut = play(episodes=spec.test_episodes)
    warn_of_cut(cut, spec.test_episodes, longest)
    return returns, cut


def outcome(
    spec: Spec,
    agent: DQN,
    history: History,
    returns: Array,
    cut: int,
    seconds: float | None,
) -> Json:
    """The numbers that came of a run.

    `returns` of the test, (episodes,), of which `cut` episodes had not ended; `seconds`
    of training, None if it was resumed.
    """
    threshold = spec.threshold()
    return {
        "solved_at": threshold if threshold < float("inf") else None,
        "steps": agent.steps,
        "updates": agent.updates,
        "train_seconds": seconds,
        "blas": blas(),
        "params_sha256": hashlib.sha256(agent.online.params.tobytes()).hexdigest(),
        "eval_mean": returns.mean(),
        "eval_std": returns.std(),
        "eval_min": returns.min(),
        "eval_returns": returns.tolist(),
        "eval_cut": cut,
        "curve": learning_curve(history, agent.steps),
        "tests": history.tests.about(),
    }


def blas() -> list[str]:
    """Which library multiplied NumPy's matrices: each processor has its own rounding.

    OpenCV and SciPy load libraries of their own, which no agent uses. The one of NumPy
    lies in its folder or beside it (numpy.libs), if NumPy was installed as a wheel.
    """
    loaded = [library for library in threadpool_info() if library["user_api"] == "blas"]
    of_numpy = str(Path(np.__file__).resolve().parent)
    used = [library for library in loaded if library["filepath"].startswith(of_numpy)]
    found = []
    for library in used or loaded:
        kind = library.get("architecture", "")
        found.append(f"{library['internal_api']} {library['version']} {kind}")
    return sorted(found)  # they are loaded in any order


def learning_curve(history: History, steps: int) -> Json:
    """Mean return of the last 20 episodes, at 100 moments up to `steps`.

    It is None before the first episode has ended.
    """
    moments = np.linspace(0, steps, POINTS + 1)[1:]
    ended_by = np.searchsorted(history["step"], moments, side="right")
    means = rolling_mean(history["episode_return"]).tolist()
    returns = [means[ended - 1] if ended > 0 else None for ended in ended_by]
    return {"steps": moments.tolist(), "mean_return": returns}
