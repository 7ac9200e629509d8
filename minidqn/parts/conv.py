"""Convolution: a Linear layer on every patch of an image.

An object looks the same anywhere in the image. So a convolution applies one small
Linear layer to every k x k patch, with all its frames and channels, one patch every s
pixels (the *stride*):

    z[i, j] = patch W + b
    patch = x[:, s i : s i + k, s j : s j + k, :] of an image x

and y = z, or max(z, 0) with a ReLU, as in Linear. The outputs are again an image, of
h x w pixels with O channels. With every patch of the batch as one row of a matrix P,
(B*h*w, I), forward is one product, and backward is Linear's (dz is dy, or with a ReLU 0
where y = 0):

    z = P W + b      dW = P^T dz      db = the sum of dz's rows      dP = dz W^T

Only the step from x to P and back is new. Forward copies each pixel into every patch
that contains it. The loss L depends on the pixel through all these copies, so the chain
rule adds up their gradients: dx[pixel] = the sum of dP over its copies. The first layer
needs neither dP nor dx: nothing below it has parameters.

In the image, a patch is F*k lines of k pixels. The k*C numbers of a line are side by
side there, too. So it is enough to know where each line starts. For k = 2 s, cells.py
does the same with fewer copies.

Images are channels last, (H, W, C), and F frames, the newest pictures of a game, may be
stacked: (F, H, W, C). Pixels become floats on their way into P: bytes are divided by
255, booleans and floats keep their value. dx is the gradient with respect to these
floats; only the first layer gets bytes.

Letters: B batch, F frames, H and W height and width, C channels, O output channels; h =
(H - k) // s + 1 and w = (W - k) // s + 1, so h x w patches fit into an image; a patch
has I = F*k*k*C numbers, and the patches of an image have M = h*w*F*k lines. In shapes,
and in the formula for w, W is the width; elsewhere W is the weights. Source: LeCun et
al. 1989, "Backpropagation applied to handwritten zip code recognition".
"""

import math
from typing import Any

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array, Layer, Linear


@kernel
def copy_lines(x: Array, starts: Array, scale: float, image: Array, P: Array) -> None:
    """P[b, m, n] = scale x[b, starts[m] + n]: (B, F*H*W*C) to (B, M, k*C), starts (M,).

    image, (F*H*W*C,), is scratch: each pixel becomes a float once, not in every copy.
    """
    for b in range(len(x)):
        for i in range(x.shape[1]):
            image[i] = scale * x[b, i]
        for m, start in enumerate(starts):
            for n in range(P.shape[2]):
                P[b, m, n] = image[start + n]


@kernel
def add_lines(dP: Array, starts: Array, dx: Array) -> None:
    """Backward: dx = 0, then each entry of dP is added to the pixel that it copied.

    (B, M, k*C), (M,) to (B, F*H*W*C).
    """
    for b in range(len(dx)):
        dx[b] = 0.0
        for m, start in enumerate(starts):
            for n in range(dP.shape[2]):
                dx[b, start + n] += dP[b, m, n]


class Patches:
    """Copies images to the rows of P, and adds the gradients up on the way back."""

    def __init__(self, shape: tuple[int, int, int, int], k: int, s: int) -> None:
        frames, height, width, channels = shape
        self.h = (height - k) // s + 1
        self.w = (width - k) // s + 1
        self.pixels = math.prod(shape)  # numbers in an image
        self.n_in = frames * k * k * channels  # numbers in a patch
        self.line = k * channels  # numbers in a line
        # where line di of frame f of patch (i, j) begins in the image, (F, H, W, C)
        i, j, f, di = np.ogrid[: self.h, : self.w, :frames, :k]
        starts = ((f * height + s * i + di) * width + s * j) * channels  # (h, w, F, k)
        # unsigned: Numba tests whether a signed index is negative, which is far slower
        self.starts = starts.ravel().astype(np.uint32)  # (M,)

    def copy(self, x: Array, image: Array, P: Array) -> None:
        """Fill P, (B*h*w, I), from images: (B, ...) with F*H*W*C numbers each."""
        scale = 1.0 / 255.0 if x.dtype == np.uint8 else 1.0
        lines = P.reshape(len(x), -1, self.line)  # (B, M, k*C)
        copy_lines(x.reshape(len(x), self.pixels), self.starts, scale, image, lines)

    def add(self, dP: Array, dx: Array) -> None:
        """Fill dx, (B, F*H*W*C), from the gradients of all copies, (B*h*w, I)."""
        add_lines(dP.reshape(len(dx), -1, self.line), self.starts, dx)


class ConvCache:
    """The arrays of one forward, and of its backward."""

    def __init__(self, batch_size: int, conv: "Conv2d", dtype: np.dtype[Any]) -> None:
        patches = conv.patches
        rows = batch_size * patches.h * patches.w
        self.image: Array = np.empty(patches.pixels, dtype)
        self.P: Array = np.empty((rows, patches.n_in), dtype)
        self.linear = conv.linear.new_cache(rows, dtype)
        self.dx: Array = np.empty((batch_size, patches.pixels), dtype)


class Conv2d(Layer):
    """A Linear layer on every patch: (B, F, H, W, C) to (B, h*w*O), ordered h, w, O.

    x may have any shape with these entries in this order; `shape` is (F, H, W, C), and
    dx is (B, F*H*W*C). Pixels that no whole patch reaches are left out.

    A column of W, of shape (I, O) with I in the order F, k, k, C, is a *filter*. It
    starts as in a Linear layer, minus its mean, so that its sum is 0. Where all pixels
    have one value v > 0, as in most of an image, z = v * (the filter's sum) + b. If the
    sum were far below 0, it would outweigh every edge in the image: the ReLU would
    always give 0, its gradient would be 0, and the filter would not learn. (Without
    this, 11 of the first layer's 16 filters never learned in Pong.)
    """

    takes_any_dtype = True

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        n_out: int,
        k: int,
        s: int,
        *,
        relu: bool = False,
    ) -> None:
        self.shape = shape
        self.n_out = n_out
        self.k = k
        self.s = s
        self.relu = relu
        self.patches = Patches(shape, k, s)
        self.linear = Linear(self.patches.n_in, n_out, relu=relu)
        self.size = self.linear.size
        # one frame: each output has seen all of them
        self.out_shape = (1, self.patches.h, self.patches.w, n_out)

    def bind(self, params: Array, grads: Array) -> None:
        self.linear.bind(params, grads)
        self.W = self.linear.W  # (I, O), views
        self.b = self.linear.b
        self.dW = self.linear.dW
        self.db = self.linear.db

    def initialize(self, rng: np.random.Generator) -> None:
        self.linear.initialize(rng)
        self.W -= self.W.mean(axis=0)

    def new_cache(self, batch_size: int, dtype: np.dtype[Any]) -> Any:
        return ConvCache(batch_size, self, dtype)

    def forward(
        self, x: Array, cache: Any, rng: np.random.Generator | None = None
    ) -> Array:
        self.patches.copy(x, cache.image, cache.P)
        y = self.linear.forward(cache.P, cache.linear)  # (B*h*w, O)
        return y.reshape(len(x), -1)

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        """Overwrites dy with dz."""
        dy_rows = dy.reshape(-1, self.n_out)  # (B*h*w, O)
        dP = self.linear.backward(dy_rows, cache.linear, need_dx)  # (B*h*w, I) or None
        if dP is None:
            return None
        dx: Array = cache.dx
        self.patches.add(dP, dx)
        return dx
