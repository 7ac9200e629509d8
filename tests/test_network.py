"""The network: backprop against two numerical derivatives, and the rules of the flat vector.

Central differences, (L(p + h) - L(p - h)) / 2h, need nothing but the forward pass,
but lose half the digits to subtraction. The complex step, Im L(p + ih) / h, has
no subtraction, and is exact to the last digits (Squire & Trapp 1998).
"""

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from hypothesis import given, settings
from hypothesis import strategies as st

from minidqn import DQNConfig
from minidqn.nn.cells import CellConv2d
from minidqn.nn.conv import Conv2d
from minidqn.nn.layers import Array, Cache, Flatten, Layer, Linear
from minidqn.nn.network import Network, Pass
from minidqn.nn.parts import Dueling, LayerNorm, NoisyLinear
from minidqn.qnetwork import q_layers
from minidqn.targets import quantile_huber_loss

from .test_targets import textbook_losses


def random_stack(draw: st.DrawFn, n_actions: int, quantiles: int) -> tuple[int, Any]:
    """How many inputs the stack takes, and a function that builds it in a dtype."""
    depth = draw(st.integers(1, 4))
    dueling = draw(st.booleans())
    widths = draw(st.lists(st.integers(1, 32), min_size=depth, max_size=depth))
    widths.append((n_actions + dueling) * quantiles)
    rectified = draw(st.lists(st.booleans(), min_size=depth, max_size=depth))
    noisy = draw(st.lists(st.booleans(), min_size=depth, max_size=depth))
    # After each layer a LayerNorm without ReLU, one with, or none. A row of two signals is
    # u = -1, 1 whatever they are: nothing is left to check.
    norms = draw(
        st.lists(st.sampled_from([None, None, False, True]), min_size=depth, max_size=depth)
    )

    def build(dtype: Any) -> Network:
        layers: list[Layer] = [Flatten()]
        for i, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
            linear = NoisyLinear if noisy[i] else Linear
            layers.append(linear(n_in, n_out, relu=rectified[i]))
            norm = norms[i]
            if norm is not None and n_out > 2:
                layers.append(LayerNorm(n_out, relu=norm))
        if dueling:
            layers.append(Dueling(n_actions, quantiles))
        return Network(layers, dtype)

    return widths[0], build


def q_network(
    shape: tuple[int, ...],
    hidden: tuple[int, ...],
    n_actions: int,
    dtype: Any = np.float32,
    **c: Any,
) -> Network:
    """The network of a config, for observations within -2 to 2."""
    space = Box(-2.0, 2.0, shape)
    return Network(q_layers(DQNConfig(hidden=hidden, **c), space, n_actions), dtype)


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    """A random stack of layers, a batch for it, and the loss to take gradients of."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_actions, quantiles = draw(st.sampled_from([(1, 1), (3, 1), (20, 1), (1, 4), (2, 3), (5, 4)]))
    n_in, build = random_stack(draw, n_actions, quantiles)
    batch = draw(st.integers(1, 64))
    net = build(np.float64)
    # Biases too: at 0 they would put the units behind a silent layer onto the kink.
    net.params[:] = rng.normal(0.0, 0.6, net.params.size)
    return {
        "build": build,
        "net": net,
        "noise": draw(st.sampled_from([None, 0, 1])),
        "x": rng.normal(size=(batch, 1, n_in)),
        "actions": rng.integers(n_actions, size=batch),
        "targets": rng.normal(size=(batch, quantiles)),
        "weights": rng.uniform(0.1, 1.0, batch),
        "delta": draw(st.sampled_from([0.1, 1.0, math.inf])),
        "coordinates": rng.permutation(net.params.size)[:40],
    }


def pass_of(p: dict[str, Any], net: Network) -> Pass:
    """A pass with the problem's noise in it: the same for each of its networks."""
    forward = Pass(net)
    if p["noise"] is not None:
        forward.draw_noise(np.random.default_rng(p["noise"]))
    return forward


def values(p: dict[str, Any], net: Pass) -> Array:
    batch, quantiles = p["targets"].shape
    return net.forward(p["x"]).reshape(batch, -1, quantiles)  # (B, A, N)


