# %% [markdown]
# # 1. What is a gradient?
#
# A network learns by changing its numbers a little, again and again. Each change should make its error smaller.
# So it must know for each number: should it become larger or smaller? The *gradient* tells it.
# How is the gradient computed? And how can we be sure that it is right?

# %%
import numpy as np
from matplotlib import pyplot as plt
from tour import exercise, hint_for

# %% [markdown]
# ## One neuron
#
# A neuron multiplies its input by a weight w and adds a bias b. If the result is below 0, the neuron gives 0
# instead: this is called a *ReLU*. Our neuron should answer 2 to the input 1.5. The *loss* says how wrong it is.
# We take half the squared error.


# %%
def loss(w, b, x=1.5, target=2.0):
    z = w * x + b
    y = max(z, 0.0)  # ReLU
    return 0.5 * (y - target) ** 2


w, b = 0.8, 0.1
print(f"loss {loss(w, b):.4f}")

# %% [markdown]
# How does the loss change if w changes a little? That is the derivative dL/dw. The chain rule takes the formula
# apart into three steps. Each step asks only one thing: if this number changes a little, how much does the next one
# change?
#
# | forward | how it changes |
# | --- | --- |
# | z = w x + b | dz/dw = x |
# | y = max(z, 0) | dy/dz = 1 if z > 0, else 0 |
# | L = (y - target)² / 2 | dL/dy = y - target |
#
# The derivative is the product of the three: dL/dw = dL/dy · dy/dz · dz/dw.

# %%
x, target = 1.5, 2.0
z = w * x + b
y = max(z, 0.0)

dz_dw = x
dy_dz = 1.0 if z > 0 else 0.0
dl_dy = y - target
by_hand = dl_dy * dy_dz * dz_dw
print(f"dL/dw by hand: {by_hand:.6f}")

# %% [markdown]
# The derivative is negative: if w becomes larger, the loss becomes smaller. So w should become larger.
#
# The *gradient* is the list of all derivatives of the loss, one for each weight and each bias.
#
# ## Is it right? Try it
#
# We can also measure the derivative. Move w a little to both sides, by h, and see how much the loss changes:
#
# (L(w + h) - L(w - h)) / 2h
#
# This is a *difference quotient*. As h becomes smaller, it comes closer to the derivative.

# %%
h = 1e-5
measured = (loss(w + h, b) - loss(w - h, b)) / (2 * h)
print(f"dL/dw measured: {measured:.6f}")

# %% [markdown]
# The two agree. But how small should h be? Let us try many values of h, on a function f whose derivative we know from
# school: `curved`. (Our loss is a parabola in w. For a parabola this quotient is exact with any h, so it would show
# nothing.)


# %% mystnb={"image": {"alt": "The error of the difference quotient against the step h: it falls until h is about 1e-5, then rises again."}}
def curved(w):
    return np.exp(np.sin(3 * w))


def curved_slope(w):
    """The derivative of `curved`, by the chain rule."""
    return 3 * np.cos(3 * w) * np.exp(np.sin(3 * w))


steps = 10.0 ** -np.arange(1, 15)
exact = curved_slope(w)
quotients = (curved(w + steps) - curved(w - steps)) / (2 * steps)
quotient_errors = np.abs(quotients - exact)

plt.figure(figsize=(8, 4))
plt.loglog(steps, quotient_errors, "o-")
plt.gca().invert_xaxis()
plt.xlabel("step h (smaller to the right)")
plt.ylabel("error of the derivative")
plt.title("The step can be too large, and too small")
plt.show()

# %% [markdown]
# On the left, h is too large. The function is curved between w - h and w + h, and the error is about h².
#
# On the right, h is too small. A computer keeps about 16 digits of a number. f(w + h) and f(w - h) agree in nearly
# all of them. Their difference is then mostly *rounding error*, and the quotient is wrong by about 1e-16 / h.
#
# The best h lies between, near 1e-5. There the quotient is right to about nine digits.
# (Single points may lie lower, when two rounding errors happen to cancel.)
#
# ## The same on the real thing
#
# A *layer* is many neurons side by side. A *network* is several layers, one after the other. Chapter 2 shows how they
# work. Here we only check minidqn's own network. All its weights and biases, its *parameters*, are in one
# vector, `network.params`. `network.backward` computes the derivative of the loss for each of them, and puts it into
# `network.grads`. We give the network `np.float64`, numbers of 16 digits. Without it, minidqn takes numbers of 7 digits,
# which are faster, but too coarse for this check.

# %%
from minidqn.nn.layers import Linear
from minidqn.nn.network import Network

rng = np.random.default_rng(0)
network = Network([Linear(3, 8, relu=True), Linear(8, 1)], np.float64)
network.initialize(rng)  # with random numbers
inputs, targets = rng.normal(size=(5, 3)), rng.normal(size=(5, 1))  # five examples


def network_loss():
    """Half the sum of the squared errors."""
    return 0.5 * np.sum((network.forward(inputs) - targets) ** 2)


