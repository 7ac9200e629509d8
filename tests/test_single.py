"""predict: one observation in one kernel gives what forward gives, layer by layer."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidqn.nn.layers import Array, Layer, Linear
from minidqn.nn.network import Network
from minidqn.nn.single import are_linear, single_forward
from minidqn.parts.dueling import Dueling
from minidqn.parts.frames import Flatten
from minidqn.parts.layer_norm import LayerNorm
from minidqn.parts.noisy import NoisyLinear
from minidqn.parts.normalize import Normalize

from .conftest import plain


def build(
    widths: list[int], relus: list[bool], below: list[Layer], dtype: Any
) -> Network:
    """Linear layers of these widths, on top of layers without parameters."""
    layers = list(below)
    for (n_in, n_out), relu in zip(itertools.pairwise(widths), relus, strict=True):
        layers.append(Linear(n_in, n_out, relu=relu))
    return Network(layers, dtype)


def rounding(net: Network, widths: list[int], x: Array) -> float:
    """The most that two orders of the same sums may differ by.

    Each output is a sum of products. With |params| and |x|, no term cancels another: so
    the outputs are the size of the terms. Each step rounds them by up to eps.
    """
    sizes = build(widths, [False] * (len(widths) - 1), [], np.float64)
    sizes.params[:] = abs(net.params)
    steps = sum(n + 2 for n in widths)
    return float(2 * steps * np.finfo(net.dtype).eps * sizes.forward(abs(x)).max())


@st.composite
def stacks(draw: st.DrawFn) -> dict[str, Any]:
    depth = draw(st.integers(1, 4))
    return {
        "widths": draw(
            st.lists(st.integers(1, 70), min_size=depth + 1, max_size=depth + 1)
        ),
        "relus": draw(st.lists(st.booleans(), min_size=depth, max_size=depth)),
        "dtype": draw(st.sampled_from([np.float32, np.float64, np.complex128])),
        "below": draw(st.sampled_from(["nothing", "Flatten", "Normalize", "both"])),
        "rng": np.random.default_rng(draw(st.integers(0, 2**32))),
    }


@given(stacks())
def test_one_observation_gives_what_forward_gives(p: dict[str, Any]) -> None:
    n_in, rng = p["widths"][0], p["rng"]
    below: list[Layer] = []
    if p["below"] in ("Flatten", "both"):
        below.append(Flatten())
    if p["below"] in ("Normalize", "both"):
        below.append(Normalize(np.full(n_in, -3.0), np.full(n_in, 2.0)))
    net = build(p["widths"], p["relus"], below, p["dtype"])
    assert net.single_pass is not None
    for _ in range(3):
        net.params[:] = rng.normal(size=net.params.size)  # in place, as Adam does it
        x = rng.normal(size=(1, n_in))
        expected = net.forward(x).copy()
        y = net.predict(x)
        assert y.dtype == net.dtype
        assert y.shape == (1, p["widths"][-1])
        # Normalize gives at most 0.4 |x| + 0.2
        atol = rounding(net, p["widths"], abs(x) + 0.2)
        np.testing.assert_allclose(y, expected, rtol=0.0, atol=atol)


@given(stacks())
def test_one_row_of_a_batch_gives_what_forward_gives_for_the_batch(
    p: dict[str, Any],
) -> None:
    """A row of a batch may lie anywhere in memory, and be of another dtype."""
    net = build(p["widths"], p["relus"], [], p["dtype"])
    net.params[:] = p["rng"].normal(size=net.params.size)
    x = p["rng"].integers(-3, 4, (4, p["widths"][0])).astype(np.int16)
    outputs = net.forward(x).copy()
    for batch in (x, np.asfortranarray(x), x.astype(net.dtype)):
        atol = rounding(net, p["widths"], x)
        for row, expected in zip(batch, outputs, strict=True):
            y = net.predict(row[None])[0]
            np.testing.assert_allclose(y, expected, rtol=0.0, atol=atol)


@pytest.mark.parametrize("relu", [False, True])
def test_compiled_and_plain_agree(relu: bool) -> None:
    rng = np.random.default_rng(0)
    params = rng.normal(size=(4 * 3 + 3) + (3 * 2 + 2))
    sizes = np.array([(4, 3, 1), (3, 2, relu)])
    x = rng.normal(size=(1, 4))
    outputs = []
    for function in (single_forward, plain(single_forward)):
        outputs.append(np.full((1, 2), math.nan))
        function(x, params, sizes, np.full((2, 4), math.nan), outputs[-1])
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-13, atol=1e-14)
    by_hand = np.maximum(x @ params[:12].reshape(4, 3) + params[12:15], 0.0)
    by_hand = by_hand @ params[15:21].reshape(3, 2) + params[21:]
    by_hand = np.maximum(by_hand, 0.0) if relu else by_hand
    np.testing.assert_allclose(outputs[0], by_hand, rtol=1e-13, atol=1e-14)


def test_what_is_not_a_number_is_not_hidden() -> None:
    """Neither by a ReLU, nor where it meets a 0."""
    net = build([3, 4, 2], [True, True], [], np.float32)
    net.params[:] = 1.0
    x = np.array([[1.0, np.nan, 1.0]], np.float32)
    assert np.isnan(net.predict(x)).all()
    net.params[:] = 0.0
    assert np.isnan(net.forward(x)).all()
    assert np.isnan(net.predict(x)).all()
    for name in ("W", "b"):
        for layer in net.layers:
            assert isinstance(layer, Linear)
            net.params[:] = 1.0
            getattr(layer, name)[:] = np.nan
            assert np.isnan(net.predict(np.ones((1, 3), np.float32))).all()


def other_networks() -> list[list[Layer]]:
    """That are not made of Linear layers alone."""
    return [
        [Linear(4, 6), LayerNorm(6, relu=True), Linear(6, 2)],
        [Linear(4, 6, relu=True), Linear(6, 3), Dueling(2)],
        [NoisyLinear(4, 6, relu=True), NoisyLinear(6, 2)],
        [Normalize(np.full(4, -2.0), np.full(4, 2.0)), NoisyLinear(4, 2)],
        [Linear(4, 6), Flatten(), Linear(6, 2)],
    ]


@pytest.mark.parametrize("layers", other_networks())
@pytest.mark.parametrize("n", [1, 5])
def test_other_layers_go_through_forward(layers: list[Layer], n: int) -> None:
    net = Network(layers)
    net.initialize(np.random.default_rng(0))
    assert net.single_pass is None
    x = np.random.default_rng(1).normal(size=(n, 4)).astype(np.float32)
    for seed in (None, 7):
        rngs = [None if seed is None else np.random.default_rng(seed) for _ in "ab"]
        expected = net.forward(x, rngs[0]).copy()
        np.testing.assert_array_equal(net.predict(x, rngs[1]), expected)
        if rngs[0] is not None and rngs[1] is not None:  # as much noise was drawn
            assert rngs[0].random() == rngs[1].random()


@pytest.mark.parametrize("normalized", [False, True])
def test_a_batch_goes_through_forward(normalized: bool) -> None:
    below: list[Layer] = []
    if normalized:
        below.append(Normalize(np.full(4, -2.0), np.full(4, 2.0)))
    net = build([4, 8, 2], [True, False], below, np.float32)
    net.initialize(np.random.default_rng(0))
    for n in (2, 5, 0):
        x = np.random.default_rng(n).normal(size=(n, 4)).astype(np.float32)
        expected = net.forward(x).copy()
        assert expected.shape == (n, 2)
        np.testing.assert_array_equal(net.predict(x), expected)


def test_a_layer_that_may_compute_something_else_is_not_taken_for_linear() -> None:
    class Doubled(Linear):
        def forward(self, x: Array, cache: Any, rng: Any = None) -> Array:
            return 2.0 * super().forward(x, cache, rng)

    assert are_linear([Linear(3, 2)])
    assert not are_linear([Linear(3, 2), Doubled(2, 2)])
    net = Network([Doubled(3, 2)], np.float64)
    net.initialize(np.random.default_rng(0))
    x = np.ones((1, 3))
    W, b = net.params[:6].reshape(3, 2), net.params[6:]
    np.testing.assert_allclose(net.predict(x), 2.0 * (x @ W + b), rtol=1e-13)


@pytest.mark.parametrize("normalized", [False, True])
def test_one_observation_overwrites_the_last_one_alone(normalized: bool) -> None:
    below: list[Layer] = []
    if normalized:
        below.append(Normalize(np.full(4, -2.0), np.full(4, 2.0)))
    net = build([4, 8, 2], [True, False], below, np.float32)
    net.initialize(np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    batch, single = net.forward(x), net.forward(x[:1])
    before = batch.copy(), single.copy()
    y = net.predict(x[1:2])
    assert net.predict(x[2:3]) is y
    np.testing.assert_array_equal(batch, before[0])
    np.testing.assert_array_equal(single, before[1])
    np.testing.assert_allclose(y[0], batch[2], rtol=1e-4, atol=1e-6)
    assert not normalized or len(net.caches) == 2


def test_two_networks_of_shared_arrays_act_by_their_own_parameters() -> None:
    one, two = (build([4, 8, 2], [True, False], [], np.float32) for _ in "ab")
    one.initialize(np.random.default_rng(0))
    two.initialize(np.random.default_rng(1))
    two.share_caches(one)
    x = np.ones((1, 4), np.float32)
    y = one.predict(x)
    before = y.copy()
    assert abs(two.predict(x) - before).max() > 0.01
    np.testing.assert_array_equal(y, before)


@pytest.mark.parametrize("n_in", [2, 5])
def test_an_observation_of_another_width_is_refused(n_in: int) -> None:
    """Forward refuses it. The kernel would read what the last one left, or beyond."""
    net = build([3, 8], [False], [], np.float32)
    x = np.ones((1, n_in), np.float32)
    with pytest.raises(ValueError, match="not aligned"):
        net.forward(x)
    with pytest.raises(ValueError, match=r"aligned|expected"):
        net.predict(x)
