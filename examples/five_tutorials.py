"""Five tutorials that people learn DQN from: each as written, and with its mistakes fixed.

    T1  a Keras notebook: CartPole, one update for each step, no target network
    T2  Breakout from the console's memory, with several things the wrong way round
    T3  a PyTorch post: CartPole of 200 steps, whose end is never marked
    T4  a TensorFlow page on target networks: CartPole
    T5  "DQN in 130 lines": CartPole of 200 steps, one update for each episode

They differ in almost every choice. A choice that looks like a mistake is called a *quirk* here. A
quirk has the settings as written, the settings that fix it, and if settings are not enough, a few
lines that override the agent. A tutorial as written has all of its quirks, and a fixed one has
none. The cost of a quirk is measured twice: in the tutorial as written when only this quirk is
fixed, and in the fixed tutorial when only this quirk comes back.

    python examples/five_tutorials.py --seeds 20       all of it, with tables and a figure
    python examples/five_tutorials.py --show T3        one run as written, as its author shows it

T2 needs the extra `atari`. The script can be stopped, and continues later: each run writes its
result under --work. (After a change of the code, choose another folder.) docs/five_tutorials.md
compares the choices.
"""

import argparse
import os
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
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
from minidqn.examples.breakout_ram import OneBall
from minidqn.lab.plotting import BLUE, GREEN, RED, rolling_mean
from minidqn.lab.training import Watcher
from minidqn.lab.watchers import live_plot, log_every, record_every, until_solved
from minidqn.nn.layers import Array, Linear
from minidqn.replay import Replay
from minidqn.sampler import UniformSampler

# --- What settings cannot express. A step: action, reward, next_obs, terminated, truncated, mask


class NoTerminalMask(DQN):
    """Bootstraps through the end of an episode: a fall does not lower the value."""

    def observe(self, *step: Any, **_: Any) -> None:
        action, reward, next_obs, terminated, truncated, mask = step
        super().observe(action, reward, next_obs, False, terminated or truncated, mask)


class LastStepCosts(DQN):
    """A reward of -1 on the last step, even if the time limit ended the episode."""

    def observe(self, *step: Any, **_: Any) -> None:
        action, reward, next_obs, terminated, truncated, mask = step
        reward = -1.0 if terminated or truncated else reward
        super().observe(action, reward, next_obs, terminated, truncated, mask)


class StoresNextAction(DQN):
    """Stores the next action with a step: it learns the value of the wrong action."""

    chosen: Array | None = None

    def begin(self, *first: Any, **_: Any) -> None:
        super().begin(*first)
        self.chosen = None

    def explore(self) -> Array:
        return super().explore() if self.chosen is None else self.chosen

    def observe(self, *step: Any, **_: Any) -> None:
        super().observe(*step)
        self.chosen = super().explore()
        self.replay.action[(self.replay.count - 1) % self.replay.slots] = self.chosen


class ActsWithOldCopy(DQN):
    """The two networks swapped: the copy acts, and the online one is its own target.

    (So tau and target_every are 1 where this is used; `copy` is the other network's parameters.)
    """

    copied_every = 300

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.copy = self.online.params.copy()

    def by_copy(self, choose: Callable[..., Any], *args: Any) -> Any:
        """The result of `choose` while the online network has the copy's parameters."""
        online = self.online.params.copy()
        self.online.params[:] = self.copy
        actions = choose(*args)
        self.online.params[:] = online
        return actions

    def explore(self) -> Array:
        actions: Array = self.by_copy(super().explore)
        return actions

    def act(self, *args: Any, **named: Any) -> Any:
        return self.by_copy(partial(super().act, **named), *args)

    def learn(self) -> Any:
        metrics = super().learn()
        if self.updates % self.copied_every == 0:
            self.copy[:] = self.online.params
        return metrics


class Memory(UniformSampler):
    """Draws only from the slots that are in `entries`; the ring keeps the whole stream."""

    def __init__(self, replay: Replay, size: int) -> None:
        super().__init__(replay)
        self.entries = np.zeros(size, np.int64)
        self.filled = 0  # how many of them are set

    def draw(
        self, batch_size: int, rng: np.random.Generator, step: int
    ) -> tuple[Array, Array]:
        drawn: Array = self.entries[rng.integers(self.filled, size=batch_size)]
        return drawn, np.ones(batch_size, np.float32)


