"""One environment, several, or a vector environment: the same two calls for all.

    reset(number)                  begin an episode in each; numbers start at `number`
    step(actions, over, number)    step each, or reset it where its episode is `over`

This is NEXT_STEP autoreset, as in Gymnasium's vector environments: a reset takes the
place of a step. Environments that we reset ourselves get a seed for every episode. It
is made from the run's seed, the purpose (training or test) and the episode's number. So
any episode can be played again without the others: in this way, a run continues in the
middle of an episode. And no test is played with a seed of training.

Letters: A actions, E environments.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from minidqn.agent import DQN
from minidqn.experience import step as check_step
from minidqn.lab.first_masks import FirstMasks
from minidqn.lab.in_use import check_free, members
from minidqn.lab.returned import reset_result, step_result
from minidqn.nn.layers import Array
from minidqn.parts.frames import CurrentStack

# the purpose of an episode
TRAIN = 0
TEST = 1

# spaces of observations that making.py makes vectors of: FrozenLake's, Blackjack's
FLATTENED = (Discrete, MultiBinary, MultiDiscrete, Tuple)

Env = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]
# the arguments of DQN.observe, and the rewards, (E,), for the history
Outcome = tuple[tuple[Any, ...], Sequence[Any]]


def episode_seed(seed: int, purpose: int, number: int) -> int:
    """The seed, 32 bits, of one reset in a run; purpose is TRAIN or TEST."""
    return int(np.random.SeedSequence((seed, purpose, number)).generate_state(1)[0])


def play(
    agent: DQN, env: gym.Env[Any, Any], seed: int | None, epsilon: float = 0.0
) -> Iterator[tuple[float, bool, Any]]:
    """Play a test episode: yield each reward, if it ended, and the observation.

    The first is (0, False, observation), after the reset. Raises ValueError if an
    agent is being trained in `env`.
    """
    check_free(env)
    stack = None
    if agent.config.frame_stack > 1:
        ring = agent.replay
        stack = CurrentStack(ring.obs_shape, ring.dtype, agent.config.frame_stack)
    obs, info = reset_result(env.reset(seed=seed))
    seen = obs if stack is None else stack.begin(obs)
    yield 0.0, False, seen
    over = False
    while not over:
        action = agent.act(seen, epsilon, info.get("action_mask"))
        obs, reward, terminated, truncated, info = step_result(env.step(action))
        check_step(agent.n_actions, action, reward, terminated, truncated)
        seen = obs if stack is None else stack.add(obs)
        over = terminated or truncated
        yield float(reward), over, seen


class OwnEnvs:
    """Environments that we reset ourselves.

    Without `reseed`, only the first reset of each gets a seed.
    """

    def __init__(
        self, envs: Sequence[gym.Env[Any, Any]], agent: DQN, reseed: bool
    ) -> None:
        self.envs = envs
        self.seed = agent.seed
        self.n_actions = agent.n_actions
        self.reseed = reseed
        self.seeded: set[int] = set()  # environments that have got a seed, by id
        self.first = FirstMasks(agent.n_actions, envs)

    def reset_one(
        self, env: gym.Env[Any, Any], number: int
    ) -> tuple[Any, dict[str, Any]]:
        if id(env) in self.seeded and not self.reseed:
            return reset_result(env.reset())
        self.seeded.add(id(env))
        seed = episode_seed(self.seed, TRAIN, number)
        return reset_result(env.reset(seed=seed))

    def reset(self, number: int) -> tuple[Any, Any]:
        starts = []
        infos = []
        for i, env in enumerate(self.envs):
            obs, info = self.reset_one(env, number + i)
            starts.append(obs)
            infos.append(info)
        if self.first.looking:
            self.first.look_at_reset(infos)
        if len(starts) == 1:
            return starts[0], infos[0].get("action_mask")
        return np.stack(starts), self.masks(infos)

    def masks(self, infos: Sequence[dict[str, Any]]) -> Array | None:
        return masks_of([info.get("action_mask") for info in infos], self.n_actions)

    def step(self, actions: Array, over: Sequence[bool], number: int) -> Outcome:
        if len(self.envs) == 1:  # the usual case; it is never `over` here
            action = actions.item()
            result = step_result(self.envs[0].step(action))
            obs, reward, terminated, truncated, info = result
            mask = info.get("action_mask")
            if self.first.looking:
                self.first.look_at_step([info], terminated, truncated)
            return (action, reward, obs, terminated, truncated, mask), [reward]
        steps = []
        for env, action, is_over in zip(self.envs, actions.tolist(), over, strict=True):
            if is_over:
                obs, info = self.reset_one(env, number)
                steps.append((obs, 0.0, False, False, info))
                number += 1
            else:
                steps.append(step_result(env.step(action)))
        all_obs, rewards, terminated, truncated, infos = zip(*steps, strict=True)
        if self.first.looking:
            self.first.look_at_step(infos, terminated, truncated)
        masks = self.masks(infos)
        outcome = (actions, rewards, np.stack(all_obs), terminated, truncated, masks)
        return outcome, list(rewards)


class VectorEnvs:
    """A vector environment that resets itself: only first episodes are seeded."""

    def __init__(self, env: VectorEnv[Any, Any, Any], agent: DQN) -> None:
        self.env = env
        self.seed = agent.seed
        self.n_actions = agent.n_actions
        self.first = FirstMasks(agent.n_actions)

    def reset(self, number: int) -> tuple[Any, Any]:
        seed = episode_seed(self.seed, TRAIN, number)
        obs, info = reset_result(self.env.reset(seed=seed))
        if self.first.looking:
            self.first.look_at_reset([info])
        return obs, self.masks(info)

    def step(self, actions: Array, over: Sequence[bool], number: int) -> Outcome:
        result = step_result(self.env.step(actions))
        obs, rewards, terminated, truncated, info = result
        if self.first.looking:
            self.first.look_at_step([info], terminated, truncated)
        masks = self.masks(info)
        outcome = (actions, rewards, obs, terminated, truncated, masks)
        return outcome, np.asarray(rewards).tolist()

    def masks(self, info: dict[str, Any]) -> Array | None:
        if "action_mask" not in info:
            return None
        masks = list(info["action_mask"])
        # which of the environments gave a mask
        given = info.get("_action_mask", [True] * len(masks))
        for i, has_mask in enumerate(given):
            if not has_mask:
                masks[i] = None
        return masks_of(masks, self.n_actions)


Envs = OwnEnvs | VectorEnvs


def as_envs(agent: DQN, env: Env, reseed: bool = True) -> Envs:
    """`env` with these two calls. TypeError or ValueError if it does not fit."""
    if not isinstance(env, gym.Env | VectorEnv):
        raise TypeError(f"env is {env!r}: expected an environment, or a vector of them")
    check_free(env)
    if not isinstance(env, VectorEnv):
        check_spaces(agent, env.observation_space, env.action_space)
        check_num_envs(agent, 1)
        return OwnEnvs([env], agent, reseed)
    check_spaces(agent, env.single_observation_space, env.single_action_space)
    check_num_envs(agent, env.num_envs)
    inside = members(env)
    if len({id(each) for each in inside}) < len(inside):
        raise ValueError(
            f"{env} has an environment several times: expected functions that each "
            "make a new one"
        )
    mode = env.metadata.get("autoreset_mode")
    if isinstance(env, SyncVectorEnv) and mode == AutoresetMode.DISABLED:
        return OwnEnvs(env.envs, agent, reseed)
    if mode != AutoresetMode.NEXT_STEP:
        raise ValueError(
            f"autoreset mode {mode}: expected {AutoresetMode.NEXT_STEP}, or a "
            f"SyncVectorEnv with {AutoresetMode.DISABLED}"
        )
    return VectorEnvs(env, agent)


def check_num_envs(agent: DQN, num_envs: int) -> None:
    ours = agent.replay.num_envs
    if num_envs != ours:
        raise ValueError(
            f"{num_envs} environments: expected num_envs={ours}, as the agent was made"
        )


def check_spaces(agent: DQN, obs_space: Any, action_space: Any) -> None:
    """Raise ValueError unless these are the spaces that the agent was made for."""
    # two Discrete spaces are unequal if their dtypes differ, but that does not matter
    same_actions = (
        isinstance(action_space, Discrete)
        and action_space.start == 0
        and action_space.n == agent.n_actions
    )
    if obs_space != agent.observation_space or not same_actions:
        hint = ""
        if isinstance(obs_space, FLATTENED):
            hint = "; tuned_spec(env_id).make() makes it as the command line does"
        raise ValueError(
            f"the environment's spaces are {(obs_space, action_space)}: expected the "
            f"agent's, {(agent.observation_space, agent.action_space)}{hint}"
        )


def masks_of(masks: Sequence[Any], n_actions: int) -> Array | None:
    """Action masks of several environments, (E, A); None if none of them gave one."""
    if all(mask is None for mask in masks):
        return None
    return np.stack([np.ones(n_actions) if mask is None else mask for mask in masks])
