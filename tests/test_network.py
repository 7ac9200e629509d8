"""The network: backprop against two numerical derivatives, and the rules of its arrays.

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
from minidqn.nn.layers import Array, Layer, Linear
from minidqn.nn.network import KEPT_BATCH_SIZES, Network
from minidqn.parts.cells import CellConv2d
from minidqn.parts.conv import Conv2d
from minidqn.parts.dueling import Dueling
from minidqn.parts.frames import Flatten
from minidqn.parts.layer_norm import LayerNorm
from minidqn.parts.noisy import NoisyLinear
from minidqn.parts.qnetwork import q_layers
from minidqn.parts.quantiles import QuantileLoss
from minidqn.targets import HuberLoss

from .test_targets import textbook_losses


def test_gradients_of_a_small_network_by_complex_step() -> None:
    """To read first. The loss is L = sum of y^2 / 2, so dL/dy = y.

    Move one parameter p by ih, with a tiny h: L(p + ih) = L(p) + ih dL/dp + O(h^2). So
    the imaginary part, divided by h, is the derivative. Backward has to give the same.
    """
    network = Network([Linear(3, 4, relu=True), Linear(4, 2)], np.complex128)
    network.initialize(np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(5, 3))
    network.backward(network.forward(x).copy())

    for i in range(network.params.size):
        network.params[i] += 1e-30j
        loss = (network.forward(x) ** 2).sum() / 2
        network.params[i] -= 1e-30j
        assert loss.imag / 1e-30 == pytest.approx(network.grads[i].real, rel=1e-12)


def random_stack(draw: st.DrawFn, n_actions: int, quantiles: int) -> tuple[int, Any]:
    """How many inputs the stack takes, and a function that builds it in a dtype."""
    depth = draw(st.integers(1, 4))
    dueling = draw(st.booleans())
    widths = draw(st.lists(st.integers(1, 32), min_size=depth, max_size=depth))
    widths.append((n_actions + dueling) * quantiles)
    rectified = draw(st.lists(st.booleans(), min_size=depth, max_size=depth))
    noisy = draw(st.lists(st.booleans(), min_size=depth, max_size=depth))
    # After each layer a LayerNorm without ReLU, one with, or none. A row of two signals
    # is u = -1, 1 whatever they are: nothing is left to check.
    norms = draw(
        st.lists(
            st.sampled_from([None, None, False, True]), min_size=depth, max_size=depth
        )
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
    n_actions, quantiles = draw(
        st.sampled_from([(1, 1), (3, 1), (20, 1), (1, 4), (2, 3), (5, 4)])
    )
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


def values(p: dict[str, Any], net: Network) -> Array:
    """The outputs, (B, A, N), with the problem's noise, the same for each network."""
    rng = None if p["noise"] is None else np.random.default_rng(p["noise"])
    batch, quantiles = p["targets"].shape
    return net.forward(p["x"], rng).reshape(batch, -1, quantiles)


def loss_of(p: dict[str, Any], net: Network) -> Any:
    q = values(p, net)
    return textbook_losses(
        q, p["actions"], p["targets"], p["weights"], p["delta"]
    ).mean()


def backprop(p: dict[str, Any]) -> Array:
    net = p["net"]
    batch, n_actions, quantiles = values(p, net).shape
    outputs = net.last_caches[-1].y.reshape(batch, -1)
    shape = batch, n_actions, net.dtype, p["delta"]
    if quantiles == 1:
        plain = HuberLoss(*shape)
        y = p["targets"][:, 0]
        _, _, dq, _ = plain.gradient(outputs, p["actions"], y, p["weights"])
    else:
        of_quantiles = QuantileLoss(*shape, quantiles)
        y = p["targets"]
        _, _, dq, _ = of_quantiles.gradient(outputs, p["actions"], y, p["weights"])
    net.grads[:] = math.nan
    net.backward(dq)
    grads: Array = net.grads.copy()
    return grads


def complex_step(p: dict[str, Any], twin: Network, coordinates: Any) -> Array:
    """The derivatives by those parameters of `twin`, a complex copy of the network."""
    h = 1e-30
    twin.params[:] = p["net"].params
    numeric = []
    for i in coordinates:
        twin.params[i] += h * 1j
        numeric.append(loss_of(p, twin).imag / h)
        twin.params[i] = p["net"].params[i]
    return np.array(numeric)


