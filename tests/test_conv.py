"""Convolution against plain loops, its gradients against numerical ones and its own forward."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minidqn.nn.cells import CellConv2d
from minidqn.nn.conv import Conv2d
from minidqn.nn.layers import Array, Linear
from minidqn.nn.network import Network, Pass


def plain_convolution(layer: Conv2d, x: Array) -> Array:
    """y, (B, h, w, O), of images (B, F, H, W, C): each output pixel as its definition says."""
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
    """A function that makes a convolution of random size, and a batch of images for it."""
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


@given(layers(relu=True))
def test_forward_is_the_plain_loops(problem: Any) -> None:
    make, x = problem
    layer = bound(make())
    y = layer.forward(x, {})
    np.testing.assert_allclose(y, plain_convolution(layer, x).reshape(len(x), -1), atol=1e-12)


@given(layers(relu=False))
def test_backward_is_the_transpose_of_forward(problem: Any) -> None:
    """Without bias and ReLU, y = M x for a matrix M, and then dx = M^T dy: <dy, M x> = <dx, x>."""
    make, x = problem
    layer: Any = bound(make())
    cache: dict[str, Array] = {}
    layer.b[:] = 0.0
    y = layer.forward(x, cache).copy()
    dy = np.random.default_rng(1).normal(size=y.shape)
    dx = layer.backward(dy.copy(), cache)
    assert dx.shape == (len(x), x[0].size)
    np.testing.assert_allclose((dy * y).sum(), (dx * x.reshape(len(x), -1)).sum(), atol=1e-9)
    # and forward is linear in W too: <dy, y> = <dW, W>
    np.testing.assert_allclose((dy * y).sum(), (layer.dW * layer.W).sum(), atol=1e-9)
    np.testing.assert_allclose(layer.db, dy.reshape(-1, layer.n_out).sum(0), atol=1e-9)


@st.composite
def networks(draw: st.DrawFn) -> tuple[Any, Array]:
    """A function of a dtype that makes two convolutions and a linear layer; a batch of images."""
    first = draw(st.sampled_from([(3, 1), (3, 2), (3, 3), (2, 1), (4, 2), (6, 3)]))  # k, s
    second = draw(st.sampled_from([(2, 1), (4, 2)]))
    shape = draw(st.integers(1, 2)), 14, draw(st.integers(12, 15)), draw(st.integers(1, 2))
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
    use = Pass(net)
    q = use.forward(x).copy()
    dq = rng.normal(size=q.shape)
    net.grads[:] = math.nan
    use.backward(dq.copy())
    scale = abs(net.grads).max()
    for i in rng.permutation(net.params.size)[:20]:
        twin.params[i] += 1e-30j
        by_complex_step = (dq * twin.forward(x).imag).sum() / 1e-30
        twin.params[i] = net.params[i]
        np.testing.assert_allclose(net.grads[i], by_complex_step, rtol=1e-12, atol=1e-12 * scale)
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
        use = Pass(net)
        use.forward(x)
        sides.append([cache["y"] > 0 for _, cache in use.up[:2]])
        net.params[i] -= h
    return any((a != b).any() for a, b in zip(*sides, strict=True))


@pytest.mark.parametrize("kind", [Conv2d, CellConv2d])
def test_bytes_and_booleans_are_0_to_1(kind: type[Conv2d]) -> None:
    layer: Any = bound(kind((2, 6, 6, 1), 3, 4, 2), dtype=np.float32)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (5, 2, 6, 6, 1)).astype(np.uint8)
    floats = image.astype(np.float32) / np.float32(255.0)
    np.testing.assert_allclose(layer.forward(image, {}), layer.forward(floats, {}), atol=1e-5)
    ones = image > 100
    as_floats = layer.forward(ones.astype(np.float32), {})
    np.testing.assert_array_equal(layer.forward(ones, {}), as_floats)


def test_a_network_hands_bytes_to_its_first_convolution() -> None:
    net = Network([Conv2d((1, 4, 4, 1), 2, 3, 1), Linear(8, 2)])
    net.initialize(np.random.default_rng(0))
    use = Pass(net)
    image = np.full((2, 4, 4), 255, np.uint8)
    y = use.forward(image).copy()
    assert use.caches[0]["x"].dtype == np.float32  # the patches
    np.testing.assert_allclose(y, use.forward(np.ones((2, 4, 4), np.float32)), rtol=1e-6)


@pytest.mark.parametrize("kind", [Conv2d, CellConv2d])
def test_the_first_layer_computes_no_dx(kind: type[Conv2d]) -> None:
    layer: Any = bound(kind((1, 6, 6, 1), 2, 4, 2))
    cache: dict[str, Array] = {}
    y = layer.forward(np.ones((1, 6, 6)), cache)
    assert layer.backward(y.copy(), cache, need_dx=False) is None
    assert not {"dx", "dimage"} & set(cache)
    assert np.isfinite(layer.dW).all()


def test_a_kernel_as_large_as_the_image_is_a_linear_layer() -> None:
    layer: Any = bound(Conv2d((2, 5, 5, 3), 4, 5, 1))
    x = np.random.default_rng(0).normal(size=(3, 2, 5, 5, 3))
    np.testing.assert_allclose(layer.forward(x, {}), x.reshape(3, -1) @ layer.W + layer.b)


def test_weights_start_with_the_fan_in_of_a_patch() -> None:
    layer: Any = bound(Conv2d((4, 20, 20, 2), 50, 8, 4))
    layer.initialize(np.random.default_rng(0))
    assert layer.W.shape == (4 * 8 * 8 * 2, 50)
    np.testing.assert_allclose(layer.W.std(), math.sqrt(2 / 512), rtol=0.02)
    np.testing.assert_allclose(layer.W.sum(axis=0), 0.0, atol=1e-5)


@pytest.mark.parametrize("kind", [Conv2d, CellConv2d])
def test_a_cache_serves_batches_of_any_size_and_one_backward_after_another(
    kind: type[Conv2d],
) -> None:
    layer, rng = bound(kind((1, 6, 6, 2), 3, 4, 2, relu=True)), np.random.default_rng(0)
    cache: dict[str, Array] = {}
    for batch in (4, 2, 4):
        x, dy = rng.normal(size=(batch, 1, 6, 6, 2)), rng.normal(size=(batch, 12))
        results = []
        for used in (cache, {}):
            y = layer.forward(x, used)
            for _ in range(2):
                dx = layer.backward(dy.copy(), used)
                assert dx is not None
                results.append([y.copy(), dx.copy(), layer.dW.copy(), layer.db.copy()])
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", [Conv2d, CellConv2d])
def test_images_of_another_size_are_refused(kind: type[Conv2d]) -> None:
    """The kernels would read beyond their end."""
    layer: Any = bound(kind((1, 6, 6, 1), 2, 4, 2))
    for wrong in ((2, 5, 6), (2, 6, 7), (2, 1, 6, 6, 2)):
        with pytest.raises(ValueError, match="cannot reshape"):
            layer.forward(np.zeros(wrong), {})
