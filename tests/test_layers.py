"""Layers by themselves: against loops written from the scalar rules, and what defines each."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest

from minidqn.nn import layers, parts
from minidqn.nn.layers import Array, Cache, Flatten, Layer, Linear, Normalize

from .conftest import plain

L = TypeVar("L", bound=Layer)


def new_cache() -> Cache:
    return {}


def backward(layer: Layer, dy: Array, cache: Cache) -> Array:
    dx = layer.backward(dy, cache)
    assert dx is not None
    return dx


def bound(layer: L) -> L:
    layer.bind(np.zeros(layer.size), np.zeros(layer.size))
    layer.initialize(np.random.default_rng(0))
    return layer


def test_linear_against_the_scalar_rules() -> None:
    layer = bound(Linear(3, 2))
    layer.b[:] = 0.5, -0.5
    rng = np.random.default_rng(1)
    x, dy = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    y, db = np.zeros((4, 2)), np.zeros(2)
    dW, dx = np.zeros((3, 2)), np.zeros((4, 3))
    for b in range(4):
        for o in range(2):
            y[b, o] = layer.b[o] + sum(x[b, i] * layer.W[i, o] for i in range(3))
            db[o] += dy[b, o]
            for i in range(3):
                dW[i, o] += x[b, i] * dy[b, o]
                dx[b, i] += layer.W[i, o] * dy[b, o]

    cache = new_cache()
    np.testing.assert_allclose(layer.forward(x, cache), y, rtol=1e-13)
    np.testing.assert_allclose(backward(layer, dy, cache), dx, rtol=1e-13)
    np.testing.assert_allclose(layer.dW, dW, rtol=1e-13)
    np.testing.assert_allclose(layer.db, db, rtol=1e-13)


def test_no_input_gradient_when_nobody_needs_it() -> None:
    layer, cache = bound(Linear(3, 2)), new_cache()
    layer.forward(np.ones((4, 3)), cache)
    assert layer.backward(np.ones((4, 2)), cache, need_dx=False) is None
    np.testing.assert_array_equal(layer.dW, np.full((3, 2), 4.0))


def test_he_initialisation() -> None:
    layer = bound(Linear(400, 300))
    assert layer.W.std() == pytest.approx(np.sqrt(2 / 400), rel=0.01)
    assert abs(layer.W.mean()) < 0.001
    assert layer.b.std() == pytest.approx(1 / np.sqrt(400) / np.sqrt(3), rel=0.1)
    assert 0.9 / np.sqrt(400) < abs(layer.b).max() <= 1 / np.sqrt(400)
    assert bound(Linear(400, 300, gain=0.1)).W.std() == pytest.approx(0.1 / 20, rel=0.01)


def test_relu_and_its_subgradient_at_the_kink() -> None:
    layer, cache = Linear(4, 4, relu=True), new_cache()
    layer.bind(np.zeros(layer.size), np.zeros(layer.size))
    layer.W[:] = np.eye(4)
    x = np.array([[-2.0, -0.0, 0.0, 3.0]])
    np.testing.assert_array_equal(layer.forward(x, cache), [[0.0, 0.0, 0.0, 3.0]])
    np.testing.assert_array_equal(backward(layer, np.full((1, 4), 7.0), cache), [[0, 0, 0, 7]])
    np.testing.assert_array_equal(layer.db, [0, 0, 0, 7])
    layer.b[:] = 2.5, 1.0, 0.0, -3.0  # the bias counts before the ReLU
    np.testing.assert_array_equal(layer.forward(x, cache), [[0.5, 1.0, 0.0, 0.0]])
    x[0, 0] = np.nan  # a ReLU is not to hide what went wrong
    assert np.isnan(layer.forward(x, cache)).all()


def test_flatten_goes_there_and_back() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    flatten, cache = Flatten(), new_cache()
    y = flatten.forward(x, cache)
    assert y.shape == (2, 12)
    np.testing.assert_array_equal(backward(flatten, y, cache), x)


def test_normalize_lays_known_bounds_onto_minus_one_to_one() -> None:
    inf, float_max = np.inf, np.finfo(np.float32).max
    low = np.array([0.0, -4.8, -inf, -float_max, -2e6, 3.0], np.float32)
    high = np.array([255.0, 4.8, inf, float_max, 2e6, 3.0], np.float32)
    normalize, cache = Normalize(low, high), new_cache()
    normalize.bind(np.zeros(0), np.zeros(0))
    x = np.array([[0.0, 2.4, 7.0, 7.0, 7.0, 3.0], [255.0, -4.8, -7.0, -7.0, 0.0, 3.0]])
    expected = np.array([[-1.0, 0.5, 7.0, 7.0, 7.0, 3.0], [1.0, -1.0, -7.0, -7.0, 0.0, 3.0]])
    np.testing.assert_allclose(normalize.forward(x, cache), expected, rtol=1e-6)
    dx = backward(normalize, np.ones((2, 6)), cache)
    np.testing.assert_allclose(dx, np.broadcast_to(normalize.scale, (2, 6)))


def test_arrays_are_reused_for_the_same_batch_size_alone() -> None:
    layer, cache = bound(Linear(3, 2)), new_cache()
    y = layer.forward(np.ones((4, 3)), cache)
    assert layer.forward(np.zeros((4, 3)), cache) is y
    assert layer.forward(np.ones((5, 3)), cache).shape == (5, 2)


def arrays(*shapes: tuple[int, ...]) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in shapes]


B, H, A, N = 5, 7, 3, 2
LEFT = (B, H), (B, 1), (B, H)  # what normalize_rows leaves


@pytest.mark.parametrize(
    ("compiled", "arguments"),
    [
        (layers.bias_and_relu, [*arrays((B, H), (H,)), True]),
        (layers.bias_and_relu, [*arrays((B, H), (H,)), False]),
        (layers.bias_and_relu_backward, [*arrays((B, H), (B, H), (H,)), True]),
        (layers.bias_and_relu_backward, [*arrays((B, H), (B, H), (H,)), False]),
        (layers.scale_and_shift, arrays((B, H), (H,), (H,), (B, H))),
        (parts.normalize_rows, [*arrays((B, H), (H,), (H,)), True, *arrays(*LEFT)]),
        (parts.normalize_rows, [*arrays((B, H), (H,), (H,)), False, *arrays(*LEFT)]),
        (parts.normalize_rows_backward, arrays((B, H), (H,), (B, H), (B, 1), (B, H))),
        (parts.join_streams, arrays((B, 1 + A, N), (B, A, N))),
        (parts.join_streams_backward, arrays((B, A, N), (B, 1 + A, N))),
        (parts.perturb, arrays((H, A), (H, A), (H,), (A,), (H, A))),
    ],
)
def test_compiled_and_plain_agree(compiled: Callable[..., None], arguments: list[Any]) -> None:
    ours, theirs = (
        [np.copy(x) if isinstance(x, np.ndarray) else x for x in arguments] for _ in "ab"
    )
    compiled(*ours)
    plain(compiled)(*theirs)
    changed = False
    for x, ran, interpreted in zip(arguments, ours, theirs, strict=True):
        np.testing.assert_allclose(ran, interpreted, rtol=1e-13, atol=1e-14)
        changed |= not np.array_equal(x, ran)
    assert changed