@given(problems())
@settings(max_examples=150)
def test_gradients_by_complex_step(p: dict[str, Any]) -> None:
    grads = backprop(p)
    numeric = complex_step(p, p["build"](np.complex128), p["coordinates"])
    # A sum of terms that cancel is only as exact as the terms: hence the largest one's
    # scale.
    atol = 1e-12 * abs(grads).max()
    np.testing.assert_allclose(grads[p["coordinates"]], numeric, rtol=1e-12, atol=atol)


def kinks(p: dict[str, Any], net: Network) -> tuple[Any, ...]:
    """On which side of each kink forward lies: the ReLUs', and the loss's three."""
    q = values(p, net)
    theta = q[np.arange(len(q)), p["actions"]]  # (B, N)
    u = p["targets"][:, None, :] - theta[:, :, None]  # (B, N, N)
    pairs = zip(net.layers, net.last_caches, strict=True)
    relus = [cache.y > 0 for layer, cache in pairs if rectifies(layer)]
    return tuple(
        side.tobytes() for side in [*relus, u > p["delta"], u < -p["delta"], u < 0]
    )


def rectifies(layer: Layer) -> bool:
    return isinstance(layer, Linear | NoisyLinear | LayerNorm) and layer.relu


@given(problems())
@settings(max_examples=150)
def test_gradients_by_central_differences(p: dict[str, Any]) -> None:
    grads = backprop(p)
    net = p["net"]
    here = kinks(p, net)
    # Between kinks the loss is a parabola in each parameter, for which a central
    # difference is exact. A LayerNorm bends it, so it errs by h^2, and steeply where
    # the signals of a row are nearly equal: 3e-5 was seen. Of two differences, h and
    # 2 h, these errors cancel: h^4 is left.
    h, checked = 1e-5, 0
    for i in p["coordinates"]:
        value, losses = net.params[i], []
        for steps in (2, 1, -1, -2):
            net.params[i] = value + steps * h
            losses.append(loss_of(p, net))
            if kinks(p, net) != here:
                break
        else:
            numeric = (8 * (losses[1] - losses[2]) - (losses[0] - losses[3])) / (12 * h)
            assert numeric == pytest.approx(
                grads[i], rel=1e-6, abs=1e-6 * abs(grads).max()
            )
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
    net, twin = (
        q_network((4,), (24, 24), 2, t, **parts) for t in (np.float64, np.complex128)
    )
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
    assert (
        np.count_nonzero(grads) > 0.9 * grads.size
    )  # all but those of a silent unit or two
    np.testing.assert_allclose(
        grads, numeric, rtol=1e-12, atol=1e-12 * abs(grads).max()
    )


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
    relus = [
        layer.relu
        for layer in net.layers
        if isinstance(layer, Linear | NoisyLinear | LayerNorm)
    ]
    assert relus == ([False, True] * 2 if norm else [True] * 2) + [False]
    net.initialize(np.random.default_rng(0))
    assert net.forward(np.ones((5, 4), np.float32)).shape == (5, 2 * n)
    if dueling:  # one action's quantiles lie side by side
        x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
        q = net.forward(x).reshape(5, 2, n)
        v = net.last_caches[-2].y[:, :n]
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
        return [
            type(layer)
            for layer in q_layers(c, Box(0, 255, (16, 16, 1), np.uint8), 2)[:2]
        ]

    assert kinds(32, 16) == [CellConv2d, CellConv2d]
    assert kinds(33, 17) == [Conv2d, Conv2d]


