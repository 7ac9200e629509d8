"""The command line, as a script of one's own has it, and as python -m minidqn."""

import csv
import json
import re
import signal
import subprocess
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box

from minidqn import (
    DQN,
    TEST,
    Axis,
    DQNConfig,
    LinearDecay,
    Spec,
    episode_seed,
    load,
    load_run,
    run,
    save,
    tuned,
)
from minidqn.lab import arguments, cli, outcome, show, sweep_cli
from minidqn.lab import code as code_module
from minidqn.lab import run as run_module
from minidqn.lab.cli import main
from minidqn.lab.folder import AGENT, CHECKPOINT, RUN, SUMMARY, locked
from minidqn.lab.places import short_name
from minidqn.lab.restore import restore
from minidqn.lab.show import Shown
from minidqn.parts.decays import Delayed

from .test_run import CONFIG, Corridor, Doubled, Fragile, small_network
from .test_show import Black

# what a run leaves, and what it draws
FILES = {
    ".lock",
    "agent.safetensors",
    "checkpoint.safetensors",
    "history.csv",
    "tests.csv",
    "run.json",
    "summary.json",
    "learning_curve.png",
}


class Ended(NamedTuple):
    """What a command left: its exit code, and what it printed."""

    code: Any
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that it was refused with."""
        assert self.code == 2, self
        [line] = self.err.splitlines()
        return line

    @property
    def said(self) -> str:
        """What it printed but its settings, and that it draws."""
        lines = self.out.splitlines(keepends=True)
        return "".join(
            line
            for line in lines
            if ", DQNConfig(" not in line and not line.startswith("Drawing ")
        )


Command = Callable[..., Ended]


@pytest.fixture
def pictures() -> None:
    """A test that asks for this has its pictures drawn, which takes a while."""


@pytest.fixture
def command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> Iterator[Command]:
    """Type a command in an empty folder: of a script, or else of python -m minidqn."""
    monkeypatch.chdir(tmp_path)
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(cli, "draw", lambda *_, **__: None)
    before = {number: signal.getsignal(number) for number in (2, 15)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def type_it(*words: object, script: Any = None, shown: Any = None) -> Ended:
        monkeypatch.setattr(sys, "argv", ["/some/where/script.py", *map(str, words)])
        capsys.readouterr()
        code: Any = 0
        try:
            main(script, shown)
        except SystemExit as ended:
            code = ended.code
        return Ended(code, *capsys.readouterr())

    yield type_it
    for number, handler in before.items():
        signal.signal(number, handler)


class Signalled(gym.Wrapper[Any, Any, Any, Any]):
    """In its step number 123 a signal comes, once in all processes."""

    def __init__(self, env: Any, number: int, sent: Path) -> None:
        super().__init__(env)
        self.number = number
        self.sent = sent
        self.steps = 0

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.steps == 123 and not self.sent.exists():
            self.sent.touch()
            signal.raise_signal(self.number)
        return self.env.step(action)


class Huge(Black):
    """Rewards that no network of this size can learn."""

    def step(self, action: Any) -> Any:
        obs, _, *rest = super().step(action)
        return obs, 1e30, *rest


def fragile(failed: Path, **options: Any) -> Fragile:
    return Fragile(Black(**options), 180, failed)


def signalled(number: int, sent: Path, **options: Any) -> Signalled:
    return Signalled(Black(**options), number, sent)


def corridor(steps: int = 300, seed: int = 0) -> Spec:
    """What a script defines: a run. The corridor is black when it is drawn."""
    return Spec("Corridor-v0", CONFIG, steps, seed, make_env=Black, test_episodes=5)


def changed(**changes: Any) -> Any:
    """A script that is another one in some points."""

    def make(steps: int = 300, seed: int = 0) -> Spec:
        return replace(corridor(steps, seed), **changes)

    return make


def result_in(folder: str | Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((Path(folder) / SUMMARY).read_text())
    return result


def files_in(folder: str | Path) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


@pytest.mark.usefixtures("pictures")
def test_the_same_command_typed_again(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows what it found; another seed is another run, in another folder."""
    typed = partial(command, "--no-animation", script=corridor)
    first = typed()
    assert first.code == 0
    settings, line, drawing, where = first.out.splitlines()
    assert drawing == "Drawing the pictures ..."
    assert settings == f"Corridor-v0, seed 0, 300 steps, {CONFIG}"
    assert re.fullmatch(
        r"300 steps and 251 updates in \d+\.\d s\. Greedy return in 5 new episodes: "
        r"-?\d\.\d ± \d\.\d, minimum -?\d",
        line,
    )
    assert where == "The agent, its history and pictures are in runs/corridor"
    assert files_in("runs/corridor") == FILES

    other = typed("--seed", 1)
    assert other.said.startswith(
        "runs/corridor has another run: this one is in runs/corridor-2\n300 steps"
    )

    (Path("runs/corridor") / "learning_curve.png").unlink()
    monkeypatch.setattr(run_module, "train", None)  # it cannot be called
    again = typed()
    assert again.said.splitlines() == [
        "This run has ended before, in runs/corridor; --fresh makes it anew.",
        line,
        where,
    ]
    assert "steps/s" not in again.err
    assert files_in("runs/corridor") == FILES  # it is drawn again
    assert typed("--seed", 1).out.splitlines()[-1].endswith(" in runs/corridor-2")
    assert files_in("runs") == {"corridor", "corridor-2"}
    assert result_in("runs/corridor-2")["seed"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_goes_on(
    command: Command, tmp_path: Path, number: int
) -> None:
    """To the same parameters, in the same folder."""
    make = partial(signalled, int(number), tmp_path / "sent")
    typed = partial(command, "--no-animation", script=changed(make_env=make))
    stopped = typed()
    assert (stopped.code, stopped.said) == (130, "")
    assert stopped.err.endswith("Stopped. The same command goes on.\n")
    agent, history = load_run(tmp_path / "runs" / "corridor" / CHECKPOINT)
    assert agent.steps == 123
    assert len(history.unfinished[0].actions) > 0

    gone_on = typed()
    assert gone_on.said.startswith(
        "Going on with the run in runs/corridor.\n300 steps and 251 updates, resumed. "
    )
    undisturbed = run(corridor(), tmp_path / "undisturbed", progress=False)
    result = result_in("runs/corridor")
    for name in ("params_sha256", "eval_returns", "curve", "updates"):
        assert result[name] == undisturbed[name]
    assert files_in("runs") == {"corridor"}


def test_a_run_whose_code_has_changed_names_the_old_one(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = partial(command, "--no-animation", script=corridor)
    typed()
    code = dict(code_module.code_of_minidqn())
    code["minidqn/agent.py"] = "edited"
    monkeypatch.setattr(code_module, "code_of_minidqn", lambda: code)
    assert typed().said.startswith(
        "runs/corridor has this run with another code: minidqn/agent.py: it begins "
        "anew in runs/corridor-2\n300 steps"
    )


def test_a_fresh_run(command: Command, tmp_path: Path) -> None:
    typed = partial(command, "--no-animation", script=corridor)
    typed()
    fresh = typed("--fresh")
    assert fresh.said.startswith(
        "runs/corridor has a run: this one is in runs/corridor-2\n300 steps"
    )
    results = [result_in(f"runs/{name}") for name in ("corridor", "corridor-2")]
    assert results[0]["params_sha256"] == results[1]["params_sha256"]

    # and one that is stopped goes on without --fresh
    make = partial(signalled, int(signal.SIGINT), tmp_path / "sent")
    slow = partial(command, "--no-animation", script=changed(make_env=make))
    stopped = slow("--fresh")
    assert stopped.err.endswith("Without --fresh, the same command goes on.\n")
    assert slow().out.startswith("Going on with the run in runs/corridor-3.\n")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["trian", "CartPole-v1"], "; did you mean train?"),
        (["CartPole-v1", "--step", "3000"], "; did you mean --steps?"),
        (["CartPole-v1", "--step=3000"], "; did you mean --steps?"),
        (["sweep", "CartPole-v1", "--xyzzy"], "; --help lists the options"),
    ],
)
def test_what_may_have_been_meant(
    command: Command, words: list[str], meant: str
) -> None:
    assert command(*words).error.endswith(meant)


