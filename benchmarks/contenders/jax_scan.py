"""A contender of speed.py that compiles a whole run: environment, replay, network, one lax.scan.

DQN on CartPole with the settings of speed.py, in JAX, as PureJaxRL has it: no line of Python runs
between two steps. `num_envs` environments are one batch, E. Errors are squared, as CleanRL has
them. Left out, in its favour: the history, the checks, the gradient's norm.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax_jit import adam_update, parameters, q_values
from worker import serve


def cartpole(state: Any, force: Any) -> Any:
    """The next state, (E, 4), after Gymnasium's CartPole-v1 (Barto, Sutton & Anderson 1983)."""
    _, v, angle, spin = state.T
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    push = (
        force + 0.05 * spin**2 * sin
    ) / 1.1  # pole: 0.1 kg, half a metre to its centre
    turn = (9.8 * sin - cos * push) / (0.5 * (4.0 / 3.0 - 0.1 * cos**2 / 1.1))
    slide = push - 0.05 * turn * cos / 1.1
    return state + 0.02 * jnp.stack([v, slide, spin, turn], axis=1)


def whole_run(s: dict[str, Any], num_envs: int, key: Any) -> tuple[Any, Any]:
    """Train; returns the parameters, and how many episodes ended in the last tenth of the steps."""
    rounds = s["steps"] // num_envs
    slots = s["buffer"] // num_envs
    params, unravel = ravel_pytree(parameters(s["hidden"], np.random.default_rng(0)))
    buffer = (
        jnp.zeros((slots, num_envs, 4)),
        jnp.zeros((slots, num_envs), jnp.int32),
        jnp.zeros((slots, num_envs)),  # the discount: 0 where the episode terminated
        jnp.zeros((slots, num_envs, 4)),
    )

    def fresh(key: Any) -> Any:
        return jax.random.uniform(key, (num_envs, 4), minval=-0.05, maxval=0.05)

    def learn(
        params: Any, target: Any, moments: Any, buffer: Any, stored: Any, key: Any
    ) -> Any:
        i = jax.random.randint(key, (s["batch"],), 0, stored * num_envs)
        slot, env = i // num_envs, i % num_envs
        obs, actions, discounts, next_obs = (part[slot, env] for part in buffer)
        y = 1.0 + discounts * q_values(unravel(target), next_obs).max(axis=1)

        def loss_of(params: Any) -> Any:
            q = jnp.take_along_axis(
                q_values(unravel(params), obs), actions[:, None], axis=1
            )[:, 0]
            e = q - y
            return (0.5 * e * e).mean()

        m, v, t = moments
        return adam_update(
            params, jax.grad(loss_of)(params), m, v, t, s["learning_rate"]
        )

    def one_round(carry: Any, at: Any) -> tuple[Any, Any]:
        params, target, moments, buffer, state, lengths, key = carry
        key, draw, explore, start, sample = jax.random.split(key, 5)
        steps = (at + 1) * num_envs

        part = jnp.minimum(steps / s["epsilon_steps"], 1.0)
        epsilon = 1.0 + part * (s["final_epsilon"] - 1.0)
        greedy = q_values(unravel(params), state).argmax(axis=1)
        randomly = jax.random.randint(draw, (num_envs,), 0, 2)
        action = jnp.where(
            jax.random.uniform(explore, (num_envs,)) < epsilon, randomly, greedy
        )
        after = cartpole(state, 20.0 * action - 10.0)
        lengths = lengths + 1
        terminated = (abs(after[:, 0]) > 2.4) | (abs(after[:, 2]) > 12 * np.pi / 180)
        over = terminated | (lengths >= 500)
        row = state, action, 0.99 * ~terminated, after
        buffer = tuple(
            part.at[at % slots].set(value)
            for part, value in zip(buffer, row, strict=True)
        )

        due = (steps >= s["learning_starts"]) & (steps % s["train_every"] == 0)
        stored = jnp.minimum(at + 1, slots)
        params, moments = jax.lax.cond(
            due,
            lambda params, moments: learn(
                params, target, moments, buffer, stored, sample
            ),
            lambda params, moments: (params, moments),
            params,
            moments,
        )
        target = jnp.where(steps % s["target_every_steps"] == 0, params, target)
        state = jnp.where(over[:, None], fresh(start), after)
        lengths = jnp.where(over, 0, lengths)
        return (params, target, moments, buffer, state, lengths, key), over.sum()

    moments = jnp.zeros_like(params), jnp.zeros_like(params), jnp.zeros(())
    carry = (
        params,
        params,
        moments,
        buffer,
        fresh(key),
        jnp.zeros(num_envs, jnp.int32),
        key,
    )
    carry, ended = jax.lax.scan(one_round, carry, jnp.arange(rounds))
    return carry[0], ended[-rounds // 10 :].sum()


COMPILED: dict[tuple[int, int], Any] = {}


def compile_seconds(settings: dict[str, Any], num_envs: int) -> float:
    """The time that JAX takes to trace and compile the run."""
    start = time.perf_counter()
    run = jax.jit(lambda key: whole_run(settings, num_envs, key))
    COMPILED[settings["steps"], num_envs] = run.lower(jax.random.key(0)).compile()
    return time.perf_counter() - start


def run_seconds(settings: dict[str, Any], num_envs: int, seed: int) -> float:
    """The time of one run, compiled before, after a check that it learns."""
    run = COMPILED[settings["steps"], num_envs]
    start = time.perf_counter()
    params, ended = run(jax.random.key(seed))
    params.block_until_ready()
    seconds = time.perf_counter() - start
    length = settings["steps"] / 10 / max(int(ended), 1)
    assert length > 100, length  # an untrained agent's pole falls after 20 steps
    return seconds


serve({}, {"compile": compile_seconds, "train": run_seconds})
