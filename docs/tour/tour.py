"""What the chapters share: they show the project's own source, and check an exercise."""

import functools
import importlib.util
import inspect
import linecache
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

plt.rcParams.update({"figure.dpi": 100, "figure.constrained_layout.use": True})
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})


def source(thing: Any) -> Any:
    """The source of a function or class, as it is in the project now."""
    from IPython.display import Code

    return Code(inspect.getsource(getattr(thing, "py_func", thing)), language="python")


def load_page() -> Any:
    """examples/one_page.py, as a module."""
    path = Path(__file__).parents[2] / "examples" / "one_page.py"
    spec: Any = importlib.util.spec_from_file_location("one_page", path)
    page = importlib.util.module_from_spec(spec)
    sys.modules["one_page"] = page
    spec.loader.exec_module(page)
    return page


# Exercises. A check gives a hint that fits the answer, or None if the answer is right:
#
#     @exercise
#     def check_1(answer):
#         return hint_for(answer(3), 9, {"That is 2 n, not n².": 6}, "for n = 3 it is 9.")


class NotComparableError(Exception):
    """Why an answer cannot be compared with the right one, in a sentence."""


def exercise(check: Callable[[Any], str | None]) -> Callable[[Any], None]:
    """Make a check speak: it prints "Right!", or "Not yet" and the hint."""

    @functools.wraps(check)
    def judge(answer: Any) -> None:
        try:
            hint = check(answer)
        except NotComparableError as error:
            hint = str(error)
        except Exception as error:  # whatever a reader's code may raise
            hint = what_happened(answer, error)
        print("Right!" if hint is None else f"Not yet: {hint}")

    return judge


def hint_for(
    found: Any,
    expected: Any,
    mistakes: Mapping[str, Any],
    otherwise: str,
    tolerance: float = 1e-6,
) -> str | None:
    """None if `found` is the expected value, else the hint for the mistake it shows.

    `mistakes` has the value that each usual mistake leads to, by its hint. If it is none
    of them, the hint is `otherwise`.
    """
    if is_close(found, expected, tolerance):
        return None
    for hint, value in mistakes.items():
        if is_close(found, value, tolerance):
            return hint
    shape, right_shape = np.shape(found), np.shape(expected)
    if shape != right_shape:
        return f"your answer has the shape {shape}, the right one has {right_shape}."
    return otherwise


def is_close(found: Any, expected: Any, tolerance: float = 1e-6) -> bool:
    """Whether two numbers, or two arrays, are the same up to `tolerance`."""
    if found is None:
        raise NotComparableError(
            "your function gave None, which is no answer. Is a `return` missing?"
        )
    try:
        numbers = np.asarray(found, float)
    except (TypeError, ValueError):
        wanted = "a number" if np.ndim(expected) == 0 else "numbers"
        raise NotComparableError(
            f"the answer should be {wanted}, but it is {found!r}."
        ) from None
    if numbers.shape != np.shape(expected):
        return False
    return np.allclose(numbers, expected, rtol=1e-5, atol=tolerance)


def what_happened(answer: Any, error: Exception) -> str:
    """An exception, said in a sentence; with the line, if it is the reader's own."""
    name = type(error).__name__
    for code, line in reversed(lines_of(error)):
        if code in codes_of(answer):
            text = linecache.getline(code.co_filename, line).strip()
            where = f" in the line `{text}`" if text else ""
            return f"your code stopped{where}. Python says: {name}: {error}"
    return (
        "your answer could not be used. Look at the arguments it takes, and at the type "
        f"and shape of what it gives. Python says: {name}: {error}"
    )


def lines_of(error: Exception) -> list[tuple[Any, int]]:
    """The code and the line of each function that an exception went through."""
    lines = []
    step = error.__traceback__
    while step is not None:
        lines.append((step.tb_frame.f_code, step.tb_lineno))
        step = step.tb_next
    return lines


def codes_of(answer: Any) -> list[Any]:
    """The code of a reader's function, or of all methods of a reader's class."""
    functions = vars(answer).values() if inspect.isclass(answer) else [answer]
    return [f.__code__ for f in functions if inspect.isfunction(f)]