def test_discrete_observations_become_vectors(command: Command) -> None:
    """FrozenLake's is a number up to 15, and Blackjack's is three of them."""
    short = ("--steps", "1100", "--test-episodes", "2", "--no-animation")
    for env_id, n in (("FrozenLake-v1", 16), ("Blackjack-v1", 32 + 11 + 2)):
        assert command(env_id, *short).code == 0
        policy = load(Path("runs") / short_name(env_id) / AGENT)
        assert policy.observation_space.shape == (n,)
    assert command("FrozenLake-v1", *short, "--num-envs", "2").code == 0
    assert command("watch", "FrozenLake-v1").code == 0


def test_from_an_agent_that_would_learn_nothing(command: Command) -> None:
    """Its learning rate has reached 0: that is refused, before a folder is made."""
    typed = partial(command, "--no-animation", script=corridor)
    typed("--set", "learning_rate=0.01:0")
    error = typed("--from", "runs/corridor").error
    assert "learning_rate is 0 from step 300 to 600, so nothing is learned" in error
    assert error.endswith("(on the command line, --set learning_rate=1e-4)")
    assert not Path("runs/corridor-2").exists()
    changed_rate = ("--set", "learning_rate=1e-4")
    assert typed("--from", "runs/corridor", *changed_rate).code == 0


def test_from_a_policy_says_that_it_has_no_replay_buffer(command: Command) -> None:
    typed = partial(command, "--no-animation", script=corridor)
    typed()
    Path("runs/corridor", CHECKPOINT).unlink()
    said = typed("--from", "runs/corridor", "--set", "epsilon=0.05").said
    assert said.startswith("runs/corridor/agent.safetensors has only the policy: the ")


def test_why_a_new_run_is_where_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An older run is named also where the first folder is free."""
    base, second = Path("runs/it"), Path("runs/it-2")
    older = {"": "", "older": "runs/it-2 has this run with another code"}
    for name, folder, fresh, says in (
        ("", base, False, ""),
        ("", second, False, "runs/it has another run: this one is in runs/it-2\n"),
        ("", second, True, "runs/it has a run: this one is in runs/it-2\n"),
        ("older", base, False, f"{older['older']}: it begins anew in runs/it\n"),
        ("older", base, True, ""),
    ):
        text = older[name]
        monkeypatch.setattr(cli, "with_other_code", lambda *_, text=text: text)
        cli.say_why_there(base, folder, {}, fresh=fresh)
        assert capsys.readouterr().out == says


def test_a_folder_of_one_s_own(command: Command) -> None:
    typed = partial(command, "--no-animation", "--out", "a/b", script=corridor)
    assert typed().out.endswith("The agent, its history and pictures are in a/b\n")
    assert typed().out.startswith("This run has ended before, in a/b.\n")
    before = {path: path.read_bytes() for path in Path("a/b").iterdir()}
    for words, message in (
        (["--seed", 1], "seed 0 instead of 1: expected another folder, "),
        (["--steps", 400], "steps 300 instead of 400: expected another folder, "),
        (["--set", "gamma=0.5"], "gamma 0.99 instead of 0.5: expected another"),
        (["--test-episodes", 7], "test_episodes 5 instead of 7: expected another"),
    ):
        error = typed(*words).error
        assert error.startswith("script.py: error: a/b has another run, with ")
        assert message in error
    message = "script.py: error: --fresh: a/b is not empty: expected another --out"
    assert typed("--fresh").error == message
    assert {path: path.read_bytes() for path in Path("a/b").iterdir()} == before
    assert not Path("runs").exists()
    assert command("--out", "c", "--fresh", "--no-animation", script=corridor).code == 0


def test_a_folder_with_a_file_of_an_unknown_run_is_refused(command: Command) -> None:
    Path("sweep").mkdir()
    (Path("sweep") / CHECKPOINT).write_bytes(b"")
    error = command("--out", "sweep", script=corridor).error
    assert f"sweep has a file {CHECKPOINT}, but no {RUN} that names its run" in error


def test_a_damaged_checkpoint_is_named(command: Command) -> None:
    make = partial(signalled, int(signal.SIGINT), Path("sent").absolute())
    typed = partial(command, "--no-animation", script=changed(make_env=make))
    typed()
    path = Path("runs/corridor") / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])
    ended = typed()
    assert ended.code == 2
    assert f"script.py: error: {path} is no safetensors file, or damaged" in ended.err
    assert ended.error.endswith(". If you remove this file, the run begins anew")
    path.unlink()
    assert typed().code == 0


# --- Two commands at the same moment


def test_of_several_at_the_same_moment_each_takes_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A folder is held until its run has ended, so they cannot take the same one."""
    monkeypatch.chdir(tmp_path)
    together = Barrier(6)

    def hold(spec: Spec, folder: Path, identity: Any, on_step: Any) -> dict[str, Any]:
        with locked(folder):
            together.wait(20.0)
            (folder / RUN).write_text(json.dumps({"seed": spec.seed}))
            (folder / SUMMARY).write_text("{}")
        return {}

    monkeypatch.setattr(cli, "run_checked", hold)
    args = Namespace(
        out=None, fresh=False, log_every=None, record_every=None, live=False
    )

    def start(seed: int) -> Path:
        return cli.run_somewhere(args, corridor(seed=seed), False)[0]

    with ThreadPoolExecutor(6) as pool:
        folders = list(pool.map(start, range(6)))
    names = {"corridor", *(f"corridor-{number}" for number in range(2, 7))}
    assert {folder.name for folder in folders} == names


