"""Ctrl-C and SIGTERM come at the end of a step, wherever in it they arrive."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import minidqn
from minidqn import DQN, History, load_run, save, stop_on_interrupt, train
from minidqn.lab import in_use
from minidqn.lab.signals import signals_wait
from minidqn.lab.watchers import save_every
from minidqn.parts import prioritized

from .test_resume import assert_same
from .test_training import accounted_steps, agent_for, chain

INT = signal.SIGINT
TERM = signal.SIGTERM
PRIORITIES: dict[str, Any] = {"priority_alpha": 0.6}

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")


@pytest.fixture(autouse=True)
def foreground() -> Iterator[None]:
    """Ctrl-C as in the foreground: in the background it is ignored."""
    before = signal.signal(INT, signal.default_int_handler)
    before_term = signal.getsignal(TERM)
    yield
    assert in_use.TRAINING == {}
    signal.signal(INT, before)
    signal.signal(TERM, before_term)


class Signalled(gym.Wrapper[Any, Any, Any, Any]):
    """In its step number `at`, signals come."""

    def __init__(self, env: Any, at: int, *numbers: int) -> None:
        super().__init__(env)
        self.at = at
        self.numbers = numbers
        self.steps = 0

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.steps == self.at:
            for number in self.numbers:
                signal.raise_signal(number)
        return super().step(action)


def three() -> Any:
    return SyncVectorEnv([chain] * 3, autoreset_mode=AutoresetMode.DISABLED)


def test_ctrl_c_in_a_step_comes_at_its_end() -> None:
    env = Signalled(chain(), 20, INT)
    agent = agent_for(env)
    history = History()
    with pytest.raises(KeyboardInterrupt):
        train(agent, env, 100, history=history, progress=False)
    assert agent.steps == 20  # the step is complete
    assert agent.updates_due == 0
    assert accounted_steps(agent, history) == 20
    assert signal.getsignal(INT) is signal.default_int_handler


class SignalAtLine:
    """Raises a signal before line number `at` that runs, in the package or a file."""

    def __init__(self, at: int, file: str = "") -> None:
        self.at = at
        self.folder = str(Path(minidqn.__file__).parent / file)
        self.lines = 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(self.folder) and name != contextlib.__file__:
            return None  # not traced
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                signal.raise_signal(INT)
        return self


def traced(trace: SignalAtLine, agent: DQN, history: History, steps: int) -> None:
    env = three()
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        train(agent, env, steps, history=history, progress=False)
    finally:
        sys.settrace(before)


def interrupt_at(trace: SignalAtLine, agent: DQN, history: History) -> None:
    with pytest.raises(KeyboardInterrupt):
        traced(trace, agent, history, steps=12)
    assert in_use.TRAINING == {}
    assert signal.getsignal(INT) is signal.default_int_handler
    assert accounted_steps(agent, history) == agent.steps
    assert len(history) == agent.episodes


def new_run(steps: int = 0) -> tuple[DQN, History]:
    env = three()
    agent = agent_for(env, 3, learning_starts=9, **PRIORITIES)
    history = History()
    if steps > 0:
        train(agent, env, steps, history=history, progress=False)
    return agent, history


def test_ctrl_c_before_any_line_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    """From the first line of `train` to its last; here, in every thirtieth of them."""
    path = tmp_path / "run.safetensors"
    whole = new_run(60)
    count = SignalAtLine(0)
    traced(count, *new_run(30), steps=12)
    assert count.lines > 1000
    for at in range(1, count.lines, count.lines // 40):
        agent, history = new_run(30)
        interrupt_at(SignalAtLine(at), agent, history)
        save(agent, path, history)
        agent, history = load_run(path)
        train(agent, three(), 60 - agent.steps, history=history, progress=False)
        assert_same((agent, history), whole)


def test_ctrl_c_before_any_line_that_takes_something_gives_it_back() -> None:
    """The handlers of signals: in each line of their file, and of contextlib."""
    file = "lab/signals.py"
    count = SignalAtLine(0, file)
    traced(count, *new_run(30), steps=12)
    for at in range(1, count.lines + 1):
        interrupt_at(SignalAtLine(at, file), *new_run(30))


def test_ctrl_c_while_an_environment_is_taken_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    members = in_use.members

    def interrupted(env: Any) -> Any:
        if signal.getsignal(INT) is not signal.default_int_handler:
            signal.raise_signal(INT)
        return members(env)

    monkeypatch.setattr(in_use, "members", interrupted)
    agent, history = new_run()
    with pytest.raises(KeyboardInterrupt):
        train(agent, three(), 60, history=history, progress=False)
    assert accounted_steps(agent, history) == agent.steps == 3
    assert in_use.TRAINING == {}


def test_ctrl_c_in_a_kernel_that_sets_priorities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest priority is written after the kernel: a save between is damaged."""
    path = tmp_path / "run.safetensors"
    whole_env = chain()
    whole = agent_for(whole_env, **PRIORITIES)
    whole_history = train(whole, whole_env, 60, progress=False)
    kernel = prioritized.set_priorities
    calls = 0

    def ctrl_c_during_the_kernel(*arguments: Any) -> Any:
        nonlocal calls
        largest = kernel(*arguments)
        calls += 1
        if calls == 12:
            signal.raise_signal(INT)
        return largest

    env = chain()
    agent = agent_for(env, **PRIORITIES)
    history = History()
    with monkeypatch.context() as patch:
        patch.setattr(prioritized, "set_priorities", ctrl_c_during_the_kernel)
        with pytest.raises(KeyboardInterrupt):
            train(agent, env, 60, history=history, progress=False)
    assert agent.updates == 12
    save(agent, path, history)
    agent, history = load_run(path)
    train(agent, env, 60 - agent.steps, history=history, progress=False)
    assert_same((agent, history), (whole, whole_history))


