"""What a run is shown as: a line of numbers, and pictures."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from minidqn import (
    DQN,
    TEST,
    Axis,
    DQNConfig,
    Spec,
    episode_seed,
    evaluate,
    load,
    run,
)
from minidqn.lab import show
from minidqn.lab.envs import play
from minidqn.lab.folder import AGENT, CHECKPOINT
from minidqn.lab.show import Shown, draw, summary, watch, why_not_drawn
from minidqn.nn.layers import Array

from .test_pixels import Catch
from .test_run import Corridor, Doubled, corridor, small_network

CONFIG = DQNConfig(hidden=(4,), batch_size=8, learning_starts=50, buffer_size=20_000)
SPEC = Spec("CartPole-v1", CONFIG, 100, 3, test_episodes=4)
PLAN = Shown(
    film_steps=17,
    x=Axis(2, -0.2, 0.2, "angle"),
    y=Axis(3, -2.0, 2.0, "speed"),
    actions=("left", "right"),
)
RESULT: dict[str, Any] = {
    "steps": 100,
    "updates": 51,
    "train_seconds": 1.25,
    "solved_at": 475.0,
    "eval_mean": 49.5,
    "eval_std": 28.87,
    "eval_min": 0.0,
    "eval_returns": [0.0, 49.0, 99.0, 50.0],
    "eval_cut": 0,
}


def catch(render_mode: str | None = None) -> Catch:
    env = Catch()
    env.render_mode = render_mode
    return env


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A short run of CartPole."""
    folder = tmp_path_factory.mktemp("made")
    return folder, run(SPEC, folder, progress=False)


def copied(made: tuple[Path, Any], folder: Path) -> Path:
    for file in made[0].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture
