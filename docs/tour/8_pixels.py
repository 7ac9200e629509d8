# %% [markdown]
# # 8. Pixels
#
# In CartPole the agent was given angles and speeds. Now it only sees a picture. How can a network find out what
# matters in it?

# %%
import gymnasium as gym
import numpy as np
from matplotlib import pyplot as plt
from tour import exercise, hint_for, source

from minidqn import DQN, DQNConfig, LinearDecay, evaluate, train
from minidqn.parts.conv import Conv2d, Patches, add_lines

# %% [markdown]
# ## A small layer, everywhere
#
# What a few pixels show does not depend on where in the picture they are. So a *convolution* applies one small linear
# layer to every *patch* of k x k pixels. Two neighbouring patches are s pixels apart. s is the *stride*, here 1. The
# weights of one output are called a *filter*.
#
# We made the filter below by hand. It adds up the left column of the patch, and subtracts the right column.

# %% mystnb={"image": {"alt": "A white rectangle, and what the filter answers: dark along its left edge, bright along its right edge, grey elsewhere."}}
picture = np.zeros((10, 10), np.float32)
picture[2:8, 3:7] = 1.0

layer = Conv2d((1, 10, 10, 1), n_out=1, k=3, s=1)  # one frame, 10 x 10, one channel
params, grads = np.zeros(layer.size, np.float32), np.zeros(layer.size, np.float32)
layer.bind(params, grads)  # W and b are parts of params
layer.W[:, 0] = [1, 0, -1, 1, 0, -1, 1, 0, -1]  # three rows of the patch

one_picture = picture.reshape(1, 1, 10, 10, 1)  # a batch of one
cache = layer.new_cache(1, picture.dtype)
response = layer.forward(one_picture, cache).reshape(8, 8)

figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3))
left.imshow(picture, cmap="gray")
left.set(title="the picture", xticks=[], yticks=[])
image = right.imshow(response, cmap="gray")
right.set(title="what the filter answers", xticks=[], yticks=[])
figure.colorbar(image, ax=right)
plt.show()

# %% [markdown]
# The answer is not 0 where the picture changes from left to right. So this filter sees vertical edges. (There are 10 x
# 10 pixels, but only 8 x 8 patches: a patch must lie inside the picture.)
#
# A network finds its filters by itself, with the gradient. If each patch is one row of a matrix, a convolution is a
# linear layer on that matrix. So forward copies the patches into a matrix, and the rest is `Linear` from chapter 2. In
# the code, a *line* is one row of pixels of a patch, and `copy_lines` copies every line to its place in the matrix:

# %%
source(Patches.copy)

# %%
source(Conv2d.forward)

# %%
source(Conv2d.backward)

# %% [markdown]
# `patches.add` calls `add_lines`. This is the only new gradient. A pixel lies in several patches, and changes the loss
# through each of them. So the gradient of a pixel is a sum over its patches. `starts` says where in the picture each
# line of each patch begins.

# %%
source(add_lines)

# %% [markdown]
# To see it at work, let the gradient of every number in every patch be 1. Then the sum counts the patches in which a
# pixel lies:

# %% mystnb={"image": {"alt": "In how many patches each pixel lies: 9 inside, fewer towards the edges, 1 in the corners."}}
count = np.zeros((1, 10 * 10))  # the picture as one row
starts = layer.patches.starts
ones = np.ones((1, len(starts), 3))  # 3 numbers in each line
add_lines(ones, starts, count)
count = count.reshape(10, 10)
plt.figure(figsize=(4, 3.6))
plt.imshow(count, cmap="gray", vmin=0)
for row in range(10):
    for column in range(10):
        number = count[row, column]
        colour = "black" if number > 4 else "white"
        plt.text(column, row, f"{number:.0f}", ha="center", va="center", color=colour)
plt.title("3 x 3 patches with this pixel")
plt.xticks([])
plt.yticks([])
plt.show()

# %% [markdown]
# ## A game of pixels
#
# A ball falls, straight down or diagonally. It bounces off the side walls. The player, in the last row, moves left, moves
# right or stays. The reward is 1 if the player is where the ball comes down, else -1.


# %%
class Catch(gym.Env):
    observation_space = gym.spaces.Box(0, 1, (7, 7), np.bool_)
    action_space = gym.spaces.Discrete(3)  # left, stay, right

    def picture(self):
        pixels = np.zeros((7, 7), np.bool_)
        pixels[self.row, self.ball] = True
        pixels[6, self.player] = True
        return pixels

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.row = 0
        self.ball = int(self.np_random.integers(7))
        self.player = int(self.np_random.integers(7))
        self.slant = int(self.np_random.integers(-1, 2))  # -1, 0 or 1 to the right
        return self.picture(), {}

    def step(self, action):
        self.player = min(max(self.player + action - 1, 0), 6)
        if not 0 <= self.ball + self.slant <= 6:
            self.slant = -self.slant  # it bounces
        self.ball += self.slant
        self.row += 1
        terminated = self.row == 6
        reward = 0.0
        if terminated:
            reward = 1.0 if self.ball == self.player else -1.0
        return self.picture(), reward, terminated, False, {}


# %% [markdown]
# One picture does not show in which direction the ball is moving. Two pictures do. So `frame_stack=2` gives the network
# the last two pictures, called *frames*. Six seeds learn with one frame, six with two. (This takes about a minute.)

# %%
STEPS = 16_000
SEEDS = range(6)