class ThrowsOutNewest(DQN):
    """New steps are dropped once the memory is full: it learns from its first steps."""

    size = 10_000

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sampler: Memory = Memory(self.replay, self.size)

    def observe(self, *step: Any, **_: Any) -> None:
        super().observe(*step)
        memory, newest = self.sampler, self.replay.count - 1
        if memory.filled < self.size:
            memory.entries[memory.filled] = newest
            memory.filled += 1
        else:
            self.when_full(newest)

    def when_full(self, newest: int) -> None:
        pass


class OverwritesRandom(ThrowsOutNewest):
    """A full memory overwrites random steps: some of the oldest stay long."""

    def when_full(self, newest: int) -> None:
        self.sampler.entries[self.rng.integers(self.size)] = newest


class StaleDouble(DQN):
    """Double DQN's next action is selected when the step is stored, and never again.

    It is stored as the only allowed action in next_obs, so the target network evaluates
    it; exploration ignores this mask.
    """

    random_next: int | None = None  # see prime

    def observe(self, *step: Any, **_: Any) -> None:
        action, reward, next_obs, terminated, truncated, _ = step
        selected = self.act(next_obs) if self.random_next is None else self.random_next
        best = np.eye(self.n_actions)[selected]
        super().observe(action, reward, next_obs, terminated, truncated, best)

    def explore(self) -> Array:
        return np.array([self.act(self.replay.head[0], self.epsilon)])


class UpdateForEachEpisode(DQN):
    """Up to 200 steps are stored for each update: 250 updates are too few."""

    primed = 0  # episodes before the first one that counts; see prime

    @property
    def updates_due(self) -> int:
        return max(self.episodes - self.primed - self.updates, 0) if self.primed else 0


class EpsilonByEpisode(DQN):
    """Epsilon is 0.3 / episode: after ten episodes it hardly explores."""

    primed = 0  # as above

    @property
    def epsilon(self) -> float:
        return 0.3 / max(self.resets - self.primed, 1) if self.primed else 1.0


def prime(agent: Any, env: gym.Env[Any, Any]) -> None:
    """Store one batch of transitions: the first step of many episodes, with random actions."""
    for number in range(agent.config.batch_size):
        agent.begin(env.reset(seed=episode_seed(agent.seed, TRAIN, number))[0])
        action, agent.random_next = agent.rng.integers(agent.n_actions, size=2).tolist()
        obs, reward, terminated, truncated, _ = env.step(action)
        agent.observe(action, reward, obs, terminated, truncated, None)
    agent.updates_skipped += agent.updates_due
    agent.random_next, agent.primed = None, agent.resets


class NoUpdateAtTheEnd(DQN):
    """The loop is left before the update when an episode ends."""

    def observe(self, *step: Any, **_: Any) -> None:
        super().observe(*step)
        if self.replay.over:
            self.updates_skipped += self.updates_due


class StartsLike(DQN):
    """The initial weights of the tutorial's framework, for a layer from I inputs to O outputs."""

    initial = ""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for layer in self.online.layers:
            if isinstance(layer, Linear):
                n_in, n_out = layer.W.shape
                reach_w, reach_b = {
                    "Keras": (np.sqrt(6 / (n_in + n_out)), 0.0),  # Glorot & Bengio 2010
                    "PyTorch": (n_in**-0.5, n_in**-0.5),
                    "He": (np.sqrt(6 / n_in), 0.0),  # He et al. 2015
                }[self.initial]
                layer.W[:] = self.rng.uniform(-reach_w, reach_w, layer.W.shape)
                layer.b[:] = self.rng.uniform(-reach_b, reach_b, layer.b.shape)
        self.target.params[:] = self.online.params


# --- The five

Settings = dict[str, Any]


@dataclass(frozen=True)
class Quirk:
    """A mistake: settings of DQNConfig and an override as written, and settings that fix it.

    ("until" is no setting of DQNConfig: train until the mean of this many returns passes 195.)
    """

    name: str
    written: Settings = field(default_factory=dict)
    fixed: Settings = field(default_factory=dict)
    override: type[DQN] = DQN


