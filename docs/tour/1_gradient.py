# %% [markdown]
# # 1. What is a gradient?
#
# A network learns by changing its numbers a little, again and again, each time so that it errs less.
# For that it must know, for each number, whether to make it larger or smaller. The *gradient* says so.
# How is it computed, and how can we be sure that it is right?

# %%
import numpy as np
from matplotlib import pyplot as plt
from tour import derivative, right

# %% [markdown]
# ## One neuron
#
# A neuron multiplies its input by a weight, adds a bias, and cuts off what is below 0 (a *ReLU*).
# It should answer 2 to the input 1.5. The *loss* says how wrong it is: half the squared error.


# %%
def loss(w, b, x=1.5, target=2.0):
    z = w * x + b
    y = z * (z.real > 0)  # ReLU
    return 0.5 * (y - target) ** 2


w, b = 0.8, 0.1
print(f"loss {loss(w, b):.4f}")

# %% [markdown]
# The chain rule takes the formula apart, from the loss back to w. Each step asks one thing only: if
# this number changes a little, how much does the next one change?
#
# | forward | how it changes |
# | --- | --- |
# | z = w x + b | dz/dw = x |
# | y = max(z, 0) | dy/dz = 1 if z > 0, else 0 |
# | L = (y - target)² / 2 | dL/dy = y - target |
#
# The product is the derivative: dL/dw = (y - target) · [z > 0] · x.

# %%
x, target = 1.5, 2.0
z = w * x + b
by_hand = (max(z, 0) - target) * (z > 0) * x
print(f"dL/dw by hand: {by_hand}")

# %% [markdown]
# ## Is it right? Try it
#
# The derivative is what remains of (L(w + h) - L(w - h)) / 2h as h becomes smaller. So take a small h
# and compare. But how small?


# %% mystnb={"image": {"alt": "The error against the step h: that of the difference quotient falls until about 1e-6, then rises again; that of the complex step falls to nothing and stays there."}}
def curved(w):
    """A function that is no parabola: of those the quotient is exact."""
    return np.exp(np.sin(3 * w))


steps = 10.0 ** -np.arange(1, 17)
exact = 3 * np.cos(3 * w) * np.exp(np.sin(3 * w))
wrong = [abs((curved(w + h) - curved(w - h)) / (2 * h) - exact) for h in steps]
better = [max(abs(np.imag(curved(w + 1j * h)) / h - exact), 1e-17) for h in steps]

plt.figure(figsize=(8, 4))
plt.loglog(steps, wrong, "o-", label="difference quotient")
plt.loglog(steps, better, "s--", label="complex step")
plt.gca().invert_xaxis()
plt.xlabel("step h (no unit)")
plt.ylabel("error of the derivative")
plt.title("The step can be too large, and too small")
plt.legend(frameon=False)
plt.show()

# %% [markdown]
# With a large h the curve bends away: the error is about h². With a tiny h, L(w + h) and L(w - h) agree
# in nearly all of the 16 digits that the computer keeps, and their difference is rounding error: about
# 1e-16 / h. In between, from 1e-6 to 1e-5, is the best there is, an error of 1e-10 to 1e-9. (The point below it, at
# 1e-8, is luck: there the rounding errors happen to cancel.)
#
# A trick has no such valley. Go a step *i h* in the imaginary direction: L(w + ih) = L(w) + ih L'(w) + ...
# The imaginary part, divided by h, is the derivative, again with an error of about h². But nothing is
# subtracted, so nothing cancels, and h may be 1e-100. minidqn's tests use both: see `tests/test_network.py`.
#
# ## The same on the real thing
#
# A *layer* is many neurons side by side, a *network* is layers in a row; chapter 2 shows how they work. This is
# minidqn's own network, with complex numbers as parameters. All its parameters are one vector,
# so one loop checks them all.

# %%
from minidqn.nn.layers import Linear
from minidqn.nn.network import Network

rng = np.random.default_rng(0)
network = Network([Linear(3, 8, relu=True), Linear(8, 1)], np.float64)
network.initialize(rng)
inputs, targets = rng.normal(size=(5, 3)), rng.normal(size=(5, 1))

errors = network.forward(inputs) - targets
network.backward(errors)  # dL/dy of L = half the sum of the squared errors


def loss_of(params):
    copy = Network([Linear(3, 8, relu=True), Linear(8, 1)], np.complex128)
    copy.params[:] = params
    return 0.5 * ((copy.forward(inputs) - targets) ** 2).sum()


checked = derivative(loss_of, network.params)
largest = np.abs(network.grads - checked).max()
print(f"{network.grads.size} derivatives; the largest difference is {largest:.1e}")

# %% [markdown]
# ## Exercises
#
# **1.** The neuron has a bias, too. Write dL/db.


# %%
def my_dL_db(w, b, x, target):
    return 0.0  # your answer


# %% tags=["checker"]
def check_1(answer):
    for w, b, x in (
        (0.8, 0.1, 1.5),
        (-1.0, 0.2, 2.0),
        (0.5, 1.0, -1.0),
        (2.0, -0.5, 0.3),
    ):
        expected = derivative(lambda b, w=w, x=x: loss(w, b, x, 2.0), b)
        if not np.isclose(answer(w, b, x, 2.0), expected):
            return right(False, f"at w = {w}, b = {b}, x = {x} it is {expected:.3f}")
    return right(True, "")


check_1(my_dL_db)


# %% tags=["solution"]
def solution_1(w, b, x, target):
    z = w * x + b
    return (max(z, 0) - target) * (z > 0)


# %% [markdown]
# **2.** The error of a *one-sided* quotient, (L(w + h) - L(w)) / h, is about h, not h². Which h is then the
# best, roughly? (A power of ten.)

# %%
my_best_h = 1.0  # your answer


# %% tags=["checker"]
def check_2(answer):
    def error(h):
        return abs((curved(w + h) - curved(w)) / h - exact)

    best = min(error(10.0**-k) for k in np.arange(5.0, 12.0))
    return right(error(answer) < 30 * best, "h and 1e-16 / h should be about equal")


check_2(my_best_h)

# %% tags=["solution"]
solution_2 = 1e-8
