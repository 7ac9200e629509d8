import math

import numpy as np
import pytest

from minidqn.nn.adam import Adam, adam_step, clip_by_global_norm

from .conftest import plain


def test_five_steps_of_two_parameters_against_the_paper() -> None:
    """Kingma & Ba 2015, Algorithm 1, one scalar at a time."""
    alpha, beta1, beta2, eps = 0.01, 0.9, 0.999, 1e-8
    gradients = np.random.default_rng(0).normal(size=(5, 2))
    params = np.array([1.0, -2.0])
    adam = Adam(params)
    for g in gradients:
        adam.step(g, alpha)

    for j, start in enumerate([1.0, -2.0]):
        theta, m, v = start, 0.0, 0.0
        for t in range(1, 6):
            g = gradients[t - 1, j]
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            m_hat = m / (1 - beta1**t)
            v_hat = v / (1 - beta2**t)
            theta = theta - alpha * m_hat / (math.sqrt(v_hat) + eps)
        assert params[j] == pytest.approx(theta, rel=1e-13)
    assert adam.t == 5


def test_the_first_step_has_the_length_of_the_learning_rate() -> None:
    """Only with bias correction; else it would be 0.1 / sqrt(0.001), 3.2 times that."""
    params = np.zeros(3)
    Adam(params).step(np.array([5.0, -0.001, 100.0]), 0.01)
    np.testing.assert_allclose(params, [-0.01, 0.01, -0.01], rtol=1e-4)


def test_compiled_and_plain_agree() -> None:
    rng = np.random.default_rng(0)
    one = [rng.random(50, dtype=np.float32) for _ in range(4)]
    two = [array.copy() for array in one]
    for function, (params, grads, m, v) in ((adam_step, one), (plain(adam_step), two)):
        function(params, grads, m, v, 3, 1e-3)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(
            a, b, rtol=1e-6
        )  # the compiler may fuse a multiply and an add


def test_moments_without_gradient_end_at_zero_not_in_denormals() -> None:
    params = np.ones(2, np.float32)
    adam = Adam(params)
    adam.step(np.array([1.0, 1.0], np.float32), 1e-3)
    after_one = params.copy()
    for _ in range(100_000):
        adam.step(np.zeros(2, np.float32), 0.0)
    assert not adam.m.any()
    assert not adam.v.any()
    np.testing.assert_array_equal(params, after_one)


def test_nan_is_not_mistaken_for_zero() -> None:
    params = np.ones(2, np.float32)
    Adam(params).step(np.array([np.nan, 1.0], np.float32), 1e-3)
    assert np.isnan(params[0])
    assert np.isfinite(params[1])


def test_clipping_keeps_the_direction_of_the_whole_vector() -> None:
    grads = np.array([3.0, -4.0])
    assert clip_by_global_norm(grads, 1.0) == pytest.approx(5.0)
    np.testing.assert_allclose(grads, [0.6, -0.8])


def test_short_gradients_are_left_alone() -> None:
    grads = np.array([0.3, -0.4])
    assert clip_by_global_norm(grads, 1.0) == pytest.approx(0.5)
    np.testing.assert_array_equal(grads, [0.3, -0.4])
    clip_by_global_norm(grads, math.inf)
    np.testing.assert_array_equal(grads, [0.3, -0.4])
