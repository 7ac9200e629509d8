"""Recorded episodes: stored as own steps are, learned from alone, then gone on from."""

import signal
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from minidqn import (
    DQN,
    DQNConfig,
    LinearDecay,
    evaluate,
    load,
    load_run,
    save,
    train,
)
from minidqn.batch import BRIDGE, STEP, TERMINATED, TRUNCATED
from minidqn.lab.arrays import agent_arrays
from minidqn.lab.recorded import Episode, learn_offline, observe_episodes

from .test_training import agent_for, chain

STATES = np.eye(3, dtype=np.float32)  # what is seen in the states of `chain`


def short_episode() -> Episode:
    """From state 1 on: stay, go on, go on to the end."""
    return Episode(
        observations=STATES[[1, 1, 2, 0]],
        actions=[0, 1, 1],
        rewards=[0.0, 0.0, 1.0],
        terminations=[False, False, True],
        truncations=[False, False, False],
    )


def cut_episode() -> Episode:
    """From state 0 on: two steps, then the recording ends."""
    return Episode(
        observations=STATES[[0, 1, 1]],
        actions=[1, 0],
        rewards=[0.0, 0.0],
        terminations=[False, False],
        truncations=[False, False],
    )


def record(
    env: gym.Env[Any, Any], episodes: int, randomness: float = 0.7
) -> list[Episode]:
    """Episodes of CartPole: push the cart to where the pole falls, or at random."""
    rng = np.random.default_rng(0)
    recorded = []
    for seed in range(episodes):
        obs, _ = env.reset(seed=seed)
        episode = Episode([obs], [], [], [], [], None)
        over = False
        while not over:
            action = int(rng.integers(2))
            if rng.random() >= randomness:
                action = int(obs[2] + obs[3] > 0)
            obs, reward, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
            episode.observations.append(obs)
            episode.actions.append(action)
            episode.rewards.append(reward)
            episode.terminations.append(terminated)
            episode.truncations.append(truncated)
        recorded.append(episode)
    return recorded


def cartpole(limit: int = 100) -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1", max_episode_steps=limit)


def write_minari(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, recorded: list[Episode]
) -> Any:
    """Write a data set of CartPole to a folder, and let Minari look there: Minari."""
    minari = pytest.importorskip("minari", reason="it takes the extra `minari`")
    pytest.importorskip("h5py", reason="it takes the extra `minari`")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    buffers = []
    for episode in recorded:
        arguments = episode._asdict()
        buffers.append(minari.data_collector.EpisodeBuffer(**arguments))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no author, no description
        minari.create_dataset_from_buffers(name, buffers, env="CartPole-v1")
    return minari


def minari_episodes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, recorded: list[Episode]
) -> Any:
    """The episodes, written by Minari to a folder, and read by its own reader."""
    minari = write_minari(folder, monkeypatch, "cartpole/test-v0", recorded)
    return minari.load_dataset("cartpole/test-v0").iterate_episodes()


def test_two_episodes_fill_the_ring() -> None:
    agent = agent_for(chain())
    observe_episodes(agent, [short_episode(), cut_episode()])
    ring = agent.replay
    kinds = [STEP, STEP, TERMINATED, BRIDGE, STEP, TRUNCATED]
    assert ring.count == 6
    assert ring.kind[:6, 0].tolist() == kinds
    np.testing.assert_array_equal(ring.obs[:7, 0], STATES[[1, 1, 2, 0, 0, 1, 1]])
    assert ring.action[[0, 1, 2, 4, 5], 0].tolist() == [0, 1, 1, 1, 0]
    assert ring.reward[[0, 1, 2, 4, 5], 0].tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert (agent.steps, agent.episodes, agent.resets) == (5, 2, 2)
    assert ring.over