def test_a_run_that_another_process_makes_is_not_made_twice(command: Command) -> None:
    command("--no-animation", script=corridor)
    folder = Path("runs/corridor")
    (folder / SUMMARY).unlink()
    with locked(folder):
        for words in ([], ["--out", folder]):
            ended = command("--no-animation", *words, script=corridor)
            message = "script.py: error: runs/corridor is in use: another command "
            assert ended.error.startswith(message)
            assert ended.said == ""
        other = command("--no-animation", "--seed", 1, script=corridor)
        assert other.out.startswith("runs/corridor has another run: this one is in ")


# --- What is refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--set", "hidden="],
            "argument --set: 'hidden=': expected NAME=VALUE, such a",
        ),
        (["--set", "hidden"], "argument --set: 'hidden': expected NAME=VALUE, such as"),
        (["--set", "hiden=3"], "argument --set: setting 'hiden': expected hidden"),
        (
            ["--set=n_step=3", "--set=gamma=1", "--set=n_step=4"],
            "--set n_step is given twice: expected one value; a sweep takes several, ",
        ),
        (["--set", "double=maybe"], "double=maybe: expected true or false"),
        (["--set", "gamma=2"], "gamma is 2.0: expected 0 to 1"),
        (["--set", "n_step=0"], "n_step is 0: expected an integer of 1 or more"),
        (["--set", "conv=16,3,1"], "an observation of shape (1,) for conv: expected ("),
        (["--set", "buffer_size=2e9"], "a replay buffer of 26000 MB: expected less th"),
        (
            ["--set", "priority_alpha=0.6", "--set", "n_step=500"],
            "n_step 500 in 1 environments: expected up to 50 with prioritised replay",
        ),
        (["--steps", "49"], "steps is 49: expected learning_starts, 50, or more"),
        (["--steps", "0"], "argument --steps: 0: expected an integer of 1 or more"),
        (["--steps", "many"], "argument --steps: many: expected an integer of 1 or m"),
        (["--seed", "-1"], "argument --seed: -1: expected an integer of 0 or more"),
        (["--test-episodes", "0"], "argument --test-episodes: 0: expected an integer"),
        (["--log-every", "0"], "argument --log-every: 0: expected an integer of 1 or"),
        (["--until-solved"], "--until-solved: the environment does not say which"),
        (["--from", "nowhere"], "there is no file or folder nowhere"),
        (["--from", "."], "there is no saved agent in ."),
        (["--resume"], "unrecognized arguments: --resume"),
        (["--see", "1"], "unrecognized arguments: --see 1"),
        (["CartPole-v1"], "unrecognized arguments: CartPole-v1"),
        (["watch", "--steps", "5"], "unrecognized arguments: --steps 5"),
        (
            ["watch"],
            "there is no agent of Corridor-v0 yet: train one, or give one with ",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_and_leaves_nothing(
    command: Command, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minidqn.checks.free_megabytes", lambda: 20_000.0)
    error = command(*words, script=corridor).error
    typed = "script.py watch" if "watch" in words else "script.py"
    assert error.startswith(f"{typed}: error: {message}")
    assert files_in(".") == set()


def test_memory_that_is_not_there_is_said_in_a_line(command: Command) -> None:
    def too_large(**_: Any) -> Spec:
        raise MemoryError("26 GB for a replay buffer")

    error = command(script=too_large).error
    assert error == "script.py: error: 26 GB for a replay buffer"


def test_other_returns_do_not_say_whether_it_is_solved(command: Command) -> None:
    script = changed(train_wrapper=Doubled, solved_at=0.5)
    assert (
        "until_solved: expected no train_wrapper"
        in command("--until-solved", script=script).error
    )
    assert files_in(".") == set()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["CartPloe-v1"], ": error: Environment `CartPloe` doesn't exist"),
        (["train", "CartPloe-v1"], " train: error: Environment `CartPloe` does"),
        (
            ["Depot-v0"],
            ": error: Environment `Depot` doesn't exist. If a module of yours registe",
        ),
        (
            ["CartPole-v1", "--set", "n_step=1/3"],
            ": error: --set n_step=1/3: expected one value; a grid of several is for ",
        ),
        (
            ["absent:CartPole-v1"],
            ": error: No module named 'absent'; type the command in the folder of a",
        ),
        (
            ["CartPole-v9"],
            ": error: Environment version `v9` for environment `CartPole`",
        ),
        (["Pendulum-v1"], ": error: action space Box(-2.0, 2.0, (1,), float32): expec"),
        (
            ["watch", "CartPole-v7"],
            " watch: error: Environment version `v7` for environment `CartPole`",
        ),
        (
            ["trian", "CartPole-v1"],
            ": error: unrecognized arguments: CartPole-v1; --he",
        ),
        (["watch", "Acrobat-v1"], " watch: error: Environment `Acrobat` doesn't exist"),
        (["sweep", "CartPole-v1", "--seed", "3"], " sweep: error: unrecognized argume"),
        (["watch"], " watch: error: the following arguments are required: ENV"),
    ],
)
def test_an_error_names_the_command_that_was_typed(
    command: Command, words: list[str], message: str
) -> None:
    assert command(*words).error.startswith(f"python -m minidqn{message}")
    assert files_in(".") == set()


@pytest.mark.parametrize(
    ("env_id", "extra"),
    [
        ("PongNoFrameskip-v4", "atari"),
        ("ale_py:ALE/Breakout-v5", "atari"),
        ("MinAtar/Breakout-v0", "minatar"),
    ],
)
def test_what_has_to_be_installed_is_named(
    command: Command, monkeypatch: Any, env_id: str, extra: str
) -> None:
    for missing in ("ale_py", "minatar", "minatar.gym"):
        monkeypatch.setitem(sys.modules, missing, None)
    error = command(env_id).error
    assert error.endswith(f'; pip install "minidqn[{extra}]" installs it')
    assert files_in(".") == set()


