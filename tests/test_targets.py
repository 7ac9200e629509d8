"""TD targets and the loss: compiled, against the equation written in NumPy."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn.nn.layers import Array
from minidqn.policy import greedy
from minidqn.targets import mean_max, mean_of_quantiles, quantile_huber_loss, td_targets

from .conftest import plain


def textbook_losses(
    q: Array, actions: Array, targets: Array, weights: Array, delta: float
) -> Array:
    """Each row's loss as in the paper, for complex numbers too: the real part decides."""
    theta = q[np.arange(len(q)), actions]  # (B, N)
    u = targets[:, None, :] - theta[:, :, None]  # (B, N, N): of theta_k, from target j
    n = theta.shape[1]
    t = (np.arange(1, n + 1) - 0.5)[:, None] / n
    size = np.where(u.real < 0, -u, u)
    with np.errstate(invalid="ignore"):  # inf - inf in the branch not taken
        line = delta * (size - 0.5 * delta)
    huber = np.where(size.real <= delta, 0.5 * u * u, line)
    losses: Array = weights * (2.0 * abs(t - (u.real < 0)) * huber).mean(axis=(1, 2))
    return losses


@st.composite
def batches(draw: st.DrawFn, most_quantiles: int = 7) -> dict[str, Any]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    batch, n_actions = draw(st.integers(1, 64)), draw(st.integers(1, 18))
    shape = batch, n_actions, draw(st.integers(1, most_quantiles))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    # Few different values, so that ties come up.
    q, q_next, q_next_online = (rng.integers(-20, 20, shape).astype(dtype) / 4 for _ in range(3))
    return {
        "q": q,
        "q_next": q_next,
        "q_next_online": q_next_online,
        "mask": rng.random(shape[:2]) < draw(st.sampled_from([0.1, 0.5, 1.0])),
        "actions": rng.integers(n_actions, size=batch).astype(np.int32),
        "returns": rng.normal(size=batch).astype(dtype),
        "discounts": rng.choice([0.0, 0.9, 0.99], batch).astype(dtype),
        "targets": rng.normal(0.0, 3.0, (batch, shape[2])).astype(dtype),
        "weights": rng.uniform(0.1, 1.0, batch).astype(dtype),
    }


def anything(q: Array) -> Array:
    """The mask that allows all."""
    return np.ones(q.shape[:2], np.bool_)


@given(batches())
def test_q_is_the_mean_of_the_quantiles(b: dict[str, Any]) -> None:
    assert mean_of_quantiles(b["q"]).dtype == b["q"].dtype
    np.testing.assert_allclose(mean_of_quantiles(b["q"]), b["q"].mean(axis=2), rtol=1e-5, atol=1e-6)


@given(batches(most_quantiles=1))
def test_td_targets(b: dict[str, Any]) -> None:
    q_next = b["q_next"]
    y = td_targets(
        b["returns"], b["discounts"], mean_of_quantiles(q_next), anything(q_next), q_next
    )
    best = b["returns"] + b["discounts"] * b["q_next"][:, :, 0].max(axis=1)
    np.testing.assert_allclose(y, best[:, None], rtol=1e-6)
    assert y.dtype == b["returns"].dtype


