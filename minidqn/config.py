"""Every number of a run, in one place, and the tuned ones for known environments."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from minidqn.schedules import LinearDecay, Schedule, known_values

MOST = 2**31 - 1  # what the compiled loops can count to


@dataclass(frozen=True, kw_only=True)
class DQNConfig:
    """Every number of a run. Steps are environment steps, updates are calls of `learn`."""

    # the network: fully connected
    normalize_obs: bool = False  # lay entries that the space bounds onto -1 to 1
    hidden: tuple[int, ...] = (64, 64)  # widths of the ReLU layers
    layer_norm: bool = False  # normalise what goes into each ReLU
    dueling: bool = False  # learn a state's value apart from its actions' advantages
    quantiles: int = 1  # QR-DQN: values for each action; 1 is plain DQN, which learns the mean
    final_gain: float = 0.1  # scale of the last layer's weights: Q-values start near 0

    # the regression
    gamma: float = 0.99  # discount for each step: rewards count for about 1 / (1 - gamma) steps
    n_step: int = 3  # rewards summed up before bootstrapping
    double: bool = True  # Double DQN: the online network picks the bootstrap action
    huber_delta: float = 1.0  # errors beyond it count linearly; inf for (half) the squared error
    batch_size: int = 64  # transitions in an update
    learning_rate: Schedule = 1e-3  # Adam's; a number or a function of the step
    max_grad_norm: float = 10.0  # longer gradients are shortened to it; inf for never

    # the replay buffer
    buffer_size: int = 50_000  # steps it holds, before the oldest are overwritten
    priority_alpha: float = 0.0  # draw in proportion to error^alpha; 0 is uniform
    priority_beta: Schedule = LinearDecay(0.4, 1.0, 100_000)  # how far weights make up for it
    learning_starts: int = 1_000  # steps before the first update
    train_every: int = 1  # steps from one round of updates to the next
    gradient_steps: int = 1  # updates in a round

    # the target network: target += tau (online - target), every target_every updates
    tau: float = 0.01  # 1 for a copy
    target_every: int = 1

    # exploration
    epsilon: Schedule = LinearDecay(1.0, 0.05, 5_000)  # chance of (starting) a random action,
    epsilon_hold: int = 1  # which is held for 1 to so many steps
    noisy: bool = False  # weights that are random and learn how random; epsilon may then be 0

    @classmethod
    def for_env(cls, env_id: str, steps: int | None = None, **changes: Any) -> "DQNConfig":
        """The tuned settings of an environment in TUNED, with `changes`.

        They were tuned for TUNED[env_id].steps; for other `steps` their decays take the same
        share of the run. Raises ValueError for an unknown environment.
        """
        if env_id not in TUNED:
            raise ValueError(f"env_id is {env_id!r}: expected one of {', '.join(TUNED)}")
        tuned = TUNED[env_id]
        stretch = 1.0 if steps is None else steps / tuned.steps
        settings: dict[str, Any] = {
            name: replace(value, steps=value.steps * stretch)
            if isinstance(value, LinearDecay)
            else value
            for name, value in tuned.settings.items()
        }
        return cls(**settings | changes)

    def __post_init__(self) -> None:
        def check(name: str, valid: bool, expected: str) -> None:
            if not valid:
                raise ValueError(f"{name} is {getattr(self, name)!r}: expected {expected}")

        def convert(name: str, to: Callable[[Any], Any], expected: str) -> None:
            """NumPy's numbers are welcome, but Python's are kept: those can be saved."""
            try:
                object.__setattr__(self, name, to(getattr(self, name)))
            except (TypeError, ValueError):
                check(name, False, expected)

        convert("hidden", lambda widths: tuple(map(operator.index, widths)), "integers")
        check("hidden", all(width > 0 for width in self.hidden), "positive widths")
        for field in fields(self):
            if field.type is int:
                expected = f"an integer of 1 or more, up to {MOST}"
                convert(field.name, operator.index, expected)
                check(field.name, 1 <= getattr(self, field.name) <= MOST, expected)
            elif field.type is float:
                convert(field.name, float, "a number")
            elif field.type is bool:
                check(field.name, getattr(self, field.name) in (True, False), "True or False")
                convert(field.name, bool, "True or False")
        for name in ("epsilon", "learning_rate", "priority_beta"):
            if not callable(getattr(self, name)):
                convert(name, float, "a number or a function of the step")
        for name in ("gamma", "priority_alpha"):
            check(name, 0.0 <= getattr(self, name) <= 1.0, "0 to 1")
        check("tau", 0.0 < self.tau <= 1.0, "more than 0, up to 1")
        for name in ("final_gain", "huber_delta", "max_grad_norm"):
            check(name, getattr(self, name) > 0.0, "more than 0")
        check("final_gain", self.final_gain < math.inf, "a finite number")
        for name in ("epsilon", "priority_beta"):
            check(name, all(0.0 <= v <= 1.0 for v in known_values(getattr(self, name))), "0 to 1")
        rates = known_values(self.learning_rate)
        valid = all(0.0 <= rate < 1.0 for rate in rates) and rates[:1] != [0.0]
        check("learning_rate", valid, "more than 0 at first, and less than 1")
        most, least = self.buffer_size, self.batch_size
        check("batch_size", self.batch_size <= most, f"at most buffer_size, {most}")
        check("learning_starts", self.learning_starts >= least, f"batch_size, {least}, or more")


class Tuned(NamedTuple):
    """What a known environment takes to be learned."""

    steps: int  # of training that the settings are for
    solved_at: float  # mean return over 100 episodes that counts as solved
    settings: dict[str, Any]  # of DQNConfig


# Tuned on seeds from 1000 up. Learning rates fall to 0, for the last policy is to be the
# good one.
TUNED = {
    "CartPole-v1": Tuned(
        steps=40_000,
        solved_at=475.0,
        settings={
            "normalize_obs": True,  # an angle of 0.2 is as much to it as a position of 2.4
            "hidden": (64, 64),
            # A cart that drifts off falls hundreds of steps later: look far ahead,
            "gamma": 0.995,
            # and let a fall be felt 40 steps back at once, instead of step by step.
            "n_step": 40,
            "batch_size": 128,
            "train_every": 4,  # more experience for each update keeps the policy steady
            "learning_rate": LinearDecay(3e-3, 0.0, 40_000),
            "epsilon": LinearDecay(1.0, 0.1, 4_000),
            "learning_starts": 200,
        },
    ),
    "Acrobot-v1": Tuned(
        steps=100_000,
        solved_at=-100.0,
        settings={
            "hidden": (128, 128),
            "n_step": 2,
            "huber_delta": 10.0,
            "batch_size": 128,
            "train_every": 2,
            "learning_rate": LinearDecay(2e-3, 0.0, 100_000),
            "epsilon": LinearDecay(1.0, 0.02, 10_000),
            "buffer_size": 30_000,
        },
    ),
    "MountainCar-v0": Tuned(
        steps=60_000,
        solved_at=-110.0,
        settings={
            "normalize_obs": True,
            # Dithering never leaves the valley, so there would be no first reward to learn
            # from. Holding a random action swings the car up in one episode of ten.
            "epsilon": LinearDecay(1.0, 0.01, 15_000),
            "epsilon_hold": 40,
            "n_step": 10,
            "batch_size": 128,
            "train_every": 2,
            "learning_rate": LinearDecay(3e-3, 0.0, 60_000),
            "buffer_size": 60_000,  # all of it: the first successes are rare
        },
    ),
    "LunarLander-v3": Tuned(
        steps=300_000,
        solved_at=200.0,
        settings={
            "hidden": (128, 128),
            "layer_norm": True,
            "n_step": 10,
            "huber_delta": 10.0,  # a landing is worth 100
            "batch_size": 128,
            "train_every": 4,
            "learning_rate": LinearDecay(2e-3, 0.0, 300_000),
            "epsilon": LinearDecay(1.0, 0.02, 30_000),
            # What earlier policies did says little of the present one: 300,000 is worse by 60.
            "buffer_size": 50_000,
        },
    ),
    "ALE/Breakout-v5": Tuned(  # from obs_type="ram": examples/breakout_ram.py
        steps=2_000_000,
        solved_at=31.8,  # a person's score (Mnih et al. 2015)
        settings={
            "normalize_obs": True,
            "hidden": (128, 128),
            "layer_norm": True,
            "quantiles": 10,
            # More steps would be of older, worse policies: 182 from 1 step, 113 from 3 (after
            # 500,000 steps, seed 1000).
            "n_step": 1,
            "batch_size": 128,
            "train_every": 4,
            "learning_rate": LinearDecay(1e-3, 0.0, 2_000_000),
            "epsilon": LinearDecay(1.0, 0.01, 100_000),
            "buffer_size": 500_000,
            "tau": 0.005,
        },
    ),
}
