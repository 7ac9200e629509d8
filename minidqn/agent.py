"""The agent: Deep Q-learning, put together from the modules beside it.

A Q-value Q(s, a) is the discounted reward to be had after taking action a in
state s and acting well from there on. An agent that knew it would only ever take
the action with the largest. DQN learns a network for it by regression on what
it has seen (Mnih et al. 2015, Algorithm 1); each step of its life is

    explore   the greedy action, or with probability epsilon a random one
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
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import ArrayLike

from minidqn.adam import Adam, clip_by_global_norm
from minidqn.config import DQNConfig
from minidqn.layers import Array, Cache
from minidqn.network import Network, mlp
from minidqn.prioritized import PrioritizedReplay
from minidqn.replay import Replay, checked_mask, checked_obs
from minidqn.schedules import value_at
from minidqn.targets import expected, greedy_actions, mean_max, quantile_huber_loss, td_targets

FLOATS = (np.float32, np.float64)  # those that a kernel can be compiled for


class Metrics(NamedTuple):
    """What one update saw."""

    loss: float  # mean over the batch (and its quantiles), weighted if replay is prioritised
    q: float  # mean over the batch of max_a Q(s, a), of all actions
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
        outputs = self.n_actions * c.quantiles
        if q.shape != (1, outputs):  # the compiled loops rely on it
            raise ValueError(f"the network gives {q.shape[1:]}: expected ({outputs},)")
        if np.shares_memory(self.online.params, self.target.params):
            raise ValueError("`network` gave the same network twice: expected a new one each time")
        self.rng = np.random.default_rng(self.seed)
        self.online.initialize(self.rng)
        self.target.params[:] = self.online.params
        self.adam = Adam(self.online.params)

        room = c.buffer_size, shape, dtype, self.n_actions, num_envs
        if c.priority_alpha > 0.0:
            most = min(c.learning_starts // num_envs, c.buffer_size // num_envs - 1)
            if c.n_step > most:  # then there might be no transition to draw
                raise ValueError(
                    f"n_step {c.n_step} in {num_envs} environments: expected up to {most}, for "
                    "prioritised replay draws whole transitions only, and has learning_starts "
                    f"{c.learning_starts} and buffer_size {c.buffer_size} steps for them"
                )
            self.replay: Replay = PrioritizedReplay(*room, n_step=c.n_step, alpha=c.priority_alpha)
        else:
            self.replay = Replay(*room)
        self.steps = 0  # environment steps observed
        self.updates = 0  # calls of learn
        self.resets = 0  # episodes begun
        self.held = np.zeros((2, num_envs), np.int64)  # random actions, and steps left to hold them
        self.last_metrics: Metrics | None = None  # of the last update that did not diverge

        self._all_allowed = np.ones((1, self.n_actions), np.bool_)

        # one cache for each use, so that no forward pass disturbs another's backward
        self._act_cache = self.online.cache()  # never with noise
        self._explore_cache = self.online.cache()
        self._learn_cache = self.online.cache()
        self._next_cache = self.online.cache()
        self._target_cache = self.target.cache()
        self._learning = [  # the passes of an update, each with noise of its own
            (self.target, self._target_cache),
            (self.online, self._next_cache),
            (self.online, self._learn_cache),
        ]

    @property
    def epsilon(self) -> float:
        """The chance of a random action that the schedule asks for at this step."""
        return self._now("epsilon")

    def _now(self, name: str) -> float:
        """What the schedule `name` says at this step, if it is 0 to 1, as all of them are."""
        finished = max(self.resets - 1, 0)  # episodes
        value = value_at(getattr(self.config, name), self.steps, self.updates, finished)
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} at step {self.steps} is {value}: expected 0 to 1")
        return value

    def q_values(self, obs: ArrayLike) -> Array:
        """Q(s, .) of one observation, (A,), or of a batch, (B, A)."""
        x = self._checked(obs)
        q = self._expected(x.reshape(-1, *self.replay.obs_shape), self._act_cache)  # (B, A)
        return q[0].copy() if x.shape == self.replay.obs_shape else q.copy()

    def act(self, obs: ArrayLike, epsilon: float = 0.0, mask: ArrayLike | None = None) -> Any:
        """An action for one observation (int), or one for each of a batch ((B,) int array).

        Greedy, or random with probability `epsilon`; among those that `mask`, (A,) or
        (B, A), allows. Among equal Q-values the first is taken. epsilon = 0 draws no
        random number, so it leaves no trace, and noisy layers are quiet.
        """
        if not 0.0 <= epsilon <= 1.0:
            raise ValueError(f"epsilon is {epsilon!r}: expected 0 to 1")
        x = self._checked(obs)
        single = x.shape == self.replay.obs_shape
        batch = x[None] if single else x  # (B, ...)
        allowed = self._all_allowed if single else np.ones((len(x), self.n_actions), np.bool_)
        if mask is not None:
            allowed = checked_mask(mask, (len(batch), self.n_actions), bare=True)  # (B, A)
            if not allowed.any(axis=1).all():
                raise ValueError(f"action_mask {mask!r}: expected one action or more to be allowed")
        u = self.rng.random(len(batch)).tolist() if epsilon > 0.0 else []
        actions = self._choose(batch, epsilon, u, allowed, self._act_cache)
        return int(actions[0]) if single else actions

    def explore(self) -> Array:
        """An action for each environment where the stream now is, to learn from: (num_envs,).

        With the exploration that the config asks for at this step: epsilon, and noise.
        """
        if not self.replay.begun:
            raise ValueError("no stream is open: reset, then call begin(obs)")
        epsilon, x, allowed = self.epsilon, self.replay.head, self.replay.head_mask
        u = self.rng.random(len(x)).tolist() if epsilon > 0.0 else []
        self.online.draw_noise(self.rng, self._explore_cache)
        actions = self._choose(x, epsilon, u, allowed, self._explore_cache)
        if self.config.epsilon_hold > 1:
            self._hold(actions, [u_lane < epsilon for u_lane in u] or [False] * len(x), allowed)
        return actions

    def _choose(
        self, x: Array, epsilon: float, u: list[float], allowed: Array, cache: list[Cache]
    ) -> Array:
        """Greedy, but random where u, uniform in [0, 1), is below epsilon: to (B,)."""
        if len(u) == 1 and u[0] < epsilon:  # then there is nothing to be greedy about
            actions = np.zeros(1, np.int64)
        else:
            actions = greedy_actions(self._expected(x, cache), allowed)
        for i, u_i in enumerate(u):
            if u_i < epsilon:
                # One draw decides both: given that u < epsilon, u / epsilon is uniform too.
                choice = np.flatnonzero(allowed[i])
                if len(choice):  # else the episode is over there, and no action is taken
                    actions[i] = choice[min(int(u_i / epsilon * len(choice)), len(choice) - 1)]
        return actions

    def _hold(self, actions: Array, random: list[bool], allowed: Array) -> None:
        """Go on with random actions that are being held, and begin to hold new ones.

        By dithering, one gets no farther than the square root of the steps. Held actions
        reach what takes persistence, as swinging up does (Dabney et al. 2021,
        "Temporally-extended epsilon-greedy exploration"; there with a zeta distribution).
        """
        held, left = self.held  # (num_envs,) each
        left[self.replay.ended] = 0
        for lane in range(len(actions)):
            if left[lane] and allowed[lane, held[lane]]:
                actions[lane] = held[lane]
                left[lane] -= 1
            else:
                left[lane] = 0
                if random[lane]:
                    held[lane] = actions[lane]
                    left[lane] = self.rng.integers(self.config.epsilon_hold)

    def _quantiles(self, network: Network, x: Array, cache: list[Cache]) -> Array:
        """theta(s, .), (B, A, N); plain DQN has N = 1."""
        return network.forward(x, cache).reshape(len(x), self.n_actions, -1)

    def _expected(self, x: Array, cache: list[Cache]) -> Array:
        """Q(s, .), (B, A)."""
        if self.config.quantiles == 1:
            return self.online.forward(x, cache)
        return expected(self._quantiles(self.online, x, cache))

    def _checked(self, obs: ArrayLike) -> Array:
        """`obs` in the space's dtype, finite: one observation, or a batch (B, ...)."""
        return checked_obs(obs, self.replay.obs_shape, self.replay.obs.dtype)

    def begin(self, obs: ArrayLike, mask: ArrayLike | None = None) -> None:
        """Start from `obs`, what the environment's reset returned; see Replay.begin."""
        try:
            self.replay.begin(obs, mask)
        except (TypeError, ValueError) as error:
            raise type(error)(f"after reset {self.resets}: {error}") from None
        self.resets += 1
        self.held[1] = 0  # a new episode begins

    def observe(
        self,
        action: ArrayLike,
        reward: ArrayLike,
        next_obs: ArrayLike,
        terminated: ArrayLike,
        truncated: ArrayLike,
        mask: ArrayLike | None = None,
    ) -> None:
        """Store what came of the last action: what the environment's step returned.

        `mask` says which actions are allowed next, (num_envs, A): its info["action_mask"],
        if there is one. Bare values for a single environment, which then goes on with reset and
        `begin` when its episode has ended; arrays (num_envs, ...) for a vector
        environment with NEXT_STEP autoreset, which goes on by itself. Raises ValueError or
        TypeError, which name the step and the value, before anything is stored.
        """
        try:
            self.steps += self.replay.add(action, reward, next_obs, terminated, truncated, mask)
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
        beta = self._now("priority_beta")
        batch = self.replay.sample(c.batch_size, self.rng, c.n_step, c.gamma, beta)
        for network, cache in self._learning:
            network.draw_noise(self.rng, cache)

        # what Q(s, a) should have been; a constant, as far as the gradient goes
        q_next = self._quantiles(self.target, batch.next_obs, self._target_cache)  # (B, A, N)
        chooser = q_next  # who says what is best there
        if c.double:
            chooser = self._quantiles(self.online, batch.next_obs, self._next_cache)  # (B, A, N)
        q_mean = expected(chooser)  # (B, A)
        y = td_targets(batch.returns, batch.discounts, q_mean, batch.next_mask, q_next)  # (B, N)

        # what it is, and how the loss changes with every parameter
        q = self._quantiles(self.online, batch.obs, self._learn_cache)  # (B, A, N)
        loss, dq, errors = quantile_huber_loss(q, batch.actions, y, batch.weights, c.huber_delta)
        self.online.backward(dq.reshape(len(dq), -1), self._learn_cache)

        # one step downhill, unless there is none to be taken
        grad_norm = clip_by_global_norm(self.online.grads, c.max_grad_norm)
        if not math.isfinite(loss + grad_norm):
            raise FloatingPointError(
                f"update {self.updates + 1} diverged: loss {loss}, gradient norm {grad_norm}; "
                f"the one before it: {self.last_metrics}"
            )
        self.adam.step(self.online.grads, self._now("learning_rate"))
        self.replay.learned(batch.starts, errors)
        self.updates += 1
        if self.updates % c.target_every == 0:
            self._update_target()
        self.last_metrics = Metrics(loss, mean_max(expected(q)), grad_norm)
        return self.last_metrics

    def _update_target(self) -> None:
        if self.config.tau == 1.0:  # an exact copy: x + (y - x) need not be y
            self.target.params[:] = self.online.params
        else:
            self.target.params += self.config.tau * (self.online.params - self.target.params)


def _mlp(config: DQNConfig, space: Box, n_actions: int) -> Network:
    bounds = (space.low, space.high) if config.normalize_obs else None
    return mlp(
        space.shape,
        config.hidden,
        n_actions,
        config.final_gain,
        bounds,
        quantiles=config.quantiles,
        dueling=config.dueling,
        layer_norm=config.layer_norm,
        noisy=config.noisy,
    )