def test_ctrl_c_in_a_watcher_waits_for_the_others() -> None:
    seen = []

    def first(agent: DQN, history: History) -> None:
        if agent.steps == 20:
            signal.raise_signal(INT)

    def second(agent: DQN, history: History) -> None:
        seen.append(agent.steps)

    env = chain()
    with pytest.raises(KeyboardInterrupt):
        train(agent_for(env), env, 100, on_step=[first, second], progress=False)
    assert seen == list(range(1, 21))


def test_the_second_ctrl_c_comes_at_once() -> None:
    env = Signalled(chain(), 20, INT, INT)
    agent = agent_for(env)
    with pytest.raises(KeyboardInterrupt) as raised:
        train(agent, env, 100, progress=False)
    assert agent.steps == 19
    # they came as one
    assert not isinstance(raised.value.__context__, KeyboardInterrupt)
    assert raised.traceback[-1].frame.code.name != "deliver"
    assert signal.getsignal(INT) is signal.default_int_handler


def test_a_signal_does_not_get_lost_behind_an_error() -> None:
    class Fails(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            super().step(action)
            raise RuntimeError("the simulator crashed")

    env = Fails(Signalled(chain(), 1, INT))
    agent = agent_for(env)
    with pytest.raises(KeyboardInterrupt) as raised:
        train(agent, env, 100, progress=False)
    assert isinstance(raised.value.__context__, RuntimeError)


# --- Handlers of one's own


class Handler:
    """Remembers the signals that it got, and how far the run was then."""

    def __init__(self, agent: DQN) -> None:
        self.agent = agent
        self.got: list[tuple[int, int]] = []

    def __call__(self, number: int, frame: Any) -> None:
        self.got.append((number, self.agent.steps))


def test_a_handler_that_returns_lets_the_training_go_on() -> None:
    env = Signalled(Signalled(chain(), 20, INT), 50, INT)
    agent = agent_for(env)
    handler = Handler(agent)
    signal.signal(INT, handler)
    history = train(agent, env, 100, progress=False)
    assert handler.got == [(INT, 20), (INT, 50)]
    assert accounted_steps(agent, history) == agent.steps == 100
    assert signal.getsignal(INT) is handler


def test_of_two_signals_in_a_step_none_is_lost() -> None:
    """The second one comes at once; the first still waits, and so do later ones."""
    env = Signalled(Signalled(chain(), 20, INT, TERM), 50, TERM)
    agent = agent_for(env)
    handler = Handler(agent)
    signal.signal(INT, handler)
    signal.signal(TERM, handler)
    train(agent, env, 100, progress=False)
    assert handler.got == [(TERM, 19), (INT, 20), (TERM, 50)]
    assert signal.getsignal(INT) is signal.getsignal(TERM) is handler


def test_sigterm_may_raise_what_its_handler_likes() -> None:
    def terminate(number: int, frame: Any) -> None:
        sys.exit(143)

    signal.signal(TERM, terminate)
    env = Signalled(chain(), 20, TERM)
    agent = agent_for(env)
    history = History()
    with pytest.raises(SystemExit, match="143"):
        train(agent, env, 100, history=history, progress=False)
    assert accounted_steps(agent, history) == agent.steps == 20


def test_a_handler_that_is_set_in_a_run_stays() -> None:
    env = chain()
    agent = agent_for(env)
    handler = Handler(agent)

    def set_it(agent: DQN, history: History) -> None:
        if agent.steps == 20:
            signal.signal(INT, handler)

    train(agent, env, 40, on_step=set_it, progress=False)
    assert signal.getsignal(INT) is handler


def test_a_signal_between_two_handlers_leaves_none_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SIGTERM comes when it has its own handler again, and SIGINT has not yet."""

    def terminate(number: int, frame: Any) -> None:
        raise SystemExit

    signal.signal(TERM, terminate)
    put_back = signal.signal

    def slowly(number: int, handler: Any) -> Any:
        before = put_back(number, handler)
        if handler is terminate:
            signal.raise_signal(TERM)
        return before

    with pytest.raises(SystemExit), signals_wait():
        monkeypatch.setattr(signal, "signal", slowly)
    monkeypatch.undo()
    assert signal.getsignal(TERM) is terminate
    assert signal.getsignal(INT) is signal.default_int_handler


# --- Signals that are ignored, and those that end the process


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(INT, signal.SIG_IGN)
    env = Signalled(chain(), 20, INT)
    agent = agent_for(env)
    handlers = []

    def watch(agent: DQN, history: History) -> None:
        handlers.append(signal.getsignal(INT))

    with stop_on_interrupt() as interrupted:
        train(agent, env, 100, on_step=[watch, interrupted], progress=False)
    assert agent.steps == 100
    assert set(handlers) == {signal.SIG_IGN}
    assert signal.getsignal(INT) == signal.SIG_IGN


IN_BACKGROUND = """
import os, signal
import gymnasium as gym
from minidqn import DQN, DQNConfig, train
env = gym.make("CartPole-v1")
config = DQNConfig(learning_starts=64)
agent = DQN(env.observation_space, env.action_space, config)
interrupt = lambda agent, history: os.kill(os.getpid(), signal.SIGINT)
train(agent, env, 100, on_step=interrupt, progress=False)
print(agent.steps, signal.getsignal(signal.SIGINT).name)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no shell that traps signals")
def test_a_run_in_the_background_goes_on_after_ctrl_c() -> None:
    """A shell starts it with Ctrl-C ignored, as nohup does with other signals."""
    command = ["sh", "-c", 'trap "" INT; exec "$0" -c "$1"']
    finished = subprocess.run(
        [*command, sys.executable, IN_BACKGROUND],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stdout == "100 SIG_IGN\n", finished.stderr


def ending_of(child: Callable[[], Any]) -> int:
    """How a process that does this ends: minus the number of a signal, or its code."""
    process = os.fork()
    if process == 0:
        try:
            child()
        finally:
            os._exit(0)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


@forks
def test_sigterm_ends_the_process_at_the_end_of_the_step(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"

    def child() -> None:
        env = Signalled(chain(), 20, TERM)
        watch = save_every(1, path)
        train(agent_for(env), env, 100, on_step=watch, progress=False)

    assert ending_of(child) == -TERM
    agent, history = load_run(path)
    assert accounted_steps(agent, history) == agent.steps == 20


@forks
def test_a_process_that_an_environment_forks_does_not_wait() -> None:
    """Else its parent could not end it."""
    endings = []

    class Forks(gym.Wrapper[Any, Any, Any, Any]):
        def reset(self, **arguments: Any) -> Any:
            endings.append(ending_of(lambda: signal.raise_signal(TERM)))
            return super().reset(**arguments)

    env = Forks(chain())
    agent = agent_for(env)
    train(agent, env, 20, progress=False)
    assert set(endings) == {-TERM}


# --- Threads, and a run in a run


def test_in_a_thread_nothing_changes() -> None:
    handlers = []
    env = chain()
    agent = agent_for(env)

    def watch(agent: DQN, history: History) -> None:
        handlers.append(signal.getsignal(INT))

    def in_thread() -> None:
        with stop_on_interrupt() as interrupted:
            train(agent, env, 20, on_step=[watch, interrupted], progress=False)

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert agent.steps == 20
    assert set(handlers) == {signal.default_int_handler}


def test_ctrl_c_in_a_run_inside_another_comes_at_the_end_of_both() -> None:
    inner_env = Signalled(chain(), 5, INT)
    inner = agent_for(inner_env)
    inner_history = History()

    def watch(agent: DQN, history: History) -> None:
        if agent.steps == 20:
            train(inner, inner_env, 30, history=inner_history, progress=False)

    env = chain()
    outer = agent_for(env)
    outer_history = History()
    with pytest.raises(KeyboardInterrupt):
        train(outer, env, 60, history=outer_history, on_step=watch, progress=False)
    assert accounted_steps(inner, inner_history) == inner.steps == 30
    assert accounted_steps(outer, outer_history) == outer.steps == 20


# --- Stopping without an exception


def test_interrupt_stops_between_two_steps() -> None:
    env = Signalled(chain(), 30, INT)
    agent = agent_for(env)
    with stop_on_interrupt() as interrupted:
        history = train(agent, env, 100, on_step=interrupted, progress=False)
        assert accounted_steps(agent, history) == agent.steps == 30
        with pytest.raises(KeyboardInterrupt):  # the second one is as usual
            signal.raise_signal(INT)
    assert signal.getsignal(INT) is signal.default_int_handler


def test_the_second_interrupt_does_not_wait_for_the_step() -> None:
    env = Signalled(chain(), 30, INT, INT)
    agent = agent_for(env)
    with stop_on_interrupt() as interrupted, pytest.raises(KeyboardInterrupt):
        train(agent, env, 100, on_step=interrupted, progress=False)
    assert agent.steps == 29
    assert signal.getsignal(INT) is signal.default_int_handler


def test_after_a_run_ctrl_c_is_as_before() -> None:
    env = chain()
    with stop_on_interrupt() as interrupted:
        train(agent_for(env), env, 10, on_step=interrupted, progress=False)
        assert signal.getsignal(INT) is not signal.default_int_handler
    assert signal.getsignal(INT) is signal.default_int_handler


def test_many_ctrl_c_in_one_process_leave_one_run(tmp_path: Path) -> None:
    """As somebody does who interrupts a run, looks at it, and goes on."""
    path = tmp_path / "run.safetensors"
    agent, history = new_run()
    for at in (1, 2, 7, 4):
        env = three()
        env.envs[1] = Signalled(chain(), at, INT)
        with pytest.raises(KeyboardInterrupt):
            train(agent, env, 60, history=history, progress=False)
        assert accounted_steps(agent, history) == agent.steps
        save(agent, path, history)
        agent, history = load_run(path)
    assert agent.steps < 60
    train(agent, three(), 60 - agent.steps, history=history, progress=False)
    assert_same((agent, history), new_run(60))
    assert np.isfinite(history["loss"][-1])