def test_minaris_data_set_is_learned_from_and_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = record(cartpole(100), 60)
    config = DQNConfig(epsilon=0.05)
    env = cartpole(200)
    agent = DQN(env.observation_space, env.action_space, config, seed=0)
    observe_episodes(agent, minari_episodes(tmp_path, monkeypatch, recorded))

    ring = agent.replay
    slot = 0
    for episode in recorded:
        steps = len(episode.actions)
        taken = slice(slot, slot + steps)
        np.testing.assert_array_equal(
            ring.obs[slot : slot + steps + 1, 0], episode.observations
        )
        np.testing.assert_array_equal(ring.action[taken, 0], episode.actions)
        np.testing.assert_array_equal(ring.reward[taken, 0], episode.rewards)
        end = TERMINATED if episode.terminations[-1] else TRUNCATED
        assert ring.kind[taken, 0].tolist() == [STEP] * (steps - 1) + [end]
        assert ring.kind[slot + steps, 0] == BRIDGE
        slot += steps + 1
    assert ring.count == slot - 1  # the last bridge is the head
    assert agent.steps == slot - len(recorded)
    ends = {bool(episode.terminations[-1]) for episode in recorded}
    assert ends == {True, False}

    recorded_steps = agent.steps
    learn_offline(agent, 1_500, progress=False)
    assert (agent.steps, agent.updates) == (recorded_steps, 1_500)
    random = evaluate(agent, env, episodes=10, epsilon=1.0, progress=False).mean()
    learned = evaluate(agent, env, episodes=10, progress=False).mean()
    assert random < 40
    assert learned > 100  # 143 to 198 from eight seeds

    history = train(agent, env, steps=100, progress=False)
    assert (agent.steps, agent.updates) == (recorded_steps + 100, 1_600)
    assert history["length"].sum() <= 100


