"""A faster convolution for kernels of twice their stride, as the networks for Atari begin with.

conv.py copies each pixel into every patch that it lies in: with k = 2 s, into four. Here the
image is cut into *cells*, patches of s x s pixels, s apart, which do not overlap. A patch is
2 x 2 cells, so patch W is a sum of four products. W_pq, a quarter of W, has the rows of W for
the cell in row p, column q of the patch:

    z[i, j] = sum over p, q of cell[i + p, j + q] W_pq + b,    p and q 0 or 1

u = cell W_pq, for all cells and all four quarters, is a convolution itself, with kernel and
stride s and 4 O outputs; so conv.py does it. Then the sum picks its entries. b goes with W_00,
because every z has just one product with W_00. The price is (h + 1) (w + 1) / (h w) times the
multiplications, and the sum. ("Space to depth" is the usual name for such cells.)

Letters: as in conv.py.
"""

import math
from typing import Any

import numpy as np

from minidqn.nn.conv import Conv2d
from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array, Cache, reuse


@kernel
def add_quarters(relu: bool, u: Array, y: Array) -> None:
    """z[i, j] = the sum of u[i + p, j + q, p, q] over p and q; y = z, or max(z, 0) with relu.

    (B, h + 1, w + 1, 2, 2, O) to (B, h, w, O).
    """
    for b in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for o in range(y.shape[3]):
                    top = u[b, i, j, 0, 0, o] + u[b, i, j + 1, 0, 1, o]
                    z = top + u[b, i + 1, j, 1, 0, o] + u[b, i + 1, j + 1, 1, 1, o]
                    y[b, i, j, o] = 0.0 if relu and z.real <= 0.0 else z


@kernel
def spread_quarters(relu: bool, du: Array, dy: Array, y: Array) -> None:
    """The way back: du = 0, then du[i + p, j + q, p, q] = dz[i, j]; dz is dy, but 0 with y = 0."""
    for b in range(y.shape[0]):
        du[b] = 0.0
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for p in range(2):
                    for q in range(2):
                        for o in range(y.shape[3]):
                            dz = 0.0 if relu and y[b, i, j, o] <= 0.0 else dy[b, i, j, o]
                            du[b, i + p, j + q, p, q, o] = dz


class CellConv2d(Conv2d):
    """What Conv2d computes, from the same parameters, for k = 2 s."""

    def bind(self, params: Array, grads: Array) -> None:
        super().bind(params, grads)
        self.cells = Conv2d(self.shape, 4 * self.n_out, self.s, self.s)  # gives u
        self.cells.bind(*np.zeros((2, self.cells.size), params.dtype))

    def forward(self, x: Array, cache: Cache) -> Array:
        W = self.quarters(self.W)
        self.cells.W.reshape(W.shape)[:] = W
        self.cells.b[: self.n_out] = self.b
        u = self.cells.forward(x, cache)  # (B, (h+1)*(w+1)*4*O)
        y = reuse(cache, "sum", u, math.prod(self.out_shape))  # (B, h*w*O)
        add_quarters(self.relu, *self.images(u, y))
        return y

    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
        y = cache["sum"]
        du = reuse(cache, "du", dy, cache["y"].size // len(dy))  # (B, (h+1)*(w+1)*4*O)
        spread_quarters(self.relu, *self.images(du, dy, y))
        dx = self.cells.backward(du, cache, need_dx)
        dW = self.quarters(self.dW)
        dW[:] = self.cells.dW.reshape(dW.shape)
        self.db[:] = self.cells.db[: self.n_out]
        return dx

    def quarters(self, W: Array) -> Array:
        """A view of W, (I, O), as (F, s, s, C, 2, 2, O): for each number in a cell, all W_pq."""
        frames, _, _, channels = self.shape
        split = W.reshape(frames, 2, self.s, 2, self.s, channels, self.n_out)
        return split.transpose(0, 2, 4, 5, 1, 3, 6)

    def images(self, u: Array, *ys: Array) -> Any:
        """Views of u, (B, h + 1, w + 1, 2, 2, O), and of each y, (B, h, w, O)."""
        _, h, w, n_out = self.out_shape
        quarters = u.reshape(-1, h + 1, w + 1, 2, 2, n_out)
        return quarters, *(y.reshape(-1, h, w, n_out) for y in ys)
