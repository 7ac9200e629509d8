"""Learn to balance a pole: the whole path, from nothing to a perfect score.

A cart on a rail carries a pole. Each step one pushes it left or right, and gets a
reward of 1 as long as the pole stands and the cart is near the middle. After 500
steps the episode is cut, so 500 is perfect.

    python examples/cartpole.py --seed 1
"""

import argparse
import hashlib
import json
import time
from pathlib import Path

import gymnasium as gym

import minidqn
from minidqn import DQN, DQNConfig, LinearDecay, evaluate, stop_on_interrupt, train

ENV_ID = "CartPole-v1"
SOLVED_AT = 475.0  # mean return over 100 episodes, says Gymnasium
TEST_EPISODES = 100


def config_for(steps: int) -> DQNConfig:
    """The choices that matter, tuned on seeds from 1000 up; all others are DQNConfig's."""
    return DQNConfig(
        normalize_obs=True,  # an angle of 0.2 is as much to it as a position of 2.4
        hidden=(64, 64),
        # A cart that drifts off falls hundreds of steps later: look far ahead,
        gamma=0.995,
        # and let a fall be felt 40 steps back at once, instead of step by step.
        n_step=40,
        double=True,
        batch_size=128,
        train_every=4,  # more experience for each update keeps the policy steady
        learning_rate=LinearDecay(3e-3, 0.0, steps),  # to 0: the last policy is to be the good one
        tau=0.01,  # the target network follows slowly, a little after each update
        target_every=1,
        epsilon=LinearDecay(1.0, 0.1, steps // 10),
        learning_starts=200,
        buffer_size=50_000,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn CartPole-v1 with minidqn.")
    parser.add_argument("--seed", type=int, default=0, help="0 by default")
    parser.add_argument("--steps", type=int, default=40_000, help="environment steps to learn from")
    parser.add_argument("--out", type=Path, default=Path("runs/cartpole"), help="where files go")
    parser.add_argument("--no-animation", action="store_true", help="leave out before_after.gif")
    parser.add_argument("--checkpoint-every", type=int, metavar="STEPS", help="save as it learns")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    args = parser.parse_args()
    if args.seed < 0 or args.steps < 1000:
        parser.error(f"--seed {args.seed} --steps {args.steps}: expected 0 up, and 1000 up")
    if args.checkpoint_every is not None and args.checkpoint_every < 1:
        parser.error(f"--checkpoint-every {args.checkpoint_every}: expected 1 up")
    checkpoint = args.out / "agent.safetensors"
    if args.resume and not checkpoint.exists():
        parser.error(f"--resume: there is no {checkpoint}")
    args.out.mkdir(parents=True, exist_ok=True)

    env = gym.make(ENV_ID)
    config = config_for(args.steps)
    agent = DQN(env.observation_space, env.action_space, config, seed=args.seed)
    untrained = DQN(env.observation_space, env.action_space, config, seed=args.seed)

    history = minidqn.History()
    if args.resume:
        agent, history = minidqn.load_run(checkpoint)
        if (agent.config, agent.seed) != (config, args.seed):
            parser.error(f"--resume: {checkpoint} is of a run with another --seed or --steps")

    # Learn. Ctrl-C ends it early; what there is by then is kept, and can be resumed.
    start = time.perf_counter()
    with stop_on_interrupt() as interrupted:

        def after_each_step(agent: DQN, history: minidqn.History) -> object:
            if args.checkpoint_every and agent.steps % args.checkpoint_every == 0:
                minidqn.save(agent, checkpoint, history)
            return interrupted(agent, history)

        if agent.steps < args.steps:
            train(agent, env, args.steps - agent.steps, history=history, on_step=after_each_step)
    train_seconds = time.perf_counter() - start
    minidqn.save(agent, checkpoint, history)
    history.write_csv(args.out / "history.csv")

    # Test: greedy, on episodes that it has never been trained on.
    returns = evaluate(agent, env, TEST_EPISODES, args.seed)
    verdict = "solved" if returns.mean() >= SOLVED_AT else "not solved"
    print(
        f"{agent.steps} steps and {agent.updates} updates in {train_seconds:.1f} s. Greedy return "
        f"in {TEST_EPISODES} new episodes: {returns.mean():.1f} ± {returns.std():.1f}, "
        f"minimum {returns.min():.0f}: {verdict} (from {SOLVED_AT:.0f})"
    )
    summary = {
        "env_id": ENV_ID,
        "seed": args.seed,
        "steps": agent.steps,
        "updates": agent.updates,
        "train_seconds": train_seconds,
        "eval_episodes": TEST_EPISODES,
        "eval_mean": returns.mean(),
        "eval_std": returns.std(),
        "eval_min": returns.min(),
        "eval_returns": returns.tolist(),
        "params_sha256": hashlib.sha256(agent.online.params.tobytes()).hexdigest(),
    }
    (args.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")

    # Show.
    minidqn.plot_learning_curve(
        history,
        args.out / "learning_curve.png",
        test_returns=returns,
        solved_at=SOLVED_AT,
        title=f"DQN on {ENV_ID}, seed {args.seed}",
    )
    if not args.no_animation:
        seeds = [minidqn.episode_seed(args.seed, minidqn.TEST, number) for number in range(3)]
        with gym.make(ENV_ID, render_mode="rgb_array") as stage:
            agents = {"before": untrained, "after": agent}
            minidqn.animate(agents, stage, args.out / "before_after.gif", seeds)
    print(f"The agent, its history and pictures are in {args.out}")


if __name__ == "__main__":
    main()
