"""What an environment returned: what is taken, and what is said of what is not."""

import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text
from gymnasium.wrappers import FlattenObservation

from minidqn import DQN, DQNConfig, MaskToInfo, evaluate, train
from minidqn.batch import STEP, TERMINATED, TRUNCATED
from minidqn.lab import returned
from minidqn.nn.layers import Array
from minidqn.replay import Replay

SPACE = Box(-1.0, 1.0, (4,), np.float32)
ZEROS = np.zeros(4, np.float32)
# of another machine's byte order
FOREIGN_INTEGER: Any = np.dtype(np.int16).newbyteorder("S")
FOREIGN_FLOAT: Any = np.dtype(np.float64).newbyteorder("S")
SMALL = DQNConfig(hidden=(4,), batch_size=4, learning_starts=4, buffer_size=100)


def begun(num_envs: int = 1, **settings: Any) -> DQN:
    """An agent for observations of four numbers and two actions, after a reset."""
    agent = DQN(SPACE, Discrete(2), DQNConfig(**settings), num_envs=num_envs)
    agent.begin(ZEROS if num_envs == 1 else np.zeros((num_envs, 4)))
    return agent


def said(call: Any, *arguments: Any) -> str:
    """What the error says that a call raises."""
    with pytest.raises((TypeError, ValueError)) as refused:
        call(*arguments)
    return str(refused.value)


def test_a_mistake_is_named_with_what_to_write_instead() -> None:
    observe = begun().observe
    assert said(observe, 0, np.array([1.5]), ZEROS, False, False) == (
        "step 1: reward is array([1.5]), of type ndarray and shape (1,): expected a "
        "finite number (as a float32), such as float(reward[0])"
    )


# --- One environment: an action, a reward, and two flags


@pytest.mark.parametrize(
    ("terminated", "truncated", "kind"),
    [
        (np.array(False), np.array(False), STEP),
        (np.array(True), np.array(False), TERMINATED),
        (np.array(False), np.array(True), TRUNCATED),
        (True, np.array(True), TERMINATED),
        (np.bool_(False), np.array(True), TRUNCATED),
        (np.array(False), True, TRUNCATED),
    ],
)
def test_flags_may_be_arrays_without_axes(
    terminated: Any, truncated: Any, kind: int
) -> None:
    agent = begun()
    mask = None if kind == STEP else [1, 0]
    agent.observe(np.array(1), np.array(2.5), ZEROS, terminated, truncated, mask)
    assert agent.replay.kind[0, 0] == kind
    assert agent.replay.action[0, 0] == 1
    assert agent.replay.reward[0, 0] == 2.5
    assert agent.replay.over is (kind != STEP)
    assert (agent.steps, agent.episodes) == (1, int(kind != STEP))
    assert type(agent.episodes) is int


class Arrays(gym.Env[Array, Any]):
    """All that it returns is an array; an episode has five steps, of reward 1."""

    observation_space = SPACE
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.steps = 0
        return ZEROS, {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        over = np.array(self.steps == 5)
        return ZEROS, np.array(1.0), over, np.array(False), {}


def test_a_run_in_an_environment_that_returns_arrays() -> None:
    agent = DQN(SPACE, Discrete(2), SMALL)
    train(agent, Arrays(), 50, progress=False)
    assert (agent.steps, agent.episodes) == (50, 10)
    assert np.count_nonzero(agent.replay.kind == TERMINATED) == 10
    assert evaluate(agent, Arrays(), 2, progress=False).tolist() == [5.0, 5.0]


@pytest.mark.parametrize("name", ["terminated", "truncated"])
@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (1, "{} is 1, of type int: expected True or False, such as bool({})"),
        (
            np.int64(0),
            "{} is np.int64(0), of type int64: expected True or False, such "
            "as bool({})",
        ),
        (np.array(1), "{} is array(1), of type ndarray: expected True or False"),
        (None, "{} is None, of type NoneType: expected True or False"),
        (0.0, "{} is 0.0, of type float: expected True or False"),
        (
            np.array([True]),
            "{} is array([ True]), of type ndarray and shape (1,): expected True or "
            "False, such as bool({}[0])",
        ),
        (
            np.array([True, False]),
            "{} is array([ True, False]), of type ndarray and shape (2,): expected "
            "True or False",
        ),
        ([True], "{} is [True], of type list: expected True or False"),
        (
            {},
            "{} is {{}}, of type dict: expected True or False; a step gives obs, "
            "reward, terminated, truncated, info",
        ),
    ],
)
def test_flags_that_are_none(name: str, flag: Any, message: str) -> None:
    """With a dict in the place of `truncated`, a loop has the old four values."""
    flags = {"terminated": False, "truncated": False, name: flag}
    found = said(begun().observe, 0, 1.0, ZEROS, *flags.values())
    assert found == "step 1: " + message.format(name, name)


