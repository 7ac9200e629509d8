"""The page where one can push the cart, in a real browser."""

import json
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from minidqn import (
    DQN,
    DQNConfig,
    LinearDecay,
    Spec,
    load,
    load_run,
    run,
    train,
    tuned_spec,
)
from minidqn.lab.folder import AGENT, CHECKPOINT, SUMMARY

playground = import_module("minidqn.examples.playground")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of CartPole, and its page."""
    out = tmp_path_factory.mktemp("run")
    run(tuned_spec("CartPole-v1", 10_000, 1), out, progress=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["playground.py", str(out)])
        playground.main()
    return out


def open_page(browser: Any, folder: Path, width: int = 860) -> tuple[Any, list[str]]:
    page, wrong = browser.new_page(viewport={"width": width, "height": 800}), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.on("request", lambda request: wrong.append(request.url))
    page.goto((folder / "playground.html").as_uri())
    assert wrong.pop(0).endswith("playground.html")  # the only request
    page.evaluate("paused = true")
    return page, wrong


def test_q_values_and_gradients_are_those_of_numpy(browser: Any, folder: Path) -> None:
    page, wrong = open_page(browser, folder)
    agent, _ = load_run(folder / CHECKPOINT)
    states = agent.replay.obs[:200, 0].astype(float)  # that it saw in training
    code = """states => states.map(s => {
        const v = forward(layers, s), q = s => forward(layers, s).at(-1)[1];
        const away = (i, e) => s.map((x, j) => j === i ? x + e : x);
        const slopes = s.map((_, i) => (q(away(i, 1e-6)) - q(away(i, -1e-6))) / 2e-6);
        return [v.at(-1), gradient(layers, v, 1), slopes];
    })"""
    found = page.evaluate(code, states.tolist())
    q, gradients, slopes = (np.array(column) for column in zip(*found, strict=True))
    np.testing.assert_allclose(
        q, agent.q_values(states.astype(np.float32)), rtol=1e-5, atol=1e-5
    )
    same = np.isclose(gradients, slopes, rtol=1e-4, atol=1e-3).all(axis=1)
    assert same.mean() > 0.98  # a ReLU may turn within 1e-6
    assert wrong == []


def test_the_physics_is_gymnasiums(browser: Any, folder: Path) -> None:
    page, _ = open_page(browser, folder)
    env: Any = gym.make("CartPole-v1").unwrapped
    rng = np.random.default_rng(0)
    for _ in range(20):
        env.reset(seed=int(rng.integers(1000)))
        actions, first = rng.integers(2, size=60).tolist(), list(env.state)
        states: list[list[float]] = []
        falls: list[bool] = []
        for action in actions:
            if not any(falls):  # beyond the fall Gymnasium defines nothing
                falls.append(bool(env.step(action)[2]))
                states.append([float(x) for x in env.state])
        code = "([s, actions]) => actions.map(a => {s = physics(s, a); return [s, fallen(s)];})"
        found = page.evaluate(code, [[float(x) for x in first], actions[: len(states)]])
        np.testing.assert_allclose([s for s, _ in found], states, rtol=1e-9, atol=1e-12)
        assert [fell for _, fell in found] == falls


def test_from_clumsy_to_good(browser: Any, folder: Path) -> None:
    page, wrong = open_page(browser, folder)
    play = """moment => {
        choose(moment); start([0.01, 0, 0.02, 0]); while (!over) tick(); return step;
    }"""
    last = page.evaluate("run.moments.length") - 1
    assert last == 11
    assert (
        page.evaluate(play, last) > 300
    )  # here 500; another processor ends on another agent
    assert page.evaluate(play, 0) < 60
    page.evaluate("draw()")  # the notice that it is over
    page.fill("#moment", "0")
    assert page.input_value("#moment") == "0"
    assert page.inner_text("#steps") == "0 steps"
    page.fill("#moment", str(last))
    assert page.inner_text("#steps") == "10,000 steps"
    assert wrong == []


def test_a_push(browser: Any, folder: Path) -> None:
    page, _ = open_page(browser, folder)
    page.keyboard.down("ArrowRight")
    assert page.evaluate("push") == 8
    page.keyboard.up("ArrowRight")
    assert page.evaluate("push") == 0
    page.keyboard.down("ArrowLeft")
    assert page.evaluate("push") == -8
    page.evaluate("window.dispatchEvent(new Event('blur'))")
    assert page.evaluate("push") == 0  # a window that lost the keyboard sees no keyup
    page.keyboard.up("ArrowLeft")
    page.keyboard.down("Alt")
    page.keyboard.down("ArrowLeft")
    assert page.evaluate("push") == 0  # it is the browser's
    page.keyboard.up("ArrowLeft")
    page.keyboard.up("Alt")
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 50)
    page.mouse.down(button="right")
    assert page.evaluate("push") == 0
    page.mouse.up(button="right")
    page.mouse.down()
    assert page.evaluate("push") == 8
    page.mouse.up()
    assert page.evaluate("push") == 0
    moved = page.evaluate("[0, 4].map(f => physics([0, 0, 0, 0], 1, f)[1])")
    assert moved[1] == pytest.approx(1.4 * moved[0])


def test_pushes_go_from_harmless_to_fatal(browser: Any, folder: Path) -> None:
    page, wrong = open_page(browser, folder)
    code = """([newtons, steps]) => {
        start([0.01, 0, 0.02, 0]);
        for (let i = 0; i < 100; i++) tick();
        const stood = !over;
        push = newtons;
        for (let i = 0; i < steps; i++) tick();
        push = 0;
        for (let i = 0; i < 150; i++) tick();
        return [stood, fallen(state)];
    }"""
    ends = {}
    for end in ("min", "max"):
        page.fill("#strength", page.get_attribute("#strength", end))
        ends[end] = page.evaluate("strength")
        assert page.inner_text("#newtons") == f"{ends[end]} newtons"
    for direction in (-1, 1):  # a second of the weakest, a fifth of the strongest
        assert page.evaluate(code, [direction * ends["min"], 50]) == [True, False]
        assert page.evaluate(code, [direction * ends["max"], 10]) == [True, True]
    assert wrong == []


def test_another_push_leaves_the_episode_as_it_is(browser: Any, folder: Path) -> None:
    page, wrong = open_page(browser, folder)
    page.evaluate("start(); for (let i = 0; i < 50; i++) tick()")
    page.evaluate("paused = true")
    page.fill("#strength", "30")
    assert page.evaluate("[step, history.length, strength]") == [50, 50, 30]
    assert wrong == []


@pytest.mark.parametrize(("slider", "value"), [("moment", "0"), ("strength", "30")])
def test_a_slider_leaves_the_keys_to_the_visitor(
    browser: Any, folder: Path, slider: str, value: str
) -> None:
    page, wrong = open_page(browser, folder)
    page.evaluate("start(); for (let i = 0; i < 50; i++) tick()")
    assert page.evaluate("[step, history.length]") == [50, 50]
    page.fill(f"#{slider}", value)
    if slider == "moment":  # another network is another episode
        assert page.evaluate("[step, history.length, over]") == [0, 0, False]
        assert page.evaluate("state.every(x => Math.abs(x) <= 0.05)") is True

    # with the keyboard it stays on the slider, and after the mouse the keys push
    page.focus(f"#{slider}")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.id") == slider
    page.click(f"#{slider}")
    page.keyboard.down("ArrowRight")
    assert page.evaluate("push === strength") is True
    assert wrong == []


@pytest.mark.parametrize(
    ("q_values", "labels"),
    [
        ([[195.2, 196.0], [200.9, 199.0]], ["202", "194"]),
        ([[-0.08, 0.02], [0.09, -0.01]], ["0.10", "-0.10"]),
        ([[7.0, 7.0], [7.0, 7.0]], ["7.01", "7.00"]),
    ],
)
def test_the_chart_is_scaled_to_what_it_shows(
    browser: Any, folder: Path, q_values: list[list[float]], labels: list[str]
) -> None:
    page, wrong = open_page(browser, folder)
    code = """shown => {
        const texts = [], lines = [], g = CanvasRenderingContext2D.prototype;
        const text = g.fillText, line = g.lineTo;
        g.fillText = function (t, ...rest) { texts.push(t); text.call(this, t, ...rest); };
        g.lineTo = function (x, y) { lines.push(y); line.call(this, x, y); };
        history = shown;
        drawStrip();
        [g.fillText, g.lineTo] = [text, line];
        return [texts, lines, document.getElementById("strip").clientHeight];
    }"""
    texts, heights, whole = page.evaluate(code, q_values)
    assert texts == labels
    assert min(heights) > 0
    assert max(heights) < whole
    if q_values[0] != q_values[1]:
        assert max(heights) - min(heights) > whole / 2
    assert wrong == []


# what drawing the page writes: the rectangles of all texts and of all arrows
DRAWN = """() => {
    const texts = [], arrowsDrawn = [], g = CanvasRenderingContext2D.prototype;
    const [text, drawArrow] = [g.fillText, arrow];
    g.fillText = function (t, x, y) {
        const m = this.measureText(t), id = this.canvas.id;
        texts.push([id, t, x - m.actualBoundingBoxLeft, y - m.actualBoundingBoxAscent,
            x + m.actualBoundingBoxRight, y + m.actualBoundingBoxDescent,
            parseFloat(this.font.match(/[0-9.]+px/)[0]), this.canvas.clientWidth]);
        text.call(this, t, x, y);
    };
    arrow = (g, x, y, length, color) => {
        const half = ARROW.tip + ARROW.edge, ends = [x, x + length];
        arrowsDrawn.push([g.canvas.id, Math.min(...ends), y - half, Math.max(...ends), y + half,
            g.canvas.clientHeight]);
        drawArrow(g, x, y, length, color);
    };
    draw();
    [g.fillText, arrow] = [text, drawArrow];
    return [texts, arrowsDrawn];
}"""


@pytest.mark.parametrize("width", [360, 400, 1200])
def test_texts_and_arrows_keep_clear_of_one_another(
    browser: Any, folder: Path, width: int
) -> None:
    page, wrong = open_page(browser, folder, width)
    page.evaluate("[arrows, push] = [true, -30]")
    rng = np.random.default_rng(0)
    for state in rng.uniform(-1, 1, (20, 4)) * [2.3, 3, 0.3, 3]:
        page.evaluate("s => { start(s); over = fallen(s); }", state.tolist())
        texts, arrows = page.evaluate(DRAWN)
        assert len(arrows) >= 5  # of four inputs and the push
        for i, (canvas, text, left, top, right, bottom, size, end) in enumerate(texts):
            assert size >= 14
            assert (left >= 0, right <= end) == (True, True), text
            others = [(c, *box) for c, t, *box, _, _ in texts[i + 1 :]]
            for c, x0, y0, x1, y1 in others + [tuple(arrow[:5]) for arrow in arrows]:
                beside = x1 + 2 <= left or right + 2 <= x0
                apart = y1 + 2 <= top or bottom + 2 <= y0
                assert c != canvas or beside or apart, text
        for canvas, *_, top, _, bottom, height in arrows:
            assert (top >= 0, bottom <= height) == (True, True), canvas
    assert wrong == []


@pytest.mark.parametrize("action", [0, 1])
def test_the_arrow_is_seen_on_the_cart_and_beside_it(
    browser: Any, folder: Path, action: int
) -> None:
    page, _ = open_page(browser, folder, width=400)
    # across the arrow, on the cart and beyond it: the contrast with the background,
    # which is at the top of each column of pixels
    code = """action => {
        const given = [0, 0, 0, 0];
        start(given);
        act = () => action;
        drawStage();
        const canvas = document.getElementById("stage"), g = canvas.getContext("2d");
        const [sky, ground] = [[243, 245, 248], canvas.clientHeight - 40];
        const light = pixel => [0.2126, 0.7152, 0.0722].reduce((sum, share, i) => {
            const c = pixel[i] / 255;
            return sum + share * (c <= 0.04 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        }, 0.05);
        return [14, 28].map(away => {
            const x = canvas.clientWidth / 2 + (action ? away : -away), seen = [];
            for (let y = ground - 23; y < ground - 3; y++) {
                const p = g.getImageData(x, y, 1, 1).data;
                seen.push(light(p[3] ? p : sky));
            }
            const contrasts = seen.map(l => Math.max(l, seen[0]) / Math.min(l, seen[0]));
            return Math.max(...contrasts);
        });
    }"""
    on_cart, beside = page.evaluate(code, action)
    assert on_cart > 4.5
    assert beside > 3  # as much as pictures need, by WCAG


def test_it_works_by_keyboard_alone(browser: Any, folder: Path) -> None:
    page, wrong = open_page(browser, folder)
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert reached == ["stage", "strength", "moment", "reset", "pause", "arrows"]
    page.keyboard.press("Enter")
    assert page.get_attribute("#arrows", "aria-pressed") == "true"
    page.focus("#moment")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#steps") != "10,000 steps"
    assert page.evaluate("push") == 0  # on the slider, the arrow keys are the slider's
    page.evaluate("start([0, 0, 0.21, 0])")
    page.evaluate("tick()")
    page.focus("#reset")
    page.keyboard.press("Enter")
    assert page.evaluate("[step, over]") == [0, False]
    page.focus("#pause")
    page.evaluate("paused = false")
    page.wait_for_function("step > 5")  # time goes on by itself
    assert wrong == []


@pytest.mark.parametrize("width", [360, 400])
def test_it_works_on_a_telephone(browser: Any, folder: Path, width: int) -> None:
    page, wrong = open_page(browser, folder, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("strength", "moment", "reset", "pause", "arrows"):
        box = page.locator(f"#{name}").bounding_box()
        assert box["height"] >= 44  # a thumb
        assert (box["x"] >= 0, box["x"] + box["width"] <= width) == (True, True)
    sizes = """[...document.body.querySelectorAll("*:not(input)")].map(e =>
        parseFloat(getComputedStyle(e).fontSize))"""
    assert min(page.evaluate(sizes)) >= 14
    touch = "id => getComputedStyle(document.getElementById(id)).touchAction"
    actions = [page.evaluate(touch, name) for name in ("stage", "net", "strip")]
    assert actions == ["none", "auto", "auto"]  # beyond the stage a finger scrolls
    # the cart, the sliders and the buttons are on one screen
    assert page.locator("#pause").bounding_box()["y"] + 44 <= 640
    assert wrong == []


@pytest.mark.parametrize("name", ["pause", "arrows"])
def test_a_button_shows_that_it_is_on(browser: Any, folder: Path, name: str) -> None:
    page, _ = open_page(browser, folder)
    page.evaluate("paused = false")
    color = "id => getComputedStyle(document.getElementById(id)).backgroundColor"
    off = page.evaluate(color, name)
    page.click(f"#{name}")
    assert page.evaluate(color, name) != off
    page.click(f"#{name}")
    assert page.evaluate(color, name) == off


@pytest.mark.parametrize("width", [360, 700, 1200])
def test_the_sliders_stay_in_place(browser: Any, folder: Path, width: int) -> None:
    page, _ = open_page(browser, folder, width)
    places = []
    for strength, moment in (("2", "0"), ("30", "11")):
        page.fill("#strength", strength)
        page.fill("#moment", moment)
        boxes = [page.locator(name).bounding_box() for name in ("#strength", "#moment")]
        assert boxes[0]["x"] == boxes[1]["x"]
        places.append(boxes)
    assert places[0] == places[1]


@pytest.mark.parametrize(
    ("state", "steps", "told"),
    [
        ([0, 0, 0.3, 0], 7, "The pole fell after 7 steps."),
        ([2.5, 0, 0, 0], 8, "The cart left the track after 8 steps."),
        ([0, 0, 0, 0], 500, "The pole stood for all 500 steps."),
    ],
)
def test_how_an_episode_ended(
    browser: Any, folder: Path, state: list[float], steps: int, told: str
) -> None:
    page, _ = open_page(browser, folder)
    page.evaluate("([s, n]) => { start(s); [step, over] = [n, true]; }", [state, steps])
    texts, _ = page.evaluate(DRAWN)
    assert [text for canvas, text, *_ in texts if canvas == "stage"] == [told]
    assert page.inner_text("#score") == f"Step {steps} of 500"


def test_layers_that_the_page_does_not_have() -> None:
    env = gym.make("CartPole-v1")
    config = DQNConfig(dueling=True, learning_rate=LinearDecay(1e-3, 0.0, 100))
    agent = DQN(env.observation_space, env.action_space, config)
    with pytest.raises(
        ValueError, match="a layer is a Dueling: expected Linear layers alone"
    ):
        playground.page(agent, [])
    quantiles = DQN(env.observation_space, env.action_space, DQNConfig(quantiles=5))
    with pytest.raises(ValueError, match="quantiles is 5: expected 1"):
        playground.page(quantiles, [])
    acrobot = gym.make("Acrobot-v1")
    other = DQN(acrobot.observation_space, acrobot.action_space)
    with pytest.raises(ValueError, match=r"the agent sees Box.*: expected .*CartPole"):
        playground.again(other, 100)


SPEC = Spec(
    "CartPole-v1",
    DQNConfig(learning_starts=100, batch_size=8, hidden=(8,)),
    150,
    test_episodes=1,
)


def test_the_last_moment_is_the_agent_itself(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(playground, "train", partial(train, progress=False))
    run(SPEC, tmp_path / "first", progress=False)
    agent, steps = playground.ended_run(tmp_path / "first")
    assert (steps, agent.steps) == (150, 0)  # it is the policy alone
    moments = playground.again(agent, steps)
    assert [moments[0][0], moments[-1][0]] == [0, 150]
    assert np.array_equal(moments[-1][1], agent.online.params)
    assert not np.array_equal(moments[0][1], agent.online.params)
    assert capsys.readouterr().out == ""

    # a run that is made at once cannot end on what two runs made
    start = tmp_path / "first" / CHECKPOINT
    config = DQNConfig(**{**vars(SPEC.config), "learning_rate": 1e-2})
    spec = Spec("CartPole-v1", config, 300, test_episodes=1, start=start)
    run(spec, tmp_path / "second", progress=False)
    agent, steps = playground.ended_run(tmp_path / "second")
    steps, params = playground.again(agent, steps)[-1]
    assert steps == 300
    assert np.array_equal(params, agent.online.params)
    assert "it began with a saved agent" in capsys.readouterr().out


def test_where_there_is_no_run_that_has_ended(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (folder / "playground.html").read_text(encoding="utf-8")
    assert len(text) > 100_000
    assert "/*DATA*/null" not in text

    (tmp_path / AGENT).write_bytes((folder / AGENT).read_bytes())
    for place, message in (
        (
            tmp_path,
            f"there is no {SUMMARY} in {tmp_path}: expected the folder of a run",
        ),
        (tmp_path / "nowhere", f"there is no {SUMMARY} in {tmp_path / 'nowhere'}: exp"),
    ):
        monkeypatch.setattr(sys, "argv", ["playground.py", str(place)])
        with pytest.raises(SystemExit):
            playground.main()
        assert message in capsys.readouterr().err
    assert not (tmp_path / "playground.html").exists()
    steps = json.loads((folder / SUMMARY).read_text())["steps"]
    assert (steps, load(folder / AGENT).seed) == (10_000, 1)