def test_noise_of_every_layer_and_forward_is_its_own() -> None:
    net = q_network((4,), (4, 4), 4, noisy=True)
    net.initialize(np.random.default_rng(0))
    rng, x = np.random.default_rng(0), np.ones((2, 4), np.float32)
    drawn: list[Array] = []
    outputs = []
    for _ in range(2):
        outputs.append(net.forward(x, rng).copy())
        for layer in net.layers:
            assert isinstance(layer, NoisyLinear)
            drawn.extend([layer.f_in[:-1].copy(), layer.f_out.copy()])
    assert np.concatenate(drawn).size == 2 * 3 * 8
    assert np.unique(np.concatenate(drawn)).size == 2 * 3 * 8
    quiet = net.forward(x)
    assert abs(outputs[0] - quiet).min() > 0.0
    assert abs(outputs[0] - outputs[1]).min() > 0.0
    # and all of it comes from the generator
    np.testing.assert_array_equal(net.forward(x, np.random.default_rng(0)), outputs[0])


def test_noise_is_drawn_for_noisy_layers_alone() -> None:
    net = q_network((4,), (4,), 2, layer_norm=True, dueling=True)
    rng = np.random.default_rng(0)
    net.initialize(rng)
    before = rng.bit_generator.state
    for n in (1, 5):
        x = np.ones((n, 4), np.float32)
        quiet = net.forward(x).copy()
        np.testing.assert_array_equal(net.forward(x, rng), quiet)
        np.testing.assert_array_equal(net.predict(x, rng), quiet)
    assert rng.bit_generator.state == before


def test_layers_are_views_of_the_flat_vectors() -> None:
    net = q_network((4,), (8, 8), 2)
    linears = [layer for layer in net.layers if isinstance(layer, Linear)]
    assert net.params.size == sum(layer.W.size + layer.b.size for layer in linears)
    net.params[:] = np.arange(net.params.size)
    seen = np.concatenate(
        [np.concatenate([layer.W.ravel(), layer.b]) for layer in linears]
    )
    np.testing.assert_array_equal(seen, net.params)
    for layer in linears:
        for view, owner in (
            (layer.W, net.params),
            (layer.b, net.params),
            (layer.dW, net.grads),
            (layer.db, net.grads),
        ):
            assert np.shares_memory(view, owner)


# networks that take different ways through predict: one kernel, or layer by layer
WAYS: list[dict[str, Any]] = [
    {},
    {"normalize_obs": True},
    {"layer_norm": True},
    {"dueling": True, "quantiles": 2},
    {"noisy": True},
]