@pytest.mark.parametrize(
    ("action", "reward", "message"),
    [
        (np.array([1]), 1.0, "action is array([1]), of type ndarray and shape (1,): "),
        (np.array([1]), 1.0, "expected an integer from 0 to 1, such as int(action[0])"),
        (0.5, 1.0, "action is 0.5, of type float: expected an integer from 0 to 1"),
        (2, 1.0, "action is 2, of type int: expected an integer from 0 to 1"),
        (None, np.nan, "action is None, of type NoneType: expected an integer"),
        (1, np.nan, "reward is nan, of type float: expected a finite number"),
        (1, 1e39, "reward is 1e+39, of type float: expected a finite number (as a fl"),
        (1, None, "reward is None, of type NoneType: expected a finite number"),
        (1, "1.0", "reward is '1.0', of type str: expected a finite number"),
        (1, [1.0], "reward is [1.0], of type list: expected a finite number"),
        (1, np.ones((1, 1)), "reward is array([[1.]]), of type ndarray and shape (1, "),
        (1, np.ones(2), "and shape (2,): expected a finite number (as a float32)"),
        (1, np.array(np.inf), "reward is array(inf), of type ndarray: expected a fin"),
    ],
)
def test_an_action_or_a_reward_that_is_none(
    action: Any, reward: Any, message: str
) -> None:
    """It is said which of the two it is."""
    found = said(begun().observe, action, reward, ZEROS, False, False)
    assert found.startswith("step 1: ")
    assert message in found
    assert ("action" in found) is not ("reward" in found)


def test_a_long_value_is_cut_short() -> None:
    for reward in (np.ones(1000), list(range(1000)), "x" * 1000, 10**1000):
        found = said(begun().observe, 0, reward, ZEROS, False, False)
        assert len(found) < 150
        assert "\n" not in found


# --- Observations


@pytest.mark.parametrize("space", [SPACE, Box(-1.0, 1.0, (3, 1)), Box(-1.0, 1.0, ())])
def test_an_axis_too_many_in_the_observation_of_one_environment(space: Box) -> None:
    obs = np.zeros(space.shape, np.float32)
    for first in (obs, obs[None]):
        replay = Replay(10, space.shape, np.float32, 2)
        replay.begin(first)
        found = said(replay.add, 1, 1.0, obs[None], False, np.array(False))
        assert found.startswith(
            f"observation has shape {(1, *space.shape)}: expected {space.shape}, as "
            "the observation space says, such as obs[0]"
        )
        # an action is an array where explore gave it, a reward where a network did
        for action, reward in ((1, [1.0]), ([1], 1.0), ([1], [1.0])):
            again = said(replay.add, action, reward, obs[None], False, False)
            assert again == found
        assert replay.count == 0
        replay.add(1, 1.0, obs, False, False)


def test_a_vector_environment_of_one_goes_on_working() -> None:
    agent = DQN(SPACE, Discrete(2))
    agent.begin(ZEROS[None])
    agent.observe(agent.explore(), np.ones(1), ZEROS[None], [True], [False])
    agent.observe(agent.explore(), np.zeros(1), ZEROS[None], [False], [False])
    assert (agent.steps, agent.episodes, agent.resets) == (1, 1, 2)
    found = said(agent.observe, 1, np.ones(1), ZEROS[None], [False], [False])
    assert (
        found == "step 2: action has shape (): expected (1,), one for each environment"
    )

    env = gym.make_vec("CartPole-v1", 1)
    agent = DQN(env.single_observation_space, env.single_action_space, SMALL)
    train(agent, env, 60, progress=False)
    assert agent.steps == 60


