"""A faster convolution for k = 2 s, as in the first layer of the Atari networks.

conv.py copies each pixel into every patch that contains it: with k = 2 s, into up to
four. Here the image is cut into (h + 1) x (w + 1) *cells* of s x s pixels, which do not
overlap. A patch is 2 x 2 cells, so patch W is a sum of four products. W_pq, a quarter
of W, has the rows of W for the cell in row p, column q of the patch:

    z[i, j] = b + the sum over p, q in {0, 1} of cell[i + p, j + q] W_pq

With the cells as the rows of P, and the four W_pq side by side, (I/4, 4*O), one product
P W gives u, which has cell W_pq for every cell, p and q. Then each z adds up its four
entries of u.

Backward: the entry of u for cell [i, j] and p, q goes only into z[i - p, j - q]. So its
du is the dz of that z, or 0 at the border, where there is no such z. Each pixel is in
only one cell, so the product du W^T already adds up the gradients of its uses. From dP
to dx, the numbers are only copied.

This copies about a quarter of the numbers, but needs (h + 1) (w + 1) / (h w) times the
multiplications, and the sum. It is faster if O is small, because products with few
columns are slow. (Cutting an image into such cells is usually called *space to depth*.)

Letters: as in conv.py, but a row of P is a cell, with I/4 numbers.
"""

import math
from typing import Any

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array
from minidqn.parts.conv import Conv2d, Patches


@kernel
def add_quarters(relu: bool, b: Array, u: Array, y: Array) -> None:
    """z[i, j] = b + the sum of u[i + p, j + q, p, q] over p and q; y = z or max(z, 0).

    (O,) and (B, h + 1, w + 1, 2, 2, O) to (B, h, w, O).
    """
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for o in range(y.shape[3]):
                    top = u[n, i, j, 0, 0, o] + b[o] + u[n, i, j + 1, 0, 1, o]
                    bottom = u[n, i + 1, j, 1, 0, o] + u[n, i + 1, j + 1, 1, 1, o]
                    z = top + bottom
                    y[n, i, j, o] = 0.0 if relu and z.real <= 0.0 else z


@kernel
def add_quarters_backward(
    relu: bool, dy: Array, y: Array, db: Array, du: Array
) -> None:
    """Backward, from dy and y, (B, h, w, O), to db, (O,), and du.

    dz = dy, or 0 where relu left y = 0: it overwrites dy. db = the sum of dz, and
    du[i + p, j + q, p, q] = dz[i, j], (B, h + 1, w + 1, 2, 2, O).
    """
    db[:] = 0.0
    for n in range(dy.shape[0]):
        du[n] = 0.0
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                if relu:
                    for o in range(dy.shape[3]):
                        if y[n, i, j, o] <= 0.0:
                            dy[n, i, j, o] = 0.0
                for o in range(dy.shape[3]):
                    db[o] += dy[n, i, j, o]
                for p in range(2):
                    for q in range(2):
                        for o in range(dy.shape[3]):
                            du[n, i + p, j + q, p, q, o] = dy[n, i, j, o]


class CellCache:
    """The arrays of one forward, and of its backward."""

    def __init__(
        self, batch_size: int, conv: "CellConv2d", dtype: np.dtype[Any]
    ) -> None:
        cells = conv.cells
        rows = batch_size * cells.h * cells.w
        self.image: Array = np.empty(cells.pixels, dtype)
        self.P: Array = np.empty((rows, cells.n_in), dtype)
        self.W: Any = None  # (I/4, 4*O), the quarters side by side
        self.u: Array = np.empty((rows, 4 * conv.n_out), dtype)  # and du
        self.y: Array = np.empty((batch_size, math.prod(conv.out_shape)), dtype)
        self.dx: Array = np.empty((batch_size, cells.pixels), dtype)


class CellConv2d(Conv2d):
    """Conv2d for k = 2 s: the same parameters, and the same result up to rounding."""

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        n_out: int,
        k: int,
        s: int,
        *,
        relu: bool = False,
    ) -> None:
        super().__init__(shape, n_out, k, s, relu=relu)
        self.cells = Patches(shape, s, s)

    def new_cache(self, batch_size: int, dtype: np.dtype[Any]) -> Any:
        return CellCache(batch_size, self, dtype)

    def forward(
        self, x: Array, cache: Any, rng: np.random.Generator | None = None
    ) -> Array:
        self.cells.copy(x, cache.image, cache.P)  # (B*(h+1)*(w+1), I/4)
        cache.W = self.by_quarter(self.W).reshape(self.cells.n_in, -1)  # a copy
        cache.P.dot(cache.W, out=cache.u)  # (B*(h+1)*(w+1), 4*O)
        u, y = self.as_images(cache)
        add_quarters(self.relu, self.b, u, y)
        return y.reshape(len(y), -1)  # (B, h*w*O)

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        """Overwrites dy with dz."""
        du, y = self.as_images(cache)  # u is no longer needed: du takes its place
        add_quarters_backward(self.relu, dy.reshape(y.shape), y, self.db, du)
        du_rows = cache.u  # (B*(h+1)*(w+1), 4*O)
        dW = self.by_quarter(self.dW)  # a view, which is filled here
        dW[:] = cache.P.T.dot(du_rows).reshape(dW.shape)
        if not need_dx:
            return None
        dx: Array = cache.dx
        self.cells.add(du_rows.dot(cache.W.T), dx)
        return dx

    def by_quarter(self, W: Array) -> Array:
        """A view of W, (I, O), as (F, s, s, C, 2, 2, O): a cell, then p, q, O."""
        frames, _, _, channels = self.shape
        split = W.reshape(frames, 2, self.s, 2, self.s, channels, self.n_out)
        return split.transpose(0, 2, 4, 5, 1, 3, 6)

    def as_images(self, cache: Any) -> tuple[Array, Array]:
        """Views of u, (B, h + 1, w + 1, 2, 2, O), and of y, (B, h, w, O)."""
        _, h, w, n_out = self.out_shape
        u = cache.u.reshape(-1, h + 1, w + 1, 2, 2, n_out)
        return u, cache.y.reshape(-1, h, w, n_out)
