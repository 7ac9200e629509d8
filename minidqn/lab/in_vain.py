"""Warnings of a run in vain: nothing is learned, a policy is lost, or no episode ends.

Nothing is changed. scale.py warns of numbers that are hard to learn from.
"""

import warnings
from collections.abc import Callable

from minidqn.agent import DQN
from minidqn.lab.history import LONG, History
from minidqn.lab.settings import DECAYS
from minidqn.schedules import value_at

FEWEST = 1_000  # steps of an environment that one episode may well take


def why_nothing_is_learned(agent: DQN, last_step: int) -> str:
    """Why a run up to `last_step` learns nothing, in words; "" if it may learn.

    A decay that has reached 0 does not rise again.
    """
    rate = agent.config.learning_rate
    if type(rate) not in DECAYS.values():  # one of your own may rise
        return ""
    for step in (agent.steps, last_step):
        if value_at(rate, step, agent.updates, agent.episodes) > 0.0:
            return ""
    return (
        f"learning_rate is 0 from step {agent.steps} to {last_step}, so nothing is "
        "learned"
    )


def warn_if_nothing_is_learned(agent: DQN, last_step: int) -> None:
    in_vain = why_nothing_is_learned(agent, last_step)
    if in_vain:
        warnings.warn(
            f"{in_vain}: save, and load(path, learning_rate=1e-4)",
            RuntimeWarning,
            stacklevel=3,  # at the call of train
        )


def warn_if_random_again(agent: DQN) -> None:
    """A policy that was trained before acts at random, as a new agent does."""
    if agent.from_policy and agent.steps == 0 and agent.epsilon > 0.5:
        warnings.warn(
            f"epsilon is {agent.epsilon:g} again, so most actions are random, and the "
            "loaded policy may be lost: load(path, epsilon=0.05), or, on the command "
            "line, --set epsilon=0.05",
            RuntimeWarning,
            stacklevel=3,  # at the call of train
        )


def look_for_an_end(agent: DQN, last_step: int) -> Callable[[DQN, History], None]:
    """A watcher that warns if no episode ends in a run, or in its first LONG steps."""
    num_envs = agent.replay.num_envs
    look_at = min(last_step, LONG * num_envs)
    looked = agent.steps >= look_at or look_at <= FEWEST * num_envs

    def watch(agent: DQN, history: History) -> None:
        nonlocal looked
        if looked or agent.steps < look_at:
            return
        looked = True
        if agent.episodes == 0:
            warnings.warn(
                f"no episode has ended in {agent.steps} steps: does step ever return "
                "terminated or truncated? gymnasium.wrappers.TimeLimit(env, N) sets a "
                "limit; so does max_episode_steps=N in gymnasium.register and make",
                RuntimeWarning,
                stacklevel=3,  # at the call of train
            )

    return watch
