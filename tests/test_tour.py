"""The tour: every chapter runs, shows what is in the project now, and judges answers rightly."""

import importlib
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nbformat
import numpy as np
import pytest

jupytext = pytest.importorskip("jupytext", reason="the tour takes the extra `tour`")
TOUR = Path(__file__).parent.parent / "docs" / "tour"
sys.path.insert(0, str(TOUR))
build: Any = importlib.import_module("build")
chapters = pytest.mark.parametrize(
    "chapter", build.CHAPTERS, ids=lambda path: path.stem
)


def cells(book: Any) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in book.cells]


def code_shown(book: Any) -> list[str]:
    """What cells like source(Adam) show."""
    showing = (cell for cell in book.cells if cell.source.startswith("source("))
    return [out.data["text/plain"] for cell in showing for out in cell.outputs]


@chapters
def test_the_notebook_is_the_chapter_and_runs(chapter: Path) -> None:
    read: Any = nbformat.read
    committed = read(chapter.with_suffix(".ipynb"), 4)
    built = build.notebook(chapter)  # raises if a cell does
    assert cells(committed) == cells(built)
    assert code_shown(committed) == code_shown(built)  # else: python docs/tour/build.py
    assert "solution" not in "".join(source for _, source in cells(built))
    pictures = [
        out for c in committed.cells for out in c.get("outputs", ()) if "data" in out
    ]
    assert any("image/png" in out["data"] for out in pictures)


def names_of(number: int) -> dict[str, Any]:
    """What a chapter defines, its solutions too."""
    (chapter,) = TOUR.glob(f"{number}_*.py")
    found: dict[str, Any] = {"__name__": chapter.stem}
    with mpl.rc_context({"backend": "agg"}):
        exec(compile(chapter.read_text(encoding="utf-8"), str(chapter), "exec"), found)
    return found


def rejected(check: Any, *answers: Any) -> bool:
    return not any(check(answer) for answer in answers)


def test_the_exercises_on_gradients() -> None:
    found = names_of(1)
    check_1, check_2 = found["check_1"], found["check_2"]
    assert check_1(found["solution_1"])
    solution = found["solution_1"]
    assert rejected(
        check_1,
        found["my_dL_db"],
        lambda w, b, x, target: solution(w, b, x, target) * x,  # that is dL/dw
        lambda w, b, x, target: max(w * x + b, 0) - target,  # forgets the ReLU
        lambda w, b, x, target: -solution(w, b, x, target),
    )
    assert check_2(found["solution_2"])
    assert rejected(check_2, found["my_best_h"], 1e-2, 1e-5, 1e-13)


def test_the_exercises_on_backprop() -> None:
    found = names_of(2)
    check_1, check_2, tanh = found["check_1"], found["check_2"], found["Solution1"]

    class OfX(tanh):  # type: ignore[misc, valid-type]  # mypy cannot know a chapter's class
        def forward(self, x: Any, cache: Any, rng: Any = None) -> Any:
            cache["x"] = x
            return super().forward(x, cache)

        def backward(self, dy: Any, cache: Any, need_dx: bool = True) -> Any:
            return dy * (1 - cache["x"] ** 2)

    class NoChain(tanh):  # type: ignore[misc, valid-type]  # as above
        def backward(self, dy: Any, cache: Any, need_dx: bool = True) -> Any:
            return 1 - cache["y"] ** 2

    class NotTanh(tanh):  # type: ignore[misc, valid-type]  # as above
        def forward(self, x: Any, cache: Any, rng: Any = None) -> Any:
            cache["y"] = x
            return x

    assert check_1(tanh)
    assert rejected(check_1, found["MyTanh"], OfX, NoChain, NotTanh)
    assert check_2(found["solution_2"])
    assert rejected(check_2, found["my_choice"], "A", "C", "b ")


def test_the_exercises_on_adam() -> None:
    found = names_of(3)
    check_1, check_2, solution = found["check_1"], found["check_2"], found["solution_2"]
    assert check_1(found["solution_1"])
    assert rejected(check_1, found["my_length"], 1.0, 0.00316, 1e-6)
    assert check_2(solution)

    def by_the_old(p: Any, v: Any, g: Any, rate: float) -> Any:
        return p + v, solution(p, v, g, rate)[1]

    def uphill(p: Any, v: Any, g: Any, rate: float) -> Any:
        return solution(p, v, -g, rate)

    def without_momentum(p: Any, v: Any, g: Any, rate: float) -> Any:
        return solution(p, np.zeros(2), g, rate)

    assert rejected(check_2, found["my_momentum"], by_the_old, uphill, without_momentum)


