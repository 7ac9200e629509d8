"""Convolution: a Linear layer on every patch of an image.

What a group of pixels shows does not depend on where in the image it is. So a convolution
applies one small Linear layer to every k x k patch, through all frames and channels, one patch
every s pixels (the *stride*):

    y[i, j] = patch W + b, with patch = x[:, s i : s i + k, s j : s j + k, :] as one row

A ReLU may follow, as in Linear. The outputs are again an image, of h x w pixels with O channels.
With the patches of the whole batch as the rows of a matrix P, forward is one product, and
backward is Linear's (dz is dy, but 0 where the ReLU was off):

    z = P W + b      dW = P^T dz      db = the sum of dz's rows      dP = dz W^T

What is new is only the way from x to P and back. Forward copies each pixel into every patch
that it lies in. L depends on the pixel through all these copies, so the chain rule adds up
their gradients: dx[pixel] = the sum of dP over its copies. The first layer needs neither dP nor
dx: nothing below it has parameters.

An index says where in an image each number of its patches comes from. The copying is done by
kernels: loops that are compiled (see jit.py).

Images are channels last, (H, W, C), and F frames, the last pictures of a film, may be stacked:
(F, H, W, C). Pixels become floats on their way into P: bytes are divided by 255, booleans and
floats keep their value. dx is the gradient of these floats; only the first layer gets bytes.

Letters: B batch, F frames, H and W height and width, C channels, O output channels;
h = (H - k) // s + 1 and w = (W - k) // s + 1, so h x w patches fit into an image; I = F*k*k*C
numbers in a patch. In shapes, and in this w, W is the width; elsewhere W is the weights.
Source: LeCun et al. 1989, "Backpropagation applied to handwritten zip code recognition".
"""

import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from minidqn.nn.jit import kernel
from minidqn.nn.layers import HE, Array, Cache, Linear, bias_and_relu, bias_and_relu_backward, reuse


@kernel
def copy_pixels(x: Array, index: Array, scale: float, P: Array) -> None:
    """P[b, n] = scale x[b, index[n]]: (B, F*H*W*C) to (B, h*w*I), with index (h*w*I,)."""
    for b in range(len(x)):
        for n in range(len(index)):
            P[b, n] = scale * x[b, index[n]]


@kernel
def add_pixels(dP: Array, index: Array, dx: Array) -> None:
    """The way back: dx = 0, then each entry of dP is added where its pixel was copied from."""
    for b in range(len(dx)):
        dx[b] = 0.0
        for n in range(len(index)):
            dx[b, index[n]] += dP[b, n]


def index_of_patches(shape: tuple[int, int, int, int], k: int, s: int) -> Array:
    """Where in an image, (F, H, W, C) as one row, the numbers of each patch are: (h*w, I).

    Unsigned: at every pixel a signed index would be tested for being negative.
    """
    frames, _, _, channels = shape
    places = np.arange(math.prod(shape), dtype=np.uint32).reshape(shape)
    patches: Array = sliding_window_view(places, (k, k), (1, 2))
    patches = patches[:, ::s, ::s].transpose(1, 2, 0, 4, 5, 3)  # from (F, h, w, C, k, k)
    return patches.reshape(-1, frames * k * k * channels)


class Conv2d(Linear):
    """A Linear layer on every patch: (B, F, H, W, C) to (B, h*w*O), in the order h, w, O.

    x may have any shape with these entries in this order; `shape` is (F, H, W, C), and dx is
    (B, F*H*W*C). Linear works on P, so cache["x"] is P and cache["dx"] is dP. Rows and columns
    that no whole patch reaches are left out.

    A column of W, of shape (I, O) with I in the order F, k, k, C, is a *filter*. It starts as in
    a Linear layer, but minus its mean, so that it adds up to 0. Where all pixels have one value
    v, as in most of an image, z = v * (the filter's sum) + b. A sum far below 0 would outweigh
    every edge in the image: the ReLU would never be on, its gradient would be 0, and the filter
    would not learn (in Pong, 11 of the first layer's 16). With the sum 0, edges decide.
    """

    any_dtype = True  # x may be bytes: copy_pixels makes floats of them

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        n_out: int,
        k: int,
        s: int,
        *,
        relu: bool = False,
        gain: float = HE,
    ) -> None:
        frames, height, width, channels = self.shape = shape
        super().__init__(frames * k * k * channels, n_out, relu=relu, gain=gain)
        self.k, self.s = k, s
        self.index = index_of_patches(shape, k, s)  # (h*w, I)
        # (1, h, w, O): one frame, because each output saw all of them
        self.out_shape = 1, (height - k) // s + 1, (width - k) // s + 1, n_out

    def initialize(self, rng: np.random.Generator) -> None:
        super().initialize(rng)
        self.W -= self.W.mean(axis=0)

    def patches(self, x: Array, cache: Cache) -> Array:
        """P, every patch of every image a row: (B*h*w, I), or what else the index has."""
        P = reuse(cache, "P", x, self.index.size, self.W.dtype)  # (B, h*w*I), the same memory
        scale = 1.0 / 255.0 if x.dtype == np.uint8 else 1.0
        copy_pixels(x.reshape(len(x), -1), self.index.ravel(), scale, P)
        return P.reshape(-1, self.index.shape[1])

    def add_up(self, dP: Array, cache: Cache) -> Array:
        """The way back: dx, (B, F*H*W*C), from dP, of P's shape."""
        dP = dP.reshape(-1, self.index.size)  # (B, h*w*I)
        dx = reuse(cache, "dimage", dP, math.prod(self.shape))  # "dx" is Linear's: dP
        add_pixels(dP, self.index.ravel(), dx)
        return dx

    def forward(self, x: Array, cache: Cache) -> Array:
        P = self.patches(x, cache)
        return self.apply(self.W, self.b, P, cache).reshape(len(x), -1)

    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
        """Overwrites dy with dz."""
        dP: Any = super().backward(dy.reshape(-1, self.n_out), cache, need_dx)  # (B*h*w, I) or None
        return self.add_up(dP, cache) if need_dx else None


