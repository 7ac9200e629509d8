"""JAX's part of speed.py: the same update, compiled whole.

The buffer lives in JAX's memory and the draw is part of the compiled function, as in
PureJaxRL; parameters are one flat vector, the state is donated, and calls are queued. Left
out, in its favour: the gradient's norm and its clipping, metrics, the target's copies.

`update` is one call for each update, which is what an agent whose environment is in Python
can have; `updates_in_a_loop` is a hundred updates in one call (lax.scan), for which the
environment would have to be compiled too.
"""

from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from worker import Call, learning, serve

BUFFER = 10_000
LOOP = 100


def parameters(hidden: list[int], rng: np.random.Generator) -> list[Any]:
    """Weights and biases as in minidqn's Linear."""
    pairs = []
    for i, o in pairwise([4, *hidden, 2]):
        W, b = (
            rng.normal(0, (2 / i) ** 0.5, (i, o)),
            rng.uniform(-(i**-0.5), i**-0.5, o),
        )
        pairs.append((jnp.asarray(W, jnp.float32), jnp.asarray(b, jnp.float32)))
    return pairs


def q_values(params: list[Any], x: Any) -> Any:
    for W, b in params[:-1]:
        x = jax.nn.relu(x @ W + b)
    W, b = params[-1]
    return x @ W + b


def adam_update(
    params: Any, grads: Any, m: Any, v: Any, t: Any, rate: float
) -> tuple[Any, Any]:
    t = t + 1
    m, v = 0.9 * m + 0.1 * grads, 0.999 * v + 0.001 * grads * grads
    m_scale, v_scale = 1 / (1 - 0.9**t), 1 / (1 - 0.999**t)
    return params - rate * m_scale * m / (jnp.sqrt(v_scale * v) + 1e-8), (m, v, t)


def one_update(state: Any, target: Any, buffer: Any, batch: int, unravel: Any) -> Any:
    params, m, v, t, key = state
    key, draw = jax.random.split(key)
    i = jax.random.randint(draw, (batch,), 0, BUFFER)
    obs, actions, rewards, discounts, next_obs = (part[i] for part in buffer)
    y = rewards + discounts * q_values(unravel(target), next_obs).max(axis=1)

    def loss_of(params: Any) -> Any:
        q = jnp.take_along_axis(
            q_values(unravel(params), obs), actions[:, None], axis=1
        )[:, 0]
        e = q - y
        return jnp.where(abs(e) <= 1, 0.5 * e * e, abs(e) - 0.5).mean()

    loss, grads = jax.value_and_grad(loss_of)(params)
    params, moments = adam_update(params, grads, m, v, t, 1e-3)
    return (params, *moments, key), loss


def start(hidden: list[int]) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(0)
    params, unravel = ravel_pytree(parameters(hidden, rng))
    target, _ = ravel_pytree(parameters(hidden, rng))
    m, v = jnp.zeros_like(params), jnp.zeros_like(params)
    buffer = (
        jnp.asarray(rng.normal(size=(BUFFER, 4)), jnp.float32),
        jnp.asarray(rng.integers(2, size=BUFFER)),
        jnp.ones(BUFFER),
        jnp.asarray(0.99 * (rng.random(BUFFER) > 0.05), jnp.float32),
        jnp.asarray(rng.normal(size=(BUFFER, 4)), jnp.float32),
    )
    return (params, m, v, jnp.zeros(()), jax.random.key(0)), target, buffer, unravel


def stepper(hidden: list[int], function: Any) -> Call:
    state, target, buffer, unravel = start(hidden)
    compiled = jax.jit(partial(function, unravel=unravel), donate_argnums=0)

    def call() -> Any:
        nonlocal state
        state, loss = compiled(state, target, buffer)
        return loss

    return call


def update(hidden: list[int], batch: int) -> Call:
    return learning(stepper(hidden, partial(one_update, batch=batch)))


def updates_in_a_loop(hidden: list[int], batch: int) -> Call:
    def many(state: Any, target: Any, buffer: Any, unravel: Any) -> Any:
        def step(state: Any, _: None) -> Any:
            return one_update(state, target, buffer, batch, unravel)

        return jax.lax.scan(step, state, None, LOOP)

    return stepper(hidden, many)


