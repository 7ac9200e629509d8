"""The agent that a snapshot describes: made from the chosen settings, and filled.

Nothing is changed in it afterwards: the replay buffer has its new size from the start,
and the stored steps are copied to where they belong.

Agents are also pickled and copied by way of a snapshot, because their arrays are views
of each other.
"""

from typing import Any

from gymnasium.spaces import Discrete

from minidqn.agent import DQN
from minidqn.assembly import Build
from minidqn.batch import BRIDGE
from minidqn.lab import soundness
from minidqn.lab.arrays import (
    NOISE_ARRAYS,
    PRIORITY_ARRAYS,
    Stored,
    agent_arrays,
    fill,
    fill_ring,
    make_ring,
    policy_arrays,
)
from minidqn.lab.header import Header, Progress, layout
from minidqn.lab.history import History
from minidqn.lab.history_arrays import (
    HISTORY_ARRAYS,
    TESTS,
    unfinished_episodes,
    update_sums,
)
from minidqn.lab.scores import Scores
from minidqn.lab.settings import own_schedules
from minidqn.lab.snapshot import Choice, Snapshot, choose, examine, take
from minidqn.lab.soundness import CheckpointError
from minidqn.nn.layers import Array
from minidqn.parts.prioritized import PrioritizedSampler
from minidqn.replay import Replay


def restore(snapshot: Snapshot, choice: Choice) -> tuple[DQN, History]:
    """The agent and its history. With a policy alone, a new run begins at step 0.

    Raises CheckpointError for arrays that no agent can have.
    """
    header = snapshot.header
    arrays = snapshot.arrays
    actions = Discrete(header.n_actions)
    agent = snapshot.agent(
        snapshot.space,
        actions,
        choice.config,
        choice.seed,
        choice.num_envs,
        snapshot.network,
    )
    found = layout(agent.online.layers)
    if header.layers != found:
        raise CheckpointError(f"has the layers {header.layers}: expected {found}")
    if header.progress is None:
        for name, array in policy_arrays(agent).items():
            fill(name, array, arrays[name])
        soundness.check_policy(agent, policy_arrays(agent))
        agent.target.params[:] = agent.online.params
        agent.from_policy = True
        return agent, History()
    set_progress(agent, header, header.progress)
    fill_agent(agent, header, header.progress, arrays)
    rows, updates, unfinished = [arrays[name][...] for name in HISTORY_ARRAYS]
    tests = arrays[TESTS][...] if TESTS in arrays else Scores().rows
    updates = update_sums(updates)
    soundness.check_policy(agent, agent_arrays(agent))
    soundness.check_run(agent)
    soundness.check_history(agent, rows, updates, unfinished)
    soundness.check_tests(tests)
    return agent, History(rows, updates, unfinished_episodes(unfinished), tests)


def set_progress(agent: DQN, header: Header, progress: Progress) -> None:
    """Set the counters and the random generator to those of the run."""
    agent.steps = progress.steps
    agent.updates = progress.updates
    agent.episodes = progress.episodes
    agent.adam.t = progress.adam_t
    agent.last_metrics = progress.last_metrics
    agent.rng.bit_generator.state = progress.rng
    # With other settings, these steps would have had another number of updates. The
    # number of updates due stays the same: so there is no burst of updates, no pause.
    most = (agent.steps + 1) * agent.config.gradient_steps  # see read_header
    due = min(header.updates_due, most)
    asked_for = agent.config.updates_by(agent.steps)
    agent.updates_skipped = asked_for - agent.updates - due


def fill_agent(agent: DQN, header: Header, progress: Progress, arrays: Stored) -> None:
    """Copy the arrays of a run into the agent's, and set values that depend on them."""
    ring = agent.replay
    if "replay_obs" in arrays:
        make_ring(ring, with_masks="replay_mask" in arrays)
    other_size = ring.slots != header.slots
    ring.count = header.stored if other_size else progress.replay_count
    oldest = (progress.replay_count - header.stored) % header.slots
    left_out = as_new(agent, header)
    for name, array in agent_arrays(agent).items():
        if name in left_out:
            continue
        if other_size and name.startswith("replay_"):
            fill_ring(name, array, arrays[name], oldest, header.stored + 1)
        else:
            fill(name, array, arrays[name])
    if ring.made:
        complete(agent, other_size)
    ring.over = is_over(ring, progress)


def complete(agent: DQN, other_size: bool) -> None:
    """Set what follows from the steps in the ring, of `other_size` than in the file."""
    ring = agent.replay
    if other_size:
        ring.kind[ring.count] = BRIDGE  # the head's kind was that of an older step
    if isinstance(agent.sampler, PrioritizedSampler):
        agent.sampler.restore()


def as_new(agent: DQN, header: Header) -> set[str]:
    """The names of arrays that stay as they are in a new agent.

    If epsilon_hold has changed, no action is being repeated. If param_noise has, new
    noise is drawn. Before the first step, there are no priorities.
    """
    names = set()
    if agent.config.epsilon_hold != header.config.epsilon_hold:
        names.add("repeat")
    if agent.config.param_noise != header.config.param_noise:
        names.update(NOISE_ARRAYS)
    if header.stored == 0:
        names.update(PRIORITY_ARRAYS)
    return names


def is_over(ring: Replay, progress: Progress) -> bool:
    """Whether no episode is going on."""
    if ring.count > 0:
        return bool(ring.ended.all())
    if progress.over is not None:
        return progress.over
    # In the oldest files, the first mask says whether there is a first observation.
    return ring.mask.array is None or not ring.mask.array[0].any()


def reduced(agent: DQN) -> tuple[Any, ...]:
    """The function and arguments with which pickle and copy rebuild an agent."""
    text, arrays = take(agent, History())
    schedules = own_schedules(agent.config)
    return rebuilt, (text, arrays, agent.network, schedules, type(agent))


def rebuilt(
    text: str,
    arrays: dict[str, Array],
    network: Build | None,
    schedules: dict[str, Any],
    kind: type[DQN],
) -> DQN:
    try:
        snapshot = examine(text, arrays, network, schedules, kind)
        agent, _ = restore(snapshot, choose(snapshot, schedules))
    except CheckpointError as error:
        raise CheckpointError(f"the agent {error}") from None
    return agent


# a method of DQN, so that your own classes inherit it; it is here because the lesson
# knows nothing of the lab
DQN.__reduce__ = reduced  # type: ignore[method-assign, assignment]  # object takes any
