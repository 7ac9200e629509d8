"""Write a policy as an ONNX model, which other languages and devices can run.

    pip install -e ".[onnx]"
    python examples/export_onnx.py examples/trained/cartpole.safetensors cartpole.onnx

Its input is `obs`, (batch, ...), of the observation's dtype: bytes of an image are
divided by 255 inside the model. Its output is `q_values`, (batch, actions). The best
action is the one with the largest; masks are applied outside the model.

A model is a list of *nodes*. Each has an operation, the names of its inputs, and the
name of its output; the parameters have names too. So each layer is written by a
function that adds its nodes to the list, and gives the name of what comes out.

Letters: B batch, A actions, N quantiles, I inputs and O outputs of a layer; those of
images are in minidqn/parts/conv.py.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

try:
    import onnx
    from onnx import helper, numpy_helper
except ModuleNotFoundError as error:
    text = f'{error}; pip install "minidqn[onnx]" installs it'
    raise ModuleNotFoundError(text) from None

from minidqn import DQN, CheckpointError, load
from minidqn.nn.layers import Layer, Linear
from minidqn.parts.cells import CellConv2d
from minidqn.parts.conv import Conv2d
from minidqn.parts.dueling import Dueling
from minidqn.parts.frames import Flatten
from minidqn.parts.layer_norm import LayerNorm
from minidqn.parts.noisy import NoisyLinear
from minidqn.parts.normalize import Normalize
from minidqn.parts.running import LARGEST, RunningNormalize

OPSET = 17  # of ONNX's operations: the first version with LayerNormalization
IR_VERSION = 8  # of the file format, which goes with it: old runtimes read it, too


class Graph:
    """The nodes of a model so far, and its parameters."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Add an array; its name."""
        name = f"constant_{len(self.constants)}"
        array = np.ascontiguousarray(values, dtype)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def add(self, operation: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; the name of its output."""
        name = f"{operation}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [name], **attributes))
        return name

    def reshape(self, x: str, *shape: int) -> str:
        """x in another shape; -1 stands for what is left, such as the batch."""
        return self.add("Reshape", x, self.constant(shape, np.int64))

    def relu(self, x: str, layer: Any) -> str:
        """max(x, 0), if the layer has a ReLU."""
        return self.add("Relu", x) if layer.relu else x


def flatten(graph: Graph, layer: Flatten, x: str) -> str:
    """(B, ...) to (B, I)."""
    return graph.add("Flatten", x)


def normalize(graph: Graph, layer: Normalize, x: str) -> str:
    """y = scale x + shift, (B, I)."""
    scaled = graph.add("Mul", x, graph.constant(layer.scale))
    return graph.add("Add", scaled, graph.constant(layer.shift))


def running_normalize(graph: Graph, layer: RunningNormalize, x: str) -> str:
    """y = scale (x - mean), cut at both ends, (B, I)."""
    frames = layer.width // len(layer.statistics.mean)
    mean = graph.constant(np.tile(layer.statistics.mean, frames))
    scale = graph.constant(np.tile(layer.statistics.scale, frames))
    y = graph.add("Mul", graph.add("Sub", x, mean), scale)
    return graph.add("Clip", y, graph.constant(-LARGEST), graph.constant(LARGEST))


def linear(graph: Graph, layer: Linear | NoisyLinear, x: str) -> str:
    """y = x W + b, (B, I) to (B, O). W and b of a noisy layer are their means."""
    W = graph.constant(layer.W)
    b = graph.constant(layer.b)
    return graph.relu(graph.add("Gemm", x, W, b), layer)


def conv(graph: Graph, layer: Conv2d, x: str) -> str:
    """A convolution, (B, F, H, W, C) to (B, h*w*O).

    ONNX has the channels before height and width. Stacked frames are channels there.
    """
    frames, height, width, channels = layer.shape
    image = graph.reshape(x, -1, frames, height, width, channels)
    image = graph.add("Transpose", image, perm=[0, 1, 4, 2, 3])  # (B, F, C, H, W)
    image = graph.reshape(image, -1, frames * channels, height, width)

    k = layer.k
    filters = layer.W.reshape(frames, k, k, channels, layer.n_out)
    filters = filters.transpose(4, 0, 3, 1, 2)  # (O, F, C, k, k)
    filters = filters.reshape(layer.n_out, frames * channels, k, k)

    W = graph.constant(filters)
    b = graph.constant(layer.b)
    y = graph.add("Conv", image, W, b, strides=[layer.s, layer.s])  # (B, O, h, w)
    y = graph.add("Transpose", y, perm=[0, 2, 3, 1])  # (B, h, w, O)
    return graph.relu(graph.add("Flatten", y), layer)


def layer_norm(graph: Graph, layer: LayerNorm, x: str) -> str:
    """y = gain u + bias, with u of mean 0 and variance 1 in each row, (B, I)."""
    gain = graph.constant(layer.gain)
    bias = graph.constant(layer.bias)
    y = graph.add("LayerNormalization", x, gain, bias, axis=1, epsilon=1e-5)
    return graph.relu(y, layer)


def dueling(graph: Graph, layer: Dueling, x: str) -> str:
    """Q = V + G - mean of G, (B, (1 + A) N) to (B, A N)."""
    streams = graph.reshape(x, -1, 1 + layer.n_actions, layer.quantiles)
    first = graph.constant([0], np.int64)
    others = graph.constant(range(1, 1 + layer.n_actions), np.int64)
    v = graph.add("Gather", streams, first, axis=1)  # (B, 1, N)
    g = graph.add("Gather", streams, others, axis=1)  # (B, A, N)
    mean = graph.add("ReduceMean", g, axes=[1], keepdims=1)  # (B, 1, N)
    q = graph.add("Add", v, graph.add("Sub", g, mean))
    return graph.add("Flatten", q)


# by the exact type: a layer that inherits from one of these may compute something else
WRITERS: dict[type[Layer], Any] = {
    Flatten: flatten,
    Normalize: normalize,
    RunningNormalize: running_normalize,
    Linear: linear,
    NoisyLinear: linear,
    Conv2d: conv,
    CellConv2d: conv,
    LayerNorm: layer_norm,
    Dueling: dueling,
}


def floats(graph: Graph, first: Layer, dtype: np.dtype[Any]) -> str:
    """The observations as float32; the bytes of an image become 0 to 1."""
    x = graph.add("Cast", "obs", to=onnx.TensorProto.FLOAT)
    if isinstance(first, Conv2d) and dtype == np.uint8:
        x = graph.add("Div", x, graph.constant(255.0))
    return x


def model_of(agent: DQN) -> onnx.ModelProto:
    """The agent's online network as a model. Raises TypeError for an unknown layer."""
    dtype = agent.replay.dtype
    layers = agent.online.layers
    graph = Graph()
    x = floats(graph, layers[0], dtype)
    for layer in layers:
        kind = type(layer)
        if kind not in WRITERS:
            known = ", ".join(known.__name__ for known in WRITERS)
            raise TypeError(f"the layer {kind.__qualname__}: expected one of {known}")
        x = WRITERS[kind](graph, layer, x)
    quantiles = graph.reshape(x, -1, agent.n_actions, agent.config.quantiles)
    q = graph.add("ReduceMean", quantiles, axes=[2], keepdims=0)  # (B, A)
    graph.nodes.append(helper.make_node("Identity", [q], ["q_values"]))

    obs_type = helper.np_dtype_to_tensor_dtype(dtype)
    obs_shape: list[Any] = ["batch", *agent.replay.stack_shape]
    obs = helper.make_tensor_value_info("obs", obs_type, obs_shape)
    q_shape: list[Any] = ["batch", agent.n_actions]
    q_values = helper.make_tensor_value_info(
        "q_values", onnx.TensorProto.FLOAT, q_shape
    )
    body = helper.make_graph(graph.nodes, "minidqn", [obs], [q_values], graph.constants)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(body, opset_imports=[opset], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def export(agent: DQN, path: str | Path) -> None:
    """Write the agent's policy to a file. Raises TypeError for an unknown layer."""
    onnx.save(model_of(agent), path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a policy as an ONNX model.")
    parser.add_argument("policy", type=Path, help="what `save` wrote")
    parser.add_argument("out", type=Path, help="the file to write")
    args = parser.parse_args()
    try:
        agent = load(args.policy)
        export(agent, args.out)
    except (CheckpointError, OSError, TypeError) as error:
        sys.exit(str(error))
    shape = ", ".join(map(str, agent.replay.stack_shape))
    print(
        f"{args.out}: obs, (batch, {shape}) of {agent.replay.dtype}, to q_values, "
        f"(batch, {agent.n_actions})"
    )


if __name__ == "__main__":
    main()
