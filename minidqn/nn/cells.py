"""A faster convolution for k = 2 s, as in the first layer of the Atari network of 2013.

conv.py copies each pixel into every patch that it lies in: with k = 2 s, into up to four. Here the
image is cut into *cells*, patches of s x s pixels, s apart, which do not overlap. A patch is
2 x 2 cells, so patch W is a sum of four products. W_pq, a quarter of W, has the rows of W for
the cell in row p, column q of the patch:

    z[i, j] = b + the sum over p and q, each 0 or 1, of cell[i + p, j + q] W_pq

All products u = cell W_pq, of every cell with all four quarters, are a convolution themselves,
with patches of s x s pixels and 4 O outputs, so Conv2d makes them. Then each z adds up its four
entries of u. b has to be added once, so it goes to one quarter only: W_00.

Backward: du is dz for the one z that an entry of u goes into. At the border there are entries
that go into none, and their du is 0. As each pixel is in one cell only, the product du W^T
already adds up the gradients of its uses, and the way from dP to dx has nothing left to add.

About a quarter of the numbers is copied; the price is (h + 1) (w + 1) / (h w) times the
multiplications, and the sum. It is faster if O is small, because products with few columns are
slow. (Cutting an image into such cells is usually called *space to depth*.)

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
                    bottom = u[b, i + 1, j, 1, 0, o] + u[b, i + 1, j + 1, 1, 1, o]
                    z = top + bottom
                    y[b, i, j, o] = 0.0 if relu and z.real <= 0.0 else z


@kernel
def spread_quarters(relu: bool, du: Array, dy: Array, y: Array) -> None:
    """The way back: du = 0, then du[i + p, j + q, p, q] = dz[i, j].

    dz is dy, but with relu 0 where y = 0; (B, h, w, O) to (B, h + 1, w + 1, 2, 2, O).
    """
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
    """What Conv2d computes, up to rounding, from the same parameters, for k = 2 s.

    The cache has what the layer for u leaves there, u itself as cache["y"]; and y as cache["sum"].
    """

    def bind(self, params: Array, grads: Array) -> None:
        super().bind(params, grads)
        # forward copies the parameters there; b of three quarters stays 0
        self.products = Conv2d(self.shape, 4 * self.n_out, self.s, self.s)
        self.products.bind(*np.zeros((2, self.products.size), params.dtype))

    def forward(self, x: Array, cache: Cache) -> Array:
        W = self.by_quarter(self.W)
        self.products.W.reshape(W.shape)[:] = W
        self.products.b[: self.n_out] = self.b
        u = self.products.forward(x, cache)  # (B, (h+1)*(w+1)*4*O)
        y = reuse(cache, "sum", u, math.prod(self.out_shape))  # (B, h*w*O)
        add_quarters(self.relu, *self.images(u, y))
        return y

    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
        u, y = cache["y"], cache["sum"]
        du = reuse(cache, "du", dy, u.size // len(dy))  # (B, (h+1)*(w+1)*4*O)
        spread_quarters(self.relu, *self.images(du, dy, y))
        dx = self.products.backward(du, cache, need_dx)
        dW = self.by_quarter(self.dW)
        dW[:] = self.products.dW.reshape(dW.shape)
        self.db[:] = self.products.db[: self.n_out]  # du of this quarter has each dz once
        return dx

    def by_quarter(self, W: Array) -> Array:
        """A view of W, (I, O), as (F, s, s, C, 2, 2, O): a cell's entries first, then p and q."""
        frames, _, _, channels = self.shape
        split = W.reshape(frames, 2, self.s, 2, self.s, channels, self.n_out)
        return split.transpose(0, 2, 4, 5, 1, 3, 6)

    def images(self, u: Array, *ys: Array) -> Any:
        """Views of u, (B, h + 1, w + 1, 2, 2, O), and of each y, (B, h, w, O)."""
        _, h, w, n_out = self.out_shape
        return u.reshape(-1, h + 1, w + 1, 2, 2, n_out), *(y.reshape(-1, h, w, n_out) for y in ys)
