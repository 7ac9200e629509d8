"""The page, examples/one_page.py, and the package against it, in float64.

The page is plain enough to be checked by reading. So it is the oracle: what the package
does fast and in general must be what the page does.
"""

import importlib.util
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from hypothesis import given, settings
from hypothesis import strategies as st

from minidqn import DQN, DQNConfig
from minidqn.nn.layers import Array, Linear
from minidqn.nn.network import Network
from minidqn.parts.normalize import Normalize
from minidqn.replay import Replay

PAGE = Path(__file__).parent.parent / "examples" / "one_page.py"
SIZES = [(4, 16), (16, 8), (8, 2)]


def load_page() -> Any:
    spec = importlib.util.spec_from_file_location("one_page", PAGE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


page = load_page()


def test_the_gradient_of_the_page_by_complex_step() -> None:
    """f(w + ih) = f(w) + ih f'(w) + ..., so the imaginary part, divided by h, is f'(w)."""
    network = page.Network(SIZES, np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(5, 4))
    network.forward(x)
    grads = network.backward(np.ones((5, 2)))  # of the sum of all outputs
    for i in range(len(network.W)):
        network.W[i] = network.W[i].astype(complex)
        network.W[i][1, 1] += 1e-30j
        assert network.forward(x).sum().imag / 1e-30 == pytest.approx(grads[i][1, 1])
        network.W[i] = network.W[i].real


@given(seed=st.integers(0, 2**32))
@settings(max_examples=20)
def test_every_gradient_of_the_page(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = page.Network(SIZES, rng)
    x, dy = rng.normal(size=(3, 4)), rng.normal(size=(3, 2))
    network.forward(x)
    grads = network.backward(dy)
    for name, first in (("W", 0), ("b", len(SIZES))):
        for i, real in enumerate(getattr(network, name)):
            for place in np.ndindex(real.shape):
                perturbed = real.astype(complex)
                perturbed[place] += 1e-30j
                getattr(network, name)[i] = perturbed
                by_step = (dy * network.forward(x)).sum().imag / 1e-30
                assert by_step == pytest.approx(grads[first + i][place], abs=1e-12)
            getattr(network, name)[i] = real


def flat(arrays: list[Array]) -> Array:
    """The page's arrays, all W and then all b, in the package's order: W, b, W, b, ..."""
    n = len(arrays) // 2
    pairs = zip(arrays[:n], arrays[n:], strict=True)
    return np.concatenate([array.ravel() for pair in pairs for array in pair])


def own_network(space: Box, n_actions: int) -> Network:
    """The page's network in the package, in float64."""
    layers = [Linear(i, o, relu=o != n_actions) for i, o in SIZES]
    return Network([Normalize(-page.BOUNDS, page.BOUNDS), *layers], np.float64)


def two_agents(capacity: int, seed: int = 0) -> tuple[Any, DQN]:
    """The page's agent, and the package's with the same parameters."""
    ours = DQN(
        Box(-np.inf, np.inf, (4,), np.float64),
        Discrete(2),
        DQNConfig(
            gamma=page.GAMMA,
            n_step=page.N_STEP,
            batch_size=page.BATCH,
            learning_rate=3e-3,
            max_grad_norm=np.inf,
            tau=0.01,
            buffer_size=capacity,
            learning_starts=capacity,
        ),
        network=own_network,
    )
    theirs = page.Agent(SIZES, capacity, seed)
    ours.online.params[:] = flat(theirs.online.params)
    ours.target.params[:] = flat(theirs.target.params)
    return theirs, ours


def live(ring: Any, agent: Any, kinds: list[int], seed: int) -> None:
    """Give both the same steps, random but for their kinds, from a reset on."""
    rng = np.random.default_rng(seed)
    over = True
    for kind in kinds:
        if over:
            obs = rng.normal(size=4)
            ring.move_to(obs)
            agent.begin(obs)
        terminated, truncated = kind == page.TERMINATED, kind == page.TRUNCATED
        action, reward = int(rng.integers(2)), float(rng.integers(-3, 4))
        obs = rng.normal(size=4)
        ring.add(action, reward, obs, terminated, truncated)
        if isinstance(agent, DQN):
            agent.observe(action, reward, obs, terminated, truncated)
        else:
            agent.add(action, reward, obs, terminated, truncated)
        over = terminated or truncated


KINDS = st.sampled_from([page.STEP] * 5 + [page.TRUNCATED, page.TERMINATED])


@given(
    kinds=st.lists(KINDS, min_size=1, max_size=60),
    capacity=st.integers(3, 30),
    seed=st.integers(0, 2**32),
)
def test_the_same_stream_gives_the_same_transitions(
    kinds: list[int], capacity: int, seed: int
) -> None:
    ring, replay = page.Replay(capacity, 4), Replay(capacity, (4,), np.float64, 2)
    live(ring, replay, kinds, seed)
    starts = np.flatnonzero(ring.kind != page.BRIDGE)
    complete = replay.flat_kind != page.BRIDGE
    complete[replay.count % replay.slots] = False  # the head
    assert starts.tolist() == np.flatnonzero(complete).tolist()

    returns, discounts, ends = page.look_ahead(
        starts, ring.head, ring.reward, ring.kind
    )
    batch = replay.batch(starts, page.N_STEP, page.GAMMA)
    np.testing.assert_allclose(batch.returns, returns, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(batch.discounts, discounts, rtol=1e-12)
    np.testing.assert_array_equal(batch.actions, ring.action[starts])
    np.testing.assert_array_equal(batch.obs, ring.obs[starts])
    np.testing.assert_array_equal(batch.next_obs, ring.obs[ends])


class Given:
    """In the place of a generator: what is drawn next."""

    def __init__(self, starts: Array) -> None:
        self.starts = starts

    def choice(self, slots: Array, size: int) -> Array:
        assert size == len(self.starts)
        assert np.isin(self.starts, slots).all()
        return self.starts


def steps_of(n: int, seed: int) -> list[int]:
    """Kinds of steps: about one in ten ends an episode, in either way; so does the last."""
    p = [0.9, 0.05, 0.05]
    kinds = [page.STEP, page.TRUNCATED, page.TERMINATED]
    drawn = np.random.default_rng(seed).choice(kinds, n - 1, p=p).tolist()
    return [*drawn, page.TRUNCATED]


def draw_both(theirs: Any, ours: DQN, rng: Any, patch: pytest.MonkeyPatch) -> None:
    """Let the next update of both be from the same batch."""
    starts = rng.choice(np.flatnonzero(theirs.replay.kind != page.BRIDGE), page.BATCH)
    theirs.rng = Given(starts)
    drawn = starts, np.ones(page.BATCH, np.float32)
    patch.setattr(ours.sampler, "draw", lambda *_: drawn)


def test_one_update_sees_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = two_agents(capacity=300)
    live(theirs.replay, ours, steps_of(450, seed=1), seed=2)
    x = np.random.default_rng(3).normal(size=(10, 4))
    np.testing.assert_allclose(
        ours.q_values(x), theirs.online.forward(x), rtol=1e-12, atol=1e-14
    )
    draw_both(theirs, ours, np.random.default_rng(4), monkeypatch)
    ours.target.params[:] += 0.1  # so that the two networks differ
    for p in theirs.target.params:
        p += 0.1

    y, loss, grads = theirs.learn(learning_rate=3e-3)
    metrics = ours.learn()
    assert metrics.loss == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(ours.loss.y, y, rtol=1e-12)
    np.testing.assert_allclose(ours.online.grads, flat(grads), rtol=1e-9, atol=1e-14)
    assert np.abs(ours.online.grads).max() > 0.01


def test_500_updates_end_on_the_same_parameters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs, ours = two_agents(capacity=300)
    before = ours.online.params.copy()
    live(theirs.replay, ours, steps_of(250, seed=1), seed=2)
    rng = np.random.default_rng(3)
    for round_ in range(10):  # with new steps between them, beyond a wrap-around
        live(theirs.replay, ours, steps_of(20, seed=10 + round_), seed=20 + round_)
        for _ in range(50):
            draw_both(theirs, ours, rng, monkeypatch)
            theirs.learn(learning_rate=3e-3)
            ours.learn()
    assert ours.updates == 500
    np.testing.assert_allclose(
        ours.online.params, flat(theirs.online.params), rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(
        ours.target.params, flat(theirs.target.params), rtol=0, atol=1e-9
    )
    assert np.abs(ours.online.params - before).max() > 0.1


def test_the_page_acts_greedily_or_at_random() -> None:
    agent = page.Agent(SIZES, 10, seed=0)
    obs = np.random.default_rng(0).normal(size=(200, 4))
    best = agent.online.forward(obs).argmax(axis=1)
    assert [agent.act(row, 0.0) for row in obs] == best.tolist()
    others = np.mean([agent.act(row, 1.0) for row in obs] != best)
    assert abs(others - 0.5) < 0.15


def test_the_page_trains_and_tests(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loop, for a short run: learning from scratch takes ten seconds, in benchmarks."""
    monkeypatch.setattr(page, "STEPS", 1200)
    agent = page.Agent([(4, 64), (64, 64), (64, 2)], 2000, seed=0)
    epsilons: list[float] = []
    act = agent.act

    def remember(obs: Array, epsilon: float) -> Any:
        epsilons.append(epsilon)
        return act(obs, epsilon)

    agent.act = remember
    env = gym.wrappers.RecordEpisodeStatistics(gym.make("CartPole-v1"))
    page.train(agent, env)
    assert agent.adam.t == 250  # one update every 4 steps, from step 200 on
    n_steps = np.count_nonzero(agent.replay.kind != page.BRIDGE)
    assert n_steps == 1200
    assert agent.replay.head == 1200 + env.episode_count  # each end costs a bridge
    falling = np.linspace(1.0, 0.1, 121)  # in the first tenth of the run
    np.testing.assert_allclose(epsilons[:121], falling)
    assert set(epsilons[121:]) == {0.1}

    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("step ") for line in lines)
    assert len(lines) == env.episode_count // 20
    episodes = env.episode_count
    page.test(agent, env)
    assert env.episode_count == episodes + 100
    assert set(epsilons[1200:]) == {0.0}
    (line,) = capsys.readouterr().out.splitlines()
    returns = list(env.return_queue)
    assert line == f"mean return {np.mean(returns)} minimum {min(returns)}"
