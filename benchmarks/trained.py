"""What the policies in examples/trained/ score: each is tested here once more.

They are the last policies of seed 0, none of them selected. Their 100 test episodes are those
of seed 0 in the tables of all seeds; a run on another processor ends on other bits, though,
and so on other figures.

    python benchmarks/trained.py

It takes a minute or two, most of it for Breakout.
"""

import json
from typing import Any

import gymnasium as gym
from seeds import RESULTS, ROOT

from minidqn import evaluate, load
from minidqn.lab.folder import short_name
from minidqn.lab.tuned import SCRIPTS, example

BREAKOUT, PONG = "ALE/Breakout-v5", "PongNoFrameskip-v4"


def committed(env_id: str) -> str:
    """The mean return of seed 0 in a table of several seeds."""
    for file in ("learning", "breakout_ram", "minatar", "pong"):
        if (RESULTS / f"{file}.json").exists():
            results = json.loads((RESULTS / f"{file}.json").read_text())
            for run in results["minidqn"].get(env_id, ()):
                if run["seed"] == 0:
                    return f"{run['eval_mean']:.2f}"
    return ""


def environment(env_id: str) -> tuple[Any, float]:
    """The environment of the test, and its epsilon."""
    if env_id.startswith("MinAtar/"):
        game = env_id.removeprefix("MinAtar/").removesuffix("-v0")
        return example(env_id)["make_env"](game), 0.001
    if env_id in (BREAKOUT, PONG):
        import ale_py

        gym.register_envs(ale_py)
        if env_id == BREAKOUT:
            return gym.make(env_id, obs_type="ram"), 0.001
        return example(PONG)["make_env"](), 0.0
    return gym.make(env_id), 0.0


def main() -> None:
    lines = ["| | mean | minimum | seed 0 in the table of all seeds | file |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for env_id in SCRIPTS:
        path = ROOT / "examples" / "trained" / f"{short_name(env_id)}.safetensors"
        if not path.exists():
            continue
        env, epsilon = environment(env_id)
        returns = evaluate(load(path), env, 100, 0, epsilon)
        lines.append(
            f"| {env_id} | {returns.mean():.2f} | {returns.min():.0f} | {committed(env_id)} "
            f"| {path.stat().st_size / 1000:.0f} kB |"
        )
        print(lines[-1], flush=True)
    (RESULTS / "trained.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
