# %% [markdown]
# # 5. From the table to a network
#
# The table has an entry for each state. A network has no entries. It computes Q from the state, so it also has an
# answer for states that it never saw. But if we simply put it in the place of the table, it learns badly. Why? And
# what helps?
#
# The network is given the state, and gives one number for each action. In the table we moved one entry towards the
# target y. The network has a loss instead, for the action a that was taken: (y - Q(s, a))² / 2. Here y counts as a
# fixed number. Then backprop computes the gradient, as in chapter 2, and Adam makes the step.

# %%
import gymnasium as gym
import numpy as np
from matplotlib import pyplot as plt
from tour import exercise, hint_for, source

from minidqn import DQN, DQNConfig, evaluate, train
from minidqn.nn.network import Network

# %% [markdown]
# ## The same world
#
# This is the grid of chapter 4, written as a Gymnasium environment. Its `step` returns five things: the next
# state, the reward, whether the episode terminated, whether it was *truncated*, and a dictionary for anything else.
# Truncated means that the time was up (see chapter 6).
#
# The state is now two numbers between -1 and 1, for the row and the column.

# %%
HEIGHT, WIDTH, GAMMA = 6, 9, 0.9
GOAL, START = (2, 8), (2, 0)
WALL = {(row, 4) for row in range(1, 6)}
MOVES = [(-1, 0), (0, 1), (1, 0), (0, -1)]  # up, right, down, left


def neighbour(field, action):
    """Where the action leads from this field."""
    row, column = field[0] + MOVES[action][0], field[1] + MOVES[action][1]
    inside = 0 <= row < HEIGHT and 0 <= column < WIDTH
    return (row, column) if inside and (row, column) not in WALL else field


def as_state(field):
    row, column = field
    return np.array([row / 2.5 - 1, column / 4 - 1], np.float32)


