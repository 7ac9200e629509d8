"""Five tutorials that people learn DQN from: as written, and with their mistakes fixed.

    T1  a Keras notebook: CartPole, one update for each step, no target network
    T2  Breakout from the console's memory, with several things the wrong way round
    T3  a PyTorch post: CartPole of 200 steps, whose end is never marked
    T4  a TensorFlow page on target networks: CartPole
    T5  "DQN in 130 lines": CartPole of 200 steps, one update for each episode

They differ in almost every choice. A choice that looks like a mistake is called a
*quirk* here. Most quirks are settings: some as the tutorial has them, and others that
fix the mistake. If settings are not enough, a subclass of the agent makes the mistake:
an *override*, of a few lines. A tutorial as written has all of its quirks. A fixed one
has none.

What does one quirk cost? Two mistakes can hide each other, or need each other. So each
quirk is measured twice:

    as written, compared with   all quirks but this one
    fixed, compared with        only this quirk

Each of these is trained from the same seeds. At the end, its last policy is tested. A
run with minidqn's own settings shows what is possible in the same number of episodes.

    python examples/five_tutorials.py --seeds 20   all of it, with tables and a figure
    python examples/five_tutorials.py --show T3    one run as its author shows it

T2 needs the extra `atari`. The script can be stopped, and continues later: each run
writes its result under --work. (After a change of the code, choose another folder.)
docs/five_tutorials.md compares the choices and tells what came out.

The order of this file: the overrides; the five tutorials; one run; all runs; tables;
the figure; one run as its author shows it; the command line.

Letters: A actions, B batch, S seeds, N episodes.
"""

import argparse
import math
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from minidqn import (
    DQN,
    TEST,
    TRAIN,
    DQNConfig,
    ExponentialDecay,
    GeometricDecay,
    History,
    LinearDecay,
    animate,
    episode_seed,
    evaluate,
    plot_learning_curve,
    stop_on_interrupt,
    sweep,
    train,
    tuned,
)
from minidqn.agent import Metrics
from minidqn.examples.breakout_ram import OneBall
from minidqn.lab.history import rolling_mean
from minidqn.lab.plotting import BLUE, GREEN, RED
from minidqn.lab.training import Watcher
from minidqn.lab.watchers import live_plot, log_every, record_every, until_solved
from minidqn.nn.layers import Array, Linear
from minidqn.replay import Replay
from minidqn.sampler import UniformSampler

# --- The overrides: what settings cannot express
#
# An agent may have several. Python then calls their methods one after the other: each
# `super()` is the next override, and the last one is DQN.


class NoTerminalMask(DQN):
    """Bootstraps through the end of an episode: a fall does not lower the value."""

    def observe(
        self,
        action: Any,
        reward: Any,
        obs: Any,
        terminated: Any,
        truncated: Any,
        mask: Any = None,
    ) -> None:
        over = terminated or truncated
        super().observe(action, reward, obs, False, over, mask)


class LastStepCosts(DQN):
    """A reward of -1 on the last step, even if the time limit ended the episode."""

    def observe(
        self,
        action: Any,
        reward: Any,
        obs: Any,
        terminated: Any,
        truncated: Any,
        mask: Any = None,
    ) -> None:
        if terminated or truncated:
            reward = -1.0
        super().observe(action, reward, obs, terminated, truncated, mask)


class StoresNextAction(DQN):
    """Stores the next action with a step: it learns the value of the wrong action."""

    chosen: Array | None = None  # the next action, (1,); None after a reset

    def begin(self, obs: Any, mask: Any = None) -> None:
        super().begin(obs, mask)
        self.chosen = None

    def explore(self) -> Array:
        if self.chosen is None:
            return super().explore()
        return self.chosen

    def observe(self, *step: Any, **named: Any) -> None:
        super().observe(*step, **named)
        self.chosen = super().explore()
        newest = (self.replay.count - 1) % self.replay.slots
        self.replay.action[newest] = self.chosen


