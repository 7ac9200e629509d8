"""The page that learns, in a real browser: its numbers are those of examples/one_page.py."""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from minidqn import load

PAGE = Path(__file__).parent.parent / "examples" / "watch_it_learn.html"
one_page = import_module("minidqn.examples.one_page")
SIZES = [(4, 64), (64, 64), (64, 2)]


def source(name: str) -> str:
    """The text of one of the page's scripts."""
    text = PAGE.read_text(encoding="utf-8")
    start = text.index(f'<script id="{name}">') + len(f'<script id="{name}">')
    return text[start : text.index("</script>", start)].strip()


Open = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """A function that opens the page. Nothing may go wrong there until the test ends."""
    wrong: list[str] = []

    def open_it(width: int = 1200, **options: Any) -> Any:
        page = browser.new_page(viewport={"width": width, "height": 800}, **options)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.goto(PAGE.as_uri())
        page.wait_for_function("runs[0].report")  # it is ready
        return page

    yield open_it
    assert wrong == []


def test_the_algorithm_is_short() -> None:
    assert len(source("algorithm").splitlines()) <= 250


def played(rng: Any) -> Any:
    """An agent of the page in Python, with random weights and 600 random steps."""
    agent = one_page.Agent(SIZES, 1000, seed=int(rng.integers(1000)))
    for p_target in agent.target.params:
        p_target += rng.normal(0.0, 0.1, p_target.shape)
    env: Any = gym.make("CartPole-v1")
    over = True
    for step in range(600):
        if over:
            obs, _ = env.reset(seed=step)
            agent.replay.move_to(obs)
        action = int(rng.integers(2))
        obs, reward, terminated, _, _ = env.step(action)
        truncated = (
            bool(rng.random() < 0.05) and not terminated
        )  # some time limits, too
        agent.replay.add(action, reward, obs, terminated, truncated)
        over = terminated or truncated
    return agent


def as_json(agent: Any) -> dict[str, Any]:
    """What JavaScript needs to have the same agent."""
    ring = agent.replay
    return {
        "online": [np.atleast_2d(p).tolist() for p in agent.online.params],
        "target": [np.atleast_2d(p).tolist() for p in agent.target.params],
        "obs": ring.obs.tolist(),
        "action": ring.action.tolist(),
        "reward": ring.reward.tolist(),
        "kind": ring.kind.tolist(),
        "head": ring.head,
    }


# an agent in JavaScript with the numbers of one in Python
REBUILD = """
function rebuild(given) {
    const agent = new Agent({...SETTINGS, capacity: 1000});
    for (const name of ["online", "target"]) {
        given[name].forEach((p, i) => p.forEach((row, r) => row.forEach((value, c) => {
            agent[name].params[i][r][c] = value;
        })));
    }
    for (const name of ["obs", "action", "reward", "kind"]) {
        given[name].forEach((value, slot) => { agent.replay[name][slot] = value; });
    }
    agent.replay.head = given.head;
    return agent;
}
"""


