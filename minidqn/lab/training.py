"""The loop around an agent: it explores, observes and learns.

An episode *terminates* when the task itself is over: the pole has fallen. It is
*truncated* when something outside the task cuts it short: a time limit. Either way the
environment is reset; but only a terminated episode is worth nothing from there on. So
both flags go to the agent as they are.

evaluation.py tests what was learned. E is the number of environments.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Real

from threadpoolctl import threadpool_limits

from minidqn.agent import DQN
from minidqn.batch import BRIDGE
from minidqn.lab.envs import Env, Envs, as_envs
from minidqn.lab.history import History
from minidqn.lab.in_use import in_training
from minidqn.lab.in_vain import (
    look_for_an_end,
    warn_if_nothing_is_learned,
    warn_if_random_again,
)
from minidqn.lab.progress import show, training_bar
from minidqn.lab.resume import resume
from minidqn.lab.scale import look_at_scale, warn_of_wrapper
from minidqn.lab.signals import signals_wait
from minidqn.refusals import add_notes

# a function of the agent and its history; returning what counts as true stops the run
Watcher = Callable[[DQN, History], object]

STEPS_PER_REFRESH = 200  # of the progress bar: more often costs more than a step


def train(
    agent: DQN,
    env: Env,
    steps: int,
    *,
    history: History | None = None,
    on_step: Watcher | Sequence[Watcher] = (),
    progress: bool = True,
    reseed: bool = True,
) -> History:
    """Train the agent in `env` for `steps` more environment steps.

    `env` is one environment, or a vector of num_envs with NEXT_STEP autoreset, or a
    SyncVectorEnv with none (DISABLED). A step of a vector counts num_envs steps, minus
    resets, so the last one may exceed `steps`. With the `history` of its run so far,
    the run continues exactly, even in the middle of an episode. Without, a new episode
    begins.

    `on_step` is one watcher or several, which are called after every step; the last
    rows of the history, history.just_ended of them, are those of the episodes that
    ended in it. Without `reseed`, only the first episode's reset gets a seed: faster
    where that takes long, as in Atari's games, but then a run that is stopped within an
    episode continues with a new one. Ctrl-C comes at the end of a step. Raises
    ValueError if the environment does not fit the agent, or if `steps` is too few for
    the first update.
    """
    check_steps(agent, steps)
    history = as_history(history)
    envs = as_envs(agent, env, reseed)
    last_step = agent.steps + steps
    watchers = all_watchers(agent, on_step, last_step)

    with signals_wait() as signals, in_training(agent, env):
        over = resume(agent, envs, history)
        warn_if_nothing_is_learned(agent, last_step)
        warn_if_random_again(agent)
        warn_of_wrapper(env)
        with (
            threadpool_limits(1, user_api="blas"),  # threads slow small products down
            training_bar(progress, last_step, agent.steps) as bar,
        ):
            shown = agent.steps  # what the bar shows
            stop = False
            while not stop:
                over = one_step(agent, envs, history, over)
                stop = agent.steps >= last_step
                for watch in watchers:
                    if watch(agent, history):
                        stop = True
                if stop or agent.steps - shown >= STEPS_PER_REFRESH:
                    show(bar, agent, history, stop)
                    bar.update(agent.steps - shown)
                    shown = agent.steps
                if signals.pending:
                    signals.deliver()
    return history


def as_history(history: History | None) -> History:
    if history is None:
        return History()
    if not isinstance(history, History):
        raise TypeError(f"history is {history!r}: expected a History, or None")
    return history


def as_watchers(on_step: Watcher | Sequence[Watcher]) -> list[Watcher]:
    if callable(on_step):
        return [on_step]
    watchers = list(on_step) if isinstance(on_step, Iterable) else [on_step]
    for watch in watchers:
        if not callable(watch):
            raise TypeError(
                f"on_step is {on_step!r}: expected functions of the agent and its "
                "history"
            )
    return watchers


def all_watchers(
    agent: DQN, on_step: Watcher | Sequence[Watcher], last_step: int
) -> list[Watcher]:
    """Those that were given, and two that warn of what an environment may lack."""
    ours = [look_at_scale(agent), look_for_an_end(agent, last_step)]
    return [*as_watchers(on_step), *ours]


def only_watching(watch: Watcher) -> Watcher:
    """A watcher that cannot end the run: with fewer steps it would be another one."""

    def watch_and_go_on(agent: DQN, history: History) -> None:
        watch(agent, history)

    return watch_and_go_on


def step_is_due(agent: DQN, steps: int) -> bool:
    """Whether the last step of the run reached a multiple of `steps`."""
    past = agent.steps % steps
    if past >= agent.replay.num_envs:  # nearly always, so nothing else is computed
        return False
    last = agent.replay.kind[(agent.replay.count - 1) % agent.replay.slots]
    taken = int((last != BRIDGE).sum())  # by all environments together
    return past < taken


def check_steps(agent: DQN, steps: int) -> None:
    if not isinstance(steps, Real) or not steps >= 1:  # NaN is refused, too
        raise ValueError(f"steps is {steps!r}: expected a number of 1 or more")
    least = agent.config.learning_starts
    if agent.steps + steps < least:
        raise ValueError(
            f"steps is {steps}: expected enough for the first update, at "
            f"learning_starts, {least}"
        )


def one_step(agent: DQN, envs: Envs, history: History, over: list[bool]) -> list[bool]:
    """A step of the run, and the updates that are due after it.

    `over` says where the last episode is over, (E,); returned is where it is now.
    """
    over = step(agent, envs, history, over)
    try:
        for _ in range(agent.updates_due):
            update(agent, history)
    finally:  # an episode that has ended gets its row, even if an update fails
        if True in over or history.row_due:
            end_step(agent, history, over)
    return over


def update(agent: DQN, history: History) -> None:
    """Make an update, and keep what it saw for the next row."""
    try:
        metrics = agent.learn()
    except FloatingPointError:  # the loss diverged, and its message says all
        raise
    except Exception as error:  # in a network, a loss or a schedule of your own
        add_notes(error, f"in update {agent.updates + 1} of the run")
        raise
    history.add_update(metrics)


def end_step(agent: DQN, history: History, over: list[bool]) -> None:
    """Add the rows of the episodes that have ended, where they are `over`, (E,).

    If a schedule of your own fails, they have NaN for epsilon.
    """
    epsilon = math.nan
    try:
        epsilon = agent.epsilon
    except Exception as error:
        add_notes(error, f"in step {agent.steps} of the run")
        raise
    finally:
        history.end_step(agent.steps, epsilon, over)


def step(agent: DQN, envs: Envs, history: History, over: list[bool]) -> list[bool]:
    """Step each environment, or reset it where its episode is `over`."""
    number = 0
    try:
        if True in over:
            number = agent.resets  # of the next episode
            if all(over):
                agent.begin(*envs.reset(number))
                history.begin_all(number, len(over))
                over = [False] * len(over)
        actions = agent.explore()
        outcome, rewards = envs.step(actions, over, number)
        agent.observe(*outcome)
    except Exception as error:
        add_notes(error, f"in step {agent.steps + 1} of the run")
        raise
    history.add_step(actions.tolist(), rewards, over, number)
    if len(over) == 1:
        return [agent.replay.over]
    now_over: list[bool] = agent.replay.ended.tolist()
    return now_over
