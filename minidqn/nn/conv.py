"""Convolution: a Linear layer on every patch of an image.

What a group of pixels shows does not depend on where in the image it is. So a convolution
applies one small Linear layer to every patch of k x k pixels, through all channels and frames,
s pixels apart (the *stride*):

    y[i, j] = ReLU(p W + b), with p the patch x[:, s i : s i + k, s j : s j + k, :] as one row

The outputs are again an image, with O channels. With the patches of the whole batch as the
rows of a matrix P, forward is one product, and backward is Linear's:

    z = P W + b      dW = P^T dz      db = the sum of dz's rows      dP = dz W^T

What is new is only the way from x to P and back. Forward copies each pixel into every patch
that it lies in. L depends on the pixel through all these copies, so the chain rule adds up
their gradients: dx[pixel] = the sum of dP over its copies. The first layer skips this last
step: nothing below it has parameters, so nobody asks for its dx.

An index has, for each number in P, its place in x. The copying is done by kernels: loops that
are compiled (see jit.py).

Images are channels last, (H, W, C), and F frames, the last pictures of a film, may be stacked:
(F, H, W, C). Pixels become floats on their way into P: bytes are divided by 255, booleans and
floats keep their value. (So dx is for the floats. Bytes are the first layer's x, without dx.)

Letters: B batch, F frames, H and W height and width, C channels, O output channels;
h = (H - k) // s + 1 and w = (W - k) // s + 1, so h x w patches fit into an image; I = F*k*k*C
numbers in a patch. In a shape, W is the width; elsewhere W is the weights.
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
    """P[b, n] = scale x[b, index[n]]: (B, F*H*W*C) to (B, h*w*I), an image a row."""
    for b in range(len(x)):
        for n in range(len(index)):
            P[b, n] = scale * x[b, index[n]]


@kernel
def add_pixels(dP: Array, index: Array, dx: Array) -> None:
    """The way back: dx = 0, then each gradient is added where its pixel was copied from."""
    for b in range(len(dx)):
        dx[b] = 0.0
        for n in range(len(index)):
            dx[b, index[n]] += dP[b, n]


def index_of_patches(shape: tuple[int, int, int, int], k: int, s: int) -> Array:
    """Where in the image, (F, H, W, C) as one row, the numbers of each patch are: (h*w, I).

    Unsigned, for an index that could be negative would be tested at every pixel.
    """
    frames, _, _, channels = shape
    places = np.arange(math.prod(shape), dtype=np.uint32).reshape(shape)
    patches: Array = sliding_window_view(places, (k, k), (1, 2))
    patches = patches[:, ::s, ::s].transpose(1, 2, 0, 4, 5, 3)  # (F, h, w, C, k, k), reordered
    return patches.reshape(-1, frames * k * k * channels)


class Conv2d(Linear):
    """A Linear layer on every patch: (B, F, H, W, C) to (B, h*w*O), in the order h, w, O.

    x may have any shape with these entries in this order; `shape` is (F, H, W, C). Linear works
    on P, so in the cache its x and dx are P and dP. Rows and columns that no whole patch
    reaches are left out.

    A column of W, of shape (I, O) with I in the order F, k, k, C, is a *filter*. It starts as in
    a Linear layer, but minus its mean, so that it adds up to 0: where all pixels have one value
    v, as in most of an image, z = v * 0 + b. Otherwise z = v * (the filter's sum) + b, which for
    some filters is below 0 nearly everywhere. Their ReLU is never on, its gradient is 0, and
    they never learn (in Pong, 11 of the first layer's 16).
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
        """P, every patch of every image a row: (B*h*w, I)."""
        P = reuse(cache, "P", x, self.index.size, self.W.dtype)
        scale = 1.0 / 255.0 if x.dtype == np.uint8 else 1.0
        copy_pixels(x.reshape(len(x), -1), self.index.ravel(), scale, P)
        return P.reshape(-1, self.index.shape[1])

    def add_up(self, dP: Array, cache: Cache) -> Array:
        """The way back: dx, (B, F*H*W*C), from the gradients of the patches, (B*h*w, I)."""
        dP = dP.reshape(-1, self.index.size)
        dx = reuse(cache, "dimage", dP, math.prod(self.shape))
        add_pixels(dP, self.index.ravel(), dx)
        return dx

    def forward(self, x: Array, cache: Cache) -> Array:
        P = self.patches(x, cache)
        return self.apply(self.W, self.b, P, cache).reshape(len(x), -1)

    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
        """Overwrites dy with dz."""
        dP: Any = super().backward(dy.reshape(-1, self.n_out), cache, need_dx)  # (B*h*w, I)
        return self.add_up(dP, cache) if need_dx else None


@kernel
def add_quarters(u: Array, y: Array) -> None:
    """y[i, j] = the sum of u[i + p, j + q, p, q] over p and q, each 0 or 1.

    (B, h + 1, w + 1, 2, 2, O) to (B, h, w, O).
    """
    for b in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for o in range(y.shape[3]):
                    top = u[b, i, j, 0, 0, o] + u[b, i, j + 1, 0, 1, o]
                    y[b, i, j, o] = top + u[b, i + 1, j, 1, 0, o] + u[b, i + 1, j + 1, 1, 1, o]


@kernel
def spread_quarters(dz: Array, du: Array) -> None:
    """The way back: du[i, j, p, q] = dz[i - p, j - q]; 0 where no output used a quarter."""
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
    """The same function, only for k = 2 s, and faster: there are no overlapping patches to copy.

    Cut the image into cells: patches of s x s pixels, s apart. A patch of k x k is 2 x 2 cells,
    so p W is a sum of four parts. W_pq is the quarter of W's rows for the cell in row p, column q:

        z[i, j] = sum over p, q of cell[i + p, j + q] W_pq + b,    p and q 0 or 1

    u = cell W_pq, for all cells and all four quarters, is one product; then the sum picks its
    entries. So a pixel is copied once, not four times, for (h + 1) (w + 1) / (h w) times the
    multiplications. ("Space to depth" is the usual name for such cells.)
    """

    def __init__(self, shape: tuple[int, int, int, int], n_out: int, *sizes: int, **options: Any):
        super().__init__(shape, n_out, *sizes, **options)
        self.index = index_of_patches(shape, self.s, self.s)  # of cells, ((h+1)*(w+1), I/4)

    def quarters(self, W: Array) -> Array:
        """A view of W, (I, O), as (F, s, s, C, 2, 2, O): for each pixel of a cell four weights."""
        frames, _, _, channels = self.shape
        split = W.reshape(frames, 2, self.s, 2, self.s, channels, self.n_out)
        return split.transpose(0, 2, 4, 5, 1, 3, 6)

    def forward(self, x: Array, cache: Cache) -> Array:
        _, h, w, n_out = self.out_shape
        cells = self.patches(x, cache)  # (B*(h+1)*(w+1), I/4)
        # a copy, (I/4, 4*O): as a view, the quarters are not side by side
        W = cache["W"] = self.quarters(self.W).reshape(cells.shape[1], 4 * n_out)
        u = reuse(cache, "u", cells, 4 * n_out)
        cells.dot(W, out=u)
        y = reuse(cache, "y", cells[: len(x)], h * w * n_out)  # (B, h*w*O)
        add_quarters(u.reshape(len(x), h + 1, w + 1, 2, 2, n_out), y.reshape(len(x), h, w, n_out))
        bias_and_relu(y.reshape(-1, n_out), self.b, self.relu)
        cache["cells"] = cells
        return y

    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
        """Overwrites dy with dz."""
        _, h, w, n_out = self.out_shape
        cells, W, y = cache["cells"], cache["W"], cache["y"]
        bias_and_relu_backward(dy.reshape(-1, n_out), y.reshape(-1, n_out), self.db, self.relu)
        dz = dy.reshape(len(y), h, w, n_out)
        du = reuse(cache, "du", cells, 4 * n_out)
        spread_quarters(dz, du.reshape(len(y), h + 1, w + 1, 2, 2, n_out))
        dW = cells.T.dot(du)  # u = cells W, so as in Linear; (I/4, 4*O)
        view = self.quarters(self.dW)
        view[:] = dW.reshape(view.shape)
        if not need_dx:
            return None
        dcells = reuse(cache, "dcells", cells, cells.shape[1])
        du.dot(W.T, out=dcells)  # this sums over a pixel's copies; what is left is to put it back
        return self.add_up(dcells, cache)
