"""The agent: deep Q-learning, put together from the modules beside it.

A Q-value Q(s, a) is the mean sum of the rewards after action a in state s, when acting
well from then on; a reward t steps later counts gamma^t times. An agent that knew it
would only ever take the action with the largest. DQN learns a network for it by
regression on what it has seen (Mnih et al. 2015, Algorithm 1). Each step of a run is

    explore   the greedy action, or with probability epsilon a random one
    observe   store what came of it in the replay buffer
    learn     draw old transitions at random, and move Q(s, a) towards
              R + discount * max_a Q_target(s', a)    (targets.py)

To count on a value that a network gives is called *bootstrapping*. Two things keep it
stable: transitions are drawn from a long memory, and so are nearly independent; and the
values on the right come from a *target network*, a copy of the online one that is late.

Letters: B batch, A actions, N quantiles (1 in plain DQN).
"""

from collections.abc import Callable
from operator import index
from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Space

from minidqn import checks, experience
from minidqn.config import DQNConfig
from minidqn.nn.adam import Adam, clip_by_global_norm
from minidqn.nn.layers import Array
from minidqn.nn.network import Network, Pass
from minidqn.policy import Repeat, epsilon_greedy, greedy
from minidqn.prioritized import Priorities
from minidqn.qnetwork import q_layers
from minidqn.replay import Replay
from minidqn.schedules import value_at
from minidqn.targets import mean_max, mean_of_quantiles, quantile_huber_loss, td_targets


class Metrics(NamedTuple):
    """What one update saw."""

    loss: float  # mean over the batch (and its quantiles), weighted if replay is prioritised
    q: float  # mean over the batch of max_a Q(s, a), also of actions that a mask forbids
    grad_norm: float  # length of the gradient, before clipping


