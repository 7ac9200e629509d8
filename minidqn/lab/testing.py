"""Watchers that test an agent while it trains.

A test changes no number of the run: it has random numbers, and an environment, of its
own. Its scores are kept in the history: history.tests.

    tests = evaluate_every(5_000, gym.make("CartPole-v1"))
    history = train(agent, env, 50_000, on_step=tests)
    print(history.tests.steps, history.tests.means)
"""

import math
from pathlib import Path
from typing import Any

import gymnasium as gym

from minidqn.agent import DQN
from minidqn.checks import probability
from minidqn.lab.checkpoint import load, opened, save
from minidqn.lab.checks import count, file_to_write, number, one_environment
from minidqn.lab.envs import check_spaces
from minidqn.lab.evaluation import check_test, play_test
from minidqn.lab.history import History
from minidqn.lab.settings import own_schedules
from minidqn.lab.training import Watcher, step_is_due
from minidqn.nn.layers import Array

SEED = 1_000_000  # far from those of final tests, which begin at 0
MAX_STEPS = 100_000  # of a test episode


class PolicyTest:
    """A test that is made again and again: always of the same episodes."""

    def __init__(
        self,
        env: Any,
        episodes: int,
        seed: int = SEED,
        epsilon: float = 0.0,
        max_steps: int = MAX_STEPS,
        reseed: bool = True,
    ) -> None:
        one_environment(env)
        self.env = env
        self.episodes = count("episodes", episodes)
        self.seed = count("seed", seed, least=0)
        self.epsilon = probability("epsilon", epsilon)
        self.max_steps = count("max_steps", max_steps)
        self.reseed = reseed
        self.checked: DQN | None = None  # the agent that `env` is known to fit

    def check(self, agent: DQN) -> None:
        """Raise an error in the first step of a run, not hours later."""
        if agent is not self.checked:
            check_test(agent, self.env)
            self.checked = agent

    def make(self, agent: DQN, history: History) -> float:
        """Test the policy and keep the scores; return their mean."""
        returns, lengths = self.play(agent)
        history.tests.add(agent.steps, returns, lengths)
        return float(returns.mean())

    def play(self, agent: DQN) -> tuple[Array, Array]:
        """The returns and the lengths of the episodes."""
        returns, lengths, _ = play_test(
            agent,
            self.env,
            self.episodes,
            self.seed,
            self.epsilon,
            max_steps=self.max_steps,
            reseed=self.reseed,
        )
        return returns, lengths


def evaluate_every(
    steps: int,
    env: gym.Env[Any, Any],
    episodes: int = 10,
    seed: int = SEED,
    epsilon: float = 0.0,
    *,
    max_steps: int = MAX_STEPS,
) -> Watcher:
    """Test the policy in `env` every `steps` steps, on the same episodes each time.

    They are episodes that it is never trained on, and others than those of `evaluate`
    with a small seed. A random action has probability `epsilon`. An episode is cut at
    `max_steps`. The scores are in history.tests.
    """
    steps = count("steps", steps)
    test = PolicyTest(env, episodes, seed, epsilon, max_steps)

    def watch(agent: DQN, history: History) -> None:
        test.check(agent)
        if step_is_due(agent, steps):
            test.make(agent, history)

    return watch


def save_best(
    steps: int,
    path: str | Path,
    env: gym.Env[Any, Any],
    episodes: int = 10,
    seed: int = SEED,
    best: float = -math.inf,
    epsilon: float = 0.0,
) -> Watcher:
    """Test as evaluate_every does, and save the policy with the best mean so far.

    The best of many tests is partly luck. So its episodes are those of another `seed`
    than the final test's, which still tells how good a policy is. Only a mean return
    above `best` is saved. By default, `best` is that of the policy which is at `path`
    already: it is tested in the first step. A run of fewer than `steps` steps makes no
    test, and no file.
    """
    steps = count("steps", steps)
    file = file_to_write(path)
    test = PolicyTest(env, episodes, seed, epsilon)
    if best != -math.inf:
        best = number("best", best)
    is_known = best != -math.inf or not file.exists()
    if not is_known:
        with opened(file):
            pass  # raises CheckpointError if `save` did not write it

    def watch(agent: DQN, history: History) -> None:
        nonlocal best, is_known
        test.check(agent)
        if not is_known:
            best = mean_of_saved(file, agent, test)
            is_known = True
        if step_is_due(agent, steps):
            mean = test.make(agent, history)
            if mean > best:
                best = mean
                save(agent, file, replay=False)

    return watch


def mean_of_saved(file: Path, agent: DQN, test: PolicyTest) -> float:
    """The mean return of the policy in a file, which may have the agent's own parts."""
    own: Any = own_schedules(agent.config)
    policy = load(file, agent.network, **own)
    try:
        check_spaces(policy, test.env.observation_space, test.env.action_space)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    returns, _ = test.play(policy)
    return float(returns.mean())


def evaluate_within(share: float, steps: int, test: PolicyTest) -> Watcher:
    """Test every `steps` steps, in at most a `share` of the steps of training.

    What a test will take is not known before: it is expected to take as many steps as
    the last one. So which tests are made depends on the run alone, not on the time, and
    a run that is resumed makes the same.
    """

    def watch(agent: DQN, history: History) -> None:
        if not step_is_due(agent, steps):
            return
        expected = history.tests.steps_spent + history.tests.last_cost
        if expected <= share * agent.steps:
            test.make(agent, history)

    return watch
