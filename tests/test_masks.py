"""Action masks: what is forbidden is never done, neither by chance nor in what is learned from."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import FlattenObservation

from minidqn import DQN, DQNConfig, evaluate, train
from minidqn.masks import Masks
from minidqn.nn.layers import Array

from .test_agent import SPACE, force_q, next_batch, small_agent
from .test_training import agent_for

N = 6000  # draws; their counts may be off by 4 standard deviations


def assert_frequencies(actions: Any, p: list[float]) -> None:
    chances = np.array(p)
    counts = np.bincount(actions, minlength=len(p))
    assert len(counts) == len(p)
    assert (
        abs(counts - N * chances) <= 4 * np.sqrt(N * chances * (1 - chances))
    ).all(), counts


def test_the_best_of_the_allowed_actions_is_taken() -> None:
    agent = small_agent(n_actions=3)
    force_q(agent, [-1.0, -3.0, -2.0])  # below 0, which a forbidden one might count as
    obs, before = np.zeros(3), agent.rng.bit_generator.state
    masks = [[1, 1, 1], [0, 1, 1], [0, 1, 0], [1, 0, 1]]
    assert [agent.act(obs, mask=mask) for mask in masks] == [0, 2, 1, 0]
    assert agent.act(np.zeros((4, 3)), mask=masks).tolist() == [0, 2, 1, 0]
    assert agent.act(np.zeros((4, 3)), mask=[0, 1, 1]).tolist() == [2, 2, 2, 2]
    assert agent.act(obs, mask=[[False, True, True]]) == 2
    assert agent.rng.bit_generator.state == before


def test_an_infinite_wish_for_what_is_forbidden_changes_nothing() -> None:
    agent = small_agent(n_actions=2)
    force_q(agent, [3e38, -3e38])
    assert agent.act(np.zeros(3), mask=[0, 1]) == 1


@pytest.mark.parametrize("epsilon", [1.0, 0.4])
@pytest.mark.parametrize("batched", [False, True])
def test_each_allowed_action_is_equally_likely(epsilon: float, batched: bool) -> None:
    agent = small_agent(n_actions=4)
    force_q(agent, [5.0, 1.0, 2.0, 3.0])
    mask = [0, 1, 0, 1]
    if batched:
        actions = agent.act(np.zeros((N, 3)), epsilon, mask)
    else:
        actions = [agent.act(np.zeros(3), epsilon, mask) for _ in range(N)]
    assert_frequencies(actions, [0, epsilon / 2, 0, 1 - epsilon / 2])


def test_each_row_of_a_batch_has_a_mask_of_its_own() -> None:
    agent = small_agent(n_actions=3)
    rng = np.random.default_rng(0)
    mask = rng.random((N, 3)) < 0.5
    mask[~mask.any(axis=1), 0] = True
    obs = rng.uniform(-1, 1, (N, 3))
    for epsilon in (0.0, 0.5, 1.0):
        actions = agent.act(obs, epsilon, mask)
        assert mask[np.arange(N), actions].all()
        assert set(actions) == {0, 1, 2}


@pytest.mark.parametrize(
    ("mask", "batch"),
    [
        ([0, 0], 1),
        ([[1, 1], [0, 0]], 2),
        ([1], 1),
        ([1, 1, 1], 1),
        ([[1, 1], [1, 1]], 1),
        ([[1, 1], [1, 1]], 3),
        (True, 1),
    ],
)
def test_masks_that_leave_nothing_or_do_not_fit(mask: Any, batch: int) -> None:
    agent = small_agent()
    obs = np.zeros(3) if batch == 1 else np.zeros((batch, 3))
    before = agent.rng.bit_generator.state
    with pytest.raises(ValueError, match="mask"):
        agent.act(obs, 0.5, mask)
    assert agent.rng.bit_generator.state == before


def exploring(epsilon: float, num_envs: int = 1, **numbers: Any) -> DQN:
    agent = DQN(
        SPACE, Discrete(4), DQNConfig(epsilon=epsilon, **numbers), num_envs=num_envs
    )
    force_q(agent, [5.0, 1.0, 2.0, 3.0])
    return agent


@pytest.mark.parametrize("epsilon", [0.0, 0.4, 1.0])
def test_exploration_keeps_to_the_mask_of_the_present_observation(
    epsilon: float,
) -> None:
    agent = exploring(epsilon)
    agent.begin(np.zeros(3), [0, 1, 0, 1])
    actions = [int(agent.explore()[0]) for _ in range(N)]
    assert_frequencies(actions, [0, epsilon / 2, 0, 1 - epsilon / 2])
    agent.observe(1, 0.0, np.zeros(3), False, False, [1, 0, 1, 0])
    actions = [int(agent.explore()[0]) for _ in range(N)]
    assert_frequencies(actions, [1 - epsilon / 2, 0, epsilon / 2, 0])
    agent.observe(0, 0.0, np.zeros(3), False, False)
    actions = [int(agent.explore()[0]) for _ in range(N)]
    assert_frequencies(actions, [1 - 0.75 * epsilon, *[epsilon / 4] * 3])


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
def test_each_lane_has_a_mask_of_its_own(epsilon: float) -> None:
    agent = exploring(epsilon, num_envs=2)
    agent.begin(np.zeros((2, 3)), [[0, 1, 1, 0], [0, 0, 0, 1]])
    actions = np.array([agent.explore() for _ in range(N)])
    assert_frequencies(actions[:, 0], [0, epsilon / 2, 1 - epsilon / 2, 0])
    assert_frequencies(actions[:, 1], [0, 0, 0, 1])


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
def test_a_lane_that_terminated_may_have_no_action_left(epsilon: float) -> None:
    agent = exploring(epsilon, num_envs=2)
    agent.begin(np.zeros((2, 3)))
    ends, flags = np.array([True, False]), np.zeros(2, bool)
    mask = [[0, 0, 0, 0], [0, 1, 0, 0]]
    agent.observe([0, 0], [0.0, 0.0], np.zeros((2, 3)), ends, flags, mask)
    for _ in range(20):
        actions = agent.explore()
        assert 0 <= actions[0] < 4  # ignored by the environment
        assert actions[1] == 1


def test_a_repeated_action_is_dropped_where_it_is_forbidden() -> None:
    agent = exploring(1.0, epsilon_hold=10)
    rng = np.random.default_rng(0)
    agent.begin(np.zeros(3))
    mask = np.ones(4, np.bool_)
    for _ in range(500):
        action = int(agent.explore()[0])
        assert mask[action]
        mask = rng.random(4) < 0.5
        mask[rng.integers(4)] = True
        agent.observe(action, 0.0, np.zeros(3), False, False, mask)


@pytest.mark.parametrize("quantiles", [1, 3])
@pytest.mark.parametrize("double", [False, True])
def test_the_bootstrap_takes_the_best_allowed_action(
    double: bool, quantiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = small_agent(
        n_actions=3,
        double=double,
        gamma=0.5,
        batch_size=20,
        learning_starts=20,
        quantiles=quantiles,
        buffer_size=200,
    )
    rng = np.random.default_rng(0)
    masks = {}
    agent.begin(rng.uniform(-1, 1, 3))
    for t in range(150):
        obs = rng.uniform(-1, 1, 3).astype(np.float32)
        mask = np.array([t % 3 != 0, t % 3 != 1, t % 3 != 2])
        mask[t // 3 % 3] |= rng.random() < 0.5
        masks[obs.tobytes()] = mask
        agent.observe(rng.integers(3), rng.normal(), obs, False, False, mask)
    agent.online.params[:] = rng.normal(size=agent.online.params.size)
    agent.target.params[:] = rng.normal(size=agent.online.params.size)

    seen, make_loss = [], agent.loss.gradient

    def spy(outputs: Array, actions: Array, y: Array, weights: Array) -> Any:
        seen.append(y.reshape(20, quantiles).copy())
        return make_loss(outputs, actions, y, weights)

    monkeypatch.setattr(agent.loss, "gradient", spy)
    batch = next_batch(agent)
    theta = agent.target.forward(batch.next_obs).reshape(20, 3, quantiles).copy()
    selecting = agent.online if double else agent.target
    q = selecting.forward(batch.next_obs).reshape(20, 3, quantiles).mean(axis=2)
    free = q.argmax(axis=1)
    allowed = np.array([masks[obs.tobytes()] for obs in batch.next_obs])
    best = np.where(allowed, q, -np.inf).argmax(axis=1)
    assert (best != free).sum() >= 3
    agent.learn()
    expected = batch.returns[:, None] + 0.5 * theta[np.arange(20), best]
    np.testing.assert_allclose(seen[0], expected, rtol=1e-5, atol=1e-6)


def test_no_mask_no_array_of_masks() -> None:
    """And all actions are allowed; the first mask may come at any time."""
    for n_actions in (4, 13_000):
        agent = DQN(Box(-1, 1, (10,)), Discrete(n_actions))
        assert agent.replay.nbytes == 50_001 * (10 * 4 + 4 + 4 + 1)
        agent.begin(np.zeros(10))
        assert agent.replay.mask.array is None

    agent = exploring(1.0, num_envs=2)
    obs, flags = np.zeros((2, 3)), np.zeros(2, np.bool_)
    agent.begin(obs)
    for _ in range(5):
        actions = np.array([agent.explore() for _ in range(100)])
        assert set(actions[:, 0]) == set(actions[:, 1]) == {0, 1, 2, 3}
        agent.observe(actions[0], [0.0, 0.0], obs, flags, flags)
    assert agent.replay.mask.array is None
    agent.observe([0, 0], [0.0, 0.0], obs, flags, flags, [[0, 1, 0, 0], [1, 1, 1, 1]])
    assert agent.replay.mask.array is not None
    actions = np.array([agent.explore() for _ in range(100)])
    assert set(actions[:, 0]) == {1}
    assert set(actions[:, 1]) == {0, 1, 2, 3}
    agent.observe([1, 0], [0.0, 0.0], obs, flags, flags)
    actions = np.array([agent.explore() for _ in range(100)])
    assert set(actions[:, 0]) == set(actions[:, 1]) == {0, 1, 2, 3}


@pytest.mark.parametrize("double", [False, True])
def test_what_was_stored_before_the_first_mask_is_free(
    double: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a batch whose arrays were made before it came."""
    agent = small_agent(n_actions=3, double=double, batch_size=20, learning_starts=20)
    force_q(agent, [5.0, 1.0, 2.0])
    agent.target.params[:] = agent.online.params
    allowed = {}
    agent.begin(np.zeros(3))
    for t in range(1, 81):
        obs = np.full(3, t / 100, np.float32)
        mask = [False, True, True] if t > 40 and t % 2 == 0 else None
        allowed[obs.tobytes()] = mask or [True, True, True]
        agent.observe(0, 0.0, obs, False, False, mask)
        if t in (30, 80):
            masks = [allowed[obs.tobytes()] for obs in next_batch(agent).next_obs]
            assert next_batch(agent).next_mask.tolist() == masks
            assert [False, True, True] in masks or t == 30
    seen = []
    targets = agent.loss.targets

    def spy(returns: Array, discounts: Array, q: Array, actions: Array) -> Array:
        seen.append(actions.tolist())
        return targets(returns, discounts, q, actions)

    monkeypatch.setattr(agent.loss, "targets", spy)
    agent.learn()
    assert seen == [[0 if mask[0] else 2 for mask in masks]]
    assert set(seen[0]) == {0, 2}