@dataclass(frozen=True)
class Tutorial:
    title: str
    env_id: str
    limit: int | None  # steps of an episode; None for the game's own
    episodes: int
    initial: str  # weights: see StartsLike
    settings: Settings  # of DQNConfig, without those of the quirks
    quirks: list[Quirk]
    claim: str
    good: float  # a return that counts as good
    always: type[DQN] = DQN  # an override that is no mistake


NO_TARGET_NETWORK = Quirk(
    # Each update moves the targets of the next one, so the values can diverge.
    "no target network",
    written={"tau": 1.0, "target_every": 1},
    fixed={"tau": 1.0, "target_every": 50},
)
NO_TERMINAL_MASK = Quirk("no terminal mask", override=NoTerminalMask)
SQUARED, SMOOTH_L1 = {"huber_delta": np.inf}, {"huber_delta": 1.0}
PLAIN: Settings = {"double": False, "n_step": 1, "max_grad_norm": np.inf}

TUTORIALS = {
    "T1": Tutorial(
        "the Keras notebook",
        "CartPole-v1",
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
            # Five good episodes can be luck. Each had another policy, and the last one is kept.
            Quirk("stops after 5 good episodes", {"until": 5}, {"until": 100}),
            Quirk("memory of 2,500", {"buffer_size": 2_500}, {"buffer_size": 50_000}),
        ],
        claim="reaches 195 within 500 episodes",
        good=195.0,
        always=NoUpdateAtTheEnd,
    ),
    "T2": Tutorial(
        "Breakout from RAM",
        "ale_py:ALE/Breakout-v5",
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
            # Numbers up to 255 make Q-values in the hundreds before anything is learned.
            Quirk("raw bytes", {"normalize_obs": False}, {"normalize_obs": "bounds"}),
            # Ten to a hundred times the usual rate of Adam: units die, and stay dead.
            Quirk("Adam at 0.01", {"learning_rate": 1e-2}, {"learning_rate": 5e-4}),
            Quirk("stores the next action", override=StoresNextAction),
            Quirk(
                "the two networks swapped",
                {"tau": 1.0, "target_every": 1},
                {"tau": 1.0, "target_every": 300},
                ActsWithOldCopy,
            ),
            NO_TERMINAL_MASK,
            # It takes 2.3 million updates to reach 0.1, so nearly all actions are random.
            Quirk(
                "epsilon times 0.999999",
                {"epsilon": GeometricDecay(1.0, 0.1, 0.999999, per="update")},
                {"epsilon": LinearDecay(1.0, 0.1, 10_000)},
            ),
        ],
        claim="none",
        good=31.8,  # a person's (Mnih et al. 2015)
    ),
    "T3": Tutorial(
        "the PyTorch post",
        "CartPole-v1",
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
            # Alone, it would punish success at the limit. Without a terminal mask, it is the only
            # difference between a fall and another step.
            Quirk("-1 on the last step", override=LastStepCosts),
            NO_TERMINAL_MASK,
            NO_TARGET_NETWORK,
            # It looks 5 steps ahead: a pole takes longer to fall.
            Quirk("gamma 0.8", {"gamma": 0.8}, {"gamma": 0.99}),
        ],
        claim="converges around 700 to 800 episodes",
        good=195.0,
    ),
    "T4": Tutorial(
        "the TensorFlow page",
        "CartPole-v1",
        limit=500,
        episodes=300,
        initial="He",
        settings={  # from batch_size on, our constants: the page leaves them open
            **PLAIN,
            **SQUARED,
            "hidden": (24, 12),
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
                {
                    "buffer_size": 300 * 501
                },  # the whole run; Memory draws from 10,000 of it
                {"buffer_size": 10_000},
                OverwritesRandom,
            )
        ],
        claim="none",
        good=475.0,
    ),
    "T5": Tutorial(
        "DQN in 130 lines",
        "CartPole-v1",
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
            Quirk("gamma is passed epsilon, 0.3", {"gamma": 0.3}, {"gamma": 0.99}),
            Quirk(
                "throws out the newest",
                {"buffer_size": 252 * 201},  # the whole run, and the steps of `prime`
                {"buffer_size": 10_000},
                ThrowsOutNewest,
            ),
            Quirk("one update for each episode", override=UpdateForEachEpisode),
            Quirk("stale Double", {}, {"double": True}, StaleDouble),
            NO_TERMINAL_MASK,
            Quirk(
                "epsilon 0.3 / episode",
                fixed={"epsilon": LinearDecay(1.0, 0.05, 5_000)},
                override=EpsilonByEpisode,
            ),
        ],
        claim="averages 128.1 over 250 episodes",
        good=195.0,
    ),
}