def test_the_shapes_that_observations_should_have() -> None:
    one, three = begun(), begun(3)
    stacks = DQN(SPACE, Discrete(2), DQNConfig(frame_stack=2))
    three_rows = np.zeros((3, 4))
    for call, obs, message in (
        (one.begin, np.zeros(5), "has shape (5,): expected (4,)"),
        (
            one.begin,
            three_rows,
            "expected (4,); for 3 environments make the agent with nu",
        ),
        (three.begin, ZEROS, "has shape (4,): expected (4,) for each of 3 environm"),
        (three.begin, ZEROS[None], "for each of 3 environments, (3, 4)"),
        (one.act, np.zeros((2, 5)), "shape (2, 5): expected (4,) or a batch of such"),
        (stacks.act, ZEROS, "shape (4,): expected (2, 4) or a batch of such; with fra"),
    ):
        found = said(call, obs)
        assert message in found
        assert ("frame_stack" in found) is (call == stacks.act)


def test_an_observation_that_was_not_taken_out_of_what_reset_returned() -> None:
    agent = DQN(SPACE, Discrete(2))
    single = DQN(Box(-1.0, 1.0, ()), Discrete(2))
    pair = DQN(Box(-1.0, 1.0, (2,)), Discrete(2))
    for call, result in (
        (agent.begin, (ZEROS, {})),
        (agent.act, (ZEROS, {"action_mask": [1, 0]})),
        (single.begin, (0.5, {})),  # NumPy makes an array of objects of it
        (single.act, (0.5, {})),
        (pair.begin, (0.5, {})),
    ):
        assert said(call, result) == (
            "observation is a tuple of 2 values, of which the last is an info: "
            "expected the observation alone; write obs, info = env.reset()"
        )
    assert "a tuple of 5 values" in said(agent.begin, (ZEROS, 1.0, True, False, {}))


@pytest.mark.parametrize(
    "obs",
    [None, {"x": 1}, "text", [[1.0], [1.0, 2.0]], [1j] * 4, ["a"] * 4, [None] * 4],
)
def test_an_observation_without_numbers(obs: Any) -> None:
    agent = begun()
    for call in (agent.begin, agent.act, agent.q_values):
        found = said(call, obs)
        assert re.fullmatch(
            "observation is .*, of type .*: expected one array of numbers", found
        )
        assert type(obs).__name__ in found
    found = said(agent.observe, 0, 1.0, obs, False, False)
    assert found.startswith("step 1: observation is ")


def test_a_number_that_does_not_fit_names_the_dtype() -> None:
    agent = DQN(Box(0, 255, (2,), np.uint8), Discrete(2))
    found = said(agent.begin, [0, 256])
    assert found == (
        "observation has 256 at index (1,): expected uint8, the dtype of the "
        "observation space"
    )


# --- Several environments


def test_it_is_said_in_which_environment_it_was() -> None:
    agent = begun(3)
    obs = np.zeros((3, 4))
    flags = np.zeros(3, np.bool_)
    agent.observe([0, 0, 0], [0.0] * 3, obs, [False, True, False], flags)
    for arguments, message in (
        (
            ([0, 1, 2], [0.0] * 3, obs, flags, flags),
            "in environment 2, action is 2, of",
        ),
        (
            ([0, 0, 0], [0.0, np.nan, 0.0], obs, flags, flags),
            "in environment 1, reward is nan, of type float: expected a finite",
        ),
        (
            ([0, 0, 0], [0.0] * 3, obs, [False, True, False], flags),
            "environment 1 ended twice in a row: expected NEXT_STEP autoreset, where "
            "the step after an episode's end is the reset",
        ),
        (
            ([0, 0, 0], [0.0, [1.0], 0.0], obs, flags, flags),
            "reward is [0.0, [1.0], 0.0], of type list: expected numbers, of shape (3",
        ),
        (
            ([0, 0, 0], [0.0] * 3, obs, [0, 1, 0], flags),
            "terminated is [0, 1, 0], of type list: expected True or False",
        ),
        (
            ([0, 0, 0], [0.0] * 3, obs, flags, flags, [[1, 1], [1, 1], [0, 0]]),
            "action_mask allows no action in row 2: expected one or more, except",
        ),
    ):
        assert said(agent.observe, *arguments).startswith("step 4: " + message)
    assert agent.steps == 3


