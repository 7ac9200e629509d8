# %% [markdown]
# # 8. Pixels
#
# So far the agent was told angles and speeds. Now it only sees a picture. How does it find out what matters?

# %%
import gymnasium as gym
import numpy as np
from matplotlib import pyplot as plt
from tour import right, source

from minidqn import DQN, DQNConfig, LinearDecay, evaluate, plot_filters, train
from minidqn.parts.conv import Conv2d, Patches, add_lines

# %% [markdown]
# ## A small layer, everywhere
#
# What a few pixels show does not depend on where in the picture they are. So a *convolution* applies one small
# linear layer to every patch of k x k pixels, s pixels apart (the *stride*, here 1). The weights of one of its
# outputs are a *filter*. Here is one that we made by hand: it adds up the left column of the patch and subtracts the right one.

# %% mystnb={"image": {"alt": "A white rectangle, and what the filter answers: dark along its left edge, bright along its right edge, grey elsewhere."}}
picture = np.zeros(
    (1, 1, 10, 10, 1), np.float32
)  # one picture, one frame, 10 x 10, one channel
picture[0, 0, 2:8, 3:7] = 1.0
layer = Conv2d((1, 10, 10, 1), n_out=1, k=3, s=1)
layer.bind(np.zeros(layer.size, np.float32), np.zeros(layer.size, np.float32))
layer.W[:, 0] = [1, 0, -1] * 3
cache = layer.new_cache(1, picture.dtype)
response = layer.forward(picture, cache).reshape(8, 8)

figure, (left, right_hand) = plt.subplots(1, 2, figsize=(7, 3))
left.imshow(picture[0, 0, :, :, 0], cmap="gray")
left.set_title("the picture")
image = right_hand.imshow(response, cmap="gray")
right_hand.set_title("what the filter answers")
figure.colorbar(image, ax=right_hand)
plt.show()

# %% [markdown]
# It answers where the picture changes from left to right: it sees edges. A network finds its filters by itself,
# with the gradient. All patches share the filter, so its gradient is a sum over all of them; with the patches as
# the rows of a matrix it is that of a linear layer. This is all that forward and backward add to `Linear`;
# `copy_lines` copies every line of every patch from the picture into its place in the matrix:

# %%
source(Patches.copy)

# %%
source(Conv2d.forward)

# %%
source(Conv2d.backward)

# %% [markdown]
# `patches.add` calls `add_lines`, which is the new part. A pixel lies in several patches, and changes the loss through
# each of them. So its gradient is the sum over these patches. `starts` says where in the picture each line of each patch begins. If the
# gradient of every number in every patch is 1, we see in how many patches a pixel lies:

# %%
source(add_lines)

# %% mystnb={"image": {"alt": "In how many patches each pixel lies: 9 inside, fewer towards the edges, 1 in the corners."}}
count = np.zeros((1, 10 * 10))  # the picture as one row
starts = layer.patches.starts
add_lines(np.ones((1, len(starts), 3)), starts, count)
count = count.reshape(10, 10)
plt.figure(figsize=(4, 3))
plt.imshow(count, cmap="gray", vmin=0)
for row in range(10):
    for column in range(10):
        number = count[row, column]
        colour = "black" if number > 4 else "white"
        plt.text(column, row, f"{number:.0f}", ha="center", va="center", color=colour)
plt.title("patches of 3 x 3 that a pixel lies in")
plt.show()

# %% [markdown]
# ## A game of pixels
#
# A ball falls, straight or diagonally, and bounces off the walls. The player, in the last row, moves left, right or
# not at all, and wins by being where the ball comes down.


# %%
class Catch(gym.Env):
    observation_space = gym.spaces.Box(0, 1, (7, 7), np.bool_)
    action_space = gym.spaces.Discrete(3)  # left, stay, right

    def picture(self):
        pixels = np.zeros((7, 7), np.bool_)
        pixels[self.row, self.ball] = pixels[6, self.player] = True
        return pixels

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.row, self.ball, self.player = (
            0,
            *self.np_random.integers(7, size=2).tolist(),
        )
        self.slant = int(self.np_random.integers(-1, 2))
        return self.picture(), {}

    def step(self, action):
        self.player = min(max(self.player + action - 1, 0), 6)
        if not 0 <= self.ball + self.slant <= 6:
            self.slant = -self.slant
        self.row, self.ball = self.row + 1, self.ball + self.slant
        over = self.row == 6
        reward = (1.0 if self.ball == self.player else -1.0) if over else 0.0
        return self.picture(), reward, over, False, {}


