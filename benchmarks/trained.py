"""What the policies in examples/trained/ score: each is tested here once more.

They are the last policies of seed 0, none of them selected. Their 100 test episodes are those
of the table of all seeds, so on the same kind of processor the figures are equal.

    python benchmarks/trained.py

Breakout takes most of the minute.
"""

import json
from typing import Any

import gymnasium as gym
from seeds import RESULTS, ROOT

from minidqn import evaluate, load
from minidqn.lab.tuned import SCRIPTS

BREAKOUT = "ALE/Breakout-v5"


def committed(env_id: str) -> float:
    """The mean return of seed 0 in the table of all seeds."""
    name = "breakout_ram" if env_id == BREAKOUT else "learning"
    results = json.loads((RESULTS / f"{name}.json").read_text())
    (mean,) = (run["eval_mean"] for run in results["minidqn"][env_id] if run["seed"] == 0)
    return float(mean)


def main() -> None:
    lines = ["| | mean | minimum | seed 0 in the table of all seeds | file |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for env_id in SCRIPTS:
        options: dict[str, Any] = {}
        if env_id == BREAKOUT:
            import ale_py

            gym.register_envs(ale_py)
            options = {"obs_type": "ram"}
        name = env_id.split("/")[-1].split("-")[0].lower()
        path = ROOT / "examples" / "trained" / f"{name}.safetensors"
        epsilon = 0.001 if env_id == BREAKOUT else 0.0
        returns = evaluate(load(path), gym.make(env_id, **options), 100, 0, epsilon)
        lines.append(
            f"| {env_id} | {returns.mean():.2f} | {returns.min():.0f} | {committed(env_id):.2f} "
            f"| {path.stat().st_size / 1000:.0f} kB |"
        )
        print(lines[-1], flush=True)
    (RESULTS / "trained.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
