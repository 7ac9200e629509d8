"""A run is one thing: made here for the command line, a script, a sweep and a worker.

    result = run(Spec("CartPole-v1", tuned("CartPole-v1"), 20_000), "runs/cartpole")

It locks the folder, so that no other process writes there. It refuses the folder of
another run. If the result is there, it is returned. If there is a checkpoint, the run
continues from it. The result is written before it is printed or drawn, so an error
there does not lose the run.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
from threadpoolctl import threadpool_limits

from minidqn.agent import DQN
from minidqn.lab.checkpoint import load_run, save
from minidqn.lab.envs import Env
from minidqn.lab.folder import (
    AGENT,
    CHECKPOINT,
    HISTORY,
    RUN,
    SUMMARY,
    TESTS,
    is_free,
    locked,
    normal,
    remove_unfinished,
    result_in,
    write_json,
)
from minidqn.lab.history import WINDOW, History
from minidqn.lab.identity import Json
from minidqn.lab.outcome import final_test, outcome
from minidqn.lab.settings import own_schedules
from minidqn.lab.signals import signals_wait
from minidqn.lab.soundness import CheckpointError
from minidqn.lab.spec import Spec
from minidqn.lab.testing import PolicyTest, evaluate_within
from minidqn.lab.training import Watcher, as_watchers, only_watching, train

SHARE = 0.02  # of the time may go into checkpoints
LEAST_SECONDS = 1.0  # from one checkpoint to the next
TEST_EPISODES = 1  # of each test during training: two would make half as many tests
TEST_MOMENTS = 50  # of a run, at which it may be tested
TEST_SHARE = 0.1  # steps of these tests, for each step of training


def run(
    spec: Spec,
    folder: str | Path,
    *,
    on_step: Watcher | Sequence[Watcher] = (),
    progress: bool = True,
    keep_checkpoint: bool = True,
) -> Json:
    """Make a run in `folder`, continue it, or read its result; the result is returned.

    `on_step` watches it; watchers change no number of a run. Without `keep_checkpoint`,
    only the agent's policy is kept after the run. Raises OtherRunError if another run
    is in the folder, and InUseError if another process makes one there.
    """
    folder = Path(folder)
    identity = spec.identity()
    if not (folder / SUMMARY).exists() and not (folder / CHECKPOINT).exists():
        spec.check()  # before anything is written
    result = run_checked(spec, folder, identity, on_step=on_step, progress=progress)
    if not keep_checkpoint:
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return result


def run_checked(
    spec: Spec,
    folder: Path,
    identity: Json,
    *,
    on_step: Watcher | Sequence[Watcher] = (),
    progress: bool = True,
) -> Json:
    """What `run` does, without spec.check()."""

    def make() -> Json:
        return train_and_test(spec, folder, on_step=on_step, progress=progress)

    return once(spec, identity, folder, make)


def once(
    spec: Any,
    identity: Json,
    folder: Path,
    make: Callable[[], Json],
    *,
    wait: bool = False,
) -> Json:
    """The result of a run, which `make` makes if it is not in the folder yet."""
    result = result_in(folder, identity)
    if result:
        return result
    with locked(folder, wait=wait), threadpool_limits(1, user_api="blas"):
        result = result_in(folder, identity)  # another process may have made it
        if result:
            return result
        remove_unfinished(folder)
        write_json(folder / RUN, identity)
        try:
            about = {"name": spec.name} | normal(spec.about())
            result = about | normal(make()) | {"name": spec.name}
            write_json(folder / SUMMARY, result)
        finally:
            if is_free(folder):  # nothing came of it
                (folder / RUN).unlink(missing_ok=True)
    return result


def train_and_test(
    spec: Spec,
    folder: Path,
    *,
    on_step: Watcher | Sequence[Watcher] = (),
    progress: bool = False,
    share: float = SHARE,
) -> Json:
    """Train an agent, or go on from its checkpoint, and test its last policy.

    At most a `share` of the time goes into checkpoints.
    """
    start = time.perf_counter()
    with closing(spec.make_training()) as env, closing(spec.make()) as test_env:
        resumed = (folder / CHECKPOINT).exists()
        agent, history = begin(spec, env, folder / CHECKPOINT)
        watchers = [tests(spec, test_env)]
        watchers += [only_watching(watch) for watch in as_watchers(on_step)]
        watchers.append(checkpoints(folder / CHECKPOINT, share))
        watchers.append(solved(spec))
        if not resumed and has_ended(spec, agent, history):  # solved from the start
            save(agent, folder / CHECKPOINT, history)
        while not has_ended(spec, agent, history):
            train_and_save(spec, agent, env, history, folder, watchers, progress)
    seconds = None if resumed else time.perf_counter() - start

    with closing(spec.make()) as env:
        returns, cut = final_test(spec, agent, env, progress)
    save(agent, folder / AGENT, replay=False)
    history.write_csv(folder / HISTORY)
    history.tests.write_csv(folder / TESTS)
    return outcome(spec, agent, history, returns, cut, seconds)


def begin(spec: Spec, env: Env, checkpoint: Path) -> tuple[DQN, History]:
    """The agent of a run, and its history: new, or from where the run has got to."""
    if not checkpoint.exists():
        return spec.begin(env)
    own: Any = own_schedules(spec.config)
    try:
        return load_run(checkpoint, spec.network, agent=spec.agent, **own)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}. If you remove this file, the run begins anew"
        ) from None


def has_ended(spec: Spec, agent: DQN, history: History) -> bool:
    """Whether the training of a run is over."""
    if agent.steps >= spec.steps:
        return True
    enough = spec.until_solved and len(history) >= WINDOW
    return enough and history.mean_return(WINDOW) >= spec.threshold()


def tests(spec: Spec, env: gym.Env[Any, Any]) -> Watcher:
    """A watcher that tests the agent now and then, for the learning curve."""
    longest = min(spec.test_max_steps, max(int(TEST_SHARE * spec.steps), 1))
    epsilon = spec.test_epsilon
    test = PolicyTest(
        env, TEST_EPISODES, epsilon=epsilon, max_steps=longest, reseed=spec.reseed
    )
    return evaluate_within(TEST_SHARE, max(spec.steps // TEST_MOMENTS, 1), test)


def solved(spec: Spec) -> Watcher:
    """A watcher that stops a run when it is over before its last step."""

    def watch(agent: DQN, history: History) -> bool:
        return history.just_ended > 0 and has_ended(spec, agent, history)

    return watch


def train_and_save(
    spec: Spec,
    agent: DQN,
    env: Env,
    history: History,
    folder: Path,
    watchers: list[Watcher],
    progress: bool,
) -> None:
    """Train up to the end, and save, however the training ends.

    If the first step fails, nothing is saved.
    """
    begun = agent.steps
    steps = spec.steps - begun
    path = folder / CHECKPOINT
    with signals_wait() as signals:
        on_step = [*watchers, lambda agent, history: bool(signals.pending)]
        try:
            train(
                agent,
                env,
                steps,
                history=history,
                on_step=on_step,
                progress=progress,
                reseed=spec.reseed,
            )
        except Exception:
            if agent.steps > begun:
                save(agent, path, history)
            raise
        save(agent, path, history)
    # a signal that came, Ctrl-C for example, is delivered here: all is saved; if its
    # handler returns, the run has not ended, and goes on


def checkpoints(path: Path, share: float) -> Watcher:
    """A watcher that saves now and then, in at most a `share` of the time."""
    due = time.perf_counter() + LEAST_SECONDS

    def watch(agent: DQN, history: History) -> None:
        nonlocal due
        start = time.perf_counter()
        if start >= due:
            save(agent, path, history)
            end = time.perf_counter()
            due = end + max((end - start) / share, LEAST_SECONDS)

    return watch
