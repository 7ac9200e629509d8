"""The tour: every chapter runs, shows what is in the project now, and judges answers rightly."""

import contextlib
import importlib
import io
import re
import sys
from functools import cache
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
tour: Any = importlib.import_module("tour")
chapters = pytest.mark.parametrize(
    "chapter", build.CHAPTERS, ids=lambda path: path.stem
)


# they take minutes; the tests of their exercises run the same cells
LONG = "678"


def cells(book: Any) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in book.cells]


def code_shown(book: Any) -> list[str]:
    """What cells like source(Adam) show."""
    showing = (cell for cell in book.cells if cell.source.startswith("source("))
    return [out.data["text/plain"] for cell in showing for out in cell.outputs]


def code_of_now(chapter: Path) -> list[str]:
    """What cells like source(Adam) would show now."""
    known = names_of(int(chapter.name[0]))
    book = build.cells_of(chapter)
    lines = [c.source for c in book.cells if c.source.startswith("source(")]
    # a notebook leaves out the last end of a line
    return [repr(eval(line, known)).removesuffix("\n") for line in lines]


@chapters
def test_the_notebook_is_the_chapter_and_runs(chapter: Path) -> None:
    read: Any = nbformat.read
    committed = read(chapter.with_suffix(".ipynb"), 4)
    if chapter.name[0] in LONG:
        built = build.cells_of(chapter)
        shown = code_of_now(chapter)
    else:
        built = build.notebook(chapter)  # raises if a cell does
        shown = code_shown(built)
    assert cells(committed) == cells(built)
    assert code_shown(committed) == shown  # else: python docs/tour/build.py
    assert "solution" not in "".join(source for _, source in cells(built))
    pictures = [
        out for c in committed.cells for out in c.get("outputs", ()) if "data" in out
    ]
    assert any("image/png" in out["data"] for out in pictures)


def test_no_exercise_shows_a_bare_truth_value() -> None:
    for chapter in build.CHAPTERS:
        book: Any = nbformat.read(chapter.with_suffix(".ipynb"), 4)  # type: ignore[no-untyped-call]  # not typed
        judged = [
            cell for cell in book.cells if "checker" in cell.metadata.get("tags", ())
        ]
        assert len(judged) == 2
        for cell in judged:
            (out,) = cell.outputs
            assert re.fullmatch(r"Not yet: .*[.?]\n", out.text)


