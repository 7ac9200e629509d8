"""Six small environments, each of another kind, to see what plain settings can learn.

    Unscaled        observations in the hundreds
    SparseReward    a reward at the end alone
    LongWait        a choice whose reward comes 120 steps later
    ManyActions     50 actions, one of which is right
    NoisyReward     a small difference of means under a large standard deviation
    OneStep         episodes of one step: a contextual bandit

A docstring says what random play returns, what the best play returns, and what is good.
`best_action` is the best play. This module needs Gymnasium and NumPy alone, so other libraries can
be trained here, too.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

Array = NDArray[Any]
Step = tuple[Array, float, bool, bool, dict[str, Any]]


def one_hot(place: int, size: int) -> Array:
    """A vector of zeros with a 1 at `place`: (size,)."""
    vector = np.zeros(size, np.float32)
    vector[place] = 1.0
    return vector


class Unscaled(gym.Env[Array, Any]):
    """Keep a boiler at its target. Both temperatures are in the hundreds.

    In each of 50 steps it can be cooled, left or heated, by 3 degrees, and changes by
    up to 1 more. A step within 3 degrees of the target is worth 1. Random play returns
    8, the best play 49; 43 is good.
    """

    def __init__(self) -> None:
        self.observation_space = Box(100.0, 600.0, (2,), np.float32)
        self.action_space = Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.target = 350 + int(self.np_random.integers(-20, 21))
        self.heat = self.target + int(self.np_random.integers(-15, 16))
        self.steps = 0
        return self.observation(), {}

    def step(self, action: Any) -> Step:
        self.heat += 3 * (int(action) - 1) + int(self.np_random.integers(-1, 2))
        self.heat = min(max(self.heat, 100), 600)
        self.steps += 1
        reward = 1.0 if abs(self.heat - self.target) <= 3 else 0.0
        return self.observation(), reward, False, self.steps >= 50, {}

    def observation(self) -> Array:
        return np.array([self.heat, self.target], np.float32)

    def best_action(self) -> int:
        too_hot = self.heat - self.target
        if abs(too_hot) <= 1:
            return 1
        return 0 if too_hot > 0 else 2


class SparseReward(gym.Env[Array, Any]):
    """Walk along a corridor of 20 cells. The last one is worth 1, all others nothing.

    An action goes forward or back. In odd cells the two are swapped, so no untrained
    policy gets there by luck. After 100 steps it is over. Random play returns 0.1, the
    best play 1; 0.95 is good.
    """

    cells = 20

    def __init__(self) -> None:
        self.observation_space = Box(0.0, 1.0, (self.cells,), np.float32)
        self.action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.cell = 0
        self.steps = 0
        return one_hot(self.cell, self.cells), {}

    def step(self, action: Any) -> Step:
        forward = int(action) == self.best_action()
        self.cell = self.cell + 1 if forward else max(self.cell - 1, 0)
        self.steps += 1
        at_end = self.cell == self.cells - 1
        reward = 1.0 if at_end else 0.0
        obs = one_hot(self.cell, self.cells)
        return obs, reward, at_end, self.steps >= 100 and not at_end, {}

    def best_action(self) -> int:
        return 1 - self.cell % 2


class LongWait(gym.Env[Array, Any]):
    """The first action decides, and 120 steps later it is worth 1 or -1.

    It is right if it is the signal's. The actions of the wait do nothing. Observed are
    the signal, -1 or 1; the choice, 0 before it is made; and the share of the wait that
    is left. Random play returns 0, the best play 1; 0.9 is good.
    """

    wait = 120

    def __init__(self) -> None:
        self.observation_space = Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.signal = 2 * int(self.np_random.integers(2)) - 1
        self.choice = 0
        self.left = self.wait
        return self.observation(), {}

    def step(self, action: Any) -> Step:
        if self.choice == 0:
            self.choice = 2 * int(action) - 1
            return self.observation(), 0.0, False, False, {}
        self.left -= 1
        over = self.left == 0
        reward = float(self.choice * self.signal) if over else 0.0
        return self.observation(), reward, over, False, {}

    def observation(self) -> Array:
        return np.array([self.signal, self.choice, self.left / self.wait], np.float32)

    def best_action(self) -> int:
        return (self.signal + 1) // 2


class ManyActions(gym.Env[Array, Any]):
    """One of 50 actions is right, another one in each of 20 states, and worth 1.

    The next state is random. An episode has 20 steps. Random play returns 0.4, the best
    play 20; 18 is good.
    """

    states = 20
    actions = 50

    def __init__(self) -> None:
        self.observation_space = Box(0.0, 1.0, (self.states,), np.float32)
        self.action_space = Discrete(self.actions)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(self.states))
        self.steps = 0
        return one_hot(self.state, self.states), {}

    def step(self, action: Any) -> Step:
        reward = 1.0 if int(action) == self.best_action() else 0.0
        self.state = int(self.np_random.integers(self.states))
        self.steps += 1
        return one_hot(self.state, self.states), reward, False, self.steps >= 20, {}

    def best_action(self) -> int:
        return (7 * self.state + 3) % self.actions


class NoisyReward(gym.Env[Array, Any]):
    """One of three actions is worth 1 on average, the others 0; the noise is 4.

    The noise is a standard deviation. The right action is another one in each of five
    states, and the next state is random. An episode has 10 steps. Random play returns
    3.3 on average, the best play 10; 8 is good.
    """

    states = 5

    def __init__(self) -> None:
        self.observation_space = Box(0.0, 1.0, (self.states,), np.float32)
        self.action_space = Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(self.states))
        self.steps = 0
        return one_hot(self.state, self.states), {}

    def step(self, action: Any) -> Step:
        mean = 1.0 if int(action) == self.best_action() else 0.0
        reward = float(self.np_random.normal(mean, 4.0))
        self.state = int(self.np_random.integers(self.states))
        self.steps += 1
        return one_hot(self.state, self.states), reward, False, self.steps >= 10, {}

    def best_action(self) -> int:
        return self.state % 3


class OneStep(gym.Env[Array, Any]):
    """See a point of a square, and say which of its quarters it is in. Then it is over.

    The right one of the four actions is worth 1. Random play returns 0.25, the best
    play 1; 0.95 is good.
    """

    def __init__(self) -> None:
        self.observation_space = Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = Discrete(4)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.point = self.np_random.uniform(-1.0, 1.0, 2).astype(np.float32)
        return self.point.copy(), {}

    def step(self, action: Any) -> Step:
        reward = 1.0 if int(action) == self.best_action() else 0.0
        return self.point.copy(), reward, True, False, {}

    def best_action(self) -> int:
        x, y = self.point
        return 2 * int(x > 0.0) + int(y > 0.0)
