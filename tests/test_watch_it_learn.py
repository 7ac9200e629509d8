"""The page that learns, in a real browser: its numbers are those of examples/one_page.py."""

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


def open_page(browser: Any, width: int = 1200, **options: Any) -> tuple[Any, list[str]]:
    """The page, and a list of what goes wrong there."""
    page = browser.new_page(viewport={"width": width, "height": 800}, **options)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.goto(PAGE.as_uri())
    page.wait_for_function("runs[0].report")  # the first step has been made
    return page, wrong


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
def test_an_update_is_that_of_the_page(browser: Any, seed: int) -> None:
    page, wrong = open_page(browser)
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
    assert wrong == []


def test_the_physics_is_gymnasiums(browser: Any) -> None:
    page, _ = open_page(browser)
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


def test_where_an_episode_ends(browser: Any) -> None:
    page, _ = open_page(browser)
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


def test_the_loop_is_that_of_the_page(browser: Any) -> None:
    """When it resets, explores, learns, and with which epsilon and learning rate."""
    page, _ = open_page(browser)
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


def test_the_probed_source_computes_the_same(browser: Any) -> None:
    """Line by line, an update is what it is without lines; and the lines are passed."""
    page, wrong = open_page(browser)
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
    assert wrong == []


def test_the_policy_as_a_file(browser: Any, tmp_path: Path) -> None:
    """minidqn.load reads it, and it acts as the page does."""
    page, wrong = open_page(browser)
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
    assert wrong == []


def test_the_policy_goes_on_in_the_playground(browser: Any) -> None:
    page, _ = open_page(browser)
    page.click("#one_update")
    page.wait_for_function("runs[0].report.updates === 1")
    states = [[0.1, 0.2, -0.05, 0.3], [-1.0, 0.5, 0.1, -0.4]]
    q = page.evaluate("states => runs[0].demo.network.forward(states)", states)
    page.click("#playground")
    page.wait_for_function(
        "typeof playground === 'undefined' && typeof tick === 'function'"
    )
    assert page.inner_text("#steps") == "201 steps"
    there = page.evaluate(
        "states => states.map(s => forward(layers, s).at(-1))", states
    )
    np.testing.assert_allclose(there, q, rtol=1e-4, atol=1e-5)


def test_a_playground_without_a_network_says_so(browser: Any) -> None:
    page = browser.new_page()
    page.goto(PAGE.with_name("playground.html").as_uri())
    assert "no network on this page" in page.inner_text("#help")
