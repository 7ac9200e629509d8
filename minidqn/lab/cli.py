"""What the scripts in examples/ share: a command line, and the files that a run leaves.

    run = Run("CartPole-v1", steps=40_000)    reads the command line
    env = run.make()                          the environment to train in
    agent = DQN(env.observation_space, env.action_space, config, run.seed)
    agent = run.train(agent, env)             with a progress bar, Ctrl-C, checkpoints
    returns = run.evaluate(agent)             on episodes that it was never trained on
    run.show(agent, returns)                  pictures and an animation

examples/cartpole.py is the script to read beside it.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym

from minidqn.agent import DQN
from minidqn.config import DQNConfig
from minidqn.lab.checkpoint import load_run, save
from minidqn.lab.envs import TEST, episode_seed
from minidqn.lab.films import animate
from minidqn.lab.history import History
from minidqn.lab.plotting import plot_learning_curve, plot_value_function
from minidqn.lab.training import evaluate, stop_on_interrupt, train
from minidqn.lab.watchers import RecordEvery, live_plot, log_every, save_every, until_solved
from minidqn.nn.layers import Array

TEST_EPISODES = 100


def at_least(least: int) -> Callable[[str], int]:
    """An argparse type: an integer of `least` or more."""

    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text}: expected {least} or more")
        return int(text)

    return number


NUMBERS = {  # the least of each, and what it is
    "--seed": (0, "random seed, 0 by default"),
    "--steps": (1000, "environment steps of training"),
    "--checkpoint-every": (1, "save every N steps"),
    "--log-every": (1, "print a line every N episodes"),
    "--record-every": (1, "write a GIF every N episodes"),
}
FLAGS = {
    "--resume": "continue the run in --out",
    "--until-solved": "stop once the mean of 20 returns counts as solved",
    "--live": "plot the returns during training",
    "--no-animation": "skip before_after.gif",
}


class Run:
    """One run of an example, as the command line asks for it.

    `steps` is the default length of training, and `solved_at` the mean return from which it
    counts as solved, by default the environment's own. `train_wrapper` wraps the
    environment for training only, and may change its rewards; the test is greedy, except
    for `test_epsilon`. `options` are for gymnasium.make.
    """

    def __init__(
        self,
        env_id: str,
        steps: int,
        *,
        solved_at: float | None = None,
        train_wrapper: Callable[[Any], gym.Env[Any, Any]] | None = None,
        test_epsilon: float = 0.0,
        **options: Any,
    ) -> None:
        self.env_id, self.make_env = env_id, partial(gym.make, env_id, **options)
        self.train_wrapper, self.test_epsilon = train_wrapper, test_epsilon
        threshold = gym.spec(env_id).reward_threshold if solved_at is None else solved_at
        self.solved_at = float("inf") if threshold is None else threshold
        name = env_id.split("/")[-1].split("-")[0].lower()
        self.parser = argparse.ArgumentParser(description=f"Learn {env_id} with minidqn.")
        for flag, (least, text) in NUMBERS.items():
            self.parser.add_argument(flag, type=at_least(least), metavar="N", help=text)
        for flag, text in FLAGS.items():
            self.parser.add_argument(flag, action="store_true", help=text)
        self.parser.add_argument("--out", type=Path, help="the folder for the results")
        self.parser.set_defaults(seed=0, steps=steps, out=Path("runs") / name)
        self.args = self.parser.parse_args()
        self.steps, self.seed, self.out = self.args.steps, self.args.seed, self.args.out
        self.checkpoint = self.out / "agent.safetensors"
        if self.args.until_solved and train_wrapper:
            self.parser.error("--until-solved: training returns are not test returns here")
        if self.args.resume and not self.checkpoint.exists():
            self.parser.error(f"--resume: there is no {self.checkpoint}")
        self.out.mkdir(parents=True, exist_ok=True)
        self.history = History()
        self.seconds: float | None = None  # of training, unless it was resumed

    def make(self) -> gym.Env[Any, Any]:
        """The environment to train in."""
        env = self.make_env(render_mode="rgb_array" if self.args.record_every else None)
        return self.train_wrapper(env) if self.train_wrapper else env

    def train(self, agent: DQN, env: gym.Env[Any, Any]) -> DQN:
        """Train, and save the agent; with --resume it is the one that was saved.

        Ctrl-C ends training early. The agent so far is saved, and can be resumed.
        """
        args = self.args
        if args.resume:
            saved, self.history = load_run(self.checkpoint)
            if (saved.config, saved.seed) != (agent.config, agent.seed):
                self.parser.error(f"--resume: {self.checkpoint} has other settings or --seed")
            agent = saved
        if args.record_every:
            env = RecordEvery(env, args.record_every, self.out, len(self.history))
        solved_at = None if self.train_wrapper else self.solved_at
        every = args.checkpoint_every
        on_step = [save_every(every, self.checkpoint)] if every else []
        on_episode = [until_solved(self.solved_at)] if args.until_solved else []
        on_episode += [log_every(args.log_every)] if args.log_every else []
        on_episode += [live_plot(solved_at)] if args.live else []
        start, left, history = time.perf_counter(), self.steps - agent.steps, self.history
        with stop_on_interrupt() as interrupted:
            if left > 0:
                on_step.append(interrupted)
                train(agent, env, left, history=history, on_step=on_step, on_episode=on_episode)
        self.seconds = None if args.resume else time.perf_counter() - start
        save(agent, self.checkpoint, history)
        history.write_csv(self.out / "history.csv")
        return agent

    def evaluate(self, agent: DQN) -> Array:
        """Print, write and return the returns of 100 episodes that it was never trained on."""
        epsilon = self.test_epsilon
        returns = evaluate(agent, self.make_env(), TEST_EPISODES, self.seed, epsilon)
        mean, std, least = returns.mean(), returns.std(), returns.min()
        took = f" in {self.seconds:.1f} s" if self.seconds else ", resumed"
        how = f"Return at epsilon {epsilon:g}" if epsilon else "Greedy return"
        print(
            f"{agent.steps} steps and {agent.updates} updates{took}. {how} in {TEST_EPISODES} new "
            f"episodes: {mean:.1f} ± {std:.1f}, minimum {least:.0f}: "
            f"{'solved' if mean >= self.solved_at else 'not solved'} (from {self.solved_at:.0f})"
        )
        digest = hashlib.sha256(agent.online.params.tobytes()).hexdigest()
        run = {"env_id": self.env_id, "seed": self.seed, "solved_at": self.solved_at}
        run |= {"steps": agent.steps, "updates": agent.updates}
        run |= {"train_seconds": self.seconds, "params_sha256": digest}
        test = {"episodes": TEST_EPISODES, "epsilon": epsilon, "mean": mean, "std": std}
        test |= {"min": least, "returns": returns.tolist()}
        summary = run | {f"eval_{name}": value for name, value in test.items()}
        (self.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        return returns

    def show(self, agent: DQN, returns: Array, film_steps: int = 200, **picture: Any) -> None:
        """Draw the learning curve, and film three greedy episodes, `film_steps` steps at most.

        `picture`, if given, is what plot_value_function takes: x, y, actions.
        """
        what, path = f"{self.env_id}, seed {self.seed}", self.out / "learning_curve.png"
        test: Any = {"test_returns": returns, "test_epsilon": self.test_epsilon}
        test["solved_at"] = None if self.train_wrapper else self.solved_at
        plot_learning_curve(self.history, path, title=f"DQN on {what}", **test)
        if picture:
            path, title = self.out / "value_function.png", f"What DQN learned of {what}"
            plot_value_function(agent, path, **picture, title=title)
        if not self.args.no_animation:
            untrained = DQN(agent.observation_space, agent.action_space, agent.config, self.seed)
            agents = {"before": untrained, "after": agent}
            seeds = [episode_seed(self.seed, TEST, number) for number in range(3)]
            with self.make_env(render_mode="rgb_array") as env:
                animate(agents, env, self.out / "before_after.gif", seeds, film_steps)
        print(f"The agent, its history and pictures are in {self.out}")

    def train_and_show(self, config: Callable[[int], DQNConfig], **shown: Any) -> None:
        """Train, evaluate and show an agent with config(steps), as examples/cartpole.py does."""
        env = self.make()
        agent = DQN(env.observation_space, env.action_space, config(self.steps), self.seed)
        agent = self.train(agent, env)
        self.show(agent, self.evaluate(agent), **shown)