class ActsWithOldCopy(DQN):
    """The two networks swapped: an old copy acts, the online network bootstraps.

    Its settings `tau` and `target_every` must be 1. Then the target network equals the
    online one after each update.
    """

    copied_every = 300  # updates

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.copy = self.online.params.copy()  # the parameters of the one that acts

    @contextmanager
    def copy_in_use(self) -> Iterator[None]:
        """Meanwhile, the online network has the copy's parameters."""
        online = self.online.params.copy()
        self.online.params[:] = self.copy
        try:
            yield
        finally:
            self.online.params[:] = online

    def explore(self) -> Array:
        with self.copy_in_use():
            return super().explore()

    def act(self, obs: Any, epsilon: float = 0.0, mask: Any = None) -> Any:
        with self.copy_in_use():
            return super().act(obs, epsilon, mask)

    def learn(self) -> Metrics:
        metrics = super().learn()
        if self.updates % self.copied_every == 0:
            self.copy[:] = self.online.params
        return metrics


class Memory(UniformSampler):
    """Draws only from the slots that are in `entries`.

    The replay buffer keeps the whole stream of steps. The memory of a tutorial is a
    list of some of its slots.
    """

    def __init__(self, replay: Replay, size: int) -> None:
        super().__init__(replay)
        self.entries = np.zeros(size, np.int64)  # (size,): slots
        self.filled = 0  # how many of them are set

    def draw(
        self, batch_size: int, rng: np.random.Generator, step: int
    ) -> tuple[Array, Array]:
        """The slots of B steps, (B,), and the weights of their losses, (B,): all 1."""
        chosen = rng.integers(self.filled, size=batch_size)  # (B,)
        weights = np.ones(batch_size, np.float32)  # (B,)
        return self.entries[chosen], weights


class ThrowsOutNewest(DQN):
    """New steps are dropped once the memory is full: it learns from its first steps.

    Its buffer has a slot for every step of a run, so a slot is never used twice.
    """

    size = 10_000

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.sampler: Memory = Memory(self.replay, self.size)

    def observe(self, *step: Any, **named: Any) -> None:
        super().observe(*step, **named)
        memory = self.sampler
        newest = self.replay.count - 1
        if memory.filled < self.size:
            memory.entries[memory.filled] = newest
            memory.filled += 1
        else:
            self.when_full(newest)

    def when_full(self, newest: int) -> None:
        """What happens to the newest step, a slot: nothing, so it is lost."""


class OverwritesRandom(ThrowsOutNewest):
    """A full memory overwrites random steps: some of the oldest stay long."""

    def when_full(self, newest: int) -> None:
        overwritten = self.rng.integers(self.size)
        self.sampler.entries[overwritten] = newest


class StaleDouble(DQN):
    """Double DQN's next action is selected when the step is stored, and never again.

    It is stored as the only allowed action in the next observation. So the target
    network evaluates it. Exploration ignores this mask.
    """

    random_next: int | None = None  # the action to select instead; see prime

    def observe(
        self,
        action: Any,
        reward: Any,
        obs: Any,
        terminated: Any,
        truncated: Any,
        mask: Any = None,
    ) -> None:
        selected = self.random_next
        if selected is None:
            selected = self.act(obs)
        only_it = np.eye(self.n_actions)[selected]  # (A,): a mask
        super().observe(action, reward, obs, terminated, truncated, only_it)

    def explore(self) -> Array:
        obs = self.replay.head[0]
        action = self.act(obs, self.epsilon)
        return np.array([action])


class UpdateForEachEpisode(DQN):
    """Up to 200 steps are stored for each update: 250 updates are too few."""

    primed = 0  # episodes before the first one that counts; see prime

    @property
    def updates_due(self) -> int:
        if self.primed == 0:
            return 0
        finished = self.episodes - self.primed
        return max(finished - self.updates, 0)


class EpsilonByEpisode(DQN):
    """Epsilon is 0.3 / episode: after ten episodes it hardly explores."""

    primed = 0  # episodes before the first one that counts; see prime

    @property
    def epsilon(self) -> float:
        if self.primed == 0:
            return 1.0
        episode = max(self.resets - self.primed, 1)
        return 0.3 / episode