def test_the_exercises_on_q_learning() -> None:
    found = names_of(4)
    check_1, check_2, solution = found["check_1"], found["check_2"], found["solution_1"]
    assert check_1(solution)
    assert rejected(
        check_1,
        found["my_target"],
        lambda reward, q, terminated: (
            reward + 0.9 * q.max()
        ),  # bootstraps through the end
        lambda reward, q, terminated: solution(
            reward, np.full(2, q.mean()), terminated
        ),
        lambda reward, q, terminated: solution(
            reward, q / 0.9, terminated
        ),  # without gamma
    )
    assert check_2(found["solution_2"])
    assert rejected(check_2, found["my_value"], 0.9**5, 0.9, 5 * 0.9)
    assert np.isclose(found["q"][found["START"]].max(), 0.9**11, atol=1e-3)
    assert found["distances"]()[found["START"]] == 12


def test_the_exercises_on_replay_and_targets() -> None:
    found = names_of(5)
    check_1, check_2 = found["check_1"], found["check_2"]
    assert check_1(found["solution_1"])
    assert rejected(
        check_1,
        found["my_slot"],
        lambda count, capacity: min(count, capacity - 1),  # overwrites the newest
        lambda count, capacity: count % (capacity - 1),
        lambda count, capacity: (capacity - count) % capacity if count < 6 else 0,
    )

    def rebinds(target: Any, online: Any, tau: float) -> None:
        target = target + tau * (online - target)

    def backwards(target: Any, online: Any, tau: float) -> None:
        online += tau * (target - online)

    def the_other_share(target: Any, online: Any, tau: float) -> None:
        target[:] = tau * target + (1 - tau) * online

    assert check_2(found["solution_2"])
    assert rejected(check_2, found["my_follow"], rebinds, backwards, the_other_share)
    # what the chapter claims: each part helps, over seeds
    errors = {
        name: np.mean(
            [
                np.nanmean(np.abs(found["learned_values"](a) - found["exact"]))
                for a in of
            ]
        )
        for name, of in found["trained"].items()
    }
    first, second, third = errors.values()
    assert first > 2 * second > 2 * third


def test_the_exercises_on_cartpole() -> None:
    found = names_of(6)
    check_1, check_2, solution = found["check_1"], found["check_2"], found["solution_2"]
    assert check_1(found["solution_1"])
    assert rejected(
        check_1,
        found["my_value"],
        lambda n, gamma: n,  # not discounted
        lambda n, gamma: 1 / (1 - gamma),  # as if it never fell
        lambda n, gamma: gamma**n / (1 - gamma),
    )
    assert check_2(solution)
    assert rejected(
        check_2,
        found["my_target"],
        lambda R, k, gamma, q, over, cut: solution(R, k, gamma, q, over or cut, cut),
        lambda R, k, gamma, q, over, cut: solution(R, k, gamma, q, False, cut),
        lambda R, k, gamma, q, over, cut: solution(R, 1, gamma, q, over, cut),
    )
    firsts = {
        name: [values[0] for values in of] for name, of in found["values"].items()
    }
    assert max(firsts["done"]) < min(firsts["truncated"])  # as the picture shows


def test_the_exercises_on_comparing() -> None:
    found = names_of(9)
    check_1, check_2 = found["check_1"], found["check_2"]

    def quantiles(
        values: Any, resamples: int, of: Any, share: float = 0.95, size: int = 0
    ) -> Any:
        draws = np.random.default_rng(2).choice(
            values, (resamples, size or len(values))
        )
        return np.quantile(of(draws, axis=1), [(1 - share) / 2, (1 + share) / 2])

    def normal(values: Any, resamples: int) -> Any:
        half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
        return values.mean() - half, values.mean() + half

    assert check_1(found["solution_1"])
    assert check_1(lambda values, resamples: quantiles(values, resamples, np.mean))
    assert rejected(
        check_1,
        found["my_interval"],
        lambda values, resamples: quantiles(values, resamples, np.median),
        lambda values, resamples: quantiles(values, resamples, np.mean, 0.90),
        lambda values, resamples: quantiles(values, resamples, np.mean, size=10),
        lambda values, resamples: np.quantile(
            values, [0.025, 0.975]
        ),  # of the seeds themselves
        lambda values, resamples: found["interval"](values, resamples),  # of the IQM
        normal,  # as if the values were not skewed
    )

    def without_replacement(values: Any, k: int) -> float:
        rng = np.random.default_rng(2)
        return float(np.mean([rng.permutation(values)[:k].max() for _ in range(3000)]))

    def exact(values: Any, k: int) -> float:
        places = np.arange(len(values) + 1) / len(values)
        return float(np.sort(values) @ np.diff(places**k))

    assert check_2(found["solution_2"])
    assert check_2(exact)
    assert rejected(
        check_2,
        found["my_best_of"],
        lambda values, k: values.max(),
        lambda values, k: np.quantile(values, k / (k + 1)),
        lambda values, k: values.mean() + values.std(),
        lambda values, k: np.sort(values)[-k:].mean(),  # of the best k
        without_replacement,
    )
    # what the chapter claims
    x, y, better, alarms = (found[name] for name in ("x", "y", "better", "alarms"))
    assert 0.5 < found["improvement"](x, y) < 0.85
    assert abs(np.mean(found["ends_x"] - found["ends_y"])) < 0.2 * (x.mean() - y.mean())
    assert alarms[0] > 0.3 > alarms[1] > 0.14 > max(alarms[3:])
    assert better[4] < 0.75 < better[6]
    widths = found["widths"]
    assert 0.4 < widths[-1] / widths[-3] < 0.6  # of 80 seeds and of 20
    assert found["checkpoints"].max(axis=-1).mean() > x.mean() + 15
    assert found["tried"].max(axis=1).mean() > x.mean() + 45