def loss_of(p: dict[str, Any], net: Pass) -> Any:
    q = values(p, net)
    return textbook_losses(q, p["actions"], p["targets"], p["weights"], p["delta"]).mean()


def backprop(p: dict[str, Any]) -> Array:
    net = pass_of(p, p["net"])
    q = values(p, net)
    dq = quantile_huber_loss(q, p["actions"], p["targets"], p["weights"], p["delta"])[1]
    p["net"].grads[:] = math.nan
    net.backward(dq.reshape(len(q), -1))
    grads: Array = p["net"].grads.copy()
    return grads


def complex_step(p: dict[str, Any], twin: Network, coordinates: Any) -> Array:
    """The derivatives by those parameters of `twin`, a complex copy of the problem's network."""
    net, h = pass_of(p, twin), 1e-30
    twin.params[:] = p["net"].params
    numeric = []
    for i in coordinates:
        twin.params[i] += h * 1j
        numeric.append(loss_of(p, net).imag / h)
        twin.params[i] = p["net"].params[i]
    return np.array(numeric)


@given(problems())
@settings(max_examples=150)
def test_gradients_by_complex_step(p: dict[str, Any]) -> None:
    grads = backprop(p)
    numeric = complex_step(p, p["build"](np.complex128), p["coordinates"])
    # A sum of terms that cancel is only as exact as the terms: hence the largest one's scale.
    atol = 1e-12 * abs(grads).max()
    np.testing.assert_allclose(grads[p["coordinates"]], numeric, rtol=1e-12, atol=atol)


def kinks(p: dict[str, Any], net: Pass) -> tuple[Any, ...]:
    """On which side of every kink the forward pass lies: of each ReLU, and of the loss's three."""
    q = values(p, net)
    theta = q[np.arange(len(q)), p["actions"]]  # (B, N)
    u = p["targets"][:, None, :] - theta[:, :, None]  # (B, N, N)
    relus = [cache["y"] > 0 for layer, cache in net.up if rectifies(layer)]
    return tuple(side.tobytes() for side in [*relus, u > p["delta"], u < -p["delta"], u < 0])


def rectifies(layer: Layer) -> bool:
    return isinstance(layer, Linear | LayerNorm) and layer.relu


@given(problems())
@settings(max_examples=150)
def test_gradients_by_central_differences(p: dict[str, Any]) -> None:
    grads = backprop(p)
    net, forward = p["net"], pass_of(p, p["net"])
    here = kinks(p, forward)
    # Between kinks the loss is a parabola in each parameter, for which a central difference is
    # exact. A LayerNorm bends it, so it errs by h^2, and steeply where the signals of a row are
    # nearly equal: 3e-5 was seen. Of two differences, h and 2 h, these errors cancel: h^4 is left.
    h, checked = 1e-5, 0
    for i in p["coordinates"]:
        value, losses = net.params[i], []
        for steps in (2, 1, -1, -2):
            net.params[i] = value + steps * h
            losses.append(loss_of(p, forward))
            if kinks(p, forward) != here:
                break
        else:
            numeric = (8 * (losses[1] - losses[2]) - (losses[0] - losses[3])) / (12 * h)
            assert numeric == pytest.approx(grads[i], rel=1e-6, abs=1e-6 * abs(grads).max())
            checked += 1
        net.params[i] = value
    assert checked >= len(p["coordinates"]) // 4


PARTS = [
    {"quantiles": n, "dueling": dueling, "layer_norm": norm, "noisy": noisy}
    for n, dueling, norm, noisy in itertools.product((1, 3), *[(False, True)] * 3)
]


