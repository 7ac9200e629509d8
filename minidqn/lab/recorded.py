"""Learning from recorded episodes: a data set, demonstrations, a log.

Q-learning does not ask who chose an action. So recorded steps go into the replay buffer
as own steps do, and updates draw from both (Lin 1992 calls this teaching).

    observe_episodes(agent, episodes)    store them
    learn_offline(agent, updates)        learn from what is stored, without a step
    train(agent, env, steps)             go on in the environment

Counters. A recorded step counts in agent.steps, as an own one does: schedules of the
step have advanced by it. But it asks for no update, and the updates of `learn_offline`
are beside those that steps ask for. Otherwise, the first own step after 10,000 recorded
ones would have 10,000 updates, and 10,000 updates offline would leave the next 10,000
steps without one.

An episode may be any object with the attributes of Episode, such as Minari's
EpisodeData: https://minari.farama.org

Letters: T steps of an episode, A actions.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from minidqn import experience
from minidqn.agent import DQN
from minidqn.lab.first_masks import look_at_recorded
from minidqn.lab.history import History
from minidqn.lab.progress import progress_bar
from minidqn.lab.scale import look_at_scale
from minidqn.lab.signals import signals_wait


class Episode(NamedTuple):
    """A recorded episode of T steps."""

    observations: Any  # (T + 1, ...): what the reset returned, then each step
    actions: Any  # (T,)
    rewards: Any  # (T,)
    terminations: Any  # (T,), only the last one may be True
    truncations: Any  # (T,), likewise
    infos: Any = None  # a dict; its "action_mask", (T + 1, A), is used if it is there


def observe_episodes(agent: DQN, episodes: Iterable[Any]) -> None:
    """Store recorded episodes in the replay buffer, as if the agent had played them.

    `episodes` are objects with the attributes of Episode. One that neither terminates
    nor is truncated counts as truncated. Raises ValueError or TypeError, which name the
    episode, before anything is stored: if values do not fit, if there are more than the
    replay buffer holds, or if the agent has several environments.
    """
    num_envs = agent.replay.num_envs
    if num_envs != 1:
        raise ValueError(f"the agent has num_envs={num_envs}: expected 1")
    checked = []
    for number, episode in enumerate(episodes):
        try:
            checked.append(checked_episode(agent, episode))
        except (TypeError, ValueError) as error:
            raise type(error)(f"episode {number}: {error}") from None
        if number == 0:
            look_at_recorded(infos_of(episode), agent.n_actions)
    check_room(agent, checked)

    look = look_at_scale(agent)
    due = agent.updates_due
    try:
        for episode in checked:
            observe_episode(agent, episode)
    finally:  # these steps ask for no updates
        agent.updates_skipped += agent.updates_due - due
    look(agent, History())


def learn_offline(agent: DQN, updates: int, *, progress: bool = True) -> None:
    """Make `updates` updates from what is stored, without a step in an environment.

    Ctrl-C comes at the end of an update. Raises ValueError while fewer than batch_size
    slots are filled.
    """
    if not updates >= 1:  # not a number is refused, too
        raise ValueError(f"updates is {updates}: expected 1 or more")
    with (
        signals_wait() as signals,
        threadpool_limits(1, user_api="blas"),  # threads slow small products down
        progress_bar(progress, "updates", updates) as bar,
    ):
        for _ in range(updates):
            agent.learn()
            agent.updates_skipped -= 1  # it is beside those that steps ask for
            bar.update()
            if signals.pending:
                signals.deliver()


def observe_episode(agent: DQN, episode: Episode) -> None:
    """Store one episode, which has been checked."""
    observations = episode.observations
    masks = episode.infos["action_mask"]
    agent.begin(observations[0], masks[0])
    for t, action in enumerate(episode.actions):
        agent.observe(
            action,
            episode.rewards[t],
            observations[t + 1],
            episode.terminations[t],
            episode.truncations[t],
            masks[t + 1],
        )


def checked_episode(agent: DQN, episode: Any) -> Episode:
    """The episode with lists of Python's numbers, and a mask or None for each state.

    Raises ValueError or TypeError unless each of its steps can be stored.
    """
    steps = np.size(episode.rewards)  # T
    if steps == 0:
        raise ValueError("it has no rewards: expected 1 step or more")
    actions = column(episode, "actions", steps)
    rewards = column(episode, "rewards", steps)
    terminations = column(episode, "terminations", steps)
    truncations = column(episode, "truncations", steps)
    observations = checked_observations(agent, episode, steps)

    for t in range(steps):
        result = (actions[t], rewards[t], terminations[t], truncations[t])
        try:
            experience.step(agent.n_actions, *result)
        except (TypeError, ValueError) as error:
            raise type(error)(f"step {t + 1}: {error}") from None
        if t + 1 < steps and (terminations[t] or truncations[t]):
            raise ValueError(
                f"it ends in step {t + 1} of {steps}: expected an end in the last one "
                "only, so split it there"
            )
    if not terminations[-1]:
        truncations[-1] = True  # the recording ends here

    masks = checked_masks(agent, episode, terminations)
    infos = {"action_mask": masks}
    return Episode(observations, actions, rewards, terminations, truncations, infos)


def column(episode: Any, name: str, steps: int) -> list[Any]:
    """One number for each step. Raises ValueError for another shape."""
    values = experience.as_array(name, getattr(episode, name), "numbers", steps)
    if values.shape != (steps,):
        raise ValueError(
            f"{name} has shape {values.shape}: expected ({steps},), one for each reward"
        )
    numbers: list[Any] = values.tolist()
    return numbers


def checked_observations(agent: DQN, episode: Any, steps: int) -> Any:
    """The observations, (T + 1, ...). Raises ValueError or TypeError."""
    ring = agent.replay
    x = experience.observation(episode.observations, ring.obs_shape, ring.dtype)
    expected = (steps + 1, *ring.obs_shape)
    if x.shape != expected:
        raise ValueError(
            f"observations has shape {x.shape}: expected {expected}, what the reset "
            "returned, then each step"
        )
    return x


def checked_masks(
    agent: DQN, episode: Any, terminations: Sequence[bool]
) -> Sequence[Any]:
    """A mask for each observation, (T + 1, A); None for each if there are no masks."""
    masks = infos_of(episode).get("action_mask")
    if masks is None:
        return [None] * (len(terminations) + 1)
    over = [False, *terminations]  # then a mask may allow nothing
    shape = (len(over), agent.n_actions)
    checked: Any = experience.action_mask(masks, shape, one_for_all=False, over=over)
    return list(checked)


def infos_of(episode: Any) -> dict[str, Any]:
    infos: dict[str, Any] = getattr(episode, "infos", None) or {}
    return infos


def check_room(agent: DQN, episodes: Sequence[Episode]) -> None:
    """Raise ValueError if there is nothing to store, or too much."""
    if len(episodes) == 0:
        raise ValueError(
            "there are no episodes: expected some (an iterator gives them only once)"
        )
    slots = sum(len(episode.observations) for episode in episodes)
    size = agent.config.buffer_size
    if slots > size:
        raise ValueError(
            f"buffer_size is {size}: expected {slots} or more, for the recorded steps "
            "and an end of each episode"
        )
