# %% [markdown]
# # 5. From the table to a network
#
# The table has an entry for each state. A network has none: it computes Q from the state, so that it knows
# something of states it never saw. Put it in the table's place, and it goes wrong. Why, and what helps?
#
# The network takes the state, and gives a number for each action. A table's entry was moved towards y; a network
# has a loss, (y - Q(s, a))² / 2, for the action that was taken. y is held fixed, as if someone had told us. Then
# backprop gives the gradient, as in chapter 2, and Adam makes the step.

# %%
import gymnasium as gym
import numpy as np
from matplotlib import pyplot as plt
from tour import right, source

from minidqn import DQN, DQNConfig, evaluate, train
from minidqn.nn.network import Network

# %% [markdown]
# ## The same world
#
# The grid of chapter 4, as an environment. Its `step` gives the next state, the reward, whether the episode
# terminated, whether only the time was up (truncated, see chapter 6), and a dictionary for whatever else there
# is. The state is now two numbers, row and column, between -1 and 1.

# %%
HEIGHT, WIDTH, GAMMA = 6, 9, 0.9
GOAL, START = (2, 8), (2, 0)
WALL = {(row, 4) for row in range(1, 6)}
MOVES = [(-1, 0), (0, 1), (1, 0), (0, -1)]  # up, right, down, left


def neighbour(field, action):
    row, column = field[0] + MOVES[action][0], field[1] + MOVES[action][1]
    inside = 0 <= row < HEIGHT and 0 <= column < WIDTH and (row, column) not in WALL
    return (row, column) if inside else field


def seen(field):
    return np.array([field[0] / 2.5 - 1, field[1] / 4 - 1], np.float32)


