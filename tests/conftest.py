"""What the tests share: environments small enough to solve by hand, and hypothesis' settings."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from hypothesis import settings

from minidqn import History, Metrics
from minidqn.nn.layers import Array

# Deterministic, so that a red run is red again; no deadline, for the first example compiles.
# CI runs the property tests once more with --hypothesis-profile=fresh: examples never tried.
settings.register_profile("fresh", deadline=None, print_blob=True)
settings.register_profile("minidqn", deadline=None, derandomize=True)
settings.load_profile("minidqn")

BROWSERS = (
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    None,
)


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_arrives() -> None:
    """A shell that runs the tests in the background ignores Ctrl-C; so would their runs."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def figures_are_closed() -> Iterator[None]:
    """Pyplot keeps every figure that was not written to a file, and warns of many."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser for the tests of the pages."""
    api = pytest.importorskip("playwright.sync_api", reason="it takes playwright")
    with api.sync_playwright() as playwright:
        for path in BROWSERS:
            if path is None or Path(path).exists():
                try:
                    options: Any = {"executable_path": path, "args": ["--no-sandbox"]}
                    started = playwright.chromium.launch(**options)
                except api.Error as error:
                    pytest.skip(f"there is no Chromium that starts: {str(error)[:200]}")
                yield started
                started.close()
                return


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """Chromium, whose pages are closed after each test: they go on drawing else."""
    yield chromium
    for context in chromium.contexts:
        context.close()


def plain(compiled: Any) -> Callable[..., Any]:
    """The uncompiled Python of a kernel (itself, under NUMBA_DISABLE_JIT=1)."""
    function: Callable[..., Any] = getattr(compiled, "py_func", compiled)
    return function


def add_episode(history: History, episode_return: float, epsilon: float = 0.5) -> None:
    """Add a row: an episode of one step, with one update since the row before."""
    history.add_update(Metrics(loss=0.25, q=1.0, grad_norm=1.0))
    history.add_episode(len(history), epsilon, episode_return, length=1)


class TableEnv(gym.Env[Array, Any]):
    """A deterministic MDP from tables; observations are one-hot.

    next_state and reward are (S, A); a negative next state is the end. An episode
    starts in a state that its seed settles, and is truncated after `limit` steps.
    """

    def __init__(self, next_state: Any, reward: Any, limit: int = 20) -> None:
        self.next_state, self.reward = np.array(next_state), np.array(reward)
        self.n_states, n_actions = self.next_state.shape
        self.limit = limit
        self.observation_space = Box(0.0, 1.0, (self.n_states,), np.float32)
        self.action_space = Discrete(n_actions)
        self.episode = -1  # counts up where no seed is given

    def observation(self) -> Array:
        obs = np.zeros(self.n_states, np.float32)
        obs[max(self.state, 0)] = 1.0
        return obs

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[Array, Any]:
        self.episode = self.episode + 1 if seed is None else seed
        self.state, self.steps = self.episode % self.n_states, 0
        return self.observation(), {}

    def step(self, action: int) -> tuple[Array, float, bool, bool, Any]:
        reward = float(self.reward[self.state, action])
        self.state = int(self.next_state[self.state, action])
        self.steps += 1
        return self.observation(), reward, self.state < 0, self.steps >= self.limit, {}

    def optimal_q(self, gamma: float) -> Array:
        """Q*, (S, A), by iterating Bellman's equation to its fixed point."""
        q = np.zeros(self.next_state.shape)
        for _ in range(2000):
            v_next = np.where(self.next_state < 0, 0.0, q.max(axis=1)[self.next_state])
            q = self.reward + gamma * v_next
        return q
