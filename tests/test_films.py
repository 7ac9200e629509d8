"""Films: what they show, and of which episode."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from PIL import Image, ImageDraw, ImageSequence

from minidqn import DQN, DQNConfig, animate
from minidqn.lab.films import action_names, film, steps_per_picture
from minidqn.lab.pictures import CHART, GAP, STRIP, WIDTH, picture, with_chart
from minidqn.lab.plotting import PALETTE

from .test_agent import force_q, small_agent


def test_animation_goes_on_for_the_one_that_stays_up(tmp_path: Path) -> None:
    env = gym.make("CartPole-v1", render_mode="rgb_array")

    class Lean(DQN):
        def act(self, obs: object, epsilon: float = 0.0, mask: object = None) -> int:
            return 0

    class Balance(DQN):
        def act(self, obs: object, epsilon: float = 0.0, mask: object = None) -> int:
            _, _, angle, turning = np.asarray(obs)
            return int(angle + 0.3 * turning > 0)

    agents: dict[str, DQN] = {
        "before": Lean(env.observation_space, env.action_space),
        "after": Balance(env.observation_space, env.action_space),
    }
    path = tmp_path / "film.gif"
    animate(agents, env, path, seeds=[1, 2], max_steps=40)
    with Image.open(path) as film:
        assert film.info["duration"] == 40  # milliseconds: real time
        grey = [frame.convert("L") for frame in ImageSequence.Iterator(film)]
        frames = [np.asarray(frame) for frame in grey]
    assert (frames[0][:, : frames[0].shape[1] // 2] == 255).mean() > 0.5
    assert len(frames) >= 2 * 20  # one for every second step, of both episodes
    frame = frames[20]
    half = frame.shape[1] // 2
    # only the fallen is dimmed
    assert frame[:, :half].max() < 230 < frame[:, half + 8 :].max()


class Shades(gym.Env[Any, Any]):
    """Draws the step as a shade of grey, and remembers seeds and actions.

    `mask` says which actions are allowed.
    """

    observation_space = Box(-1.0, 1.0, (3,), np.float32)
    action_space = Discrete(2)
    render_mode = "rgb_array"

    def __init__(
        self, length: int, mask: list[int] | None = None, fps: int = 75
    ) -> None:
        self.length = length
        self.info = {} if mask is None else {"action_mask": mask}
        self.metadata = {"render_fps": fps}
        self.seeds: list[int | None] = []
        self.actions: list[int] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.seeds.append(seed)
        self.steps = 0
        return np.zeros(3, np.float32), self.info

    def step(self, action: int) -> Any:
        self.actions.append(action)
        self.steps += 1
        return np.zeros(3, np.float32), 1.0, self.steps >= self.length, False, self.info

    def render(self) -> Any:
        return np.full((20, 30, 3), self.steps, np.uint8)


def shades(pictures: list[Any]) -> list[int]:
    """The step that each picture shows; below 100 it is not dimmed."""
    return [int(np.asarray(image)[STRIP + 50, 10, 0]) for image in pictures]


def test_a_film_shows_the_first_state_the_last_and_every_so_many_between() -> None:
    agent = small_agent()
    env = Shades(length=10)
    assert steps_per_picture(env) == 3
    pictures = film(agent, env, 5, "caption", max_steps=100)
    assert shades(pictures[:-1]) == [0, 3, 6, 9]
    dimmed = 0.6 * 10 + 0.4 * 0x7D
    assert shades(pictures[-1:]) == [int(dimmed)]
    assert env.seeds == [5]
    assert pictures[0].size == (WIDTH, STRIP + 200)


def test_a_film_ends_after_so_many_steps() -> None:
    env = Shades(length=10)
    assert shades(film(small_agent(), env, 5, "caption", max_steps=7)) == [0, 3, 6, 7]
    assert len(env.actions) == 7


def test_a_film_keeps_to_the_mask() -> None:
    agent = small_agent()
    force_q(agent, [0.0, 5.0])
    env = Shades(length=3, mask=[1, 0])
    film(agent, env, 5, "caption", max_steps=7)
    assert env.actions == [0, 0, 0]


def test_films_stand_side_by_side_and_episodes_follow_each_other(
    tmp_path: Path,
) -> None:
    env = Shades(length=4, fps=50)
    agents: dict[str, DQN] = {"one": small_agent(), "two": small_agent()}
    animate(agents, env, tmp_path / "film.gif", seeds=[3, 4], max_steps=10)
    assert env.seeds == [3, 3, 4, 4]
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.size == (2 * WIDTH + GAP, STRIP + 200)
        assert gif.info["duration"] == 40


def test_what_cannot_be_filmed_is_refused_before_anything_is_played(
    tmp_path: Path,
) -> None:
    env = Shades(length=4)
    path = tmp_path / "film.gif"
    good = {"good": small_agent()}
    with pytest.raises(ValueError, match=r"seeds is \[\]: expected one or more"):
        animate(good, env, path, seeds=[])
    with pytest.raises(ValueError, match=r"agents is \{\}: expected one or more"):
        animate({}, env, path, seeds=[1])
    both = good | {"of three actions": small_agent(n_actions=3)}
    with pytest.raises(ValueError, match=r"spaces are .* expected the agent's"):
        animate(both, env, path, seeds=[1])
    with pytest.raises(FileNotFoundError, match=r"no folder '.*absent': make it"):
        animate(good, env, tmp_path / "absent" / "film.gif", seeds=[1])
    for mode in (None, "human"):
        env.render_mode = mode  # type: ignore[assignment]  # that is the test
        says = f'render_mode is {mode!r}: expected "rgb_array", .*gymnasium.make'
        with pytest.raises(ValueError, match=says):
            animate(good, env, path, seeds=[1])
        with pytest.raises(ValueError, match=says):
            film(small_agent(), env, 1, "caption", max_steps=10)
    assert env.seeds == []
    assert list(tmp_path.iterdir()) == []


def bands(frame: Any) -> list[list[int]]:
    """The colours, red, green and blue, of the thirds of a picture of `frame`."""
    image = np.asarray(picture(frame, "caption", over=False))
    return [image[STRIP + 100, x].tolist() for x in (50, 150, 250)]


BYTES = [0, 128, 255]  # of the left third, the middle and the right


@pytest.mark.parametrize("shape", [(20, 30, 3), (20, 30, 1), (20, 30)])
@pytest.mark.parametrize(
    ("dtype", "values", "shown"),
    [
        ("uint8", BYTES, BYTES),
        ("int64", BYTES, BYTES),
        ("uint16", BYTES, BYTES),
        ("int64", [-5, 1, 300], [0, 1, 255]),
        ("float64", BYTES, BYTES),
        ("float32", BYTES, BYTES),
        ("float64", [0.0, 0.5, 1.0], [0, 127, 255]),
        ("float32", [0.0, 0.5, 1.0], [0, 127, 255]),
        ("bool", [False, True, False], [0, 255, 0]),
    ],
)
def test_colors_are_bytes_or_fractions(
    shape: tuple[int, ...], dtype: str, values: list[float], shown: list[int]
) -> None:
    frame = np.zeros(shape, dtype)
    for third, value in enumerate(values):
        frame[:, 10 * third : 10 * (third + 1)] = value
    assert bands(frame) == [[value] * 3 for value in shown]


def test_red_stays_red() -> None:
    frame = np.zeros((20, 30, 3), np.int64)
    frame[..., 0] = 200
    assert bands(frame) == [[200, 0, 0]] * 3


def test_a_long_caption_fits() -> None:
    black = np.zeros((20, 30, 3), np.uint8)
    image = np.asarray(picture(black, 40 * "W", over=False))
    ink = np.flatnonzero((image[:STRIP] < 128).any(axis=(0, 2)))  # columns
    assert WIDTH / 2 < ink[-1] < WIDTH - 4


def test_a_picture_has_its_caption_above_it() -> None:
    black = np.zeros((20, 30, 3), np.uint8)
    plain = np.asarray(picture(black, "a", over=False))
    other = np.asarray(picture(black, "b", over=False))
    assert (plain[:STRIP] != other[:STRIP]).any()
    np.testing.assert_array_equal(plain[STRIP:], other[STRIP:])
    assert (plain[STRIP:] == 0).all()


def test_a_caption_says_the_step_and_the_end() -> None:
    written: list[str] = []

    def write(draw: object, place: object, text: str, *style: object) -> None:
        written.append(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageDraw.ImageDraw, "text", write)
        film(small_agent(), Shades(length=5), 5, "before", max_steps=7)
        film(small_agent(), Shades(length=5), 5, "after", max_steps=4)
        film(small_agent(), Shades(length=3), 5, "both", max_steps=3)
    assert written == [
        "before, step 0",
        "before, step 3",
        "before, step 5, ended",
        "after, step 0",
        "after, step 3",
        "after, step 4: the film is cut here",
        "both, step 0",
        "both, step 3, ended",
    ]


def test_the_last_frame_of_an_episode_stays_for_a_second(tmp_path: Path) -> None:
    env = Shades(length=4, fps=50)
    animate({"one": small_agent()}, env, tmp_path / "film.gif", seeds=[3, 4])
    with Image.open(tmp_path / "film.gif") as gif:
        shown = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
    assert shown == [40, 40, 1040, 40, 40, 1040]


@pytest.mark.parametrize(
    ("fps", "steps"), [(50, 2), (30, 1), (10, 1), (100, 4), (15, 1)]
)
def test_there_are_about_25_pictures_a_second(fps: int, steps: int) -> None:
    assert steps_per_picture(Shades(1, fps=fps)) == steps


class Blinks(Shades):
    """What it draws is what the agent sees; its actions have names."""

    observation_space: Any = Box(0, 255, (4, 5), np.uint8)

    def reset(self, **options: Any) -> Any:
        return np.zeros((4, 5), np.uint8), super().reset(**options)[1]

    def step(self, action: int) -> Any:
        obs = np.full((4, 5), 40 * (self.steps % 5), np.uint8)
        return obs, *super().step(action)[1:]

    def get_action_meanings(self) -> list[str]:
        return ["NOOP", "FIRE"]


def test_the_q_values_of_pixels_move_below_them() -> None:
    env = Blinks(length=9)
    agent = DQN(env.observation_space, env.action_space, DQNConfig(conv=((3, 2, 1),)))
    pictures = film(agent, env, 5, "caption", max_steps=100)
    charts = [np.asarray(image)[-CHART:] for image in pictures]
    assert pictures[0].size == (WIDTH, STRIP + 200 + CHART)
    assert shades(pictures[:-1]) == [0, 3, 6]  # the rest is as without
    drawn = [(chart < 255).any(axis=(0, 2)).sum() for chart in charts]  # columns in use
    assert drawn == sorted(set(drawn))  # the lines grow


def test_a_dot_marks_the_best_action() -> None:
    q = np.zeros((200, 2))
    q[:, 0] = np.arange(200) / 200
    q[150, 1] = 2.0
    dots = []
    for step in (149, 150):
        blank = Image.new("RGB", (WIDTH, 10))
        chart = np.asarray(with_chart(blank, q, step, ["a", "b"]))[10:]
        dots.append([tuple(chart[15 * i + 8, 230]) for i in range(2)])
    a, b = (tuple(bytes.fromhex(color[1:])) for color in PALETTE[:2])
    white = (255, 255, 255)
    assert dots == [[a, white], [white, b]]


def test_many_long_names_of_actions_have_room() -> None:
    names = ["downrightfire"] * 18
    q = np.zeros((1, 18))
    chart = np.asarray(with_chart(Image.new("RGB", (WIDTH, 10)), q, 0, names))[10:]
    ink: Any = np.any(chart[:, 236:] < 160, axis=2)  # of the names alone
    assert not ink[:, -2:].any()
    lines = ink.any(axis=1)
    starts = np.flatnonzero(lines[1:] & ~lines[:-1])
    assert len(starts) == 18  # with white between them


def test_names_that_are_not_those_of_the_agent_s_actions_are_left_out() -> None:
    env = Blinks(length=2)
    assert action_names(env, 2) == ["noop", "fire"]
    assert action_names(env, 3) == ["0", "1", "2"]
    assert action_names(Shades(length=2), 2) == ["0", "1"]