class Grid(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        self.field, self.steps = START, 0
        return as_state(self.field), {}

    def step(self, action):
        self.field = neighbour(self.field, action)
        self.steps += 1
        terminated = self.field == GOAL
        truncated = self.steps >= 100
        return as_state(self.field), float(terminated), terminated, truncated, {}


def exact_values():
    """gamma^(d - 1) for a field d steps from the goal, found outwards from the goal."""
    values = np.full((HEIGHT, WIDTH), np.nan)
    distance, waiting = {GOAL: 0}, [GOAL]
    while waiting:
        field = waiting.pop(0)
        for action in range(4):
            other = neighbour(field, action)
            if other not in distance:
                distance[other] = distance[field] + 1
                values[other] = GAMMA ** (distance[other] - 1)
                waiting.append(other)
    return values


def learned_values(agent):
    """max Q of each field."""
    fields = [(row, column) for row in range(HEIGHT) for column in range(WIDTH)]
    states = np.array([as_state(field) for field in fields])
    return agent.q_values(states).max(axis=1).reshape(HEIGHT, WIDTH)


# %% [markdown]
# ## Three agents
#
# All three have the same network, and take half of their actions at random. They differ in what they learn from.
#
# - *As in the table*: after each step there is one update. It learns from one of the last three steps. The
#   network that is being changed also computes the target.
# - *With replay*: all steps are stored in a memory. Each update learns from 32 of them, drawn at random.
# - *With replay and target network*: now a second network computes the target. It is a copy, and is renewed every 100
#   updates.

# %%
same = {
    "hidden": (64, 64),
    "gamma": GAMMA,
    "epsilon": 0.5,
    "double": False,
    "n_step": 1,
}
last_steps = {"buffer_size": 3, "batch_size": 1, "learning_starts": 1}
replay = {"buffer_size": 10_000, "batch_size": 32, "learning_starts": 100}
no_copy = {"tau": 1.0, "target_every": 1}  # the copy is always the network itself
copy = {"tau": 1.0, "target_every": 100}
configs = {
    "as in the table": DQNConfig(**same, **last_steps, **no_copy),
    "with replay": DQNConfig(**same, **replay, **no_copy),
    "with replay and target network": DQNConfig(**same, **replay, **copy),
}

# %% [markdown]
# One seed proves nothing, so each agent learns from eight seeds. (This takes about half a minute.) We measure the
# error of max Q in each field, and whether the greedy policy finds the goal.

# %%
SEEDS = range(8)
exact = exact_values()
errors, goals = {}, {}
for name, config in configs.items():
    errors[name] = np.zeros((len(SEEDS), HEIGHT, WIDTH))
    goals[name] = 0
    for seed in SEEDS:
        agent = DQN(Grid.observation_space, Grid.action_space, config, seed)
        train(agent, Grid(), 6_000, progress=False)
        errors[name][seed] = np.abs(learned_values(agent) - exact)
        goals[name] += evaluate(agent, Grid(), 1, max_steps=100, progress=False)[0]

for name in configs:
    mean = np.nanmean(errors[name])
    print(f"{name}: mean error {mean:.3f}; goal found by {goals[name]:.0f} of 8 seeds")

# %% mystnb={"image": {"alt": "Three grids of errors, means of eight seeds: largest as in the table, smaller with replay, least with the target network too."}}
figure, panels = plt.subplots(1, 3, figsize=(11, 3))
for axes, name in zip(panels, configs, strict=True):
    mean_error = errors[name].mean(axis=0)
    image = axes.imshow(mean_error, cmap="magma_r", vmin=0, vmax=0.2)
    axes.set_facecolor("0.85")
    axes.text(GOAL[1], GOAL[0], "goal", ha="center", va="center", fontsize=8)
    axes.text(4, 3, "wall", ha="center", va="center", rotation=90, fontsize=8)
    axes.set(title=name, xticks=[], yticks=[])
figure.colorbar(
    image, ax=panels, label="error, mean of 8 seeds", extend="max", shrink=0.8
)
plt.show()

# %% mystnb={"image": {"alt": "The mean errors of eight seeds for each of the three agents: least with replay and target network."}}
plt.figure(figsize=(8, 2.8))
for at, name in enumerate(configs):
    of_seeds = np.nanmean(errors[name], axis=(1, 2))
    plt.plot(of_seeds, [at] * len(SEEDS), "o", ms=9, alpha=0.5, color="black")
    plt.plot(of_seeds.mean(), at, "|", ms=30, mew=2, color="C3")
plt.yticks(range(3), configs)
plt.ylim(2.5, -0.5)
plt.xscale("log")
plt.xlabel("mean error of max Q, in rewards (dots: seeds; red: their mean)")
plt.show()

# %% [markdown]
# **Why replay helps.** The steps of an episode are similar to each other. If the network learns from them one after
# the other, it fits the corner of the world where the agent is now, and forgets the rest. A table does not have this
# problem: a change of one entry changes no other. In a network, one change changes all values. A batch drawn at random
# from a long memory shows the network its whole world in each update. (The batch is also larger, 32 steps instead of
# one. This alone would help.)
#
# **Why a target network helps.** The target y = r + gamma · max Q(s') contains Q, so each update of Q changes it.
# s' is close to s. So if Q(s) rises, Q(s') rises too, and so does the target. The network runs after a target that
# moves away. A copy that stands still for a while gives it a fixed target. This is how minidqn moves the copy:

# %%
source(Network.move_towards)

# %% [markdown]
# With tau = 1 it becomes a copy. With a small tau it moves a small part of the way, usually after every update.
#
# ## This is DQN
#
# Q-learning with a network, replay and a target network is called *DQN*, the deep Q-network (Mnih et al. 2015). It
# repeats four steps:
#
# 1. Take an action: a random one with probability epsilon, else the greedy one.
# 2. Store the state, the action, the reward, and whether the episode terminated. (The next state is stored with
#    the next step.)
# 3. Make an update from a random batch of the memory. Here this happens after each step.
# 4. After some number of updates, move the target network.
#
# The memory is a *ring* of slots. Each step takes the next slot. When all are full, it takes the slot of the oldest
# step. A slot holds the state, the action, the reward, and whether the episode ended. The next state is in the next
# slot, so no state is stored twice. After the last step of an episode, the next slot holds only the final state. No
# action is taken there, and no step of a batch begins there. This slot is called a *bridge*, because it lies between
# two episodes.
#
# **Huber's loss.** Call the error u = y - Q(s, a). The derivative of u² / 2 is u, so one target that is far too high
# changes the network a lot. *Huber's loss* is u² / 2 only while u is between -1 and 1. Beyond, it goes on as a straight
# line, |u| - ½. With slope = clip(u, -1, 1), which is u, but at least -1 and at most 1, one formula gives both pieces:
#
# loss = slope · (u - slope / 2)
#
# slope is also its derivative by u. u contains -Q(s, a), so the derivative by Q(s, a) is -slope.
#
# Below is one update of minidqn, and above it the method that computes the targets y. Some names in them:
#
# - `online` is the network that learns. `target` is the target network.
# - `sampler` draws the places in the memory where the steps of the batch begin. `replay` fetches the batch.
# - `greedy` chooses the next action, and `loss.targets` computes y, as in chapter 4. `loss.gradient` computes Huber's loss and its gradient.
# - `clip_by_global_norm` makes a gradient shorter if it is too long.
#
# The lines about `double` and `weights` belong to chapter 7.

# %%
source(DQN.targets)

# %%
source(DQN.learn)

# %% [markdown]
# ## Exercises
#
# **1.** The ring has `capacity` slots, from 0 on. When it is full, a new step takes the slot of the oldest one. Which
# slot does step number `count` go to? The first step has number 0. (Here we leave out the bridges.)


# %%
def my_slot(count, capacity):
    return 0  # your answer


# %% tags=["checker"]
@exercise
def check_1(answer):
    capacity = 5
    for count in range(23):
        expected = count % capacity
        mistakes = {
            "there is no such slot: with 5 slots, the last is number 4.": count,
            "then the newest step is lost, not the oldest.": min(count, capacity - 1),
            "the last slot is never used.": count % (capacity - 1),
            "that fills the ring backwards; slot 1 comes after slot 0.": -count
            % capacity,
            "each step would take the same slot.": 0,
            "the first step, number 0, goes to slot 0.": (count + 1) % capacity,
        }
        otherwise = f"with 5 slots, step {count} goes to slot {expected}."
        hint = hint_for(answer(count, capacity), expected, mistakes, otherwise)
        if hint:
            return hint
    return None


check_1(my_slot)


# %% tags=["solution"]
def solution_1(count, capacity):
    return count % capacity


# %% [markdown]
# **2.** Let the parameters of the target network move a part tau of the way to those of the online network. Both are
# arrays. The layers of the network look into the same arrays. So change the entries of `target`, and do not make a
# new array. Nothing has to be returned.


# %%
def my_follow(target, online, tau):
    pass  # your answer


# %% tags=["checker"]
@exercise
def check_2(answer):
    before, online_before = np.array([0.0, 4.0]), np.array([1.0, 2.0])
    for tau in (0.25, 1.0):
        target, online = before.copy(), online_before.copy()
        answer(target, online, tau)
        if not np.array_equal(online, online_before):
            return "the online network changed. Only the target should move."
        mistakes = {
            "`target` has not changed. `target = ...` only gives the name to a new "
            "array. Write into the old one, with `target[:] = ...` or `+=`.": before,
            "that goes the wrong way: away from online.": before
            - tau * (online - before),
            "tau and 1 - tau are exchanged: a small tau is a small step.": tau * before
            + (1 - tau) * online,
            "that is all the way. How does tau come in?": online,
            "that is the way to go, but where does it start?": tau * (online - before),
        }
        expected = before + tau * (online - before)
        otherwise = (
            f"from {before} towards {online} with tau = {tau} it should become "
            f"{expected}, but it became {target}."
        )
        hint = hint_for(target, expected, mistakes, otherwise)
        if hint:
            return hint
    return None


check_2(my_follow)


# %% tags=["solution"]
def solution_2(target, online, tau):
    target += tau * (online - target)