def filmed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the film is made of."""
    given: dict[str, Any] = {}

    def animate(agents: Any, env: Any, path: Path, seeds: Any, max_steps: int) -> None:
        given.update(agents=agents, mode=env.render_mode, env=env.spec.id)
        given.update(path=path, seeds=seeds, max_steps=max_steps)

    monkeypatch.setattr(show, "animate", animate)
    return given


def test_a_run_in_a_line() -> None:
    assert summary(SPEC, RESULT) == (
        "100 steps and 51 updates in 1.2 s. Greedy return in 4 new episodes: "
        "49.5 ± 28.9, minimum 0: not solved (from 475)"
    )


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"eval_mean": 475.0}, "475.0 ± 28.9, minimum 0: solved (from 475)"),
        ({"solved_at": None}, "49.5 ± 28.9, minimum 0"),
        ({"solved_at": -0.5}, "minimum 0: solved (from -0.5)"),
        ({"eval_cut": 2}, "0; 2 of these episodes were cut, so it may not be solved"),
        ({"train_seconds": None}, "100 steps and 51 updates, resumed. Greedy"),
    ],
)
def test_the_line_says_what_is_known(changes: dict[str, Any], part: str) -> None:
    text = summary(SPEC, RESULT | changes)
    assert part in text
    assert text.endswith(part) or "resumed" in text


def test_the_line_says_how_it_was_tested() -> None:
    spec = replace(SPEC, test_epsilon=0.001)
    assert ". Return at epsilon 0.001 in 4 new episodes: 49.5" in summary(spec, RESULT)


def test_the_pictures_are_made_of_the_files_of_a_run(
    tmp_path: Path, made: tuple[Path, Any]
) -> None:
    """Without the checkpoint, and as often as one likes."""
    folder = copied(made, tmp_path)
    (folder / CHECKPOINT).unlink()
    before = {path.name for path in folder.iterdir()}
    for _ in range(2):
        draw(SPEC, folder, made[1], PLAN)
        new = {path.name for path in folder.iterdir()} - before
        assert new == {"learning_curve.png", "value_function.png", "before_after.gif"}
        for name in new:
            with Image.open(folder / name) as picture:
                picture.load()
            (folder / name).unlink()
    draw(SPEC, folder, made[1], Shown(), animation=False)
    new = {path.name for path in folder.iterdir()} - before
    assert new == {"learning_curve.png"}


def test_the_film_shows_the_first_test_episodes_before_and_after(
    tmp_path: Path, made: tuple[Path, Any], filmed: dict[str, Any]
) -> None:
    folder = copied(made, tmp_path)
    draw(SPEC, folder, made[1], PLAN)
    assert (filmed["env"], filmed["mode"]) == ("CartPole-v1", "rgb_array")
    assert filmed["seeds"] == [episode_seed(3, TEST, number) for number in range(3)]
    assert filmed["max_steps"] == 17
    assert filmed["path"] == folder / "before_after.gif"

    assert list(filmed["agents"]) == ["before", "after"]
    before, after = filmed["agents"].values()
    with SPEC.make() as env:
        untrained = DQN(env.observation_space, env.action_space, CONFIG, 3)
    trained = load(folder / AGENT)
    np.testing.assert_array_equal(before.online.params, untrained.online.params)
    np.testing.assert_array_equal(after.online.params, trained.online.params)
    assert not before.replay.made  # a second replay buffer would take memory
    assert not after.replay.made


def test_a_network_of_one_s_own_is_shown_too(
    tmp_path: Path, filmed: dict[str, Any]
) -> None:
    config = replace(CONFIG, hidden=DQNConfig.hidden)
    spec = replace(SPEC, network=small_network, config=config)
    draw(spec, tmp_path, run(spec, tmp_path, progress=False), PLAN)
    before, after = filmed["agents"].values()
    for agent in (before, after):
        assert agent.online.layers[0].size == 15
    assert (before.online.params != after.online.params).any()


@pytest.mark.filterwarnings("ignore:epsilon is 1 again")
def test_before_a_run_from_a_saved_agent_was_that_agent(
    tmp_path: Path, made: tuple[Path, Any], filmed: dict[str, Any]
) -> None:
    start = made[0] / AGENT
    spec = replace(SPEC, start=start, steps=150)
    draw(spec, tmp_path, run(spec, tmp_path, progress=False), PLAN)
    before, after = filmed["agents"].values()
    np.testing.assert_array_equal(before.online.params, load(start).online.params)
    assert (after.online.params != before.online.params).any()


def test_the_curve_has_the_threshold_of_the_same_returns_only(
    tmp_path: Path, made: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []

    def plot(history: Any, path: Path, **options: Any) -> None:
        drawn.append({"episodes": len(history), "path": path, **options})

    monkeypatch.setattr(show, "plot_learning_curve", plot)
    folder, result = copied(made, tmp_path), made[1]
    for spec in (SPEC, replace(SPEC, train_wrapper=Doubled, test_epsilon=0.25)):
        draw(spec, folder, result, Shown(), animation=False)
    plain, wrapped = drawn
    assert (plain["solved_at"], wrapped["solved_at"]) == (475.0, None)
    assert (plain["test_epsilon"], wrapped["test_epsilon"]) == (0.0, 0.25)
    assert plain["test_returns"].tolist() == result["eval_returns"]
    assert plain["title"] == "DQN on CartPole-v1, seed 3"
    assert plain["path"] == folder / "learning_curve.png"
    lines = (folder / "history.csv").read_text().splitlines()
    assert plain["episodes"] == len(lines) - 1


def test_a_stack_of_states_has_no_value_function_to_draw(tmp_path: Path) -> None:
    spec = replace(SPEC, config=replace(CONFIG, frame_stack=4))
    draw(spec, tmp_path, run(spec, tmp_path, progress=False), PLAN, animation=False)
    assert (tmp_path / "learning_curve.png").exists()
    assert not (tmp_path / "value_function.png").exists()


def test_what_the_first_filters_became_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the end of the first test episode, which is shorter than 60 steps."""
    drawn: list[Any] = []
    monkeypatch.setattr(show, "plot_filters", lambda *given: drawn.append(given))
    config = replace(CONFIG, conv=((2, 3, 1),), buffer_size=200)
    spec = Spec("Catch", config, 100, make_env=catch, test_episodes=2)
    result = run(spec, tmp_path, progress=False)
    draw(spec, tmp_path, result, PLAN, animation=False)
    [(agent, obs, path)] = drawn
    assert path == tmp_path / "filters.png"
    *_, (_, over, last) = play(
        load(tmp_path / AGENT), Catch(), episode_seed(0, TEST, 0)
    )
    assert over
    np.testing.assert_array_equal(obs, last)
    assert agent.config == config
    text = (tmp_path / "summary.json").read_text()
    assert json.loads(text)["solved_at"] is None  # nobody knows a threshold
    assert "Infinity" not in text


# --- Environments that cannot draw themselves


