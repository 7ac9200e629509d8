"""All numbers of an agent, in one place: what they mean, and which values are valid."""

import math
from dataclasses import dataclass, fields
from operator import index
from typing import Any

import numpy as np

from minidqn.schedules import LinearDecay, Schedule, bounds_of, make_floats

MAX_COUNT = 2**31 - 1
NORMALIZE = ("bounds", "running")  # how observations may be scaled


@dataclass(frozen=True, kw_only=True, repr=False)
class DQNConfig:
    """The settings of an agent.

    Steps are environment steps, updates are calls of `learn`.

    A setting that is out of its range raises ValueError, which names it. A Schedule is
    a number or a function of the step, such as LinearDecay(1.0, 0.05, 5_000).

    The network: convolutions, then fully connected layers.
        frame_stack     how many of the last observations it sees at once
        conv            for images: channels, kernel and stride of each convolution
        normalize_obs   "bounds" scales entries for which the space gives bounds to -1
                        to 1; "running" scales each entry by its mean and variance in
                        what the agent has observed so far; True is "bounds"
        hidden          widths of the ReLU layers
        layer_norm      normalise what goes into each ReLU
        dueling         learn a state's value and its actions' advantages separately
        quantiles       how many values for each action (QR-DQN); 1 is plain DQN, which
                        learns the mean
        final_gain      scale of the last layer's weights: Q-values start near 0

    The regression:
        gamma           discount for each step: the agent looks about 1 / (1 - gamma)
                        steps ahead
        n_step          how many rewards are summed up before bootstrapping
        double          Double DQN: the online network selects the next action
        huber_delta     errors beyond it count linearly; inf for half the squared error
        batch_size      transitions in an update
        learning_rate   Adam's step size, a Schedule
        max_grad_norm   longer gradients are shortened to it; inf for never

    The replay buffer:
        buffer_size     steps and episode ends that it holds; the oldest are overwritten
        priority_alpha  draw in proportion to (error + 0.01)^alpha; 0 is uniform
        priority_beta   how much the loss corrects for that draw, a Schedule; 1: fully
        learning_starts steps before the first update
        train_every     steps from one round of updates to the next
        gradient_steps  updates in a round

    The target network: target += tau (online - target), every target_every updates.
        tau             1 for a copy
        target_every    updates from one move to the next

    Exploration:
        epsilon         probability of a random action, a Schedule
        epsilon_hold    each random action is repeated for 1 to this many steps; then
                        epsilon is the probability that one begins
        param_noise     noise on the weights, drawn when an episode begins, so large
                        that it then changes this share of the greedy actions; 0: none
        noisy           noisy layers explore; epsilon may then be 0
    """

    frame_stack: int = 1
    conv: tuple[tuple[int, int, int], ...] = ()
    normalize_obs: bool | str = False
    hidden: tuple[int, ...] = (64, 64)
    layer_norm: bool = False
    dueling: bool = False
    quantiles: int = 1
    final_gain: float = 0.1

    gamma: float = 0.99
    n_step: int = 3
    double: bool = True
    huber_delta: float = 1.0
    batch_size: int = 64
    learning_rate: Schedule = 1e-3
    max_grad_norm: float = 10.0

    buffer_size: int = 50_000
    priority_alpha: float = 0.0
    priority_beta: Schedule = LinearDecay(0.4, 1.0, 100_000)
    learning_starts: int = 1_000
    train_every: int = 1
    gradient_steps: int = 1

    tau: float = 0.01
    target_every: int = 1

    epsilon: Schedule = LinearDecay(1.0, 0.05, 5_000)
    epsilon_hold: int = 1
    param_noise: float = 0.0
    noisy: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type is int:
                set_count(self, field.name)
            elif field.type is bool:
                set_flag(self, field.name)
            elif field.type is float:
                make_floats(self, field.name)
            elif field.type == Schedule:
                set_schedule(self, field.name)
        set_normalize_obs(self)
        set_hidden(self)
        set_conv(self)

        for name in ("gamma", "epsilon", "priority_alpha", "priority_beta"):
            values = bounds_of(getattr(self, name))
            self._check(name, all(0.0 <= x <= 1.0 for x in values), "0 to 1")
        for name in ("huber_delta", "max_grad_norm"):
            self._check(name, getattr(self, name) > 0.0, "more than 0")
        noise_fits = 0.0 <= self.param_noise < 1.0
        self._check("param_noise", noise_fits, "0 to less than 1")
        self._check("tau", 0.0 < self.tau <= 1.0, "more than 0, up to 1")
        gain_fits = 0.0 < self.final_gain < math.inf
        self._check("final_gain", gain_fits, "a finite number, more than 0")
        rates = bounds_of(self.learning_rate)
        rates_fit = all(0.0 <= x < 1.0 for x in rates)
        self._check("learning_rate", rates_fit, "0 to less than 1")
        self._check("learning_rate", rates[:1] != (0.0,), "more than 0 at first")

        size_fits = self.batch_size <= self.buffer_size
        self._check("batch_size", size_fits, f"at most buffer_size, {self.buffer_size}")
        start_fits = self.learning_starts >= self.batch_size
        least = f"batch_size, {self.batch_size}, or more"
        self._check("learning_starts", start_fits, least)
        if getattr(self.priority_beta, "per", "step") != "step":
            raise ValueError(
                f"priority_beta is {self.priority_beta}: expected one that counts steps"
            )

    def updates_by(self, steps: int) -> int:
        """How many updates belong to the first `steps` steps.

        From `learning_starts` on, every `train_every` steps, there is a round of
        `gradient_steps` updates.
        """
        past_start = steps - self.learning_starts
        rounds = past_start // self.train_every + 1 if past_start >= 0 else 0
        return rounds * self.gradient_steps

    def _check(self, name: str, valid: bool, expected: str) -> None:
        if not valid:
            raise ValueError(f"{name} is {getattr(self, name)!r}: expected {expected}")

    def __repr__(self) -> str:
        """Only what differs from the defaults."""
        changed = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                changed.append(f"{field.name}={value!r}")
        return f"DQNConfig({', '.join(changed)})"


