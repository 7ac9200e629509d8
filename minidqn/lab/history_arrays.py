"""The arrays that a checkpoint holds of a history, and how they become one again.

lab/arrays.py lists them beside those of an agent.
"""

import numpy as np

from minidqn.lab.history import History, Unfinished
from minidqn.nn.layers import Array

HISTORY_ARRAYS = ("history", "updates", "unfinished")
TESTS = "tests"  # the first files have none


def history_arrays(history: History) -> dict[str, Array]:
    """The arrays of a history."""
    return {
        "history": history.rows,
        "updates": history.updates,
        "unfinished": unfinished_rows(history.unfinished),
        TESTS: history.tests.rows,
    }


def unfinished_rows(episodes: list[Unfinished]) -> Array:
    """Episodes as rows of a number and an action, (N, 2).

    The first row of an episode has -1 for an action. Episode 7 with actions 1, 0 and
    episode 8 without any are (7, -1), (7, 1), (7, 0), (8, -1).
    """
    pieces = [np.empty((0, 2), np.int64)]
    for episode in episodes:
        piece = np.empty((len(episode.actions) + 1, 2), np.int64)
        piece[:, 0] = episode.number
        piece[0, 1] = -1
        piece[1:, 1] = episode.actions
        pieces.append(piece)
    return np.concatenate(pieces)


def unfinished_episodes(rows: Array) -> list[Unfinished]:
    """The episodes from their rows, (N, 2)."""
    first_rows = np.flatnonzero(rows[:, 1] == -1)
    episodes = []
    for piece in np.split(rows, first_rows)[1:]:
        number = int(piece[0, 0])
        actions = piece[1:, 1].tolist()
        episodes.append(Unfinished(number, actions))
    return episodes


def update_sums(updates: Array) -> Array:
    """What a file has of updates, as History takes it: (4,).

    The first files have the metrics of each update, (updates, 3).
    """
    if updates.ndim != 2:
        return updates
    return np.array([len(updates), *updates.sum(axis=0)])
