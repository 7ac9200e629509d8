"""The Q-network that the settings describe: from an observation to values of actions.

    normalise    with normalize_obs, and without conv: each entry by its bounds, or by
                 what was observed
    conv         for images, convolutions, each followed by a ReLU
    hidden       linear layers, each followed by a ReLU
    output       a linear layer with a Q-value for each action, or quantiles of it

The parts that a config switches on are placed among these layers.
"""

import math
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from minidqn.config import DQNConfig
from minidqn.nn.layers import Layer, Linear
from minidqn.nn.network import Network
from minidqn.parts.cells import CellConv2d
from minidqn.parts.conv import Conv2d
from minidqn.parts.dueling import Dueling
from minidqn.parts.frames import Flatten
from minidqn.parts.layer_norm import LayerNorm
from minidqn.parts.noisy import NoisyLinear
from minidqn.parts.normalize import Normalize
from minidqn.parts.running import RunningNormalize

# the settings that only q_layers reads; your own network has to leave them alone
NETWORK_SETTINGS = (
    "conv",
    "normalize_obs",
    "hidden",
    "layer_norm",
    "dueling",
    "noisy",
    "final_gain",
)


def q_layers(config: DQNConfig, space: Box, n_actions: int) -> list[Layer]:
    """The layers that `config` describes: (B, ...) to (B, A N), N quantiles an action.

    `space` is that of one observation; with frame_stack F > 1, the layers take
    (B, F, ...). A small `final_gain` starts every Q-value near 0, so that the first
    targets are the rewards themselves and not the noise of the initial weights.
    """
    shape = (config.frame_stack, *space.shape)
    if config.conv:
        image: Any = (*shape, 1)[:4]  # (F, H, W, C); a grey image gets C = 1
        layers, width = conv_layers(config, image)
    else:
        layers = input_layers(config, space, shape)
        width = math.prod(shape)

    linear = NoisyLinear if config.noisy else Linear
    for n_out in config.hidden:
        layers.append(linear(width, n_out, relu=not config.layer_norm))
        if config.layer_norm:
            layers.append(LayerNorm(n_out, relu=True))
        width = n_out
    n_streams = n_actions + 1 if config.dueling else n_actions
    n_outputs = n_streams * config.quantiles
    layers.append(linear(width, n_outputs, gain=config.final_gain))
    if config.dueling:
        layers.append(Dueling(n_actions, config.quantiles))
    return layers


def input_layers(config: DQNConfig, space: Box, shape: tuple[int, ...]) -> list[Layer]:
    """The layers that turn an observation, not an image, into a row of numbers."""
    layers: list[Layer] = []
    if config.frame_stack > 1 or len(space.shape) != 1:
        layers.append(Flatten())
    if config.normalize_obs == "running":
        layers.append(RunningNormalize(math.prod(space.shape), config.frame_stack))
    elif config.normalize_obs == "bounds":
        low = np.broadcast_to(space.low, shape)
        high = np.broadcast_to(space.high, shape)
        layers.append(Normalize(low, high))
    return layers


def conv_layers(
    config: DQNConfig, image: tuple[int, int, int, int]
) -> tuple[list[Layer], int]:
    """The convolutions for an image, (F, H, W, C), and the number of their outputs."""
    layers: list[Layer] = []
    for n_out, k, s in config.conv:
        # Products with few columns are slow, and those of CellConv2d have four times as
        # many. It also copies less, which matters most in the first layer.
        few = 16 if layers else 32
        kind = CellConv2d if k == 2 * s and n_out <= few else Conv2d
        convolution = kind(image, n_out, k, s, relu=not config.layer_norm)
        layers.append(convolution)
        image = convolution.out_shape
        if config.layer_norm:
            layers.append(LayerNorm(math.prod(image), relu=True))
    return layers, math.prod(image)


