"""Convolution against plain loops, its gradients against numerical ones and forward."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minidqn.nn.layers import Array, Linear
from minidqn.nn.network import Network
from minidqn.parts.cells import CellConv2d
from minidqn.parts.conv import Conv2d


def plain_convolution(layer: Conv2d, x: Array) -> Array:
    """y, (B, h, w, O), of images (B, F, H, W, C): each output pixel as defined."""
    frames, _, _, channels = layer.shape
    W = layer.W.reshape(frames, layer.k, layer.k, channels, layer.n_out)
    _, h, w, n_out = layer.out_shape
    y = np.zeros((len(x), h, w, n_out), W.dtype)
    for i in range(h):
        for j in range(w):
            for di in range(layer.k):
                for dj in range(layer.k):
                    pixel = x[:, :, i * layer.s + di, j * layer.s + dj]  # (B, F, C)
                    y[:, i, j] += np.einsum("bfc,fco->bo", pixel, W[:, di, dj])
    y += layer.b
    return np.maximum(y, 0.0) if layer.relu else y


@st.composite
def layers(draw: st.DrawFn, relu: bool) -> tuple[Any, Array]:
    """A function that makes a convolution of random size, and images for it."""
    kind = draw(st.sampled_from([Conv2d, CellConv2d]))
    s, k = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    k = 2 * s if kind is CellConv2d else k
    shape = (
        draw(st.integers(1, 3)),
        draw(st.integers(k, k + 7)),
        draw(st.integers(k, k + 7)),
        draw(st.integers(1, 3)),
    )
    n_out, batch = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    return lambda: kind(shape, n_out, k, s, relu=relu), rng.normal(size=(batch, *shape))


def bound(layer: Conv2d, seed: int = 0, dtype: Any = np.float64) -> Conv2d:
    """The layer with random parameters of its own."""
    params, grads = np.zeros(layer.size, dtype), np.full(layer.size, math.nan, dtype)
    layer.bind(params, grads)
    params[:] = np.random.default_rng(seed).normal(size=layer.size)
    return layer


def new_cache(layer: Conv2d, batch_size: int) -> Any:
    return layer.new_cache(batch_size, layer.W.dtype)


def forward(layer: Conv2d, x: Array) -> Array:
    """y, with a cache of its own."""
    return layer.forward(x, new_cache(layer, len(x)))


@given(layers(relu=True))
def test_forward_is_the_plain_loops(problem: Any) -> None:
    make, x = problem
    layer = bound(make())
    y = forward(layer, x)
    np.testing.assert_allclose(
        y, plain_convolution(layer, x).reshape(len(x), -1), atol=1e-12
    )


@given(layers(relu=False))
def test_backward_is_the_transpose_of_forward(problem: Any) -> None:
    """Without bias and ReLU, y = M x for a matrix M, and dx = M^T dy.

    So <dy, M x> = <dx, x>.
    """
    make, x = problem
    layer: Any = bound(make())
    cache = new_cache(layer, len(x))
    layer.b[:] = 0.0
    y = layer.forward(x, cache).copy()
    dy = np.random.default_rng(1).normal(size=y.shape)
    dx = layer.backward(dy.copy(), cache)
    assert dx.shape == (len(x), x[0].size)
    np.testing.assert_allclose(
        (dy * y).sum(), (dx * x.reshape(len(x), -1)).sum(), atol=1e-9
    )
    # and forward is linear in W too: <dy, y> = <dW, W>
    np.testing.assert_allclose((dy * y).sum(), (layer.dW * layer.W).sum(), atol=1e-9)
    np.testing.assert_allclose(layer.db, dy.reshape(-1, layer.n_out).sum(0), atol=1e-9)


@st.composite
def networks(draw: st.DrawFn) -> tuple[Any, Array]:
    """A function of a dtype that makes two convolutions and a linear layer; images."""
    first = draw(
        st.sampled_from([(3, 1), (3, 2), (3, 3), (2, 1), (4, 2), (6, 3)])
    )  # k, s
    second = draw(st.sampled_from([(2, 1), (4, 2)]))
    shape = (
        draw(st.integers(1, 2)),
        14,
        draw(st.integers(12, 15)),
        draw(st.integers(1, 2)),
    )
    channels = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))

    def build(dtype: Any) -> Network:
        kinds = [CellConv2d if k == 2 * s else Conv2d for k, s in (first, second)]
        one = kinds[0](shape, channels[0], *first, relu=True)
        two = kinds[1](one.out_shape, channels[1], *second, relu=True)
        return Network([one, two, Linear(math.prod(two.out_shape), 2)], dtype)

    assume((12 - first[0]) // first[1] + 1 >= 4)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return build, rng.normal(size=(draw(st.integers(1, 3)), *shape))


@given(networks())
def test_gradients_of_whole_networks(problem: Any) -> None:
    """By complex step to 1e-12, and by central differences to 1e-6."""
    build, x = problem
    net, twin, rng = build(np.float64), build(np.complex128), np.random.default_rng(0)
    net.params[:] = rng.normal(size=net.params.size)
    twin.params[:] = net.params
    q = net.forward(x).copy()
    dq = rng.normal(size=q.shape)
    net.grads[:] = math.nan
    net.backward(dq.copy())
    scale = abs(net.grads).max()
    for i in rng.permutation(net.params.size)[:20]:
        twin.params[i] += 1e-30j
        by_complex_step = (dq * twin.forward(x).imag).sum() / 1e-30
        twin.params[i] = net.params[i]
        np.testing.assert_allclose(
            net.grads[i], by_complex_step, rtol=1e-12, atol=1e-12 * scale
        )
        sides = []
        for h in (1e-6, -1e-6):
            net.params[i] += h
            sides.append((dq * net.forward(x)).sum())
            net.params[i] -= h
        by_differences = (sides[0] - sides[1]) / 2e-6
        # one example in many has a ReLU's kink within 1e-6: a difference of order 1
        kink = abs(by_differences - net.grads[i]) > 1e-6 * scale
        assert not kink or has_kink(net, x, i)


def has_kink(net: Network, x: Array, i: int) -> bool:
    """Whether a ReLU switches between params[i] - 1e-6 and params[i] + 1e-6."""
    sides = []
    for h in (1e-6, -1e-6):
        net.params[i] += h
        y = x
        signs = []
        for layer, cache in zip(net.layers[:2], net.caches_for(len(x)), strict=False):
            y = layer.forward(y, cache)
            signs.append(y > 0)
        sides.append(signs)
        net.params[i] -= h
    return any((a != b).any() for a, b in zip(*sides, strict=True))


@pytest.mark.parametrize("kind", [Conv2d, CellConv2d])
def test_bytes_and_booleans_are_0_to_1(kind: type[Conv2d]) -> None:
    layer: Any = bound(kind((2, 6, 6, 1), 3, 4, 2), dtype=np.float32)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (5, 2, 6, 6, 1)).astype(np.uint8)
    floats = image.astype(np.float32) / np.float32(255.0)
    np.testing.assert_allclose(forward(layer, image), forward(layer, floats), atol=1e-5)
    ones = image > 100
    as_floats = forward(layer, ones.astype(np.float32))
    np.testing.assert_array_equal(forward(layer, ones), as_floats)


@pytest.mark.parametrize("kind", [Conv2d, CellConv2d])
def test_a_network_hands_bytes_to_its_first_convolution(kind: type[Conv2d]) -> None:
    net = Network([kind((1, 4, 4, 1), 2, 2, 1), Linear(18, 2)])
    net.initialize(np.random.default_rng(0))
    image = np.full((2, 4, 4), 255, np.uint8)
    y = net.forward(image).copy()
    patches = net.last_caches[0].P
    assert patches.dtype == np.float32
    np.testing.assert_allclose(patches, np.ones_like(patches), rtol=1e-6)
    ones = np.ones((2, 4, 4), np.float32)
    np.testing.assert_allclose(y, net.forward(ones), rtol=1e-6)


@pytest.mark.parametrize("kind", [Conv2d, CellConv2d])
def test_the_first_layer_computes_no_dx(kind: type[Conv2d]) -> None:
    layer: Any = bound(kind((1, 6, 6, 1), 2, 4, 2))
    cache = new_cache(layer, 1)
    y = layer.forward(np.ones((1, 6, 6)), cache)
    unused = [cache.dx] if kind is CellConv2d else [cache.dx, cache.linear.dx]
    for dx in unused:
        dx[:] = 7.0
    assert layer.backward(y.copy(), cache, need_dx=False) is None
    assert all((dx == 7.0).all() for dx in unused)
    assert np.isfinite(layer.dW).all()


def test_a_kernel_as_large_as_the_image_is_a_linear_layer() -> None:
    layer: Any = bound(Conv2d((2, 5, 5, 3), 4, 5, 1))
    x = np.random.default_rng(0).normal(size=(3, 2, 5, 5, 3))
    np.testing.assert_allclose(forward(layer, x), x.reshape(3, -1) @ layer.W + layer.b)


def test_weights_start_with_the_fan_in_of_a_patch() -> None:
    layer: Any = bound(Conv2d((4, 20, 20, 2), 50, 8, 4))
    layer.initialize(np.random.default_rng(0))
    assert layer.W.shape == (4 * 8 * 8 * 2, 50)
    np.testing.assert_allclose(layer.W.std(), math.sqrt(2 / 512), rtol=0.02)
    np.testing.assert_allclose(layer.W.sum(axis=0), 0.0, atol=1e-5)


@pytest.mark.parametrize("kind", [Conv2d, CellConv2d])
def test_a_cache_serves_one_batch_and_one_backward_after_another(
    kind: type[Conv2d],
) -> None:
    layer, rng = bound(kind((1, 6, 6, 2), 3, 4, 2, relu=True)), np.random.default_rng(0)
    caches = {batch: new_cache(layer, batch) for batch in (4, 2)}
    for batch in (4, 2, 4, 4):
        x, dy = rng.normal(size=(batch, 1, 6, 6, 2)), rng.normal(size=(batch, 12))
        results = []
        for used in (caches[batch], new_cache(layer, batch)):
            y = layer.forward(x, used)
            for _ in range(2):
                dx = layer.backward(dy.copy(), used)
                assert dx is not None
                results.append([y.copy(), dx.copy(), layer.dW.copy(), layer.db.copy()])
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", [Conv2d, CellConv2d])
def test_a_forward_with_another_cache_does_not_spoil_the_first(
    kind: type[Conv2d],
) -> None:
    layer, rng = bound(kind((1, 6, 6, 2), 3, 4, 2, relu=True)), np.random.default_rng(0)
    x, dy = rng.normal(size=(4, 1, 6, 6, 2)), rng.normal(size=(4, 12))
    cache, other = new_cache(layer, 4), new_cache(layer, 4)
    results = []
    for between in (False, True):
        y = layer.forward(x, cache)
        if between:
            layer.forward(-x, other)
        dx = layer.backward(dy.copy(), cache)
        assert dx is not None
        results.append([y.copy(), dx.copy(), layer.dW.copy(), layer.db.copy()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", [Conv2d, CellConv2d])
def test_images_of_another_size_are_refused(kind: type[Conv2d]) -> None:
    """The kernels would read beyond their end."""
    layer: Any = bound(kind((1, 6, 6, 1), 2, 4, 2))
    for wrong in ((2, 5, 6), (2, 6, 7), (2, 1, 6, 6, 2)):
        with pytest.raises(ValueError, match="cannot reshape"):
            forward(layer, np.zeros(wrong))
