"""The layers in parts.py by themselves: against the scalar rules, and what defines each."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn.nn.layers import Linear
from minidqn.nn.parts import Dueling, LayerNorm, NoisyLinear

from .test_layers import backward, bound, new_cache

SEEDS = st.integers(0, 2**32)


def random_noisy(rng: np.random.Generator, relu: bool = False) -> NoisyLinear:
    """A layer of which every weight and every sigma is another."""
    layer = NoisyLinear(4, 3, relu=relu)
    layer.bind(rng.normal(size=layer.size), np.full(layer.size, np.nan))
    return layer


@given(SEEDS, st.integers(3, 20), st.sampled_from([1e-3, 1.0, 1e3]))
def test_layer_norm_gives_rows_of_mean_0_and_variance_1(seed: int, width: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    layer, cache = bound(LayerNorm(width)), new_cache()
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
    np.testing.assert_allclose(layer.forward(x, cache), layer.gain * u + layer.bias, rtol=1e-12)


@given(SEEDS, st.floats(0.1, 100.0), st.floats(-10.0, 10.0))
def test_layer_norm_ignores_scale_and_shift(seed: int, a: float, b: float) -> None:
    x = np.random.default_rng(seed).normal(size=(5, 8))
    layer = bound(LayerNorm(8))
    y = layer.forward(x, new_cache())
    least = min(1.0, a * a) * x.var(axis=1).min()
    tolerance = 1e-5 / least * abs(y).max()  # what the epsilon may do
    np.testing.assert_allclose(layer.forward(a * x + b, new_cache()), y, rtol=0, atol=tolerance)


@given(SEEDS, st.booleans())
def test_layer_norm_passes_no_gradient_to_scale_and_shift(seed: int, relu: bool) -> None:
    rng = np.random.default_rng(seed)
    layer, cache = bound(LayerNorm(8, relu=relu)), new_cache()
    layer.gain[:], layer.bias[:] = rng.normal(size=(2, 8))
    x, dy = rng.normal(0.0, 100.0, (5, 8)), rng.normal(size=(5, 8))
    y = layer.forward(x, cache).copy()
    dx = backward(layer, dy.copy(), cache)
    assert abs(dx).max() > 1e-4
    np.testing.assert_allclose(dx.sum(axis=1), 0.0, atol=1e-14)
    # none to the scale but for the epsilon, which does not grow with it: eps / (variance + eps)
    du = layer.gain * np.where(relu & (y <= 0.0), 0.0, dy)
    left = 1e-5 / (x.var(axis=1) + 1e-5)
    u = (x - x.mean(axis=1, keepdims=True)) * np.sqrt(left / 1e-5)[:, None]
    np.testing.assert_allclose((dx * x).sum(axis=1), left * (du * u).sum(axis=1), atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layer_norm_of_a_constant_row_is_its_bias(dtype: Any) -> None:
    layer, cache = LayerNorm(3), new_cache()
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
    assert np.isnan(layer.forward(x, cache)).all()


def test_layer_norm_with_relu() -> None:
    rng = np.random.default_rng(0)
    without, with_relu = bound(LayerNorm(6)), bound(LayerNorm(6, relu=True))
    for layer in (without, with_relu):
        layer.gain[:], layer.bias[:] = np.random.default_rng(1).normal(size=(2, 6))
    x, dy, caches = rng.normal(size=(9, 6)), rng.normal(size=(9, 6)), (new_cache(), new_cache())
    y = without.forward(x, caches[0])
    np.testing.assert_array_equal(with_relu.forward(x, caches[1]), np.maximum(y, 0.0))
    dx = backward(without, dy * (y > 0), caches[0])
    np.testing.assert_array_equal(backward(with_relu, dy.copy(), caches[1]), dx)
    np.testing.assert_array_equal(with_relu.dgain, without.dgain)
    np.testing.assert_array_equal(with_relu.dbias, without.dbias)
    with_relu.gain[:] = with_relu.bias[:] = 0.0  # onto the kink: the subgradient is 0
    with_relu.forward(x, caches[1])
    np.testing.assert_array_equal(backward(with_relu, dy.copy(), caches[1]), np.zeros((9, 6)))
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
    q = layer.forward(x, new_cache()).reshape(7, n_actions, n)
    advantages, centered = (z - z.mean(axis=1, keepdims=True) for z in (q, g))
    np.testing.assert_allclose(advantages, centered, atol=1e-13)
    np.testing.assert_allclose(q.mean(axis=1), v, atol=1e-13)

    g += rng.normal(size=(7, 1, n))
    x = np.concatenate([v, g.reshape(7, -1)], axis=1)
    same = layer.forward(x, new_cache()).reshape(7, n_actions, n)
    np.testing.assert_allclose(same, q, atol=1e-13)


@given(SEEDS, *DUELS)
def test_dueling_backward_against_the_scalar_rules(seed: int, n_actions: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    layer, cache = Dueling(n_actions, n), new_cache()
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


@pytest.mark.parametrize("relu", [False, True])
def test_noisy_linear_without_noise_is_linear(relu: bool) -> None:
    rng = np.random.default_rng(0)
    noisy, linear = random_noisy(rng, relu), bound(Linear(4, 3, relu=relu))
    linear.W[:], linear.b[:] = noisy.W, noisy.b
    x, dy, caches = rng.normal(size=(6, 4)), rng.normal(size=(6, 3)), (new_cache(), new_cache())
    np.testing.assert_array_equal(noisy.forward(x, caches[0]), linear.forward(x, caches[1]))
    np.testing.assert_array_equal(
        backward(noisy, dy.copy(), caches[0]), backward(linear, dy.copy(), caches[1])
    )
    np.testing.assert_array_equal(noisy.dW, linear.dW)
    np.testing.assert_array_equal(noisy.db, linear.db)
    np.testing.assert_array_equal(noisy.dS, np.zeros((4, 3)))
    np.testing.assert_array_equal(noisy.ds, np.zeros(3))


@pytest.mark.parametrize("relu", [False, True])
def test_noisy_linear_is_linear_with_perturbed_weights(relu: bool) -> None:
    rng = np.random.default_rng(1)
    noisy, linear = random_noisy(rng, relu), bound(Linear(4, 3, relu=relu))
    caches = new_cache(), new_cache()
    noisy.draw_noise(rng, caches[0])
    f_in, f_out = caches[0]["f_in"], caches[0]["f_out"]
    linear.W[:] = noisy.W + noisy.S * np.outer(f_in, f_out)
    linear.b[:] = noisy.b + noisy.s * f_out
    x, dy = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
    np.testing.assert_allclose(noisy.forward(x, caches[0]), linear.forward(x, caches[1]))
    dx, expected = (
        backward(layer, dy.copy(), cache)
        for layer, cache in zip((noisy, linear), caches, strict=True)
    )
    np.testing.assert_allclose(dx, expected)
    np.testing.assert_allclose(noisy.dW, linear.dW)
    np.testing.assert_allclose(noisy.db, linear.db)
    np.testing.assert_allclose(noisy.dS, linear.dW * np.outer(f_in, f_out))
    np.testing.assert_allclose(noisy.ds, linear.db * f_out)


def test_noise_is_the_signed_root_of_normal_numbers() -> None:
    layer, cache = bound(NoisyLinear(100_000, 1)), new_cache()
    layer.draw_noise(np.random.default_rng(0), cache)
    f = cache["f_in"]
    assert cache["f_out"].shape == (1,)
    e = np.sign(f) * f**2  # normal, if f = sign(e) sqrt|e|
    assert f.mean() == pytest.approx(0.0, abs=0.01)
    assert f.var() == pytest.approx(np.sqrt(2 / np.pi), rel=0.01)  # E|e|
    assert e.mean() == pytest.approx(0.0, abs=0.01)
    assert e.var() == pytest.approx(1.0, rel=0.02)
    assert (e**4).mean() == pytest.approx(3.0, rel=0.05)


def test_noise_has_mean_0_and_its_size_is_sigma() -> None:
    rng = np.random.default_rng(2)
    layer, x = random_noisy(rng), np.vstack([np.eye(4), np.zeros(4)])  # rows: W + b, and b
    cache, draws = new_cache(), []
    for _ in range(4000):
        layer.draw_noise(rng, cache)
        draws.append(layer.forward(x, cache).copy())
    weights, biases = np.array(draws)[:, :4] - np.array(draws)[:, 4:], np.array(draws)[:, 4]
    root = np.sqrt(2 / np.pi)
    for samples, mean, deviation in (
        (weights, layer.W, abs(layer.S) * root),
        (biases, layer.b, abs(layer.s) * np.sqrt(root)),
    ):
        error = abs(samples.mean(axis=0) - mean)
        assert (error < 4.0 * deviation / np.sqrt(4000)).all()
        np.testing.assert_allclose(samples.std(axis=0), deviation, rtol=0.06)


def test_noise_comes_from_the_generator_alone() -> None:
    layer, caches = bound(NoisyLinear(4, 3)), [new_cache() for _ in range(3)]
    rng = np.random.default_rng(5)
    layer.draw_noise(rng, caches[0])
    layer.draw_noise(rng, caches[1])
    layer.draw_noise(np.random.default_rng(5), caches[2])
    for name in ("f_in", "f_out"):
        np.testing.assert_array_equal(caches[0][name], caches[2][name])
        assert not np.isin(caches[0][name], caches[1][name]).any()
    x = np.ones((2, 4))
    y = layer.forward(x, caches[0]).copy()
    np.testing.assert_array_equal(layer.forward(x, caches[0]), y)  # it stays until drawn anew
    assert abs(layer.forward(x, caches[1]) - y).min() > 0.0
    layer.draw_noise(rng, caches[0])
    assert abs(layer.forward(x, caches[0]) - y).min() > 0.0


def test_noise_takes_the_dtype_of_the_weights() -> None:
    layer, cache = NoisyLinear(4, 3), new_cache()
    layer.bind(np.zeros(layer.size, np.float32), np.zeros(layer.size, np.float32))
    layer.draw_noise(np.random.default_rng(0), cache)
    assert cache["f_in"].dtype == cache["f_out"].dtype == np.float32
    assert layer.forward(np.ones((2, 4), np.float32), cache).dtype == np.float32


def test_noise_in_another_cache_does_not_spoil_the_first_pass() -> None:
    rng = np.random.default_rng(3)
    layer, first, other = random_noisy(rng), new_cache(), new_cache()
    x, dy = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
    layer.draw_noise(rng, first)
    layer.draw_noise(rng, other)
    layer.forward(x, first)
    dx = backward(layer, dy.copy(), first).copy()
    gradients = [d.copy() for d in (layer.dW, layer.db, layer.dS, layer.ds)]

    y = layer.forward(x, first).copy()
    assert abs(layer.forward(rng.normal(size=(6, 4)), other) - y).min() > 0.0
    layer.forward(rng.normal(size=(6, 4)), new_cache())
    np.testing.assert_array_equal(backward(layer, dy.copy(), first), dx)
    for now, then in zip((layer.dW, layer.db, layer.dS, layer.ds), gradients, strict=True):
        np.testing.assert_array_equal(now, then)


def test_noisy_linear_starts_as_linear_with_small_sigma() -> None:
    linear, noisy = bound(Linear(16, 3, gain=0.3)), bound(NoisyLinear(16, 3, gain=0.3))
    np.testing.assert_array_equal(noisy.W, linear.W)
    np.testing.assert_array_equal(noisy.b, linear.b)
    np.testing.assert_array_equal(noisy.S, np.full((16, 3), 0.125))
    np.testing.assert_array_equal(noisy.s, np.full(3, 0.125))
    assert (bound(NoisyLinear(16, 3, sigma=0.1)).S == 0.1 / 4).all()


def test_noisy_linear_has_a_sigma_for_every_weight() -> None:
    layer = NoisyLinear(4, 3)
    assert layer.size == 2 * Linear(4, 3).size == 30
    params, grads = np.arange(30.0), np.arange(30.0) + 100.0
    layer.bind(params, grads)
    for views, vector in (
        ((layer.W, layer.b, layer.S, layer.s), params),
        ((layer.dW, layer.db, layer.dS, layer.ds), grads),
    ):
        assert [v.shape for v in views] == [(4, 3), (3,), (4, 3), (3,)]
        assert all(np.shares_memory(v, vector) for v in views)
        np.testing.assert_array_equal(np.concatenate([v.ravel() for v in views]), vector)