def learn(frames, seed):
    config = DQNConfig(
        conv=((8, 3, 1),),  # 8 filters, 3 x 3, stride 1
        hidden=(64,),
        frame_stack=frames,
        n_step=3,
        tau=0.05,
        train_every=2,
        batch_size=32,
        learning_rate=LinearDecay(4e-3, 0.0, STEPS),
        epsilon=LinearDecay(1.0, 0.05, STEPS / 2),
        learning_starts=500,
    )
    agent = DQN(Catch.observation_space, Catch.action_space, config, seed)
    train(agent, Catch(), STEPS, progress=False)
    return agent


def percent_caught(agent):
    mean = evaluate(agent, Catch(), 200, progress=False).mean()  # from -1 to 1
    return 50 * (1 + mean)


agents, caught = {}, {}
for frames in (1, 2):
    agents[frames] = [learn(frames, seed) for seed in SEEDS]
    caught[frames] = [percent_caught(agent) for agent in agents[frames]]
    shares = ", ".join(f"{share:.0f} %" for share in caught[frames])
    name = "one frame" if frames == 1 else "two frames"
    print(f"{name}: the six seeds catch {shares}")

# %% [markdown]
# With two frames the agents catch clearly more.
#
# ## What the filters have learned
#
# Each column below is one filter of one agent. It has 3 x 3 weights for the frame before, and 3 x 3 for the newest frame.

# %% mystnb={"image": {"alt": "Eight filters, each with 3 x 3 weights for the frame before and 3 x 3 for the newest frame; the two differ."}}


def filters_of(agent):
    """The weights of the first layer: (frames, 3, 3, filters)."""
    return agent.online.layers[0].W.reshape(2, 3, 3, 8)


filters = filters_of(agents[2][0])
limit = np.abs(filters).max()
figure, panels = plt.subplots(2, 8, figsize=(9, 2.6))
for frame in range(2):
    for number in range(8):
        axes = panels[frame, number]
        weights = filters[frame, :, :, number]
        image = axes.imshow(weights, cmap="RdBu", vmin=-limit, vmax=limit)
        axes.set(xticks=[], yticks=[])
panels[0, 0].set_ylabel("before")
panels[1, 0].set_ylabel("newest")
figure.suptitle("the eight filters of seed 0")
figure.colorbar(image, ax=panels, label="weight")
plt.show()

# %% [markdown]
# The two halves of a filter differ. If a filter had the same weights for both frames, it could not tell which frame came
# first. So it could not tell where the ball is going. What a single filter is good for is hard to say. This is
# common. But the shares above show that the agents use the motion. (`plot_filters` in minidqn draws such a picture for
# any agent with pixels. It also shows where in the picture each filter answers.)
#
# ## Exercises
#
# **1.** In how many patches does a pixel lie? Patches are k x k, with stride 1, in a picture of size x size. Rows
# and columns are counted from 0.


# %%
def my_count(row, column, size, k):
    return k * k  # your answer


# %% tags=["checker"]
def patches_with(row, column, size, k):
    """Try every patch: (i, j) is its first row and column."""
    total = 0
    for i in range(size - k + 1):
        for j in range(size - k + 1):
            total += i <= row < i + k and j <= column < j + k
    return total


@exercise
def check_1(answer):
    for size, k in ((10, 3), (6, 4), (5, 1)):
        for row in range(size):
            for column in range(size):
                expected = patches_with(row, column, size, k)
                mistakes = {
                    "near an edge there are fewer: a patch must lie inside.": k * k,
                    "the lower and the right edge count, too.": min(row + 1, k)
                    * min(column + 1, k),
                    "that is the number of all patches.": (size - k + 1) ** 2,
                    "rows and columns differ: count along each, and multiply.": (
                        patches_with(row, row, size, k)
                    ),
                }
                otherwise = (
                    f"for row {row}, column {column}, size {size} and k = {k} "
                    f"it is {expected}."
                )
                found = answer(row, column, size, k)
                hint = hint_for(found, expected, mistakes, otherwise)
                if hint:
                    return hint
    return None


check_1(my_count)


# %% tags=["solution"]
def solution_1(row, column, size, k):
    def along(at):
        return min(at, size - k) - max(at - k + 1, 0) + 1

    return along(row) * along(column)


# %% [markdown]
# **2.** Write the convolution of one picture x, (H, W), with one filter, (k, k), and stride s. There is no bias and no
# ReLU. (In mathematics a convolution also turns the filter upside down. Here it does not.) Plain loops are fine.


# %%
def my_convolution(x, W, s):
    return x  # your answer


# %% tags=["checker"]
def convolved(x, W, s):
    k = len(W)
    rows = range(0, x.shape[0] - k + 1, s)
    columns = range(0, x.shape[1] - k + 1, s)
    return np.array(
        [[np.sum(x[i : i + k, j : j + k] * W) for j in columns] for i in rows]
    )


@exercise
def check_2(answer):
    x = np.random.default_rng(0).normal(size=(9, 7))
    W = np.random.default_rng(1).normal(size=(3, 3))
    for s in (1, 2):
        expected = convolved(x, W, s)
        found = answer(x, W, s)
        mistakes = {
            "that is the picture itself.": x,
            "the filter is upside down.": convolved(x, W[::-1, ::-1], s),
            "rows and columns of the filter are exchanged.": convolved(x, W.T, s),
            "the stride is missing: patches are s pixels apart.": convolved(x, W, 1),
            "rows and columns of the result are exchanged.": expected.T,
        }
        otherwise = f"with stride {s}, the first number is {expected[0, 0]:.4f}."
        hint = hint_for(found, expected, mistakes, otherwise)
        if hint:
            return hint
    return None


check_2(my_convolution)


# %% tags=["solution"]
def solution_2(x, W, s):
    k = len(W)
    height = (x.shape[0] - k) // s + 1
    width = (x.shape[1] - k) // s + 1
    y = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            patch = x[s * i : s * i + k, s * j : s * j + k]
            y[i, j] = np.sum(patch * W)
    return y
