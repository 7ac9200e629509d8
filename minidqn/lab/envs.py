"""One environment, several, or a vector: the same two calls for all of them.

    reset(number)                  begin an episode in each; their numbers start at `number`
    step(actions, over, number)    step each, or reset it where its last episode is `over`

This is NEXT_STEP autoreset, as in Gymnasium's vector environments: a reset takes the place
of a step. Environments that we reset ourselves get a seed for every episode, made from the
run's seed, the purpose and the episode's number. So any episode can be played again without
the others, which is how a run continues in the middle of one; and tests are never played on
the seeds of training. E is the number of environments.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from minidqn.agent import DQN
from minidqn.lab.expect import expect
from minidqn.nn.layers import Array
from minidqn.parts.frames import CurrentStack

TRAIN, TEST = 0, 1  # what an episode is for

Env = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]
# what DQN.observe takes, and the rewards, (E,), which it has to check first
Outcome = tuple[tuple[Any, ...], Sequence[Any]]


def episode_seed(seed: int, purpose: int, number: int) -> int:
    """The seed, 32 bits, of one reset in a run; purpose is TRAIN or TEST."""
    return int(np.random.SeedSequence((seed, purpose, number)).generate_state(1)[0])


def play(
    agent: DQN, env: gym.Env[Any, Any], seed: int, epsilon: float = 0.0
) -> Iterator[tuple[float, bool, Any]]:
    """Play a test episode: yield each reward, if it ended, and the observation.

    The first is (0, False, observation), after the reset.
    """
    stack = None
    if agent.config.frame_stack > 1:
        ring = agent.replay
        stack = CurrentStack(ring.obs_shape, ring.obs.dtype, agent.config.frame_stack)
    obs, info = env.reset(seed=seed)
    seen = obs if stack is None else stack.begin(obs)
    yield 0.0, False, seen
    over = False
    while not over:
        action = agent.act(seen, epsilon, info.get("action_mask"))
        obs, reward, terminated, truncated, info = env.step(action)
        seen = obs if stack is None else stack.add(obs)
        over = terminated or truncated
        yield float(reward), over, seen


class OwnEnvs:
    """Environments that we reset ourselves."""

    def __init__(self, envs: Sequence[gym.Env[Any, Any]], agent: DQN) -> None:
        self.envs, self.seed, self.n_actions = envs, agent.seed, agent.n_actions

    def reset_one(
        self, env: gym.Env[Any, Any], number: int
    ) -> tuple[Any, dict[str, Any]]:
        return env.reset(seed=episode_seed(self.seed, TRAIN, number))

    def reset(self, number: int) -> tuple[Array, Array | None]:
        starts = [self.reset_one(env, number + i) for i, env in enumerate(self.envs)]
        if len(starts) == 1:
            ((obs, info),) = starts
            return obs, info.get("action_mask")
        return np.stack([obs for obs, _ in starts]), self.masks(
            [info for _, info in starts]
        )

    def masks(self, infos: Sequence[dict[str, Any]]) -> Array | None:
        return masks_of([info.get("action_mask") for info in infos], self.n_actions)

    def step(self, actions: Array, over: Sequence[bool], number: int) -> Outcome:
        if len(self.envs) == 1:  # the usual case; it is never `over` here
            action = actions.item()
            obs, reward, terminated, truncated, info = self.envs[0].step(action)
            mask = info.get("action_mask")
            return (action, reward, obs, terminated, truncated, mask), [reward]
        steps: list[Any] = []
        for env, action, is_over in zip(self.envs, actions.tolist(), over, strict=True):
            if is_over:
                obs, info = self.reset_one(env, number)
                steps.append((obs, 0.0, False, False, info))
                number += 1
            else:
                steps.append(env.step(action))
        rewards = [step[1] for step in steps]
        columns: Any = zip(*steps, strict=True)
        all_obs, _, terminated, truncated, infos = columns
        outcome = (
            actions,
            rewards,
            np.stack(all_obs),
            terminated,
            truncated,
            self.masks(infos),
        )
        return outcome, rewards


class VectorEnvs:
    """A vector environment that resets itself: only its first episodes can be seeded."""

    def __init__(self, env: VectorEnv[Any, Any, Any], agent: DQN) -> None:
        self.env, self.seed, self.n_actions = env, agent.seed, agent.n_actions

    def reset(self, number: int) -> tuple[Array, Array | None]:
        obs, info = self.env.reset(seed=episode_seed(self.seed, TRAIN, number))
        return obs, self.masks(info)

    def step(self, actions: Array, over: Sequence[bool], number: int) -> Outcome:
        obs, rewards, terminated, truncated, info = self.env.step(actions)
        outcome = (actions, rewards, obs, terminated, truncated, self.masks(info))
        return outcome, np.asarray(rewards).tolist()

    def masks(self, info: dict[str, Any]) -> Array | None:
        if "action_mask" not in info:
            return None
        masks = list(info["action_mask"])
        given = info.get("_action_mask", [True] * len(masks))  # which of them gave one
        masks = [mask if has else None for mask, has in zip(masks, given, strict=True)]
        return masks_of(masks, self.n_actions)


Envs = OwnEnvs | VectorEnvs


def as_envs(agent: DQN, env: Env) -> Envs:
    """`env` with those two calls. Raises ValueError if it does not fit the agent."""
    envs: Envs
    if not isinstance(env, VectorEnv):
        check_spaces(agent, env.observation_space, env.action_space)
        envs, num_envs = OwnEnvs([env], agent), 1
    else:
        check_spaces(agent, env.single_observation_space, env.single_action_space)
        envs, num_envs = VectorEnvs(env, agent), env.num_envs
        mode = env.metadata.get("autoreset_mode")
        if isinstance(env, SyncVectorEnv) and mode == AutoresetMode.DISABLED:
            envs, mode = OwnEnvs(env.envs, agent), AutoresetMode.NEXT_STEP
        expected = f"{AutoresetMode.NEXT_STEP}, or a SyncVectorEnv with {AutoresetMode.DISABLED}"
        expect(mode == AutoresetMode.NEXT_STEP, f"autoreset mode {mode}", expected)
    ours = agent.replay.num_envs
    expect(num_envs == ours, f"{num_envs} environments", f"num_envs={ours}")
    return envs


def check_spaces(agent: DQN, *spaces: Any) -> None:
    """Raise ValueError unless these are the spaces that the agent was made for."""
    made_for = agent.observation_space, agent.action_space
    obs_space, actions = spaces
    # two Discrete spaces are unequal if their dtypes differ, but that does not matter here
    same_actions = isinstance(actions, Discrete) and (actions.n, actions.start) == (
        agent.n_actions,
        0,
    )
    same = obs_space == agent.observation_space and same_actions
    expect(same, f"the environment's spaces are {spaces}", f"the agent's, {made_for}")


def masks_of(masks: Sequence[Any], n_actions: int) -> Array | None:
    """The action masks of several environments, (E, A); None if none of them gave one."""
    if all(mask is None for mask in masks):
        return None
    return np.stack([np.ones(n_actions) if mask is None else mask for mask in masks])
