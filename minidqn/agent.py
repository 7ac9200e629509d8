"""The agent: deep Q-learning, put together from the modules beside it.

A Q-value Q(s, a) is the mean sum of the rewards after action a in state s, if the best
actions follow. A reward t steps later counts gamma^t times. An agent that knew Q would
always take the action with the largest Q-value. DQN trains a network to predict Q, by
regression on past steps (Mnih et al. 2015, Algorithm 1). Each step of a run is

    explore   the greedy action, or with probability epsilon a random one
    observe   store its result in the replay buffer
    learn     draw old transitions at random, and move Q(s, a) towards
              R + discount * Q_target(s', a'), with a' the best next action

To use a network's own estimate in a target is called *bootstrapping*. Two things keep
it stable. Transitions are drawn from a long memory, so they are nearly independent. And
the estimates come from a *target network*, which follows the online network slowly.

Letters: B batch, A actions, E environments.
"""

from operator import index
from typing import Any, NamedTuple, cast

import numpy as np
from gymnasium.spaces import Discrete, Space

from minidqn import assembly, checks, experience
from minidqn.assembly import Build
from minidqn.batch import Batch
from minidqn.config import DQNConfig
from minidqn.exploration import epsilon_greedy, greedy
from minidqn.nn.adam import Adam, clip_by_global_norm
from minidqn.nn.layers import Array
from minidqn.replay import NO_EPISODE
from minidqn.schedules import value_at


class Metrics(NamedTuple):
    """Figures of one update."""

    loss: float  # mean over the batch, weighted if replay is prioritised
    q: float  # mean over the batch of max_a Q(s, a), masked actions included
    grad_norm: float  # length of the gradient, before clipping