# --- A run


class Variant(NamedTuple):
    """Which of a tutorial's quirks a run has, or None for minidqn's own settings."""

    quirks: tuple[str, ...] | None
    episodes: int


class Outcome(NamedTuple):
    """The result of a run."""

    returns: list[
        float
    ]  # of every episode: of training, and where that ended early, of the test
    trained: int  # episodes of training
    test: float  # mean greedy return of 100 new episodes; of 5 at epsilon 0.05 for Breakout


def make(tutorial: Tutorial, **options: Any) -> gym.Env[Any, Any]:
    if "Breakout" in tutorial.env_id:
        return gym.make(tutorial.env_id, obs_type="ram", **options)
    return gym.make(tutorial.env_id, max_episode_steps=tutorial.limit, **options)


def build(
    tutorial: Tutorial, has: Collection[str], env: Any, seed: int
) -> tuple[DQN, int | None]:
    """The agent of a tutorial that `has` these quirks, and its setting "until", if it has one."""
    settings = dict(tutorial.settings)
    overrides = [tutorial.always] * (tutorial.always is not DQN)
    for quirk in tutorial.quirks:
        settings |= quirk.written if quirk.name in has else quirk.fixed
        if quirk.name in has and quirk.override not in (DQN, *overrides):
            overrides.append(quirk.override)
    until = settings.pop("until", None)
    agent = type("Agent", (*overrides, StartsLike), {"initial": tutorial.initial})
    return agent(
        env.observation_space, env.action_space, DQNConfig(**settings), seed
    ), until


def play(name: str, variant: Variant, seed: int) -> Outcome:
    """Train one agent, and test its last policy."""
    tutorial = TUTORIALS[name]
    stage = gym.wrappers.RecordEpisodeStatistics(
        make(tutorial), buffer_length=variant.episodes
    )
    games, until = stage.return_queue, None
    env: gym.Env[Any, Any] = stage
    if variant.quirks is None:
        # half of the possible steps: minidqn plans its decays, and is greedy after them
        steps = min(40_000, variant.episodes * (tutorial.limit or 1_000) // 2)
        if tutorial.limit is None:
            env = OneBall(env)
        config = tuned(tutorial.env_id.removeprefix("ale_py:"), steps)
        agent = DQN(env.observation_space, env.action_space, config, seed)
    else:
        steps = variant.episodes * (tutorial.limit or 30_000)  # more than are possible
        agent, until = build(tutorial, variant.quirks, env, seed)
        if name == "T5":
            prime(agent, env)
            games.clear()

    solved = None if until is None else until_solved(195.0, until)

    def enough(agent: DQN, history: History) -> bool:
        passed = solved is not None and bool(solved(agent, history))
        return len(games) == variant.episodes or passed

    with suppress(FloatingPointError):  # if it diverges, the policy stays as it was
        train(agent, env, steps, on_step=enough, progress=False)
    trained = len(games)
    tests, epsilon = (100, 0.0) if tutorial.limit else (5, 0.05)
    left = variant.episodes - trained
    episodes = max(tests, left)
    test = evaluate(agent, make(tutorial), episodes, seed, epsilon, progress=False)
    return Outcome(
        [*map(float, games), *test[:left].tolist()], trained, float(test[:tests].mean())
    )


# --- All runs


def variants(name: str) -> dict[str, Variant]:
    """The runs of a tutorial: with all quirks, no quirk, all except one, and only one."""
    tutorial = TUTORIALS[name]
    quirks = tuple(quirk.name for quirk in tutorial.quirks)
    has: dict[str, tuple[str, ...] | None] = {
        "as written": quirks,
        "fixed": (),
        "minidqn": None,
    }
    has |= {f"without {q}": tuple(p for p in quirks if p != q) for q in quirks}
    has |= {f"only {q}": (q,) for q in quirks}
    runs = {key: Variant(value, tutorial.episodes) for key, value in has.items()}
    if name == "T3":
        runs["as written, longer"] = Variant(quirks, 800)
    return runs


Results = dict[
    str, dict[str, list[Outcome]]
]  # of each tutorial, of each variant, of each seed


@dataclass(frozen=True)
class Played:
    """One of these runs, as a spec for `sweep`."""

    tutorial: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.tutorial}/{self.variant.replace('/', 'by')}/{self.seed}"

    def about(self) -> dict[str, Any]:
        return asdict(self)


