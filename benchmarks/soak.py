"""A million steps on CartPole-v1, in which the buffer is filled twenty times over.

It checks that after every step the counters agree with each other, and all parameters are
finite, and that at the end the process uses within 1 % of the memory that it used after
100,000 steps. (Only the history grows, by 56 bytes for an episode.)

    python benchmarks/soak.py
"""

import argparse
import tempfile
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
from report import add_out, report

from minidqn import DQN, History, save, train, tuned


def resident_bytes() -> int:
    """The memory of this process that is in use now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


class Checks:
    """A watcher that checks every step, and records the memory at ten moments."""

    def __init__(self, steps: int) -> None:
        self.every = steps // 10
        self.steps = 0
        self.memory: list[int] = []

    def __call__(self, agent: DQN, history: History) -> None:
        self.steps += 1
        replay = agent.replay
        config = agent.config
        assert agent.steps == self.steps
        # and a bridge for each reset except the first
        assert replay.count == agent.steps + agent.resets - 1
        assert len(replay) == min(replay.count, config.buffer_size)
        assert agent.resets == len(history) + (not replay.over)
        assert history.just_ended == replay.over == replay.ended[0]
        rounds = (agent.steps - config.learning_starts) // config.train_every + 1
        assert agent.updates == max(0, rounds)
        assert np.isfinite(agent.online.params).all()
        if agent.steps % self.every == 0:
            self.memory.append(resident_bytes())


def seconds_to_save(agent: DQN, history: History) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        save(agent, Path(folder) / "soak.safetensors", history)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="A long run, checked at every step.")
    parser.add_argument("--steps", type=int, default=1_000_000)
    add_out(parser)
    args = parser.parse_args()
    env = gym.make("CartPole-v1")
    config = tuned("CartPole-v1", args.steps, buffer_size=args.steps // 20)
    agent = DQN(env.observation_space, env.action_space, config, seed=0)
    checks = Checks(args.steps)
    history = train(agent, env, args.steps, on_step=checks)
    first, *_, last = checks.memory
    growth = last / first - 1.0
    milliseconds = 1e3 * seconds_to_save(agent, history)
    report(
        f"{checks.steps:,} steps, {agent.updates:,} updates, {agent.resets:,} episodes."
        " After each step the counters agree, and all parameters are finite. The buffer "
        f"went round {agent.replay.count / agent.replay.slots:.1f} times. Memory after "
        f"{checks.every:,} steps: {first / 2**20:.1f} MiB, at the end: "
        f"{100 * growth:+.2f} %. Saving {len(agent.replay):,} steps takes "
        f"{milliseconds:.0f} ms.",
        args.out / "soak.md",
    )
    assert growth < 0.01, checks.memory


if __name__ == "__main__":
    main()