class DQN:
    """A Deep Q-Network agent, for Box observations and Discrete actions.

    It learns from `num_envs` environments side by side. `seed` determines the initial
    weights, the exploration and the batches. `network(space, n_actions)` builds your
    own network. Raises TypeError or ValueError for spaces or numbers that do not fit.
    """

    steps = 0  # environment steps observed
    updates = 0  # calls of learn
    updates_skipped = 0  # of updates_due; set when settings change in a run
    episodes = 0  # episodes that have ended, in all environments together
    last_metrics: Metrics | None = None  # of the last update
    from_policy = False  # whether a new run begins with a saved policy

    def __init__(
        self,
        observation_space: Space[Any],
        action_space: Space[Any],
        config: DQNConfig | None = None,
        seed: int = 0,
        num_envs: int = 1,
        network: Build | None = None,
    ) -> None:
        config = config or DQNConfig()
        assembly.check_agent(
            observation_space, action_space, config, seed, num_envs, network
        )
        self._config = config
        self.observation_space = observation_space
        self.action_space = action_space
        self.n_actions = int(cast(Discrete, action_space).n)
        self.seed = index(seed)
        self.network = network

        self.rng = np.random.default_rng(self.seed)
        self.replay = assembly.make_replay(
            config, observation_space, self.n_actions, index(num_envs)
        )
        self.online, self.target, explorer = assembly.make_networks(
            config, observation_space, self.n_actions, network
        )
        self.online.initialize(self.rng)
        self.target.params[:] = self.online.params
        self.adam = Adam(self.online.params)
        self.sampler = assembly.make_sampler(config, self.replay)
        self.loss = assembly.make_loss(config, self.n_actions, self.online.dtype)
        self.exploration = assembly.make_exploration(config, self.replay)
        self.scaling = assembly.make_scaling(self.online, self.target, explorer)
        self.behaviour = assembly.make_behaviour(
            config, self.online, explorer, self.replay, self.loss
        )
        self.next_actions = np.empty(config.batch_size, np.int64)  # see targets

    def __repr__(self) -> str:
        return (
            f"DQN({self.n_actions} actions, {self.online.params.size} parameters, "
            f"{self.steps} steps, {self.updates} updates, {self.config})"
        )

    @property
    def config(self) -> DQNConfig:
        """The settings. They are fixed: networks and buffer are made for them."""
        return self._config

    @property
    def resets(self) -> int:
        """Episodes that have begun, in all environments together."""
        if not self.replay.begun:
            return self.episodes
        going_on = self.replay.num_envs - np.count_nonzero(self.replay.ended)
        return self.episodes + int(going_on)

    @property
    def epsilon(self) -> float:
        """The chance of a random action that the schedule asks for at this step."""
        return self._now("epsilon")

    def _now(self, name: str) -> float:
        schedule = getattr(self._config, name)
        value = value_at(schedule, self.steps, self.updates, self.episodes)
        return checks.probability(name, value, self.steps)

    def q_values(self, obs: Any) -> Array:
        """Q(s, .) of one observation, (A,), or of a batch, (B, A)."""
        x, single = experience.as_batch(obs, self.replay.stack_shape, self.replay.dtype)
        q = self.loss.q_values(self.online.predict(x)).copy()  # (B, A)
        return q[0] if single else q

    def act(self, obs: Any, epsilon: float = 0.0, mask: Any = None) -> Any:
        """An action for one observation, an int, or for each of a batch, (B,).

        Greedy, or random with probability `epsilon`; only actions that `mask`, (A,) or
        (B, A), allows. The first of equal Q-values is taken. Noisy layers use their
        mean weights. epsilon = 0 draws no random number.
        """
        epsilon = checks.probability("epsilon", epsilon)
        x, single = experience.as_batch(obs, self.replay.stack_shape, self.replay.dtype)
        shape = (len(x), self.n_actions)
        if mask is None:
            allowed = np.ones(shape, np.bool_)  # (B, A)
        else:
            allowed = experience.action_mask(mask, shape, one_for_all=True)
        q = self.loss.q_values(self.online.predict(x))  # (B, A)
        actions = epsilon_greedy(q, allowed, epsilon, self.rng)  # (B,)
        return int(actions[0]) if single else actions

    def explore(self) -> Array:
        """An action, with exploration, for each environment's observation: (E,)."""
        ring = self.replay
        if not ring.begun:
            raise ValueError(NO_EPISODE)
        epsilon = self.epsilon  # a schedule of yours may use the network: so before q
        outputs = self.behaviour.predict(ring.head_stack, self.rng)
        q = self.loss.q_values(outputs)  # (E, A)
        return self.exploration.choose(q, ring.head_mask, epsilon, self.rng)

    def begin(self, obs: Any, mask: Any = None) -> None:
        """Start at `obs`, which the environment's reset returned; see Replay.begin."""
        begun_so_far = self.resets
        self.replay.begin(obs, mask)
        self.episodes = begun_so_far  # all of them have ended now
        self.exploration.stop()
        self.behaviour.stop()
        self.scaling.look_at(self.replay)
        self.sampler.admit()

    def observe(
        self,
        action: Any,
        reward: Any,
        obs: Any,
        terminated: Any,
        truncated: Any,
        mask: Any = None,
    ) -> None:
        """Store the last action, and what the environment's step returned.

        For a single environment, give plain values, and after an episode call reset and
        `begin`. For a vector environment with NEXT_STEP autoreset, give arrays with a
        first axis E. `mask` says which actions are allowed next, (E, A). Raises
        ValueError or TypeError, which name the step and the value, before storing.
        """
        try:
            taken, ended = self.replay.add(
                action, reward, obs, terminated, truncated, mask
            )
        except (TypeError, ValueError) as error:
            raise type(error)(f"step {self.steps + 1}: {error}") from None
        self.steps += taken
        self.episodes += ended
        if ended > 0:
            self.exploration.stop(self.replay.ended)
            self.behaviour.stop(self.replay.ended)
        self.scaling.look_at(self.replay)
        self.sampler.admit()

    @property
    def updates_due(self) -> int:
        """How many updates are still to be made; negative if more have been made."""
        made = self.updates + self.updates_skipped
        return self._config.updates_by(self.steps) - made

    def targets(self, batch: Batch) -> Array:
        """What Q(s, a) should have been: (B,); with quantiles (B, N), from (B, A N)."""
        # The next action. The largest of several estimates is often too large. DQN
        # selects and evaluates an action with one network, so its targets are too
        # large. Double DQN (van Hasselt et al. 2016) uses two, whose errors differ.
        # (They fill the same arrays, so each result is used before the next forward.)
        next_actions = self.next_actions  # (B,)
        if self._config.double:
            q_select = self.online.predict(batch.next_obs, self.rng)  # (B, A)
            greedy(self.loss.q_values(q_select), batch.next_mask, next_actions)
            q_next = self.target.predict(batch.next_obs, self.rng)  # (B, A)
        else:
            q_next = self.target.predict(batch.next_obs, self.rng)  # (B, A)
            greedy(self.loss.q_values(q_next), batch.next_mask, next_actions)
        return self.loss.targets(batch.returns, batch.discounts, q_next, next_actions)

    def learn(self) -> Metrics:
        """One update of the online network, from one batch of the replay buffer.

        Raises ValueError while fewer than batch_size slots are filled, and
        FloatingPointError, with the parameters as they were, when the loss diverges.
        """
        config = self._config
        starts, weights = self.sampler.draw(config.batch_size, self.rng, self.steps)
        batch = self.replay.batch(starts, config.n_step, config.gamma)

        y = self.targets(batch)
        # the loss of Q(s, a) against them, and its gradient for every parameter
        q = self.online.forward(batch.obs, self.rng)  # (B, A)
        loss, mean_q, dq, errors = self.loss.gradient(q, batch.actions, y, weights)
        self.online.backward(dq)
        grad_norm = clip_by_global_norm(self.online.grads, config.max_grad_norm)
        checks.update(self.updates + 1, loss, grad_norm, self.last_metrics)

        # one step of Adam; then the target network follows
        self.adam.step(self.online.grads, self._now("learning_rate"))
        self.updates += 1
        if self.updates % config.target_every == 0:
            self.target.move_towards(self.online, config.tau)
        self.sampler.update(starts, errors)
        self.last_metrics = Metrics(loss, mean_q, grad_norm)
        return self.last_metrics
