"""A faster convolution for k = 2 s, as in the first layer of the Atari networks of 2013 and 2015.

conv.py copies each pixel into every patch that it lies in: with k = 2 s, into up to four. Here the
image is cut into *cells* of s x s pixels, s apart, which do not overlap: (h + 1) x (w + 1) of
them. A patch is 2 x 2 cells, so patch W is a sum of four products. W_pq, a quarter of W, has the
rows of W for the cell in row p, column q of the patch:

    z[i, j] = b + the sum over p and q, each 0 or 1, of cell[i + p, j + q] W_pq

With the cells as the rows of P, and the four W_pq side by side, (I/4, 4*O), one product P W gives
u, which has cell W_pq for every cell, p and q. Then each z adds up its four entries of u.

Backward: the entry of cell [i, j] for p, q goes into z[i - p, j - q] only. Its du is dz there, or
0 at the border, where there is no such z. As each pixel is in one cell only, the product du W^T
already adds up the gradients of its uses: from dP to dx there is only copying.

About a quarter of the numbers is copied; the price is (h + 1) (w + 1) / (h w) times the
multiplications, and the sum. It is faster if O is small, because products with few columns are
slow. (Cutting an image into such cells is usually called *space to depth*.)

Letters: as in conv.py, but a row of P is a cell, with I/4 numbers.
"""

import math
from typing import Any

from minidqn.nn.conv import Conv2d, add_lines
from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array, Cache, bias_and_relu_backward, reuse


@kernel
def add_quarters(relu: bool, b: Array, u: Array, y: Array) -> None:
    """z[i, j] = b + the sum of u[i + p, j + q, p, q] over p and q; y = z, or max(z, 0) with relu.

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
def spread_quarters(du: Array, dz: Array) -> None:
    """The way back: du = 0, then du[i + p, j + q, p, q] = dz[i, j].

    (B, h, w, O) to (B, h + 1, w + 1, 2, 2, O).
    """
    for n in range(dz.shape[0]):
        du[n] = 0.0
        for i in range(dz.shape[1]):
            for j in range(dz.shape[2]):
                for p in range(2):
                    for q in range(2):
                        for o in range(dz.shape[3]):
                            du[n, i + p, j + q, p, q, o] = dz[n, i, j, o]


class CellConv2d(Conv2d):
    """What Conv2d computes, up to rounding, from the same parameters, for k = 2 s."""

    def __init__(self, shape: Any, n_out: int, k: int, s: int, *, relu: bool = False) -> None:
        super().__init__(shape, n_out, k, s, relu=relu)
        self.cells = Conv2d(shape, 4 * n_out, s, s)  # only cuts out the cells

    def forward(self, x: Array, cache: Cache) -> Array:
        P = self.cells.patches(x, self.W.dtype, cache)  # (B*(h+1)*(w+1), I/4)
        W = self.by_quarter(self.W).reshape(self.cells.n_in, -1)  # (I/4, 4*O)
        u = reuse(cache, "u", P, 4 * self.n_out)  # (B*(h+1)*(w+1), 4*O)
        y = reuse(cache, "y", x, math.prod(self.out_shape), P.dtype)  # (B, h*w*O)
        cache["W"] = W
        P.dot(W, out=u)
        add_quarters(self.relu, self.b, *self.images(u, y))
        return y

    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
        """Overwrites dy with dz."""
        P, W, y = cache["P"].reshape(-1, self.cells.n_in), cache["W"], cache["y"]
        dz, du = dy.reshape(-1, self.n_out), cache["u"]  # nobody needs u any more
        bias_and_relu_backward(dz, y.reshape(dz.shape), self.db, self.relu)
        spread_quarters(*self.images(du, dz))
        dW = self.by_quarter(self.dW)  # a view, which is filled here
        dW[:] = P.T.dot(du).reshape(dW.shape)
        if not need_dx:
            return None
        dx = reuse(cache, "dx", cache["P"], math.prod(self.shape))  # (B, F*H*W*C)
        add_lines(self.cells.lines(du.dot(W.T)), self.cells.starts, dx)
        return dx

    def by_quarter(self, W: Array) -> Array:
        """A view of W, (I, O), as (F, s, s, C, 2, 2, O): a cell's entries first, then p and q."""
        frames, _, _, channels = self.shape
        split = W.reshape(frames, 2, self.s, 2, self.s, channels, self.n_out)
        return split.transpose(0, 2, 4, 5, 1, 3, 6)

    def images(self, u: Array, y: Array) -> tuple[Array, Array]:
        """Views of u, (B, h + 1, w + 1, 2, 2, O), and of y, (B, h, w, O)."""
        _, h, w, n_out = self.out_shape
        return u.reshape(-1, h + 1, w + 1, 2, 2, n_out), y.reshape(-1, h, w, n_out)
