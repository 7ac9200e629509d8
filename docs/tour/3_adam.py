# %% [markdown]
# # 3. Adam
#
# The gradient says which way is downhill, not how far to go. Plain descent takes the same rate for all
# parameters; *Adam* gives each one a step of its own. What for?

# %%
import numpy as np
from matplotlib import pyplot as plt
from tour import right, source

from minidqn.nn.adam import Adam, adam_step

# %% [markdown]
# ## A long valley
#
# L = (x² + 50 y²) / 2 is steep along y and flat along x, as losses are for a network whose inputs have
# different sizes. A rate that is small enough for y is far too small for x.


# %% mystnb={"image": {"alt": "Three ways through a narrow valley: slow descent crawls, fast descent jumps from wall to wall, Adam goes past the minimum and comes back. Beside it, the distance from the minimum."}}
def gradient(p):
    return np.array([p[0], 50.0 * p[1]])


def descend(updates, rate):
    path = [np.array([-4.0, 1.0])]
    for _ in range(updates):
        path.append(path[-1] - rate * gradient(path[-1]))
    return np.array(path)


def adam(updates, rate):
    params = np.array([-4.0, 1.0])
    optimizer, path = Adam(params), [params.copy()]
    for _ in range(updates):
        optimizer.step(gradient(params), rate)
        path.append(params.copy())
    return np.array(path)


paths = {
    "descent, rate 0.01": descend(60, 0.01),
    "descent, rate 0.039": descend(60, 0.039),
}
paths["Adam, rate 0.15"] = adam(60, 0.15)
figure, (valley, distance) = plt.subplots(1, 2, figsize=(11, 4), width_ratios=(2, 1))
u, v = np.meshgrid(np.linspace(-4.5, 1.5, 200), np.linspace(-1.2, 1.2, 100))
valley.contour(u, v, 0.5 * (u**2 + 50 * v**2), 12, colors="grey", linewidths=0.6)
for (name, path), style in zip(paths.items(), (":", "--", "-"), strict=True):
    valley.plot(*path.T, style, marker=".", ms=4, label=name)
    distance.semilogy(np.linalg.norm(path, axis=1), style, label=name)
valley.set(xlabel="x", ylabel="y", title="60 updates from the left")
distance.set(xlabel="updates", ylabel="distance from the minimum")
valley.legend(frameon=False, loc="lower right")
plt.show()

# %% [markdown]
# At 0.01, descent crawls along the floor of the valley; at 0.039 it jumps from wall to wall; beyond 0.04 it
# would be thrown out. Adam divides each gradient by its own usual size, so both directions are equally long to
# it: v is a running mean of the squared gradient, and √v that size. m is a running mean of the gradient. What
# zigzags cancels out in it; but it also carries Adam past the minimum here, before it comes back.

# %%
source(adam_step)

# %% [markdown]
# ## The first ten steps
#
# m and v are running means that start at 0, so at first they are too small: m is a tenth of the gradient, v
# a thousandth of its square. Without a correction the first step would be 0.1 / √0.001 = 3.2 times too long,
# and the tenth 6.5 times.


# %% mystnb={"image": {"alt": "The length of the first ten steps: 1 each with the correction, 3 and growing to 6.5 without."}}
def first_steps(correct, gradient=1.0, rate=1.0, updates=10, b1=0.9, b2=0.999):
    """How far each of the first updates goes, for a gradient that stays the same."""
    m = v = 0.0
    steps = []
    for t in range(1, updates + 1):
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
        m_hat, v_hat = (m / (1 - b1**t), v / (1 - b2**t)) if correct else (m, v)
        steps.append(rate * m_hat / (np.sqrt(v_hat) + 1e-8))
    return steps


params = np.zeros(1)
optimizer, real = Adam(params), []
for _ in range(10):
    before = params.copy()
    optimizer.step(np.ones(1), 1.0)
    real.append(float((before - params)[0]))
assert np.allclose(real, first_steps(correct=True))  # the real module does the same

plt.figure(figsize=(7, 3.5))
plt.plot(
    range(1, 11), first_steps(correct=True), "o-", label="corrected, as minidqn does"
)
plt.plot(range(1, 11), first_steps(correct=False), "s--", label="without correction")
plt.xlabel("update")
plt.ylabel("length of the step, in learning rates")
plt.ylim(0, None)
plt.legend(frameon=False)
plt.show()

# %% [markdown]
# In the beginning m and v know only a few batches, so long steps follow the noise of these. That is why the
# correction must not be forgotten.
#
# ## Exercises
#
# **1.** A parameter's gradient is 1,000 in every update. The learning rate is 0.001. How far does Adam go in
# the first update? (Neglect eps.)

# %%
my_length = 0.0  # your answer


# %% tags=["checker"]
def check_1(answer):
    expected = first_steps(correct=True, gradient=1000.0, rate=0.001, updates=1)[0]
    return right(
        bool(np.isclose(answer, expected)), "the gradient is divided by its own size"
    )


check_1(my_length)

# %% tags=["solution"]
solution_1 = 0.001

# %% [markdown]
# **2.** Write one update of plain descent with *momentum*: the velocity is 0.9 of the old one, minus the rate
# times the gradient; then the parameters move by the velocity. Return both.


# %%
def my_momentum(params, velocity, gradient, rate):
    return params, velocity  # your answer


# %% tags=["checker"]
def check_2(answer):
    p, v, g = np.array([1.0, 2.0]), np.array([0.5, -1.0]), np.array([10.0, -20.0])
    expected_v = 0.9 * v - 0.1 * g
    new_p, new_v = answer(p.copy(), v.copy(), g, 0.1)
    if not np.allclose(new_v, expected_v):
        return right(False, f"the velocity should be {expected_v}")
    return right(
        bool(np.allclose(new_p, p + expected_v)),
        "the parameters move by the new velocity",
    )


check_2(my_momentum)


# %% tags=["solution"]
def solution_2(params, velocity, gradient, rate):
    velocity = 0.9 * velocity - rate * gradient
    return params + velocity, velocity