class Grid(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        self.field, self.steps = START, 0
        return seen(self.field), {}

    def step(self, action):
        self.field, self.steps = neighbour(self.field, action), self.steps + 1
        found = self.field == GOAL
        return seen(self.field), float(found), found, self.steps >= 100, {}


def exact_values():
    """gamma^(d - 1) at d steps from the goal, found backwards from there."""
    values, edge = np.full((HEIGHT, WIDTH), np.nan), [GOAL]
    far = {GOAL: 0}
    while edge:
        field = edge.pop(0)
        for action in range(4):
            other = neighbour(field, action)
            if other not in far:
                far[other] = far[field] + 1
                values[other] = GAMMA ** (far[other] - 1)
                edge.append(other)
    return values


def learned_values(agent):
    fields = [(row, column) for row in range(HEIGHT) for column in range(WIDTH)]
    values = agent.q_values(np.array([seen(field) for field in fields])).max(axis=1)
    values = values.reshape(HEIGHT, WIDTH)
    return np.where(np.isnan(exact_values()), np.nan, values)


# %% [markdown]
# ## Three agents
#
# All have the same network, and half of their actions are random. They differ in what they learn from.
#
# - *As in the table*: one update after each step, from that step or one of the two before. Its target is computed by the
#   very network that is being changed.
# - *With replay*: steps are stored, and each update takes 32 of them at random.
# - *With replay and a target network*: the target is computed by a copy, renewed every 100 updates.

# %% mystnb={"image": {"alt": "Four grids of values: as in the table, too high on the right; with replay, closer; with the target network too, closest; and the exact one."}}
same = {
    "hidden": (64, 64),
    "gamma": GAMMA,
    "epsilon": 0.5,
    "double": False,
    "n_step": 1,
}
alone = {
    "buffer_size": 3,
    "batch_size": 1,
    "learning_starts": 1,
}  # hardly more than the last step
replay = {"buffer_size": 10_000, "batch_size": 32, "learning_starts": 100}
moving, copied = {"tau": 1.0, "target_every": 1}, {"tau": 1.0, "target_every": 100}
agents = {
    "as in the table": DQNConfig(**same, **alone, **moving),
    "with replay": DQNConfig(**same, **replay, **moving),
    "with replay and target network": DQNConfig(**same, **replay, **copied),
}
SEEDS = range(8)


def learn(config, seed):
    agent = DQN(Grid.observation_space, Grid.action_space, config, seed)
    train(agent, Grid(), 6_000, progress=False)
    return agent


trained = {
    name: [learn(config, seed) for seed in SEEDS] for name, config in agents.items()
}
exact = exact_values()
figure, panels = plt.subplots(2, 2, figsize=(10, 6))
pictures = {name: learned_values(of[0]) for name, of in trained.items()} | {
    "exact": exact
}
for axes, (name, values) in zip(panels.flat, pictures.items(), strict=True):
    image = axes.imshow(values, cmap="viridis", vmin=0, vmax=1)
    axes.set(title=name, xticks=[], yticks=[])
figure.colorbar(image, ax=panels, label="max Q, in rewards")
plt.show()

# %% [markdown]
# One seed proves nothing, so here are eight. An agent has found the way if its greedy policy gets to the
# goal.

# %% mystnb={"image": {"alt": "The mean errors of eight seeds for each of the three agents: least with replay and target network."}}
plt.figure(figsize=(8, 3.5))
for at, (name, of) in enumerate(trained.items()):
    errors = [np.nanmean(np.abs(learned_values(agent) - exact)) for agent in of]
    goals = sum(
        evaluate(agent, Grid(), 1, max_steps=100, progress=False)[0] for agent in of
    )
    plt.plot(errors, [at] * len(errors), "o", ms=9, alpha=0.6, color="black")
    print(
        f"{name}: mean error {np.mean(errors):.3f}, {goals:.0f} of {len(of)} find the goal"
    )
plt.yticks(range(3), trained)
plt.ylim(2.5, -0.5)
plt.xscale("log")
plt.xlabel("mean error of max Q, in rewards (a dot for each seed)")
plt.show()

# %% [markdown]
# *What went wrong first*: the steps of an episode resemble each other. Learning from one after the other, the
# network fits the corner of the world where the agent just is, and forgets the others: in a network,
# unlike in a table, a change for one state changes all. A batch drawn at random from a long memory shows
# it the whole world in each update. (It also learns from 32 steps at a time, which alone would help.)
#
# *What went wrong second*: the target y = r + gamma max Q(s') moves with each update of Q. When Q(s) rises,
# Q(s') rises with it, for s' is close to s, and so does the target: the network chases a target that moves
# with it. A copy that stands still for a while gives it something firm to reach. This is minidqn's:

# %%
source(Network.move_towards)

# %% [markdown]
# With tau = 1 it is a copy, now and then; with a small tau the copy follows slowly after every update.
#
# Q-learning with a network, replay and a target network: this is *DQN*, the deep Q-network (Mnih et al. 2015).
# Over and over, it
#
# 1. takes an action, random with probability epsilon, else greedy;
# 2. stores the state, the action, the reward, and whether the episode terminated (the next state is the next entry);
# 3. makes an update, here after each step, from a random batch of what is stored;
# 4. after every so many updates, moves the target network.
#
# Here is one update of minidqn. `target` is the target network; the network that learns is called *online*.
# `sampler` draws where the steps of a batch begin, and `loss` has the targets of chapter 4, and half the squared
# error (a straight line beyond `huber_delta`). Read past `double` and `weights`, which are in chapter 7, and past the
# clipping of gradients that are too long:

# %%
source(DQN.learn)

# %% [markdown]
#
# ## Exercises
#
# **1.** The memory is a ring: when it is full, a new step takes the place of the oldest. Step number `count` (from
# 0 on) goes to which slot?


# %%
def my_slot(count, capacity):
    return 0  # your answer


# %% tags=["checker"]
def check_1(answer):
    memory, kept = [None] * 5, []
    for count in range(23):
        slot = answer(count, 5)
        if slot not in range(5):
            return right(False, f"step {count} goes to slot {slot}; there are 0 to 4")
        memory[slot] = count
        kept = [step for step in memory if step is not None]
        if sorted(kept) != list(range(max(count - 4, 0), count + 1)):
            return right(False, f"after step {count} the memory holds {sorted(kept)}")
    return right(True, "")


check_1(my_slot)


# %% tags=["solution"]
def solution_1(count, capacity):
    return count % capacity


# %% [markdown]
# **2.** Let the target's parameters follow those of the online network: a share tau of the way. The views of the
# layers must stay views: write into the array.


# %%
def my_follow(target, online, tau):
    pass  # your answer; both are arrays


# %% tags=["checker"]
def check_2(answer):
    target, online = np.array([0.0, 4.0]), np.array([1.0, 2.0])
    view, before = target[:], online.copy()
    answer(target, online, 0.25)
    if np.allclose(view, [0.25, 3.5]):
        answer(target, online, 1.0)
        same = np.array_equal(view, online) and np.array_equal(online, before)
        return right(
            same, "with tau = 1 the target must equal online, which must not change"
        )
    return right(False, f"from [0, 4] to [1, 2] with tau 0.25 it became {view}")


check_2(my_follow)


# %% tags=["solution"]
def solution_2(target, online, tau):
    target += tau * (online - target)
