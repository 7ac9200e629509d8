"""Find settings for CartPole from scratch: Optuna chooses them, a few seeds test them.

The score of a trial's settings is the mean return of the last policies of five seeds,
because one seed may be lucky. From the third seed on, a trial that is worse than the
median of earlier trials is stopped (pruned). At the end, the best settings are tested
on seeds that the search never used.

    pip install -e ".[tune]"
    python examples/tune.py --trials 40

The study is in a file, which keeps all trials, and each call makes 40 more. Start this
script several times, or on several machines that share the file, and they search
together.
"""

import argparse
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

try:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
except ModuleNotFoundError as error:
    text = f'{error}; pip install "minidqn[tune]" installs it'
    raise ModuleNotFoundError(text) from None

from minidqn import DQNConfig, LinearDecay, Spec, sweep
from minidqn.lab.compare import compare

STEPS = 10_000
SEEDS = range(1000, 1005)  # of the search; those of the test begin at 0


def config(trial: Any) -> DQNConfig:
    """The settings of one trial: from scratch, so the ranges are wide."""
    width = trial.suggest_categorical("width", [32, 64, 128])
    rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    last_epsilon = trial.suggest_float("epsilon", 0.01, 0.2, log=True)
    return DQNConfig(
        normalize_obs=trial.suggest_categorical("normalize_obs", [False, True]),
        hidden=(width, width),
        gamma=trial.suggest_categorical("gamma", [0.98, 0.99, 0.995]),
        n_step=trial.suggest_categorical("n_step", [1, 3, 10, 40]),
        batch_size=trial.suggest_categorical("batch_size", [32, 64, 128]),
        train_every=trial.suggest_categorical("train_every", [1, 2, 4]),
        learning_rate=LinearDecay(rate, 0.0, STEPS),
        epsilon=LinearDecay(1.0, last_epsilon, STEPS / 5),
        learning_starts=200,
    )


def judge(trial: Any, out: Path, workers: int) -> float:
    """Mean return of the last policies, over the seeds."""
    spec = Spec("CartPole-v1", config(trial), STEPS, test_episodes=20)
    runs = [replace(spec, seed=seed, name=f"{trial.number}/{seed}") for seed in SEEDS]
    means: list[float] = []
    running = sweep(runs, out / str(trial.number), workers=workers, progress=False)
    with closing(running) as results:  # also if the trial is pruned
        for result in results:
            means.append(mean_return(result))
            trial.report(sum(means) / len(means), len(means))
            if trial.should_prune():
                raise optuna.TrialPruned
    return sum(means) / len(means)


def mean_return(result: dict[str, Any]) -> float:
    """The mean return in a run's test; 0 for a run that diverged."""
    if "failed" not in result:
        return float(result["eval_mean"])
    if "FloatingPointError" in result["failed"]:
        return 0.0
    raise RuntimeError(result["failed"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Find settings for CartPole.")
    parser.add_argument("--trials", type=int, default=40, help="settings to try")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    parser.add_argument("--test-seeds", type=int, default=20, help="seeds of the test")
    parser.add_argument(
        "--out", type=Path, default=Path("runs") / "tune", help="the folder"
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    runs = args.out / f"{STEPS}_steps"
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(args.out / "study.log"))),
        study_name=f"CartPole-v1, {STEPS} steps",
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(constant_liar=True),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=8, n_warmup_steps=3),
    )
    study.optimize(lambda trial: judge(trial, runs, args.workers), n_trials=args.trials)
    best = study.best_trial
    print(f"The best of {len(study.trials)}, trial {best.number}, {best.value:.1f}:")
    print(best.params)
    found = config(optuna.trial.FixedTrial(best.params))
    specs = [Spec("CartPole-v1", found, STEPS, seed) for seed in range(args.test_seeds)]
    place = runs / f"test_{best.number}"
    try:
        results = list(sweep(specs, place, workers=args.workers))
    except OSError as error:  # another process is testing it
        sys.exit(str(error))
    print(compare(results, place / "comparison.png")[0])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. All trials are kept; the same command makes more.")
