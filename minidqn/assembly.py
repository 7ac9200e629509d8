"""Which parts an agent is made of: the settings choose them here, once.

    network        the layers that the config describes      parts/qnetwork.py
    replay         observations, or stacks of them           parts/frames.py
    sampler        uniform, or prioritised                   parts/prioritized.py
    loss           Huber's, or that of quantiles             parts/quantiles.py
    exploration    epsilon-greedy, or repeated actions       parts/repeat.py
    behaviour      the online network, or with noise         parts/param_noise.py
    scaling        none, or by what was observed             parts/running.py

After that, the agent never asks which of them it has: both have the same methods.
"""

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any, cast

import numpy as np
from gymnasium.spaces import Box, Space

from minidqn import checks
from minidqn.config import DQNConfig
from minidqn.exploration import EpsilonGreedy
from minidqn.nn.network import Network
from minidqn.parts.frames import StackedReplay
from minidqn.parts.param_noise import NoisyBehaviour, OnlineBehaviour
from minidqn.parts.prioritized import PrioritizedSampler
from minidqn.parts.qnetwork import (
    check_observations,
    check_own_network,
    check_pair,
    q_layers,
)
from minidqn.parts.quantiles import QuantileLoss
from minidqn.parts.repeat import RepeatedActions
from minidqn.parts.running import RunningNormalize, Statistics, Unscaled
from minidqn.replay import Replay
from minidqn.sampler import UniformSampler
from minidqn.targets import HuberLoss

Build = Callable[[Box, int], Network]  # builds your own network


def make_networks(
    config: DQNConfig, space: Space[Any], n_actions: int, build: Build | None
) -> tuple[Network, Network, Network]:
    """The online network, the target network, and the one that explores.

    Without noise on the parameters, the online network explores itself. Different
    networks share nothing but scratch arrays.
    """
    box = cast(Box, space)
    networks = []
    has_noise = config.param_noise > 0.0
    for _ in range(3 if has_noise else 2):
        if build is None:
            networks.append(Network(q_layers(config, box, n_actions)))
        else:
            networks.append(build(box, n_actions))
    shape = box.shape if config.frame_stack == 1 else (config.frame_stack, *box.shape)
    example = np.zeros((1, *shape), box.dtype)
    for one, other in combinations(networks, 2):
        check_pair(one, other, example, n_actions * config.quantiles)
    online = networks[0]
    target = networks[1]
    explorer = networks[2] if has_noise else online
    # the forwards of an update follow each other, so one set of arrays is enough
    for network in networks[1:]:
        network.share_caches(online)
    return online, target, explorer


def make_replay(
    config: DQNConfig, space: Space[Any], n_actions: int, num_envs: int
) -> Replay:
    shape = cast(Box, space).shape
    dtype = space.dtype
    made_for = (config.buffer_size, shape, dtype, n_actions, num_envs)
    if config.frame_stack == 1:
        return Replay(*made_for)
    return StackedReplay(*made_for, config.frame_stack)


def make_sampler(
    config: DQNConfig, replay: Replay
) -> UniformSampler | PrioritizedSampler:
    if config.priority_alpha == 0.0:
        return UniformSampler(replay)
    return PrioritizedSampler(
        replay, config.n_step, config.priority_alpha, config.priority_beta
    )


def make_loss(
    config: DQNConfig, n_actions: int, dtype: np.dtype[Any]
) -> HuberLoss | QuantileLoss:
    size = config.batch_size
    delta = config.huber_delta
    if config.quantiles == 1:
        return HuberLoss(size, n_actions, dtype, delta)
    return QuantileLoss(size, n_actions, dtype, delta, config.quantiles)


def make_exploration(config: DQNConfig, replay: Replay) -> EpsilonGreedy:
    if config.epsilon_hold == 1:
        return EpsilonGreedy()
    return RepeatedActions(replay, config.epsilon_hold)


def make_behaviour(
    config: DQNConfig,
    online: Network,
    explorer: Network,
    replay: Replay,
    loss: HuberLoss | QuantileLoss,
) -> OnlineBehaviour:
    if config.param_noise == 0.0:
        return OnlineBehaviour(online)
    return NoisyBehaviour(
        online, explorer, replay, loss, config.param_noise, config.batch_size
    )


def make_scaling(online: Network, *others: Network) -> Statistics | Unscaled:
    """What counts the observations, and is one for all networks."""
    found: Statistics | Unscaled = Unscaled()
    for layers in zip(*[network.layers for network in (online, *others)], strict=True):
        running = [layer for layer in layers if isinstance(layer, RunningNormalize)]
        for layer in running:
            layer.statistics = running[0].statistics
            found = layer.statistics
    return found


def check_agent(
    observation_space: Any,
    action_space: Any,
    config: DQNConfig,
    seed: int,
    num_envs: int,
    network: Any,
) -> None:
    """Raise TypeError or ValueError if no DQN can be made with these arguments."""
    checks.spaces(observation_space, action_space)
    checks.count("seed", seed, 0)
    checks.count("num_envs", num_envs, 1)
    check_num_envs(config, num_envs)
    if network is None:
        check_observations(config, observation_space)
    else:
        check_own_network(config)


def check_num_envs(config: DQNConfig, num_envs: int) -> None:
    """Raise ValueError for settings that do not fit this number of environments."""
    slots = config.buffer_size // num_envs
    if slots * num_envs < config.batch_size:
        raise ValueError(
            f"buffer_size {config.buffer_size} over {num_envs} environments: expected "
            f"room for a batch, {config.batch_size}"
        )
    if config.frame_stack > slots:
        raise ValueError(
            f"frame_stack {config.frame_stack}: expected up to {slots} steps stored"
        )
    steps_before_learning = math.ceil(config.learning_starts / num_envs)
    longest = min(steps_before_learning, slots - 1)
    if config.priority_alpha > 0.0 and config.n_step > longest:
        raise ValueError(
            f"n_step {config.n_step} in {num_envs} environments: expected up to "
            f"{longest} with prioritised replay, which needs complete transitions: "
            f"learning_starts is {config.learning_starts}, buffer_size "
            f"{config.buffer_size}"
        )
