"""Settings that are known to work, by environment id.

They are in examples/, one script for each environment, which gives the reasons. A script
defines STEPS, the run length that it was tuned for, and config(steps), the settings for a
run of any length; and options(env_id), if there is more to say about its environment, as Spec
takes it. The scripts are installed with the package.
"""

import runpy
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from minidqn.config import DQNConfig
from minidqn.lab.expect import expect
from minidqn.lab.finetune import changed
from minidqn.lab.spec import Spec
from minidqn.schedules import LinearDecay

MINATAR = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
SCRIPTS = {
    "CartPole-v1": "cartpole.py",
    "Acrobot-v1": "acrobot.py",
    "MountainCar-v0": "mountaincar.py",
    "LunarLander-v3": "lunarlander.py",
    "ALE/Breakout-v5": "breakout_ram.py",
    "PongNoFrameskip-v4": "pong.py",
    **{f"MinAtar/{game}-v0": "minatar_games.py" for game in MINATAR},
}


def examples() -> Path:
    """The folder of the scripts: in a clone, or where they were installed."""
    with suppress(PackageNotFoundError):
        for file in files("minidqn") or ():
            if file.parts[-2:] == ("examples", "cartpole.py"):
                return Path(str(file.locate())).parent
    return Path(__file__).parents[2] / "examples"


def example(env_id: str) -> dict[str, Any]:
    """What the script for an environment defines. Raises ValueError for an unknown one."""
    expect(env_id in SCRIPTS, f"env_id is {env_id!r}", f"one of {', '.join(SCRIPTS)}")
    return runpy.run_path(str(examples() / SCRIPTS[env_id]))


def tuned(env_id: str, steps: int | None = None, **changes: Any) -> DQNConfig:
    """The tuned settings of an environment, with `changes`, for a run of `steps` steps.

    The decays cover the same share of a run of any length. Raises ValueError for an unknown
    environment or setting.
    """
    script = example(env_id)
    return for_run(script["config"], steps or script["STEPS"], changes)


def untuned(steps: int) -> DQNConfig:
    """Settings for an environment for which none were tuned."""
    return DQNConfig(
        learning_rate=LinearDecay(1e-3, 0.0, steps),
        epsilon=LinearDecay(1.0, 0.05, steps / 10),
    )


UNTUNED: dict[str, Any] = {"STEPS": 50_000, "config": untuned}


def tuned_spec(
    env_id: str, steps: int | None = None, seed: int = 0, **changes: Any
) -> Spec:
    """A run of an environment with its tuned settings, or usual ones, and `changes` to them."""
    script = example(env_id) if env_id in SCRIPTS else UNTUNED
    steps = steps or script["STEPS"]
    options = script["options"](env_id) if "options" in script else {}
    for name, value in options.items():
        if callable(value):  # it is of a script, which a worker cannot import
            options[name] = partial(call_option, env_id, name)
    return Spec(
        env_id, for_run(script["config"], steps, changes), steps, seed, **options
    )


def for_run(
    config: Callable[[int], DQNConfig], steps: int, changes: dict[str, Any]
) -> DQNConfig:
    """config(steps) with `changes`; if neither sets beta, it reaches 1 at the end of the run."""
    settings = config(steps)
    if settings.priority_beta == DQNConfig.priority_beta:
        changes = {"priority_beta": LinearDecay(0.4, 1.0, steps)} | changes
    return changed(settings, changes)


def call_option(env_id: str, name: str, *args: Any, **named: Any) -> Any:
    """What a function among the options of a script returns."""
    return example(env_id)["options"](env_id)[name](*args, **named)
