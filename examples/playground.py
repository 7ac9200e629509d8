"""A page where one can push the cart: a network that balances a pole, in a browser.

    python examples/cartpole.py
    python examples/playground.py runs/cartpole

It writes runs/cartpole/playground.html: one file without a server, that works offline.
It has the policy's numbers, CartPole's equations and the forward pass in plain
JavaScript. One slider sets the push, from harmless to fatal. Another goes through the
run, from clumsy to perfect: the run is made once more, which takes seconds and gives the
same bits, and the network is kept at several moments.
"""

import argparse
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from minidqn import DQN, CheckpointError, History, load, train
from minidqn.lab.folder import AGENT, SUMMARY, read_json
from minidqn.nn.layers import Array, Linear
from minidqn.parts.normalize import Normalize

MOMENTS = 12  # of the run, the first before and the last after training
PAGE = Path(__file__).with_name("playground.html")


def ended_run(folder: Path) -> tuple[DQN, int]:
    """The policy of a run that has ended, and how many steps it was trained for."""
    result = read_json(folder / SUMMARY)
    if not result:
        raise FileNotFoundError(
            f"there is no {SUMMARY} in {folder}: expected the folder of a run that has "
            "ended"
        )
    return load(folder / AGENT), result["steps"]


def again(agent: DQN, steps: int) -> list[tuple[int, Array]]:
    """The run of an agent once more: step and parameters, at several moments.

    Raises ValueError for the agent of another environment.
    """
    env = gym.make("CartPole-v1")
    if agent.observation_space != env.observation_space:
        raise ValueError(
            f"the agent sees {agent.observation_space}: expected {env}'s observations"
        )
    new = DQN(env.observation_space, env.action_space, agent.config, agent.seed)
    moments = [(0, new.online.params.copy())]
    # the first steps teach the most: the moments are closer together there
    at = {round(steps * (i / (MOMENTS - 1)) ** 2) for i in range(1, MOMENTS)}

    def keep(now: DQN, history: History) -> None:
        if now.steps in at:
            moments.append((now.steps, now.online.params.copy()))

    train(new, env, steps, on_step=keep)
    if not np.array_equal(new.online.params, agent.online.params):
        print("The run made once more ends on another agent: other packages, another")
        print("processor, or it began with a saved agent.")
        print("The last moment shows the agent itself.")
    return [*moments[:-1], (steps, agent.online.params)]


def page(agent: DQN, moments: list[tuple[int, Array]]) -> str:
    """The page as text. Raises ValueError for what its JavaScript does not have."""
    layers: list[Any] = list(agent.online.layers)
    if agent.config.quantiles > 1:
        raise ValueError(
            f"quantiles is {agent.config.quantiles}: expected 1, plain Q-values"
        )
    n_in = agent.observation_space.shape[0]  # type: ignore[index]  # a Box has a shape
    scale = np.ones(n_in)
    shift = np.zeros(n_in)
    if isinstance(layers[0], Normalize):
        scale = layers[0].scale
        shift = layers[0].shift
        layers = layers[1:]
    for layer in layers:
        if type(layer) is not Linear:
            raise ValueError(
                f"a layer is a {type(layer).__name__}: expected Linear layers alone"
            )
    # the parameters of a Linear layer are its weights, (I, O), and then its biases
    sizes = [n_in, *(layer.W.shape[1] for layer in layers)]
    states = np.random.default_rng(0).uniform(-0.1, 0.1, (100, n_in)).astype(np.float32)
    encoded = []
    for steps, params in moments:
        numbers = b64encode(params.astype("<f4").tobytes()).decode()
        encoded.append({"steps": steps, "params": numbers})
    run = {
        "sizes": sizes,
        "scale": [float(x) for x in scale],
        "shift": [float(x) for x in shift],
        "most": float(agent.q_values(states).max()),  # the end of the bars
        "moments": encoded,
    }
    return PAGE.read_text(encoding="utf-8").replace("/*DATA*/null", json.dumps(run))


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Write a page where one can push the cart."
    )
    parser.add_argument(
        "run", type=Path, help="the folder of a run of examples/cartpole.py"
    )
    args = parser.parse_args()
    try:
        agent, steps = ended_run(args.run)
        page(agent, [])  # raises, before the run is made, if the agent cannot be shown
        print(f"Making the run once more, to keep the network at {MOMENTS} moments")
        text = page(agent, again(agent, steps))
    except (CheckpointError, OSError, ValueError) as error:
        parser.error(str(error))
    out = args.run / "playground.html"
    out.write_text(text, encoding="utf-8")
    print(f"Open {out} in a browser ({len(text) // 1000} kB).")


if __name__ == "__main__":
    main()