def test_the_shapes_that_a_mask_may_have() -> None:
    agent = begun()
    found = said(agent.begin, ZEROS, [1, 1, 1])
    assert found == "action_mask has shape (3,): expected (1, 2) or (2,)"
    found = said(begun(3).begin, np.zeros((3, 4)), [1, 1])
    assert found == "action_mask has shape (2,): expected (3, 2)"
    found = said(agent.act, ZEROS, 0.0, [[1], [1, 1]])
    assert found.startswith("action_mask is [[1], [1, 1]], of type list: expected shap")


# --- The API: reset returns two values, and step five


def test_what_reset_and_step_return_is_passed_on() -> None:
    info: dict[str, Any] = {}
    reset = (ZEROS, info)
    step = (ZEROS, 1.0, False, True, info)
    for result, passed in (
        (reset, returned.reset_result(reset)),
        (list(reset), returned.reset_result(list(reset))),
        (step, returned.step_result(step)),
        (list(step), returned.step_result(list(step))),
    ):
        assert len(result) == len(passed)
        assert all(a is b for a, b in zip(result, passed, strict=True))


@pytest.mark.parametrize(
    ("result", "found"),
    [
        (ZEROS, "array([0., 0....dtype=float32), of type ndarray and shape (4,)"),
        (np.zeros(2), "array([0., 0.]), of type ndarray and shape (2,)"),
        ([0.0, 1.0], "[0.0, 1.0], of type list"),  # MountainCar's, as a list
        ((0.0, 1.0), "(0.0, 1.0), of type tuple"),
        ((0.0, None), "(0.0, None), of type tuple"),
        (None, "None, of type NoneType"),
        (0, "0, of type int"),
        ({"x": 0, "y": 1}, "{'x': 0, 'y': 1}, of type dict"),
        ((0.0, {}, {}), "(0.0, {}, {}), of type tuple"),
    ],
)
def test_a_reset_of_the_old_api(result: Any, found: str) -> None:
    assert said(returned.reset_result, result) == (
        f"env.reset returned {found}: expected obs, info, where info is a dict "
        "(Gymnasium since 0.26); wrap an environment of the old API, for example with "
        "the package shimmy; gymnasium.make has no apply_api_compatibility any more"
    )


@pytest.mark.parametrize(
    ("result", "found"),
    [
        ((ZEROS, 1.0, False, {}), "4 values"),
        ([ZEROS, 1.0, False, {}], "4 values"),
        ((ZEROS, 1.0, False, False, {}, {}), "6 values"),
        ((), "0 values"),
        (None, "None, of type NoneType"),
        (np.zeros(5), "array([0., 0., 0., 0., 0.]), of type ndarray and shape (5,)"),
    ],
)
def test_a_step_of_the_old_api(result: Any, found: str) -> None:
    assert said(returned.step_result, result) == (
        f"env.step returned {found}: expected obs, reward, terminated, truncated, info "
        "(Gymnasium since 0.26); wrap an environment of the old API, for example with "
        "the package shimmy; gymnasium.make has no apply_api_compatibility any more"
    )


def test_an_info_that_is_no_dict() -> None:
    """Else it would be said that numpy.float32 has no attribute `get`."""
    result = (ZEROS, 1.0, False, False, np.float32(0.5))
    assert said(returned.step_result, result) == (
        "env.step returned the info np.float32(0.5), of type float32: expected a dict"
    )


# --- Spaces: what is advised works


