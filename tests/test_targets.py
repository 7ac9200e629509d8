"""TD targets and the loss: compiled, against the equation written in NumPy."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn.layers import Array
from minidqn.targets import double_td_targets, huber_loss, mean_max, td_targets

from .conftest import plain


@st.composite
def batches(draw: st.DrawFn) -> dict[str, Array]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    batch, n_actions = draw(st.integers(1, 64)), draw(st.integers(1, 18))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    # Few different values, so that ties come up.
    q, q_next, q_next_online = (
        rng.integers(-20, 20, (batch, n_actions)).astype(dtype) / 4 for _ in range(3)
    )
    return {
        "q": q,
        "q_next": q_next,
        "q_next_online": q_next_online,
        "actions": rng.integers(n_actions, size=batch).astype(np.int32),
        "returns": rng.normal(size=batch).astype(dtype),
        "discounts": rng.choice([0.0, 0.9, 0.99], batch).astype(dtype),
    }


@given(batches())
def test_td_targets(b: dict[str, Array]) -> None:
    y = td_targets(b["returns"], b["discounts"], b["q_next"])
    expected = b["returns"] + b["discounts"] * b["q_next"].max(axis=1)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    assert y.dtype == b["returns"].dtype
    np.testing.assert_allclose(
        y, plain(td_targets)(b["returns"], b["discounts"], b["q_next"]), rtol=1e-6
    )


@given(batches())
def test_double_td_targets(b: dict[str, Array]) -> None:
    arguments = b["returns"], b["discounts"], b["q_next_online"], b["q_next"]
    y = double_td_targets(*arguments)
    best = b["q_next_online"].argmax(axis=1)
    values = b["q_next"][np.arange(len(best)), best]
    np.testing.assert_allclose(y, b["returns"] + b["discounts"] * values, rtol=1e-6)
    np.testing.assert_allclose(y, plain(double_td_targets)(*arguments), rtol=1e-6)


@given(batches(), st.sampled_from([0.5, 1.0, math.inf]))
def test_huber_loss_and_its_gradient(b: dict[str, Array], delta: float) -> None:
    y = td_targets(b["returns"], b["discounts"], b["q_next"])
    loss, dq = huber_loss(b["q"], b["actions"], y, delta)

    rows = np.arange(len(y))
    e = (b["q"][rows, b["actions"]] - y).astype(np.float64)
    losses = [0.5 * x * x if abs(x) <= delta else delta * (abs(x) - 0.5 * delta) for x in e]
    assert loss == pytest.approx(np.mean(losses), rel=1e-5)
    expected = np.zeros(dq.shape)
    expected[rows, b["actions"]] = np.clip(e, -delta, delta) / len(y)
    np.testing.assert_allclose(dq, expected, rtol=1e-5, atol=1e-7)
    assert dq.dtype == b["q"].dtype

    plain_loss, plain_dq = plain(huber_loss)(b["q"], b["actions"], y, delta)
    assert loss == pytest.approx(plain_loss, rel=1e-5)
    np.testing.assert_allclose(dq, plain_dq, rtol=1e-5, atol=1e-7)


def test_huber_at_its_kinks_takes_the_one_slope_both_sides_have() -> None:
    q, actions = np.array([[1.0], [-1.0], [0.0]]), np.zeros(3, np.int32)
    loss, dq = huber_loss(q, actions, np.zeros(3), 1.0)
    assert loss == pytest.approx((0.5 + 0.5 + 0.0) / 3)
    np.testing.assert_allclose(dq[:, 0] * 3, [1.0, -1.0, 0.0])


def test_a_terminated_step_has_no_future() -> None:
    y = td_targets(np.array([1.0, 1.0]), np.array([0.0, 0.9]), np.full((2, 2), 50.0))
    np.testing.assert_allclose(y, [1.0, 46.0])


@given(batches())
def test_mean_max(b: dict[str, Any]) -> None:
    assert mean_max(b["q"]) == pytest.approx(b["q"].max(axis=1).mean(), rel=1e-5, abs=1e-6)
