"""What a run is shown as: a line of numbers, and pictures in its folder.

All of it is made from the files of the run, so it can be made again at any time.
"""

import warnings
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from minidqn.agent import DQN
from minidqn.lab.checkpoint import load
from minidqn.lab.envs import TEST, check_spaces, episode_seed, play
from minidqn.lab.films import animate, has_display, prepare_drawing
from minidqn.lab.filters import plot_filters
from minidqn.lab.folder import AGENT, HISTORY, TESTS
from minidqn.lab.history import read_csv
from minidqn.lab.identity import Json
from minidqn.lab.plotting import plot_learning_curve
from minidqn.lab.scores import read_scores
from minidqn.lab.settings import own_schedules
from minidqn.lab.spec import Spec
from minidqn.lab.value_function import Axis, plot_value_function
from minidqn.parts.conv import Conv2d

EPISODES = 3  # of a film, and of what is watched


@dataclass(frozen=True)
class Shown:
    """What the pictures of a run show.

    film_steps  steps of an episode in the film, at most
    x, y        the axes of the picture of the value function; without, there is none
    actions     the names of the actions
    """

    film_steps: int = 200
    x: Axis | None = None
    y: Axis | None = None
    actions: tuple[str, ...] = ()


def load_policy(spec: Spec, path: Path) -> DQN:
    own: Any = own_schedules(spec.config)
    return load(path, spec.network, agent=spec.agent, **own)


def summary(spec: Spec, result: Json) -> str:
    """What came of a run, in a line."""
    seconds = result["train_seconds"]
    took = ", resumed" if seconds is None else f" in {seconds:.1f} s"
    if spec.test_epsilon > 0.0:
        how = f"Return at epsilon {spec.test_epsilon:g}"
    else:
        how = "Greedy return"
    verdict = ""
    if result["eval_cut"] > 0:  # what they would have returned is not known
        cut = result["eval_cut"]
        verdict = f"; {cut} of these episodes were cut, so it may not be solved"
    elif result["solved_at"] is not None:
        solved = result["eval_mean"] >= result["solved_at"]
        verdict = f": {'solved' if solved else 'not solved'}"
        verdict += f" (from {result['solved_at']:g})"
    tested = len(result["eval_returns"])
    episodes = "1 new episode" if tested == 1 else f"{tested} new episodes"
    return (
        f"{result['steps']} steps and {result['updates']} updates{took}. {how} in "
        f"{episodes}: {result['eval_mean']:.1f} "
        f"± {result['eval_std']:.1f}, minimum {result['eval_min']:.0f}{verdict}"
    )


def draw(
    spec: Spec, folder: Path, result: Json, shown: Shown, *, animation: bool = True
) -> None:
    """Draw the pictures of a run that has ended, and film some of its episodes."""
    agent = load_policy(spec, folder / AGENT)
    what = f"{spec.env_id}, seed {spec.seed}"
    # with a wrapper in training, its returns are not those of the test
    solved_at = None if spec.train_wrapper else result["solved_at"]
    history = read_csv(folder / HISTORY)
    history.tests = read_scores(folder / TESTS)
    plot_learning_curve(
        history,
        folder / "learning_curve.png",
        test_returns=np.array(result["eval_returns"]),
        test_epsilon=spec.test_epsilon,
        solved_at=solved_at,
        title=f"DQN on {what}",
    )
    is_vector = len(agent.replay.stack_shape) == 1
    if shown.x is not None and shown.y is not None and is_vector:
        plot_value_function(
            agent,
            folder / "value_function.png",
            shown.x,
            shown.y,
            actions=shown.actions,
            title=f"What DQN learned of {what}",
        )
    if isinstance(agent.online.layers[0], Conv2d):
        plot_filters(agent, an_observation(spec, agent), folder / "filters.png")
    if animation:
        agents = {"before": before_training(spec, agent), "after": agent}
        steps = min(shown.film_steps, spec.test_max_steps)
        film(spec, agents, folder / "before_after.gif", steps)


def before_training(spec: Spec, agent: DQN) -> DQN:
    """What a trained agent was in the beginning."""
    if spec.start is not None:
        return load_policy(spec, spec.start)
    spaces = (agent.observation_space, agent.action_space)
    return spec.agent(*spaces, agent.config, spec.seed, network=spec.network)


def an_observation(spec: Spec, agent: DQN) -> Any:
    """What the agent sees some steps after the start of a test episode."""
    seed = episode_seed(spec.seed, TEST, 0)
    env = spec.make()
    for _, _, obs in islice(play(agent, env, seed, spec.test_epsilon), 60):
        last = obs
    env.close()
    return last


def film(spec: Spec, agents: dict[str, DQN], path: Path, steps: int) -> None:
    """Write a GIF of some test episodes, those that the test begins with."""
    seeds = [episode_seed(spec.seed, TEST, number) for number in range(EPISODES)]
    env = spec.make(render_mode="rgb_array")
    animate(agents, env, path, seeds, steps)
    env.close()


def why_not_drawn(spec: Spec, mode: str = "rgb_array") -> str:
    """Why the environment draws no pictures of itself; nothing if it does."""
    prepare_drawing()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Gymnasium's, which say the same
            with closing(spec.make(render_mode=mode)) as env:
                env.reset(seed=spec.seed)
                picture = env.render()
                can_draw = env.render_mode == mode
    # it takes no render_mode, or a package is missing, or it raises another error
    except Exception as error:
        reason = str(error) or type(error).__name__
        return f"{spec.env_id} cannot draw itself with render_mode={mode!r}: {reason}"
    if mode == "rgb_array" and not isinstance(picture, np.ndarray):
        can_draw = False  # in a window, nothing is returned
    if not can_draw:
        return f"{spec.env_id} cannot draw itself: it has no render_mode {mode!r}"
    return ""


def watch(spec: Spec, path: Path, picture: Path) -> None:
    """Show a saved agent playing: in a window, or else in a GIF, `picture`.

    If the environment cannot draw itself, only the returns are shown.
    """
    agent = load_policy(spec, path)
    with closing(spec.make()) as env:
        check_spaces(agent, env.observation_space, env.action_space)
    print(f"The agent of {path}")
    in_window = has_display()
    why_not = why_not_drawn(spec, "human" if in_window else "rgb_array")
    if why_not:
        print(why_not)
    options: Any = {"render_mode": "human"} if in_window and not why_not else {}
    with closing(spec.make(**options)) as env:
        for number in range(EPISODES):
            seed = episode_seed(spec.seed, TEST, number)
            total = 0.0
            moves = play(agent, env, seed, spec.test_epsilon)
            for reward, _, _ in islice(moves, spec.test_max_steps + 1):
                total += reward
            print(f"episode {number + 1}: return {total:.1f}", flush=True)
    if not in_window and not why_not:
        picture.parent.mkdir(parents=True, exist_ok=True)
        film(spec, {path.stem: agent}, picture, steps=400)
        print(f"There is no display: see {picture}")
