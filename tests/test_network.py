"""The network: backprop against two numerical derivatives, and the rules of the flat vector.

Central differences, (L(p + h) - L(p - h)) / 2h, need nothing but the forward pass,
but lose half the digits to subtraction. The complex step, Im L(p + ih) / h, has
no subtraction, and is exact to the last digits (Squire & Trapp 1998).
"""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidqn.layers import Array, Cache, Flatten, Linear
from minidqn.network import Layer, Network, mlp
from minidqn.targets import huber_loss


def loss_of(q: Array, actions: Array, y: Array, delta: float) -> Any:
    """Huber's loss as in the textbook, for complex numbers too: the real part decides."""
    e = q[np.arange(len(q)), actions] - y
    size = np.where(e.real < 0, -e, e)
    with np.errstate(invalid="ignore"):  # inf - inf in the branch not taken
        line = delta * (size - 0.5 * delta)
    return np.where(size.real <= delta, 0.5 * e * e, line).mean()


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    """A random stack of layers, a batch for it, and the loss to take gradients of."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    depth = draw(st.integers(1, 4))
    widths = draw(st.lists(st.integers(1, 32), min_size=depth + 1, max_size=depth + 1))
    rectified = draw(st.lists(st.booleans(), min_size=depth, max_size=depth))
    batch = draw(st.integers(1, 64))

    def build(dtype: Any) -> Network:
        layers: list[Layer] = [Flatten()]
        for n_in, n_out, relu in zip(widths, widths[1:], rectified, strict=False):
            layers.append(Linear(n_in, n_out, relu=relu))
        return Network(layers, dtype)

    net = build(np.float64)
    # Biases too: at 0 they would put the units behind a silent layer onto the kink.
    net.params[:] = rng.normal(0.0, 0.6, net.params.size)
    return {
        "build": build,
        "net": net,
        "x": rng.normal(size=(batch, 1, widths[0])),
        "actions": rng.integers(widths[-1], size=batch),
        "y": rng.normal(size=batch),
        "delta": draw(st.sampled_from([0.1, 1.0, math.inf])),
        "coordinates": rng.permutation(net.params.size)[:40],
    }


def backprop(p: dict[str, Any]) -> Array:
    net = p["net"]
    cache = net.cache()
    q = net.forward(p["x"], cache)
    _, dq = huber_loss(q, p["actions"], p["y"], p["delta"])
    net.backward(dq, cache)
    grads: Array = net.grads.copy()
    return grads


@given(problems())
@settings(max_examples=150)
def test_gradients_by_complex_step(p: dict[str, Any]) -> None:
    grads = backprop(p)
    twin = p["build"](np.complex128)
    twin.params[:] = p["net"].params
    h = 1e-30
    for i in p["coordinates"]:
        twin.params[i] += h * 1j
        numeric = loss_of(twin.forward(p["x"]), p["actions"], p["y"], p["delta"]).imag / h
        twin.params[i] = p["net"].params[i]
        # A sum of terms that cancel is only as exact as the terms: hence the largest one's scale.
        assert numeric == pytest.approx(grads[i], rel=1e-12, abs=1e-12 * abs(grads).max())


def kinks(p: dict[str, Any]) -> tuple[Any, ...]:
    """On which side of every kink the forward pass lies: of each ReLU, and of Huber's two."""
    net, cache = p["net"], p["net"].cache()
    q = net.forward(p["x"], cache)
    e = q[np.arange(len(q)), p["actions"]] - p["y"]
    layers = zip(net.layers, cache, strict=True)
    relus = [c["y"] > 0 for layer, c in layers if isinstance(layer, Linear) and layer.relu]
    return tuple(side.tobytes() for side in [*relus, e > p["delta"], e < -p["delta"]])


@given(problems())
@settings(max_examples=150)
def test_gradients_by_central_differences(p: dict[str, Any]) -> None:
    grads = backprop(p)
    net, here = p["net"], kinks(p)
    # Between kinks the loss is a parabola in each parameter, for which a central
    # difference is exact: h need only be large against rounding.
    h = 1e-4
    checked = 0
    for i in p["coordinates"]:
        value, losses = net.params[i], []
        for sign in (1, -1):
            net.params[i] = value + sign * h
            losses.append(loss_of(net.forward(p["x"]), p["actions"], p["y"], p["delta"]))
            if kinks(p) != here:
                break
        else:
            numeric = (losses[0] - losses[1]) / (2 * h)
            assert numeric == pytest.approx(grads[i], rel=1e-6, abs=1e-6 * abs(grads).max())
            checked += 1
        net.params[i] = value
    assert checked >= len(p["coordinates"]) // 4