@pytest.mark.parametrize("parts", PARTS)
def test_every_parameter_of_a_q_network(parts: dict[str, Any]) -> None:
    rng, n = np.random.default_rng(0), parts["quantiles"]
    net, twin = (q_network((4,), (24, 24), 2, t, **parts) for t in (np.float64, np.complex128))
    net.initialize(rng)
    net.params += rng.normal(0.0, 0.1, net.params.size)
    p = {
        "net": net,
        "noise": 0,
        "x": rng.normal(0.0, 2.0, (64, 4)),
        "actions": rng.integers(2, size=64),
        "targets": rng.normal(size=(64, n)),
        "weights": rng.uniform(0.1, 1.0, 64),
        "delta": 1.0,
    }
    grads = backprop(p)
    numeric = complex_step(p, twin, range(net.params.size))
    assert np.count_nonzero(grads) > 0.9 * grads.size  # all but those of a silent unit or two
    np.testing.assert_allclose(grads, numeric, rtol=1e-12, atol=1e-12 * abs(grads).max())


@pytest.mark.parametrize("parts", PARTS)
def test_a_q_network_has_its_parts_in_order(parts: dict[str, Any]) -> None:
    n, dueling, norm, noisy = (
        parts[name] for name in ("quantiles", "dueling", "layer_norm", "noisy")
    )
    net = q_network((4,), (8, 6), 2, **parts)
    linear = NoisyLinear if noisy else Linear
    head = (2 + dueling) * n
    hidden = [linear, LayerNorm] if norm else [linear]
    kinds = [*hidden, *hidden, linear, *([Dueling] if dueling else [])]
    assert [type(layer) for layer in net.layers] == kinds
    weights = (4 * 8 + 8) + (8 * 6 + 6) + (6 * head + head)
    assert net.params.size == weights * (1 + noisy) + norm * 2 * (8 + 6)
    # Each hidden layer ends in a ReLU, after its normalisation, and the outputs do not.
    relus = [layer.relu for layer in net.layers if isinstance(layer, Linear | LayerNorm)]
    assert relus == ([False, True] * 2 if norm else [True] * 2) + [False]
    net.initialize(np.random.default_rng(0))
    assert net.forward(np.ones((5, 4), np.float32)).shape == (5, 2 * n)
    if dueling:  # one action's quantiles lie side by side
        x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
        forward = Pass(net)
        q = forward.forward(x).reshape(5, 2, n)
        v = forward.caches[-2]["y"][:, :n]
        np.testing.assert_allclose(q.mean(axis=1), v, atol=1e-6)


@pytest.mark.parametrize("norm", [False, True])
def test_a_q_network_of_images_has_its_parts_in_order(norm: bool) -> None:
    c = DQNConfig(conv=((4, 4, 2), (3, 3, 1)), hidden=(5,), layer_norm=norm)
    layers: Any = q_layers(c, Box(0, 255, (10, 10, 1), np.uint8), 2)
    norms = [LayerNorm] * norm
    assert [type(layer) for layer in layers] == [
        *(CellConv2d, *norms),  # a kernel of twice the stride, few channels
        *(Conv2d, *norms),
        *(Linear, *norms),
        Linear,
    ]
    relus = [layer.relu for layer in layers]  # after the normalisation
    assert relus == ([False, True] * 3 if norm else [True] * 3) + [False]


def test_few_filters_with_a_stride_of_half_their_size_are_made_by_cells() -> None:
    def kinds(first: int, second: int) -> list[type]:
        c = DQNConfig(conv=((first, 4, 2), (second, 4, 2)), hidden=())
        return [type(layer) for layer in q_layers(c, Box(0, 255, (16, 16, 1), np.uint8), 2)[:2]]

    assert kinds(32, 16) == [CellConv2d, CellConv2d]
    assert kinds(33, 17) == [Conv2d, Conv2d]


def test_noise_of_every_layer_and_pass_is_its_own() -> None:
    net = q_network((4,), (4, 4), 4, noisy=True)
    net.initialize(np.random.default_rng(0))
    rng, first, other = np.random.default_rng(0), Pass(net), Pass(net)
    first.draw_noise(rng)
    other.draw_noise(rng)
    caches = first.caches + other.caches
    drawn = np.concatenate([c[name] for c in caches for name in ("f_in", "f_out")])
    assert drawn.size == 2 * 3 * 8
    assert np.unique(drawn).size == drawn.size
    x = np.ones((2, 4), np.float32)
    noisy, quiet = first.forward(x), net.forward(x)
    assert abs(noisy - quiet).min() > 0.0
    assert abs(noisy - other.forward(x)).min() > 0.0


