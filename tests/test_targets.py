"""TD targets and the loss: by hand, and compiled against the equation in NumPy."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn.exploration import greedy
from minidqn.nn.layers import Array
from minidqn.parts.quantiles import (
    QuantileLoss,
    quantile_huber_loss,
    quantile_targets,
)
from minidqn.targets import HuberLoss, huber_loss, td_targets

from .conftest import plain


def test_targets_by_hand() -> None:
    """To read first: y = R + discount * Q(s', a')."""
    returns = np.array([1.0, 1.0])  # both get a reward of 1
    discounts = np.array([0.0, 0.9])  # the first terminates there, the second goes on
    q_next = np.array([[30.0, 50.0], [30.0, 50.0]])
    next_actions = np.array([1, 1])  # the best ones
    y = np.empty(2)
    td_targets(returns, discounts, q_next, next_actions, y)
    np.testing.assert_allclose(y, [1.0, 46.0])  # 1, and 1 + 0.9 * 50


def test_the_loss_by_hand() -> None:
    q = np.array([[0.0, 2.0], [7.0, 5.0]])
    actions = np.array([1, 0])
    y = np.array([2.5, 4.0])  # the errors are 0.5 and -3
    dq, errors = np.full((2, 2), np.nan), np.full(2, np.nan)
    loss, mean_q = huber_loss(q, actions, y, np.ones(2), 1.0, dq, errors)
    assert loss == pytest.approx((0.5 * 0.5**2 + 1.0 * (3.0 - 0.5)) / 2)
    assert mean_q == (2.0 + 7.0) / 2
    np.testing.assert_allclose(errors, [0.5, -3.0])
    # Q(s, a) is to go up by 0.5 and down by 1, the most that one row may ask for
    np.testing.assert_allclose(dq, [[0.0, -0.5 / 2], [1.0 / 2, 0.0]])


def textbook_losses(
    q: Array, actions: Array, targets: Array, weights: Array, delta: float
) -> Array:
    """Each row's loss as in the paper; of complex numbers the real part decides."""
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
    """What a loss gets: of plain DQN, (B, A), (B,), of quantiles, (B, A, N), (B, N)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    batch, n_actions = draw(st.integers(1, 64)), draw(st.integers(1, 18))
    shape = batch, n_actions, draw(st.integers(1, most_quantiles))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    # Few different values, so that ties come up.
    theta, theta_next, theta_online = (
        rng.integers(-20, 20, shape).astype(dtype) / 4 for _ in range(3)
    )
    ys = rng.normal(0.0, 3.0, (batch, shape[2]))
    return {
        "q": theta[:, :, 0].copy(),
        "q_next": theta_next[:, :, 0].copy(),
        "q_next_online": theta_online[:, :, 0].copy(),
        "theta": theta,
        "theta_next": theta_next,
        "theta_next_online": theta_online,
        "mask": rng.random(shape[:2]) < draw(st.sampled_from([0.1, 0.5, 1.0])),
        "actions": rng.integers(n_actions, size=batch).astype(np.int32),
        "returns": rng.normal(size=batch),
        "discounts": rng.choice([0.0, 0.9, 0.99], batch),
        "y": ys[:, 0].copy(),
        "ys": ys,
        "weights": rng.uniform(0.1, 1.0, batch).astype(np.float32),
    }


def best(q: Array, mask: Array | None = None) -> Array:
    """The best actions, (B,), of those that `mask` allows."""
    actions = np.empty(len(q), np.int64)
    greedy(q, np.ones(q.shape, np.bool_) if mask is None else mask, actions)
    return actions


def targets_of(function: Any, *arguments: Any, shape: tuple[int, ...]) -> Array:
    """The y that a kernel fills."""
    y: Array = np.full(shape, np.nan)
    function(*arguments, y)
    return y


def loss_of(function: Any, outputs: Array, *arguments: Any) -> tuple[Any, Array, Array]:
    """What a kernel returns, and what it fills: the gradient and the errors."""
    gradient, errors = np.full_like(outputs, np.nan), np.full(len(outputs), np.nan)
    returned = function(outputs, *arguments, gradient, errors)
    return returned, gradient, errors


@given(batches())
def test_td_targets(b: dict[str, Any]) -> None:
    n = len(b["q"])
    arguments = b["returns"], b["discounts"], b["q_next"], best(b["q_next"])
    y = targets_of(td_targets, *arguments, shape=(n,))
    exact = b["returns"] + b["discounts"] * b["q_next"].max(axis=1)
    np.testing.assert_allclose(y, exact, rtol=1e-6)
    np.testing.assert_allclose(
        y, targets_of(plain(td_targets), *arguments, shape=(n,)), rtol=1e-6
    )


@given(batches(), st.booleans())
def test_double_td_targets(b: dict[str, Any], masked: bool) -> None:
    """The action may come from other values, and not all may be allowed."""
    chosen = best(b["q_next_online"], b["mask"] if masked else None)
    n = len(chosen)
    y = targets_of(
        td_targets, b["returns"], b["discounts"], b["q_next"], chosen, shape=(n,)
    )
    if not masked:
        np.testing.assert_array_equal(chosen, b["q_next_online"].argmax(axis=1))
    values = b["q_next"][np.arange(n), chosen]
    np.testing.assert_allclose(y, b["returns"] + b["discounts"] * values, rtol=1e-6)


@given(batches())
def test_targets_of_every_quantile_of_the_next_action(b: dict[str, Any]) -> None:
    chosen = best(b["theta_next_online"].mean(axis=2), b["mask"])
    arguments = b["returns"], b["discounts"], b["theta_next"], chosen
    shape = b["ys"].shape
    y = targets_of(quantile_targets, *arguments, shape=shape)
    values = b["theta_next"][np.arange(len(y)), chosen]  # (B, N)
    future = b["discounts"][:, None] * values
    np.testing.assert_allclose(y, b["returns"][:, None] + future, rtol=1e-6, atol=1e-6)
    slow = targets_of(plain(quantile_targets), *arguments, shape=shape)
    np.testing.assert_allclose(y, slow, rtol=1e-6, atol=1e-6)


@given(batches(), st.sampled_from([0.01, 0.5, 1.0, math.inf]))
def test_huber_loss_and_its_gradient(b: dict[str, Any], delta: float) -> None:
    q, actions, y = b["q"], b["actions"], b["y"]
    ones = np.ones_like(b["weights"])
    (loss, mean_q), dq, errors = loss_of(huber_loss, q, actions, y, ones, delta)

    rows = np.arange(len(y))
    e = (q[rows, actions] - y).astype(np.float64)
    losses = [
        0.5 * x * x if abs(x) <= delta else delta * (abs(x) - 0.5 * delta) for x in e
    ]
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert mean_q == pytest.approx(q.max(axis=1).mean(), rel=1e-5, abs=1e-6)
    slopes = np.zeros(dq.shape)
    slopes[rows, actions] = np.clip(e, -delta, delta) / len(y)
    np.testing.assert_allclose(dq, slopes, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(errors, -e, rtol=1e-5, atol=1e-6)

    arguments = q, actions, y, b["weights"], delta
    (weighted, same_q), weighted_dq, same = loss_of(huber_loss, *arguments)
    assert weighted == pytest.approx(np.mean(b["weights"] * losses), rel=1e-5)
    assert same_q == mean_q
    scaled = b["weights"][:, None] * slopes
    np.testing.assert_allclose(weighted_dq, scaled, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(same, errors)

    slow, slow_dq, slow_errors = loss_of(plain(huber_loss), *arguments)
    assert slow == pytest.approx((weighted, mean_q), rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(weighted_dq, slow_dq, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(errors, slow_errors, rtol=1e-5, atol=1e-6)


@given(batches(most_quantiles=1), st.sampled_from([0.5, 1.0, math.inf]))
def test_one_quantile_is_the_huber_loss_of_dqn(b: dict[str, Any], delta: float) -> None:
    numbers = b["returns"], b["discounts"]
    chosen = best(b["q_next"])
    y = targets_of(td_targets, *numbers, b["q_next"], chosen, shape=b["y"].shape)
    ys = targets_of(
        quantile_targets, *numbers, b["theta_next"], chosen, shape=b["ys"].shape
    )
    np.testing.assert_array_equal(ys[:, 0], y)
    last = b["weights"], delta
    (loss, _), dq, errors = loss_of(huber_loss, b["q"], b["actions"], y, *last)
    same, dtheta, same_errors = loss_of(
        quantile_huber_loss, b["theta"], b["actions"], ys, *last
    )
    assert same == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(dtheta[:, :, 0], dq, rtol=1e-6)
    np.testing.assert_allclose(same_errors, errors, rtol=1e-12)


@given(batches(), st.sampled_from([0.01, 0.5, 1.0, math.inf]))
def test_quantile_huber_loss_and_its_gradient(b: dict[str, Any], delta: float) -> None:
    arguments = b["actions"], b["ys"], b["weights"], delta
    loss, dtheta, errors = loss_of(quantile_huber_loss, b["theta"], *arguments)
    theta = b["theta"].astype(np.complex128)
    exact = textbook_losses(theta, *arguments).real.mean()
    assert loss == pytest.approx(exact, rel=1e-5)

    # A row's loss hangs on that row alone, so one complex step serves all rows.
    slopes, h = np.zeros(dtheta.shape), 1e-30
    for a, k in np.ndindex(dtheta.shape[1:]):
        theta[:, a, k] += h * 1j
        slopes[:, a, k] = textbook_losses(theta, *arguments).imag / h / len(theta)
        theta[:, a, k] = b["theta"][:, a, k]
    atol = 1e-6 * abs(slopes).max()
    np.testing.assert_allclose(dtheta, slopes, rtol=1e-5, atol=atol)

    of_taken = b["theta"][np.arange(len(theta)), b["actions"]].mean(axis=1)
    np.testing.assert_allclose(
        errors, b["ys"].mean(axis=1) - of_taken, rtol=1e-5, atol=1e-5
    )

    slow, slow_dtheta, slow_errors = loss_of(
        plain(quantile_huber_loss), b["theta"], *arguments
    )
    assert loss == pytest.approx(slow, rel=1e-5)
    np.testing.assert_allclose(dtheta, slow_dtheta, rtol=1e-5, atol=atol)
    np.testing.assert_allclose(errors, slow_errors, rtol=1e-5, atol=1e-5)


@given(batches(), st.sampled_from([0.5, math.inf]))
def test_the_class_of_plain_dqn_calls_its_kernels(
    b: dict[str, Any], delta: float
) -> None:
    q, actions, weights = b["q"], b["actions"], b["weights"]
    batch, n_actions = q.shape
    ours = HuberLoss(batch, n_actions, q.dtype, delta)
    assert ours.q_values(q) is q
    chosen = best(b["q_next"])
    numbers = b["returns"], b["discounts"], b["q_next"], chosen
    y = ours.targets(*numbers)
    np.testing.assert_array_equal(y, targets_of(td_targets, *numbers, shape=y.shape))
    assert y.dtype == np.float64
    loss, mean_q, dq, errors = ours.gradient(q, actions, y, weights)
    expected = loss_of(huber_loss, q, actions, y, weights, delta)
    assert (loss, mean_q) == expected[0]
    np.testing.assert_array_equal(dq, expected[1])
    np.testing.assert_array_equal(errors, expected[2])
    assert dq.dtype == q.dtype
    # the arrays are made once
    assert ours.targets(*numbers) is y
    _, _, same_dq, same_errors = ours.gradient(q, actions, y, weights)
    assert same_dq is dq
    assert same_errors is errors


@given(batches(), st.sampled_from([0.5, math.inf]))
def test_the_class_of_quantiles_takes_rows_of_outputs(
    b: dict[str, Any], delta: float
) -> None:
    """(B, A N): the quantiles of one action lie side by side."""
    theta, actions, weights = b["theta"], b["actions"], b["weights"]
    batch, n_actions, n = theta.shape
    ours = QuantileLoss(batch, n_actions, theta.dtype, delta, n)
    outputs, next_outputs = (
        x.reshape(batch, -1).copy() for x in (theta, b["theta_next"])
    )
    q = ours.q_values(outputs)
    assert q.dtype == theta.dtype
    np.testing.assert_allclose(q, theta.mean(axis=2), rtol=1e-5, atol=1e-6)
    chosen = best(ours.q_values(next_outputs))
    numbers = b["returns"], b["discounts"]
    y = ours.targets(*numbers, next_outputs, chosen)
    np.testing.assert_array_equal(
        y,
        targets_of(
            quantile_targets, *numbers, b["theta_next"], chosen, shape=(batch, n)
        ),
    )
    loss, mean_q, gradient, errors = ours.gradient(outputs, actions, y, weights)
    expected = loss_of(quantile_huber_loss, theta, actions, y, weights, delta)
    assert loss == expected[0]
    assert mean_q == pytest.approx(q.max(axis=1).mean(), rel=1e-5, abs=1e-6)
    assert gradient.shape == outputs.shape
    np.testing.assert_array_equal(gradient.reshape(theta.shape), expected[1])
    np.testing.assert_array_equal(errors, expected[2])
    assert gradient.dtype == theta.dtype
    assert np.shares_memory(ours.gradient(outputs, actions, y, weights)[2], gradient)


@pytest.mark.parametrize("of_quantiles", [False, True])
def test_huber_at_its_kinks_takes_the_one_slope_both_sides_have(
    of_quantiles: bool,
) -> None:
    q, actions = np.array([[1.0], [-1.0], [0.0]]), np.zeros(3, np.int32)
    last = np.ones(3), 1.0
    loss: float
    if of_quantiles:
        loss, dq, _ = loss_of(
            quantile_huber_loss, q[:, :, None], actions, np.zeros((3, 1)), *last
        )
    else:
        (loss, _), dq, _ = loss_of(huber_loss, q, actions, np.zeros(3), *last)
    assert loss == pytest.approx((0.5 + 0.5 + 0.0) / 3)
    np.testing.assert_allclose(dq.reshape(-1) * 3, [1.0, -1.0, 0.0])


def test_what_is_not_finite_is_not_hidden() -> None:
    for bad in (math.nan, math.inf, -math.inf):
        for q, y in (([[bad, 0.0]], 0.0), ([[0.0, 0.0]], bad)):
            arguments = np.array(q), np.zeros(1, np.int32)
            last = np.ones(1), 1.0
            with np.errstate(invalid="ignore"):  # uncompiled, the kernels warn
                (loss, _), _, _ = loss_of(huber_loss, *arguments, np.array([y]), *last)
                of_quantiles, _, _ = loss_of(
                    quantile_huber_loss,
                    arguments[0][:, :, None],
                    arguments[1],
                    np.array([[y]]),
                    *last,
                )
            assert not math.isfinite(loss)
            assert not math.isfinite(of_quantiles)


def resting_place(
    samples: Array, n: int, delta: float, rate: float, steps: int
) -> Array:
    """Where gradient descent takes n quantiles that all start at 1: (n,)."""
    ys = np.random.default_rng(0).permutation(samples).reshape(-1, n)
    actions, weights = np.zeros(len(ys), np.int32), np.ones(len(ys))
    theta, dtheta, errors = np.ones(n), np.empty((len(ys), 1, n)), np.empty(len(ys))
    for _ in range(steps):
        outputs = np.broadcast_to(theta, (len(ys), 1, n)).copy()
        quantile_huber_loss(outputs, actions, ys, weights, delta, dtheta, errors)
        theta -= rate * n * dtheta.sum(axis=(0, 1))
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
    samples = np.where(
        EVEN < 0.4, -2.0, 3.0
    )  # a share of 0.4, and two of five quantiles
    theta = resting_place(samples, N, delta, rate=0.01 / delta, steps=2500)
    np.testing.assert_allclose(theta, [-2.0, -2.0, 3.0, 3.0, 3.0], atol=delta)


def test_descent_on_squared_errors_finds_the_mean() -> None:
    samples = -np.log(1.0 - EVEN)
    theta = resting_place(samples, 1, math.inf, rate=0.5, steps=60)
    np.testing.assert_allclose(theta, samples.mean(), rtol=1e-12)
    median = resting_place(samples, 1, 0.01, rate=5.0, steps=500)
    np.testing.assert_allclose(median, math.log(2.0), atol=0.01)


def test_a_terminated_step_has_no_future() -> None:
    numbers = np.array([1.0, 1.0]), np.array([0.0, 0.9])
    theta_next, chosen = np.full((2, 2, 3), 50.0), np.array([0, 1])
    y = targets_of(quantile_targets, *numbers, theta_next, chosen, shape=(2, 3))
    np.testing.assert_allclose(y, [[1.0] * 3, [46.0] * 3])