@kernel
def add_quarters(u: Array, z: Array) -> None:
    """z[i, j] = the sum of u[i + p, j + q, p, q] over p and q, each 0 or 1.

    (B, h + 1, w + 1, 2, 2, O) to (B, h, w, O); the bias is still to come.
    """
    for b in range(z.shape[0]):
        for i in range(z.shape[1]):
            for j in range(z.shape[2]):
                for o in range(z.shape[3]):
                    top = u[b, i, j, 0, 0, o] + u[b, i, j + 1, 0, 1, o]
                    z[b, i, j, o] = top + u[b, i + 1, j, 1, 0, o] + u[b, i + 1, j + 1, 1, 1, o]


@kernel
def spread_quarters(dz: Array, du: Array) -> None:
    """The way back: du[i, j, p, q] = dz[i - p, j - q]; 0 where no output used u[i, j, p, q]."""
    _, h, w, n_out = dz.shape
    for b in range(du.shape[0]):
        for i in range(du.shape[1]):
            for j in range(du.shape[2]):
                for p in range(2):
                    for q in range(2):
                        inside = 0 <= i - p < h and 0 <= j - q < w
                        for o in range(n_out):
                            du[b, i, j, p, q, o] = dz[b, i - p, j - q, o] if inside else 0.0


class CellConv2d(Conv2d):
    """The same function, only for k = 2 s, and faster: it copies cells, which do not overlap.

    Cut the image into cells: patches of s x s pixels, s apart. A patch of k x k is 2 x 2 cells,
    so patch W is a sum of four products. W_pq, a quarter of W, has the rows of W for the cell in
    row p, column q of the patch:

        z[i, j] = sum over p, q of cell[i + p, j + q] W_pq + b,    p and q 0 or 1

    u = cell W_pq, for all cells and all four quarters, is one product; then the sum picks its
    entries. So a pixel is copied once, not up to four times. The price is (h + 1) (w + 1) / (h w)
    times the multiplications, and the sum. ("Space to depth" is the usual name for such cells.)

    Letter: N = B * (h + 1) * (w + 1) cells.
    """

    def __init__(self, shape: tuple[int, int, int, int], n_out: int, *k_s: int, **options: Any):
        super().__init__(shape, n_out, *k_s, **options)
        self.index = index_of_patches(shape, self.s, self.s)  # of cells: ((h+1)*(w+1), I/4)

    def quarters(self, W: Array) -> Array:
        """A view of W, (I, O), as (F, s, s, C, 2, 2, O): of each number in a cell, all W_pq."""
        frames, _, _, channels = self.shape
        split = W.reshape(frames, 2, self.s, 2, self.s, channels, self.n_out)
        return split.transpose(0, 2, 4, 5, 1, 3, 6)

    def forward(self, x: Array, cache: Cache) -> Array:
        _, h, w, n_out = self.out_shape
        cells = cache["cells"] = self.patches(x, cache)  # (N, I/4)
        # reshape copies here, for in W the quarters are not side by side
        W = cache["W"] = self.quarters(self.W).reshape(-1, 4 * n_out)  # (I/4, 4*O)
        u = reuse(cache, "u", cells, 4 * n_out)  # (N, 4*O)
        cells.dot(W, out=u)
        y = reuse(cache, "y", cells[: len(x)], h * w * n_out)  # (B, h*w*O), in W's dtype
        add_quarters(u.reshape(len(x), h + 1, w + 1, 2, 2, n_out), y.reshape(len(x), h, w, n_out))
        bias_and_relu(y.reshape(-1, n_out), self.b, self.relu)
        return y

    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
        """Overwrites dy with dz."""
        _, h, w, n_out = self.out_shape
        cells, W, y = cache["cells"], cache["W"], cache["y"]  # (N, I/4), (I/4, 4*O), (B, h*w*O)
        bias_and_relu_backward(dy.reshape(-1, n_out), y.reshape(-1, n_out), self.db, self.relu)
        dz = dy.reshape(len(y), h, w, n_out)
        du = reuse(cache, "du", cells, 4 * n_out)  # (N, 4*O)
        spread_quarters(dz, du.reshape(len(y), h + 1, w + 1, 2, 2, n_out))
        dW = cells.T.dot(du)  # u = cells W, so as in Linear; (I/4, 4*O)
        view = self.quarters(self.dW)
        view[:] = dW.reshape(view.shape)
        if not need_dx:
            return None
        dcells = reuse(cache, "dcells", cells, cells.shape[1])  # (N, I/4)
        du.dot(W.T, out=dcells)  # this adds up the uses of a pixel, of which there is one copy
        return self.add_up(dcells, cache)