class DQN:
    """A Deep Q-Network agent, for Box observations and Discrete actions.

    It learns from `num_envs` environments side by side; `seed` fixes initial weights, exploration
    and sampling; `network(observation_space, n_actions)` builds a network of your own.
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
        self._config = c = config or DQNConfig()
        space, n_actions = checks.agent(observation_space, action_space, c, seed, num_envs, network)
        self.observation_space, self.action_space = observation_space, action_space
        self.seed, self.n_actions, self.network = index(seed), n_actions, network

        of_space = space.shape, space.dtype, n_actions
        self.replay = Replay(c.buffer_size, *of_space, index(num_envs), c.frame_stack)
        build = network or (lambda space, n_actions: Network(q_layers(c, space, n_actions)))
        self.online, self.target = build(space, n_actions), build(space, n_actions)
        checks.networks(self.online, self.target, self.replay, n_actions * c.quantiles)
        self.rng = np.random.default_rng(self.seed)
        self.online.initialize(self.rng)
        self.target.params[:] = self.online.params
        self.adam = Adam(self.online.params)
        self.priorities: Priorities | None = None
        if c.priority_alpha > 0.0:
            self.priorities = Priorities(self.replay, c.n_step, c.priority_alpha)
        self.repeat = Repeat(self.replay.num_envs, c.epsilon_hold)
        self.steps = 0  # environment steps observed
        self.updates = 0  # calls of learn
        self.updates_skipped = 0  # of those that the config asked for
        self.episodes = 0  # episodes that have ended, in all environments together
        self.last_metrics: Metrics | None = None  # of the last update that did not diverge
        # an update's forwards follow each other, so they share caches: copy what is to be kept
        self._acting, self._exploring, self._learning = (Pass(self.online) for _ in range(3))
        self._valuing = Pass(self.target, self._learning.caches)
        self._equal_weights = np.ones(c.batch_size, np.float32)
        self._any_action = self.replay.any_action[:1]  # (1, A)
        self._no_q = np.zeros((1, n_actions), self.online.params.dtype)

    def __repr__(self) -> str:
        size, made = self.online.params.size, f"{self.steps} steps, {self.updates} updates"
        return f"DQN({self.n_actions} actions, {size} parameters, {made}, {self.config})"

    @property
    def config(self) -> DQNConfig:
        """The settings; fixed, for the networks and the buffer have been made for them."""
        return self._config

    @property
    def resets(self) -> int:
        """Episodes that have begun, in all environments together."""
        going_on = self.replay.num_envs - np.count_nonzero(self.replay.ended)
        return self.episodes + (int(going_on) if self.replay.begun else 0)

    @property
    def epsilon(self) -> float:
        """The chance of a random action that the schedule asks for at this step."""
        return self._now("epsilon")

    def _now(self, name: str) -> float:
        """The value of the schedule `name` at this step; all schedules give 0 to 1."""
        value = value_at(getattr(self.config, name), self.steps, self.updates, self.episodes)
        return checks.probability(name, value, self.steps)

    def _theta(self, use: Pass, x: Array) -> Array:
        """theta(s, .), the quantiles of each action: (B, ...) to (B, A, N)."""
        return use.forward(x).reshape(len(x), self.n_actions, -1)

    def _q(self, use: Pass, x: Array) -> Array:
        """Q(s, .): (B, ...) to (B, A)."""
        plain = self.config.quantiles == 1
        return use.forward(x) if plain else mean_of_quantiles(self._theta(use, x))

    def q_values(self, obs: Any) -> Array:
        """Q(s, .) of one observation, (A,), or of a batch, (B, A)."""
        x = experience.observation(obs, self.replay.stack_shape, self.replay.obs.dtype)
        q = self._q(self._acting, x.reshape(-1, *self.replay.stack_shape))
        return q[0].copy() if x.shape == self.replay.stack_shape else q.copy()

    def act(self, obs: Any, epsilon: float = 0.0, mask: Any = None) -> Any:
        """An action for one observation (int), or one for each of a batch ((B,) int array).

        Greedy, or random with probability `epsilon`; only actions that `mask`, (A,) or
        (B, A), allows. Of equal Q-values the first is taken. Noisy layers give their means.
        epsilon = 0 draws no random number.
        """
        checks.probability("epsilon", epsilon)
        x = experience.observation(obs, self.replay.stack_shape, self.replay.obs.dtype)
        single = x.shape == self.replay.stack_shape
        x = x[None] if single else x  # (B, ...)
        allowed = self._any_action if single else np.ones((len(x), self.n_actions), np.bool_)
        if mask is not None:
            allowed = experience.action_mask(mask, allowed.shape, one_for_all=True)  # (B, A)
        q = self._q(self._acting, x)  # (B, A)
        if epsilon > 0.0:
            actions = epsilon_greedy(q, allowed, self.rng.random(len(x)), epsilon)
        else:
            actions = greedy(q, allowed)
        return int(actions[0]) if single else actions

    def explore(self) -> Array:
        """An action for the current observation of each environment: (num_envs,).

        With the exploration that the config asks for at this step: epsilon, and noise.
        """
        checks.expect(self.replay.begun, "no episode has begun", "a reset, then begin(obs)")
        epsilon, x, allowed = self.epsilon, self.replay.head_stack, self.replay.head_mask
        u = self.rng.random(len(x)) if epsilon > 0.0 else np.ones(len(x))
        self._exploring.draw_noise(self.rng)
        skip = len(x) == 1 and u[0] < epsilon  # a random action needs no Q-values
        q = self._no_q if skip else self._q(self._exploring, x)  # (num_envs, A)
        actions = epsilon_greedy(q, allowed, u, epsilon)
        if self.repeat.hold > 1:
            is_random = (u < epsilon) & ~self.replay.ended  # after an end comes the reset
            self.repeat.apply(actions, is_random, allowed, self.rng)
        return actions

    def begin(self, obs: Any, mask: Any = None) -> None:
        """Start from `obs`, what the environment's reset returned; see Replay.begin."""
        resets = self.resets
        self.replay.begin(obs, mask)
        self.episodes = resets  # the unfinished ones have ended now
        self.repeat.stop()
        if self.priorities:
            self.priorities.admit()

    def observe(
        self, action: Any, reward: Any, obs: Any, terminated: Any, truncated: Any, mask: Any = None
    ) -> None:
        """Store what came of the last action: what the environment's step returned.

        Bare values for a single environment, which continues with reset and `begin` when its
        episode has ended; arrays (num_envs, ...) for a vector environment with NEXT_STEP
        autoreset, which resets itself. `mask` says which actions are allowed next,
        (num_envs, A): its info["action_mask"], if there is one. Raises ValueError or
        TypeError, which name the step and the value, before anything is stored.
        """
        try:
            taken, ended = self.replay.add(action, reward, obs, terminated, truncated, mask)
        except (TypeError, ValueError) as error:
            raise type(error)(f"step {self.steps + 1}: {error}") from None
        self.steps += taken
        self.episodes += ended
        if ended:
            self.repeat.stop(self.replay.ended)
        if self.priorities:
            self.priorities.admit()

    @property
    def updates_due(self) -> int:
        """How many updates are still to be made; negative if more have been made."""
        c = self.config
        rounds = max((self.steps - c.learning_starts) // c.train_every + 1, 0)
        return rounds * c.gradient_steps - self.updates_skipped - self.updates

    def learn(self) -> Metrics:
        """One update of the online network, from one batch of the replay buffer.

        Raises ValueError while fewer than batch_size steps are stored, and
        FloatingPointError, with the parameters as they were, when the loss diverges.
        """
        c = self.config
        if self.priorities:
            beta = self._now("priority_beta")
            starts, weights = self.priorities.draw(c.batch_size, self.rng, beta)  # (B,), (B,)
        else:
            starts, weights = self.replay.draw(c.batch_size, self.rng), self._equal_weights
        batch = self.replay.batch(starts, c.n_step, c.gamma)

        # what Q(s, a) should have been; a constant, as far as the gradient goes
        self._valuing.draw_noise(self.rng)
        theta_next = self._theta(self._valuing, batch.next_obs).copy()  # (B, A, N)
        self._learning.draw_noise(self.rng)
        if c.double:  # the online network selects the next action
            q_select = self._q(self._learning, batch.next_obs)  # (B, A)
        else:
            q_select = mean_of_quantiles(theta_next)  # (B, A)
        y = td_targets(batch.returns, batch.discounts, q_select, batch.next_mask, theta_next)

        # what it is, and how the loss changes with every parameter
        self._learning.draw_noise(self.rng)
        theta = self._theta(self._learning, batch.obs)  # (B, A, N)
        loss, dtheta, errors = quantile_huber_loss(theta, batch.actions, y, weights, c.huber_delta)
        self._learning.backward(dtheta.reshape(len(starts), -1))

        # one step downhill, unless the loss or its gradient is not finite
        grad_norm = clip_by_global_norm(self.online.grads, c.max_grad_norm)
        checks.update(self.updates + 1, loss, grad_norm, self.last_metrics)
        self.adam.step(self.online.grads, self._now("learning_rate"))
        self.updates += 1
        if self.updates % c.target_every == 0:
            self.target.move_towards(self.online, c.tau)
        if self.priorities:
            self.priorities.update(starts, errors)
        self.last_metrics = Metrics(loss, mean_max(mean_of_quantiles(theta)), grad_norm)
        return self.last_metrics
