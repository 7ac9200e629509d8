"""Images and stacks of frames, all the way: from the environment to a trained agent."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.wrappers import FrameStackObservation

from minidqn import (
    DQN,
    DQNConfig,
    LinearDecay,
    checks,
    evaluate,
    load,
    load_run,
    save,
    train,
)
from minidqn.lab.envs import play
from minidqn.nn.layers import Array

from .conftest import TableEnv
from .test_resume import assert_same_arrays


class Catch(gym.Env[Array, int]):
    """A dot falls through a 6 x 5 image; the paddle in the last row is to be below it: 1, else -1.

    `slanted`, it also moves sideways, in a direction that only two frames tell.
    """

    observation_space = Box(0, 255, (6, 5), np.uint8)
    action_space: Any = Discrete(3)

    def __init__(self, slanted: bool = False) -> None:
        self.slanted = slanted

    def picture(self) -> Array:
        image = np.zeros((6, 5), np.uint8)
        image[self.row, self.column] = 255
        image[5, self.paddle] = 255
        return image

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self.row, self.paddle = 0, 2
        self.column, self.drift = int(self.np_random.integers(5)), 0
        if self.slanted:
            self.drift = int(self.np_random.integers(-1, 2))
        return self.picture(), {}

    def step(self, action: int) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        self.paddle = min(max(self.paddle + action - 1, 0), 4)
        self.row, self.column = self.row + 1, (self.column + self.drift) % 5
        over = self.row == 5
        reward = float(over) * (1.0 if self.column == self.paddle else -1.0)
        return self.picture(), reward, over, False, {}


def config(**changes: Any) -> DQNConfig:
    small: dict[str, Any] = {"conv": ((8, 3, 1),), "hidden": (32,), "batch_size": 32}
    small |= {"learning_starts": 100, "buffer_size": 500, "n_step": 2}
    return DQNConfig(**(small | changes))


def test_it_learns_from_pixels() -> None:
    env = Catch(slanted=True)
    steps = 6_000
    rates = {
        "learning_rate": LinearDecay(3e-3, 0.0, steps),
        "epsilon": LinearDecay(1.0, 0.05, 1000),
    }
    agent = DQN(
        env.observation_space,
        env.action_space,
        config(frame_stack=2, buffer_size=5_000, **rates),
        0,
    )
    train(agent, env, steps, progress=False)
    assert evaluate(agent, Catch(slanted=True), 100, 0).mean() > 0.8  # at random -0.6


def test_explore_sees_what_gymnasium_s_wrapper_gives() -> None:
    env, wrapped = Catch(), FrameStackObservation(Catch(), 3)
    agent = DQN(
        env.observation_space, env.action_space, config(frame_stack=3, epsilon=0.0)
    )
    for episode in range(5):
        agent.begin(env.reset(seed=episode)[0])
        stack, _ = wrapped.reset(seed=episode)
        over = False
        while not over:
            np.testing.assert_array_equal(agent.replay.head_stack[0], stack)
            (action,) = agent.explore()
            assert action == agent.act(stack)
            obs, reward, terminated, truncated, _ = env.step(action)
            agent.observe(action, reward, obs, terminated, truncated)
            stack, _, over, _, _ = wrapped.step(action)
        np.testing.assert_array_equal(agent.replay.head_stack[0], stack)


@pytest.mark.parametrize("normalize_obs", [False, True])
def test_vectors_are_stacked_too(normalize_obs: bool) -> None:
    settings = config(conv=(), frame_stack=3, normalize_obs=normalize_obs)
    agent = DQN(Box(0, 10, (4,), np.float32), Discrete(2), settings)
    rng = np.random.default_rng(0)
    stacks = rng.uniform(0, 10, (7, 3, 4)).astype(np.float32)
    x = stacks.reshape(7, 12) / 5 - 1 if normalize_obs else stacks.reshape(7, 12)
    first: Any = agent.online.layers[-2]  # of the linear ones
    hidden = np.maximum(x @ first.W + first.b, 0.0)
    last: Any = agent.online.layers[-1]
    np.testing.assert_allclose(
        agent.q_values(stacks), hidden @ last.W + last.b, atol=1e-5
    )


EVERYTHING: dict[str, Any] = {
    "dueling": True,
    "noisy": True,
    "layer_norm": True,
    "quantiles": 3,
    "priority_alpha": 0.6,
}


@pytest.mark.parametrize("parts", [{}, EVERYTHING])
@pytest.mark.parametrize("num_envs", [1, 2])
def test_it_resumes_on_the_same_bits(num_envs: int, parts: Any, tmp_path: Path) -> None:
    def environment() -> Any:
        one = Catch() if num_envs == 1 else None
        mode = gym.vector.AutoresetMode.DISABLED
        return one or gym.vector.SyncVectorEnv([Catch] * num_envs, autoreset_mode=mode)

    settings = config(frame_stack=3, buffer_size=150, **parts)
    space, actions = Catch.observation_space, Catch.action_space
    whole = DQN(space, actions, settings, 5, num_envs)
    history = train(whole, environment(), 501, progress=False)
    stopped = DQN(space, actions, settings, 5, num_envs)
    first = train(stopped, environment(), 303, progress=False)
    save(stopped, tmp_path / "run", first)
    again, second = load_run(tmp_path / "run")
    train(
        again, environment(), whole.steps - again.steps, history=second, progress=False
    )
    assert_same_arrays(whole, again)
    np.testing.assert_array_equal(history.rows, second.rows)


class OneArray(Catch):
    """Returns the same array each time, with another picture in it."""

    def picture(self) -> Array:
        self.image = getattr(self, "image", np.zeros((6, 5), np.uint8))
        self.image[:] = super().picture()
        return self.image


def test_an_environment_may_reuse_its_array() -> None:
    agent = DQN(Catch.observation_space, Catch.action_space, config(frame_stack=3))
    for (*_, stack), (*_, expected) in zip(
        play(agent, OneArray(), 0), play(agent, Catch(), 0), strict=True
    ):
        np.testing.assert_array_equal(stack, expected)


def test_a_policy_file_of_pixels_acts(tmp_path: Path) -> None:
    agent = DQN(Catch.observation_space, Catch.action_space, config(frame_stack=2))
    save(agent, tmp_path / "policy", replay=False)
    stack = np.random.default_rng(0).integers(0, 256, (7, 2, 6, 5)).astype(np.uint8)
    np.testing.assert_array_equal(
        agent.q_values(stack), load(tmp_path / "policy").q_values(stack)
    )
    assert agent.act(stack).shape == (7,)
    assert isinstance(agent.act(stack[0]), int)


@pytest.mark.parametrize(
    ("space", "changes", "text"),
    [
        (
            Box(0, 255, (8, 8), np.uint8),
            {"conv": ()},
            "shape .8, 8.: expected a vector; for an im",
        ),
        (
            Box(0, 255, (8, 8), np.uint8),
            {"conv": ((4, 9, 1),)},
            "9 x 9 for an image of 8 x 8: exp",
        ),
        (
            Box(0, 255, (8, 8), np.uint8),
            {"conv": ((4, 8, 4), (4, 2, 1))},
            "2 x 2 for an image of 1",
        ),
        (
            Box(0, 255, (3, 8, 9), np.uint8),
            {},
            "channels last; .*TransformObservation transposes",
        ),
        (
            Box(0, 255, (4, 84, 84), np.uint8),
            {"frame_stack": 4},
            "frame_stack stacks frames, inst",
        ),
        (
            Box(0, 255, (8,), np.uint8),
            {},
            "shape .8,. for conv: expected .height, width.",
        ),
        (
            Box(-1, 1, (8, 8), np.float32),
            {},
            "expected bytes .*or floats of 0 to 1; .*Rescale",
        ),
        (
            Box(0, 255, (8, 8), np.float32),
            {},
            "expected bytes .*or floats of 0 to 1; .*Rescale",
        ),
        (
            Box(0, 1, (8, 8), np.uint8),
            {},
            "bytes of 0 to 255 .not 0 to 1.*Dtype",
        ),
        (Box(0, 9, (8, 8), np.int32), {}, "expected bytes"),
        (
            Box(0, 255, (8, 6), np.uint8),
            {"conv": ((4, 2, 2), (4, 4, 1))},
            "an image of 4 x 3: exp",
        ),
        (
            Box(0, 255, (8, 8), np.uint8),
            {"normalize_obs": True},
            "normalize_obs with conv: expec",
        ),
        (
            Box(0, 255, (8, 8), np.uint8),
            {"frame_stack": 501},
            "frame_stack 501: expected up to 500",
        ),
    ],
)
def test_images_that_it_cannot_take(space: Box, changes: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        DQN(space, Discrete(2), config(**changes))


def test_a_stack_is_of_one_environment_s_steps() -> None:
    space, settings = Box(0, 255, (8, 8), np.uint8), config(frame_stack=126)
    with pytest.raises(
        ValueError, match="frame_stack 126: expected up to 125 steps stored"
    ):
        DQN(space, Discrete(2), settings, num_envs=4)  # 500 in all


@pytest.mark.parametrize("conv", [((4, 3),), ((4, 3, 0),), (4, 3, 1), "no"])
def test_layers_that_are_none(conv: Any) -> None:
    with pytest.raises(
        ValueError, match=r"conv is .*: expected \(channels, kernel, stride\)"
    ):
        DQNConfig(conv=conv)


def test_more_memory_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "free_megabytes", lambda: 50.0)
    text = "a replay buffer of 71 MB: expected less than the free memory, 50 MB: see buffer_size"
    space = Box(0, 255, (84, 84), np.uint8)
    agent = DQN(space, Discrete(6), config(buffer_size=10_000))
    with pytest.raises(ValueError, match=text):
        agent.begin(space.sample())


@pytest.mark.parametrize("frame_stack", [1, 4])
def test_a_large_buffer_is_warned_of_where_the_agent_begins(frame_stack: int) -> None:
    space, settings = Box(0, 255, (84, 84), np.uint8), config(buffer_size=20_000)
    settings = replace(settings, frame_stack=frame_stack)
    agent = DQN(space, Discrete(6), settings)
    with pytest.warns(
        UserWarning, match="the replay buffer takes 141 MB: see b"
    ) as seen:
        agent.begin(space.sample())
    assert [warning.filename for warning in seen] == [__file__]


@pytest.mark.parametrize(
    "space",
    [
        Box(0, 255, (7, 7, 20), np.uint8),
        Box(0, 1, (6, 5, 8), np.bool_),  # type: ignore[arg-type]  # it names floats alone
        Box(0, 255, (17, 18, 19), np.uint8),
        Box(0, 1, (8, 8), np.float32),
    ],
)
def test_images_with_many_channels_are_not_taken_for_channels_first(space: Box) -> None:
    agent = DQN(space, Discrete(3), config(conv=((4, 3, 1),)))
    assert agent.q_values(space.sample()).shape == (3,)


def test_the_machine_says_how_much_memory_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "MemTotal:       24676000 kB\nMemFree: 1 kB\nMemAvailable:   20142000 kB\n"
    monkeypatch.setattr(Path, "read_text", lambda path: text)
    assert checks.free_megabytes() == 20142.0


def test_each_frame_is_stored_once() -> None:
    agent = DQN(Box(0, 255, (84, 84), np.uint8), Discrete(6), config(frame_stack=4))
    assert agent.replay.nbytes < 1.02 * 500 * 84 * 84


def image_of(dtype: Any, high: float) -> TableEnv:
    """An environment whose space has images of this dtype, from 0 to `high`."""
    env = TableEnv([[0, 0]], [[1, 1]])
    env.observation_space = Box(0, high, (8, 8), dtype)
    return env


def agent_of_images(env: Any) -> DQN:
    config = DQNConfig(conv=((2, 3, 1),), buffer_size=100)
    return DQN(env.observation_space, env.action_space, config)


def test_no_wrapper_that_refuses_unbounded_pixels_is_named() -> None:
    """RescaleObservation needs finite bounds."""
    space = Box(-np.inf, np.inf, (8, 8), np.float32)
    advice = "TransformObservation of yours converts"
    with pytest.raises(ValueError, match=advice):
        DQN(space, Discrete(2), DQNConfig(conv=((4, 3, 1),)))


@pytest.mark.parametrize(
    ("dtype", "high", "call"),
    [
        (np.int64, 255, "DtypeObservation(env, np.uint8)"),
        (np.uint8, 1, "DtypeObservation(env, np.float32)"),
        (np.int64, 1, "DtypeObservation(env, np.float32)"),
        (np.float32, 255.0, "RescaleObservation(env, 0, 1)"),
        (np.float64, 2.5, "RescaleObservation(env, 0, 1)"),
        (
            np.int32,
            1000,
            "RescaleObservation("
            "gymnasium.wrappers.DtypeObservation(env, np.float32), 0, 1)",
        ),
    ],
)
def test_the_call_that_converts_pixels_is_named(
    dtype: Any, high: float, call: str
) -> None:
    env = image_of(dtype, high)
    with pytest.raises(ValueError, match="pixels of Box") as refused:
        agent_of_images(env)
    assert str(refused.value).endswith(f"; gymnasium.wrappers.{call} converts")
    wrapped = eval(
        f"gymnasium.wrappers.{call}", {"gymnasium": gym, "env": env, "np": np}
    )
    agent_of_images(wrapped)  # it does
