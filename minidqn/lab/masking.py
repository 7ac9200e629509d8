"""Masks inside the observation, as PettingZoo and RLlib have them.

There an observation is a dict, with the mask beside what is seen:

    {"observation": array([...]), "action_mask": array([1, 0, 1])}

An agent of minidqn sees one array, and looks for the mask in info["action_mask"].
"""

from typing import Any

import gymnasium as gym
from gymnasium.spaces import Dict

from minidqn import checks
from minidqn.nn.layers import Array

Parts = dict[str, Any]


class MaskToInfo(gym.Wrapper[Any, int, Parts, int]):
    """Moves the action mask from the observation, a dict, to info["action_mask"].

    If one other entry is left, it is the observation. Several stay a dict, which
    gymnasium.wrappers.FlattenObservation makes a vector of.

    `mask` is the mask's name in the observation. Raises TypeError or ValueError if the
    observation space has no mask of that name, with a number for each action.
    """

    def __init__(self, env: gym.Env[Parts, int], mask: str = "action_mask") -> None:
        if not isinstance(env, gym.Env):
            raise TypeError(
                f"env is {env!r}: expected one environment; in a vector, wrap each of "
                "them, in the functions that make them"
            )
        check_mask(env.observation_space, env.action_space, mask)
        super().__init__(env)
        self.mask = mask
        spaces: Any = env.observation_space
        others = {name: space for name, space in spaces.items() if name != mask}
        self.only = next(iter(others)) if len(others) == 1 else None
        self.observation_space = (
            Dict(others) if self.only is None else others[self.only]
        )

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        parts, info = self.env.reset(**options)
        return self.seen(parts), info | {"action_mask": self.mask_of(parts)}

    def step(self, action: int) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        parts, reward, terminated, truncated, info = self.env.step(action)
        info = info | {"action_mask": self.mask_of(parts)}
        return self.seen(parts), reward, terminated, truncated, info

    def mask_of(self, parts: Parts) -> Array:
        """Which actions are allowed: (A,), 0 or 1 for each."""
        mask: Array = parts[self.mask]
        return mask

    def seen(self, parts: Parts) -> Any:
        """What is left without the mask."""
        if self.only is not None:
            return parts[self.only]
        return {name: part for name, part in parts.items() if name != self.mask}


def check_mask(observation_space: Any, action_space: Any, mask: str) -> None:
    """Raise TypeError or ValueError unless there is a mask, and something beside it."""
    found = f"observation space {observation_space}"
    if not isinstance(observation_space, Dict):
        raise TypeError(
            f"{found}: expected a Dict with a mask in it: MaskToInfo comes before "
            "FlattenObservation; an environment that gives its mask in "
            'info["action_mask"], or has none, needs no MaskToInfo'
        )
    spaces = observation_space.spaces
    if mask not in spaces:
        raise ValueError(
            f"{found} has the entries {', '.join(spaces)}: expected {mask!r} among "
            "them; MaskToInfo(env, mask=NAME) takes a mask of another name"
        )
    if len(spaces) == 1:
        raise ValueError(f"{found}: expected something to observe beside the mask")
    checks.discrete(action_space)
    shape = (int(action_space.n),)
    if spaces[mask].shape != shape:
        raise ValueError(
            f"the mask {mask!r} has shape {spaces[mask].shape}: expected {shape}, a 0 "
            f"or 1 for each action of {action_space}; gymnasium.wrappers."
            "TransformObservation changes its shape"
        )
