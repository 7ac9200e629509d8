"""The test: episodes that an agent was never trained on, played without learning."""

import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from threadpoolctl import threadpool_limits

from minidqn.agent import DQN
from minidqn.lab.checks import count, one_environment
from minidqn.lab.envs import TEST, check_spaces, episode_seed, play
from minidqn.lab.in_use import check_free
from minidqn.lab.progress import bar_of_test
from minidqn.nn.layers import Array
from minidqn.refusals import add_notes

STEPS_PER_REFRESH = 1000  # of the progress bar


def evaluate(
    agent: DQN,
    env: gym.Env[Any, Any],
    episodes: int = 100,
    seed: int = 0,
    epsilon: float = 0.0,
    *,
    max_steps: int = 100_000,
    reseed: bool = True,
    progress: bool = True,
) -> Array:
    """Returns of test episodes, undiscounted: (episodes,). The agent is left as it is.

    The actions are greedy, or random with probability `epsilon`: in some games, a
    deterministic policy never ends an episode. An episode that is longer than
    `max_steps` is cut there, with a warning. Without `reseed`, only the first reset
    gets a seed: in Atari's games that takes longer than many steps. A test of more than
    a second shows its progress. Raises TypeError or ValueError if `env` does not fit
    the agent, or if an agent is being trained in it.
    """
    check_test(agent, env)
    count("episodes", episodes)
    count("seed", seed, least=0)
    count("max_steps", max_steps)
    returns, _, cut = play_test(
        agent,
        env,
        episodes,
        seed,
        epsilon,
        max_steps=max_steps,
        reseed=reseed,
        progress=progress,
    )
    warn_of_cut(cut, episodes, max_steps)
    return returns


def warn_of_cut(cut: int, episodes: int, max_steps: int) -> None:
    if cut > 0:
        warnings.warn(
            f"{cut} of {episodes} episodes had not ended after {max_steps} steps, and "
            "were cut",
            RuntimeWarning,
            stacklevel=3,  # at the call of evaluate
        )


def play_test(
    agent: DQN,
    env: gym.Env[Any, Any],
    episodes: int,
    seed: int,
    epsilon: float,
    *,
    max_steps: int,
    reseed: bool,
    progress: bool = False,
) -> tuple[Array, Array, int]:
    """Returns and lengths of test episodes, (episodes,) each, and how many were cut.

    The arguments are those of `evaluate`, which checks them.
    """
    returns = np.zeros(episodes)
    lengths = np.zeros(episodes, np.int64)
    cut = 0
    bar = bar_of_test(progress, episodes)
    training_rng = agent.rng
    try:
        agent.rng = np.random.default_rng((seed, TEST))
        with threadpool_limits(1, user_api="blas"), bar:
            for episode in range(episodes):
                its_seed = None
                if reseed or episode == 0:
                    its_seed = episode_seed(seed, TEST, episode)
                moves = play(agent, env, its_seed, epsilon)
                returns[episode], lengths[episode], over = total_of(
                    moves, max_steps, bar
                )
                cut += not over
                bar.update()
    finally:
        agent.rng = training_rng
    return returns, lengths, cut


def total_of(
    moves: Iterator[tuple[float, bool, Any]], max_steps: int, bar: Any
) -> tuple[float, int, bool]:
    """The sum of an episode's rewards, its length, and if it ended by `max_steps`."""
    total = 0.0
    step = 0
    try:
        for step, (reward, over, _) in enumerate(moves):
            total += reward
            if step % STEPS_PER_REFRESH == STEPS_PER_REFRESH - 1:
                bar.set_postfix_str(f"step {step + 1}", refresh=False)
                bar.update(0)
            if over:
                return total, step, True
            if step >= max_steps:
                break
    except Exception as error:
        add_notes(error, f"in step {step + 1} of a test episode")
        raise
    return total, step, False


def check_test(agent: DQN, env: Any) -> None:
    """Raise TypeError or ValueError unless the agent can be tested in `env` now."""
    one_environment(env)
    check_free(env)
    check_spaces(agent, env.observation_space, env.action_space)