def test_the_exercises_on_pixels() -> None:
    found = names_of(8)
    check_1, check_2, solution = found["check_1"], found["check_2"], found["solution_2"]
    assert check_1(found["solution_1"])
    assert rejected(
        check_1,
        found["my_count"],
        lambda row, column, size, k: (
            min(row + 1, k) * min(column + 1, k)
        ),  # forgets the far edges
        lambda row, column, size, k: (size - k + 1) ** 2,  # all patches
        lambda row, column, size, k: found["solution_1"](row, row, size, k),
    )
    assert check_2(solution)
    assert rejected(
        check_2,
        found["my_convolution"],
        lambda x, W, s: solution(
            x, W[::-1, ::-1], s
        ),  # upside down, as mathematicians have it
        lambda x, W, s: solution(x, W, 1),  # forgets the stride
        lambda x, W, s: solution(x, W, s).T,
    )
    caught = found["caught"]
    assert min(caught[2]) > max(caught[1])  # two frames show how the ball moves


def test_the_exercises_on_the_parts() -> None:
    found = names_of(7)
    check_1, check_2, solution = found["check_1"], found["check_2"], found["solution_2"]
    assert check_1(found["solution_1"])
    assert rejected(
        check_1,
        found["my_double_target"],
        lambda R, discount, online, target: R + discount * target.max(),  # plain DQN
        lambda R, discount, online, target: (
            R + discount * online.max()
        ),  # no target network
        lambda R, discount, online, target: R + discount * online[target.argmax()],
        lambda R, discount, online, target: (
            R + target[online.argmax()]
        ),  # not discounted
    )

    def past_the_end(rewards: Any, terminated: Any, n: int, gamma: float) -> Any:
        return solution(rewards, [False] * n, n, gamma)

    def bootstraps_at_the_end(
        rewards: Any, terminated: Any, n: int, gamma: float
    ) -> Any:
        return solution(rewards, terminated, n, gamma)[0], gamma**n

    def one_discount(rewards: Any, terminated: Any, n: int, gamma: float) -> Any:
        total, discount = solution(rewards, terminated, n, gamma)
        return total, min(discount, gamma) and gamma

    def without_the_last(rewards: Any, terminated: Any, n: int, gamma: float) -> Any:
        upto = n if not any(terminated[:n]) else terminated.index(True)
        return solution(rewards, terminated, upto, gamma)[0], solution(
            rewards, terminated, n, gamma
        )[1]

    def sums_undiscounted(rewards: Any, terminated: Any, n: int, gamma: float) -> Any:
        return solution(rewards, terminated, n, 1.0)[0], solution(
            rewards, terminated, n, gamma
        )[1]

    assert check_2(solution)
    wrong = (
        past_the_end,
        bootstraps_at_the_end,
        one_discount,
        without_the_last,
        sums_undiscounted,
    )
    assert rejected(check_2, found["my_return"], *wrong)
    # what the chapter claims
    copied, following = found["targets"]
    high = {key: start.mean() for key, start in found["too_high"].items()}
    assert high[copied, "Double DQN"] < 0.5 * high[copied, "DQN"]
    assert high[following, "Double DQN"] > 0.9 * high[following, "DQN"] > 1.0
    (one, end_1), (three, end_3), (ten, end_10) = found["travel"].values()
    assert min(one) > 1.3 * max(three)
    assert np.median(three) > 1.2 * np.median(ten)
    assert min(end_1) > 0.98
    assert min(end_1) > max(end_3)
    assert end_1.mean() - 0.1 > end_3.mean() > end_10.mean() + 0.03
    exact = np.quantile(found["outcomes"], found["shares"])
    errors = {d: np.abs(theta - exact).mean() for d, theta in found["theta"].items()}
    assert errors[1.0] > 5 * errors[0.02]
    uniform, with_priorities = found["needed"].values()
    assert with_priorities[0] > 0.95 * uniform[0]  # no help where rewards are common
    assert uniform[2] > 1.25 * with_priorities[2]  # where they are rare