def outcome(run: Played, folder: Path) -> dict[str, Any]:
    return play(run.tutorial, variants(run.tutorial)[run.variant], run.seed)._asdict()


def run_all(names: list[str], seeds: int, jobs: int, work: Path) -> Results:
    """Every variant of every tutorial from every seed, several at a time."""
    runs = [
        Played(name, key, s)
        for name in names
        for key in variants(name)
        for s in range(seeds)
    ]
    found = {run["name"]: run for run in sweep(runs, work, workers=jobs, task=outcome)}
    for result in found.values():
        if "failed" in result:
            sys.exit(
                f"{result['name']} failed, and the others are kept. {result['failed']}"
            )
    results: Results = {name: {key: [] for key in variants(name)} for name in names}
    for run in runs:
        numbers = [found[run.name][field] for field in Outcome._fields]
        results[run.tutorial][run.variant].append(Outcome(*numbers))
    return results


def interval(x: ArrayLike) -> tuple[Array, Array]:
    """95 % bootstrap interval of the mean over the first axis, the seeds: (seeds, ...) to (...)."""
    x = np.asarray(x)
    draws = np.random.default_rng(0).integers(len(x), size=(2000, len(x)))
    low, high = np.quantile(x[draws].mean(axis=1), [0.025, 0.975], axis=0)
    return low, high


def shown(x: ArrayLike, sign: str = "") -> str:
    """A mean over the seeds with its interval."""
    low, high = interval(x)
    return f"{np.asarray(x).mean():{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def found(name: str, runs: dict[str, list[Outcome]]) -> str:
    """The finding for a tutorial's claim, over all seeds."""
    written = runs["as written"]
    if name == "T1":
        trained = [(run.trained, run.returns[: run.trained]) for run in written]
        reached = [
            episodes for episodes, returns in trained if np.mean(returns[-5:]) >= 195.0
        ]
        when = f", after {np.mean(reached):.0f} episodes on average" if reached else ""
        return f"{len(reached)} of {len(written)} seeds do{when}"
    if name == "T3":
        last = [np.mean(run.returns[-100:]) for run in runs["as written, longer"]]
        return f"the mean of episodes 701 to 800 is {shown(last)}"
    averages = [np.mean(run.returns) for run in written]
    return f"the average over {len(written[0].returns)} episodes is {shown(averages)}"


