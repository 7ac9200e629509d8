"""The path that the scripts in examples/ share: learn, test, show, from the command line."""

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym

from minidqn.agent import DQN
from minidqn.checkpoint import load_run, save
from minidqn.config import TUNED, DQNConfig
from minidqn.history import History
from minidqn.plotting import Axis, animate, plot_learning_curve, plot_value_function
from minidqn.training import TEST, Watcher, episode_seed, evaluate, stop_on_interrupt, train
from minidqn.watchers import RecordEvery, live_plot, log_every, until_solved

TEST_EPISODES = 100


def main(
    env_id: str,
    *,
    state_axes: tuple[Axis, Axis] | None = None,
    actions: Sequence[str] = (),
    film_steps: int = 200,
    train_wrapper: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]] | None = None,
    test_epsilon: float = 0.0,
    **options: Any,
) -> None:
    """Learn `env_id`, one of TUNED, test the last policy, and leave files and pictures.

    `state_axes`, two of the observation's entries, give a picture of the value function,
    with the names of the `actions`; an episode of the animation is shown for up to
    `film_steps`. `train_wrapper` is put around the environment that it learns in, and may
    change what a return is; the test is without it, and greedy but for `test_epsilon`.
    `options` are for gymnasium.make.
    """
    name = env_id.split("/")[-1].split("-")[0].lower()
    make = partial(gym.make, env_id, **options)
    tuned = TUNED[env_id]
    parser = argparse.ArgumentParser(description=f"Learn {env_id} with minidqn.")
    parser.add_argument("--seed", type=int, default=0, help="0 by default")
    parser.add_argument("--steps", type=int, default=tuned.steps, help="to learn from")
    parser.add_argument("--out", type=Path, default=Path("runs") / name, help="where files go")
    parser.add_argument("--no-animation", action="store_true", help="leave out before_after.gif")
    parser.add_argument("--checkpoint-every", type=int, metavar="STEPS", help="save as it learns")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--until-solved", action="store_true", help="by the mean of 20 returns")
    parser.add_argument("--log-every", type=int, metavar="EPISODES", help="print a line")
    parser.add_argument("--record-every", type=int, metavar="EPISODES", help="write a GIF of one")
    parser.add_argument("--live", action="store_true", help="a plot that moves, in a window")
    args = parser.parse_args()
    if args.seed < 0 or args.steps < 1000:
        parser.error(f"--seed {args.seed} --steps {args.steps}: expected 0 up, and 1000 up")
    for every in ("checkpoint", "log", "record"):
        given = getattr(args, f"{every}_every")
        if given is not None and given < 1:
            parser.error(f"--{every}-every {given}: expected 1 up")
    checkpoint = args.out / "agent.safetensors"
    if args.until_solved and train_wrapper:
        parser.error("--until-solved: here the returns of training are not those of the test")
    if args.resume and not checkpoint.exists():
        parser.error(f"--resume: there is no {checkpoint}")
    args.out.mkdir(parents=True, exist_ok=True)

    def make_train(**options: Any) -> gym.Env[Any, Any]:
        return train_wrapper(make(**options)) if train_wrapper else make(**options)

    env = make_train()
    config = DQNConfig.for_env(env_id, args.steps)
    agent = DQN(env.observation_space, env.action_space, config, seed=args.seed)
    untrained = DQN(env.observation_space, env.action_space, config, seed=args.seed)

    history = History()
    if args.resume:
        agent, history = load_run(checkpoint)
        if (agent.config, agent.seed) != (config, args.seed):
            parser.error(f"--resume: {checkpoint} is of a run with another --seed or --steps")

    watchers: list[Watcher] = []
    if args.until_solved:
        watchers.append(until_solved(tuned.solved_at))
    if args.log_every:
        watchers.append(log_every(args.log_every))
    if args.record_every:
        stage = make_train(render_mode="rgb_array")
        env = RecordEvery(stage, args.record_every, args.out, len(history))
    if args.live:
        watchers.append(live_plot(None if train_wrapper else tuned.solved_at))

    def after_each_episode(agent: DQN, history: History) -> object:
        answers = [watch(agent, history) for watch in watchers]  # each is to be called
        return any(answers)

    # Learn. Ctrl-C ends it early; what there is by then is kept, and can be resumed.
    start = time.perf_counter()
    with stop_on_interrupt() as interrupted:

        def after_each_step(agent: DQN, history: History) -> object:
            if args.checkpoint_every and agent.steps % args.checkpoint_every == 0:
                save(agent, checkpoint, history)
            return interrupted(agent, history)

        if agent.steps < args.steps:
            train(
                agent,
                env,
                args.steps - agent.steps,
                history=history,
                on_step=after_each_step,
                on_episode=after_each_episode,
            )
    train_seconds = None if args.resume else time.perf_counter() - start
    save(agent, checkpoint, history)
    history.write_csv(args.out / "history.csv")

    # Test: on episodes that it has never been trained on.
    returns = evaluate(agent, make(), TEST_EPISODES, args.seed, test_epsilon)
    verdict = "solved" if returns.mean() >= tuned.solved_at else "not solved"
    took = f" in {train_seconds:.1f} s" if train_seconds else ", resumed"
    how = f"Return at epsilon {test_epsilon:g}" if test_epsilon else "Greedy return"
    print(
        f"{agent.steps} steps and {agent.updates} updates{took}. {how} "
        f"in {TEST_EPISODES} new episodes: {returns.mean():.1f} ± {returns.std():.1f}, "
        f"minimum {returns.min():.0f}: {verdict} (from {tuned.solved_at:.0f})"
    )
    summary = {
        "env_id": env_id,
        "seed": args.seed,
        "steps": agent.steps,
        "updates": agent.updates,
        "train_seconds": train_seconds,
        "eval_episodes": TEST_EPISODES,
        "eval_epsilon": test_epsilon,
        "eval_mean": returns.mean(),
        "eval_std": returns.std(),
        "eval_min": returns.min(),
        "eval_returns": returns.tolist(),
        "params_sha256": hashlib.sha256(agent.online.params.tobytes()).hexdigest(),
    }
    (args.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")

    # Show.
    plot_learning_curve(
        history,
        args.out / "learning_curve.png",
        test_returns=returns,
        solved_at=None if train_wrapper else tuned.solved_at,
        title=f"DQN on {env_id}, seed {args.seed}",
    )
    if state_axes:
        plot_value_function(
            agent,
            args.out / "value_function.png",
            *state_axes,
            actions=actions,
            title=f"What DQN learned of {env_id}, seed {args.seed}",
        )
    if not args.no_animation:
        seeds = [episode_seed(args.seed, TEST, number) for number in range(3)]
        with make(render_mode="rgb_array") as stage:
            agents = {"before": untrained, "after": agent}
            film = args.out / "before_after.gif"
            animate(agents, stage, film, seeds, max_steps=film_steps)
    print(f"The agent, its history and pictures are in {args.out}")