class Chosen:
    """Instead of random numbers: batches that were chosen before."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = iter(batches)

    def choice(self, slots: Any, count: int) -> Any:
        return next(self.batches)


@pytest.mark.parametrize("seed", range(3))
def test_an_update_is_that_of_the_page(open_page: Open, seed: int) -> None:
    page = open_page()
    rng = np.random.default_rng(seed)
    agent = played(rng)
    given = as_json(agent)
    slots = np.flatnonzero(agent.replay.kind != one_page.BRIDGE)
    batches = [rng.choice(slots, one_page.BATCH) for _ in range(100)]
    q_before = agent.online.forward(agent.replay.obs[batches[0]])

    agent.rng = Chosen(batches)
    y, loss, grads = agent.learn(3e-3)
    for _ in batches[1:]:
        agent.learn(3e-3)
    code = f"""([given, batches]) => {{
        {REBUILD}
        const agent = rebuild(given);
        const updates = batches.map(starts => {{
            agent.replay.draw = () => starts;
            return agent.learn(3e-3);
        }});
        const {{ y, q, loss, grads }} = updates[0];
        return {{ y, q, loss, grads, params: agent.online.params, target: agent.target.params }};
    }}"""
    found = page.evaluate(code, [given, [starts.tolist() for starts in batches]])

    def close(values: Any, expected: Any, tolerance: float) -> None:
        shaped = np.array(values).reshape(np.shape(expected))
        np.testing.assert_allclose(shaped, expected, rtol=tolerance, atol=tolerance)

    close(found["q"], q_before, 1e-12)
    close(found["y"], y, 1e-12)
    close(found["loss"], loss, 1e-12)
    for name, expected, tolerance in (
        ("grads", grads, 1e-12),
        ("params", agent.online.params, 1e-9),
        ("target", agent.target.params, 1e-9),
    ):
        for values, array in zip(found[name], expected, strict=True):
            close(values, array, tolerance)


def test_the_physics_is_gymnasiums(open_page: Open) -> None:
    page = open_page()
    env: Any = gym.make("CartPole-v1").unwrapped
    env.reset(seed=3)
    first = [float(x) for x in env.state]
    actions = []
    states = []
    for _ in range(500):
        x, speed, angle, turning = (
            env.state
        )  # pushed so that it stands for all 500 steps
        action = int(angle + 0.3 * turning + 0.02 * x + 0.05 * speed > 0.0)
        _, _, terminated, _, _ = env.step(action)
        assert not terminated
        actions.append(action)
        states.append([float(number) for number in env.state])
    code = """([first, actions]) => {
        const env = new CartPole();
        env.reset(new Random(0));
        env.obs = first;
        return actions.map(action => env.step(action));
    }"""
    found = page.evaluate(code, [first, actions])
    np.testing.assert_allclose([obs for obs, *_ in found], states, rtol=0, atol=1e-12)
    assert [terminated for _, _, terminated, _ in found] == [False] * 500
    assert [truncated for *_, truncated in found] == [False] * 499 + [True]


def test_where_an_episode_ends(open_page: Open) -> None:
    page = open_page()
    code = """state => {
        const env = new CartPole();
        env.reset(new Random(0));
        env.obs = state;
        return env.step(1)[2];
    }"""
    limit = 12 * 2 * np.pi / 360
    assert not page.evaluate(code, [2.39, 0, 0, 0])
    assert page.evaluate(code, [2.41, 0, 0, 0])
    assert page.evaluate(code, [-2.41, 0, 0, 0])
    assert not page.evaluate(code, [0, 0, limit - 1e-6, 0])
    assert page.evaluate(code, [0, 0, limit + 1e-6, 0])
    assert page.evaluate(code, [0, 0, -limit - 1e-6, 0])


def test_the_loop_is_that_of_the_page(open_page: Open) -> None:
    """When it resets, explores, learns, and with which epsilon and learning rate."""
    page = open_page()
    code = """() => {
        const training = new Training(SETTINGS);
        const { agent } = training;
        const calls = [];
        agent.learn = (rate) => { calls.push([training.steps, rate]); };
        const epsilons = [];
        let resets = 0;
        const { reset } = training.env;
        training.env.reset = (...args) => { resets++; return reset.apply(training.env, args); };
        let ended = 0;
        for (let i = 0; i < 8000; i++) {
            training.step();
            epsilons.push(training.epsilon);
            if (training.over) ended++;
        }
        return [calls, epsilons, resets, ended];
    }"""
    calls, epsilons, resets, ended = page.evaluate(code)
    steps = np.arange(8000)
    expected = np.maximum(1.0 - 9.0 * steps / one_page.STEPS, 0.1)
    np.testing.assert_allclose(epsilons, expected, rtol=0, atol=1e-15)
    due = [step for step in range(200, 8000) if step % 4 == 0]
    assert [step for step, _ in calls] == due
    rates = [3e-3 * (1.0 - step / one_page.STEPS) for step in due]
    np.testing.assert_allclose([rate for _, rate in calls], rates, rtol=1e-14)
    assert ended <= resets <= ended + 1


def test_the_probed_source_computes_the_same(open_page: Open) -> None:
    """Line by line, an update is what it is without lines; and the lines are passed."""
    page = open_page()
    code = """() => {
        const passed = new Set();
        const kits = [ALGORITHM, probe(ALGORITHM)].map(source =>
            new Function("passed", `${TOOLS}\\nreturn ${classes_of(source)};`)(passed));
        const found = kits.map(kit => {
            const training = new kit.Training({...SETTINGS, batch: 8, n_step: 5});
            for (let i = 0; i < 240; i++) training.step();
            return JSON.stringify([training.agent.online.params, training.obs]);
        });
        return [found[0] === found[1], [...passed]];
    }"""
    same, passed = page.evaluate(code)
    assert same
    lines = source("algorithm").splitlines()
    texts = [lines[number - 1].strip() for number in passed]
    assert "const action = agent.act(this.obs, this.epsilon);" in texts
    assert "const grads = this.online.backward(dq);" in texts
    assert len(passed) > 60


def test_the_policy_as_a_file(open_page: Open, tmp_path: Path) -> None:
    """minidqn.load reads it, and it acts as the page does."""
    page = open_page()
    page.click("#one_update")
    page.wait_for_function("runs[0].report.updates === 1")
    with page.expect_download() as download:
        page.click("#save")
    file = tmp_path / download.value.suggested_filename
    assert file.name == "agent.safetensors"
    download.value.save_as(file)
    agent = load(file)
    env = gym.make("CartPole-v1")
    assert agent.observation_space == env.observation_space
    assert agent.config.gamma == 0.995
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (100, 4)) * [2.4, 2.0, 0.2, 2.0]
    q = page.evaluate("states => runs[0].demo.network.forward(states)", states.tolist())
    found = agent.q_values(states.astype(np.float32))
    np.testing.assert_allclose(found, q, rtol=1e-4, atol=1e-5)  # it is of float32


def test_the_policy_goes_on_in_the_playground(open_page: Open) -> None:
    page = open_page()
    page.click("#one_update")
    page.wait_for_function("runs[0].report.updates === 1")
    states = [[0.1, 0.2, -0.05, 0.3], [-1.0, 0.5, 0.1, -0.4]]
    q = page.evaluate("states => runs[0].demo.network.forward(states)", states)
    with page.expect_popup() as popup:
        page.click("#playground")
    there = popup.value
    there.wait_for_function("typeof tick === 'function'")
    assert there.inner_text("#steps") == "201 steps"
    assert there.evaluate("run.moments.map(moment => moment.steps)") == [0, 201]
    found = there.evaluate("ss => ss.map(s => forward(layers, s).at(-1))", states)
    np.testing.assert_allclose(found, q, rtol=1e-4, atol=1e-5)


def test_a_playground_without_a_network_says_so(browser: Any) -> None:
    page = browser.new_page()
    page.goto(PAGE.with_name("playground.html").as_uri())
    assert "no network on this page" in page.inner_text("#help")


def test_it_learns_before_your_eyes(open_page: Open) -> None:
    page = open_page()
    assert page.inner_text("#says") == "Press Start."
    page.click("#run")
    page.wait_for_function("runs[0].report.updates > 20")
    page.click("#run")
    assert page.inner_text("#run") == "Go on"
    page.wait_for_function("!runs[0].waits && unseen.size === 0")
    steps = page.evaluate("runs[0].report.steps")
    assert f"step\t{steps:,}" in page.inner_text("#numbers")
    returns = page.evaluate("runs[0].returns")
    assert sum(length for _, length in returns) == returns[-1][0] <= steps


def test_one_step_lights_its_lines_up(open_page: Open) -> None:
    page = open_page()
    page.click("#one_step")
    page.wait_for_selector("#source .lit")
    page.wait_for_function("lines_to_show.length === 0")
    assert page.evaluate("runs[0].report.steps") == 1
    seen = page.locator("#source .visited, #source .lit").all_inner_texts()
    lines = [line.split("//")[0].strip() for line in seen]
    assert "const action = agent.act(this.obs, this.epsilon);" in lines
    assert "this.kind[this.head] = BRIDGE;" in lines
    assert not any("online.backward(dq)" in line for line in lines)  # no update yet


def test_one_update_lights_learn_up(open_page: Open) -> None:
    page = open_page()
    page.click("#one_update")
    page.wait_for_function("runs[0].report.updates === 1 && lit !== null")
    assert "agent.learn(" in page.locator("#source .lit").inner_text()
    lines = page.evaluate("""
        lines_to_show.map(number => get("source").children[number - 1].textContent)
    """)
    assert any("online.backward(dq)" in line for line in lines)
    assert page.evaluate("runs[0].report.steps") == 201


@pytest.mark.parametrize("button", ["#one_step", "#slow", "#real", "#fast"])
def test_run_b_is_shown_at_the_step_of_a(open_page: Open, button: str) -> None:
    page = open_page()
    page.evaluate("choose_difference(MISTAKES[2])")
    page.wait_for_function("runs.length === 2 && runs.every(run => run.report)")
    page.click(button)
    if button != "#one_step":
        page.click("#run")
    page.wait_for_function("runs[0].report.steps >= 1")
    page.evaluate("go(false)")
    page.wait_for_function("runs.every(run => !run.waits)")
    steps = page.evaluate("runs.map(run => run.report.steps)")
    assert steps[0] == steps[1] > 0


@pytest.mark.parametrize("speed", ["#slow", "#real", "#fast"])
def test_it_can_begin_again_at_any_moment(open_page: Open, speed: str) -> None:
    """A run that begins has no report yet: the page waits for it, and goes on."""
    page = open_page()
    page.click(speed)
    page.click("#run")
    for number in range(6):
        page.wait_for_function("runs.every(run => run.report?.steps > 0)")
        if number % 3 == 0:
            page.evaluate("place => choose_difference(MISTAKES[place])", number // 3)
        elif number % 3 == 1:
            page.click("#again")
        else:
            page.select_option("#difference", "3")
    page.wait_for_function("runs.every(run => run.report?.steps > 0)")
    assert page.evaluate("running") is True


def test_each_difference_says_what_to_look_for(open_page: Open) -> None:
    page = open_page()
    for number in range(page.evaluate("DIFFERENCES.length")):
        page.select_option("#difference", str(number))
        assert len(page.inner_text("#look")) > 60
        page.wait_for_function("runs[1]?.report")
        same, of_a, of_b = page.evaluate(
            "[runs[1].source === ALGORITHM, runs[0].settings, runs[1].settings]"
        )
        assert same
        assert of_a != of_b
        assert page.locator("#source .wrong").count() >= 1  # in SETTINGS
    page.select_option("#difference", "-1")
    assert page.evaluate("runs.length") == 1
    for button in page.locator(".mistake").all():
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        assert len(page.inner_text("#look")) > 60
        assert page.locator("#source .wrong").count() >= 1
        assert page.evaluate("JSON.stringify(runs[0].settings)") == page.evaluate(
            "JSON.stringify(runs[1].settings)"
        )
    button.click()  # once more: no run B
    assert page.evaluate("[runs.length, difference]") == [1, None]
    assert page.input_value("#set_n_step") == "40"
    assert page.input_value("#set_time_limit") == "500"


# a mistake, and the right program beside it, for some steps
BOTH = """([place, seed, steps, settings]) => {
    const mistake = MISTAKES[place];
    return [ALGORITHM, change(ALGORITHM, mistake.edits)].map(source => {
        const kit = new Function(`${TOOLS}\\nreturn ${classes_of(source)};`)();
        const training = new kit.Training({...SETTINGS, ...mistake.both, ...settings, seed});
        const first = training.agent.online.params.flat(2);
        const returns = [];
        let began = 0;
        for (let i = 0; i < steps; i++) {
            training.step();
            if (training.over) {
                returns.push(training.steps - began);
                began = training.steps;
            }
        }
        const q = training.update.q.map(row => Math.max(...row));
        const now = training.agent.online.params.flat(2);
        return {
            updates: training.agent.adam.t,
            q: q.reduce((sum, value) => sum + value) / q.length,
            mean: returns.slice(-20).reduce((sum, value) => sum + value) / 20,
            moved: Math.hypot(...now.map((value, i) => value - first[i])),
        };
    });
}"""


def both(open_page: Open, name: str, steps: int, **settings: Any) -> list[Any]:
    """The numbers of A and B for five seeds."""
    page = open_page()
    names = page.evaluate("MISTAKES.map(mistake => mistake.name)")
    place = names.index(name)
    return [page.evaluate(BOTH, [place, seed, steps, settings]) for seed in range(5)]


def test_without_a_target_network_q_runs_away(open_page: Open) -> None:
    for right, broken in both(open_page, "No target network", 1000):
        assert right["q"] < 20
        assert broken["q"] > 1000  # no true value is above 200


def test_a_wrong_sign_unlearns(open_page: Open) -> None:
    for right, broken in both(open_page, "A sign wrong in backward", 2000, batch=32):
        assert broken["mean"] < 20  # as long as it takes to fall
        assert right["mean"] > 1.5 * broken["mean"]


def test_without_bias_correction_the_first_steps_are_too_large(open_page: Open) -> None:
    for right, broken in both(open_page, "No bias correction in Adam", 300):
        assert broken["updates"] == right["updates"] == 25
        assert broken["moved"] > 2 * right["moved"]


def test_a_time_limit_taken_for_the_end_makes_values_small(open_page: Open) -> None:
    name = "truncated taken for terminated"
    for right, broken in both(open_page, name, 5000, batch=32):
        assert right["q"] > 1.3 * broken["q"]
        assert broken["q"] < 60


def test_an_update_an_episode_is_too_few(open_page: Open) -> None:
    for right, broken in both(open_page, "One update an episode", 3000, batch=32):
        assert right["updates"] == 700
        assert broken["updates"] < 200
        assert right["q"] > 1.5 * broken["q"]


@pytest.mark.parametrize(
    ("mistake", "wrong_arrays"),
    [(None, []), (2, ["W2", "b2"]), (3, [])],
)
def test_the_gradient_check(
    open_page: Open, mistake: int | None, wrong_arrays: list[str]
) -> None:
    """A wrong sign is found; it is wrong twice, and so right, in the first layer."""
    page = open_page()
    if mistake is not None:
        page.evaluate("place => choose_difference(MISTAKES[place])", mistake)
        page.wait_for_function("runs[1]?.report")
    page.click("#check")
    rows = page.locator("#checked tbody tr").all_inner_texts()
    assert len(rows) == 6
    assert all("✓ right" in row for row in rows if row[:2] not in wrong_arrays)
    found = [row[:2] for row in rows if "✗ wrong" in row]
    assert found == wrong_arrays
    first = page.locator("#checked tbody tr td:nth-child(2)").all_inner_texts()
    assert all("✓ right" in cell for cell in first)  # run A is always right


def test_a_setting_that_cannot_be(open_page: Open) -> None:
    page = open_page()
    page.fill("#set_gamma", "1.5")
    page.keyboard.press("Tab")
    assert page.evaluate("runs[0].settings.gamma") == 0.995
    page.fill("#set_gamma", "0.9")
    page.keyboard.press("Tab")
    assert page.evaluate("runs[0].settings.gamma") == 0.9


@pytest.mark.parametrize("width", [400, 1400])
def test_it_fits_the_screen(open_page: Open, width: int) -> None:
    page = open_page(width)
    page.evaluate("choose_difference(MISTAKES[0])")
    page.wait_for_function("runs[1]?.report")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for button in page.locator("button:visible").all():
        box = button.bounding_box()
        assert box["height"] >= 40
        assert (box["x"] >= 0, box["x"] + box["width"] <= width) == (True, True)


def test_it_works_by_keyboard_alone(open_page: Open) -> None:
    page = open_page()
    reached = []
    for _ in range(9):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    buttons = ["run", "one_step", "one_update", "slow", "real", "fast", "again"]
    assert reached == ["", *buttons, "stage_a"]  # the first is a link
    page.keyboard.down("ArrowLeft")
    assert page.evaluate("runs[0].demo.push") == -8
    page.keyboard.up("ArrowLeft")
    assert page.evaluate("runs[0].demo.push") == 0
    page.focus("#one_update")
    page.keyboard.press("Enter")
    page.wait_for_function("runs[0].report.updates === 1")


def test_less_motion(open_page: Open) -> None:
    """Whoever asks for it gets a picture a second."""
    page = open_page(reduced_motion="reduce")
    page.click("#run")
    page.wait_for_function("runs[0].report.steps > 300")
    drawn = page.evaluate("""() => new Promise(end => {
        const seen = new Set(), start = performance.now();
        const look = now => {
            seen.add(runs[0].demo.obs.join());
            if (now - start > 2500) end(seen.size); else requestAnimationFrame(look);
        };
        requestAnimationFrame(look);
    })""")
    assert 2 <= drawn <= 4
