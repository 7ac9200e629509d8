"""Layers that made DQN better since 2015. Each can be read, or skipped, by itself.

    LayerNorm      keeps the scale of the signals while the targets change
    Dueling        learns a state's value separately from its actions' advantages
    NoisyLinear    weights with noise, whose size the network learns

See layers.py for what a layer is, and for the letters.
"""

import math

import numpy as np

from minidqn.nn.jit import kernel, kernel_of_sums
from minidqn.nn.layers import HE, Array, Cache, Layer, Linear, bias_and_relu_backward, reuse


@kernel_of_sums
def normalize_rows(
    x: Array, gain: Array, bias: Array, relu: bool, u: Array, scale: Array, y: Array
) -> None:
    """u = (x - mean) scale, scale = 1 / standard deviation; y = gain u + bias, then ReLU.

    (B, I), (I,), (I,) to (B, I), (B, 1), (B, I).
    """
    width = x.shape[1]
    for row in range(x.shape[0]):
        total, squares = 0.0 * x[row, 0], 0.0 * x[row, 0]  # zeros of x's dtype
        for i in range(width):
            total += x[row, i]
        mean = total / width
        for i in range(width):
            u[row, i] = x[row, i] - mean
            squares += u[row, i] * u[row, i]
        scale[row, 0] = 1.0 / np.sqrt(squares / width + 1e-5)  # all entries may be equal
        for i in range(width):
            u[row, i] *= scale[row, 0]
            z = gain[i] * u[row, i] + bias[i]
            y[row, i] = 0.0 if relu and z.real <= 0.0 else z


@kernel_of_sums
def normalize_rows_backward(dy: Array, gain: Array, u: Array, scale: Array, dx: Array) -> None:
    """dx = scale (du - mean of du - u mean of (du u)), with du = gain dy: to (B, I)."""
    width = dy.shape[1]
    for row in range(dy.shape[0]):
        total, projection = 0.0 * dy[row, 0], 0.0 * dy[row, 0]
        for i in range(width):
            dx[row, i] = gain[i] * dy[row, i]
            total += dx[row, i]
            projection += dx[row, i] * u[row, i]
        mean, along = total / width, projection / width
        for i in range(width):
            dx[row, i] = scale[row, 0] * (dx[row, i] - mean - u[row, i] * along)


class LayerNorm(Layer):
    """y = gain u + bias, where u is x with mean 0 and variance 1 over each row; then ReLU.

    Targets that change also change the scale of every layer's inputs. Normalising each
    observation by itself (not over the batch, whose content changes with the policy)
    keeps that scale, and with it the right step size. It stands between a linear layer
    and its ReLU.

    Source: Ba et al. 2016, "Layer normalization".
    """

    def __init__(self, width: int, *, relu: bool = False) -> None:
        self.width, self.relu, self.size = width, relu, 2 * width

    def bind(self, params: Array, grads: Array) -> None:
        self.gain, self.bias = params[: self.width], params[self.width :]
        self.dgain, self.dbias = grads[: self.width], grads[self.width :]

    def initialize(self, rng: np.random.Generator) -> None:
        self.gain[:], self.bias[:] = 1.0, 0.0

    def forward(self, x: Array, cache: Cache) -> Array:
        y, u = reuse(cache, "y", x, self.width), reuse(cache, "u", x, self.width)  # (B, I)
        scale = reuse(cache, "scale", x, 1)  # (B, 1)
        normalize_rows(x, self.gain, self.bias, self.relu, u, scale, y)
        return y

    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
        """Overwrites dy with the gradient below the ReLU."""
        u, y = cache["u"], cache["y"]  # (B, I)

        # y_i = gain_i u_i + bias_i, so dbias_i = sum over B of dy_i, dgain_i = sum of u_i dy_i,
        # and du_i = gain_i dy_i
        bias_and_relu_backward(dy, y, self.dbias, self.relu)  # (I,)
        np.einsum("bi,bi->i", u, dy, out=self.dgain)  # (I,)

        # u_i = (x_i - mean) scale, where mean and scale depend on every x_j:
        # ∂u_i/∂x_j = scale ([i = j] - 1/I - u_i u_j / I), and so
        # dx_j = scale (du_j - mean of du - u_j mean of (du u))
        dx = reuse(cache, "dx", dy, self.width)  # (B, I)
        normalize_rows_backward(dy, self.gain, u, cache["scale"], dx)
        return dx


@kernel
def join_streams(x: Array, y: Array) -> None:
    """y_a = v + g_a - mean of g: (B, 1 + A, N) to (B, A, N)."""
    n_actions = y.shape[1]
    for row in range(x.shape[0]):
        for k in range(x.shape[2]):
            mean = x[row, 0, k] * 0.0
            for a in range(n_actions):
                mean += x[row, 1 + a, k] / n_actions
            for a in range(n_actions):
                y[row, a, k] = x[row, 0, k] + x[row, 1 + a, k] - mean


@kernel
def join_streams_backward(dy: Array, dx: Array) -> None:
    """dv = the sum of dy over the actions, dg_a = dy_a - dv / A: (B, A, N) to (B, 1 + A, N)."""
    n_actions = dy.shape[1]
    for row in range(dy.shape[0]):
        for k in range(dy.shape[2]):
            total = dy[row, 0, k] * 0.0
            for a in range(n_actions):
                total += dy[row, a, k]
            dx[row, 0, k] = total
            for a in range(n_actions):
                dx[row, 1 + a, k] = dy[row, a, k] - total / n_actions


