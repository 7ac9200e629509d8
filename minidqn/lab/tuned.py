"""Tuned settings, by environment id.

They are in examples/: one script for each environment, which gives the reasons. Each
script defines spec(steps, seed), a run of any length, and SHOWN, for its pictures.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import gymnasium as gym

from minidqn.config import DQNConfig
from minidqn.lab.identity import registered, some_of
from minidqn.lab.settings import changed
from minidqn.lab.spec import Spec
from minidqn.schedules import LinearDecay

# makes a run, given steps and seed; both have defaults
MakeSpec = Callable[..., Spec]

MINATAR = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
BOARD = ("TicTacToe", "Connect4")
EXAMPLES = {
    "CartPole-v1": "cartpole",
    "Acrobot-v1": "acrobot",
    "MountainCar-v0": "mountaincar",
    "LunarLander-v3": "lunarlander",
    "ALE/Breakout-v5": "breakout_ram",
    "PongNoFrameskip-v4": "pong",
    **{f"MinAtar/{game}-v0": "minatar_games" for game in MINATAR},
    **{f"{game}-v0": "board_games" for game in BOARD},
}
# a word in the error for a missing package: the package, and the extra that has it
EXTRAS = {
    "ale_py": ("ale_py", "atari"),
    "Namespace ALE": ("ale_py", "atari"),
    "NoFrameskip": ("ale_py", "atari"),
    "opencv": ("cv2", "atari"),
    "minatar": ("minatar", "minatar"),
    "seaborn": ("seaborn", "minatar"),
    "distributed": ("distributed", "dask"),
    "Box2D": ("Box2D", "examples"),
    "pygame": ("pygame", "examples"),
}
# the extra leaves LunarLander's physics out there: they have no wheel
NO_BOX2D = sys.version_info >= (3, 14)


def known_id(env_id: str) -> str:
    """The id, as in EXAMPLES, of an environment with tuned settings; "" without them.

    CartPole, gymnasium:CartPole and gymnasium:CartPole-v1 are CartPole-v1.
    """
    name = env_id.split(":")[-1]  # without the module that registers it
    for known in EXAMPLES:
        if name in (known, known.rpartition("-v")[0]):
            return known
    return ""


def has_example(env_id: str) -> bool:
    return known_id(env_id) != ""


def example(env_id: str) -> Any:
    """The module of an example. Raises ValueError for an environment without one."""
    known = known_id(env_id)
    if not known:
        raise ValueError(f"env_id is {env_id!r}: expected one of {', '.join(EXAMPLES)}")
    return import_module(f"minidqn.examples.{EXAMPLES[known]}")


def maker_of(env_id: str) -> MakeSpec:
    """The function that makes an environment's runs: its example's, or `untuned`.

    Raises ImportError if env_id, as module:Env-v0, names a module that does not exist,
    and gymnasium.error.NameNotFound if the module registers other environments.
    """
    import_module_of(env_id)
    if not has_example(env_id):
        return partial(untuned, env_id)
    make: MakeSpec = example(env_id).spec
    game = known_id(env_id).removeprefix("MinAtar/").removesuffix("-v0")
    if game in MINATAR + BOARD:  # one example for several games
        return partial(make, game)
    return make


def import_module_of(env_id: str) -> None:
    """Import the module of module:Env-v0, which registers the environment."""
    module, _, name = env_id.rpartition(":")
    if not module or module in sys.modules:
        return
    if module in EXTRAS:  # it registers hundreds, and `advice` knows it
        import_module(module)
        return
    before = set(gym.registry)
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:  # it imports another one
            raise
        file = module.removesuffix(".py")
        raise ModuleNotFoundError(
            f"{error}; type the command in the folder of {file}.py, as {file}:{name}"
        ) from None
    if registered(env_id) is None and not has_example(env_id):
        new = sorted(set(gym.registry) - before)
        raise gym.error.NameNotFound(
            f"Environment `{name}` doesn't exist; {module} registers "
            f"{some_of(new) or 'no environment'}"
        )


def untuned(env_id: str, steps: int = 50_000, seed: int = 0) -> Spec:
    """A run of an environment without tuned settings."""
    config = DQNConfig(
        learning_rate=LinearDecay(1e-3, 0.0, steps),
        epsilon=LinearDecay(1.0, 0.05, steps / 10),
    )
    return Spec(env_id, config, steps, seed)


def tuned_spec(
    env_id: str, steps: int | None = None, seed: int = 0, **changes: Any
) -> Spec:
    """A run with the environment's tuned settings, or `untuned` ones, and `changes`.

    Raises ValueError for an unknown setting, or a value that is out of range.
    """
    make = maker_of(env_id)
    spec = make(seed=seed) if steps is None else make(steps=steps, seed=seed)
    return with_changes(spec, changes)


def with_changes(spec: Spec, changes: dict[str, Any]) -> Spec:
    """A run with some settings replaced.

    If there are priorities, and priority_beta is left at its default, it reaches 1 at
    the end of the run.
    """
    config = changed(spec.config, changes)
    was_set = "priority_beta" in changes
    was_set = was_set or config.priority_beta != DQNConfig.priority_beta
    if config.priority_alpha > 0.0 and not was_set:
        config = replace(config, priority_beta=LinearDecay(0.4, 1.0, spec.steps))
    return replace(spec, config=config)


def tuned(env_id: str, steps: int | None = None, **changes: Any) -> DQNConfig:
    """The tuned settings of an environment, with `changes`, for a run of `steps` steps.

    The decays cover the same share of a run of any length. Raises ValueError for an
    environment without an example, or an unknown setting.
    """
    example(env_id)  # raises
    return tuned_spec(env_id, steps, **changes).config


def advice(error: Exception) -> str:
    """Advice if an environment or its package was not found; "" without any."""
    for word, (package, extra) in EXTRAS.items():
        if word in str(error) and find_spec(package) is None:
            if package == "Box2D" and NO_BOX2D:
                return "; there is no wheel of it for Python 3.14 and newer"
            return f'; pip install "minidqn[{extra}]" installs it'
        if word in str(error) and package == "ale_py":
            return "; the games of ale_py are written ale_py:ALE/Pong-v5"
    return ""