def test_noise_is_drawn_for_noisy_layers_alone() -> None:
    net = q_network((4,), (4,), 2, layer_norm=True, dueling=True)
    rng, forward = np.random.default_rng(0), Pass(net)
    forward.draw_noise(rng)
    assert not any(forward.caches)
    assert rng.random() == np.random.default_rng(0).random()


def test_layers_are_views_of_the_flat_vectors() -> None:
    net = q_network((4,), (8, 8), 2)
    linears = [layer for layer in net.layers if isinstance(layer, Linear)]
    assert net.params.size == sum(layer.W.size + layer.b.size for layer in linears)
    net.params[:] = np.arange(net.params.size)
    seen = np.concatenate([np.concatenate([layer.W.ravel(), layer.b]) for layer in linears])
    np.testing.assert_array_equal(seen, net.params)
    for layer in linears:
        for view, owner in (
            (layer.W, net.params),
            (layer.b, net.params),
            (layer.dW, net.grads),
            (layer.db, net.grads),
        ):
            assert np.shares_memory(view, owner)


def test_a_second_forward_pass_does_not_spoil_the_first() -> None:
    rng = np.random.default_rng(0)
    net = q_network((4,), (8,), 2, np.float64)
    net.initialize(rng)
    x, dq = rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
    first, other = Pass(net), Pass(net)
    first.forward(x)
    first.backward(dq.copy())
    expected = net.grads.copy()

    first.forward(x)
    other.forward(rng.normal(size=(5, 4)))
    net.forward(rng.normal(size=(5, 4)))
    first.backward(dq.copy())
    np.testing.assert_array_equal(net.grads, expected)


def test_gradients_do_not_accumulate() -> None:
    net = q_network((3,), (5,), 2)
    net.initialize(np.random.default_rng(0))
    forward = Pass(net)
    forward.forward(np.ones((2, 3), np.float32))
    forward.backward(np.ones((2, 2), np.float32))
    once = net.grads.copy()
    forward.backward(np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(net.grads, once)


def test_no_gradient_is_computed_that_nobody_needs() -> None:
    class Asked(Linear):
        def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
            asked.append(need_dx)
            return super().backward(dy, cache, need_dx)

    asked: list[bool] = []
    net = Network([Flatten(), Asked(6, 4, relu=True), Asked(4, 3, relu=True), Asked(3, 2)])
    net.initialize(np.random.default_rng(0))
    forward = Pass(net)
    forward.backward(forward.forward(np.ones((5, 2, 3))).copy())
    assert asked == [True, True, False]
    nothing = Pass(Network([Flatten()]))  # nor does it fail where there is none at all
    nothing.backward(nothing.forward(np.ones((5, 2, 3))))


def test_a_q_network_takes_a_vector_or_a_number_and_keeps_its_dtype() -> None:
    rng = np.random.default_rng(0)
    for shape in [(4,), ()]:
        net = q_network(shape, (8,), 3)
        q = net.forward(np.zeros((5, *shape), np.uint8))
        assert q.shape == (5, 3)
        assert q.dtype == np.float32
        normalized = q_network(shape, (8,), 3, normalize_obs=True)
        normalized.params[:] = rng.normal(size=normalized.params.size)
        net.params[:] = normalized.params
        x = rng.uniform(-2.0, 2.0, (5, *shape))
        np.testing.assert_allclose(normalized.forward(x), net.forward(x / 2.0), rtol=1e-5)


def test_final_gain_makes_the_first_values_small() -> None:
    x = np.random.default_rng(1).normal(size=(100, 4)).astype(np.float32)
    sizes = []
    for gain in (1.0, 0.1):
        net = q_network((4,), (64, 64), 2, final_gain=gain)
        net.initialize(np.random.default_rng(0))
        sizes.append(net.forward(x).std())
    assert sizes[1] == pytest.approx(0.1 * sizes[0], rel=1e-5)


def test_a_copy_that_would_detach_the_views_is_refused() -> None:
    with pytest.raises(TypeError, match="a copy would detach the views"):
        copy.deepcopy(q_network((3,), (5,), 2))
