"""The layers of parts/ by themselves: the scalar rules, and what defines each."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn.nn.layers import Array, Linear
from minidqn.parts.dueling import Dueling
from minidqn.parts.layer_norm import LayerNorm
from minidqn.parts.noisy import NoisyLinear

from .test_layers import backward, bound, new_cache

SEEDS = st.integers(0, 2**32)


def random_noisy(rng: np.random.Generator, relu: bool = False) -> NoisyLinear:
    """A layer of which every weight and every sigma is another."""
    layer = NoisyLinear(4, 3, relu=relu)
    layer.bind(rng.normal(size=layer.size), np.full(layer.size, np.nan))
    return layer


@given(SEEDS, st.integers(3, 20), st.sampled_from([1e-3, 1.0, 1e3]))
def test_layer_norm_gives_rows_of_mean_0_and_variance_1(
    seed: int, width: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    layer = bound(LayerNorm(width))
    cache = new_cache(layer, 6)
    x = rng.normal(5.0 * size, size, (6, width))
    u = layer.forward(x, cache).copy()
    variance = x.var(axis=1)
    np.testing.assert_allclose(u.mean(axis=1), 0.0, atol=1e-10)
    np.testing.assert_allclose(u.var(axis=1), variance / (variance + 1e-5), rtol=1e-9)
    # and nothing else than a shift and a positive scale, in the same place
    centered = x - x.mean(axis=1, keepdims=True)
    back = u * np.sqrt(variance + 1e-5)[:, None]
    np.testing.assert_allclose(back, centered, rtol=1e-9, atol=1e-10 * size)

    layer.gain[:], layer.bias[:] = rng.normal(size=(2, width))
    np.testing.assert_allclose(
        layer.forward(x, cache), layer.gain * u + layer.bias, rtol=1e-12
    )


@given(SEEDS, st.floats(0.1, 100.0), st.floats(-10.0, 10.0))
def test_layer_norm_ignores_scale_and_shift(seed: int, a: float, b: float) -> None:
    x = np.random.default_rng(seed).normal(size=(5, 8))
    layer = bound(LayerNorm(8))
    y = layer.forward(x, new_cache(layer, 5))
    least = min(1.0, a * a) * x.var(axis=1).min()
    tolerance = 1e-5 / least * abs(y).max()  # what the epsilon may do
    np.testing.assert_allclose(
        layer.forward(a * x + b, new_cache(layer, 5)), y, rtol=0, atol=tolerance
    )


@given(SEEDS, st.booleans())
def test_layer_norm_passes_no_gradient_to_scale_and_shift(
    seed: int, relu: bool
) -> None:
    rng = np.random.default_rng(seed)
    layer = bound(LayerNorm(8, relu=relu))
    cache = new_cache(layer, 5)
    layer.gain[:], layer.bias[:] = rng.normal(size=(2, 8))
    x, dy = rng.normal(0.0, 100.0, (5, 8)), rng.normal(size=(5, 8))
    y = layer.forward(x, cache).copy()
    dx = backward(layer, dy.copy(), cache)
    assert abs(dx).max() > 1e-4
    np.testing.assert_allclose(dx.sum(axis=1), 0.0, atol=1e-14)
    # none to the scale but for the epsilon, which does not grow with it:
    # eps / (variance + eps)
    du = layer.gain * np.where(relu & (y <= 0.0), 0.0, dy)
    left = 1e-5 / (x.var(axis=1) + 1e-5)
    u = (x - x.mean(axis=1, keepdims=True)) * np.sqrt(left / 1e-5)[:, None]
    np.testing.assert_allclose(
        (dx * x).sum(axis=1), left * (du * u).sum(axis=1), atol=1e-12
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layer_norm_of_a_constant_row_is_its_bias(dtype: Any) -> None:
    layer = LayerNorm(3)
    cache = layer.new_cache(2, np.dtype(dtype))
    params, grads = np.ones(6, dtype), np.full(6, np.nan, dtype)
    layer.bind(params, grads)
    layer.bias[:] = 0.25, -0.5, 0.0
    y = layer.forward(np.array([[0.0] * 3, [4.0] * 3], dtype), cache)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, [layer.bias, layer.bias])
    dx = backward(layer, np.ones((2, 3), dtype), cache)
    np.testing.assert_array_equal(dx, np.zeros((2, 3)))
    np.testing.assert_array_equal(grads, [0, 0, 0, 2, 2, 2])
    x = np.array([[1.0, np.nan, 2.0]], dtype)
    cache = layer.new_cache(1, np.dtype(dtype))
    assert np.isnan(layer.forward(x, cache)).all()


@given(SEEDS, st.integers(8, 500))
def test_layer_norm_of_float32_is_as_exact_as_float32(seed: int, width: int) -> None:
    """All its arrays are of that dtype; tests/test_layers.py looks into the kernels."""
    rng = np.random.default_rng(seed)
    params = rng.normal(size=2 * width).astype(np.float32)
    x, dy = rng.normal(size=(2, 4, width)).astype(np.float32)
    results = []
    for dtype in (np.float32, np.float64):
        layer, grads = LayerNorm(width), np.zeros(2 * width, dtype)
        layer.bind(params.astype(dtype), grads)
        cache = layer.new_cache(4, np.dtype(dtype))
        y = layer.forward(x.astype(dtype), cache)
        dx = backward(layer, dy.astype(dtype), cache)
        assert all(a.dtype == dtype for a in (y, dx, cache.u, cache.scale))
        results.append([y, dx, grads])
    for ours, exact in zip(*results, strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=2e-5)


def test_layer_norm_with_relu() -> None:
    rng = np.random.default_rng(0)
    without, with_relu = bound(LayerNorm(6)), bound(LayerNorm(6, relu=True))
    for layer in (without, with_relu):
        layer.gain[:], layer.bias[:] = np.random.default_rng(1).normal(size=(2, 6))
    x, dy = rng.normal(size=(9, 6)), rng.normal(size=(9, 6))
    caches = new_cache(without, 9), new_cache(with_relu, 9)
    y = without.forward(x, caches[0])
    np.testing.assert_array_equal(with_relu.forward(x, caches[1]), np.maximum(y, 0.0))
    dx = backward(without, dy * (y > 0), caches[0])
    np.testing.assert_array_equal(backward(with_relu, dy.copy(), caches[1]), dx)
    np.testing.assert_array_equal(with_relu.dgain, without.dgain)
    np.testing.assert_array_equal(with_relu.dbias, without.dbias)
    u, passed = caches[0].u, dy * (y > 0)
    np.testing.assert_allclose(without.dgain, (u * passed).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(without.dbias, passed.sum(axis=0), rtol=1e-12)
    with_relu.gain[:] = with_relu.bias[:] = 0.0  # onto the kink: the subgradient is 0
    with_relu.forward(x, caches[1])
    np.testing.assert_array_equal(
        backward(with_relu, dy.copy(), caches[1]), np.zeros((9, 6))
    )
    x[0, 0] = np.nan  # a ReLU is not to hide what went wrong
    assert np.isnan(with_relu.forward(x, caches[1])[0]).all()


def test_layer_norm_starts_as_plain_normalisation() -> None:
    layer = LayerNorm(5)
    assert layer.size == 10
    params, grads = np.full(10, 7.0), np.zeros(10)
    layer.bind(params, grads)
    layer.initialize(np.random.default_rng(0))
    np.testing.assert_array_equal(params, [1.0] * 5 + [0.0] * 5)
    layer.dgain[:], layer.dbias[:] = 3.0, 4.0
    np.testing.assert_array_equal(grads, [3.0] * 5 + [4.0] * 5)


DUELS = st.integers(1, 6), st.integers(1, 4)  # actions, quantiles


@given(SEEDS, *DUELS)
def test_dueling_takes_v_from_one_stream_and_advantages_from_the_other(
    seed: int, n_actions: int, n: int
) -> None:
    rng = np.random.default_rng(seed)
    layer = Dueling(n_actions, n)
    assert layer.size == 0
    v, g = rng.normal(size=(7, n)), rng.normal(size=(7, n_actions, n))
    x = np.concatenate([v, g.reshape(7, -1)], axis=1)
    cache = new_cache(layer, 7)
    q = layer.forward(x, cache).reshape(7, n_actions, n).copy()
    advantages, centered = (z - z.mean(axis=1, keepdims=True) for z in (q, g))
    np.testing.assert_allclose(advantages, centered, atol=1e-13)
    np.testing.assert_allclose(q.mean(axis=1), v, atol=1e-13)

    g += rng.normal(size=(7, 1, n))
    x = np.concatenate([v, g.reshape(7, -1)], axis=1)
    same = layer.forward(x, cache).reshape(7, n_actions, n)
    np.testing.assert_allclose(same, q, atol=1e-13)


@given(SEEDS, *DUELS)
def test_dueling_backward_against_the_scalar_rules(
    seed: int, n_actions: int, n: int
) -> None:
    rng = np.random.default_rng(seed)
    layer = Dueling(n_actions, n)
    cache = new_cache(layer, 3)
    layer.forward(rng.normal(size=(3, (1 + n_actions) * n)), cache)
    dq = rng.normal(size=(3, n_actions, n))
    dx = np.zeros((3, 1 + n_actions, n))
    for b, a, k in np.ndindex(dq.shape):
        dx[b, 0, k] += dq[b, a, k]
        dx[b, 1 + a, k] += dq[b, a, k]
        for other in range(n_actions):
            dx[b, 1 + other, k] -= dq[b, a, k] / n_actions
    got = backward(layer, dq.reshape(3, -1), cache)
    np.testing.assert_allclose(got, dx.reshape(3, -1), atol=1e-13)


def noise_of(rng: np.random.Generator) -> tuple[Array, Array]:
    """What a layer of 4 inputs and 3 outputs draws: f(e_i), (4,), and f(e_o), (3,)."""
    e = rng.standard_normal(7)
    f = np.sign(e) * np.sqrt(abs(e))
    return f[:4], f[4:]


@pytest.mark.parametrize("relu", [False, True])
def test_noisy_linear_without_noise_is_linear(relu: bool) -> None:
    rng = np.random.default_rng(0)
    noisy, linear = random_noisy(rng, relu), bound(Linear(4, 3, relu=relu))
    linear.W[:], linear.b[:] = noisy.W, noisy.b
    x, dy = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
    caches = new_cache(noisy, 6), new_cache(linear, 6)
    noisy.forward(x, caches[0], rng)  # noise that was there before does not stay
    np.testing.assert_array_equal(
        noisy.forward(x, caches[0]), linear.forward(x, caches[1])
    )
    np.testing.assert_array_equal(
        backward(noisy, dy.copy(), caches[0]), backward(linear, dy.copy(), caches[1])
    )
    np.testing.assert_array_equal(noisy.dmeans[:-1], linear.dW)
    np.testing.assert_array_equal(noisy.dmeans[-1], linear.db)
    np.testing.assert_array_equal(noisy.dscales, np.zeros((5, 3)))


@pytest.mark.parametrize("relu", [False, True])
def test_noisy_linear_is_linear_with_perturbed_weights(relu: bool) -> None:
    rng = np.random.default_rng(1)
    noisy, linear = random_noisy(rng, relu), bound(Linear(4, 3, relu=relu))
    caches = new_cache(noisy, 6), new_cache(linear, 6)
    x, dy = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
    f_in, f_out = noise_of(np.random.default_rng(7))
    linear.W[:] = noisy.W + noisy.scales[:-1] * np.outer(f_in, f_out)
    linear.b[:] = noisy.b + noisy.scales[-1] * f_out
    np.testing.assert_allclose(
        noisy.forward(x, caches[0], np.random.default_rng(7)),
        linear.forward(x, caches[1]),
    )
    dx, expected = (
        backward(layer, dy.copy(), cache)
        for layer, cache in zip((noisy, linear), caches, strict=True)
    )
    np.testing.assert_allclose(dx, expected)
    np.testing.assert_allclose(noisy.dmeans[:-1], linear.dW)
    np.testing.assert_allclose(noisy.dmeans[-1], linear.db)
    np.testing.assert_allclose(
        noisy.dscales[:-1], linear.dW * np.outer(f_in, f_out), atol=1e-14
    )
    np.testing.assert_allclose(noisy.dscales[-1], linear.db * f_out, atol=1e-14)


def test_noise_is_the_signed_root_of_normal_numbers() -> None:
    layer = bound(NoisyLinear(100_000, 1))
    layer.forward(np.ones((1, 100_000)), new_cache(layer, 1), np.random.default_rng(0))
    assert layer.f_out.shape == (1,)
    assert layer.f_in[-1] == 1.0  # of the bias
    f = layer.f_in[:-1]
    assert f.shape == (100_000,)
    e = np.sign(f) * f**2  # normal, if f = sign(e) sqrt|e|
    assert f.mean() == pytest.approx(0.0, abs=0.01)
    assert f.var() == pytest.approx(np.sqrt(2 / np.pi), rel=0.01)  # E|e|
    assert e.mean() == pytest.approx(0.0, abs=0.01)
    assert e.var() == pytest.approx(1.0, rel=0.02)
    assert (e**4).mean() == pytest.approx(3.0, rel=0.05)


def test_noise_has_mean_0_and_its_size_is_sigma() -> None:
    rng = np.random.default_rng(2)
    layer = random_noisy(rng)
    x = np.vstack([np.eye(4), np.zeros(4)])  # rows: W + b, and b
    cache = new_cache(layer, 5)
    draws = np.array([layer.forward(x, cache, rng).copy() for _ in range(4000)])
    weights, biases = draws[:, :4] - draws[:, 4:], draws[:, 4]
    root = np.sqrt(2 / np.pi)
    for samples, mean, deviation in (
        (weights, layer.W, abs(layer.scales[:-1]) * root),
        (biases, layer.b, abs(layer.scales[-1]) * np.sqrt(root)),
    ):
        error = abs(samples.mean(axis=0) - mean)
        assert (error < 4.0 * deviation / np.sqrt(4000)).all()
        np.testing.assert_allclose(samples.std(axis=0), deviation, rtol=0.06)


def test_noise_comes_from_the_generator_alone() -> None:
    layer, x = bound(NoisyLinear(4, 3)), np.ones((2, 4))
    cache, rng = new_cache(layer, 2), np.random.default_rng(5)
    drawn = []
    outputs = []
    for generator in (rng, rng, np.random.default_rng(5)):
        outputs.append(layer.forward(x, cache, generator).copy())
        drawn.append(np.concatenate([layer.f_in[:-1], layer.f_out]))
    np.testing.assert_array_equal(drawn[0], drawn[2])
    np.testing.assert_array_equal(outputs[0], outputs[2])
    assert not np.isin(drawn[0], drawn[1]).any()  # each forward draws new noise
    assert abs(outputs[0] - outputs[1]).min() > 0.0
    np.testing.assert_array_equal(
        drawn[0], np.concatenate(noise_of(np.random.default_rng(5)))
    )
    # 4 + 3 numbers for each forward, and none without a generator
    other = np.random.default_rng(5)
    other.standard_normal(2 * 7)
    assert rng.bit_generator.state == other.bit_generator.state


def test_noise_takes_the_dtype_of_the_weights() -> None:
    layer = NoisyLinear(4, 3)
    layer.bind(np.zeros(layer.size, np.float32), np.zeros(layer.size, np.float32))
    cache = layer.new_cache(2, np.dtype(np.float32))
    y = layer.forward(np.ones((2, 4), np.float32), cache, np.random.default_rng(0))
    assert y.dtype == np.float32
    assert layer.weights.dtype == layer.f_in.dtype == layer.f_out.dtype == np.float32


def test_backward_takes_the_noise_of_its_forward() -> None:
    """Also after forwards with other noise, before it and in other caches."""
    rng = np.random.default_rng(3)
    layer = random_noisy(rng)
    cache, other = new_cache(layer, 6), new_cache(layer, 2)
    x, dy = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
    results = []
    for _ in range(2):
        y = layer.forward(x, cache, np.random.default_rng(7)).copy()
        dx = backward(layer, dy.copy(), cache).copy()
        again = backward(layer, dy.copy(), cache)  # nothing accumulates
        np.testing.assert_array_equal(again, dx)
        results.append([y, dx, layer.dmeans.copy(), layer.dscales.copy()])
        layer.forward(rng.normal(size=(6, 4)), cache, rng)
        layer.forward(rng.normal(size=(2, 4)), other, rng)
        layer.forward(rng.normal(size=(2, 4)), other)
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


def test_noisy_linear_starts_as_linear_with_small_scales() -> None:
    linear, noisy = bound(Linear(16, 3, gain=0.3)), bound(NoisyLinear(16, 3, gain=0.3))
    np.testing.assert_array_equal(noisy.W, linear.W)
    np.testing.assert_array_equal(noisy.b, linear.b)
    np.testing.assert_array_equal(noisy.scales, np.full((17, 3), 0.125))
    assert (bound(NoisyLinear(16, 3, sigma=0.1)).scales == 0.1 / 4).all()


def test_noisy_linear_has_a_scale_for_every_weight() -> None:
    """In the order of Linear: first all means, W and then b, then all scales."""
    layer = NoisyLinear(4, 3)
    assert layer.size == 2 * Linear(4, 3).size == 30
    params, grads = np.arange(30.0), np.arange(30.0) + 100.0
    layer.bind(params, grads)
    for views, vector in (
        ((layer.means, layer.scales), params),
        ((layer.W, layer.b, layer.scales), params),
        ((layer.dmeans, layer.dscales), grads),
    ):
        assert all(np.shares_memory(v, vector) for v in views)
        np.testing.assert_array_equal(
            np.concatenate([v.ravel() for v in views]), vector
        )
    shapes = [v.shape for v in (layer.W, layer.b, layer.means, layer.scales)]
    assert shapes == [(4, 3), (3,), (5, 3), (5, 3)]
    assert [v.shape for v in (layer.dmeans, layer.dscales)] == [(5, 3), (5, 3)]
