"""The Q-network: a fully connected network from an observation to a value for each action.

    normalise    if asked, each entry that the observation space bounds
    hidden       linear layers, each followed by a ReLU
    output       a linear layer with one Q-value for each action, or several quantiles of it

The parts that a config switches on take their places among these layers.
"""

import math

from gymnasium.spaces import Box

from minidqn.config import DQNConfig
from minidqn.nn.layers import Flatten, Layer, Linear, Normalize
from minidqn.nn.parts import Dueling, LayerNorm, NoisyLinear


def q_layers(c: DQNConfig, space: Box, n_actions: int) -> list[Layer]:
    """The layers that `c` describes: (B, ...) to (B, A * N), an action's N quantiles side by side.

    A small `final_gain` starts every Q-value near 0, so that the first targets are
    the rewards themselves and not the noise of the initial weights.
    """
    linear = NoisyLinear if c.noisy else Linear
    layers: list[Layer] = [] if len(space.shape) == 1 else [Flatten()]
    if c.normalize_obs:
        layers.append(Normalize(space.low, space.high))
    width = math.prod(space.shape)
    for n_out in c.hidden:
        layers.append(linear(width, n_out, relu=not c.layer_norm))
        if c.layer_norm:
            layers.append(LayerNorm(n_out, relu=True))
        width = n_out
    layers.append(linear(width, (n_actions + c.dueling) * c.quantiles, gain=c.final_gain))
    if c.dueling:
        layers.append(Dueling(n_actions, c.quantiles))
    return layers
