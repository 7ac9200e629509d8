"""The complete description of a run, as plain data."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from minidqn.agent import DQN
from minidqn.assembly import Build
from minidqn.checks import fits_into_memory, probability
from minidqn.config import DQNConfig
from minidqn.lab.checkpoint import load_run
from minidqn.lab.checks import count
from minidqn.lab.code import code_of, digest_of_file
from minidqn.lab.envs import Env, check_spaces
from minidqn.lab.folder import normal
from minidqn.lab.history import History
from minidqn.lab.identity import Json, as_plain, environment, registered
from minidqn.lab.in_vain import why_nothing_is_learned
from minidqn.lab.making import made, spaces_of
from minidqn.lab.settings import own_schedules, settings

COUNTS = ("num_envs", "steps", "test_episodes", "test_max_steps")


@dataclass(frozen=True)
class Spec:
    """One run: everything that is needed to make it, here or on another machine.

    The fields::

        env_id          the environment, as gymnasium.make takes it; an observation that
                        is a discrete number, or a tuple, becomes a vector
        config          the settings of the agent
        steps           environment steps of training, in total
        seed            of all random numbers
        name            its folder in a sweep, by default env_id/seed; all but the last
                        part is shared by runs that differ only in their seeds
        make_env        makes the environment instead of gymnasium.make(env_id), and
                        takes its options, such as render_mode
        train_wrapper   wraps it for training only, and may change its rewards
        network         builds your own network; see DQN
        agent           your own class of agents, which inherits from DQN
        num_envs        environments to train in, side by side
        start           the file of a saved agent, with which the run begins
        solved_at       the mean return that counts as solved; by default, as the
                        environment says
        until_solved    end the training when the last 20 episodes' mean reaches it
        test_epsilon    probability of a random action in the test
        test_episodes   episodes of the test
        test_max_steps  where an episode of the test is cut
        reseed          reset every episode with a seed of its own; without, only the
                        first: see train

    All functions must be at the top level of a module. Raises ValueError for a number
    out of range, or for until_solved with a train_wrapper.
    """

    env_id: str
    config: DQNConfig
    steps: int
    seed: int = 0
    name: str = ""
    make_env: Callable[..., gym.Env[Any, Any]] | None = None
    train_wrapper: Callable[[Any], gym.Env[Any, Any]] | None = None
    network: Build | None = None
    agent: type[DQN] = DQN
    num_envs: int = 1
    start: Path | None = None
    solved_at: float | None = None
    until_solved: bool = False
    test_epsilon: float = 0.0
    test_episodes: int = 100
    test_max_steps: int = 100_000
    reseed: bool = True

    def __post_init__(self) -> None:
        for name, kind in (("env_id", str), ("config", DQNConfig)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise TypeError(f"{name} is {value!r}: expected a {kind.__name__}")
        self._convert()
        probability("test_epsilon", self.test_epsilon)
        for name in COUNTS:
            count(name, getattr(self, name))
        count("seed", self.seed, least=0)
        if self.until_solved and self.train_wrapper is not None:
            raise ValueError(
                "until_solved: expected no train_wrapper, with which returns in "
                "training are not those of the test"
            )

    def _convert(self) -> None:
        """Give each field its usual type, so that 0 and 0.0 are the same run."""
        usual: Json = {}
        if not self.name:
            folder = self.env_id.replace(":", ".")  # Windows has no colon in a name
            usual["name"] = f"{folder}/{self.seed}"
        if self.start is not None:
            usual["start"] = Path(self.start)
        if self.solved_at is not None:
            usual["solved_at"] = float(self.solved_at)
        usual["test_epsilon"] = float(self.test_epsilon)
        for name in COUNTS:
            value = getattr(self, name)
            if isinstance(value, float) and value.is_integer():  # 1e5
                usual[name] = int(value)
        for name, value in usual.items():
            object.__setattr__(self, name, value)

    def make(self, *, training: bool = False, **options: Any) -> gym.Env[Any, Any]:
        """The environment: of the test, or the one to train in."""
        if self.make_env is None:
            env = made(self.env_id, options)
        else:
            env = self.make_env(**options)
        if training and self.train_wrapper is not None:
            env = self.train_wrapper(env)
        return env

    def make_training(self) -> Env:
        """What to train in: one environment, or a vector of num_envs.

        The vector is Gymnasium's own, if the environment has one and nothing is added
        to it. It resets itself, so a stopped run begins its unfinished episodes again.
        """
        if self.num_envs == 1:
            return self.make(training=True)
        known = registered(self.env_id) if self.make_env is None else None
        own = known is not None and known.vector_entry_point is not None
        if own and self.train_wrapper is None:
            vector = gym.make_vec(self.env_id, self.num_envs, "vector_entry_point")
            if isinstance(vector.single_observation_space, Box):
                return vector
            vector.close()  # its observations are to be flattened
        make_one = partial(self.make, training=True)
        mode = AutoresetMode.DISABLED
        return SyncVectorEnv([make_one] * self.num_envs, autoreset_mode=mode)

    def threshold(self) -> float:
        """The mean return that counts as solved; inf if it is not known."""
        if self.solved_at is not None:
            return self.solved_at
        if self.make_env is None:
            known = registered(self.env_id)
        else:  # the id is only a name; the text before a colon may be no module
            known = gym.registry.get(self.env_id.split(":")[-1])
        if known is None or known.reward_threshold is None:
            return float("inf")
        return known.reward_threshold

    def begin(self, env: Env) -> tuple[DQN, History]:
        """The agent with which the run begins, a new one or a saved one."""
        spaces = spaces_of(env)
        n = self.num_envs
        if self.start is None:
            agent = self.agent(*spaces, self.config, self.seed, n, self.network)
            return agent, History()
        agent, history = load_run(
            self.start,
            self.network,
            seed=self.seed,
            num_envs=n,
            agent=self.agent,
            decays_begin=False,
            **vars(self.config),
        )
        check_spaces(agent, *spaces)
        return agent, history

    def check(self) -> None:
        """Raise an error for a run that could not begin, or would learn nothing."""
        with closing(self.make_training()) as env:
            agent, _ = self.begin(env)
        if not agent.replay.made:
            fits_into_memory("a replay buffer", agent.replay.nbytes / 1e6)
        least = self.config.learning_starts
        if self.steps < least:
            raise ValueError(
                f"steps is {self.steps}: expected learning_starts, {least}, or more"
            )
        if self.steps <= agent.steps:
            raise ValueError(
                f"steps is {self.steps}: expected more than the {agent.steps} steps "
                f"that {self.start} has made"
            )
        in_vain = why_nothing_is_learned(agent, self.steps)
        if in_vain:
            raise ValueError(
                f"{in_vain}: expected another learning_rate, such as 1e-4 (on the "
                "command line, --set learning_rate=1e-4)"
            )

    def about(self) -> Json:
        """The run's settings as plain data: everything except its name and the code."""
        about: Json = {}
        for field in fields(self):
            if field.name not in ("name", "config", "start"):
                about[field.name] = plain(field.name, getattr(self, field.name))
        about["start"] = None if self.start is None else digest_of_file(self.start)
        for name, value in settings(self.config).items():
            own_schedule = name in own_schedules(self.config)
            if own_schedule:
                value = plain(name, getattr(self.config, name))
            about[name] = value
        return normal(about)

    def identity(self) -> Json:
        """`about`, the environment, and the code: see identity.py."""
        how: Json = {}
        makers: list[Any] = [self.make_env]
        if self.make_env is None:  # otherwise the id is only its name
            how, makers = environment(self.env_id)
        schedules = own_schedules(self.config)
        code = code_of(makers, self.train_wrapper, self.network, self.agent, schedules)
        return normal(self.about() | {"environment": how, "code": code})


def plain(name: str, value: Any) -> Any:
    try:
        return as_plain(value)
    except TypeError as error:
        raise TypeError(f"{name} of a run: {error}") from None