class Dueling(Layer):
    """Q(s, a) = V(s) + G(s, a) - mean over a of G(s, a): (B, (1 + A) N) to (B, A N).

    In many states the action hardly matters. So the layer below gives the value of the
    state, learned from every transition whatever its action was, and separately how much
    better or worse each action is. Without subtracting the mean, V could go up and all G
    down with no effect; with it, the advantages Q - V sum to 0. Each of the N quantiles
    (1 in plain DQN) is joined separately.

    Source: Wang et al. 2016, "Dueling network architectures for deep reinforcement
    learning", equation 9; there the two streams have hidden layers of their own.
    """

    def __init__(self, n_actions: int, quantiles: int = 1) -> None:
        self.n_actions, self.quantiles = n_actions, quantiles

    def forward(self, x: Array, cache: Cache) -> Array:
        y = reuse(cache, "y", x, self.n_actions * self.quantiles)  # (B, A N)
        streams = x.reshape(len(x), 1 + self.n_actions, self.quantiles)
        join_streams(streams, y.reshape(len(x), self.n_actions, self.quantiles))
        return y

    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
        # V enters every Q_a with 1, so dv = sum over A of dq_a. G_a enters its own Q_a with
        # 1 and each with -1/A, so dg_a = dq_a - dv / A
        dx = reuse(cache, "dx", dy, (1 + self.n_actions) * self.quantiles)  # (B, (1 + A) N)
        dq = dy.reshape(len(dy), self.n_actions, self.quantiles)
        join_streams_backward(dq, dx.reshape(len(dy), 1 + self.n_actions, self.quantiles))
        return dx


@kernel
def perturb(W: Array, sigma: Array, f_in: Array, f_out: Array, noisy: Array) -> None:
    """noisy = W + sigma * f_in f_out, entry by entry: (I, O), (I, O), (I,), (O,) to (I, O)."""
    for i in range(W.shape[0]):
        for o in range(W.shape[1]):
            noisy[i, o] = W[i, o] + sigma[i, o] * (f_in[i] * f_out[o])


class NoisyLinear(Linear):
    """A linear layer with noise on its weights; the size of the noise is learned.

        W_io = M_io + S_io f(e_i) f(e_o)        b_o = m_o + s_o f(e_o)

    with e normal and f(e) = sign(e) sqrt(|e|). Drawn anew for each action, the noise
    explores, but not equally in all states, unlike epsilon: the scales S and s are learned
    like the means, so it can shrink where the values are known. I + O random numbers
    serve for I O weights ("factorised"). The means start as in Linear.

    The noise lies in the cache, where `draw_noise` puts it: drawn before a forward, it
    stays until its backward has run. A cache without noise gives the means, as in
    evaluation.

    Source: Fortunato et al. 2018, "Noisy networks for exploration", section 3.
    """

    noisy = True

    def __init__(
        self, n_in: int, n_out: int, *, relu: bool = False, gain: float = HE, sigma: float = 0.5
    ) -> None:
        super().__init__(n_in, n_out, relu=relu, gain=gain)
        self.sigma = sigma  # the first S and s are sigma / sqrt(I)
        self.size *= 2

    def bind(self, params: Array, grads: Array) -> None:
        half, split = self.size // 2, self.n_in * self.n_out
        super().bind(params[:half], grads[:half])
        self.S = params[half : half + split].reshape(self.n_in, self.n_out)
        self.dS = grads[half : half + split].reshape(self.n_in, self.n_out)
        self.s, self.ds = params[half + split :], grads[half + split :]

    def initialize(self, rng: np.random.Generator) -> None:
        super().initialize(rng)
        self.S[:] = self.s[:] = self.sigma / math.sqrt(self.n_in)

    def draw_noise(self, rng: np.random.Generator, cache: Cache) -> None:
        e = rng.standard_normal(self.n_in + self.n_out)
        f = np.copysign(np.sqrt(np.abs(e)), e).astype(self.W.dtype)
        cache["f_in"], cache["f_out"] = f[: self.n_in], f[self.n_in :]

    def forward(self, x: Array, cache: Cache) -> Array:
        if "f_in" not in cache:
            return self.apply(self.W, self.b, x, cache)
        W = reuse(cache, "noisy_W", self.W, self.n_out)  # (I, O)
        perturb(self.W, self.S, cache["f_in"], cache["f_out"], W)
        return self.apply(W, self.b + self.s * cache["f_out"], x, cache)

    def backward(self, dy: Array, cache: Cache, need_dx: bool = True) -> Array | None:
        dx = super().backward(dy, cache, need_dx)
        if "f_in" not in cache:
            self.dS[:], self.ds[:] = 0.0, 0.0
            return dx

        # M_io enters W_io with 1 and S_io with f(e_i) f(e_o), so dM_io = dW_io and
        # dS_io = dW_io f(e_i) f(e_o); in the same way ds_o = db_o f(e_o)
        np.multiply(self.dW, cache["f_in"][:, None], out=self.dS)  # (I, O)
        self.dS *= cache["f_out"]
        np.multiply(self.db, cache["f_out"], out=self.ds)  # (O,)
        return dx