# Each function below checks one setting, and stores it as plain Python numbers, which a
# checkpoint can hold.


def set_count(config: DQNConfig, name: str) -> None:
    value = getattr(config, name)
    error = ValueError(
        f"{name} is {value!r}: expected an integer of 1 or more, up to {MAX_COUNT}"
    )
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise error
    if not 1 <= value <= MAX_COUNT:
        raise error
    object.__setattr__(config, name, index(value))


def set_flag(config: DQNConfig, name: str) -> None:
    value = getattr(config, name)
    if type(value) not in (bool, np.bool_):
        raise ValueError(f"{name} is {value!r}: expected True or False")
    object.__setattr__(config, name, bool(value))


def set_normalize_obs(config: DQNConfig) -> None:
    value = config.normalize_obs
    if type(value) in (bool, np.bool_):
        object.__setattr__(config, "normalize_obs", "bounds" if value else False)
    elif value not in NORMALIZE:
        raise ValueError(
            f"normalize_obs is {value!r}: expected False, {' or '.join(NORMALIZE)}"
        )


def set_schedule(config: DQNConfig, name: str) -> None:
    value = getattr(config, name)
    if isinstance(value, type):
        raise ValueError(
            f"{name} is the class {value.__name__}: expected one of its objects, such "
            "as LinearDecay(1.0, 0.05, 5_000)"
        )
    if callable(value):
        return
    try:
        object.__setattr__(config, name, float(value))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"{name} is {value!r}: expected a number or a function"
        ) from None


def set_hidden(config: DQNConfig) -> None:
    widths = config.hidden
    try:
        integers = tuple(index(width) for width in widths)
    except TypeError:
        raise ValueError(
            f"hidden is {widths!r}: expected integers, such as (64,)"
        ) from None
    if not all(width > 0 for width in integers):
        raise ValueError(f"hidden is {widths!r}: expected positive widths")
    object.__setattr__(config, "hidden", integers)


def set_conv(config: DQNConfig) -> None:
    layers: Any = config.conv
    error = ValueError(
        f"conv is {layers!r}: expected (channels, kernel, stride) for each layer, "
        "positive integers"
    )
    try:
        integers = tuple(tuple(index(x) for x in layer) for layer in layers)
    except TypeError:
        raise error from None
    if not all(len(layer) == 3 and min(layer) > 0 for layer in integers):
        raise error
    object.__setattr__(config, "conv", integers)