def prime(agent: Any, env: gym.Env[Any, Any]) -> None:
    """Store one batch of transitions, as T5 does before its first episode.

    They are the first steps of as many episodes, and the actions are random. So are
    the next actions that StaleDouble selects.
    """
    for number in range(agent.config.batch_size):
        first_obs, _ = env.reset(seed=episode_seed(agent.seed, TRAIN, number))
        agent.begin(first_obs)
        action, random_next = agent.rng.integers(agent.n_actions, size=2).tolist()
        agent.random_next = random_next
        obs, reward, terminated, truncated, _ = env.step(action)
        agent.observe(action, reward, obs, terminated, truncated, None)
    agent.random_next = None
    agent.updates_skipped += agent.updates_due
    agent.primed = agent.resets


class NoUpdateAtTheEnd(DQN):
    """The loop is left before the update when an episode ends."""

    def observe(self, *step: Any, **named: Any) -> None:
        super().observe(*step, **named)
        if self.replay.over:
            self.updates_skipped += self.updates_due


class StartsLike(DQN):
    """The initial weights of the tutorial's framework; see `reach`."""

    initial = ""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        for layer in self.online.layers:
            if isinstance(layer, Linear):
                n_in, n_out = layer.W.shape
                reach_W, reach_b = reach(self.initial, n_in, n_out)
                layer.W[:] = self.rng.uniform(-reach_W, reach_W, layer.W.shape)
                layer.b[:] = self.rng.uniform(-reach_b, reach_b, layer.b.shape)
        self.target.params[:] = self.online.params


def reach(initial: str, n_in: int, n_out: int) -> tuple[float, float]:
    """How large initial weights and biases may be, for n_in inputs and n_out outputs.

    They are uniform between minus this and this.
    """
    if initial == "Keras":  # Glorot & Bengio 2010
        return math.sqrt(6 / (n_in + n_out)), 0.0
    if initial == "PyTorch":
        return n_in**-0.5, n_in**-0.5
    return math.sqrt(6 / n_in), 0.0  # He et al. 2015


# --- The five tutorials

Settings = dict[str, Any]  # of DQNConfig


@dataclass(frozen=True)
class Quirk:
    """A mistake: what makes it, and the settings that fix it.

    The setting "until" is none of DQNConfig. It says: train until the mean of this many
    returns passes 195.
    """

    name: str
    written: Settings = field(default_factory=dict)
    fixed: Settings = field(default_factory=dict)
    override: type[DQN] = DQN  # DQN itself: none


@dataclass(frozen=True)
class Tutorial:
    title: str
    env_id: str
    limit: int | None  # steps of an episode; None for the game's own
    episodes: int
    initial: str  # weights: see StartsLike
    settings: Settings  # those that are no mistake
    quirks: list[Quirk]
    claim: str  # what its author says of the result
    good: float  # a return that counts as good
    always: type[DQN] = DQN  # an override that is no mistake; DQN itself: none


PLAIN: Settings = {"double": False, "n_step": 1, "max_grad_norm": np.inf}
SQUARED = {"huber_delta": np.inf}  # the loss is the squared error, however large
SMOOTH_L1 = {"huber_delta": 1.0}  # from an error of 1, the loss is a straight line

NO_TARGET_NETWORK = Quirk(
    # Each update moves the targets of the next one, so the values can diverge.
    "no target network",
    written={"tau": 1.0, "target_every": 1},
    fixed={"tau": 1.0, "target_every": 50},
)
NO_TERMINAL_MASK = Quirk("no terminal mask", override=NoTerminalMask)

T1 = Tutorial(
    title="the Keras notebook",
    env_id="CartPole-v1",
    limit=210,
    episodes=500,
    initial="Keras",
    settings={
        **PLAIN,
        **SQUARED,
        "hidden": (24, 24),
        "learning_rate": 1e-3,
        "gamma": 0.95,
        "batch_size": 24,
        "learning_starts": 25,
        "epsilon": GeometricDecay(1.0, 0.001, 0.995, per="update"),
    },
    quirks=[
        NO_TARGET_NETWORK,
        Quirk(
            # Five good episodes can be luck: each had another policy, and the last
            # one is kept.
            "stops after 5 good episodes",
            written={"until": 5},
            fixed={"until": 100},
        ),
        Quirk(
            "memory of 2,500",
            written={"buffer_size": 2_500},
            fixed={"buffer_size": 50_000},
        ),
    ],
    claim="reaches 195 within 500 episodes",
    good=195.0,
    always=NoUpdateAtTheEnd,
)