class MaskedEnv(gym.Env[Array, Any]):
    """Another random mask in each step; raises where it is not kept to.

    Episodes terminate, with `last` for the mask then, or are truncated, after 2 to 6 steps.
    """

    def __init__(self, last: tuple[int, ...] = (1, 0, 0, 0)) -> None:
        self.last = last
        self.observation_space = Box(0.0, 1.0, (4,), np.float32)
        self.action_space = Discrete(4)
        self.taken: list[int] = []
        self.forced = 0  # steps in which some action was forbidden
        self.over = True

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.rng = np.random.default_rng(seed)
        self.left, self.over = int(self.rng.integers(2, 7)), False
        return self.observation()

    def observation(self) -> Any:
        """The mask is not told by the observation."""
        self.mask = self.rng.random(4) < 0.4
        self.mask[self.rng.integers(4)] = True
        obs = self.rng.random(4, np.float32)
        return obs, {"action_mask": self.mask.astype(np.int8)}

    def step(self, action: Any) -> Any:
        assert not self.over
        assert self.mask[action], f"{action} was forbidden: {self.mask}"
        self.taken.append(int(action))
        self.forced += not self.mask.all()
        self.left -= 1
        obs, info = self.observation()
        terminated = self.left == 0 and self.rng.random() < 0.5
        self.over = self.left == 0
        if terminated:
            info = {"action_mask": np.array(self.last, np.int8)}
        return obs, float(action), terminated, self.over and not terminated, info


