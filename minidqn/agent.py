"""The agent: Deep Q-learning, put together from the modules beside it.

A Q-value Q(s, a) is the discounted reward to be had after taking action a in
state s and acting well from there on. An agent that knew it would only ever take
the action with the largest. DQN learns a network for it by regression on what
it has seen (Mnih et al. 2015, Algorithm 1); each step of its life is

    act       the greedy action, or with probability epsilon a random one
    observe   store what came of it in the replay buffer
    learn     draw old transitions at random, and move Q(s, a) towards
              R + discount * max Q(s', .)    (targets.py)

Two things keep the regression from chasing its own tail: transitions are drawn
from a long memory and so are nearly independent, and the values on the right
come from a *target network*, a copy of the online one that follows it late.

Letters: B batch, A actions.
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import ArrayLike

from minidqn.adam import Adam, clip_by_global_norm
from minidqn.layers import Array
from minidqn.network import Network, mlp
from minidqn.replay import Replay, checked_obs
from minidqn.schedules import LinearDecay, Schedule, known_values, value_at
from minidqn.targets import double_td_targets, huber_loss, mean_max, td_targets

MOST = 2**31 - 1  # what the compiled loops can count to
FLOATS = (np.float32, np.float64)  # those that a kernel can be compiled for


@dataclass(frozen=True, kw_only=True)
class DQNConfig:
    """Every number of a run. Steps are environment steps, updates are calls of `learn`."""

    # the network: fully connected
    normalize_obs: bool = False  # lay entries that the space bounds onto -1 to 1
    hidden: tuple[int, ...] = (64, 64)  # widths of the ReLU layers
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
    learning_starts: int = 1_000  # steps before the first update
    train_every: int = 1  # steps from one round of updates to the next
    gradient_steps: int = 1  # updates in a round

    # the target network: target += tau (online - target), every target_every updates
    tau: float = 0.01  # 1 for a copy
    target_every: int = 1

    # exploration
    epsilon: Schedule = LinearDecay(1.0, 0.05, 5_000)  # chance of a random action

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
        for name in ("epsilon", "learning_rate"):
            if not callable(getattr(self, name)):
                convert(name, float, "a number or a function of the step")
        check("gamma", 0.0 <= self.gamma <= 1.0, "0 to 1")
        check("tau", 0.0 < self.tau <= 1.0, "more than 0, up to 1")
        for name in ("final_gain", "huber_delta", "max_grad_norm"):
            check(name, getattr(self, name) > 0.0, "more than 0")
        check("final_gain", self.final_gain < math.inf, "a finite number")
        epsilons, rates = known_values(self.epsilon), known_values(self.learning_rate)
        check("epsilon", all(0.0 <= e <= 1.0 for e in epsilons), "0 to 1")
        valid = all(0.0 <= rate < 1.0 for rate in rates) and rates[:1] != [0.0]
        check("learning_rate", valid, "more than 0 at first, and less than 1")
        most, least = self.buffer_size, self.batch_size
        check("batch_size", self.batch_size <= most, f"at most buffer_size, {most}")
        check("learning_starts", self.learning_starts >= least, f"batch_size, {least}, or more")


class Metrics(NamedTuple):
    """What one update saw."""

    loss: float  # mean Huber loss of the batch
    q: float  # mean over the batch of max_a Q(s, a)
    grad_norm: float  # length of the gradient, before clipping


class DQN:
    """A Deep Q-Network agent, for Box observations and Discrete actions.

    `num_envs` environments feed it side by side; `seed` settles the initial weights,
    exploration and sampling; `network` builds a network of your own, from the
    observation space and the number of actions.
    """

    def __init__(
        self,
        observation_space: Space[Any],
        action_space: Space[Any],
        config: DQNConfig | None = None,
        seed: int = 0,
        num_envs: int = 1,
        network: Callable[[Box, int], Network] | None = None,
    ) -> None:
        if not isinstance(observation_space, Box):
            raise TypeError(
                f"observation space {observation_space}: expected a Box; "
                "gymnasium.wrappers.FlattenObservation makes one of Dict, Tuple or Discrete"
            )
        if observation_space.dtype.kind not in "biu" and observation_space.dtype not in FLOATS:
            raise TypeError(
                f"observation space {observation_space}: expected float32, float64 or integers; "
                "gymnasium.wrappers.DtypeObservation makes them"
            )
        if not isinstance(action_space, Discrete) or action_space.start != 0:
            raise TypeError(
                f"action space {action_space}: expected Discrete(n) that starts at 0; "
                "gymnasium.wrappers.DiscretizeAction makes one of a Box; a vector environment "
                "has it as single_action_space"
            )
        self.config = c = config or DQNConfig()
        self.seed, num_envs = operator.index(seed), operator.index(num_envs)
        if self.seed < 0 or num_envs < 1:
            raise ValueError(
                f"seed {seed}, num_envs {num_envs}: expected a seed of 0 or more and 1 or more envs"
            )
        if c.buffer_size // num_envs * num_envs < c.batch_size:
            raise ValueError(
                f"buffer_size {c.buffer_size} over {num_envs} environments: expected room for a "
                f"batch, batch_size {c.batch_size}"
            )
        self.observation_space, self.action_space = observation_space, action_space
        self.n_actions = int(action_space.n)
        shape, dtype = observation_space.shape, observation_space.dtype

        build = network or partial(_mlp, c)
        self.online = build(observation_space, self.n_actions)
        self.target = build(observation_space, self.n_actions)
        q = self.online.forward(np.zeros((1, *shape), dtype))
        if q.shape != (1, self.n_actions):  # the compiled loops rely on it
            raise ValueError(f"the network gives {q.shape[1:]}: expected ({self.n_actions},)")
        if np.shares_memory(self.online.params, self.target.params):
            raise ValueError("`network` gave the same network twice: expected a new one each time")
        self.rng = np.random.default_rng(self.seed)
        self.online.initialize(self.rng)
        self.target.params[:] = self.online.params
        self.adam = Adam(self.online.params)

        self.replay = Replay(c.buffer_size, shape, dtype, self.n_actions, num_envs)
        self.steps = 0  # environment steps observed
        self.updates = 0  # calls of learn
        self.resets = 0  # episodes begun
        self.last_metrics: Metrics | None = None  # of the last update that did not diverge

        # one cache for each use, so that no forward pass disturbs another's backward
        self._act_cache = self.online.cache()
        self._learn_cache = self.online.cache()
        self._next_cache = self.online.cache()
        self._target_cache = self.target.cache()

    @property
    def epsilon(self) -> float:
        """The chance of a random action that the schedule asks for at this step."""
        return value_at(self.config.epsilon, self.steps)

    def q_values(self, obs: ArrayLike) -> Array:
        """Q(s, .) of one observation, (A,), or of a batch, (B, A)."""
        x = self._checked(obs)
        q = self.online.forward(x.reshape(-1, *self.replay.obs_shape), self._act_cache)  # (B, A)
        return q[0].copy() if x.shape == self.replay.obs_shape else q.copy()

    def act(self, obs: ArrayLike, epsilon: float = 0.0) -> Any:
        """An action for one observation (int), or one for each of a batch ((B,) int array).

        Greedy, or random with probability `epsilon`. Among equal Q-values the first
        is taken. epsilon = 0 draws no random number, so it leaves no trace.
        """
        if not 0.0 <= epsilon <= 1.0:
            raise ValueError(f"epsilon is {epsilon!r}: expected 0 to 1")
        x = self._checked(obs)
        if x.shape == self.replay.obs_shape:
            # One draw decides both: given that u < epsilon, u / epsilon is uniform too.
            if epsilon > 0.0 and (u := self.rng.random()) < epsilon:
                return min(int(u / epsilon * self.n_actions), self.n_actions - 1)
            return int(self.online.forward(x[None], self._act_cache).argmax())
        actions = self.online.forward(x, self._act_cache).argmax(axis=1)  # (B,)
        if epsilon > 0.0:
            u_lanes = self.rng.random(len(actions))
            explore = u_lanes < epsilon
            random = (u_lanes[explore] / epsilon * self.n_actions).astype(np.int64)
            actions[explore] = np.minimum(random, self.n_actions - 1)
        return actions

    def _checked(self, obs: ArrayLike) -> Array:
        """`obs` in the space's dtype, finite: one observation, or a batch (B, ...)."""
        return checked_obs(obs, self.replay.obs_shape, self.replay.obs.dtype)

    def begin(self, obs: ArrayLike) -> None:
        """Start from `obs`, what the environment's reset returned; see Replay.begin."""
        try:
            self.replay.begin(obs)
        except (TypeError, ValueError) as error:
            raise type(error)(f"after reset {self.resets}: {error}") from None
        self.resets += 1

    def observe(
        self,
        action: ArrayLike,
        reward: ArrayLike,
        next_obs: ArrayLike,
        terminated: ArrayLike,
        truncated: ArrayLike,
    ) -> None:
        """Store what came of the last action: what the environment's step returned.

        Bare values for a single environment, which then goes on with reset and
        `begin` when its episode has ended; arrays (num_envs, ...) for a vector
        environment with NEXT_STEP autoreset, which goes on by itself. Raises ValueError or
        TypeError, which name the step and the value, before anything is stored.
        """
        try:
            self.steps += self.replay.add(action, reward, next_obs, terminated, truncated)
        except (TypeError, ValueError) as error:
            raise type(error)(f"after step {self.steps + 1}: {error}") from None

    @property
    def updates_due(self) -> int:
        """How many updates the steps so far call for, beyond those made."""
        c = self.config
        if self.steps < c.learning_starts:
            return 0
        rounds = (self.steps - c.learning_starts) // c.train_every + 1
        return max(rounds * c.gradient_steps - self.updates, 0)

    def learn(self) -> Metrics:
        """One update of the online network, from one batch of the replay buffer.

        Raises ValueError while fewer than batch_size steps are stored, and
        FloatingPointError, with the parameters as they were, when the loss diverges.
        """
        c = self.config
        batch = self.replay.sample(c.batch_size, self.rng, c.n_step, c.gamma)

        # what Q(s, a) should have been; a constant, as far as the gradient goes
        q_next = self.target.forward(batch.next_obs, self._target_cache)  # (B, A)
        if c.double:
            q_next_online = self.online.forward(batch.next_obs, self._next_cache)  # (B, A)
            y = double_td_targets(batch.returns, batch.discounts, q_next_online, q_next)  # (B,)
        else:
            y = td_targets(batch.returns, batch.discounts, q_next)  # (B,)

        # what it is, and how the loss changes with every parameter
        q = self.online.forward(batch.obs, self._learn_cache)  # (B, A)
        loss, dq = huber_loss(q, batch.actions, y, c.huber_delta)  # dq (B, A)
        self.online.backward(dq, self._learn_cache)

        # one step downhill, unless there is none to be taken
        grad_norm = clip_by_global_norm(self.online.grads, c.max_grad_norm)
        if not math.isfinite(loss + grad_norm):
            raise FloatingPointError(
                f"update {self.updates + 1} diverged: loss {loss}, gradient norm {grad_norm}; "
                f"the one before it: {self.last_metrics}"
            )
        rate = value_at(c.learning_rate, self.steps)
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"learning rate at step {self.steps} is {rate}: expected 0 to 1")
        self.adam.step(self.online.grads, rate)
        self.updates += 1
        if self.updates % c.target_every == 0:
            self._update_target()
        self.last_metrics = Metrics(loss, mean_max(q), grad_norm)
        return self.last_metrics

    def _update_target(self) -> None:
        if self.config.tau == 1.0:  # an exact copy: x + (y - x) need not be y
            self.target.params[:] = self.online.params
        else:
            self.target.params += self.config.tau * (self.online.params - self.target.params)


def _mlp(config: DQNConfig, space: Box, n_actions: int) -> Network:
    bounds = (space.low, space.high) if config.normalize_obs else None
    return mlp(space.shape, config.hidden, n_actions, config.final_gain, bounds)
