# %% [markdown]
# # 3. Adam
#
# The gradient says which way is downhill. It does not say how far to go. Plain gradient descent multiplies the
# gradient by one number, the *learning rate*, the same for all parameters. *Adam* gives each parameter a step of its
# own. Why is that better?

# %%
import numpy as np
from matplotlib import pyplot as plt
from tour import exercise, hint_for, source

from minidqn.nn.adam import Adam, adam_step

# %% [markdown]
# ## A long valley
#
# L = (x² + 50 y²) / 2 is a loss with two parameters, x and y. It is steep along y and flat along x. The losses of
# networks are often like this, for example if the inputs have very different sizes. A learning rate that is
# small enough for y is then far too small for x.


# %% mystnb={"image": {"alt": "Three paths through a narrow valley: slow descent moves little, fast descent jumps from side to side, Adam goes past the minimum and comes back. Beside it, the distance from the minimum."}}
def gradient(point):
    x, y = point
    return np.array([x, 50.0 * y])


def descend(updates, rate):
    """The points of plain gradient descent, from (-4, 1) on."""
    point = np.array([-4.0, 1.0])
    path = [point]
    for _ in range(updates):
        point = point - rate * gradient(point)
        path.append(point)
    return np.array(path)


def adam(updates, rate):
    """The points of minidqn's Adam, from (-4, 1) on."""
    point = np.array([-4.0, 1.0])
    optimizer = Adam(point)
    path = [point.copy()]
    for _ in range(updates):
        optimizer.step(gradient(point), rate)  # changes point
        path.append(point.copy())
    return np.array(path)


paths = {
    "descent, rate 0.01": descend(60, 0.01),
    "descent, rate 0.039": descend(60, 0.039),
    "Adam, rate 0.15": adam(60, 0.15),
}
figure, (valley, distance) = plt.subplots(1, 2, figsize=(11, 4), width_ratios=(2, 1))
u, v = np.meshgrid(np.linspace(-4.5, 1.5, 200), np.linspace(-1.2, 1.2, 100))
valley.contour(u, v, 0.5 * (u**2 + 50 * v**2), 12, colors="0.8", linewidths=0.6)
for (name, path), style in zip(paths.items(), (":", "--", "-"), strict=True):
    valley.plot(*path.T, style, marker=".", ms=4, label=name)
    distance.semilogy(np.linalg.norm(path, axis=1), style, label=name)
valley.plot(0, 0, "*", color="black", ms=12, label="minimum")
valley.set(xlabel="x", ylabel="y", title="60 updates from the upper left")
distance.set(xlabel="updates", ylabel="distance from the minimum")
valley.legend(loc="lower right")
plt.show()

# %% [markdown]
# With the rate 0.01, descent soon reaches the bottom line of the valley, y = 0. Then it moves along it only slowly.
# With 0.039 it jumps from one side of the valley to the other. Above 0.04 each jump would be longer than the last.
#
# Adam keeps two running means for each parameter. A *running mean* is a mean in which older values count less and
# less.
#
# - m is the running mean of the gradient. Along y the gradient changes its sign again and again, and these signs
#   cancel out in m.
# - v is the running mean of the squared gradient. So √v says how large the gradient usually is.
#
# The step is rate · m / √v. Dividing by √v makes the steps along x and y similar in length, however steep the loss is.
# The price of m: here it carries Adam past the minimum before Adam comes back.
#
# This is minidqn's Adam. It has two details more: the corrections, which come next, and `eps`, a tiny number that
# keeps the division from being one by 0.

# %%
source(adam_step)

# %% [markdown]
# ## The first ten steps
#
# m and v start at 0, so at first they are too small. After the first update, m is a tenth of the gradient, and v is
# a thousandth of its square. Without a correction, the first step would be 0.1 / √0.001 = 3.2 times too long, and the
# tenth 6.5 times.


