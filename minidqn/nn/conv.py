"""Convolution: a Linear layer on every patch of an image.

What a group of pixels shows does not depend on where in the image it is. So a convolution
applies one small Linear layer to every k x k patch, with all its frames and channels, one patch
every s pixels (the *stride*):

    z[i, j] = patch W + b, with patch = x[:, s i : s i + k, s j : s j + k, :] of an image x

and y = z, or max(z, 0) with a ReLU, as in Linear. The outputs are again an image, of h x w
pixels with O channels. With every patch of the batch as one row of a matrix P, (B*h*w, I),
forward is one product, and backward is Linear's (dz is dy, but with a ReLU 0 where y = 0):

    z = P W + b      dW = P^T dz      db = the sum of dz's rows      dP = dz W^T

What is new is only the way from x to P and back. Forward copies each pixel into every patch
that it lies in. The loss L depends on the pixel through all these copies, so the chain rule
adds up their gradients: dx[pixel] = the sum of dP over its copies. The first layer needs neither
dP nor dx: nothing below it has parameters.

In the image a patch is F*k lines of k pixels. The k*C numbers of a line are side by side there
too, so all that has to be known is where each line starts. The copying is done by kernels: loops
that are compiled (see jit.py). For k = 2 s, cells.py does the same with fewer copies.

Images are channels last, (H, W, C), and F frames, the newest pictures of a game, may be stacked:
(F, H, W, C). Pixels become floats on their way into P: bytes are divided by 255, booleans and
floats keep their value. dx is the gradient with respect to these floats; only the first layer
gets bytes.

Letters: B batch, F frames, H and W height and width, C channels, O output channels;
h = (H - k) // s + 1 and w = (W - k) // s + 1, so h x w patches fit into an image; a patch has
I = F*k*k*C numbers, and the patches of an image have M = h*w*F*k lines. In shapes, and in the
formula for w, W is the width; elsewhere W is the weights.
Source: LeCun et al. 1989, "Backpropagation applied to handwritten zip code recognition".
"""

import math
from typing import Any

import numpy as np

from minidqn.nn.jit import kernel
from minidqn.nn.layers import Array, Cache, Linear, reuse


@kernel
def copy_lines(x: Array, starts: Array, scale: float, P: Array) -> None:
    """P[b, m, n] = scale x[b, starts[m] + n]: (B, F*H*W*C) to (B, M, k*C), with starts (M,)."""
    image = np.empty(x.shape[1], P.dtype)  # each pixel becomes a float once, not in every copy
    for b in range(len(x)):
        for i in range(x.shape[1]):
            image[i] = scale * x[b, i]
        for m, start in enumerate(starts):
            for n in range(P.shape[2]):
                P[b, m, n] = image[start + n]


@kernel
def add_lines(dP: Array, starts: Array, dx: Array) -> None:
    """The way back: dx = 0, then each entry of dP is added where its pixel was copied from.

    (B, M, k*C), (M,) to (B, F*H*W*C).
    """
    for b in range(len(dx)):
        dx[b] = 0.0
        for m, start in enumerate(starts):
            for n in range(dP.shape[2]):
                dx[b, start + n] += dP[b, m, n]


class Conv2d(Linear):
    """A Linear layer on every patch: (B, F, H, W, C) to (B, h*w*O), in the order h, w, O.

    x may have any shape with these entries in this order; `shape` is (F, H, W, C), and dx is
    (B, F*H*W*C). Linear works on P, so cache["x"] is P and cache["dx"] is dP. Pixels that no
    whole patch reaches are left out.

    A column of W, of shape (I, O) with I in the order F, k, k, C, is a *filter*. It starts as in
    a Linear layer, but minus its mean, so that it adds up to 0. Where all pixels have one value
    v > 0, as in most of an image, z = v * (the filter's sum) + b. A sum far below 0 would outweigh
    every edge in the image: the ReLU would never be on, its gradient would be 0, and the filter
    would not learn. (Without this, 11 of the first layer's 16 filters never learned in Pong.)
    """

    any_dtype = True  # x may be bytes: copy_lines makes floats of them

    def __init__(
        self, shape: tuple[int, int, int, int], n_out: int, k: int, s: int, *, relu: bool = False
    ) -> None:
        frames, height, width, channels = self.shape = shape
        super().__init__(frames * k * k * channels, n_out, relu=relu)
        h, w = (height - k) // s + 1, (width - k) // s + 1
        self.out_shape = 1, h, w, n_out  # one frame: each output has seen all of them
        self.k, self.s = k, s
        # where line di of frame f of patch (i, j) begins in the image, which is (F, H, W, C)
        i, j, f, di = np.ogrid[:h, :w, :frames, :k]
        starts = ((f * height + s * i + di) * width + s * j) * channels  # (h, w, F, k)
        # unsigned: a signed index is tested for being negative, and the kernels take far longer
        self.starts = starts.ravel().astype(np.uint32)  # (M,)

    def initialize(self, rng: np.random.Generator) -> None:
        super().initialize(rng)
        self.W -= self.W.mean(axis=0)

    def patches(self, x: Array, dtype: Any, cache: Cache) -> Array:
        """The patches of the images x as rows, in this dtype: P, (B*h*w, I)."""
        _, h, w, _ = self.out_shape
        P = reuse(cache, "P", x, h * w * self.n_in, dtype)  # (B, h*w*I)
        scale = 1.0 / 255.0 if x.dtype == np.uint8 else 1.0
        copy_lines(x.reshape(len(x), math.prod(self.shape)), self.starts, scale, self.lines(P))
        return P.reshape(-1, self.n_in)

    def forward(self, x: Array, cache: Cache) -> Array:
        P = self.patches(x, self.W.dtype, cache)
        return self.apply(self.W, self.b, P, cache).reshape(len(x), -1)

    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
        """Overwrites dy with dz."""
        dP = super().backward(dy.reshape(-1, self.n_out), cache, need_dx)  # (B*h*w, I) or None
        if dP is None:
            return None
        dx = reuse(cache, "dimage", cache["P"], math.prod(self.shape))  # "dx" is Linear's: dP
        add_lines(self.lines(dP), self.starts, dx)
        return dx

    def lines(self, P: Array) -> Array:
        """The patches of each image line by line: a view of P, (B, M, k*C)."""
        return P.reshape(-1, len(self.starts), self.k * self.shape[3])