T2 = Tutorial(
    title="Breakout from RAM",
    env_id="ale_py:ALE/Breakout-v5",
    limit=None,
    episodes=80,  # of its 2,000, which would take days
    initial="Keras",
    settings={
        **PLAIN,
        **SQUARED,
        "hidden": (80, 60),
        "gamma": 0.99,
        "batch_size": 100,
        "buffer_size": 10_000,
        "learning_starts": 6_000,
    },
    quirks=[
        Quirk(
            # Numbers up to 255 make Q-values in the hundreds, before anything is
            # learned.
            "raw bytes",
            written={"normalize_obs": False},
            fixed={"normalize_obs": "bounds"},
        ),
        Quirk(
            # Ten to a hundred times the usual rate of Adam: units die, and stay dead.
            "Adam at 0.01",
            written={"learning_rate": 1e-2},
            fixed={"learning_rate": 5e-4},
        ),
        Quirk("stores the next action", override=StoresNextAction),
        Quirk(
            "the two networks swapped",
            written={"tau": 1.0, "target_every": 1},
            fixed={"tau": 1.0, "target_every": 300},
            override=ActsWithOldCopy,
        ),
        NO_TERMINAL_MASK,
        Quirk(
            # It takes 2.3 million updates to reach 0.1: nearly all actions are random.
            "epsilon times 0.999999",
            written={"epsilon": GeometricDecay(1.0, 0.1, 0.999999, per="update")},
            fixed={"epsilon": LinearDecay(1.0, 0.1, 10_000)},
        ),
    ],
    claim="none",
    good=31.8,  # a person's (Mnih et al. 2015)
)

T3 = Tutorial(
    title="the PyTorch post",
    env_id="CartPole-v1",
    limit=200,
    episodes=200,
    initial="PyTorch",
    settings={
        **PLAIN,
        **SMOOTH_L1,
        "hidden": (256,),
        "learning_rate": 1e-3,
        "buffer_size": 10_000,
        "batch_size": 64,
        "learning_starts": 64,
        "epsilon": ExponentialDecay(0.9, 0.05, 200),
    },
    quirks=[
        # Alone, it would punish success at the limit. Without a terminal mask, it is
        # the only difference between a fall and another step.
        Quirk("-1 on the last step", override=LastStepCosts),
        NO_TERMINAL_MASK,
        NO_TARGET_NETWORK,
        Quirk(
            # It looks 5 steps ahead: a pole takes longer to fall.
            "gamma 0.8",
            written={"gamma": 0.8},
            fixed={"gamma": 0.99},
        ),
    ],
    claim="converges around 700 to 800 episodes",
    good=195.0,
)

T4 = Tutorial(
    title="the TensorFlow page",
    env_id="CartPole-v1",
    limit=500,
    episodes=300,
    initial="He",
    settings={
        **PLAIN,
        **SQUARED,
        "hidden": (24, 12),
        # the page leaves the others open: these are our choices
        "batch_size": 32,
        "learning_rate": 1e-3,
        "gamma": 0.99,
        "learning_starts": 1_000,
        "tau": 1.0,
        "target_every": 200,
        "epsilon": LinearDecay(1.0, 0.05, 10_000),
    },
    quirks=[
        Quirk(
            "overwrites a random entry",
            # The buffer holds the whole run: 300 episodes of 500 steps, and a slot
            # between two episodes. Memory draws from 10,000 of its slots.
            written={"buffer_size": 300 * 501},
            fixed={"buffer_size": 10_000},
            override=OverwritesRandom,
        )
    ],
    claim="none",
    good=475.0,
)

T5 = Tutorial(
    title="DQN in 130 lines",
    env_id="CartPole-v1",
    limit=200,
    episodes=250,
    initial="PyTorch",
    settings={
        **PLAIN,
        **SMOOTH_L1,
        "hidden": (128, 128),
        "learning_rate": 1e-4,
        "batch_size": 128,
        "learning_starts": 128,
        "tau": 1.0,
        "target_every": 200,
    },
    quirks=[
        Quirk(
            "gamma is passed epsilon, 0.3",
            written={"gamma": 0.3},
            fixed={"gamma": 0.99},
        ),
        Quirk(
            "throws out the newest",
            # it holds the whole run, as that of T4, and the steps of `prime`
            written={"buffer_size": 252 * 201},
            fixed={"buffer_size": 10_000},
            override=ThrowsOutNewest,
        ),
        Quirk("one update for each episode", override=UpdateForEachEpisode),
        Quirk("stale Double", fixed={"double": True}, override=StaleDouble),
        NO_TERMINAL_MASK,
        Quirk(
            "epsilon 0.3 / episode",
            fixed={"epsilon": LinearDecay(1.0, 0.05, 5_000)},
            override=EpsilonByEpisode,
        ),
    ],
    claim="averages 128.1 over 250 episodes",
    good=195.0,
)