def check_observations(config: DQNConfig, space: Box) -> None:
    """Raise ValueError if the layers cannot take such observations."""
    shape = space.shape
    found = f"an observation of shape {shape}"
    wrappers = "gymnasium.wrappers"
    if config.normalize_obs == "running" and space.dtype == np.bool_:
        raise ValueError(
            "normalize_obs='running' with booleans: expected False: they are 0 or 1 "
            "already"
        )
    if not config.conv:
        if len(shape) >= 2:
            raise ValueError(
                f"{found}: expected a vector; for an image give conv; "
                f"{wrappers}.FlattenObservation makes a vector"
            )
        return
    if config.normalize_obs:
        raise ValueError(
            "normalize_obs with conv: expected False: pixels become 0 to 1 anyway"
        )
    if len(shape) not in (2, 3):
        raise ValueError(
            f"{found} for conv: expected (height, width), perhaps with channels last"
        )
    if len(shape) == 3 and shape[0] < min(shape[1:]) and shape[0] <= 16:
        raise ValueError(
            f"{found}: expected channels last; {wrappers}.TransformObservation "
            "transposes, and the setting frame_stack stacks frames, instead of a "
            "wrapper"
        )
    check_pixels(space)
    height, width = shape[:2]
    for _, k, s in config.conv:
        if k > min(height, width):
            raise ValueError(
                f"conv has a kernel of {k} x {k} for an image of {height} x {width}: "
                "expected a smaller one, or fewer layers"
            )
        height = (height - k) // s + 1
        width = (width - k) // s + 1


def check_pixels(space: Box) -> None:
    """Raise ValueError unless pixels are bytes to 255, or booleans or floats to 1.

    Bytes are divided by 255, so bytes of 0 to 1 would become almost 0.
    """
    if space.low.min() >= 0.0 and space.high.max() <= 1.0:
        fits = space.dtype.kind in "bf"
    else:
        fits = space.dtype == np.uint8
    if not fits:
        raise ValueError(
            f"pixels of {space}: expected bytes of 0 to 255 (not 0 to 1), or booleans "
            f"or floats of 0 to 1; {as_pixels(space)} converts"
        )


def as_pixels(space: Box) -> str:
    """The wrapper, in Python, with which other numbers become pixels."""
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        return "a gymnasium.wrappers.TransformObservation of yours"
    env = "env"
    if space.dtype.kind in "iu":
        lowest = space.low.min()
        highest = space.high.max()
        is_byte = lowest >= 0 and 1 < highest <= 255
        dtype = "np.uint8" if is_byte else "np.float32"
        env = f"gymnasium.wrappers.DtypeObservation(env, {dtype})"
        if is_byte or (lowest >= 0 and highest <= 1):
            return env
    return f"gymnasium.wrappers.RescaleObservation({env}, 0, 1)"


def check_own_network(config: DQNConfig) -> None:
    """Raise ValueError if a network setting was changed beside your own network."""
    defaults = DQNConfig()
    for name in NETWORK_SETTINGS:
        value = getattr(config, name)
        if value != getattr(defaults, name):
            raise ValueError(
                f"{name} is {value!r} beside a network of your own: expected it to be "
                "left out"
            )


def check_pair(one: Network, other: Network, example: Any, n_outputs: int) -> None:
    """Check two networks: layers of the same types and sizes, and `n_outputs` each.

    No layer object may be in both. `example` is a batch of one observation. Raises
    TypeError or ValueError.
    """
    layouts: list[list[Any]] = []
    for network in (one, other):
        if not isinstance(network, Network):
            raise TypeError(f"`network` gave {network!r}: expected a Network")
        layout: list[Any] = [network.dtype]
        for layer in network.layers:
            layout.append((type(layer), layer.size, getattr(layer, "relu", None)))
        layouts.append(layout)
    if layouts[0] != layouts[1]:
        raise ValueError(
            "`network` gave two different networks: expected the same layers"
        )
    layers = [*one.layers, *other.layers]
    if len({id(layer) for layer in layers}) < len(layers):
        raise ValueError(
            "`network` used a layer twice, or gave the same network twice: expected "
            "new layers each time"
        )
    shape = one.forward(example).shape[1:]
    if shape != (n_outputs,):
        raise ValueError(f"the network gives {shape}: expected ({n_outputs},)")
