"""Policies, and what they see, for the tests of act.py and of export_onnx.py."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from minidqn import DQN, DQNConfig, examples, load
from minidqn.lab.places import short_name
from minidqn.lab.tuned import EXAMPLES, maker_of
from minidqn.nn.layers import Array
from minidqn.parts.running import Statistics

SHIPPED = {env_id: short_name(env_id) for env_id in EXAMPLES}  # names, by environment
OBSERVATIONS = 1_000  # of each policy: half of them random, half of them played
INF = np.inf
# bounds, and none, ones that are too wide, and equal ones
VECTOR = Box(
    np.array([-1.0, -INF, 0.0, -1e7, -0.5, 2.0], np.float32),
    np.array([1.0, INF, 1e7, 0.0, 0.25, 2.0], np.float32),
)
BYTES = Box(0, 255, (6,), np.uint8)
SMALL_INTEGERS = Box(-128, 127, (6,), np.int8)
NUMBER = Box(-2.0, 2.0, (), np.float64)
IMAGE = Box(0, 255, (14, 12, 3), np.uint8)
GREY = Box(0, 255, (14, 12), np.uint8)
BITS = Box(0, 1, (10, 9, 4), np.bool_)  # type: ignore[arg-type]  # it takes booleans
FLOATS = Box(0.0, 1.0, (10, 9, 2), np.float32)
CONV = ((4, 4, 2), (5, 3, 1))  # the first is a CellConv2d
EVERY_PART: dict[str, Any] = {
    "dueling": True,
    "quantiles": 5,
    "layer_norm": True,
    "noisy": True,
}
Case = tuple[Box, dict[str, Any]]
VECTORS: dict[str, Case] = {
    "plain": (VECTOR, {}),
    "bytes": (BYTES, {}),
    "a single number": (NUMBER, {}),
    "dueling": (VECTOR, {"dueling": True}),
    "quantiles": (VECTOR, {"quantiles": 7}),
    "layer_norm": (VECTOR, {"layer_norm": True}),
    "noisy": (VECTOR, {"noisy": True}),
    "normalize_obs": (VECTOR, {"normalize_obs": True}),
    "normalised bytes": (BYTES, {"normalize_obs": True}),
    "normalised integers": (SMALL_INTEGERS, {"normalize_obs": True}),
    "a normalised number": (NUMBER, {"normalize_obs": True}),
    "running": (VECTOR, {"normalize_obs": "running"}),
    "running stacks": (VECTOR, {"normalize_obs": "running", "frame_stack": 3}),
    "frame_stack": (VECTOR, {"frame_stack": 3}),
    "all": (VECTOR, {"frame_stack": 2, "normalize_obs": True, **EVERY_PART}),
    "no hidden layer": (VECTOR, {"hidden": (), "dueling": True, "quantiles": 2}),
}
IMAGES: dict[str, Case] = {
    "image": (IMAGE, {"conv": CONV}),
    "grey": (GREY, {"conv": CONV}),
    "bits": (BITS, {"conv": CONV}),
    "floats": (FLOATS, {"conv": CONV}),
    "stack of images": (IMAGE, {"conv": CONV, "frame_stack": 3}),
    "stack of grey": (GREY, {"conv": CONV, "frame_stack": 4}),
    "all of images": (IMAGE, {"conv": CONV, "frame_stack": 2, **EVERY_PART}),
}


def shipped_file(env_id: str) -> str:
    """What minidqn learned of an environment."""
    path = examples.FOLDER / "trained" / f"{SHIPPED[env_id]}.safetensors"
    return str(path)


def made(case: Case) -> DQN:
    """An agent of 3 actions with all parameters at random, as if it had learned."""
    space, settings = case
    settings = {"hidden": (16, 8), **settings}
    agent = DQN(space, Discrete(3), DQNConfig(**settings), seed=1)
    rng = np.random.default_rng(2)
    params = agent.online.params
    params += rng.normal(0.0, 0.2, params.shape).astype(params.dtype)
    n_entries = max(int(np.prod(space.shape)), 1)
    if isinstance(agent.scaling, Statistics):
        agent.scaling.observe(rng.normal(1.0, 3.0, (50, n_entries)))
    return agent


def random_observations(agent: DQN, count: int) -> Array:
    """Observations of the kind of the agent's space, (B, ...).

    Where its bounds are wide, the numbers are small, as in an environment.
    """
    space: Any = agent.observation_space
    space.seed(3)
    shape = agent.replay.stack_shape
    frames = count * shape[0] if shape != space.shape else count
    obs = np.array([space.sample() for _ in range(frames)], space.dtype)
    if space.dtype.kind == "f":
        large = abs(obs) > 10.0
        obs[large] = np.random.default_rng(5).normal(size=np.count_nonzero(large))
    return obs.reshape(count, *shape)


def played_observations(agent: DQN, env_id: str, count: int) -> Array:
    """Observations of episodes that the agent plays, (B, ...): none without the game."""
    try:
        env = maker_of(env_id)().make()
    except (ImportError, gym.error.Error):
        return random_observations(agent, 0)
    if agent.config.frame_stack > 1:
        env = gym.wrappers.FrameStackObservation(env, agent.config.frame_stack)
    obs = [x for x, _ in zip(episodes(agent, env), range(count), strict=False)]
    env.close()
    return np.array(obs)


def episodes(agent: DQN, env: gym.Env[Any, Any]) -> Iterator[Array]:
    """The observations of one episode after the other; one action in five is random."""
    for seed in range(1_000):
        obs, info = env.reset(seed=seed)
        over = False
        while not over:
            yield np.array(obs)
            action = agent.act(obs, epsilon=0.2, mask=info.get("action_mask"))
            obs, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated


def seen(agent: DQN, env_id: str) -> Array:
    """Random and played observations together: (B, ...)."""
    played = played_observations(agent, env_id, OBSERVATIONS // 2)
    random = random_observations(agent, OBSERVATIONS - len(played))
    return np.concatenate([random, played])


def random_masks(agent: DQN, count: int) -> Array:
    """Which actions are allowed, one or more: (B, A)."""
    rng = np.random.default_rng(4)
    masks = rng.random((count, agent.n_actions)) < 0.5
    masks[np.arange(count), rng.integers(agent.n_actions, size=count)] = True
    return masks


def shipped(env_id: str) -> DQN:
    return load(shipped_file(env_id))
