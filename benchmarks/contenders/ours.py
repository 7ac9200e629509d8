"""minidqn's part of speed.py and keras_tutorial.py."""

import time
from typing import Any

import gymnasium as gym
import numpy as np
from worker import Call, learning, serve

from minidqn import DQN, DQNConfig, LinearDecay, train
from minidqn.lab.tuned import tuned_spec
from minidqn.replay import Replay

BUFFER = 10_000


def filled_agent(hidden: list[int], batch: int) -> DQN:
    """Plain DQN with a full buffer: episodes of 20 steps from random numbers."""
    env = gym.make("CartPole-v1")
    config = DQNConfig(
        hidden=tuple(hidden),
        batch_size=batch,
        double=False,
        n_step=1,
        tau=1.0,
        target_every=500,
        buffer_size=BUFFER,
        learning_starts=max(batch, 1000),
    )
    agent = DQN(env.observation_space, env.action_space, config)
    rng = np.random.default_rng(0)
    for step in range(BUFFER):
        if step % 20 == 0:
            agent.begin(rng.normal(size=4).astype(np.float32))
        obs = rng.normal(size=4).astype(np.float32)
        agent.observe(int(rng.integers(2)), 1.0, obs, step % 20 == 19, False)
    agent.begin(obs)
    return agent


def update(hidden: list[int], batch: int) -> Call:
    agent = filled_agent(hidden, batch)
    learning(lambda: agent.learn().loss)
    return agent.learn


def act(hidden: list[int], batch: int) -> Call:
    agent = filled_agent(hidden, 64)
    obs = np.random.default_rng(0).normal(size=(batch, 4)).astype(np.float32)
    one_or_all = obs[0] if batch == 1 else obs
    return lambda: agent.act(one_or_all)


def explore(hidden: list[int]) -> Call:
    return filled_agent(hidden, 64).explore


def forward_and_draw(hidden: list[int]) -> Call:
    """The necessary part of explore: a forward of one observation, and a random number."""
    agent = filled_agent(hidden, 64)
    network, x, rng = agent.online, agent.replay.head, agent.rng
    return lambda: (network.predict(x), rng.random(1))


def observe() -> Call:
    agent = filled_agent([64, 64], 64)
    obs = np.ones(4, np.float32)
    return lambda: agent.observe(1, 1.0, obs, False, False)


def sample(batch: int) -> Call:
    agent = filled_agent([64, 64], 64)

    def draw_and_gather() -> Any:
        starts, _ = agent.sampler.draw(batch, agent.rng, step=0)
        return agent.replay.batch(starts, 1, 0.99)

    return draw_and_gather


def tutorial_step(hidden: list[int], batch: int) -> Call:
    """What examples/five_tutorials.py calls T1, for each step: choose, store, learn."""
    agent = filled_agent(hidden, batch)
    obs = np.random.default_rng(1).normal(size=4).astype(np.float32)

    def step() -> float:
        (action,) = agent.explore()
        agent.observe(action, 1.0, obs, False, False)
        return agent.learn().loss

    return step


def image_agent(
    shape: list[int], conv: list[list[int]], hidden: list[int], batch: int
) -> DQN:
    """Plain DQN on images: boolean planes, or stacks of grey frames; a full buffer of noise."""
    height, width, channels = shape
    grey = height > 50
    space: Any = gym.spaces.Box(0, 1, (height, width, channels), np.bool_)
    if grey:
        space = gym.spaces.Box(0, 255, (height, width), np.uint8)
    config = DQNConfig(
        conv=tuple((n_out, k, s) for n_out, k, s in conv),
        frame_stack=channels if grey else 1,
        hidden=tuple(hidden),
        batch_size=batch,
        double=False,
        n_step=1,
        tau=1.0,
        target_every=500,
        buffer_size=2_000,
        learning_starts=1_000,
    )
    agent = DQN(space, gym.spaces.Discrete(6), config)
    rng = np.random.default_rng(0)

    def image() -> Any:
        noise = rng.random(space.shape)
        return (255 * noise).astype(np.uint8) if grey else noise < 0.05

    for step in range(2_000):
        if step % 20 == 0:
            agent.begin(image())
        agent.observe(int(rng.integers(6)), 1.0, image(), step % 20 == 19, False)
    return agent


def conv_update(
    shape: list[int], conv: list[list[int]], hidden: list[int], batch: int
) -> Call:
    """A whole update. Unlike the other contenders', it also draws and gathers its batch."""
    agent = image_agent(shape, conv, hidden, batch)
    learning(lambda: agent.learn().loss)
    return agent.learn


def conv_act(shape: list[int], conv: list[list[int]], hidden: list[int]) -> Call:
    agent = image_agent(shape, conv, hidden, 32)
    obs = agent.replay.head_stack[0]
    return lambda: agent.act(obs)


def minatar_steps(game: str, steps: int) -> Call:
    """Training steps with the settings of examples/minatar_games.py, one random action in fifty."""
    spec = tuned_spec(f"MinAtar/{game}-v0", epsilon=0.02)
    env = spec.make(training=True)
    agent = DQN(env.observation_space, env.action_space, spec.config)
    train(agent, env, spec.config.learning_starts, progress=False)
    return lambda: train(agent, env, steps, progress=False)


def bytes_per_transition(shape: list[int], dtype: str, n_actions: int) -> float:
    return Replay(BUFFER, tuple(shape), dtype, n_actions).nbytes / BUFFER


def train_seconds(settings: dict[str, Any], seed: int, num_envs: int = 1) -> float:
    """The time of one training run; see speed.py for the settings."""
    s = settings
    one = gym.make(s["env"])
    env: Any = one
    if num_envs > 1:
        env = gym.make_vec(s["env"], num_envs, vectorization_mode="vector_entry_point")
    config = DQNConfig(
        hidden=tuple(s["hidden"]),
        gamma=0.99,
        n_step=1,
        double=False,
        huber_delta=s["huber_delta"],
        batch_size=s["batch"],
        learning_rate=s["learning_rate"],
        buffer_size=s["buffer"],
        learning_starts=s["learning_starts"],
        train_every=s["train_every"],
        gradient_steps=s["gradient_steps"],
        tau=1.0,
        target_every=s["target_every_updates"],
        epsilon=LinearDecay(1.0, s["final_epsilon"], s["epsilon_steps"]),
    )
    agent = DQN(one.observation_space, one.action_space, config, seed, num_envs)
    start = time.perf_counter()
    train(agent, env, s["steps"], progress=False)
    seconds = time.perf_counter() - start
    assert agent.updates == s["updates"], agent.updates
    return seconds


serve(
    {
        "update": update,
        "act": act,
        "explore": explore,
        "forward_and_draw": forward_and_draw,
        "observe": observe,
        "sample": sample,
        "tutorial_step": tutorial_step,
        "conv_update": conv_update,
        "conv_act": conv_act,
        "minatar_steps": minatar_steps,
    },
    {"bytes": bytes_per_transition, "train": train_seconds},
)
