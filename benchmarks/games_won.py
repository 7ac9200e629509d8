"""How many games of Tic-tac-toe and Connect Four are won, against random play.

Trains with the settings in examples/board_games.py from several seeds, and tests the
*last* policy of each: 1,000 games without random actions. The games raise an error on a
forbidden move, so a run that has ended has made none.

    python benchmarks/games_won.py --seeds 5

It can be stopped, and goes on where it was.
"""

import argparse
import sys
from typing import Any

import numpy as np
from options import add_jobs, add_seeds, add_work, work_of
from report import add_out, machine

from minidqn import DQN, evaluate
from minidqn.lab.compare import write_results
from minidqn.lab.sweep import sweep
from minidqn.lab.tuned import BOARD, tuned_spec

HEAD = (
    "| | seed | won | drawn | lost | seconds of training |\n| --- " + "| --- " * 5 + "|"
)


def shares(returns: Any) -> str:
    """Three columns: which share of the games was won, drawn and lost."""
    found = [np.mean(np.array(returns) == reward) for reward in (1.0, 0.0, -1.0)]
    return " | ".join(f"{share:.3f}" for share in found)


def row(game: str, seed: Any, results: list[dict[str, Any]]) -> str:
    """A line of the table: one or several results."""
    returns = [result["eval_returns"] for result in results]
    seconds = np.median([result["train_seconds"] for result in results])
    return f"| {game} | {seed} | {shares(returns)} | {seconds:.1f} |"


def row_of_random_play(game: str, env_id: str) -> str:
    """The same for moves that are all random, in the games of seed 0."""
    spec = tuned_spec(env_id)
    with spec.make() as env:
        agent = DQN(env.observation_space, env.action_space, spec.config)
        returns = evaluate(agent, env, spec.test_episodes, epsilon=1.0, progress=False)
    return f"| {game} | random play | {shares(returns)} | |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Play against random moves.")
    add_seeds(parser, 5)
    add_jobs(parser)
    add_work(parser, "games_won")
    add_out(parser)
    args = parser.parse_args()
    ids = [f"{game}-v0" for game in BOARD]
    specs = [
        tuned_spec(env_id, seed=seed) for env_id in ids for seed in range(args.seeds)
    ]
    results = list(sweep(specs, work_of(args, "games_won"), workers=args.jobs))
    for result in results:
        if "failed" in result:
            sys.exit(f"{result['name']} failed. {result['failed']}")
    results.sort(key=lambda result: (ids.index(result["env_id"]), result["seed"]))
    write_results(results, args.out / "games_won.csv")

    lines = [
        "Against an opponent who plays at random; who begins is drawn at random. The "
        f"last policy after {results[0]['steps']:,} steps, in "
        f"{results[0]['test_episodes']:,} new games without random actions. No move was "
        "forbidden: the games raise an error on one.\n",
        HEAD,
    ]
    for game, env_id in zip(BOARD, ids, strict=True):
        ours = [result for result in results if result["env_id"] == env_id]
        lines += [row(game, result["seed"], [result]) for result in ours]
        lines.append(row(f"**{game}**", "all, mean", ours))
        lines.append(row_of_random_play(game, env_id))
    lines += ["", machine()]
    (args.out / "games_won.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on.")
