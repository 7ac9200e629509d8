"""Layers by themselves: against loops of the scalar rules, and what defines each."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
import pytest

from minidqn.nn import layers, network
from minidqn.nn.layers import Array, Layer, Linear
from minidqn.parts import dueling, layer_norm, noisy, normalize
from minidqn.parts.frames import Flatten
from minidqn.parts.normalize import Normalize

from .conftest import plain

L = TypeVar("L", bound=Layer)


def new_cache(layer: Layer, batch_size: int) -> Any:
    return layer.new_cache(batch_size, np.dtype(np.float64))


def backward(layer: Layer, dy: Array, cache: Any) -> Array:
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

    cache = new_cache(layer, 4)
    np.testing.assert_allclose(layer.forward(x, cache), y, rtol=1e-13)
    np.testing.assert_allclose(backward(layer, dy, cache), dx, rtol=1e-13)
    np.testing.assert_allclose(layer.dW, dW, rtol=1e-13)
    np.testing.assert_allclose(layer.db, db, rtol=1e-13)


def test_no_input_gradient_when_nobody_needs_it() -> None:
    layer = bound(Linear(3, 2))
    cache = new_cache(layer, 4)
    layer.forward(np.ones((4, 3)), cache)
    cache.dx[:] = 7.0
    assert layer.backward(np.ones((4, 2)), cache, need_dx=False) is None
    np.testing.assert_array_equal(layer.dW, np.full((3, 2), 4.0))
    np.testing.assert_array_equal(cache.dx, np.full((4, 3), 7.0))


def test_he_initialisation() -> None:
    layer = bound(Linear(400, 300))
    assert layer.W.std() == pytest.approx(np.sqrt(2 / 400), rel=0.01)
    assert abs(layer.W.mean()) < 0.001
    assert layer.b.std() == pytest.approx(1 / np.sqrt(400) / np.sqrt(3), rel=0.1)
    assert 0.9 / np.sqrt(400) < abs(layer.b).max() <= 1 / np.sqrt(400)
    assert bound(Linear(400, 300, gain=0.1)).W.std() == pytest.approx(
        0.1 / 20, rel=0.01
    )


def test_relu_and_its_subgradient_at_the_kink() -> None:
    layer = Linear(4, 4, relu=True)
    cache = new_cache(layer, 1)
    layer.bind(np.zeros(layer.size), np.zeros(layer.size))
    layer.W[:] = np.eye(4)
    x = np.array([[-2.0, -0.0, 0.0, 3.0]])
    np.testing.assert_array_equal(layer.forward(x, cache), [[0.0, 0.0, 0.0, 3.0]])
    np.testing.assert_array_equal(
        backward(layer, np.full((1, 4), 7.0), cache), [[0, 0, 0, 7]]
    )
    np.testing.assert_array_equal(layer.db, [0, 0, 0, 7])
    layer.b[:] = 2.5, 1.0, 0.0, -3.0  # the bias counts before the ReLU
    np.testing.assert_array_equal(layer.forward(x, cache), [[0.5, 1.0, 0.0, 0.0]])
    x[0, 0] = np.nan  # a ReLU is not to hide what went wrong
    assert np.isnan(layer.forward(x, cache)).all()


def test_flatten_goes_there_and_back() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    flatten = Flatten()
    cache = new_cache(flatten, 2)
    y = flatten.forward(x, cache)
    assert y.shape == (2, 12)
    np.testing.assert_array_equal(backward(flatten, y, cache), x)


def test_normalize_lays_known_bounds_onto_minus_one_to_one() -> None:
    inf, float_max = np.inf, np.finfo(np.float32).max
    low = np.array([0.0, -4.8, -inf, -float_max, -2e6, 3.0], np.float32)
    high = np.array([255.0, 4.8, inf, float_max, 2e6, 3.0], np.float32)
    layer = Normalize(low, high)
    layer.bind(np.zeros(0), np.zeros(0))
    cache = new_cache(layer, 2)
    x = np.array([[0.0, 2.4, 7.0, 7.0, 7.0, 3.0], [255.0, -4.8, -7.0, -7.0, 0.0, 3.0]])
    expected = np.array(
        [[-1.0, 0.5, 7.0, 7.0, 7.0, 3.0], [1.0, -1.0, -7.0, -7.0, 0.0, 3.0]]
    )
    np.testing.assert_allclose(layer.forward(x, cache), expected, rtol=1e-6)
    dx = backward(layer, np.ones((2, 6)), cache)
    np.testing.assert_allclose(dx, np.broadcast_to(layer.scale, (2, 6)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalize_takes_any_dtype_and_gives_that_of_the_network(dtype: Any) -> None:
    layer = Normalize(np.zeros(3, np.uint8), np.full(3, 255, np.uint8))
    layer.bind(np.zeros(0, dtype), np.zeros(0, dtype))
    assert layer.takes_any_dtype
    x = np.array([[0, 255, 51]], np.uint8)
    y = layer.forward(x, layer.new_cache(1, np.dtype(dtype)))
    assert y.dtype == dtype
    np.testing.assert_allclose(y, [[-1.0, 1.0, -0.6]], rtol=1e-6)


def test_the_arrays_of_a_cache_are_used_again() -> None:
    layer = bound(Linear(3, 2))
    cache, other = new_cache(layer, 4), new_cache(layer, 4)
    y, kept = (layer.forward(np.ones((4, 3)), c) for c in (cache, other))
    dx = backward(layer, np.ones((4, 2)), cache)
    before = kept.copy()
    assert layer.forward(np.zeros((4, 3)), cache) is y
    assert backward(layer, np.ones((4, 2)), cache) is dx
    np.testing.assert_array_equal(kept, before)  # each cache has arrays of its own


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_a_cache_has_the_dtype_it_is_asked_for(dtype: Any) -> None:
    layer = Linear(3, 2, relu=True)
    layer.bind(np.ones(layer.size, dtype), np.ones(layer.size, dtype))
    cache = layer.new_cache(4, np.dtype(dtype))
    assert layer.forward(np.ones((4, 3), dtype), cache).dtype == dtype
    assert cache.dx.dtype == dtype
    assert cache.dx.shape == (4, 3)


@pytest.mark.parametrize(
    "layer", [Linear(5, 3, relu=True), layer_norm.LayerNorm(5, relu=True)]
)
def test_backward_takes_complex_numbers(layer: Any) -> None:
    """As in a gradient check by the complex step; here their imaginary part is 0."""
    x, params, dy = arrays((4, 5), (layer.size,), (4, 5))
    found = []
    for dtype in (np.float64, np.complex128):
        grads = np.zeros(layer.size, dtype)
        layer.bind(params.astype(dtype), grads)
        cache = layer.new_cache(4, np.dtype(dtype))
        y = layer.forward(x.astype(dtype), cache)
        dx = layer.backward(dy[:, : y.shape[1]].astype(dtype), cache)
        found.append((dx.copy(), grads))
    for real, complex_ in zip(*found, strict=True):
        np.testing.assert_allclose(complex_, real, rtol=1e-12)


def arrays(*shapes: tuple[int, ...]) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in shapes]


B, H, A, N = 5, 7, 3, 2
LEFT = (B, H), (B, 1), (B, H)  # what normalize_rows leaves
NORMALIZE = layer_norm.normalize_rows
NORMALIZE_BACK = layer_norm.normalize_rows_backward
GAIN_BACK = layer_norm.gain_and_bias_backward


# kernels, and arguments for each
KERNELS: list[tuple[Any, list[Any]]] = [
    (layers.add_bias, [*arrays((B, H), (H,)), True]),
    (layers.add_bias, [*arrays((B, H), (H,)), False]),
    (layers.add_bias_backward, [*arrays((B, H), (B, H), (H,)), True]),
    (layers.add_bias_backward, [*arrays((B, H), (B, H), (H,)), False]),
    (network.move, [*arrays((H,), (H,)), 0.25]),
    (network.move, [*arrays((H,), (H,)), 1.0]),
    (normalize.scale_and_shift, arrays((B, H), (H,), (H,), (B, H))),
    (NORMALIZE, [*arrays((B, H), (H,), (H,)), True, *arrays(*LEFT)]),
    (NORMALIZE, [*arrays((B, H), (H,), (H,)), False, *arrays(*LEFT)]),
    (NORMALIZE_BACK, arrays((B, H), (H,), (B, H), (B, 1), (B, H))),
    (GAIN_BACK, [*arrays((B, H), (B, H), (B, H)), True, *arrays((H,), (H,))]),
    (GAIN_BACK, [*arrays((B, H), (B, H), (B, H)), False, *arrays((H,), (H,))]),
    (dueling.join_streams, arrays((B, 1 + A, N), (B, A, N))),
    (dueling.join_streams_backward, arrays((B, A, N), (B, 1 + A, N))),
    (noisy.add_noise, arrays((H, A), (H, A), (H,), (A,), (H, A))),
]


@pytest.mark.parametrize(("compiled", "arguments"), KERNELS)
def test_compiled_and_plain_agree(
    compiled: Callable[..., None], arguments: list[Any]
) -> None:
    ours, theirs = (
        [np.copy(x) if isinstance(x, np.ndarray) else x for x in arguments]
        for _ in "ab"
    )
    compiled(*ours)
    plain(compiled)(*theirs)
    changed = False
    for x, ran, interpreted in zip(arguments, ours, theirs, strict=True):
        np.testing.assert_allclose(ran, interpreted, rtol=1e-13, atol=1e-14)
        changed |= not np.array_equal(x, ran)
    assert changed


@pytest.mark.parametrize(("compiled", "arguments"), KERNELS)
def test_a_float32_stays_a_float32_inside(compiled: Any, arguments: list[Any]) -> None:
    """Where a float64 comes in, the machine code extends a float: LLVM's fpext."""
    if not hasattr(compiled, "py_func"):
        pytest.skip("kernels are not compiled")
    fastmath = compiled.targetoptions["fastmath"]
    again = numba.njit(error_model="numpy", fastmath=fastmath)(compiled.py_func)
    again(*(x.astype("f") if isinstance(x, np.ndarray) else x for x in arguments))
    (code,) = again.inspect_llvm().values()
    assert " float " in code
    assert [line for line in code.splitlines() if " fpext " in line] == []
