"""What the scripts in examples/ share: a command line, and the files that a run leaves.

    run = Run("CartPole-v1", 40_000, config)    reads the command line
    env = run.make()                            the environment to train in
    agent = DQN(env.observation_space, env.action_space, run.config, run.seed)
    agent = run.train(agent, env)               with a progress bar, Ctrl-C, checkpoints
    returns = run.evaluate(agent)               on episodes that it was never trained on
    run.show(agent, returns)                    pictures and an animation

examples/cartpole.py is the script to read beside it.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import gymnasium as gym

from minidqn.agent import DQN
from minidqn.assembly import check_agent
from minidqn.config import DQNConfig
from minidqn.lab import folder as files
from minidqn.lab.arguments import parser
from minidqn.lab.checkpoint import load, load_run, save
from minidqn.lab.envs import TEST, episode_seed, play
from minidqn.lab.expect import expect
from minidqn.lab.films import animate, has_display
from minidqn.lab.folder import AGENT, HISTORY, SUMMARY
from minidqn.lab.history import History
from minidqn.lab.plotting import plot_filters, plot_learning_curve, plot_value_function
from minidqn.lab.snapshot import CheckpointError, from_json
from minidqn.lab.spec import Spec
from minidqn.lab.training import evaluate, stop_on_interrupt, train
from minidqn.lab.tuned import SCRIPTS, examples, for_run
from minidqn.lab.watchers import (
    live_plot,
    log_every,
    record_every,
    save_every,
    until_solved,
)
from minidqn.nn.layers import Array
from minidqn.parts.conv import Conv2d
from minidqn.schedules import value_at

# errors that are said in one line, without a traceback
REFUSED = gym.error.Error, CheckpointError, ImportError, OSError, TypeError, ValueError


class Run:
    """One run of an example, as the command line asks for it.

    `steps` is the default length of training, and config(steps) gives the settings. `options`
    are those of Spec: make_env, train_wrapper, solved_at, test_epsilon.
    """

    def __init__(
        self,
        env_id: str,
        steps: int,
        config: Callable[[int], DQNConfig],
        **options: Any,
    ) -> None:
        self.spec = Spec(env_id, config(steps), steps, **options)
        self.parser = parser(f"Learn {env_id} with minidqn.")
        self.args = self.parser.parse_args()
        self.name = files.short_name(env_id)
        self.out = self.args.out or Path("runs") / self.name
        self.history = History()
        self.seconds: float | None = 0.0  # of training; None if it is not known
        try:
            picture: Any = (
                {} if self.args.no_animation else {"render_mode": "rgb_array"}
            )
            with self.spec.make(
                **picture
            ) as env:  # so that what is wrong with it is said now
                self.spaces = env.observation_space, env.action_space
            self.solved_at = self.spec.threshold()
            if self.args.watch:
                self.watch()
                self.parser.exit()
            self.plan(config)
        except REFUSED as error:
            self.refuse(error)

    def refuse(self, error: Exception) -> NoReturn:
        self.parser.exit(2, f"{self.parser.prog}: error: {error}\n")

    def plan(self, config: Callable[[int], DQNConfig]) -> None:
        """Settle the seed, the steps, the settings and the folder, before anything runs."""
        args, changes = self.args, dict(self.args.set)
        seed, steps = args.seed or 0, args.steps or self.spec.steps
        if args.resume:
            before = files.read_json(self.out / "run.json")
            expect(
                "set" in before, f"--resume: there is no run in {self.out}", "--out DIR"
            )
            seed, steps = before["seed"], before["steps"]
            expected = f"{seed}, the seed of the run in {self.out}"
            expect(args.seed in (None, seed), f"--seed {args.seed}", expected)
            expected = f"{steps}, the steps of the run in {self.out}, or more"
            expect((args.steps or steps) >= steps, f"--steps {args.steps}", expected)
            changes = {
                name: from_json(before[name]) for name in before["set"]
            } | changes
        self.until = max(
            args.steps or 0, steps
        )  # a resumed run may go on beyond its end
        self.seed, self.config = seed, for_run(config, steps, changes)
        self.spec = replace(self.spec, config=self.config, steps=steps, seed=seed)
        if self.config.conv:  # without, the script may have a network of its own
            check_agent(*self.spaces, self.config, seed)
        least = self.config.learning_starts
        expect(
            self.until >= least,
            f"--steps {self.until}",
            f"learning_starts, {least}, or more",
        )
        if args.until_solved and self.spec.train_wrapper:
            raise ValueError(
                "--until-solved: training returns are not test returns here"
            )
        known = self.solved_at < math.inf
        expect(
            known or not args.until_solved,
            "--until-solved",
            "a return from which it is solved",
        )

        about = self.spec.about() | files.normal({"set": sorted(changes)})
        self.about = {
            name: about[name] for name in about if not name.startswith("test_")
        }
        if args.resume:
            given, found = (
                {"set", *dict(args.set)},
                f"--resume: the run in {self.out} has",
            )
            fixed = {name: before[name] for name in before if name not in given}
            files.refuse_other(
                found, fixed, self.about, "the same in the script, or --set"
            )
        same = args.overwrite or args.resume
        self.out = files.claim(
            self.out, overwrite=same, numbered=not (args.out or same)
        )
        self.checkpoint = self.out / AGENT

    def make(self) -> gym.Env[Any, Any]:
        """The environment to train in."""
        return self.spec.make(training=True)

    def train(self, agent: DQN, env: gym.Env[Any, Any]) -> DQN:
        """Train, and save the agent; with --resume it is the one that was saved.

        Ctrl-C ends training early. The agent so far is saved, and can be resumed.
        """
        args, summary = self.args, self.out / SUMMARY
        if args.resume:
            try:
                changes = vars(self.config)
                agent, self.history = load_run(
                    self.checkpoint, agent.network, **changes
                )
            except REFUSED as error:
                self.refuse(error)
            self.seconds = files.read_json(summary).get("train_seconds")
        else:
            self.checkpoint.unlink(missing_ok=True)
        summary.unlink(missing_ok=True)  # it is of the agent before
        files.write_json(self.out / "run.json", self.about)
        if self.until > self.spec.steps:
            at = self.until, agent.updates, agent.episodes
            ends = [
                f"{name} {value_at(getattr(agent.config, name), *at):g}"
                for name in ("learning_rate", "epsilon", "priority_beta")
            ]
            print(
                f"Beyond step {self.spec.steps} the schedules go on, to {', '.join(ends)}."
            )
        solved_at = None if self.spec.train_wrapper else self.solved_at
        every = args.checkpoint_every
        on_step = [save_every(every, self.checkpoint)] if every else []
        on_episode = [until_solved(self.solved_at)] if args.until_solved else []
        on_episode += [log_every(args.log_every)] if args.log_every else []
        if args.record_every:
            films = self.spec.make(render_mode="rgb_array")
            on_episode += [record_every(args.record_every, films, self.out)]
        on_episode += [live_plot(solved_at)] if args.live else []
        start, left, history = (
            time.perf_counter(),
            self.until - agent.steps,
            self.history,
        )
        with stop_on_interrupt() as interrupted:
            if left > 0:
                on_step.append(interrupted)
                train(
                    agent,
                    env,
                    left,
                    history=history,
                    on_step=on_step,
                    on_episode=on_episode,
                )
        if self.seconds is not None:
            self.seconds += time.perf_counter() - start
        save(agent, self.checkpoint, history)
        history.write_csv(self.out / HISTORY)
        return agent

    def evaluate(self, agent: DQN) -> Array:
        """Print, write and return the returns of 100 episodes that it was never trained on."""
        spec, epsilon, tests = (
            self.spec,
            self.spec.test_epsilon,
            self.spec.test_episodes,
        )
        try:
            returns = evaluate(agent, spec.make(), tests, self.seed, epsilon)
        except KeyboardInterrupt:
            self.parser.exit(
                130, f"Stopped in the test. --resume --out {self.out} goes on.\n"
            )
        mean, std, least = returns.mean(), returns.std(), returns.min()
        took = ", resumed" if self.seconds is None else f" in {self.seconds:.1f} s"
        how = f"Return at epsilon {epsilon:g}" if epsilon else "Greedy return"
        verdict = "solved" if mean >= self.solved_at else "not solved"
        verdict = (
            f": {verdict} (from {self.solved_at:g})"
            if self.solved_at < math.inf
            else ""
        )
        print(
            f"{agent.steps} steps and {agent.updates} updates{took}. {how} in {tests} new "
            f"episodes: {mean:.1f} ± {std:.1f}, minimum {least:.0f}{verdict}"
        )
        outcome = spec.outcome(agent, self.history, returns, self.seconds)
        files.write_json(self.out / SUMMARY, spec.about() | outcome)
        return returns

    def show(
        self, agent: DQN, returns: Array, film_steps: int = 200, **picture: Any
    ) -> None:
        """Draw the learning curve, and film three greedy episodes, `film_steps` steps at most.

        `picture`, if given, is what plot_value_function takes: x, y, actions.
        """
        what, path = (
            f"{self.spec.env_id}, seed {self.seed}",
            self.out / "learning_curve.png",
        )
        test: Any = {"test_returns": returns, "test_epsilon": self.spec.test_epsilon}
        test["solved_at"] = None if self.spec.train_wrapper else self.solved_at
        plot_learning_curve(self.history, path, title=f"DQN on {what}", **test)
        if picture:
            path, title = self.out / "value_function.png", f"What DQN learned of {what}"
            plot_value_function(agent, path, **picture, title=title)
        if isinstance(agent.online.layers[0], Conv2d):
            seed, epsilon = episode_seed(self.seed, TEST, 0), self.spec.test_epsilon
            *_, (_, _, obs) = islice(play(agent, self.spec.make(), seed, epsilon), 60)
            plot_filters(agent, obs, self.out / "filters.png")
        if not self.args.no_animation:
            untrained = DQN(
                agent.observation_space, agent.action_space, agent.config, self.seed
            )
            agents = {"before": untrained, "after": agent}
            self.film(agents, "before_after.gif", film_steps)
        print(f"The agent, its history and pictures are in {self.out}")

    def film(self, agents: dict[str, DQN], name: str, steps: int) -> None:
        """Write a GIF of three test episodes."""
        seeds = [episode_seed(self.seed, TEST, number) for number in range(3)]
        with self.spec.make(render_mode="rgb_array") as env:
            animate(agents, env, self.out / name, seeds, steps)

    def watch(self) -> None:
        """Show the agent in --out, or else the one that comes with minidqn: a window, or a GIF."""
        self.seed, path = (
            self.args.seed or 0,
            examples() / "trained" / f"{self.name}.safetensors",
        )
        if (
            self.args.out
            or self.spec.env_id.split(":")[-1] not in SCRIPTS
            or not path.exists()
        ):
            path = self.out / AGENT
        agent = load(path)
        if has_display():
            with self.spec.make(render_mode="human") as env:
                for number in range(3):
                    seed = episode_seed(self.seed, TEST, number)
                    total = sum(
                        move[0]
                        for move in play(agent, env, seed, self.spec.test_epsilon)
                    )
                    print(f"episode {number + 1}: return {total:.1f}")
        else:
            self.out.mkdir(parents=True, exist_ok=True)
            self.film({path.stem: agent}, "watch.gif", 400)
            print(f"There is no display: see {self.out / 'watch.gif'}")

    def train_and_show(self, **shown: Any) -> None:
        """Train, evaluate and show an agent, as examples/cartpole.py does."""
        env = self.make()
        try:
            agent = DQN(env.observation_space, env.action_space, self.config, self.seed)
        except REFUSED as error:
            self.refuse(error)
        agent = self.train(agent, env)
        self.show(agent, self.evaluate(agent), **shown)
