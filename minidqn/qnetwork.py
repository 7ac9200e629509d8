"""The Q-network: from an observation to a value for each action.

    normalise    if asked, and without conv, each entry that the observation space bounds
    conv         for images, convolutions, each followed by a ReLU
    hidden       linear layers, each followed by a ReLU
    output       a linear layer with one Q-value for each action, or several quantiles of it

The parts that a config switches on take their places among these layers.
"""

import math
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from minidqn.config import DQNConfig
from minidqn.nn.cells import CellConv2d
from minidqn.nn.conv import Conv2d
from minidqn.nn.layers import Flatten, Layer, Linear, Normalize
from minidqn.nn.parts import Dueling, LayerNorm, NoisyLinear


def q_layers(c: DQNConfig, space: Box, n_actions: int) -> list[Layer]:
    """The layers that `c` describes: (B, ...) to (B, A * N), an action's N quantiles side by side.

    `space` is that of one observation; with frame_stack F > 1, the layers take (B, F, ...).
    A small `final_gain` starts every Q-value near 0, so that the first targets are
    the rewards themselves and not the noise of the initial weights.
    """
    linear = NoisyLinear if c.noisy else Linear
    shape = c.frame_stack, *space.shape
    one_row = len(space.shape) == c.frame_stack == 1
    layers: list[Layer] = [] if c.conv or one_row else [Flatten()]
    if c.normalize_obs:
        low, high = (np.broadcast_to(bound, shape) for bound in (space.low, space.high))
        layers.append(Normalize(low, high))
    if c.conv:
        image: Any = (*shape, 1)[:4]  # (F, H, W, C); a grey image gets C = 1
        for n_out, k, s in c.conv:
            # products with few columns are slow, and CellConv2d's have four times as many; it also
            # copies less, which counts most in the first layer, when there are no `layers` yet
            kind = CellConv2d if k == 2 * s and n_out <= (16 if layers else 32) else Conv2d
            convolution = kind(image, n_out, k, s, relu=not c.layer_norm)
            image = shape = convolution.out_shape
            layers.append(convolution)
            if c.layer_norm:
                layers.append(LayerNorm(math.prod(shape), relu=True))
    width = math.prod(shape)
    for n_out in c.hidden:
        layers.append(linear(width, n_out, relu=not c.layer_norm))
        if c.layer_norm:
            layers.append(LayerNorm(n_out, relu=True))
        width = n_out
    layers.append(linear(width, (n_actions + c.dueling) * c.quantiles, gain=c.final_gain))
    if c.dueling:
        layers.append(Dueling(n_actions, c.quantiles))
    return layers