def test_every_parameter_of_a_q_network() -> None:
    rng = np.random.default_rng(0)
    net, twin = (
        mlp((4,), (24, 24), 2, dtype=np.float64),
        mlp((4,), (24, 24), 2, dtype=np.complex128),
    )
    net.initialize(rng)
    net.params += rng.normal(0.0, 0.1, net.params.size)
    x, actions, y = rng.normal(size=(32, 4)), rng.integers(2, size=32), rng.normal(size=32)
    p = {"net": net, "x": x, "actions": actions, "y": y, "delta": 1.0}
    grads = backprop(p)
    numeric = np.zeros_like(grads)
    for i in range(net.params.size):
        twin.params[:] = net.params
        twin.params[i] += 1e-30j
        numeric[i] = loss_of(twin.forward(x), actions, y, 1.0).imag / 1e-30
    assert np.count_nonzero(grads) > 0.9 * grads.size  # all but those of a silent unit or two
    np.testing.assert_allclose(grads, numeric, rtol=1e-12, atol=1e-12 * abs(grads).max())


def test_layers_are_views_of_the_flat_vectors() -> None:
    net = mlp((4,), (8, 8), 2)
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
    net = mlp((4,), (8,), 2, dtype=np.float64)
    net.initialize(rng)
    x, dq = rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
    cache, other = net.cache(), net.cache()
    net.forward(x, cache)
    net.backward(dq.copy(), cache)
    expected = net.grads.copy()

    net.forward(x, cache)
    net.forward(rng.normal(size=(5, 4)), other)
    net.forward(rng.normal(size=(5, 4)))
    net.backward(dq.copy(), cache)
    np.testing.assert_array_equal(net.grads, expected)


def test_gradients_do_not_accumulate() -> None:
    net = mlp((3,), (5,), 2)
    net.initialize(np.random.default_rng(0))
    cache = net.cache()
    net.forward(np.ones((2, 3), np.float32), cache)
    net.backward(np.ones((2, 2), np.float32), cache)
    once = net.grads.copy()
    net.backward(np.ones((2, 2), np.float32), cache)
    np.testing.assert_array_equal(net.grads, once)


def test_no_gradient_is_computed_that_nobody_needs() -> None:
    class Asked(Linear):
        def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
            asked.append(need_dx)
            return super().backward(dy, cache, need_dx)

    asked: list[bool] = []
    net = Network([Flatten(), Asked(6, 4, relu=True), Asked(4, 3, relu=True), Asked(3, 2)])
    net.initialize(np.random.default_rng(0))
    cache = net.cache()
    net.backward(net.forward(np.ones((5, 2, 3)), cache).copy(), cache)
    assert asked == [True, True, False]
    nothing = Network([Flatten()])  # nor does it fail where there is none at all
    cache = nothing.cache()
    nothing.backward(nothing.forward(np.ones((5, 2, 3)), cache), cache)


def test_mlp_takes_any_observation_shape_and_keeps_its_dtype() -> None:
    rng = np.random.default_rng(0)
    for shape in [(4,), (2, 3), ()]:
        net = mlp(shape, (8,), 3)
        q = net.forward(np.zeros((5, *shape), np.uint8))
        assert q.shape == (5, 3)
        assert q.dtype == np.float32
        bounds = np.full(shape, -2.0), np.full(shape, 2.0)
        normalized = mlp(shape, (8,), 3, bounds=bounds)
        normalized.params[:] = rng.normal(size=normalized.params.size)
        net.params[:] = normalized.params
        x = rng.uniform(-2.0, 2.0, (5, *shape))
        np.testing.assert_allclose(normalized.forward(x), net.forward(x / 2.0), rtol=1e-5)


def test_final_gain_makes_the_first_values_small() -> None:
    x = np.random.default_rng(1).normal(size=(100, 4)).astype(np.float32)
    sizes = []
    for gain in (1.0, 0.1):
        net = mlp((4,), (64, 64), 2, final_gain=gain)
        net.initialize(np.random.default_rng(0))
        sizes.append(net.forward(x).std())
    assert sizes[1] == pytest.approx(0.1 * sizes[0], rel=1e-5)