def tables(results: Results) -> str:
    seeds = len(next(iter(results.values()))["as written"])
    lines = [
        f"Means over {seeds} seeds with their 95 % bootstrap intervals. The test is of the policy "
        "that a run ends with: 100 new episodes, greedy (Breakout: 5, at epsilon 0.05).",
        "",
        "| | its own claim | found, as written | test: as written | fixed | minidqn |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, runs in results.items():
        tests = [
            shown([run.test for run in runs[key]]) for key in ("as written", "fixed")
        ]
        tests += [shown([run.test for run in runs["minidqn"]])]
        claim = TUTORIALS[name].claim
        lines.append(
            f"| {name} | {claim} | {found(name, runs)} | " + " | ".join(tests) + " |"
        )
    lines += [
        "",
        "What each quirk costs, in the test's return: as written, and with only that one fixed; "
        "fixed, and with only that one back. Differences are between runs of the same seed: a "
        "mistake that costs has a plus in the first, a minus in the second.",
        "",
        "| | quirk | as written | only it fixed | difference | fixed | only it back | difference |",
        "| --- " * 8 + "|",
    ]
    for name, runs in results.items():
        test = {
            key: np.array([run.test for run in outcomes])
            for key, outcomes in runs.items()
        }
        for quirk in TUTORIALS[name].quirks:
            without, only = test[f"without {quirk.name}"], test[f"only {quirk.name}"]
            cells = [
                name,
                quirk.name,
                f"{test['as written'].mean():.1f}",
                f"{without.mean():.1f}",
                shown(without - test["as written"], "+"),
                f"{test['fixed'].mean():.1f}",
                f"{only.mean():.1f}",
                shown(only - test["fixed"], "+"),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(results: Results, path: Path) -> None:
    """Returns of training, and greedy ones once it is over: a panel for each tutorial."""
    figure = Figure(figsize=(11, 6.2), dpi=120, layout="constrained")
    panels = list(figure.subplots(2, 3).flat)
    for axes, (name, runs) in zip(panels, results.items(), strict=False):
        for key, color in (("as written", RED), ("fixed", BLUE), ("minidqn", GREEN)):
            curves = np.stack([rolling_mean(run.returns, 20) for run in runs[key]])
            episodes = np.arange(1, curves.shape[1] + 1)
            low, high = interval(curves)
            axes.fill_between(episodes, low, high, color=color, alpha=0.25, lw=0)
            axes.plot(episodes, curves.mean(axis=0), color=color, lw=1.8, label=key)
        tutorial = TUTORIALS[name]
        axes.set(title=f"{name}, {tutorial.title}", xlabel="episode", ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(results) :]:
        axes.axis("off")
    handles, _ = panels[0].get_legend_handles_labels()
    labels = [
        "as written",
        "its mistakes fixed",
        "minidqn's own settings,\ngreedy once it has trained",
    ]
    panels[-1].legend(handles, labels, loc="center", frameon=False)
    figure.suptitle(
        "Return of an episode, mean of the last 20: mean over the seeds with its 95 % interval"
    )
    figure.savefig(path)


# --- One run, as its author shows it


def show(name: str, seed: int, out: Path) -> None:
    """Train as written; draw, film and print what the tutorial does."""
    tutorial = TUTORIALS[name]
    env = make(tutorial, render_mode="rgb_array")
    quirks = [quirk.name for quirk in tutorial.quirks]
    agent, until = build(tutorial, quirks, env, seed)
    untrained, _ = build(tutorial, quirks, env, seed)
    watcher: Watcher | None = None
    if name == "T2":
        watcher = record_every(20, make(tutorial, render_mode="rgb_array"), out)
    elif name == "T1":
        watcher = until_solved(195.0, until or 1)
    elif name == "T3":
        watcher = live_plot(195.0)
    elif name == "T5":
        prime(agent, env)
        watcher = log_every(10)

    def watch(agent: DQN, history: History) -> bool:
        stops = watcher is not None and bool(watcher(agent, history))
        return stops or len(history) == tutorial.episodes

    steps = tutorial.episodes * (tutorial.limit or 30_000)
    with stop_on_interrupt() as interrupted:
        history = train(agent, env, steps, on_step=[interrupted, watch])
    test_returns: Sequence[float] | Array = ()
    left = tutorial.episodes - len(history)
    if until and left > 0:
        test_returns = evaluate(agent, env, left, seed)
    title = f"{name}, {tutorial.title}, as written, seed {seed}"
    curve = out / f"{name}_learning_curve.png"
    plot_learning_curve(
        history, curve, test_returns=test_returns, solved_at=tutorial.good, title=title
    )
    if name == "T4":
        seeds = [episode_seed(seed, TEST, number) for number in range(3)]
        animate(
            {"before": untrained, "after": agent},
            env,
            out / "T4_before_after.gif",
            seeds,
        )


def main() -> None:
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
    if "T2" in (args.show or args.tutorials) and not find_spec("ale_py"):
        parser.error('T2 takes the extra atari: pip install "minidqn[atari]"')
    args.out.mkdir(parents=True, exist_ok=True)
    if args.show:
        show(args.show, args.seed, args.out)
    else:
        results = run_all(args.tutorials, args.seeds, args.jobs, args.work)
        (args.out / "five_tutorials.md").write_text(tables(results))
        draw(results, args.out / "five_tutorials.png")
        print(tables(results))
    print(f"Files are in {args.out}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on.")
