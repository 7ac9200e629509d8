"""The six environments of benchmarks/kinds.py keep what their docstrings say."""

import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import kinds
from environments import TASKS

KINDS = [
    kinds.Unscaled,
    kinds.SparseReward,
    kinds.LongWait,
    kinds.ManyActions,
    kinds.NoisyReward,
    kinds.OneStep,
]
EPISODES = 200


def returns_of(env: Any, *, best: bool) -> list[float]:
    """Returns of the best play, or of random play."""
    env.action_space.seed(0)
    returns = []
    for seed in range(EPISODES):
        env.reset(seed=seed)
        total = 0.0
        over = False
        while not over:
            action = env.best_action() if best else env.action_space.sample()
            _, reward, terminated, truncated, _ = env.step(action)
            total += reward
            over = terminated or truncated
        returns.append(total)
    return returns


def said(kind: type) -> list[float]:
    """The numbers of a docstring: what random and best play return, and what is good."""
    text = " ".join((kind.__doc__ or "").split())
    pattern = (
        r"Random play returns ([\d.]+)(?: on average)?, the best play ([\d.]+); "
        r"([\d.]+) is good"
    )
    match = re.search(pattern, text)
    assert match is not None, text
    return [float(number) for number in match.groups()]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_an_environment_as_gymnasium_has_them(kind: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(kind(), skip_render_check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_play_returns_what_the_docstring_says(kind: Any) -> None:
    random, best, good = said(kind)
    for expected, is_best in ((random, False), (best, True)):
        returns = returns_of(kind(), best=is_best)
        error = np.std(returns) / np.sqrt(EPISODES)
        rounding = 0.5 if expected >= 5 else 0.05
        assert abs(np.mean(returns) - expected) < rounding + 3 * error
    assert random < good < best
    assert TASKS[kind.__name__].good == good


def test_the_corridor_rewards_its_end_alone() -> None:
    env = kinds.SparseReward()
    env.reset(seed=0)
    for _ in range(env.cells - 2):
        _, reward, terminated, truncated, _ = env.step(env.best_action())
        assert (reward, terminated, truncated) == (0.0, False, False)
    _, reward, terminated, truncated, _ = env.step(env.best_action())
    assert (reward, terminated, truncated) == (1.0, True, False)


@pytest.mark.parametrize("right", [True, False])
def test_the_choice_is_paid_after_the_wait_whatever_is_done_then(right: bool) -> None:
    env = kinds.LongWait()
    env.reset(seed=0)
    action = env.best_action()
    env.step(action if right else 1 - action)
    env.action_space.seed(0)
    for _ in range(env.wait - 1):
        _, reward, terminated, _, _ = env.step(env.action_space.sample())
        assert (reward, terminated) == (0.0, False)
    _, reward, terminated, _, _ = env.step(env.action_space.sample())
    assert (reward, terminated) == (1.0 if right else -1.0, True)