def act(hidden: list[int], batch: int) -> Call:
    params = parameters(hidden, np.random.default_rng(0))
    obs = np.random.default_rng(0).normal(size=(batch, 4)).astype(np.float32)
    greedy = jax.jit(lambda params, x: q_values(params, x).argmax(axis=-1))
    if batch == 1:
        return lambda: int(greedy(params, obs[0]))
    return lambda: np.asarray(greedy(params, obs))


def conv_parameters(shape: list[int], conv: list[list[int]], hidden: list[int]) -> Any:
    """Kernels (k, k, C, O) and matrices, each with its biases."""
    rng = np.random.default_rng(0)
    side, _, channels = shape
    sizes: list[tuple[int, ...]] = []
    for n_out, k, s in conv:
        sizes.append((k, k, channels, n_out))
        channels, side = n_out, (side - k) // s + 1
    widths = [side * side * channels, *hidden, 6]
    sizes += pairwise(widths)
    return [
        (
            jnp.asarray(
                rng.normal(0, (2 / np.prod(size[:-1])) ** 0.5, size), jnp.float32
            ),
            jnp.zeros(size[-1]),
        )
        for size in sizes
    ]


def conv_q_values(params: list[Any], x: Any, strides: list[int]) -> Any:
    """Bytes, channels last, (B, H, W, C), to (B, A)."""
    x = x.astype(jnp.float32) / 255
    for (W, b), s in zip(params, strides, strict=False):
        layout = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(
            x, W, (s, s), "VALID", dimension_numbers=layout
        )
        x = jax.nn.relu(x + b)
    return q_values(params[len(strides) :], x.reshape(len(x), -1))


def conv_update(
    shape: list[int], conv: list[list[int]], hidden: list[int], batch: int
) -> Call:
    """One update from a batch that it is given, compiled whole."""
    params, unravel = ravel_pytree(conv_parameters(shape, conv, hidden))
    target, rng, strides = (
        params * 1.0,
        np.random.default_rng(0),
        [s for _, _, s in conv],
    )
    high = 256 if shape[0] > 50 else 2
    obs, next_obs = (
        jnp.asarray(rng.integers(high, size=(batch, *shape)), jnp.uint8)
        for _ in range(2)
    )
    actions = jnp.asarray(rng.integers(6, size=(batch, 1)))
    discounts = jnp.asarray(0.99 * (rng.random(batch) > 0.05), jnp.float32)

    def one(state: Any, obs: Any, next_obs: Any) -> Any:
        params, m, v, t = state
        y = 1.0 + discounts * conv_q_values(unravel(target), next_obs, strides).max(
            axis=1
        )

        def loss_of(params: Any) -> Any:
            q = conv_q_values(unravel(params), obs, strides)
            e = jnp.take_along_axis(q, actions, axis=1)[:, 0] - y
            return jnp.where(abs(e) <= 1, 0.5 * e * e, abs(e) - 0.5).mean()

        loss, grads = jax.value_and_grad(loss_of)(params)
        params, moments = adam_update(params, grads, m, v, t, 1e-4)
        return (params, *moments), loss

    compiled = jax.jit(one, donate_argnums=0)
    state = (params, jnp.zeros_like(params), jnp.zeros_like(params), jnp.zeros(()))

    def call() -> Any:
        nonlocal state
        state, loss = compiled(state, obs, next_obs)
        return loss

    return learning(call)


def conv_act(shape: list[int], conv: list[list[int]], hidden: list[int]) -> Call:
    params, strides = conv_parameters(shape, conv, hidden), [s for _, _, s in conv]
    obs = np.random.default_rng(0).integers(2, size=(1, *shape)).astype(np.uint8)
    greedy = jax.jit(
        lambda params, x: conv_q_values(params, x, strides).argmax(axis=-1)
    )
    return lambda: int(greedy(params, obs)[0])


if __name__ == "__main__":
    serve(
        {
            "update": update,
            "updates_in_a_loop": updates_in_a_loop,
            "act": act,
            "conv_update": conv_update,
            "conv_act": conv_act,
        },
        {},
        finish=jax.block_until_ready,
    )
