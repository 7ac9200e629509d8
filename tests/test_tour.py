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
chapters = pytest.mark.parametrize("chapter", build.CHAPTERS, ids=lambda path: path.stem)


def cells(book: Any) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in book.cells]


@chapters
def test_the_notebook_is_the_chapter_and_runs(chapter: Path) -> None:
    read: Any = nbformat.read
    committed = read(chapter.with_suffix(".ipynb"), 4)
    built = build.notebook(chapter)  # raises if a cell does
    assert cells(committed) == cells(built)
    assert "solution" not in "".join(source for _, source in cells(built))
    pictures = [out for c in committed.cells for out in c.get("outputs", ()) if "data" in out]
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

    # mypy cannot know the class that a chapter defines
    class OfX(tanh):  # type: ignore[misc, valid-type]
        def forward(self, x: Any, cache: Any) -> Any:
            cache["x"] = x
            return super().forward(x, cache)

        def backward(self, dy: Any, cache: Any, need_dx: bool = True) -> Any:
            return dy * (1 - cache["x"] ** 2)

    class NoChain(tanh):  # type: ignore[misc, valid-type]  # as above
        def backward(self, dy: Any, cache: Any, need_dx: bool = True) -> Any:
            return 1 - cache["y"] ** 2

    class NotTanh(tanh):  # type: ignore[misc, valid-type]  # as above
        def forward(self, x: Any, cache: Any) -> Any:
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
        lambda reward, q, terminated: reward + 0.9 * q.max(),  # bootstraps through the end
        lambda reward, q, terminated: solution(reward, np.full(2, q.mean()), terminated),
        lambda reward, q, terminated: solution(reward, q / 0.9, terminated),  # without gamma
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
        name: np.mean([np.nanmean(np.abs(found["learned_values"](a) - found["exact"])) for a in of])
        for name, of in found["trained"].items()
    }
    first, second, third = errors.values()
    assert first > 2 * second > 2 * third