TUTORIALS = {"T1": T1, "T2": T2, "T3": T3, "T4": T4, "T5": T5}

# --- One run

PASSES = 195.0  # the mean return at which a tutorial with "until" stops


class Variant(NamedTuple):
    """Which of a tutorial's quirks a run has, and how long it is."""

    quirks: tuple[str, ...] | None  # their names; None: minidqn's own settings
    episodes: int


class Outcome(NamedTuple):
    """The result of a run."""

    # one of each episode: of training, and where that ended early, of the test
    returns: list[float]
    trained: int  # episodes of training
    test: float  # the last policy's mean return in new episodes; see `tested`


def make_env(tutorial: Tutorial, **options: Any) -> gym.Env[Any, Any]:
    if "Breakout" in tutorial.env_id:
        return gym.make(tutorial.env_id, obs_type="ram", **options)
    return gym.make(tutorial.env_id, max_episode_steps=tutorial.limit, **options)


def most_steps(tutorial: Tutorial, episodes: int) -> int:
    """As many steps as these episodes can take, or more."""
    longest = tutorial.limit or 30_000  # a game of Breakout ends after 27,000
    return episodes * longest


def make_agent(
    tutorial: Tutorial, quirks: Collection[str], env: gym.Env[Any, Any], seed: int
) -> tuple[DQN, int | None]:
    """The agent of a tutorial with only these quirks, and its "until" or None."""
    settings = dict(tutorial.settings)
    overrides = []
    if tutorial.always is not DQN:
        overrides.append(tutorial.always)
    for quirk in tutorial.quirks:
        if quirk.name in quirks:
            settings.update(quirk.written)
            if quirk.override is not DQN:
                overrides.append(quirk.override)
        else:
            settings.update(quirk.fixed)
    until = settings.pop("until", None)

    # a subclass of all overrides, as if written: class Agent(..., StartsLike)
    kind = type("Agent", (*overrides, StartsLike), {"initial": tutorial.initial})
    config = DQNConfig(**settings)
    agent: DQN = kind(env.observation_space, env.action_space, config, seed)
    return agent, until


def play(name: str, variant: Variant, seed: int) -> Outcome:
    """Train one agent, and test its last policy."""
    tutorial = TUTORIALS[name]
    recorded = gym.wrappers.RecordEpisodeStatistics(
        make_env(tutorial), buffer_length=variant.episodes
    )
    games = recorded.return_queue  # the return of each finished game
    env: gym.Env[Any, Any] = recorded
    steps = most_steps(tutorial, variant.episodes)
    watchers: list[Watcher] = []
    if variant.quirks is None:
        if tutorial.limit is None:
            env = OneBall(recorded)  # as in examples/breakout_ram.py
        steps = our_steps(tutorial, variant.episodes)
        config = tuned(tutorial.env_id.removeprefix("ale_py:"), steps)
        agent = DQN(env.observation_space, env.action_space, config, seed)
    else:
        agent, until = make_agent(tutorial, variant.quirks, env, seed)
        if until is not None:
            watchers.append(until_solved(PASSES, until))
        if name == "T5":
            prime(agent, env)

    def all_played(agent: DQN, history: History) -> bool:
        return len(games) == variant.episodes

    watchers.append(all_played)
    with suppress(FloatingPointError):  # if it diverges, the policy stays as it was
        train(agent, env, steps, on_step=watchers, progress=False)
    return tested(agent, tutorial, list(games), variant.episodes, seed)


