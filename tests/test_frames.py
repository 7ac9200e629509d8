"""Stacks of frames, by hand; test_replay.py has them against a plain list."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.wrappers import FrameStackObservation

import minidqn.parts.frames
from minidqn import DQN, DQNConfig, evaluate, train
from minidqn.nn.layers import Array
from minidqn.parts.frames import CurrentStack, Flatten, StackedReplay
from minidqn.replay import Replay
from minidqn.sampler import UniformSampler

from .conftest import plain
from .test_replay import copied, draw_all


def counting(steps: int, num_envs: int = 1, end_every: int = 5) -> StackedReplay:
    """A ring for stacks of three; observations and rewards count up."""
    replay = StackedReplay(12 * num_envs, (1,), np.float32, 2, num_envs, frames=3)
    lane = 1000.0 * np.arange(num_envs)  # environment 1 counts from 1000 on
    no = np.zeros(num_envs, np.bool_)
    replay.begin(lane[:, None])
    for t in range(1, steps + 1):
        rewards = np.full(num_envs, float(t))
        ends = no | (t % end_every == 0)
        obs = (lane + t)[:, None]
        replay.add(np.full(num_envs, t % 2), rewards, obs, ends, no)
        if ends.all():
            replay.begin((lane + t + 0.5)[:, None])
    return replay


def test_a_stack_begins_with_its_episode() -> None:
    replay = counting(2)
    # before the first observation there is none: it is repeated
    assert replay.head_stack.tolist() == [[[0.0], [1.0], [2.0]]]
    batch = draw_all(replay, 2)
    assert batch.obs[:, :, 0].tolist() == [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    assert batch.next_obs[:, :, 0].tolist() == [[0.0, 0.0, 1.0], [0.0, 1.0, 2.0]]

    replay = counting(5)  # an episode has ended, and another begun
    assert replay.head_stack.tolist() == [[[5.5], [5.5], [5.5]]]
    batch = draw_all(replay, 5)
    assert batch.obs[-1, :, 0].tolist() == [2.0, 3.0, 4.0]
    assert batch.next_obs[-1, :, 0].tolist() == [3.0, 4.0, 5.0]  # the final one


def test_the_oldest_step_has_its_whole_stack() -> None:
    replay = counting(40, end_every=10**9)
    batch = draw_all(replay, 12)
    assert batch.obs[:, :, 0].tolist() == [[t - 2, t - 1, t] for t in range(28, 40)]


def test_each_environment_has_its_own_frames() -> None:
    replay = counting(3, num_envs=2)
    stacks = [[1.0, 2.0, 3.0], [1001.0, 1002.0, 1003.0]]
    assert replay.head_stack[:, :, 0].tolist() == stacks
    batch = draw_all(replay, 6)
    assert batch.next_obs[-2:, :, 0].tolist() == stacks


def test_shapes_and_memory() -> None:
    plain_ring = Replay(100, (6, 5), np.uint8, 4)
    replay = StackedReplay(100, (6, 5), np.uint8, 4, frames=4)
    assert replay.obs_shape == (6, 5)
    assert replay.stack_shape == (4, 6, 5)
    # the head, and three frames before the oldest step
    assert replay.slots == 104
    assert replay.nbytes == 104 * (6 * 5 + 4 + 4 + 1)
    assert plain_ring.nbytes == 101 * (6 * 5 + 4 + 4 + 1)
    replay.begin(np.zeros((6, 5)))
    assert replay.head.shape == (1, 6, 5)
    assert replay.head_stack.shape == (1, 4, 6, 5)
    assert replay.head_stack.dtype == np.uint8


def test_the_head_s_stack_is_a_copy() -> None:
    replay = counting(2)
    stack = replay.head_stack
    replay.add([0], [0.0], [[9.0]], [False], [False])
    assert stack[0, :, 0].tolist() == [0.0, 1.0, 2.0]
    assert replay.head_stack[0, :, 0].tolist() == [1.0, 2.0, 9.0]


@pytest.mark.parametrize("num_envs", [1, 2])
def test_the_kernel_agrees_with_its_plain_python(
    num_envs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay = counting(33, num_envs)
    assert replay.count > 2 * replay.slots
    rng = np.random.default_rng(0)
    starts, _ = UniformSampler(replay).draw(12, rng, step=0)

    def drawn() -> list[Array]:
        return [replay.head_stack, *copied(replay.batch(starts, 2, 0.9))]

    compiled = drawn()
    kernel = plain(minidqn.parts.frames.copy_stacks)
    monkeypatch.setattr(minidqn.parts.frames, "copy_stacks", kernel)
    for part, python in zip(compiled, drawn(), strict=True):
        np.testing.assert_array_equal(part, python)


class Counting(gym.Env[Array, int]):
    """Observations count up, in any dtype; `length` steps to the end."""

    observation_space = Box(0, 255, (4,), np.uint8)
    action_space: Any = Discrete(2)

    def __init__(self, length: int, dtype: Any = np.uint8) -> None:
        self.length = length
        self.dtype = dtype

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return np.full(4, self.t, self.dtype), {}

    def step(self, action: int) -> Any:
        self.t += 1
        obs = np.full(4, self.t, self.dtype)
        return obs, 1.0, self.t >= self.length, False, {}


@pytest.mark.parametrize("frame_stack", [1, 2])
def test_a_test_takes_what_training_takes(frame_stack: int) -> None:
    """Also integers of another size than the observation space says."""
    env = Counting(5, np.int64)
    config = DQNConfig(frame_stack=frame_stack, learning_starts=64, buffer_size=1000)
    agent = DQN(Counting.observation_space, Counting.action_space, config)
    train(agent, env, 70, progress=False)
    assert evaluate(agent, env, 2, progress=False).tolist() == [5.0, 5.0]


@pytest.mark.parametrize("frames", [2, 3, 5])
def test_a_test_s_stack_is_training_s_and_gymnasium_s(frames: int) -> None:
    replay = StackedReplay(50, (4,), np.uint8, 2, frames=frames)
    current = CurrentStack((4,), np.dtype(np.uint8), frames)
    wrapped = FrameStackObservation(Counting(40), frames)
    for _ in range(2):  # the second begins where the first one is cut
        env = Counting(40)
        obs, _ = env.reset()
        replay.begin(obs)
        stacks = [current.begin(obs)]
        expected = [wrapped.reset()[0]]
        for _ in range(30):  # far more than the frames: a small ring goes round
            obs, reward, terminated, truncated, _ = env.step(0)
            replay.add(0, reward, obs, terminated, truncated)
            stacks.append(current.add(obs))
            expected.append(wrapped.step(0)[0])
            np.testing.assert_array_equal(stacks[-1], replay.head_stack[0])
        assert stacks[0].dtype == np.uint8
        # all of them: none was overwritten by a later one
        np.testing.assert_array_equal(stacks, expected)


def test_flatten_lays_out_rows_and_puts_gradients_back() -> None:
    layer = Flatten()
    cache = layer.new_cache(2, np.dtype(np.float32))
    x = np.arange(12.0).reshape(2, 3, 2)
    assert layer.forward(x, cache).tolist() == [[*range(6)], [*range(6, 12)]]
    dx: Any = layer.backward(np.arange(12.0).reshape(2, 6), cache)
    np.testing.assert_array_equal(dx, x)
