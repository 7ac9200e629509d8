"""How much of a run's time goes into the tests that it makes while it trains.

`run` and the command line test the policy now and then, for the learning curve. The clock stands
around these tests, within the run itself, so that the noise of the machine is in both times. Only
time of the processor counts.

    python benchmarks/tests_during_training.py
"""

import argparse
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from report import add_out, report
from threadpoolctl import threadpool_limits

from minidqn import DQN, History, train
from minidqn.lab.run import tests
from minidqn.lab.spec import Spec
from minidqn.lab.tuned import tuned_spec

STEPS = {
    "CartPole-v1": 20_000,
    "Acrobot-v1": 50_000,
    "MountainCar-v0": 60_000,
    "LunarLander-v3": 100_000,
}
# What the tests may take. They have a tenth of the steps, and a greedy step takes about half as
# long as a step of training: about 5 %. On LunarLander, with few updates, it was 4.9 to 5.3 %.
LARGEST = 0.06


class Clock:
    """Adds up the time that a function takes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.seconds = 0.0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        start = time.process_time()
        result = self.function(*arguments, **named)
        self.seconds += time.process_time() - start
        return result


def times(spec: Spec) -> tuple[int, float, float]:
    """How many tests a run makes, their seconds, and those of the whole training."""
    with closing(spec.make_training()) as env, closing(spec.make()) as test_env:
        agent: DQN
        history: History
        agent, history = spec.begin(env)
        watch = Clock(tests(spec, test_env))
        whole = Clock(train)
        whole(agent, env, spec.steps, history=history, on_step=watch, progress=False)
    return len(history.tests), watch.seconds, whole.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="The share of tests in a run's time.")
    parser.add_argument("--seed", type=int, default=0)
    add_out(parser)
    args = parser.parse_args()
    lines = [
        "| | steps | tests | of the time |",
        "| --- | --- | --- | --- |",
    ]
    shares = {}
    with threadpool_limits(1, user_api="blas"):
        times(tuned_spec("CartPole-v1", 2_000, args.seed))  # compile
        for env_id, steps in STEPS.items():
            count, spent, whole = times(tuned_spec(env_id, steps, args.seed))
            shares[env_id] = spent / whole
            lines.append(f"| {env_id} | {steps:,} | {count} | {spent / whole:.1%} |")
    report("\n".join(lines), Path(args.out) / "tests_during_training.md")
    too_dear = {name: share for name, share in shares.items() if share > LARGEST}
    assert not too_dear, f"more than {LARGEST:.0%}: {too_dear}"


if __name__ == "__main__":
    main()
