"""Two decorators for compiled loops.

NumPy does the matrix products. The few loops that NumPy could only write with extra
arrays are plain Python functions of arrays, compiled by Numba: *kernels*. They hold no
state, draw no random numbers, and call only NumPy and other kernels. So each can be read,
and tested, as the equation it is: NUMBA_DISABLE_JIT=1 runs them uncompiled.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile `function` on its first call, and keep the machine code for the next run.

    error_model="numpy" lets x / 0 be inf instead of an exception: checking for it
    would keep every loop that divides from being vectorised.
    """
    return _compiled(function, fastmath=False)


def kernel_of_sums(function: F) -> F:
    """The same, but long sums may be reordered, which is faster (parts.py has such sums).

    The last bits then depend on the processor, as they do in a matrix product.
    """
    return _compiled(function, fastmath={"reassoc"})


def _compiled(function: F, fastmath: bool | set[str]) -> F:
    options: dict[str, Any] = {"error_model": "numpy", "fastmath": fastmath}
    try:
        return cast(F, njit(cache=True, **options)(function))
    except RuntimeError:  # nowhere to write the cache: a read-only package and no home
        return cast(F, njit(**options)(function))