@pytest.mark.parametrize("parts", WAYS)
def test_another_network_does_not_spoil_the_first(parts: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    first, other = (q_network((4,), (8,), 2, np.float64, **parts) for _ in "ab")
    first.initialize(rng)
    other.initialize(rng)
    x = rng.normal(size=(5, 4))
    results = []
    for between in (False, True):
        y = first.forward(x, np.random.default_rng(7))
        if between:
            other.forward(rng.normal(size=(5, 4)), rng)
            other.predict(rng.normal(size=(5, 4)), rng)
        first.backward(y.copy())
        results.append([y.copy(), first.grads.copy()])
    for expected, found in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("parts", WAYS[:-1])
def test_a_prediction_of_another_size_does_not_spoil_the_forward_before(
    parts: dict[str, Any], n: int
) -> None:
    """An act may come between forward and backward.

    Not with noise: NoisyLinear keeps only that of its last forward.
    """
    rng = np.random.default_rng(0)
    net = q_network((4,), (8,), 2, np.float64, **parts)
    net.initialize(rng)
    x = rng.normal(size=(5, 4))
    results = []
    for between in (False, True):
        y = net.forward(x)
        if between:
            net.predict(rng.normal(size=(n, 4)))
        net.backward(y.copy())
        results.append([y.copy(), net.grads.copy()])
    for expected, found in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_backward_belongs_to_the_last_forward() -> None:
    rng = np.random.default_rng(0)
    net = q_network((4,), (8,), 2, np.float64)
    net.initialize(rng)
    x, dy = rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
    net.forward(x)
    net.backward(dy.copy())
    expected = net.grads.copy()
    for other in (-x, x[:3], x[:1]):
        net.forward(other)
        net.forward(x)
        net.backward(dy.copy())
        np.testing.assert_array_equal(net.grads, expected)


def test_arrays_are_kept_for_a_few_batch_sizes() -> None:
    net = q_network((3,), (5,), 2)
    kept = {n: net.forward(np.zeros((n, 3))) for n in range(1, KEPT_BATCH_SIZES + 1)}
    for n, y in kept.items():
        assert net.forward(np.ones((n, 3))) is y
    assert list(net.caches) == list(kept)
    largest = KEPT_BATCH_SIZES  # it takes the most memory, and so is dropped
    net.forward(np.ones((largest + 1, 3)))
    assert list(net.caches) == [*range(1, largest), largest + 1]
    assert net.forward(np.ones((1, 3))) is kept[1]
    assert net.forward(np.ones((largest, 3))) is not kept[largest]
    assert len(net.caches) == KEPT_BATCH_SIZES


def test_backward_finds_its_arrays_where_they_are_not_kept_any_more() -> None:
    """Here one observation goes through the Normalize layer's cache, a fifth."""
    rng = np.random.default_rng(0)
    net = q_network((4,), (8,), 2, np.float64, normalize_obs=True)
    net.initialize(rng)
    x, dy = rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
    net.forward(x)
    net.backward(dy.copy())
    expected = net.grads.copy()
    for n in range(2, KEPT_BATCH_SIZES + 1):
        net.forward(rng.normal(size=(n, 4)))
    net.forward(x)
    net.predict(x[:1])
    assert 5 not in net.caches
    net.backward(dy.copy())
    np.testing.assert_array_equal(net.grads, expected)


@pytest.mark.parametrize("parts", WAYS)
def test_two_networks_may_share_their_arrays(parts: dict[str, Any]) -> None:
    """Then a forward of one overwrites what the other's last forward left, no more."""
    rng = np.random.default_rng(0)
    online, target, alone = (q_network((4,), (8,), 2, **parts) for _ in "abc")
    online.initialize(rng)
    target.initialize(rng)
    alone.params[:] = target.params
    target.share_caches(online)
    x = rng.normal(size=(5, 4)).astype(np.float32)
    for n in (5, 1, 2):
        y = online.forward(x[:n])
        expected = alone.forward(x[:n])
        assert abs(y - expected).max() > 0.0
        theirs = target.forward(x[:n])
        assert np.shares_memory(theirs, y)
        np.testing.assert_array_equal(theirs, expected)
        single = alone.predict(x[:n]).copy()
        np.testing.assert_array_equal(target.predict(x[:n]), single)
    # the gradients of the one that has just been forward are its own
    dy = rng.normal(size=expected.shape).astype(np.float32)
    for net in (target, alone):
        net.forward(x[:2])
        net.backward(dy.copy())
    np.testing.assert_array_equal(target.grads, alone.grads)
    assert not online.grads.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_network_moves_towards_another(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    net, other = (q_network((4,), (8,), 2, dtype) for _ in "ab")
    net.initialize(rng)
    other.initialize(rng)
    start, goal = net.params.copy(), other.params.copy()
    net.move_towards(other, 0.25)
    np.testing.assert_allclose(net.params, 0.75 * start + 0.25 * goal, rtol=1e-5)
    net.move_towards(other, 1.0)
    np.testing.assert_array_equal(net.params, goal)
    np.testing.assert_array_equal(other.params, goal)


def test_gradients_do_not_accumulate() -> None:
    net = q_network((3,), (5,), 2)
    net.initialize(np.random.default_rng(0))
    net.forward(np.ones((2, 3), np.float32))
    net.backward(np.ones((2, 2), np.float32))
    once = net.grads.copy()
    net.backward(np.ones((2, 2), np.float32))
    np.testing.assert_array_equal(net.grads, once)


def test_no_gradient_is_computed_that_nobody_needs() -> None:
    class Asked(Linear):
        def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
            asked.append(need_dx)
            return super().backward(dy, cache, need_dx)

    asked: list[bool] = []
    net = Network(
        [Flatten(), Asked(6, 4, relu=True), Asked(4, 3, relu=True), Asked(3, 2)]
    )
    net.initialize(np.random.default_rng(0))
    net.backward(net.forward(np.ones((5, 2, 3))).copy())
    assert asked == [True, True, False]
    nothing = Network([Flatten()])  # nor does it fail where there is none at all
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
        np.testing.assert_allclose(
            normalized.forward(x), net.forward(x / 2.0), rtol=1e-5
        )


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
