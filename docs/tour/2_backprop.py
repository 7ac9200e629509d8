# %% [markdown]
# # 2. Backprop through two layers
#
# One neuron has two derivatives. A network has thousands. *Backpropagation*, or *backprop*, computes all of them in
# one pass back through the network. This takes about twice as long as the pass forward. How does it work?

# %%
import numpy as np
from matplotlib import pyplot as plt
from tour import exercise, hint_for, is_close, source

# %% [markdown]
# ## A layer, forward and backward
#
# A linear layer is many neurons at once. Instead of one input it takes a *batch* of B examples, each with I numbers.
# It gives O outputs for each example:
#
# z = x W + b, and then, with a ReLU, y = max(z, 0)
#
# x is (B, I): B rows and I columns. The weights W are (I, O). The biases b are (O,). So z and y are (B, O).
# (Chapter 1 wrote w x. With matrices the order counts: each row of x is an example, so x comes first.)
#
# `backward` is given dy. We write dy for the derivative of the loss with respect to each number in y. So dy has the
# shape of y. In the same way dz, dW, db and dx have the shapes of z, W, b and x. `backward` keeps dW and db, and
# returns dx.


# %%
class PlainLayer:
    def __init__(self, n_in, n_out, rng, relu):
        self.W = rng.normal(size=(n_in, n_out)) * np.sqrt(2.0 / n_in)
        self.b = rng.uniform(-1.0, 1.0, size=n_out) / np.sqrt(n_in)
        self.relu = relu

    def forward(self, x):
        self.x = x  # backward needs it
        self.z = x @ self.W + self.b  # (B, O)
        return np.maximum(self.z, 0.0) if self.relu else self.z

    def backward(self, dy):
        dz = np.where(self.z > 0.0, dy, 0.0) if self.relu else dy  # (B, O)
        self.dW = self.x.T @ dz  # (I, O)
        self.db = dz.sum(axis=0)  # (O,)
        return dz @ self.W.T  # dx, (B, I)


# %% [markdown]
# Read `backward` line by line.
#
# - **dz**: where z > 0, the ReLU passes dy on. Elsewhere y is 0 and does not change, so dz is 0.
# - **dW**: W is (I, O), so dW is (I, O) too. x is (B, I) and dz is (B, O). Only the product xᵀ dz has the right
#   shape. This product contains a sum over the batch. All B examples use the same W, so the chain rule adds up
#   what W does to each of them.
# - **db**: b is added in each row, so db is the sum over the rows of dz.
# - **dx**: it must be (B, I). Only dz Wᵀ has this shape.
#
# Why does the layer return dx? Because its x is the y of the layer below. So dx is the dy of the layer
# below. A network goes back through its layers, from the last to the first:


# %%
def forward(layers, x):
    for layer in layers:
        x = layer.forward(x)
    return x


def backward(layers, dy):
    for layer in reversed(layers):
        dy = layer.backward(dy)


# %% [markdown]
# That is all of backprop.
#
# ## Fit a curve
#
# Let a network with two layers learn a curve. The hidden layer has 32 outputs, the *hidden units*. After each pass
# back, each parameter moves against its derivative: params -= rate · grads. This is *gradient descent*.

# %% mystnb={"image": {"alt": "Left: the network's curve after 0, 30, 300 and 3,000 updates comes closer to the target. Right: the loss falls."}}
x = np.linspace(-1, 1, 64)[:, None]  # (64, 1): a batch of 64 examples
target = np.sin(4 * x) * (1 - x)


def two_layers(seed, kind=PlainLayer):
    rng = np.random.default_rng(seed)
    hidden = kind(1, 32, rng, relu=True)
    output = PlainLayer(32, 1, rng, relu=False)
    return [hidden, output]


def fit(layers, updates=3_000, rate=0.1):
    """The network's curves at some moments of its training, and all its losses."""
    curves, losses = {}, []
    for update in range(updates + 1):
        y = forward(layers, x)
        losses.append(0.5 * np.mean((y - target) ** 2))
        if update in (0, 30, 300, updates):
            curves[update] = y
        dy = (y - target) / len(x)  # the loss is a mean: each example counts 1 / B
        backward(layers, dy)
        for layer in layers:
            layer.W -= rate * layer.dW
            layer.b -= rate * layer.db
    return curves, losses


curves, losses = fit(two_layers(seed=1))
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
left.plot(x, target, color="black", lw=4, alpha=0.3, label="target")
for (update, y), style in zip(curves.items(), (":", "-.", "--", "-"), strict=True):
    left.plot(x, y, style, label=f"after {update:,} updates")
left.set(xlabel="x", ylabel="y", title="The curve comes closer to the target")
left.legend(frameon=False)
right.loglog(range(1, len(losses) + 1), losses)
right.set(xlabel="updates", ylabel="loss", title="The loss falls")
plt.show()

# %% [markdown]
# The network's curve is made of straight pieces. Each hidden unit can bend it once: where its z crosses 0.
#
# ## The check that catches a bug
#
# Suppose that we forget one thing: the gradient of the bias ignores the ReLU. Nothing crashes, and the network still
# learns. It only learns worse. So the loss of one run would not tell us. Here are eight runs of each.


# %%
class Forgetful(PlainLayer):
    def backward(self, dy):
        dx = super().backward(dy)
        self.db = dy.sum(axis=0)  # wrong: it should be the sum of dz
        return dx


last_losses = {}
for kind in (PlainLayer, Forgetful):
    last_losses[kind] = [fit(two_layers(seed, kind))[1][-1] for seed in range(8)]
    mean = np.mean(last_losses[kind])
    print(f"{kind.__name__}: the last loss is {mean:.5f}, the mean of 8 seeds")