def our_steps(tutorial: Tutorial, episodes: int) -> int:
    """Training steps with minidqn's own settings: at most half of the possible ones.

    minidqn plans its decays for this number of steps, and plays greedily after them.
    """
    longest = tutorial.limit or 1_000  # a guess for Breakout
    return min(40_000, episodes * longest // 2)


def tested(
    agent: DQN, tutorial: Tutorial, games: list[Any], episodes: int, seed: int
) -> Outcome:
    """The outcome of a run after its training, whose returns are `games`.

    CartPole's test is 100 greedy episodes. Breakout's is 5 at epsilon 0.05. If training
    ended early, the test's returns stand for those that are missing.
    """
    if tutorial.limit is None:
        tests = 5
        epsilon = 0.05
    else:
        tests = 100
        epsilon = 0.0
    missing = episodes - len(games)
    test_returns = evaluate(
        agent,
        make_env(tutorial),
        max(tests, missing),
        seed,
        epsilon,
        progress=False,
    )
    returns = [float(game) for game in games]
    returns.extend(test_returns[:missing].tolist())
    return Outcome(returns, len(games), float(test_returns[:tests].mean()))


# --- All runs

# the outcome of each tutorial, of each variant, of each seed
Results = dict[str, dict[str, list[Outcome]]]


def variants(name: str) -> dict[str, Variant]:
    """The runs of a tutorial: with all quirks, no quirk, all but one, and only one."""
    tutorial = TUTORIALS[name]
    episodes = tutorial.episodes
    quirks = tuple(quirk.name for quirk in tutorial.quirks)
    runs = {
        "as written": Variant(quirks, episodes),
        "fixed": Variant((), episodes),
        "minidqn": Variant(None, episodes),
    }
    for quirk in quirks:
        others = tuple(other for other in quirks if other != quirk)
        runs[f"without {quirk}"] = Variant(others, episodes)
    for quirk in quirks:
        runs[f"only {quirk}"] = Variant((quirk,), episodes)
    if name == "T3":
        # its claim is about more episodes than it shows
        runs["as written, longer"] = Variant(quirks, 800)
    return runs


@dataclass(frozen=True)
class Played:
    """One of these runs, as a spec for `sweep`."""

    tutorial: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        """It is also the run's folder, so it has no / but these two."""
        variant = self.variant.replace("/", "by")
        return f"{self.tutorial}/{variant}/{self.seed}"

    def about(self) -> dict[str, Any]:
        return asdict(self)


def outcome(run: Played, folder: Path) -> dict[str, Any]:
    """The task of the sweep: make one run. It needs nothing of its `folder`."""
    variant = variants(run.tutorial)[run.variant]
    return play(run.tutorial, variant, run.seed)._asdict()


def run_all(names: list[str], seeds: int, jobs: int, work: Path) -> Results:
    """Every variant of these tutorials from every seed, several at a time."""
    runs: list[Played] = []
    results: Results = {}
    for name in names:
        results[name] = {}
        for variant in variants(name):
            results[name][variant] = []
            runs.extend(Played(name, variant, seed) for seed in range(seeds))

    by_name = {}  # they come in the order in which they end
    for result in sweep(runs, work, workers=jobs, task=outcome):
        by_name[result["name"]] = result
    for name, result in by_name.items():
        if "failed" in result:
            sys.exit(f"{name} failed, and the others are kept. {result['failed']}")

    for run in runs:
        result = by_name[run.name]
        results[run.tutorial][run.variant].append(
            Outcome(result["returns"], result["trained"], result["test"])
        )
    return results


# --- Tables


def interval(x: ArrayLike) -> tuple[Array, Array]:
    """95 % bootstrap interval of the mean over seeds: of (S, ...), two arrays (...).

    It draws S of the S seeds, with replacement, 2000 times. 95 % of the means of these
    draws lie in the interval.
    """
    x = np.asarray(x)  # (S, ...)
    seeds = len(x)
    draws = np.random.default_rng(0).integers(seeds, size=(2000, seeds))
    means = x[draws].mean(axis=1)  # (2000, ...)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low, high


def with_interval(x: ArrayLike, sign: str = "") -> str:
    """The mean over the seeds, (S,), and its interval. The sign "+" shows a plus, too."""
    mean = np.asarray(x).mean()
    low, high = interval(x)
    return f"{mean:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def tests_of(outcomes: list[Outcome]) -> Array:
    """The test of each seed: (S,)."""
    return np.array([run.test for run in outcomes])


def row(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def finding(name: str, runs: dict[str, list[Outcome]]) -> str:
    """What became of the tutorial's claim, over all seeds."""
    written = runs["as written"]
    if name == "T1":
        return how_many_reach(written)
    if name == "T3":
        last = [np.mean(run.returns[-100:]) for run in runs["as written, longer"]]
        return f"the mean of episodes 701 to 800 is {with_interval(last)}"
    means = [np.mean(run.returns) for run in written]
    episodes = len(written[0].returns)
    return f"the average over {episodes} episodes is {with_interval(means)}"


def how_many_reach(written: list[Outcome]) -> str:
    """How many seeds of T1 stopped because their last five returns passed 195."""
    reached = []  # after how many episodes
    for run in written:
        last_five = run.returns[: run.trained][-5:]
        if np.mean(last_five) >= PASSES:
            reached.append(run.trained)
    text = f"{len(reached)} of {len(written)} seeds do"
    if reached:
        text += f", after {np.mean(reached):.0f} episodes on average"
    return text


def claims_table(results: Results) -> list[str]:
    """The lines of a table: a row for each tutorial."""
    lines = [
        "| | its own claim | found, as written | test: as written | fixed | minidqn |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, runs in results.items():
        cells = [
            name,
            TUTORIALS[name].claim,
            finding(name, runs),
            with_interval(tests_of(runs["as written"])),
            with_interval(tests_of(runs["fixed"])),
            with_interval(tests_of(runs["minidqn"])),
        ]
        lines.append(row(cells))
    return lines


def costs_table(results: Results) -> list[str]:
    """The lines of a table: a row for each quirk."""
    lines = [
        "| | quirk | as written | only it fixed | difference | fixed | only it back "
        "| difference |",
        "| --- " * 8 + "|",
    ]
    for name, runs in results.items():
        written = tests_of(runs["as written"])  # (S,)
        fixed = tests_of(runs["fixed"])  # (S,)
        for quirk in TUTORIALS[name].quirks:
            without = tests_of(runs[f"without {quirk.name}"])  # (S,)
            only = tests_of(runs[f"only {quirk.name}"])  # (S,)
            cells = [
                name,
                quirk.name,
                f"{written.mean():.1f}",
                f"{without.mean():.1f}",
                with_interval(without - written, "+"),
                f"{fixed.mean():.1f}",
                f"{only.mean():.1f}",
                with_interval(only - fixed, "+"),
            ]
            lines.append(row(cells))
    return lines


def tables(results: Results) -> str:
    """Both tables, and how to read them."""
    some_runs = next(iter(results.values()))
    seeds = len(some_runs["as written"])
    lines = [
        f"Means over {seeds} seeds with their 95 % bootstrap intervals. The test is of "
        "the policy that a run ends with: 100 new episodes, greedy (Breakout: 5, at "
        "epsilon 0.05).",
        "",
        *claims_table(results),
        "",
        "What each quirk costs, in the test's return: as written, and with only that "
        "one fixed; fixed, and with only that one back. Differences are between runs "
        "of the same seed: a mistake that costs has a plus in the first, a minus in "
        "the second.",
        "",
        *costs_table(results),
    ]
    return "\n".join(lines) + "\n"


# --- The figure

# in its legend: the variant, its colour, and what it is
CURVES = (
    ("as written", RED, "as written"),
    ("fixed", BLUE, "its mistakes fixed"),
    ("minidqn", GREEN, "minidqn's own settings,\ngreedy once it has trained"),
)


def draw(results: Results, path: Path) -> None:
    """Returns in training, greedy ones once it is over. Each tutorial has a panel."""
    figure = Figure(figsize=(11, 6.2), dpi=120, layout="constrained")
    panels = list(figure.subplots(2, 3).flat)
    for axes, name in zip(panels, results, strict=False):  # there are more panels
        draw_curves(axes, results[name])
        axes.set(title=f"{name}, {TUTORIALS[name].title}", xlabel="episode")
        axes.set(ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(results) :]:
        axes.axis("off")
    lines, _ = panels[0].get_legend_handles_labels()
    texts = [text for _, _, text in CURVES]
    panels[-1].legend(lines, texts, loc="center", frameon=False)  # in the last one
    figure.suptitle(
        "Return of an episode, mean of the last 20: "
        "mean over the seeds with its 95 % interval"
    )
    figure.savefig(path)


def draw_curves(axes: Any, runs: dict[str, list[Outcome]]) -> None:
    """A line for the mean over the seeds, in a band for its interval."""
    for key, color, _ in CURVES:
        smooth = [rolling_mean(run.returns, 20) for run in runs[key]]
        curves = np.stack(smooth)  # (S, N)
        low, high = interval(curves)  # (N,), (N,)
        episodes = np.arange(1, curves.shape[1] + 1)  # (N,)
        axes.fill_between(episodes, low, high, color=color, alpha=0.25, lw=0)
        axes.plot(episodes, curves.mean(axis=0), color=color, lw=1.8, label=key)


# --- One run as its author shows it


def show(name: str, seed: int, out: Path) -> None:
    """Train as written; draw, film and print what the tutorial does."""
    tutorial = TUTORIALS[name]
    env = make_env(tutorial, render_mode="rgb_array")
    quirks = [quirk.name for quirk in tutorial.quirks]
    agent, until = make_agent(tutorial, quirks, env, seed)
    if name == "T5":
        prime(agent, env)
    author_watches = watchers_of(name, until, out)

    def all_played(agent: DQN, history: History) -> bool:
        return len(history) == tutorial.episodes

    steps = most_steps(tutorial, tutorial.episodes)
    with stop_on_interrupt() as interrupted:
        watchers = [interrupted, *author_watches, all_played]
        history = train(agent, env, steps, on_step=watchers)

    test_returns: Sequence[float] | Array = ()
    missing = tutorial.episodes - len(history)
    if until is not None and missing > 0:
        test_returns = evaluate(agent, env, missing, seed)
    plot_learning_curve(
        history,
        out / f"{name}_learning_curve.png",
        test_returns=test_returns,
        solved_at=tutorial.good,
        title=f"{name}, {tutorial.title}, as written, seed {seed}",
    )
    if name == "T4":
        untrained, _ = make_agent(tutorial, quirks, env, seed)
        policies = {"before": untrained, "after": agent}
        seeds = [episode_seed(seed, TEST, number) for number in range(3)]
        animate(policies, env, out / "T4_before_after.gif", seeds)


def watchers_of(name: str, until: int | None, out: Path) -> list[Watcher]:
    """What a tutorial does while it trains: it stops, films, draws or prints."""
    watchers: list[Watcher] = []
    if until is not None:
        watchers.append(until_solved(PASSES, until))
    if name == "T2":
        env = make_env(TUTORIALS[name], render_mode="rgb_array")
        watchers.append(record_every(20, env, out))
    if name == "T3":
        watchers.append(live_plot(195.0))
    if name == "T5":
        watchers.append(log_every(10))
    return watchers


# --- The command line


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Run five tutorials, as written and fixed."
    )
    parser.add_argument(
        "--tutorials", nargs="+", choices=TUTORIALS, default=list(TUTORIALS)
    )
    parser.add_argument("--seeds", type=int, default=20, help="seeds 0 to N - 1")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count(), help="runs at a time"
    )
    parser.add_argument("--out", type=Path, default=Path("runs") / "five_tutorials")
    parser.add_argument(
        "--show", choices=TUTORIALS, help="a single run, as its author shows it"
    )
    parser.add_argument("--seed", type=int, default=0, help="of that run")
    parser.add_argument(
        "--work", type=Path, default=Path("runs") / "five_tutorials" / "work"
    )
    args = parser.parse_args()
    if args.seeds < 1 or args.jobs < 1 or args.seed < 0:
        parser.error("--seeds and --jobs: expected 1 or more, --seed 0 or more")
    wanted = [args.show] if args.show else args.tutorials
    if "T2" in wanted and not find_spec("ale_py"):
        parser.error('T2 takes the extra atari: pip install "minidqn[atari]"')
    return args


def main() -> None:
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.show:
        show(args.show, args.seed, args.out)
    else:
        results = run_all(args.tutorials, args.seeds, args.jobs, args.work)
        text = tables(results)
        (args.out / "five_tutorials.md").write_text(text)
        draw(results, args.out / "five_tutorials.png")
        print(text)
    print(f"Files are in {args.out}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on.")