def make(
    kind: Any, build: Callable[[], gym.Env[Any, Any]] = MaskedEnv
) -> tuple[Any, list[Any]]:
    """One environment, or three with that autoreset mode; and all that there are."""
    if kind is None:
        env = build()
        return env, [env]
    vector = SyncVectorEnv([build] * 3, autoreset_mode=kind)
    return vector, list(vector.envs)


KINDS = [None, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED]


@pytest.mark.parametrize("last", [(1, 0, 0, 0), (0, 0, 0, 0)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_never_takes_a_forbidden_action(kind: Any, last: tuple[int, ...]) -> None:
    env, parts = make(kind, lambda: MaskedEnv(last))
    agent = agent_for(env, len(parts), epsilon=0.5)
    train(agent, env, 400, progress=False)
    train(agent, env, 100, progress=False)
    assert sum(len(part.taken) for part in parts) >= 500
    assert sum(part.forced for part in parts) > 400
    for part in parts:
        assert set(part.taken) == {0, 1, 2, 3}
    assert agent.replay.mask.array is not None
    stored = agent.replay.mask.array[: agent.replay.count].reshape(-1, 4)
    assert len(np.unique(stored, axis=0)) > 8


class Forgetful(MaskedEnv):
    """Gives its masks only in some infos, or with another name."""

    def __init__(self, at_reset: str, at_step: str) -> None:
        super().__init__()
        self.at_reset = at_reset
        self.at_step = at_step

    def observation(self) -> Any:
        obs, info = super().observation()
        self.mask[:] = True  # any action may be taken
        return obs, info

    def reset(self, **options: Any) -> Any:
        obs, info = super().reset(**options)
        return obs, {self.at_reset: info["action_mask"], "masked": 0.5}

    def step(self, action: Any) -> Any:
        *result, info = super().step(action)
        return *result, {self.at_step: info["action_mask"], "_masks": [1, 1, 1, 1]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("at_reset", "at_step", "says"),
    [
        ("action_mask", "other", "reset gave a mask, but the first step gave none: ex"),
        ("other", "action_mask", "the first step gave a mask, but reset gave none: ex"),
        (
            "action_masks",
            "action_masks",
            "environment has the mask .action_masks.: expected info",
        ),
        ("other", "legal_mask", "the environment has the mask .legal_mask.: expected"),
    ],
)
def test_masks_that_are_missing_are_said_once(
    at_reset: str, at_step: str, says: str, kind: Any
) -> None:
    env, parts = make(kind, lambda: Forgetful(at_reset, at_step))
    agent = agent_for(env, len(parts))
    with pytest.warns(RuntimeWarning, match=says) as warned:
        train(agent, env, 100, progress=False)
    assert [each.filename for each in warned] == [__file__]
    assert "every action counts as allowed" in str(warned[0].message)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_an_environment_without_masks_is_not_warned_of(kind: Any) -> None:
    env, parts = make(kind, lambda: Forgetful("other", "other"))
    train(agent_for(env, len(parts)), env, 100, progress=False)


def test_masks_of_a_method_are_said() -> None:
    class Method(Forgetful):
        def action_masks(self) -> Any:
            return self.mask

    env = gym.wrappers.TimeLimit(Method("other", "other"), 5)
    with pytest.warns(RuntimeWarning, match="has a method action_masks: expected info"):
        train(agent_for(env), env, 100, progress=False)


def test_evaluation_never_takes_a_forbidden_action() -> None:
    env = MaskedEnv()
    agent = agent_for(env)
    force_q(agent, [4.0, 3.0, 2.0, 1.0])
    evaluate(agent, env, 50)
    assert env.forced > 50
    assert set(env.taken) == {0, 1, 2, 3}


@pytest.mark.filterwarnings("ignore:.*Taxi:UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_taxi(kind: Any) -> None:
    chosen = []

    class Watched(gym.Wrapper[Any, Any, Any, Any]):
        def reset(self, **arguments: Any) -> Any:
            obs, info = super().reset(**arguments)
            self.mask = info["action_mask"]
            return obs, info

        def step(self, action: Any) -> Any:
            chosen.append(bool(self.mask[action]))
            *rest, info = super().step(action)
            self.mask = info["action_mask"]
            return *rest, info

    env, parts = make(kind, lambda: Watched(FlattenObservation(gym.make("Taxi"))))
    agent = agent_for(env, len(parts), epsilon=0.5)
    train(agent, env, 500, progress=False)
    assert len(chosen) >= 500
    assert all(chosen)
    assert not agent.replay.head_mask.all()


def test_masks_say_how_much_memory_they_take() -> None:
    masks = Masks(10, 2, 3)
    assert masks.nbytes == 0
    masks.checked([[1, 0, 1], [0, 1, 1]])
    assert masks.nbytes == 10 * 2 * 3
