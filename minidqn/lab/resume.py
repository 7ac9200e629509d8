"""How a run continues exactly where it was stopped, even in the middle of an episode.

Each unfinished episode is played again: it is reset with its own seed, and its actions
are taken once more. The results must be those that the replay buffer has stored.
"""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np

from minidqn.agent import DQN
from minidqn.lab.envs import Envs, VectorEnvs
from minidqn.lab.history import LONG, History, Unfinished
from minidqn.lab.returned import step_result
from minidqn.nn.layers import Array
from minidqn.replay import Replay


def resume(agent: DQN, envs: Envs, history: History) -> list[bool]:
    """Play the unfinished episodes up to where they were; return which are over, (E,).

    If there is nothing to resume, all are over, and new ones begin. The same happens,
    with a warning, if an environment gives other rewards or another last observation.
    """
    replay = agent.replay
    all_over = [True] * replay.num_envs
    if not is_of(history, agent):
        return all_over
    if isinstance(envs, VectorEnvs):
        warn(
            f"the unfinished episodes of {replay.num_envs} environments start again: "
            "an exact resume needs a SyncVectorEnv with AutoresetMode.DISABLED"
        )
        return all_over
    if not envs.reseed:
        warn(
            "the unfinished episode starts again: an exact resume needs reseed=True, "
            "with which each episode has a seed of its own"
        )
        return all_over
    over: list[bool] = replay.ended.tolist()
    for i, (env, episode) in enumerate(zip(envs.envs, history.unfinished, strict=True)):
        if over[i]:
            continue
        obs, _ = envs.reset_one(env, episode.number)
        last, rewards, ended = play_again(env, obs, episode)
        if type(agent).observe is not DQN.observe:  # yours may store other rewards
            rewards = []
        differs = difference(replay, i, last, rewards)
        if ended:
            differs = f"ended the episode in step {len(rewards)} of it"
        if differs:
            warn(
                f"this run is not resumed exactly: after reset {episode.number} "
                f"and {len(episode.actions)} actions {env} {differs}. Is it another "
                "version, or not deterministic? The unfinished episodes start again"
            )
            return all_over
    return over


def is_of(history: History, agent: DQN) -> bool:
    """Whether the history has the agent's unfinished episodes."""
    numbers = [episode.number for episode in history.unfinished]
    if agent.replay.over or len(numbers) != agent.replay.num_envs:
        return False
    return max(numbers) == agent.resets - 1


def play_again(
    env: gym.Env[Any, Any], obs: Any, episode: Unfinished
) -> tuple[Any, list[float], bool]:
    """Take its actions again; return the last observation, the rewards, if it ended."""
    episode.episode_return = 0.0
    rewards: list[float] = []
    for action in episode.actions:
        obs, reward, terminated, truncated, _ = step_result(env.step(action))
        episode.episode_return += float(reward)
        rewards.append(float(reward))
        if len(rewards) % LONG == 0:  # it has a row for these
            episode.episode_return = 0.0
        if terminated or truncated:
            return obs, rewards, True
    return obs, rewards, False


def difference(replay: Replay, i: int, obs: Any, rewards: list[float]) -> str:
    """What the ring has stored otherwise in environment i; "" if it is the same."""
    head: Array = replay.head[i]
    if not np.array_equal(np.asarray(obs, head.dtype), head):
        with np.printoptions(threshold=20, edgeitems=2):
            return f"returned {obs}, where it was {head}"
    stored = min(len(rewards), replay.count, replay.slots - 1)
    slots = np.arange(replay.count - stored, replay.count) % replay.slots
    before = replay.reward[slots, i]
    newest = np.array(rewards[len(rewards) - stored :], np.float32)
    other = np.flatnonzero(newest != before)
    if len(other) == 0:
        return ""
    at = other[0]
    step = len(rewards) - stored + at + 1
    return (
        f"gave the reward {newest[at]:g} in step {step} of the episode, where it was "
        f"{before[at]:g}"
    )


def warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=4)  # at the call of train
