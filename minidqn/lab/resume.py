"""How a run continues exactly where it was stopped, even in the middle of an episode."""

import warnings

import numpy as np

from minidqn.agent import DQN
from minidqn.lab.envs import Envs, VectorEnvs
from minidqn.lab.history import History


def resume(agent: DQN, envs: Envs, history: History) -> list[bool]:
    """Replay the unfinished episodes up to where they were stopped; return which are over, (E,).

    All are over, so that new ones begin, if there is nothing to resume, or (with a warning)
    if an environment does not repeat its rewards and its last observation.
    """
    replay, unfinished = agent.replay, history.unfinished
    anew = [True] * replay.num_envs
    numbers = [episode.number for episode in unfinished]
    if (
        replay.over
        or len(numbers) != replay.num_envs
        or max(numbers) != agent.resets - 1
    ):
        return anew
    if isinstance(envs, VectorEnvs):
        exactly = "an exact resume needs a SyncVectorEnv with AutoresetMode.DISABLED"
        _warn(
            f"the unfinished episodes of {replay.num_envs} environments start again: {exactly}"
        )
        return anew
    over: list[bool] = replay.ended.tolist()
    for i, (env, episode) in enumerate(zip(envs.envs, unfinished, strict=True)):
        if not over[i]:
            obs, _ = envs.reset_one(env, episode.number)
            episode.episode_return, rewards, ended = 0.0, [], False
            for action in episode.actions:
                if not ended:
                    obs, reward, terminated, truncated, _ = env.step(action)
                    episode.episode_return += float(reward)
                    rewards.append(float(reward))
                    ended = bool(terminated or truncated)
            head = replay.head[i]
            steps = min(len(rewards), replay.count, replay.slots - 1)  # that are stored
            stored = replay.reward[
                np.arange(replay.count - steps, replay.count) % replay.slots, i
            ]
            same = not ended and np.array_equal(np.asarray(obs, head.dtype), head)
            same &= np.array_equal(
                np.array(rewards[len(rewards) - steps :], np.float32), stored
            )
            if not same:
                with np.printoptions(threshold=20, edgeitems=2):
                    _warn(
                        f"this run is not resumed exactly: after reset {episode.number} and "
                        f"{len(episode.actions)} actions {env} returned {obs}, where it was {head}."
                        " Is it another version, or not deterministic? The unfinished episodes "
                        "start again"
                    )
                return anew
    return over


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=4)  # at the call of train
