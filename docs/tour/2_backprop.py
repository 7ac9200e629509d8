# %% [markdown]
# # 2. Backprop through two layers
#
# A neuron has two derivatives; a network has thousands. *Backpropagation* gets them all in one walk
# back through the network, which takes about twice as long as the walk forward. How?

# %%
import numpy as np
from matplotlib import pyplot as plt
from tour import derivative, right, source

from minidqn.nn.layers import Layer, Linear
from minidqn.nn.network import Network

# %% [markdown]
# ## A layer, forward and backward
#
# A linear layer is many neurons at once: z = x W + b, for a batch of B examples with I inputs and O outputs.
# Whoever asks for gradients hands it dy, the derivative of the loss with respect to each number in y, and gets
# dx. On the way the layer notes dW and db. Here is minidqn's:

# %%
source(Linear)

# %% [markdown]
# The ReLU turns dy into dz. Then come two products, and each has a shape that leaves no choice.
# W is (I, O), so dW is (I, O) too; of x, (B, I), and dz, (B, O), only xᵀ dz has that shape. The sum over the
# batch is inside the product: all B rows used the same W, and the chain rule adds up all ways from W to the
# loss. Likewise dx is (B, I), and only dz Wᵀ has that shape.
#
# This dx is the dy of the layer below, whose output x is. So a network walks back through its layers, from the
# last to the first:

# %%
source(Network.backward)

# %% [markdown]
# What forward computed is needed again on the way back: x for dW, y to know where the ReLU was on. It
# waits in the *cache*, which each layer makes with `new_cache`.
#
# ## Fit a curve
#
# A network with one hidden layer of 32 units, plain gradient descent: params -= 0.1 · grads.

# %% mystnb={"image": {"alt": "Left: the network's curve after 0, 30, 300 and 3000 updates comes closer to the target. Right: the loss falls."}}
rng = np.random.default_rng(0)
x = np.linspace(-1, 1, 64)[:, None]
target = np.sin(4 * x) * (1 - x)


def fit(layers, updates, rate=0.1):
    """The curves of a network, at some moments of its training, and its loss at each update."""
    network = Network(layers, np.float64)
    network.initialize(np.random.default_rng(1))
    curves, losses = {}, []
    for update in range(updates + 1):
        y = network.forward(x)
        if update in (0, 30, 300, updates):
            curves[update] = y.copy()
        losses.append(0.5 * np.mean((y - target) ** 2))
        network.backward((y - target) / len(x))
        network.params -= rate * network.grads
    return curves, losses


curves, losses = fit([Linear(1, 32, relu=True), Linear(32, 1)], 3000)
figure, (left, middle) = plt.subplots(1, 2, figsize=(10, 4))
left.plot(x, target, color="black", lw=4, alpha=0.3, label="target")
for (update, y), style in zip(curves.items(), (":", "-.", "--", "-"), strict=True):
    left.plot(x, y, style, label=f"after {update} updates")
left.set(xlabel="x", ylabel="y", title="A bent line for each hidden unit")
left.legend(frameon=False)
middle.loglog(range(1, len(losses) + 1), losses)
middle.set(xlabel="updates", ylabel="loss", title="Downhill")
plt.show()

# %% [markdown]
# ## The check that catches a bug
#
# One forgotten thing, and the network still learns, only worse. Here, the gradient of the bias forgets
# that the ReLU is off for some inputs. Nothing crashes, and the loss falls.


# %%
class Forgetful(Linear):
    def backward(self, dy, cache, need_dx=True):
        db = dy.sum(axis=0)  # before the ReLU's own derivative
        dx = super().backward(dy, cache, need_dx)
        self.db[:] = db
        return dx


def check_gradients(layers_of):
    """The largest relative error of the gradients of a network with these layers."""
    network, exact = (
        Network(layers_of(), np.float64),
        Network(layers_of(), np.complex128),
    )
    network.initialize(np.random.default_rng(3))
    network.backward(network.forward(x) - target)

    def loss(params):
        exact.params[:] = params
        return 0.5 * ((exact.forward(x) - target) ** 2).sum()

    slopes = derivative(loss, network.params)
    return np.abs(network.grads - slopes).max() / np.abs(slopes).max()


_, with_bug = fit([Forgetful(1, 32, relu=True), Linear(32, 1)], 3000)
print(f"loss after 3,000 updates: {losses[-1]:.5f}; with the bug {with_bug[-1]:.5f}")
for kind in (Linear, Forgetful):
    error = check_gradients(lambda kind=kind: [kind(1, 32, relu=True), Linear(32, 1)])
    print(f"{kind.__name__}: the largest error of a gradient is {error:.1e}")

# %% [markdown]
# A right gradient agrees to 15 digits, a wrong one, as here, to none. So a gradient
# check needs no judgement. minidqn's tests check random stacks of all of its layers.
#
# ## Exercises
#
# **1.** Write a layer of your own: y = tanh(x). (Its derivative is 1 - y².)


# %%
class MyTanh(Layer):
    def new_cache(self, batch_size, dtype):
        return {}

    def forward(self, x, cache, rng=None):
        cache["y"] = np.tanh(x)
        return cache["y"]

    def backward(self, dy, cache, need_dx=True):
        return dy  # your answer


# %% tags=["checker"]
def check_1(answer):
    layer = answer()
    y = layer.forward(x, layer.new_cache(len(x), x.dtype))
    if not np.allclose(y, np.tanh(x)):
        return right(False, "forward is no longer tanh")
    error = check_gradients(lambda: [Linear(1, 4), answer(), Linear(4, 1)])
    return right(
        error < 1e-9, f"the gradient is wrong by {error:.0%}; dx is dy times dy/dx"
    )


check_1(MyTanh)


# %% tags=["solution"]
class Solution1(Layer):
    def new_cache(self, batch_size, dtype):
        return {}

    def forward(self, x, cache, rng=None):
        cache["y"] = np.tanh(x)
        return cache["y"]

    def backward(self, dy, cache, need_dx=True):
        return dy * (1 - cache["y"] ** 2)


# %% [markdown]
# **2.** One of these three is a right backward of y = x W (without bias). Which? Find out without trying:
# the shapes decide, and one of them divides where it must not.

# %%
candidates = {
    "A": lambda x, W, dy: (x.T @ dy, dy @ W),
    "B": lambda x, W, dy: (x.T @ dy, dy @ W.T),
    "C": lambda x, W, dy: (x.T @ dy / len(x), dy @ W.T),
}
my_choice = ""  # your answer


# %% tags=["checker"]
def check_2(answer):
    return right(
        answer == "B",
        "dx is (B, I); and if the loss is a mean, its 1/B is in dy already",
    )


check_2(my_choice)

# %% tags=["solution"]
solution_2 = "B"
