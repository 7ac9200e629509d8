"""Two decorators for compiled loops.

NumPy does the matrix products. The few loops that NumPy could only write with extra
arrays are plain Python functions of arrays, compiled by Numba: *kernels*. They hold no
state and draw no random numbers. So each can be read, and tested, as the equation it
is. NUMBA_DISABLE_JIT=1 runs them uncompiled.

Rules for kernels:

- A kernel fills arrays that it is given. Making a new one would cost a microsecond.
- A kernel calls no kernel of another file, and reads no constant of another file.
  Numba keeps machine code in a cache on disk, and compiles again when the kernel's own
  file changes. It does not notice a change in other files.
- Nor does Numba notice a change of the options below: then delete the files *.nbi.
- A number in a float32 loop is a float32: `x.dtype.type(0.0)`. A literal 0.0 is a
  float64, and makes the loop slower.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile `function` on its first call, and keep the machine code for the next run.

    With error_model="numpy", x / 0 is inf instead of an exception. Checking each
    division for zero would keep the loop from being vectorised.
    """
    return _compiled(function, fastmath=False)


def kernel_of_sums(function: F) -> F:
    """Like `kernel`, but long sums may be reordered, which is faster.

    The last bits then depend on the processor, as they do in a matrix product.
    """
    return _compiled(function, fastmath={"reassoc"})


def _compiled(function: F, fastmath: bool | set[str]) -> F:
    options: dict[str, Any] = {"error_model": "numpy", "fastmath": fastmath}
    try:
        return cast(F, njit(cache=True, **options)(function))
    except RuntimeError:  # nowhere to write the cache: a read-only package and no home
        return cast(F, njit(**options)(function))
