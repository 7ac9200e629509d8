"""One decorator for every compiled loop.

NumPy does the matrix products; the few loops that NumPy cannot express without
temporaries are plain Python functions of arrays, compiled by Numba. They hold
no state and draw no random numbers, so each can be read, and tested, as the
equation it is: NUMBA_DISABLE_JIT=1 runs them uncompiled.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile `function` on its first call, and keep the machine code for the next run.

    error_model="numpy" lets x / 0 be inf instead of an exception: the check
    would stop every loop that divides from being vectorised.
    """
    return _compiled(function, fastmath=False)


def kernel_of_sums(function: F) -> F:
    """The same, where long sums may be taken in any order, and so several terms at a time.

    The last bits are then a matter of the processor, as they are in a matrix product.
    """
    return _compiled(function, fastmath={"reassoc"})


def _compiled(function: F, fastmath: bool | set[str]) -> F:
    options: dict[str, Any] = {"error_model": "numpy", "fastmath": fastmath}
    try:
        return cast(F, njit(cache=True, **options)(function))
    except RuntimeError:  # nowhere to write the cache: a read-only package and no home
        return cast(F, njit(**options)(function))