# %% [markdown]
# A *gradient check* finds the bug at once. It is the difference quotient of chapter 1, for each parameter. Here
# the loss is half the sum of the squared errors, so dy = y - target.


# %%
def check_gradients(layers, h=1e-5):
    """The largest error of a gradient, as a part of the largest gradient."""

    def loss():
        return 0.5 * np.sum((forward(layers, x) - target) ** 2)

    backward(layers, forward(layers, x) - target)
    errors, sizes = [], []
    for layer in layers:
        if not isinstance(layer, PlainLayer):
            continue  # it has no parameters
        for params, grads in ((layer.W, layer.dW), (layer.b, layer.db)):
            for i in np.ndindex(params.shape):
                before = params[i]
                params[i] = before + h
                above = loss()
                params[i] = before - h
                below = loss()
                params[i] = before
                measured = (above - below) / (2 * h)
                errors.append(abs(grads[i] - measured))
                sizes.append(abs(measured))
    return max(errors) / max(sizes)


for kind in (PlainLayer, Forgetful):
    error = check_gradients(two_layers(3, kind))
    verdict = "right" if error < 1e-6 else "WRONG"
    print(f"{kind.__name__}: {verdict}")

# %% [markdown]
# A right gradient agrees to many digits. A wrong one is wrong in its first digits. So a gradient check gives a clear
# answer, where a learning curve does not.
#
# ## The same, general and fast
#
# minidqn's own layer does the same steps. Three things are different:
#
# - It makes no new arrays. `new_cache` makes them once, and each pass writes into them. The *cache* keeps what
#   `backward` needs: here x and y.
# - The bias and the ReLU are one loop, in a function of their own. NumPy would make several passes over the
#   array. Python would be slow at such a loop. So Numba *compiles* the function: it translates the function into
#   machine code when it is first called. (People also say that it is *jitted*; JIT means just in time.) The decorator
#   `@kernel` asks for that.
# - W, b, dW and db are parts of two long vectors, `params` and `grads`. Then the whole network is changed in one line.
#
# (`z.real` and `y.real` are there only for the complex step at the end of chapter 1. For all other numbers, `z.real` is
# simply z.)

# %%
from minidqn.nn.layers import Linear, add_bias, add_bias_backward
from minidqn.nn.network import Network

# %%
source(add_bias)

# %%
source(Linear.forward)

# %%
source(add_bias_backward)

# %%
source(Linear.backward)

# %% [markdown]
# The lowest layer does not need dx, because there is no layer below. `need_dx` says so. The rest is our loop over the
# layers, from the last to the first:

# %%
source(Network.backward)

# %% [markdown]
# Do the two give the same gradients? We copy the parameters of the plain network and compare.

# %%
plain = two_layers(seed=0)
network = Network([Linear(1, 32, relu=True), Linear(32, 1)], np.float64)
for layer, plain_layer in zip(network.layers, plain, strict=True):
    layer.W[:] = plain_layer.W
    layer.b[:] = plain_layer.b

backward(plain, forward(plain, x) - target)
network.backward(network.forward(x) - target)
for layer, plain_layer in zip(network.layers, plain, strict=True):
    assert np.allclose(layer.dW, plain_layer.dW)
    assert np.allclose(layer.db, plain_layer.db)
print("the same gradients")

# %% [markdown]
# minidqn's tests check random stacks of all its layers.
#
# ## Exercises
#
# **1.** Write a layer of your own: y = tanh(x). It has no parameters. (The derivative of tanh is 1 - y².)


# %%
class MyTanh:
    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, dy):
        return dy  # your answer


# %% tags=["checker"]
@exercise
def check_1(answer):
    numbers = np.array([[-2.0, 0.5, 1.0]])
    layer = answer()
    y = np.tanh(numbers)
    if not is_close(layer.forward(numbers), y):
        return "`forward` no longer gives tanh(x)."

    dy = np.array([[1.0, 3.0, -2.0]])
    mistakes = {
        "dx is not dy: tanh changes how much x matters.": dy,
        "that is dy/dx alone. The chain rule multiplies it by dy.": 1 - y**2,
        "the derivative is 1 - y², not 1 - x². Keep y in `forward`.": dy
        * (1 - numbers**2),
        "the derivative is 1 - y². Is the square missing?": dy * (1 - y),
    }
    otherwise = "dx is dy times dy/dx, number by number."
    hint = hint_for(layer.backward(dy.copy()), dy * (1 - y**2), mistakes, otherwise)
    if hint:
        return hint

    rng = np.random.default_rng(0)
    below = PlainLayer(1, 4, rng, relu=False)
    above = PlainLayer(4, 1, rng, relu=False)
    if check_gradients([below, answer(), above]) > 1e-6:
        return "between two other layers, the gradient is wrong."
    return None


check_1(MyTanh)


# %% tags=["solution"]
class Solution1:
    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, dy):
        return dy * (1 - self.y**2)


# %% [markdown]
# **2.** Here are three ways to write `backward` of y = x W, without a bias. Each returns dW and dx. Which one is right?
# Try to find out from the shapes alone. One of them divides where it must not.

# %%
candidates = {
    "A": lambda x, W, dy: (x.T @ dy, dy @ W),
    "B": lambda x, W, dy: (x.T @ dy, dy @ W.T),
    "C": lambda x, W, dy: (x.T @ dy / len(x), dy @ W.T),
}
my_choice = ""  # your answer


# %% tags=["checker"]
@exercise
def check_2(answer):
    hints = {
        "A": "dy is (B, O) and W is (I, O). These two cannot be multiplied.",
        "B": None,
        "C": "if the loss is a mean, the division by B is already in dy.",
    }
    letter = str(answer).strip().upper()
    return hints.get(letter, 'the answer is "A", "B" or "C".')


check_2(my_choice)

# %% tags=["solution"]
solution_2 = "B"