class Raises(Corridor):
    """It says that it can be drawn."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012  # Gymnasium's

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def render(self) -> Any:
        raise RuntimeError("no graphics card")


class Blank(Raises):
    """It draws nothing."""

    def render(self) -> Array | None:
        return None


class Black(Raises):
    """It draws a picture."""

    def render(self) -> Array:
        return np.zeros((8, 8, 3), np.uint8)


def ignoring(**options: Any) -> Corridor:
    return Corridor()


def noisy(**options: Any) -> Black:
    warnings.warn("a render_mode that may not be there", UserWarning, stacklevel=2)
    return Black(**options)


def black_without_a_mode(**options: Any) -> Black:
    return Black()


CANNOT = "Corridor cannot draw itself with render_mode='rgb_array'"


def test_why_there_is_no_film() -> None:
    assert why_not_drawn(SPEC) == ""
    for make_env, reason in (
        (Black, ""),
        (noisy, ""),
        (Raises, f"{CANNOT}: no graphics card"),
        (Blank, "Corridor cannot draw itself: it has no render_mode 'rgb_array'"),
        (
            corridor,
            f"{CANNOT}: Corridor() takes no arguments",
        ),
        (ignoring, f"{CANNOT}: NotImplementedError"),
        (
            black_without_a_mode,
            "Corridor cannot draw itself: it has no render_mode 'rgb_array'",
        ),
    ):
        spec = replace(SPEC, env_id="Corridor", make_env=make_env)
        assert why_not_drawn(spec) == reason
    spec = replace(SPEC, make_env=black_without_a_mode)
    assert why_not_drawn(spec, "human").endswith("it has no render_mode 'human'")
    assert why_not_drawn(replace(SPEC, make_env=Blank), "human") == ""


# --- Watching


class InWindow(gym.Wrapper[Any, Any, Any, Any]):
    """As if there was a window to draw in."""

    def __init__(self, env: Any, render_mode: str | None) -> None:
        super().__init__(env)
        self.mode = render_mode

    @property
    def render_mode(self) -> str | None:  # type: ignore[override]  # as any wrapper's
        return self.mode


def in_window(render_mode: str | None = None) -> InWindow:
    return InWindow(gym.make("CartPole-v1"), render_mode)


def test_the_test_episodes_are_shown_in_a_window(
    made: tuple[Path, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    played: list[Any] = []

    def play_three(agent: DQN, env: Any, seed: int, epsilon: float) -> Any:
        played.append((env.render_mode, seed, epsilon))
        yield from [(0.0, False, None), (1.5, False, None), (2.0, True, None)]

    monkeypatch.setattr(show, "play", play_three)
    monkeypatch.setattr(show, "has_display", lambda: True)
    spec = replace(SPEC, make_env=in_window, test_epsilon=0.25)
    watch(spec, made[0] / AGENT, tmp_path / "watch.gif")
    assert played == [
        ("human", episode_seed(3, TEST, number), 0.25) for number in range(3)
    ]
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"The agent of {made[0] / AGENT}",
        *[f"episode {number}: return 3.5" for number in (1, 2, 3)],
    ]
    assert not (tmp_path / "watch.gif").exists()


def test_without_a_display_there_is_a_film(
    made: tuple[Path, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    filmed: dict[str, Any],
) -> None:
    monkeypatch.setattr(show, "has_display", lambda: False)
    picture = tmp_path / "new" / "watch.gif"
    watch(SPEC, made[0] / AGENT, picture)
    assert picture.parent.is_dir()
    assert list(filmed["agents"]) == ["agent"]
    assert (filmed["path"], filmed["max_steps"]) == (picture, 400)
    returns = evaluate(load(made[0] / AGENT), gym.make("CartPole-v1"), 3, SPEC.seed)
    assert capsys.readouterr().out.splitlines() == [
        f"The agent of {made[0] / AGENT}",
        *[f"episode {n}: return {total:.1f}" for n, total in enumerate(returns, 1)],
        f"There is no display: see {picture}",
    ]


@pytest.mark.parametrize("display", [False, True])
def test_an_environment_that_cannot_draw_itself_is_played_all_the_same(
    display: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    spec = Spec("Corridor", CONFIG, 60, make_env=corridor, test_episodes=2)
    run(spec, tmp_path / "it", progress=False)
    monkeypatch.setattr(show, "has_display", lambda: display)
    watch(spec, tmp_path / "it" / AGENT, tmp_path / "films" / "watch.gif")
    about, why, *episodes = capsys.readouterr().out.splitlines()
    assert about == f"The agent of {tmp_path / 'it' / AGENT}"
    mode = "human" if display else "rgb_array"
    assert why == (
        f"Corridor cannot draw itself with render_mode={mode!r}: Corridor() takes no "
        "arguments"
    )
    returns = evaluate(load(tmp_path / "it" / AGENT), Corridor(), 3)
    assert episodes == [
        f"episode {n}: return {total:.1f}" for n, total in enumerate(returns, 1)
    ]
    assert not (tmp_path / "films").exists()


def test_an_agent_of_another_environment_is_not_shown(
    made: tuple[Path, Any], tmp_path: Path
) -> None:
    spec = replace(SPEC, env_id="Acrobot-v1")
    with pytest.raises(ValueError, match="the environment's spaces are"):
        watch(spec, made[0] / AGENT, tmp_path / "runs" / "watch.gif")
    assert list(tmp_path.iterdir()) == []