# %% mystnb={"image": {"alt": "The length of the first ten steps: 1 each with the correction; without it 3, growing to 6.5."}}
def first_steps(correct, gradient=1.0, rate=1.0, updates=10, b1=0.9, b2=0.999):
    """How far each of the first updates goes if the gradient stays the same."""
    m, v = 0.0, 0.0
    steps = []
    for t in range(1, updates + 1):
        m = b1 * m + (1 - b1) * gradient
        v = b2 * v + (1 - b2) * gradient**2
        m_hat, v_hat = m, v
        if correct:
            m_hat = m / (1 - b1**t)
            v_hat = v / (1 - b2**t)
        steps.append(rate * m_hat / (np.sqrt(v_hat) + 1e-8))
    return steps


plt.figure(figsize=(7, 3.5))
plt.plot(range(1, 11), first_steps(correct=True), "o-", label="with the correction")
plt.plot(range(1, 11), first_steps(correct=False), "s--", label="without it")
plt.xlabel("update")
plt.ylabel("length of the step, in learning rates")
plt.ylim(0, None)
plt.xticks(range(1, 11))
plt.legend(frameon=False)
plt.show()

# %% [markdown]
# minidqn's Adam corrects: its first ten steps are those of the lower curve.

# %%
params = np.zeros(1)
optimizer = Adam(params)
lengths = []
for _ in range(10):
    before = params[0]
    optimizer.step(np.ones(1), 1.0)
    lengths.append(before - params[0])
assert np.allclose(lengths, first_steps(correct=True))

# %% [markdown]
# At the beginning, m and v come from a few batches only. Their gradients are noisy. Steps that are too long would
# follow this noise. So the correction matters.
#
# ## Exercises
#
# **1.** A parameter's gradient is 1,000 in every update. The learning rate is 0.001. How far does Adam go in the first
# update? (Ignore `eps`.)

# %%
my_length = 0.0  # your answer


# %% tags=["checker"]
@exercise
def check_1(answer):
    expected = first_steps(correct=True, gradient=1000.0, rate=0.001, updates=1)[0]
    mistakes = {
        "that is plain descent: rate · gradient. Adam divides by √v.": 1.0,
        "that is without the correction. What do m and v become with it?": 0.001
        * np.sqrt(10),
        "is v the mean of the squared gradient? And √v is then 1,000.": 1e-6,
        "Adam moves by the rate times m / √v. What is m / √v here?": 0.0,
    }
    otherwise = "the gradient, 1,000, is divided by its own size."
    return hint_for(answer, expected, mistakes, otherwise, tolerance=1e-8)


check_1(my_length)

# %% tags=["solution"]
solution_1 = 0.001

# %% [markdown]
# **2.** Write one update of gradient descent with *momentum*. The new velocity is 0.9 times the old velocity, minus
# the rate times the gradient. Then the parameters move by the new velocity. Return the new parameters and the new
# velocity.


# %%
def my_momentum(params, velocity, gradient, rate):
    return params, velocity  # your answer


# %% tags=["checker"]
@exercise
def check_2(answer):
    p, v, g = np.array([1.0, 2.0]), np.array([0.5, -1.0]), np.array([10.0, -20.0])
    expected_v = 0.9 * v - 0.1 * g
    found = answer(p.copy(), v.copy(), g, 0.1)
    mistakes = {
        "nothing has changed yet.": [p, v],
        "the parameters move by the new velocity, not by the old one.": [
            p + v,
            expected_v,
        ],
        "the sign is wrong: that goes uphill.": [
            p + 0.9 * v + 0.1 * g,
            0.9 * v + 0.1 * g,
        ],
        "that is plain descent. The old velocity counts 0.9 times.": [
            p - 0.1 * g,
            -0.1 * g,
        ],
        "the velocity is right. Now move the parameters by it: add it.": [
            p - expected_v,
            expected_v,
        ],
        "the velocity is right. Now the parameters move by it.": [p, expected_v],
        "return the parameters first, then the velocity.": [
            expected_v,
            p + expected_v,
        ],
    }
    otherwise = f"here the new velocity is {expected_v}."
    return hint_for(found, [p + expected_v, expected_v], mistakes, otherwise)


check_2(my_momentum)


# %% tags=["solution"]
def solution_2(params, velocity, gradient, rate):
    velocity = 0.9 * velocity - rate * gradient
    return params + velocity, velocity