@given(batches())
def test_td_targets_of_every_quantile_of_the_next_action(b: dict[str, Any]) -> None:
    q_select = mean_of_quantiles(b["q_next_online"])
    arguments = b["returns"], b["discounts"], q_select, b["mask"], b["q_next"]
    y = td_targets(*arguments)
    values = b["q_next"][np.arange(len(y)), greedy(q_select, b["mask"])]  # (B, N)
    future = b["discounts"][:, None] * values
    np.testing.assert_allclose(y, b["returns"][:, None] + future, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(y, plain(td_targets)(*arguments), rtol=1e-6, atol=1e-6)
    assert y.dtype == b["returns"].dtype


@given(batches(most_quantiles=1))
def test_double_td_targets(b: dict[str, Any]) -> None:
    q_select = mean_of_quantiles(b["q_next_online"])
    y = td_targets(b["returns"], b["discounts"], q_select, anything(q_select), b["q_next"])
    best = b["q_next_online"][:, :, 0].argmax(axis=1)
    values = b["q_next"][np.arange(len(best)), best, 0]
    np.testing.assert_allclose(y[:, 0], b["returns"] + b["discounts"] * values, rtol=1e-6)


@given(batches(most_quantiles=1), st.sampled_from([0.5, 1.0, math.inf]))
def test_one_quantile_is_the_huber_loss_of_dqn(b: dict[str, Any], delta: float) -> None:
    q_next = b["q_next"]
    y = td_targets(
        b["returns"], b["discounts"], mean_of_quantiles(q_next), anything(q_next), q_next
    )
    ones = np.ones_like(b["returns"])
    loss, dq, errors = quantile_huber_loss(b["q"], b["actions"], y, ones, delta)

    rows = np.arange(len(y))
    e = (b["q"][rows, b["actions"], 0] - y[:, 0]).astype(np.float64)
    losses = [0.5 * x * x if abs(x) <= delta else delta * (abs(x) - 0.5 * delta) for x in e]
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)
    slopes = np.zeros(dq.shape)
    slopes[rows, b["actions"], 0] = np.clip(e, -delta, delta) / len(y)
    np.testing.assert_allclose(dq, slopes, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(errors, -e, rtol=1e-5, atol=1e-6)
    assert dq.dtype == b["q"].dtype

    weighted, weighted_dq, same = quantile_huber_loss(b["q"], b["actions"], y, b["weights"], delta)
    assert weighted == pytest.approx(np.mean(b["weights"] * losses), rel=1e-5)
    scaled = b["weights"][:, None, None] * slopes
    np.testing.assert_allclose(weighted_dq, scaled, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(same, errors)


@given(batches(), st.sampled_from([0.01, 0.5, 1.0, math.inf]))
def test_quantile_huber_loss_and_its_gradient(b: dict[str, Any], delta: float) -> None:
    arguments = b["actions"], b["targets"], b["weights"], delta
    loss, dq, errors = quantile_huber_loss(b["q"], *arguments)
    q = b["q"].astype(np.complex128)
    assert loss == pytest.approx(textbook_losses(q, *arguments).real.mean(), rel=1e-5)

    # A row's loss hangs on that row alone, so one complex step serves all rows.
    slopes, h = np.zeros(dq.shape), 1e-30
    for a, k in np.ndindex(dq.shape[1:]):
        q[:, a, k] += h * 1j
        slopes[:, a, k] = textbook_losses(q, *arguments).imag / h / len(q)
        q[:, a, k] = b["q"][:, a, k]
    np.testing.assert_allclose(dq, slopes, rtol=1e-5, atol=1e-6 * abs(slopes).max())
    assert dq.dtype == b["q"].dtype

    of_taken = b["q"][np.arange(len(q)), b["actions"]].mean(axis=1)
    np.testing.assert_allclose(errors, b["targets"].mean(axis=1) - of_taken, rtol=1e-5, atol=1e-5)

    plain_loss, plain_dq, plain_errors = plain(quantile_huber_loss)(b["q"], *arguments)
    assert loss == pytest.approx(plain_loss, rel=1e-5)
    np.testing.assert_allclose(dq, plain_dq, rtol=1e-5, atol=1e-6 * abs(slopes).max())
    np.testing.assert_allclose(errors, plain_errors, rtol=1e-5, atol=1e-5)


def test_huber_at_its_kinks_takes_the_one_slope_both_sides_have() -> None:
    q, actions = np.array([[[1.0]], [[-1.0]], [[0.0]]]), np.zeros(3, np.int32)
    loss, dq, _ = quantile_huber_loss(q, actions, np.zeros((3, 1)), np.ones(3), 1.0)
    assert loss == pytest.approx((0.5 + 0.5 + 0.0) / 3)
    np.testing.assert_allclose(dq[:, 0, 0] * 3, [1.0, -1.0, 0.0])


def resting_place(samples: Array, n: int, delta: float, rate: float, steps: int) -> Array:
    """Where gradient descent takes n quantiles that all start at 1: (n,)."""
    targets = np.random.default_rng(0).permutation(samples).reshape(-1, n)
    actions, weights = np.zeros(len(targets), np.int32), np.ones(len(targets))
    theta = np.ones(n)
    for _ in range(steps):
        q = np.broadcast_to(theta, (len(targets), 1, n))
        dq = quantile_huber_loss(q, actions, targets, weights, delta)[1]
        theta -= rate * n * dq.sum(axis=(0, 1))
    return theta


N = 5
MIDDLES = (np.arange(N) + 0.5) / N  # where the quantiles are to lie: 0.1, 0.3, ...
EVEN = (np.arange(500) + 0.5) / 500  # samples through the inverse of their distribution


def test_descent_finds_the_quantiles_of_an_exponential() -> None:
    delta = 0.01
    theta = resting_place(-np.log(1.0 - EVEN), N, delta, rate=0.05 / delta, steps=1500)
    # The samples about the last quantile lie 0.02 apart.
    np.testing.assert_allclose(theta, -np.log(1.0 - MIDDLES), atol=0.01)


def test_descent_finds_the_quantiles_of_two_points() -> None:
    delta = 0.01
    samples = np.where(EVEN < 0.4, -2.0, 3.0)  # a share of 0.4, and two of five quantiles
    theta = resting_place(samples, N, delta, rate=0.01 / delta, steps=2500)
    np.testing.assert_allclose(theta, [-2.0, -2.0, 3.0, 3.0, 3.0], atol=delta)


def test_descent_on_squared_errors_finds_the_mean() -> None:
    samples = -np.log(1.0 - EVEN)
    theta = resting_place(samples, 1, math.inf, rate=0.5, steps=60)
    np.testing.assert_allclose(theta, samples.mean(), rtol=1e-12)
    median = resting_place(samples, 1, 0.01, rate=5.0, steps=500)
    np.testing.assert_allclose(median, math.log(2.0), atol=0.01)


def test_a_terminated_step_has_no_future() -> None:
    q_next = np.full((2, 2, 3), 50.0)
    q_select = mean_of_quantiles(q_next)
    y = td_targets(np.array([1.0, 1.0]), np.array([0.0, 0.9]), q_select, anything(q_select), q_next)
    np.testing.assert_allclose(y, [[1.0] * 3, [46.0] * 3])


@given(batches())
def test_mean_max(b: dict[str, Any]) -> None:
    q = np.ascontiguousarray(b["q"][:, :, 0])
    assert mean_max(q) == pytest.approx(q.max(axis=1).mean(), rel=1e-5, abs=1e-6)