d_outputs = network.forward(inputs) - targets  # dL/dy of each example
network.backward(d_outputs)

# %% [markdown]
# Now we measure each derivative: move one parameter to both sides, and put it back.

# %%
measured = np.zeros(network.params.size)
for i in range(network.params.size):
    before = network.params[i]
    network.params[i] = before + h
    above = network_loss()
    network.params[i] = before - h
    below = network_loss()
    network.params[i] = before
    measured[i] = (above - below) / (2 * h)

network_error = np.abs(network.grads - measured).max()
print(f"{measured.size} derivatives; they agree within 1e-6: {network_error < 1e-6}")

# %% [markdown]
# The measured derivatives need two forward passes for each parameter. A network may have a million parameters. That is
# why it learns from the chain rule. But the quotient is a good *test* of the chain rule, because it knows nothing
# about it.
#
# ## A sharper test: the complex step
#
# (You can leave this section out. The next chapters do not need it.)
#
# The quotient is right to about nine digits. There is a way to get nearly all 16. It needs *complex numbers*.
# A complex number has two parts, u + v i. One calculates with it as usual, with one new rule: i² = -1. The number v
# is its *imaginary part*.
#
# Take f(w) = w², and go a step of h *i* instead of h:
#
# (w + h i)² = w² + 2 w h i + h² i² = (w² - h²) + 2 w h i
#
# The imaginary part is 2 w h. Divide it by h, and you have 2 w: the derivative. Other functions do the same, with an
# error of about h². But here no two numbers are subtracted that are nearly the same. So there is no rounding error
# that grows, and h may be as small as 1e-100. In Python, `1j` is the number i.


# %% mystnb={"image": {"alt": "The error of two derivatives against the step h: that of the difference quotient falls and rises again; that of the complex step falls and stays low."}}
complex_slopes = np.imag(curved(w + 1j * steps)) / steps
complex_errors = np.abs(complex_slopes - exact)

plt.figure(figsize=(8, 4))
plt.loglog(steps, quotient_errors, "o-", label="difference quotient")
# an error of exactly 0 has no place on this axis: it is drawn at 1e-17
plt.loglog(steps, np.maximum(complex_errors, 1e-17), "s--", label="complex step")
plt.gca().invert_xaxis()
plt.xlabel("step h (smaller to the right)")
plt.ylabel("error of the derivative")
plt.title("The complex step cannot be too small")
plt.legend(frameon=False)
plt.show()

# %% [markdown]
# minidqn's tests use both ways, on all of its layers: see `tests/test_network.py`.
#
# ## Exercises
#
# Write your answer, run its cell, and then run the cell below it. That cell says "Right!", or gives a hint. Its code is
# folded, because it contains the answer.
#
# **1.** The neuron also has a bias. Write dL/db.


# %%
def my_dL_db(w, b, x, target):
    return 0.0  # your answer


# %% tags=["checker"]
@exercise
def check_1(answer):
    above = -0.7  # dl_dy in the cells above
    for w, b, x in ((0.8, 0.1, 1.5), (-1.0, 0.2, 2.0), (0.5, 1.0, -1.0)):
        z = w * x + b
        expected = max(z, 0.0) - 2.0 if z > 0 else 0.0
        mistakes = {
            "use the arguments w, b, x and target, not names of the cells above.": above,
            "the ReLU is missing: y is max(z, 0), not z.": z - 2.0,
            "where z is below 0, a small change of b does not change y.": max(z, 0.0)
            - 2.0,
            "the sign is wrong: L has y - target, not target - y.": -expected,
            "that is dL/dw. How much does z change if b does?": expected * x,
        }
        otherwise = f"at w = {w}, b = {b}, x = {x}, target = 2 it is {expected:.3f}."
        hint = hint_for(answer(w, b, x, 2.0), expected, mistakes, otherwise)
        if hint:
            return hint
    return None


check_1(my_dL_db)


# %% tags=["solution"]
def solution_1(w, b, x, target):
    z = w * x + b
    return (max(z, 0) - target) * (z > 0)


# %% [markdown]
# **2.** A *one-sided* quotient is (L(w + h) - L(w)) / h. Its error is about h, not h². Rounding adds about
# 1e-16 / h, as before. Which power of ten is about the best h?

# %%
my_best_h = 1.0  # your answer


# %% tags=["checker"]
@exercise
def check_2(answer):
    if answer is None or not np.isreal(answer) or not answer > 0:
        return "h is a number above 0, such as 1e-3."
    if 0.9e-5 < answer < 1.1e-5:
        return "that is the best h of the two-sided quotient, whose error is h²."
    if answer > 1.1e-7:
        return "this h is too large: the error h is larger than 1e-16 / h."
    if answer < 0.9e-9:
        return "this h is too small: the rounding error 1e-16 / h is larger than h."
    return None


check_2(my_best_h)

# %% tags=["solution"]
solution_2 = 1e-8