# %% [markdown]
# One picture does not show which way the ball is moving; two do. So `frame_stack=2` gives the network the last two.
# Three seeds of each:

# %%
STEPS = 16_000


def learn(frames, seed):
    config = DQNConfig(
        conv=((8, 3, 1),),
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


players = {frames: [learn(frames, seed) for seed in range(3)] for frames in (1, 2)}
caught = {}
for frames, agents in players.items():
    returns = [evaluate(agent, Catch(), 200, progress=False).mean() for agent in agents]
    caught[frames] = [50 * (1 + mean) for mean in returns]
    print(
        f"{frames} frame(s): catches",
        ", ".join(f"{share:.0f} %" for share in caught[frames]),
    )

# %% [markdown]
# ## What the filters have learned
#
# Each strip is a filter: its weights for the frame before, then for the newest. Blue raises the answer, red
# lowers it. Beside it is where in the picture it answers.

# %% mystnb={"image": {"alt": "The game's newest frame; beside it the eight filters, each with its weights for two frames, and where it answers."}}
env = Catch()
env.reset(seed=4)
frames = [env.step(1)[0] for _ in range(4)]
plot_filters(players[2][0], np.array(frames[-2:]))

# %% [markdown]
# Most filters weigh the two frames differently: that is how motion can be told, wherever the ball is. But what a
# single one is for is hard to say, as often. That the motion is used, the shares of balls caught show.
#
# ## Exercises
#
# **1.** In how many patches does a pixel lie? Patches are k x k, one pixel apart, in a picture of size x size.


# %%
def my_count(row, column, size, k):
    return k * k  # your answer


# %% tags=["checker"]
def check_1(answer):
    for size, k in ((10, 3), (6, 4), (5, 1)):
        for row in range(size):
            for column in range(size):
                corners = range(size - k + 1)
                truth = sum(
                    i <= row < i + k and j <= column < j + k
                    for i in corners
                    for j in corners
                )
                if answer(row, column, size, k) != truth:
                    return right(
                        False, f"({row}, {column}), size {size}, k = {k}: {truth}"
                    )
    return right(True, "")


check_1(my_count)


# %% tags=["solution"]
def solution_1(row, column, size, k):
    def along(at):
        return min(at, size - k) - max(at - k + 1, 0) + 1

    return along(row) * along(column)


# %% [markdown]
# **2.** A convolution of one picture, (H, W), with one filter, (k, k), at stride s: no bias, no ReLU, and the
# filter is not turned round, as it is in mathematics. Plain loops will do.


# %%
def my_convolution(x, W, s):
    return x  # your answer


# %% tags=["checker"]
def check_2(answer):
    x, W = (
        np.random.default_rng(0).normal(size=(9, 7)),
        np.random.default_rng(1).normal(size=(3, 3)),
    )
    for s in (1, 2):
        rows, columns = range(0, 7, s), range(0, 5, s)
        truth = [[np.sum(x[i : i + 3, j : j + 3] * W) for j in columns] for i in rows]
        given = np.asarray(answer(x, W, s))
        if given.shape != np.shape(truth) or not np.allclose(given, truth):
            return right(
                False,
                f"stride {s}: expected shape {np.shape(truth)}, first {truth[0][0]:.4f}",
            )
    return right(True, "")


check_2(my_convolution)


# %% tags=["solution"]
def solution_2(x, W, s):
    h, w = (x.shape[0] - len(W)) // s + 1, (x.shape[1] - len(W)) // s + 1
    y = np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            y[i, j] = np.sum(x[s * i : s * i + len(W), s * j : s * j + len(W)] * W)
    return y
