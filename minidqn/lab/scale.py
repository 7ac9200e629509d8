"""Whether observations and rewards have a scale that a network learns from.

It is looked at once in a run, when some hundreds of steps are stored. A scale that is
far from 1 is said in a warning, which names what helps. Nothing is changed.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from minidqn.agent import DQN
from minidqn.batch import BRIDGE
from minidqn.lab.history import History
from minidqn.nn.layers import Array
from minidqn.parts.normalize import Normalize

LARGE = 10.0  # well above 1: the root of the mean square of an entry, or a reward
SMALL = 0.01  # the standard deviation of an entry: well below 1
FEWEST = 500  # steps before which too little was observed to judge
OBSERVATIONS = 10_000  # that are looked at, at most
NORMALIZERS = (
    gym.wrappers.NormalizeObservation,
    gym.wrappers.vector.NormalizeObservation,
)
NEAR_ONE = "a network learns best from numbers near 1"
WIDE = "; the bounds of the observation space are far too wide"
RUNNING = (
    'normalize_obs="running" scales each entry by what was observed (on the command '
    "line, --set normalize_obs=running)"
)


def look_at_scale(agent: DQN) -> Callable[[DQN, History], None]:
    """A watcher that warns of the scale once, unless it was looked at before."""
    known = agent.steps > FEWEST

    def watch(agent: DQN, history: History) -> None:
        nonlocal known
        if not known and agent.steps >= FEWEST:
            known = True
            warn_of_scale(agent)
            warn_of_rewards(agent)

    return watch


def warn_of_rewards(agent: DQN) -> None:
    """Warn if most rewards are so large that Q-values can hardly reach their sums.

    A few may be: CliffWalking has steps of -1 and falls of -100, and is learned.
    """
    ring = agent.replay
    stored = min(ring.count, ring.slots)
    taken = ring.kind[:stored] != BRIDGE  # a bridge has no reward
    sizes = np.abs(ring.reward[:stored][taken])  # (N,)
    sizes = sizes[sizes > 0.0]
    if len(sizes) > 0 and np.quantile(sizes, 0.25) > LARGE:
        size = float(np.median(sizes))
        divisor = 10 ** round(math.log10(size))
        say(
            f"the rewards are about {size:.3g}, or minus that: {NEAR_ONE}; for "
            "training, gymnasium.wrappers.TransformReward(env, lambda r: r / "
            f"{divisor}) divides them",
            frames=5,
        )


def warn_of_scale(agent: DQN) -> None:
    """Warn if the network sees numbers that are far too large, or all but equal."""
    config = agent.config
    if config.conv or agent.network is not None:
        return
    seen = observations(agent)  # (N, D)
    if config.normalize_obs == "bounds":
        space: Any = agent.observation_space
        layer = Normalize(space.low, space.high)
        does_nothing = (layer.scale == 1.0).all() and (layer.shift == 0.0).all()
        if does_nothing:
            say(
                'normalize_obs="bounds" does nothing: the observation space has no '
                f"bounds, or those of -1 to 1; {RUNNING}",
                frames=5,
            )
        judge(seen * layer.scale + layer.shift, agent, WIDE)
    elif config.normalize_obs is False:
        judge(seen, agent, "")


def judge(seen: Array, agent: DQN, why: str) -> None:
    """Warn of what the network sees, (N, D); `why` is a reason for small numbers."""
    sizes = np.sqrt(np.mean(seen**2, axis=0))  # (D,)
    spreads = np.std(seen, axis=0)  # (D,)
    spreads[spreads == 0.0] = math.inf  # a constant entry teaches nothing anyway
    # an integer, such as a byte that counts, may rightly change seldom
    small_is_wrong = agent.replay.dtype.kind == "f"

    if sizes.max() > LARGE:
        entry = int(sizes.argmax())
        say(
            f"entry {entry} of the observations is about {sizes[entry]:.3g}: "
            f"{NEAR_ONE}; {RUNNING}"
        )
    elif spreads.min() < SMALL and small_is_wrong:
        entry = int(spreads.argmin())
        say(
            f"entry {entry} of the observations varies by {spreads[entry]:.3g} alone: "
            f"{NEAR_ONE}{why}; {RUNNING}"
        )


def observations(agent: DQN) -> Array:
    """What is stored, as rows: (N, D)."""
    ring = agent.replay
    stored = min(ring.count, ring.slots)
    slots = max(OBSERVATIONS // ring.num_envs, 1)
    rows: Array = ring.obs[: min(stored, slots)].astype(np.float64)
    return rows.reshape(-1, math.prod(ring.obs_shape))


def warn_of_wrapper(env: Any) -> None:
    """Gymnasium's NormalizeObservation keeps its statistics away from the agent."""
    while isinstance(env, gym.Wrapper | gym.vector.VectorWrapper):
        if isinstance(env, NORMALIZERS):
            say(
                "NormalizeObservation keeps mean and variance in the wrapper: an "
                "environment for tests has others, and a saved agent has none; "
                'normalize_obs="running" keeps them in the agent',
                frames=4,
            )
            return
        env = env.env


def say(text: str, frames: int = 6) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=frames)  # at the call of train