def test_a_package_of_gymnasium_s_own_is_named(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_physics(*_: Any, **__: Any) -> None:
        raise gym.error.DependencyNotInstalled("Box2D is not installed")

    monkeypatch.setattr(gym, "make", no_physics)
    monkeypatch.setitem(sys.modules, "Box2D", None)
    monkeypatch.setattr("minidqn.lab.tuned.NO_BOX2D", False)
    assert command("LunarLander-v3").error == (
        "python -m minidqn: error: Box2D is not installed"
        '; pip install "minidqn[examples]" installs it'
    )


def test_how_an_environment_of_an_installed_package_is_written(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ale_py", reason="it takes the extra `atari`")
    error = command("ale_py:ALE/Nothing-v5").error
    assert "Environment `Nothing` doesn't exist in namespace ALE." in error
    assert "ale_py:" not in error
    for name in list(gym.registry):
        if name.startswith("ALE/"):
            monkeypatch.delitem(gym.registry, name)
    error = command("ALE/Pong-v5").error
    assert error.endswith("; the games of ale_py are written ale_py:ALE/Pong-v5")


def test_where_no_folder_can_be_made(command: Command, tmp_path: Path) -> None:
    """The link leads nowhere: a search for a free number would not end."""
    (tmp_path / "runs").symlink_to("/nowhere/scratch")
    for words in ([], ["--fresh"], ["--out", "runs/x"]):
        ended = command("--no-animation", *words, script=corridor)
        assert ended.code == 2
        assert ": runs is a file, or a link to something that does not" in ended.error
    (tmp_path / "runs").unlink()
    (tmp_path / "runs").write_text("a file")
    error = command("--no-animation", script=corridor).error
    says = ": runs is a file, or a link to something that does not exist"
    assert error.endswith(says)
    out = ["--no-animation", "--out", "runs/a/b"]
    assert command(*out, script=corridor).error.endswith(says)
    assert command("--no-animation", "--out", "runs", script=corridor).code == 2


# --- Settings


def config_of(command: Command, *words: str, script: Any = corridor) -> DQNConfig:
    ended = command("--no-animation", "--out", "it", *words, script=script)
    assert ended.code == 0, ended
    return load_run(Path("it") / CHECKPOINT)[0].config


def test_environments_side_by_side(command: Command) -> None:
    words = ["--no-animation", "--out", "it", "--num-envs", 3]
    assert command(*words, script=corridor).code == 0
    agent, _ = load_run(Path("it") / CHECKPOINT)
    assert agent.replay.num_envs == 3


def test_settings_from_the_command_line(command: Command) -> None:
    texts = ["hidden=6,4", "huber_delta=inf", "double=no", "epsilon=0.5"]
    texts += ["learning_rate=3e-3:0", "batch_size=9"]
    found = config_of(command, *(f"--set={text}" for text in texts))
    assert found == replace(
        CONFIG,
        hidden=(6, 4),
        huber_delta=np.inf,
        double=False,
        epsilon=0.5,
        learning_rate=LinearDecay(3e-3, 0.0, 300),
        batch_size=9,
    )
    beta = LinearDecay(0.4, 1.0, 300)  # to the end of the run
    words = ["--out", "other", "--set=priority_alpha=0.6", "--no-animation"]
    assert command(*words, script=corridor).code == 0
    found = load_run(Path("other") / CHECKPOINT)[0].config
    assert found == replace(CONFIG, priority_alpha=0.6, priority_beta=beta)


def test_what_a_script_says_of_priorities_is_left_as_it_is(command: Command) -> None:
    beta = LinearDecay(0.1, 0.2, 3)
    script = changed(config=replace(CONFIG, priority_beta=beta))
    assert config_of(command, script=script).priority_beta == beta


def test_a_decay_is_as_long_as_the_run(command: Command) -> None:
    words = ["--steps", "400", "--set", "epsilon=1:0.5"]
    assert config_of(command, *words).epsilon == LinearDecay(1.0, 0.5, 400)


def test_a_decay_that_is_replaced_is_said(command: Command) -> None:
    ended = command("--no-animation", "--set=epsilon=0.5", script=corridor)
    assert ended.out.splitlines()[0] == (
        "epsilon is 0.5 throughout, instead of LinearDecay(start=1.0, end=0.1, "
        "steps=100.0); epsilon=0.5:0 would be a decay to 0 over the run"
    )


def test_a_script_may_have_a_seed_of_its_own(command: Command) -> None:
    def lucky(steps: int = 300, seed: int = 7) -> Spec:
        return corridor(steps, seed)

    command("--no-animation", script=lucky)
    assert result_in("runs/corridor")["seed"] == 7
    command("--no-animation", "--seed", 0, script=lucky)
    assert result_in("runs/corridor-2")["seed"] == 0


# --- The test, and the end


def test_a_shorter_test(command: Command) -> None:
    ended = command(
        "--no-animation",
        "--test-episodes",
        3,
        "--test-max-steps",
        1000,
        script=corridor,
    )
    assert "Greedy return in 3 new episodes" in ended.out
    result = result_in("runs/corridor")
    assert (result["test_episodes"], result["test_max_steps"]) == (3, 1000)
    assert len(result["eval_returns"]) == 3


def test_until_it_is_solved(command: Command) -> None:
    typed = partial(command, "--no-animation", "--steps", 3000, "--until-solved")
    ended = typed(script=changed(solved_at=0.2))
    steps = result_in("runs/corridor")["steps"]
    assert ended.said.startswith(f"{steps} steps and {steps - 49} updates in ")
    assert steps < 3000
    assert "(from 0.2)" in ended.out
    again = typed(script=changed(solved_at=0.2))
    assert again.out.startswith("This run has ended before, in runs/corridor; ")


# --- From a saved agent


@pytest.fixture
def saved(command: Command) -> Path:
    """The folder of a run that has ended."""
    command("--no-animation", "--seed", 3, script=corridor)
    return Path("runs/corridor")


def test_a_decay_over_the_run_is_over_the_steps_that_are_left(
    command: Command, saved: Path
) -> None:
    words = ["--from", saved, "--steps", 500, "--set", "epsilon=0.4:0", "--out", "it"]
    assert command("--no-animation", *words, script=corridor).code == 0
    agent, _ = load_run(Path("it") / CHECKPOINT)
    assert agent.config.epsilon == Delayed(LinearDecay(0.4, 0.0, 200), 300)
    assert agent.epsilon == 0.0
    learning_rate: Any = agent.config.learning_rate  # was not set: it goes on
    assert learning_rate == CONFIG.learning_rate


def test_a_whole_run_goes_on(command: Command, saved: Path) -> None:
    """Its steps count, and its seed stays. One more step is enough."""
    for number, start in enumerate((saved, saved / CHECKPOINT), 2):
        words = ["--from", start, "--steps", 300 + number]
        ended = command("--no-animation", *words, script=corridor)
        assert ended.said.splitlines()[-2].startswith(f"{300 + number} steps and ")
        result = result_in(f"runs/corridor-{number}")
        assert (result["seed"], result["steps"]) == (3, 300 + number)
    command("--no-animation", "--from", saved, script=corridor)  # as long once more
    assert result_in("runs/corridor-4")["steps"] == 600
    straight = command("--no-animation", "--seed", 3, "--steps", 600, script=corridor)
    assert straight.code == 0
    whole, parts = result_in("runs/corridor-5"), result_in("runs/corridor-4")
    assert whole["params_sha256"] == parts["params_sha256"]


def test_a_saved_agent_is_read_twice(
    command: Command, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once to see that the run can begin, and once to begin it: files may be large."""
    read = []

    def counted(*arguments: Any) -> Any:
        read.append(arguments)
        return restore(*arguments)

    monkeypatch.setattr("minidqn.lab.checkpoint.restore", counted)
    command("--no-animation", "--from", saved, "--steps", 301, script=corridor)
    assert result_in("runs/corridor-2")["steps"] == 301
    assert len(read) == 2


@pytest.mark.filterwarnings("ignore:epsilon is 1 again")
def test_a_policy_begins_anew(command: Command, saved: Path) -> None:
    words = ["--from", saved / AGENT, "--steps", 120, "--seed", 8]
    ended = command("--no-animation", *words, script=corridor)
    assert "120 steps and 71 updates in" in ended.out
    agent, history = load_run(Path("runs/corridor-2") / CHECKPOINT)
    assert (agent.seed, agent.steps, agent.updates) == (8, 120, 71)
    assert history["length"].sum() <= 120


def test_its_settings_stay_but_for_those_that_are_set(
    command: Command, saved: Path
) -> None:
    other = changed(config=replace(CONFIG, gamma=0.5, hidden=(3,)))
    words = ["--from", saved, "--set", "learning_rate=1e-4", "--steps", 350]
    command("--no-animation", *words, script=other)
    config = load_run(Path("runs/corridor-2") / CHECKPOINT)[0].config
    before = load_run(saved / CHECKPOINT)[0].config
    assert config == replace(before, learning_rate=1e-4)
    assert (before.gamma, before.hidden) == (0.99, (8,))


def test_a_run_from_a_saved_agent_that_is_stopped_goes_on(
    command: Command, saved: Path, tmp_path: Path
) -> None:
    make = partial(signalled, int(signal.SIGINT), tmp_path / "sent")
    words = ["--from", saved, "--set", "gamma=0.5", "--steps", 500, "--no-animation"]
    typed = partial(command, *words, script=changed(make_env=make))
    assert typed().code == 130
    agent = load_run(Path("runs/corridor-2") / CHECKPOINT)[0]
    assert 300 < agent.steps < 500
    assert typed().said.startswith("Going on with the run in runs/corridor-2.\n500 st")
    agent = load_run(Path("runs/corridor-2") / CHECKPOINT)[0]
    assert (agent.steps, agent.updates, agent.config.gamma) == (500, 451, 0.5)


def test_what_a_saved_agent_cannot_do_is_said_in_a_line(
    command: Command, saved: Path, tmp_path: Path
) -> None:
    (tmp_path / "damaged").write_bytes(b"damaged")
    before = files_in("."), files_in("runs")
    for words, message in (
        (
            ["--set", "hidden=3"],
            f"{saved / CHECKPOINT}: hidden is (3,): expected (8,), w",
        ),
        (
            ["--steps", 300],
            f"steps is 300: expected more than the 300 steps that {saved}",
        ),
        (["--seed", 4], f"{saved / CHECKPOINT}: seed is 4: expected 3, with which thi"),
        (["--set", "buffer_size=10"], f"{saved / CHECKPOINT}: buffer_size is 10: exp"),
    ):
        error = command("--from", saved, *words, script=corridor).error
        assert error.startswith(f"script.py: error: {message}")
    error = command("--from", "damaged", script=corridor).error
    assert error.startswith("script.py: error: damaged is no safetensors file, or d")
    error = command("CartPole-v1", "--from", saved).error
    assert error.startswith("python -m minidqn: error: the environment's spaces are ")
    assert (files_in("."), files_in("runs")) == before


@pytest.mark.filterwarnings("ignore:learning_rate is 0:RuntimeWarning")
def test_a_run_does_not_begin_with_itself(command: Command, saved: Path) -> None:
    error = command("--from", saved, "--out", saved, script=corridor).error
    assert error.startswith("script.py: error: runs/corridor has another run, with ")


# --- What one sees


@pytest.mark.usefixtures("pictures")
def test_every_picture_of_a_run(command: Command) -> None:
    ended = command("--record-every", 20, "--log-every", 15, script=corridor)
    assert re.search(r"^episode 15, step \d+: return .* loss .* eps", ended.out, re.M)
    found = files_in("runs/corridor")
    assert found >= FILES | {"before_after.gif", "episode_00020.gif"}


@pytest.mark.usefixtures("pictures")
def test_without_the_film_episodes_are_recorded_all_the_same(command: Command) -> None:
    command("--record-every", 20, "--no-animation", script=corridor)
    assert "episode_00020.gif" in files_in("runs/corridor")
    assert "before_after.gif" not in files_in("runs/corridor")


@pytest.mark.usefixtures("pictures")
def test_an_environment_that_cannot_draw_itself(command: Command) -> None:
    for flags in ([], ["--record-every", 20]):
        ended = command(*flags, script=changed(make_env=Corridor))
        assert ended.code == 0
        assert (
            "There will be no film: Corridor-v0 cannot draw itself with " in ended.out
        )
        assert files_in("runs/corridor") == FILES
    ended = command("--no-animation", script=changed(make_env=Corridor))
    assert "no film" not in ended.out


@pytest.mark.usefixtures("pictures")
def test_a_stack_of_vectors_has_no_picture_of_its_values(command: Command) -> None:
    """It may learn what one observation does not show; but it has more than two axes."""
    words = ["--no-animation", "--steps", 60, "--set", "frame_stack=4"]
    shown = Shown(x=Axis(0, 0.0, 6.0, "cell"), y=Axis(0, 0.0, 6.0, "cell"))
    ended = command(*words, script=corridor, shown=shown)
    assert ended.code == 0
    assert ended.said.startswith(
        "There will be no picture of the value function: the agent sees 4 observations "
        "at once (frame_stack), and it shows one\n60 steps and "
    )
    assert "value_function.png" not in files_in("runs/corridor")
    assert "no picture" not in command(*words, script=corridor).out  # there is none


@pytest.mark.usefixtures("pictures")
def test_every_part_of_a_run_gets_what_is_its_own(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test and the film: the seed of their purpose, and no wrapper of training."""
    seen: dict[str, Any] = {}

    def play_test(agent: Any, env: Any, **given: Any) -> Any:
        numbers = (given[name] for name in ("episodes", "seed", "epsilon"))
        seen["test"] = (type(env), *numbers)
        returns = np.arange(float(given["episodes"]))
        return returns, returns, 0

    def animate(agents: Any, env: Any, path: Any, seeds: Any, max_steps: int) -> None:
        seen["film"] = (type(env), env.render_mode, seeds, max_steps)

    monkeypatch.setattr(outcome, "play_test", play_test)
    monkeypatch.setattr(show, "animate", animate)
    script = changed(train_wrapper=Doubled, test_epsilon=0.25, solved_at=2.0)
    ended = command("--seed", 5, script=script, shown=Shown(film_steps=17))
    assert seen["test"] == (Black, 5, 5, 0.25)
    seeds = [episode_seed(5, TEST, number) for number in range(3)]
    assert seen["film"] == (Black, "rgb_array", seeds, 17)
    assert (
        "Return at epsilon 0.25 in 5 new episodes: 2.0 ± 1.4, minimum 0: solved (f"
        in (ended.out)
    )
    assert result_in("runs/corridor")["train_wrapper"] == "tests.test_run.Doubled"


def test_the_threshold_of_other_returns_is_not_drawn(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []

    def live_plot(solved_at: float | None) -> Any:
        drawn.append(solved_at)
        return lambda agent, history: None

    monkeypatch.setattr(cli, "live_plot", live_plot)
    for changes in ({}, {"train_wrapper": Doubled}):
        script = changed(solved_at=0.5, **changes)
        command("--live", "--no-animation", script=script)
    assert drawn == [0.5, None]


def test_an_environment_that_fails_is_seen_where_and_the_run_goes_on(
    command: Command, tmp_path: Path
) -> None:
    make = partial(fragile, tmp_path / "failed")
    typed = partial(command, "--no-animation", script=changed(make_env=make))
    with pytest.raises(ValueError, match="the simulator is gone") as error:
        typed()  # with a traceback: who made it needs to know where
    assert error.value.__notes__ == ["in step 180 of the run"]
    assert load_run(Path("runs/corridor") / CHECKPOINT)[0].steps == 179
    assert typed().said.startswith(
        "Going on with the run in runs/corridor.\n300 steps "
    )


class Hot(Black):
    """What it shows is far from 1."""

    observation_space = Box(0.0, 6e3, (1,), np.float32)

    def observation(self) -> Any:
        return 1e3 * super().observation()


@pytest.mark.filterwarnings("default:entry 0:RuntimeWarning")
def test_a_warning_is_a_line_that_says_what_to_type(command: Command) -> None:
    before = warnings.showwarning
    words = ["--steps", 600, "--no-animation"]
    ended = command(*words, script=changed(make_env=Hot))
    assert ended.code == 0
    [line] = [line for line in ended.err.splitlines() if "entry 0" in line]
    assert line.startswith("warning: entry 0 of the observations is about ")
    assert line.endswith(" (on the command line, --set normalize_obs=running)")
    assert warnings.showwarning == before


def test_a_test_that_is_stopped(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    typed = partial(command, "--no-animation", script=corridor)
    with monkeypatch.context() as patch:
        patch.setattr(outcome, "play_test", stop)
        assert typed().code == 130
    assert "300 steps and 251 updates, resumed. Greedy return" in typed().out


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_a_run_that_diverges_says_so_in_a_line(command: Command) -> None:
    words = ["--set=learning_rate=0.9", "--set=huber_delta=inf", "--set=gamma=1"]
    script = changed(make_env=Huge)
    ended = command("--no-animation", *words, script=script)
    assert ended.code == 2
    last = ended.err.splitlines()[-1]
    assert last.startswith("script.py: error: update 1 diverged: loss ")


@pytest.mark.usefixtures("pictures")
def test_a_network_of_one_s_own_is_trained_and_shown(command: Command) -> None:
    config = replace(CONFIG, hidden=DQNConfig.hidden)
    script = changed(network=small_network, config=config)
    ended = command(script=script)
    assert ended.code == 0, ended
    assert "before_after.gif" in files_in("runs/corridor")
    assert command(script=script).out.startswith("This run has ended before")
    # and is asked for again where it goes on
    longer = command("--from", "runs/corridor", "--steps", 350, script=script)
    assert longer.code == 0, longer
    error = command("--from", "runs/corridor", script=corridor).error
    assert "network" in error


# --- Environments of one's own

MAZE = """
import gymnasium as gym
from tests.test_run import Corridor

class Maze(Corridor):
    pass

gym.register("Maze-v0", "my_mazes:Maze", reward_threshold=0.5)
"""


def test_an_environment_in_a_module_of_one_s_own(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_mazes.py").write_text(MAZE)
    monkeypatch.syspath_prepend(tmp_path)
    typed = partial(command, "my_mazes:Maze-v0", "--steps", 1200, "--no-animation")
    assert typed().code == 0
    result = result_in("runs/maze")
    assert (result["env_id"], result["solved_at"]) == ("my_mazes:Maze-v0", 0.5)
    agent = load_run(Path("runs/maze") / CHECKPOINT)[0]
    assert agent.config.learning_rate == LinearDecay(1e-3, 0.0, 1200)
    assert agent.config.epsilon == LinearDecay(1.0, 0.05, 120)
    assert typed().out.startswith("This run has ended before, in runs/maze; ")
    del gym.registry["Maze-v0"], sys.modules["my_mazes"]


@pytest.fixture
def two_mazes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules: one registers two environments, one none; one imports another."""
    second = 'gym.register("Labyrinth-v0", "two_mazes:Maze")\n'
    (tmp_path / "two_mazes.py").write_text(MAZE.replace("my_", "two_") + second)
    (tmp_path / "no_mazes.py").write_text("")
    (tmp_path / "imports_absent.py").write_text("import absent")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("Maze-v0", "Labyrinth-v0"):
        gym.registry.pop(name, None)
    for name in ("two_mazes", "no_mazes"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("two_mazes")
@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("two_mazes:Mazes-v0", "; two_mazes registers Labyrinth-v0, Maze-v0"),
        ("two_mazes:maze", "; two_mazes registers Labyrinth-v0, Maze-v0"),
        ("no_mazes:Maze-v0", "; no_mazes registers no environment"),
        ("imports_absent:Maze-v0", "No module named 'absent'"),
    ],
)
def test_what_a_module_registers_is_named(
    command: Command, env_id: str, message: str
) -> None:
    assert command(env_id).error.endswith(message)


def test_the_many_games_of_a_package_are_not_listed(tmp_path: Path) -> None:
    """In a process of its own, which has not imported the package yet."""
    pytest.importorskip("ale_py", reason="it takes the extra `atari`")
    done = subprocess.run(
        [sys.executable, "-m", "minidqn", "ale_py:ALE/Nothing-v5"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "Environment `Nothing` doesn't exist in namespace ALE." in done.stderr
    assert "registers" not in done.stderr


@pytest.mark.usefixtures("two_mazes")
def test_the_version_of_a_registered_environment_may_be_left_out(
    command: Command,
) -> None:
    assert command("two_mazes:Maze", "--steps", 1200, "--no-animation").code == 0


@pytest.mark.usefixtures("pictures")
def test_a_tuned_environment_by_its_short_name(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is the same run; its picture of the value function is CartPole's."""
    ids = ("CartPole-v1", "CartPole", "gymnasium:CartPole-v1", "gymnasium:CartPole")
    for number, env_id in enumerate(ids):
        words = (env_id, "--steps", 300, "--test-episodes", 2, "--no-animation")
        ended = command(*words)
        assert ended.code == 0, ended
        assert ended.out.startswith("This run has ended before") == (number > 0)
    assert files_in("runs") == {"cartpole"}
    assert "value_function.png" in files_in("runs/cartpole")
    agent = load_run(Path("runs/cartpole") / CHECKPOINT)[0]
    assert agent.config == tuned("CartPole-v1", 300)


# --- Watching


def test_watching_takes_no_folder_of_a_run(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "has_display", lambda: False)
    monkeypatch.setattr(show, "animate", lambda *given: Path(given[2]).touch())
    for words, script in ((["watch"], corridor), (["watch", "CartPole"], None)):
        if script is not None:
            command("--no-animation", script=script)
        ended = command(*words, script=script)
        assert ended.code == 0, ended
    names = {"corridor", "watch_corridor.gif", "watch_cartpole.gif"}
    assert files_in("runs") == names
    about, *episodes, where = ended.out.splitlines()
    assert about.startswith("The agent of ")
    assert about.endswith("cartpole.safetensors")
    assert episodes == [f"episode {number}: return 500.0" for number in (1, 2, 3)]
    assert where == "There is no display: see runs/watch_cartpole.gif"
    ended = command("CartPole", "--steps", 300, "--no-animation")
    assert ended.out.endswith(" are in runs/cartpole\n")


def test_what_is_watched(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent of --from; the policy of a folder, as it is smaller than the run."""
    command("--no-animation", script=corridor)
    watched: list[Any] = []
    monkeypatch.setattr(
        cli, "watch", lambda spec, path, picture: watched.append((path, spec.seed))
    )
    folder = Path("runs/corridor")
    command("watch", script=corridor)
    command("watch", "--from", folder, "--seed", 3, script=corridor)
    command("watch", "--from", folder / CHECKPOINT, script=corridor)
    (folder / AGENT).unlink()  # as if it still trained
    command("watch", "--from", folder, script=corridor)
    assert watched == [
        (folder / AGENT, 0),
        (folder / AGENT, 3),
        (folder / CHECKPOINT, 0),
        (folder / CHECKPOINT, 0),
    ]
    command("--no-animation", "--seed", 1, script=corridor)
    with_another = command("watch", "--from", folder, script=corridor)
    assert with_another.out == ""
    with_another = command("watch", script=corridor)
    assert watched[4:] == [(folder / CHECKPOINT, 0)] * 2
    assert with_another.out == (
        "There are other runs: --from runs/corridor-2 shows the last one\n"
    )
    command("watch", "CartPole-v1")
    path, _ = watched[-1]
    assert path.parts[-2:] == ("trained", "cartpole.safetensors")
    assert load(path).n_actions == 2


def test_an_agent_of_another_environment_is_not_watched(command: Command) -> None:
    with gym.make("Acrobot-v1") as env:
        save(DQN(env.observation_space, env.action_space), "acrobot.st", replay=False)
    error = command("watch", "CartPole-v1", "--from", "acrobot.st").error
    assert error.startswith("python -m minidqn watch: error: the environment's spaces")


def test_watching_is_stopped(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "watch", stop)
    ended = command("watch", "CartPole-v1")
    assert (ended.code, ended.err) == (130, "Stopped.\n")


# --- Help

OPTIONS = {
    "train": {
        *("--seed", "--steps", "--set", "--out", "--fresh", "--from", "--until-solved"),
        *("--test-episodes", "--test-max-steps", "--log-every", "--record-every"),
        *("--live", "--no-animation", "--num-envs", "--help", "--version"),
    },
    "watch": {"--from", "--seed", "--help", "--version"},
    "sweep": {
        *("--seeds", "--first", "--steps", "--set", "--workers", "--dask", "--out"),
        *("--test-episodes", "--test-max-steps", "--help", "--version"),
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_help_lists_every_option_with_what_it_does(command: Command, name: str) -> None:
    ended = command(name, "--help")
    assert ended.code == 0
    assert ended.out.startswith(f"usage: python -m minidqn {name} [-h]")
    _, _, listed = ended.out.partition("options:")
    found = re.findall(r"^  (?:-h, )?(--[a-z-]+)(?: \S+)?\s+\S", listed, re.M)
    assert set(found) == OPTIONS[name]
    parser = getattr(arguments, f"{name}_parser")("x", True)
    assert all(action.help for action in parser._actions)
    of_script = command(name, "--help", script=corridor).out
    assert of_script.startswith(f"usage: script.py {name} [-h]")
    assert "ENV" not in of_script


def test_without_a_command_all_of_them_are_listed(command: Command) -> None:
    for words in ([], ["--help"], ["-h"]):
        ended = command(*words)
        assert ended.code == 0
        for name in OPTIONS:
            assert f"python -m minidqn {name} ENV [options]" in ended.out
        assert "--no-animation" in ended.out  # those of train: it may be left out
    assert command("CartPole-v1", "--help").out.startswith("usage: python -m minidqn [")
    assert command("--help", script=corridor).out.startswith("usage: script.py [-h]")


# --- A sweep


def test_what_a_sweep_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, command: Command, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {}

    def sweep(specs: Any, out: Path, *, executor: Any, workers: int) -> Any:
        asked.update(specs=specs, out=out, executor=executor, workers=workers)
        return [
            {"name": spec.name} for spec in reversed(specs)
        ]  # as they happen to end

    def compare(results: Any, path: Path) -> Any:
        asked["compared"] = [result["name"] for result in results]
        return "", None

    monkeypatch.setattr(sweep_cli, "sweep", sweep)
    monkeypatch.setattr(sweep_cli, "compare", compare)
    grid = ["--set=learning_rate=0.01:0/0.5", "--set=huber_delta=1/inf"]
    words = ["--seeds", 2, "--first", 7, "--workers", 3, "--out", tmp_path, *grid]
    for typed, script in ((["CartPole-v1"], None), ([], corridor)):
        ended = command("sweep", *typed, *words, script=script)
        assert ended.code == 0, ended
        specs = asked["specs"]
        made = [(s.config.learning_rate, s.config.huber_delta, s.seed) for s in specs]
        decay = LinearDecay(0.01, 0.0, specs[0].steps)
        assert made == list(product((decay, 0.5), (1.0, np.inf), (7, 8)))
        # the first is the reference
        assert asked["compared"] == [spec.name for spec in specs]
        assert len({*asked["compared"]}) == 8
        assert (asked["out"], asked["executor"]) == (tmp_path, None)
        assert asked["workers"] == 3


def corridor_sweep(command: Command, *words: object) -> Ended:
    """A sweep of two short runs into the folder it, in one process."""
    options = ("--seeds", 2, "--steps", 60, "--workers", 1, "--out", "it")
    return command("sweep", *options, *words, script=corridor)


def settings_in_table() -> list[str]:
    """The settings in comparison.md, from its first line to its last."""
    lines = Path("it/comparison.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    return [row.split("|")[1].strip() for row in rows[2:]]


def test_the_files_of_a_sweep_cover_all_runs_in_its_folder(command: Command) -> None:
    """A second command adds its runs: those of the first are not lost from them."""
    first = corridor_sweep(command, "--set", "n_step=1/2", "--test-episodes", 3)
    assert first.code == 0, first
    assert "other commands" not in first.out
    second = corridor_sweep(command, "--set", "n_step=3", "--test-episodes", 3)
    assert second.code == 0, second
    assert "4 runs of other commands in this folder are in the table" in second.out
    # those of this command come first
    assert settings_in_table() == ["n_step=3", "n_step=1", "n_step=2"]
    assert "4 runs of other commands" in Path("it/comparison.md").read_text()
    with Path("it/results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows[:2]] == ["n_step=3/0", "n_step=3/1"]
    assert len({row["name"] for row in rows}) == 6
    assert {row["test_episodes"] for row in rows} == {"3"}

    # more seeds of the same settings belong to the same line
    more = corridor_sweep(command, "--set=n_step=1", "--test-episodes=3", "--first=2")
    assert more.code == 0, more
    assert settings_in_table() == ["n_step=1", "n_step=2", "n_step=3"]
    assert "| n_step=1 | 4 | 0 |" in Path("it/comparison.md").read_text()


def test_runs_that_cannot_be_one_line_are_refused_before_any_is_made(
    command: Command,
) -> None:
    assert corridor_sweep(command, "--set", "n_step=1").code == 0
    before = files_in("it")
    other = corridor_sweep(command, "--set", "n_step=1", "--first=2", "--steps=70")
    assert "'n_step=1/1' and 'n_step=1/2' have steps 60 and 70: expected" in other.error
    other = corridor_sweep(command, "--set=n_step=1", "--first=2", "--test-episodes=3")
    assert "have test_episodes 5 and 3: expected" in other.error
    assert files_in("it") == before
    # a result of something else in the folder is left alone
    Path("it/other").mkdir()
    Path("it/other/summary.json").write_text('{"score": 3}')
    assert corridor_sweep(command, "--set", "n_step=1").code == 0


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ("n_step=3,20", "expected an integer; several are written n_step=3/20"),
        ("n_step=3/", "n_step=3/: expected a value on each side of /"),
        ("n_step=3/5/3", "n_step=3/5/3: expected 3 only once"),
    ],
)
def test_a_grid_with_a_mistake(command: Command, grid: str, says: str) -> None:
    assert corridor_sweep(command, "--set", grid).error.endswith(says)


def test_runs_of_other_lengths_in_one_table(command: Command) -> None:
    says = "Some runs have more steps than others: they may be better only because"
    assert says not in corridor_sweep(command).out
    assert says in corridor_sweep(command, "--set", "n_step=1", "--steps", 70).out


def test_a_sweep_replaces_no_file_of_yours(command: Command) -> None:
    Path("it").mkdir()
    Path("it/results.csv").write_text("mine")
    says = (
        "it/results.csv is of no sweep, and would be replaced: expected another --out"
    )
    assert corridor_sweep(command).error.endswith(says)
    assert Path("it/results.csv").read_text() == "mine"
    # its own table may be removed, or be empty because the sweep was killed
    Path("it/results.csv").unlink()
    assert corridor_sweep(command).code == 0
    Path("it/results.csv").unlink()
    assert corridor_sweep(command).code == 0
    Path("it/results.csv").write_text("")
    assert corridor_sweep(command).code == 0


def test_a_run_in_a_sweeps_folder_is_none_of_the_sweep(command: Command) -> None:
    assert corridor_sweep(command, "--set", "n_step=1").code == 0
    out = ["--out", "it/mine", "--no-animation"]
    assert command(*out, script=corridor).code == 0
    assert corridor_sweep(command, "--set", "n_step=1").code == 0
    assert settings_in_table() == ["n_step=1"]


def test_a_sweep_says_what_its_settings_change(command: Command) -> None:
    ended = corridor_sweep(command, "--set", "learning_rate=0.01:0")
    base = f"Corridor-v0, 60 steps, {CONFIG}"
    assert ended.out.startswith(f"{base}\n")
    assert ended.out.count(base) == 1
    text = Path("it/comparison.md").read_text()
    assert text.startswith(f"{base}\n\nThe settings in the table are changes to these.")
    # Windows has no colon in the name of a folder
    assert settings_in_table() == ["learning_rate=0.01~0"]
    assert (Path("it") / "learning_rate=0.01~0" / "0" / SUMMARY).exists()


def test_a_sweep_takes_the_options_of_the_test(command: Command) -> None:
    ended = corridor_sweep(command, "--test-episodes", 3, "--test-max-steps", 4)
    assert ended.code == 0, ended
    result = result_in("it/Corridor-v0/0")
    assert (result["test_episodes"], result["test_max_steps"]) == (3, 4)
    assert len(result["eval_returns"]) == 3


def test_a_sweep_whose_folder_is_in_use(command: Command) -> None:
    with locked(Path("it")):
        ended = corridor_sweep(command)
    assert ended.code == 2
    assert ended.err.endswith(
        "it is in use: expected that no other command makes runs there\n"
    )
    assert "__name__" not in ended.err


def test_a_wrong_setting_is_told_where_the_right_ones_are_explained(
    command: Command,
) -> None:
    for name in ("train", "sweep"):
        error = command(name, "CartPole-v1", "--set", "nstep=1/3").error
        assert "setting 'nstep': expected n_step" in error
        assert error.endswith("; help(minidqn.DQNConfig) explains the settings")
    error = command("sweep", "CartPole-v1", "--seeds", "0").error
    assert error.endswith("; --help lists the options")


def test_a_sweep_on_dask_and_one_that_is_stopped(
    monkeypatch: pytest.MonkeyPatch, command: Command, tmp_path: Path
) -> None:
    asked: list[Any] = []

    class Client:
        def __init__(self, address: str) -> None:
            asked.append(address)

        def get_executor(self, **options: Any) -> str:
            return f"an executor with {options}"

    def sweep(specs: Any, out: Path, *, executor: Any, workers: Any) -> Any:
        asked.append(executor)
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=Client))
    monkeypatch.setattr(sweep_cli, "sweep", sweep)
    ended = command("sweep", "CartPole-v1", "--dask", "tcp://here:1", "--out", tmp_path)
    assert (ended.code, ended.err) == (130, "Stopped. The same command goes on.\n")
    # else Dask would make only one of two calls that look alike
    assert asked == ["tcp://here:1", "an executor with {'pure': False}"]
