"""What the chapters share: how they show the project's own source, and check an exercise."""

import importlib.util
import inspect
import sys
from collections.abc import Callable
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


def right(passed: bool, hint: str) -> bool:
    """Say whether an answer is right."""
    print("Right!" if passed else f"Not yet: {hint}")
    return passed


def derivative(f: Callable[..., Any], x: Any) -> Any:
    """df/dx for each entry of x, by a complex step: exact, so answers are held against it."""
    x = np.asarray(x, float)
    slopes = np.empty(x.size)
    for i in range(x.size):
        moved = x.astype(complex).reshape(-1)
        moved[i] += 1e-100j
        slopes[i] = np.imag(f(moved.reshape(x.shape))) / 1e-100
    return slopes.reshape(x.shape)
