"""Whether the first infos of a run have their action masks where minidqn looks.

A mask that is missing is no error: then every action is allowed. So a mask that is
given only after a reset, or under another name, would be ignored in silence. The infos
of the first reset and of the first step are looked at, and no later ones.
"""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import gymnasium as gym
import numpy as np

MASK = "action_mask"
ALLOWED = "where there is none, every action counts as allowed"
EXPECTED = f'expected info["action_mask"] after reset and after each step; {ALLOWED}'
Infos = Sequence[dict[str, Any]]  # one for each environment, or one of a vector


class FirstMasks:
    """Looks at the first reset and the first step, and warns at most once."""

    def __init__(self, n_actions: int, envs: Sequence[gym.Env[Any, Any]] = ()) -> None:
        self.n_actions = n_actions
        self.envs = envs
        self.after_reset: bool | None = None  # whether each had a mask, if it is known
        self.looking = True

    def look_at_reset(self, infos: Infos) -> None:
        self.after_reset = all(has_mask(info) for info in infos)
        other = self.other_name(infos)
        if other and not self.after_reset:
            self.say(f"the environment has {other}: {EXPECTED}")

    def look_at_step(self, infos: Infos, terminated: Any, truncated: Any) -> None:
        if some_ended(terminated, truncated):  # a mask may be missing: the next tells
            return
        self.looking = False
        other = self.other_name(infos)
        masks = all(has_mask(info) for info in infos)
        if self.after_reset and not masks:
            self.say(f"reset gave a mask, but the first step gave none: {EXPECTED}")
        elif masks and self.after_reset is False:
            self.say(f"the first step gave a mask, but reset gave none: {EXPECTED}")
        elif other and not masks:
            self.say(f"the environment has {other}: {EXPECTED}")

    def other_name(self, infos: Infos) -> str:
        """Where else there may be a mask; "" if nowhere."""
        for info in infos:
            for name, value in info.items():
                if is_like_a_mask(name, value, self.n_actions):
                    return f'the mask "{name}"'
        for env in self.envs:
            if env.has_wrapper_attr("action_masks"):  # as Stable-Baselines3 has it
                return "a method action_masks"
        return ""

    def say(self, text: str) -> None:
        self.looking = False
        warnings.warn(text, RuntimeWarning, stacklevel=7)  # at the call of train


def look_at_recorded(infos: dict[str, Any], n_actions: int) -> None:
    """Warn if a recorded episode has masks, but under another name."""
    other = FirstMasks(n_actions).other_name([infos])
    if other and not has_mask(infos):
        text = f'the episodes have {other}: expected infos["action_mask"]; {ALLOWED}'
        warnings.warn(text, RuntimeWarning, stacklevel=3)  # where they are given


def some_ended(terminated: Any, truncated: Any) -> bool:
    """Whether an episode has ended. Flags that are none are refused later."""
    with suppress(ValueError):
        return bool(np.any(terminated) or np.any(truncated))
    return True


def has_mask(info: dict[str, Any]) -> bool:
    return info.get(MASK) is not None


def is_like_a_mask(name: Any, value: Any, n_actions: int) -> bool:
    """Whether an entry of info is called a mask, and has a number for each action."""
    text = str(name).lower()
    # a vector's "_x" says which environments gave x
    if "mask" not in text or text == MASK or text.startswith("_"):
        return False
    with suppress(ValueError):  # its parts have several shapes
        return bool(np.shape(value)[-1:] == (n_actions,))
    return False
