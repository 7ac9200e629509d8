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
    widths = [4, *hidden, 2]
    return [
        (jnp.asarray(rng.normal(0, (2 / i) ** 0.5, (i, o)), jnp.float32), jnp.zeros(o))
        for i, o in pairwise(widths)
    ]


def q_values(params: list[Any], x: Any) -> Any:
    for W, b in params[:-1]:
        x = jax.nn.relu(x @ W + b)
    W, b = params[-1]
    return x @ W + b


def one_update(state: Any, target: Any, buffer: Any, batch: int, unravel: Any) -> Any:
    params, m, v, t, key = state
    key, draw = jax.random.split(key)
    i = jax.random.randint(draw, (batch,), 0, BUFFER)
    obs, actions, rewards, discounts, next_obs = (part[i] for part in buffer)
    y = rewards + discounts * q_values(unravel(target), next_obs).max(axis=1)

    def loss_of(params: Any) -> Any:
        q = jnp.take_along_axis(q_values(unravel(params), obs), actions[:, None], axis=1)[:, 0]
        e = q - y
        return jnp.where(abs(e) <= 1, 0.5 * e * e, abs(e) - 0.5).mean()

    loss, grads = jax.value_and_grad(loss_of)(params)
    t = t + 1
    m, v = 0.9 * m + 0.1 * grads, 0.999 * v + 0.001 * grads * grads
    m_scale, v_scale = 1 / (1 - 0.9**t), 1 / (1 - 0.999**t)
    params = params - 1e-3 * m_scale * m / (jnp.sqrt(v_scale * v) + 1e-8)
    return (params, m, v, t, key), loss


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


serve(
    {"update": update, "updates_in_a_loop": updates_in_a_loop, "act": act},
    {},
    finish=jax.block_until_ready,
)