@pytest.mark.parametrize("recorded_steps", [5, 40])
def test_recorded_steps_and_offline_updates_change_no_later_step(
    recorded_steps: int,
) -> None:
    """There is no burst of updates at the first own step, and no pause."""
    agent = agent_for(chain(), learning_starts=10)
    observe_episodes(agent, [short_episode(), cut_episode()] * (recorded_steps // 5))
    assert agent.updates_due == 0
    made = 0
    if recorded_steps == 40:
        learn_offline(agent, 100, progress=False)
        made = 100
    assert agent.updates_due == 0
    updates = []
    train(
        agent,
        chain(),
        steps=10,
        on_step=lambda agent, _: updates.append(agent.updates - made),
        progress=False,
    )
    if recorded_steps == 40:
        assert updates == list(range(1, 11))  # one after each step
    else:
        assert updates == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6]  # from the tenth step on


def test_updates_that_were_due_stay_due() -> None:
    agent = agent_for(chain(), learning_starts=8)
    observe_episodes(agent, [short_episode()])
    agent.begin(STATES[0])
    for _ in range(6):
        agent.observe(0, 0.0, STATES[0], False, False)
    assert agent.updates_due == 2
    observe_episodes(agent, [short_episode()])
    assert agent.updates_due == 2
    assert agent.replay.kind[9, 0] == TRUNCATED  # its own episode was cut


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"priority_alpha": 0.6, "n_step": 3},
        {"frame_stack": 3},
        {"normalize_obs": "running"},
    ],
    ids=lambda settings: "-".join(settings) or "plain",
)
def test_it_is_as_if_the_agent_had_played_them(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    episodes = [short_episode(), cut_episode(), short_episode()]
    agent = agent_for(chain(), **settings)
    observe_episodes(agent, episodes)
    learn_offline(agent, 20, progress=False)

    other = agent_for(chain(), **settings)
    for episode in episodes:
        other.begin(episode.observations[0])
        last = len(episode.actions) - 1
        for t, action in enumerate(episode.actions):
            terminated = episode.terminations[t]
            truncated = t == last and not terminated
            obs = episode.observations[t + 1]
            other.observe(action, episode.rewards[t], obs, terminated, truncated)
    for _ in range(20):
        other.learn()
    for name, array in agent_arrays(agent).items():
        np.testing.assert_array_equal(array, agent_arrays(other)[name], name)

    # and a run can be saved and continued after it
    history = train(agent, chain(), steps=50, progress=False)
    save(agent, tmp_path / "run.safetensors", history)
    loaded, loaded_history = load_run(tmp_path / "run.safetensors")
    train(loaded, chain(), steps=50, history=loaded_history, progress=False)
    train(agent, chain(), steps=50, history=history, progress=False)
    np.testing.assert_array_equal(agent.online.params, loaded.online.params)
    assert agent.updates == loaded.updates == 120


def test_a_decay_given_to_load_begins_after_the_recorded_steps(tmp_path: Path) -> None:
    agent = agent_for(chain(), epsilon=LinearDecay(1.0, 0.0, 10))
    observe_episodes(agent, [short_episode(), cut_episode()] * 4)
    assert agent.epsilon == 0.0
    save(agent, tmp_path / "recorded.safetensors")
    decay = LinearDecay(0.5, 0.1, 10)
    agent = load(tmp_path / "recorded.safetensors", epsilon=decay)
    assert agent.epsilon == 0.5
    assert agent.updates_due == 0
    train(agent, chain(), steps=5, progress=False)
    assert agent.epsilon == pytest.approx(0.3)


def test_masks_are_stored() -> None:
    masks = np.array([[1, 1], [0, 1], [1, 1], [0, 0]])  # nothing after the end
    episode = short_episode()._replace(infos={"action_mask": masks})
    agent = agent_for(chain())
    observe_episodes(agent, [episode, cut_episode()._replace(infos={"x": 1})])
    stored = [agent.replay.mask.at(slot)[0].tolist() for slot in range(5)]
    assert stored[:3] == [[True, True], [False, True], [True, True]]
    assert stored[4] == [True, True]


def test_masks_of_another_name_are_said_once() -> None:
    infos = {"action_masks": np.ones((4, 2))}
    episode = short_episode()._replace(infos=infos)
    agent = agent_for(chain())
    with pytest.warns(RuntimeWarning, match='have the mask "action_masks": ') as warned:
        observe_episodes(agent, [episode, episode])
    assert [each.filename for each in warned] == [__file__]


def test_masks_of_minari(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [episode] = record(cartpole(5), 1)
    masks = [np.array([1, 1]), *[np.array([0, 1])] * len(episode.actions)]
    episode = episode._replace(infos={"action_mask": masks})
    agent = agent_for(cartpole())
    observe_episodes(agent, minari_episodes(tmp_path, monkeypatch, [episode]))
    assert agent.replay.mask.at(0).tolist() == [[True, True]]
    assert agent.replay.mask.at(1).tolist() == [[False, True]]


def test_a_scale_that_does_not_fit_is_said() -> None:
    episode = Episode(
        observations=np.full((601, 3), 500.0),
        actions=np.zeros(600, int),
        rewards=np.zeros(600),
        terminations=np.zeros(600, bool),
        truncations=np.zeros(600, bool),
    )
    agent = agent_for(chain(), buffer_size=1_000)
    with pytest.warns(RuntimeWarning, match="is about 500") as warned:
        observe_episodes(agent, [episode])
    assert warned[0].filename == __file__


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no final observation": (
        {"observations": STATES},
        r"episode 1: observations has shape \(3, 3\): expected \(4, 3\)",
    ),
    "observations of another width": (
        {"observations": np.zeros((4, 2))},
        r"episode 1: observation has shape \(4, 2\)",
    ),
    "a dict": ({"observations": {"a": STATES}}, "episode 1: observation is"),
    "NaN": ({"observations": np.full((4, 3), np.nan)}, "episode 1: .*nan at index"),
    "too few actions": (
        {"actions": [0, 1]},
        r"episode 1: actions has shape \(2,\): expected \(3,\), one for each reward",
    ),
    "actions in a column": ({"actions": [[0], [1], [1]]}, r"has shape \(3, 1\)"),
    "an unknown action": ({"actions": [0, 1, 2]}, "episode 1: step 3: action is 2"),
    "actions that are no integers": ({"actions": [0.5, 1, 1]}, "step 1: action"),
    "no reward": (
        {"rewards": []},
        "episode 1: it has no rewards: expected 1 step or more",
    ),
    "an infinite reward": ({"rewards": [0, np.inf, 0]}, "step 2: reward is inf"),
    "flags as numbers": ({"truncations": [0, 0, 1]}, "step 1: truncated is 0"),
    "terminated early": (
        {"terminations": [False, True, False]},
        "it ends in step 2 of 3: expected an end in the last one",
    ),
    "truncated early": (
        {"truncations": [True, False, False]},
        "it ends in step 1 of 3: expected an end in the last one",
    ),
    "too few masks": (
        {"infos": {"action_mask": np.ones((3, 2))}},
        r"episode 1: action_mask has shape \(3, 2\): expected \(4, 2\)",
    ),
    "nothing allowed": (
        {"infos": {"action_mask": np.zeros((4, 2))}},
        "episode 1: action_mask allows no action in row 0",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused_before_anything_is_stored(name: str) -> None:
    changes, expected = WRONG[name]
    agent = agent_for(chain())
    wrong = short_episode()._replace(**changes)
    with pytest.raises((TypeError, ValueError), match=expected):
        observe_episodes(agent, [cut_episode(), wrong])
    assert (agent.steps, agent.replay.made) == (0, False)


def test_all_must_have_room() -> None:
    episodes = [short_episode(), cut_episode()]  # 5 steps and 2 ends
    agent = agent_for(chain(), buffer_size=14)
    observe_episodes(agent, episodes * 2)
    agent.begin(STATES[0])
    assert len(agent.replay) == 14
    agent = agent_for(chain(), buffer_size=13)
    with pytest.raises(ValueError, match="buffer_size is 13: expected 14 or more"):
        observe_episodes(agent, episodes * 2)
    assert not agent.replay.made


def test_an_iterator_that_is_used_up_is_no_data_set() -> None:
    episodes = iter([short_episode()])
    observe_episodes(agent_for(chain()), episodes)
    with pytest.raises(ValueError, match="there are no episodes: expected some"):
        observe_episodes(agent_for(chain()), episodes)


def test_several_environments_are_refused() -> None:
    with pytest.raises(ValueError, match="the agent has num_envs=2: expected 1"):
        observe_episodes(agent_for(chain(), num_envs=2), [short_episode()])


def test_learning_needs_updates_and_steps() -> None:
    agent = agent_for(chain())
    observe_episodes(agent, [short_episode()])
    with pytest.raises(ValueError, match="updates is 0: expected 1 or more"):
        learn_offline(agent, 0)
    with pytest.raises(ValueError, match="batch"):
        learn_offline(agent, 1, progress=False)
    assert (agent.updates, agent.updates_skipped) == (0, 0)


def test_a_bar_shows_the_updates(capsys: pytest.CaptureFixture[str]) -> None:
    agent = agent_for(chain())
    observe_episodes(agent, [short_episode()] * 4)
    learn_offline(agent, 3, progress=False)
    assert capsys.readouterr().err == ""
    learn_offline(agent, 7)
    assert "7/7" in capsys.readouterr().err


def test_an_episode_may_have_one_step() -> None:
    agent = agent_for(chain())
    ended = Episode(STATES[[2, 0]], [1], [1.0], [True], [False])
    cut = Episode(STATES[[0, 1]], [1], [0.0], [False], [False])
    observe_episodes(agent, [ended, cut])
    assert agent.replay.kind[:3, 0].tolist() == [TERMINATED, BRIDGE, TRUNCATED]


def test_ctrl_c_comes_at_the_end_of_an_update() -> None:
    def interrupting(step: int) -> float:
        if agent.updates == 2:
            signal.raise_signal(signal.SIGINT)
        return 1e-3

    agent = agent_for(chain(), learning_rate=interrupting)
    observe_episodes(agent, [short_episode()] * 4)
    with pytest.raises(KeyboardInterrupt):
        learn_offline(agent, 10, progress=False)
    assert (agent.updates, agent.updates_due) == (3, 0)


def test_ctrl_c_while_episodes_are_stored_leaves_no_updates_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def observe(*step: Any) -> None:
        DQN.observe(agent, *step)
        if agent.steps == 10:
            raise KeyboardInterrupt

    agent = agent_for(chain())
    monkeypatch.setattr(agent, "observe", observe)
    with pytest.raises(KeyboardInterrupt):
        observe_episodes(agent, [short_episode()] * 4)
    assert (agent.steps, agent.updates_due) == (10, 0)