class Chosen(gym.Env[Array, Any]):
    """Keeps the actions that it is given, each of which must be in its space."""

    observation_space = SPACE

    def __init__(self, action_space: Any) -> None:
        self.action_space = action_space
        self.chosen: list[str] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return ZEROS, {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        self.chosen.append(str(action))
        return ZEROS, 0.0, False, False, {}


@pytest.mark.parametrize(
    ("space", "n"),
    [
        (Discrete(3, start=1), 3),
        (Discrete(3, start=-2), 3),
        (MultiDiscrete([3]), 3),
        (MultiDiscrete([3, 2]), 6),
        (MultiDiscrete([3, 2], start=[1, -1]), 6),
        (MultiDiscrete(np.array([[3, 2], [1, 2]])), 12),
        (MultiDiscrete(np.array([[3, 2]]), start=np.array([[0, 5]])), 6),
        (MultiBinary(3), 8),
        (MultiBinary([2, 2]), 16),
        pytest.param(
            Box(-1.0, 1.0, (1,)),
            5,
            marks=pytest.mark.skipif(
                not hasattr(gym.wrappers, "DiscretizeAction"),
                reason="Gymnasium has it since 1.2.1",
            ),
        ),
    ],
)
def test_the_wrapper_that_is_advised_makes_the_actions_discrete(
    space: Any, n: int
) -> None:
    """The call in the message is run as it stands there."""
    found = said(DQN, SPACE, space)
    assert found.startswith(f"action space {space}: expected Discrete(n) from 0 on; ")
    call = re.search(r"gymnasium\.wrappers\.\w+\(env, .*\)(?=,? (in|converts))", found)
    assert call is not None
    env = Chosen(space)
    names = {"gymnasium": gym, "np": np, "env": env}
    wrapped = eval(call[0], names)
    assert wrapped.action_space == Discrete(n)
    for action in range(n):
        wrapped.step(action)
    assert len(set(env.chosen)) == n
    train(DQN(SPACE, wrapped.action_space, SMALL), wrapped, 10, progress=False)


@pytest.mark.filterwarnings("ignore:overflow")  # in Gymnasium, of a float16
@pytest.mark.parametrize("dtype", [np.float16, FOREIGN_INTEGER, FOREIGN_FLOAT])
def test_the_wrapper_that_is_advised_makes_another_dtype(dtype: Any) -> None:
    class Odd(Arrays):
        observation_space = Box(0, 9, (2,), dtype)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return np.ones(2, dtype), {}

        def step(self, action: Any) -> Any:
            return np.ones(2, dtype), 0.0, False, False, {}

    found = said(DQN, Odd.observation_space, Discrete(2))
    call = re.search(r"gymnasium\.wrappers\.\w+\(env, .*\)(?= converts)", found)
    assert call is not None
    wrapped = eval(call[0], {"gymnasium": gym, "np": np, "env": Odd()})
    agent = DQN(wrapped.observation_space, Discrete(2), SMALL)
    train(agent, wrapped, 10, progress=False)
    assert agent.replay.obs[:5].tolist() == [[[1, 1]]] * 5


def test_the_spaces_of_a_vector_environment_are_told_from_those_of_one() -> None:
    env = gym.make_vec("CartPole-v1", 3)
    found = said(DQN, SPACE, env.action_space)
    assert "a vector environment has Discrete(n) as single_action_space" in found
    assert "of 8 combinations" in found


def test_an_action_that_no_wrapper_of_gymnasium_converts() -> None:
    found = said(DQN, SPACE, Text(3))
    assert found.endswith("TransformAction converts a number")


class Masked(gym.Env[Any, Any]):
    """The mask is a part of the observation, as in other libraries."""

    action_space = Discrete(3)
    observation_space = Dict(
        {"x": SPACE, "action_mask": Box(0, 1, (3,), np.int8)},
    )

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.observed(), {}

    def observed(self) -> Any:
        return {"x": ZEROS, "action_mask": np.array([0, 1, 1], np.int8)}

    def step(self, action: Any) -> Any:
        assert action in (1, 2)
        return self.observed(), 0.0, False, False, {}


def test_a_mask_in_the_observation_is_not_to_become_a_feature() -> None:
    found = said(DQN, Masked.observation_space, Masked.action_space)
    assert 'the agent looks for info["action_mask"]' in found
    assert "minidqn.MaskToInfo(env) moves it there" in found

    env = FlattenObservation(MaskToInfo(Masked()))
    agent = DQN(env.observation_space, env.action_space, SMALL)
    train(agent, env, 30, progress=False)
    assert agent.replay.obs_shape == (4,)
    assert agent.replay.head_mask.tolist() == [[False, True, True]]


def test_spaces_of_another_package_look_the_same() -> None:
    class LikeGyms:
        __module__ = "gym.spaces.box"

        def __repr__(self) -> str:
            return "Box(-1.0, 1.0, (4,), float32)"

    for spaces, what in (
        ((LikeGyms(), Discrete(2)), "observation"),
        ((SPACE, LikeGyms()), "action"),
    ):
        found = said(DQN, *spaces)
        assert found == (
            f"{what} space Box(-1.0, 1.0, (4,), float32) is a gym.spaces.box.LikeGyms: "
            "expected a space of gymnasium.spaces, such as env.observation_space or "
            "env.action_space"
        )