def said(check: Any, answer: Any) -> str:
    """What a check prints; it returns nothing, or the notebook would show that too."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert check(answer) is None
    return out.getvalue()


def accepted(check: Any, answer: Any) -> bool:
    return said(check, answer).endswith("Right!\n")


def check_hints(check: Any, *pairs: tuple[Any, str]) -> None:
    """Each wrong answer gets the hint that has these words."""
    for answer, words in pairs:
        sentence = said(check, answer)
        assert sentence.startswith("Not yet: ")
        assert words in sentence


NO_RETURN = "Is a `return` missing?"


def squared_is_expected(answer: Any) -> str | None:
    mistakes = {"that is 2 n, not n².": 6}
    return tour.hint_for(answer(3), 9, mistakes, "for n = 3 it is 9.")  # type: ignore[no-any-return]  # a chapter is not typed


def test_a_check_says_what_is_wrong() -> None:
    check = tour.exercise(squared_is_expected)

    def stops(n: int) -> int:
        return n // 0

    def stops_below(n: int) -> int:
        return stops(n)

    assert said(check, lambda n: n * n) == "Right!\n"
    check_hints(
        check,
        (lambda n: 2 * n, "that is 2 n, not n²."),
        (lambda n: 7, "for n = 3 it is 9."),
        (lambda n: None, NO_RETURN),
        (lambda n: "nine", "should be a number, but it is 'nine'."),
        (lambda n: [9, 9], "the shape (2,), the right one has ()."),
        (lambda n: float("nan"), "for n = 3 it is 9."),
        (stops, "your code stopped in the line `return n // 0`. Python says: ZeroDiv"),
        (stops_below, "your code stopped in the line `return stops(n)`."),
        (lambda: 9, "Look at the arguments it takes"),
        (9, "your answer could not be used."),
    )


@cache
def names_of(number: int) -> dict[str, Any]:
    """What a chapter defines, its solutions too."""
    (chapter,) = TOUR.glob(f"{number}_*.py")
    found: dict[str, Any] = {"__name__": chapter.stem}
    with mpl.rc_context({"backend": "agg"}):
        exec(compile(chapter.read_text(encoding="utf-8"), str(chapter), "exec"), found)
    check_sentences(found)
    return found


def check_sentences(found: dict[str, Any]) -> None:
    """Both exercises take the solution, and say a sentence about anything else."""
    mine = [name for name in found if name.lower().startswith("my_") or "MyT" in name]
    for name, number in zip(mine, (1, 2), strict=True):
        check = found[f"check_{number}"]
        solution = "Solution1" if name == "MyTanh" else f"solution_{number}"
        assert accepted(check, found[solution])
        answers = [found[name], None, "text", [1, 2], float("nan"), lambda *args: None]
        for answer in answers:
            assert re.fullmatch(r"Not yet: [^\n]+\n", said(check, answer))
        if callable(found[name]) and name != "MyTanh":
            check_hints(check, (lambda *args: 1 // 0, "ZeroDivisionError"))
        if callable(found[name]) and name not in ("MyTanh", "my_follow"):
            check_hints(check, (lambda *args: None, NO_RETURN))


def test_the_exercises_on_gradients() -> None:
    found = names_of(1)
    check_1, check_2 = found["check_1"], found["check_2"]
    solution = found["solution_1"]
    check_hints(
        check_1,
        (lambda w, b, x, target: solution(w, b, x, target) * x, "that is dL/dw"),
        (lambda w, b, x, target: max(w * x + b, 0) - target, "where z is below 0"),
        (lambda w, b, x, target: -solution(w, b, x, target), "the sign is wrong"),
        (lambda w, b, x, target: found["dl_dy"], "use the arguments w, b, x"),
        (lambda w, b, x, target: w * x + b - target, "the ReLU is missing"),
    )
    assert "-0.000" not in said(
        check_1, lambda w, b, x, target: solution(w, b, x, target) + (w < 0)
    )
    check_hints(
        check_2,
        (1e-2, "too large"),
        (1e-5, "two-sided"),
        (1e-13, "too small"),
        (-1e-8, "above 0"),
    )
    # what the chapter claims
    assert found["by_hand"] == pytest.approx(-1.05)
    assert found["network_error"] < 1e-7  # it says 1e-6
    errors = dict(zip(range(1, 15), found["quotient_errors"], strict=True))
    assert errors[5] < 1e-8  # of h = 1e-5
    assert errors[2] > 1e4 * errors[5]
    assert errors[13] > 1e3 * errors[5]
    assert max(found["complex_errors"][8:]) < 1e-14


def test_the_exercises_on_backprop() -> None:
    found = names_of(2)
    check_1, check_2, tanh = found["check_1"], found["check_2"], found["Solution1"]

    class OfX(tanh):  # type: ignore[misc, valid-type]  # mypy cannot know a chapter's class
        def forward(self, x: Any) -> Any:
            self.x = x
            return super().forward(x)

        def backward(self, dy: Any) -> Any:
            return dy * (1 - self.x**2)

    class NoChain(tanh):  # type: ignore[misc, valid-type]  # as above
        def backward(self, dy: Any) -> Any:
            return 1 - self.y**2

    class NotTanh(tanh):  # type: ignore[misc, valid-type]  # as above
        def forward(self, x: Any) -> Any:
            self.y = x
            return x

    class NoReturn(tanh):  # type: ignore[misc, valid-type]  # as above
        def backward(self, dy: Any) -> None:
            dy * (1 - self.y**2)

    class Stops(tanh):  # type: ignore[misc, valid-type]  # as above
        def backward(self, dy: Any) -> Any:
            return dy * self.z

    check_hints(
        check_1,
        (OfX, "1 - y², not 1 - x²"),
        (NoChain, "multiplies it by dy"),
        (NotTanh, "`forward` no longer gives tanh(x)"),
        (NoReturn, NO_RETURN),
        (Stops, "your code stopped in the line `return dy * self.z`."),
    )
    check_hints(check_2, ("A", "cannot be multiplied"), ("c ", "already in dy"))
    # what the chapter claims
    plain, forgetful = (np.mean(of) for of in found["last_losses"].values())
    assert forgetful > 1.3 * plain
    assert forgetful < 0.02  # it learns all the same
    check_gradients, two_layers = found["check_gradients"], found["two_layers"]
    assert check_gradients(two_layers(3)) < 1e-7  # it says "right" below 1e-6
    assert check_gradients(two_layers(3, found["Forgetful"])) > 0.01


def test_the_exercises_on_adam() -> None:
    found = names_of(3)
    check_1, check_2, solution = found["check_1"], found["check_2"], found["solution_2"]
    check_hints(
        check_1,
        (1.0, "plain descent"),
        (0.00316228, "without the correction"),
        (1e-6, "mean of the squared gradient"),
        (0.5, "divided by its own size"),
    )

    def by_the_old(p: Any, v: Any, g: Any, rate: float) -> Any:
        return p + v, solution(p, v, g, rate)[1]

    def uphill(p: Any, v: Any, g: Any, rate: float) -> Any:
        return solution(p, v, -g, rate)

    def without_momentum(p: Any, v: Any, g: Any, rate: float) -> Any:
        return solution(p, np.zeros(2), g, rate)

    check_hints(
        check_2,
        (by_the_old, "by the new velocity, not by the old one"),
        (uphill, "uphill"),
        (without_momentum, "plain descent"),
        (lambda *args: solution(*args)[::-1], "return the parameters first"),
        (lambda *args: solution(*args)[0], "the shape (2,)"),
    )
    # what the chapter claims
    slow, fast, adam = found["paths"].values()
    assert np.abs(slow[30:, 1]).max() < 1e-3  # it moves along the bottom
    assert slow[-1, 0] < -2.0
    assert (fast[1:, 1] * fast[:-1, 1] < 0).all()  # it jumps from side to side
    assert adam[:, 0].max() > 0.1  # past the minimum
    assert np.linalg.norm(adam[-1]) < 0.7 * np.linalg.norm(fast[-1])


def test_the_exercises_on_q_learning() -> None:
    found = names_of(4)
    check_1, check_2, solution = found["check_1"], found["check_2"], found["solution_1"]
    check_hints(
        check_1,
        (lambda reward, q, end: reward + 0.9 * q.max(), "nothing follows"),
        (
            lambda reward, q, end: solution(reward, np.full(2, q.mean()), end),
            "not the mean",
        ),
        (lambda reward, q, end: solution(reward, q / 0.9, end), "gamma is missing"),
        (lambda reward, q, end: solution(0.0, q, end), "the reward is missing"),
    )
    check_hints(
        check_2,
        (0.9**5, "one time less"),
        (0.9, "at each step"),
        (5 * 0.9, "a power"),
        (1.0, "makes it smaller"),
    )
    # what the chapter claims, of six seeds
    assert np.isclose(found["exact"][found["START"]], 0.9**11)
    assert found["distances"]()[found["START"]] == 12
    assert found["start_errors"][:, -1].max() < 1e-4  # it says three digits
    assert found["mean_errors"][:, -1].min() > 0.003  # others take longer
    assert found["mean_errors"][:, 0].mean() > 3 * found["mean_errors"][:, -1].mean()


def test_the_exercises_on_replay_and_targets() -> None:
    found = names_of(5)
    check_1, check_2 = found["check_1"], found["check_2"]
    check_hints(
        check_1,
        (lambda count, capacity: min(count, capacity - 1), "not the oldest"),
        (lambda count, capacity: count % (capacity - 1), "never used"),
        (lambda count, capacity: -count % capacity, "backwards"),
        (lambda count, capacity: count, "no such slot"),
        (lambda count, capacity: (count + 1) % capacity, "number 0, goes to slot 0"),
    )

    def rebinds(target: Any, online: Any, tau: float) -> None:
        target = target + tau * (online - target)

    def backwards(target: Any, online: Any, tau: float) -> None:
        online += tau * (target - online)

    def the_other_share(target: Any, online: Any, tau: float) -> None:
        target[:] = tau * target + (1 - tau) * online

    check_hints(
        check_2,
        (rebinds, "`target` has not changed"),
        (backwards, "the online network changed"),
        (the_other_share, "tau and 1 - tau are exchanged"),
    )
    # what the chapter claims: each part helps, in the mean of eight seeds
    alone, replay, both = (np.nanmean(of) for of in found["errors"].values())
    assert alone > 1.3 * replay
    assert replay > 1.3 * both
    assert both < 0.03


def test_the_exercises_on_cartpole() -> None:
    found = names_of(6)
    check_1, check_2, solution = found["check_1"], found["check_2"], found["solution_2"]
    check_hints(
        check_1,
        (lambda n, gamma: n, "gamma is missing"),
        (lambda n, gamma: n * gamma, "once more with each step"),
        (lambda n, gamma: 1 / (1 - gamma), "if the pole never falls"),
        (lambda n, gamma: gamma**n / (1 - gamma), "after the fall"),
        (lambda n, gamma: gamma ** (n - 1), "Add up all n"),
    )
    check_hints(
        check_2,
        (
            lambda R, k, gamma, q, over, cut: solution(
                R, k, gamma, q, over or cut, cut
            ),
            "truncated is not terminated",
        ),
        (
            lambda R, k, gamma, q, over, cut: solution(R, k, gamma, q, False, cut),
            "nothing follows",
        ),
        (
            lambda R, k, gamma, q, over, cut: solution(R, 1, gamma, q, over, cut),
            "gamma counts k times",
        ),
    )
    # what the chapter claims, in means over the seeds
    returns, q_values = found["returns"].mean(axis=0), found["q_values"]
    assert returns[-1] > 430 > 250 > returns[1] > returns[0]
    middle = q_values[:, :, 30, 30].max(axis=-1).mean(axis=0)  # of each moment
    assert (np.diff(middle) > 0).all()
    assert 160 < middle[-1] < 240
    pushes_right = (
        q_values[:, -1, :, :, 1] - q_values[:, -1, :, :, 0]
    )  # (seeds, 60, 60)
    assert (
        pushes_right[:, 30, 45] > 0
    ).mean() > 0.8  # where the pole leans to the right
    assert (pushes_right[:, 30, 15] < 0).mean() > 0.8
    tested = {name: np.mean(of) for name, of in found["tested"].items()}
    assert tested["truncated"] > 2 * tested["done"]
    value = {name: np.mean(of) for name, of in found["first_values"].items()}
    assert 150 < value["truncated"] < 300
    assert value["done"] < 80
    means = found["means"]  # of n_step with or without a target network: return, value
    assert min(means[40, "with"][0], means[40, "without"][0]) > 450
    assert means[1, "with"][0] > 10 * means[1, "without"][0]
    assert means[1, "without"][1] > 10_000 > 100 > means[1, "with"][1]


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

    assert accepted(check_1, lambda values, n: quantiles(values, n, np.mean))
    check_hints(
        check_1,
        (lambda values, n: quantiles(values, n, np.median), "the median"),
        (lambda values, n: quantiles(values, n, np.mean, 0.90), "the middle 90 %"),
        (lambda values, n: quantiles(values, n, np.mean, size=10), "as many values as"),
        (lambda values, n: np.quantile(values, [0.025, 0.975]), "where the seeds lie"),
        (lambda values, n: found["interval"](values, n), "the IQM"),
        (normal, "normal values"),
        (lambda values, n: values.mean(), "the shape ()"),
    )

    def without_replacement(values: Any, k: int) -> float:
        rng = np.random.default_rng(2)
        return float(np.mean([rng.permutation(values)[:k].max() for _ in range(3000)]))

    assert accepted(check_2, found["best_of"])
    check_hints(
        check_2,
        (lambda values, k: values.max(), "the best of all"),
        (lambda values, k: np.quantile(values, k / (k + 1)), "on average"),
        (lambda values, k: values.mean() + values.std(), "on average"),
        (lambda values, k: np.sort(values)[-k:].mean(), "the mean of the k best"),
        (without_replacement, "with replacement"),
    )
    # what the chapter claims
    x, y, better, alarms = (found[name] for name in ("x", "y", "better", "alarms"))
    assert x.mean() > y.mean() + 80
    assert 0.6 < found["improvement"](x, y) < 0.95
    assert abs(np.mean(found["ends_x"] - found["ends_y"])) < 0.25 * (
        x.mean() - y.mean()
    )
    assert min(alarms[:2]) > 0.12 > max(alarms[4:])
    assert found["ahead"][4] < 0.05
    assert better[4] > 0.6
    widths = found["widths"]
    assert 0.4 < widths[-1] / widths[-3] < 0.6  # of 80 seeds and of 20
    assert found["best_test"] > x.mean() + 15
    assert found["best_setting"] > x.mean() + 30


def test_the_exercises_on_pixels() -> None:
    found = names_of(8)
    check_1, check_2, solution = found["check_1"], found["check_2"], found["solution_2"]
    check_hints(
        check_1,
        (
            lambda row, column, size, k: min(row + 1, k) * min(column + 1, k),
            "the lower and the right edge",
        ),
        (lambda row, column, size, k: (size - k + 1) ** 2, "the number of all patches"),
        (
            lambda row, column, size, k: found["solution_1"](row, row, size, k),
            "rows and columns differ",
        ),
    )
    check_hints(
        check_2,
        (lambda x, W, s: solution(x, W[::-1, ::-1], s), "upside down"),
        (lambda x, W, s: solution(x, W.T, s), "of the filter are exchanged"),
        (lambda x, W, s: solution(x, W, 1), "the stride is missing"),
        (lambda x, W, s: solution(x, W, s).T, "of the result are exchanged"),
        (lambda x, W, s: solution(x, W, s)[1:], "the shape"),
    )
    # what the chapter claims
    one_frame, two_frames = found["caught"][1], found["caught"][2]
    assert np.mean(two_frames) > np.mean(one_frame) + 12  # %
    for agent in found["agents"][2]:
        before, newest = found["filters_of"](agent)
        assert np.abs(before - newest).mean() > 0.7 * np.abs(newest).mean()


def test_the_exercises_on_the_parts() -> None:
    found = names_of(7)
    check_1, check_2, solution = found["check_1"], found["check_2"], found["solution_2"]
    check_hints(
        check_1,
        (lambda R, discount, online, target: R + discount * target.max(), "plain DQN"),
        (
            lambda R, discount, online, target: R + discount * online.max(),
            "the target network gives the value",
        ),
        (
            lambda R, discount, online, target: R + discount * online[target.argmax()],
            "exchanged",
        ),
        (
            lambda R, discount, online, target: R + target[online.argmax()],
            "the discount is missing",
        ),
    )

    def past_the_end(rewards: Any, terminated: Any, n: int, gamma: float) -> Any:
        total = solution(rewards, [False] * n, n, gamma)[0]
        return total, solution(rewards, terminated, n, gamma)[1]

    def blind(rewards: Any, terminated: Any, n: int, gamma: float) -> Any:
        return solution(rewards, [False] * n, n, gamma)

    def bootstraps(rewards: Any, terminated: Any, n: int, gamma: float) -> Any:
        return solution(rewards, terminated, n, gamma)[0], gamma**n

    def one_discount(rewards: Any, terminated: Any, n: int, gamma: float) -> Any:
        total, discount = solution(rewards, terminated, n, gamma)
        return total, min(discount, gamma) and gamma

    def without_the_last(rewards: Any, terminated: Any, n: int, gamma: float) -> Any:
        counted = n if not any(terminated[:n]) else terminated.index(True) + 1
        total = sum(gamma**k * rewards[k] for k in range(counted - 1))
        return total, solution(rewards, terminated, n, gamma)[1]

    def undiscounted(rewards: Any, terminated: Any, n: int, gamma: float) -> Any:
        total = solution(rewards, terminated, n, 1.0)[0]
        return total, solution(rewards, terminated, n, gamma)[1]

    check_hints(
        check_2,
        (past_the_end, "of another episode"),
        (blind, "after an end nothing follows"),
        (bootstraps, "after an end nothing follows"),
        (one_discount, "gamma^n"),
        (without_the_last, "the last step that counts is missing"),
        (undiscounted, "must be discounted"),
        (lambda *args: solution(*args)[0], "the shape ()"),
    )
    # what the chapter claims, in means over the seeds
    copied, following = found["copied"], found["following"]
    high = found["too_high"]
    assert high[copied, "Double DQN"] < 0.6 * high[copied, "DQN"]
    assert high[following, "Double DQN"] > 0.85 * high[following, "DQN"] > 0.8
    half_way, at_the_end = found["half_way"], found["at_the_end"]
    assert half_way[1].mean() > 1.3 * half_way[3].mean()
    assert half_way[3].mean() > 1.15 * half_way[10].mean()
    assert at_the_end[1].mean() > 0.97
    assert at_the_end[1].mean() > at_the_end[3].mean() + 0.08
    assert at_the_end[3].mean() > at_the_end[10].mean() + 0.02
    theta, exact = found["theta"], found["true_quantiles"]
    errors = {
        delta: np.abs(of - exact).mean(axis=(0, 2)) for delta, of in theta.items()
    }
    assert errors[1.0][0] > 4 * errors[0.02][0]
    assert errors[1.0][0] > 1.3 * errors[1.0][2]  # more with each field back
    assert theta[1.0][:, 0].mean() < 0.36 < 0.4 < theta[0.02][:, 0].mean() + 0.06
    uniform, with_priorities = (of.mean(axis=1) for of in found["needed"].values())
    assert with_priorities[0] > 0.9 * uniform[0]  # no help where rewards are common
    assert uniform[2] > 1.25 * with_priorities[2]  # where they are rare
