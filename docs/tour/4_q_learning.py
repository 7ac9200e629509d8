# %% [markdown]
# # 4. Q-learning, in a table
#
# Now there is a world that answers. Nobody says which action is right; only some steps give a reward,
# and often long after the action that earned it. How can values be learned from that?

# %%
import numpy as np
from matplotlib import pyplot as plt
from tour import right, source

from minidqn.targets import td_targets

# %% [markdown]
# ## A small world
#
# A grid of 6 x 9 fields with a wall. From any field one can go up, right, down or left; whoever walks into a
# wall stays where he is. The goal, at the right, gives 1 and ends the episode. Every other step gives 0.
#
# Q(s, a) is the reward to come if we take action a in state s and then do our best. The reward of the first step
# counts in full, that of the next one gamma times, of the one after it gamma² times. So with gamma = 0.9, a goal
# that is reached with the tenth step is worth 0.9⁹ = 0.39.

# %%
HEIGHT, WIDTH, GAMMA = 6, 9, 0.9
GOAL, START = (2, 8), (2, 0)
WALL = {(row, 4) for row in range(1, 6)}
MOVES = [(-1, 0), (0, 1), (1, 0), (0, -1)]  # up, right, down, left


def step(state, action):
    """The next state, the reward, and whether the episode terminated."""
    row, column = state[0] + MOVES[action][0], state[1] + MOVES[action][1]
    inside = 0 <= row < HEIGHT and 0 <= column < WIDTH and (row, column) not in WALL
    state = (row, column) if inside else state
    return state, float(state == GOAL), state == GOAL


# %% [markdown]
# ## Values spread from the goal
#
# After a step we know more than before: the reward, and where it led. So Q(s, a) should have been
#
# y = reward + gamma · max Q(next state), or only the reward where the episode terminated.
#
# *Q-learning* moves Q(s, a) a part of the way to y. That is all. minidqn computes y like this, for a batch of B
# steps. Here `returns` are the rewards, `discounts` is gamma, or 0 at the end, `q_next` is Q of the next states,
# and `next_actions` are the best actions there. (Chapter 7 has other choices.)

# %%
source(td_targets)

# %% [markdown]
# We use the very same function for one step at a time. A *policy* says which action to take in each state. The
# *greedy* policy takes the one with the largest Q. With probability *epsilon*, here one half, we take a random
# one instead, so that everything is tried. That does not spoil y, which asks what the best next action would
# give, not which one we will take.


# %%
def target(reward, discount, q_next):
    """y of one step, a batch of one; q_next has a value for each action."""
    y = np.empty(1)
    td_targets(
        np.array([reward]),
        np.array([discount]),
        q_next[None],
        np.array([q_next.argmax()]),
        y,
    )
    return y[0]


# %% mystnb={"image": {"alt": "Values in the grid after 1, 5, 20 and 300 episodes: they spread from the goal back to the start."}}
def learn(q, episodes, rng, rate=0.5, epsilon=0.5):
    """Q-learning: changes the table q, (HEIGHT, WIDTH, 4). Returns the length of each episode."""
    lengths = []
    for _ in range(episodes):
        state, over, length = START, False, 0
        while not over:
            greedy = rng.choice(np.flatnonzero(q[state] == q[state].max()))
            action = rng.integers(4) if rng.random() < epsilon else greedy
            after, reward, over = step(state, action)
            y = target(reward, 0.0 if over else GAMMA, q[after])
            q[state][action] += rate * (y - q[state][action])
            state, length = after, length + 1
        lengths.append(length)
    return lengths


rng = np.random.default_rng(0)
q, pictures, lengths = np.zeros((HEIGHT, WIDTH, 4), np.float32), {}, []
for until in (1, 5, 20, 300):
    lengths += learn(q, until - len(lengths), rng)
    pictures[until] = q.max(axis=2).copy()

figure, panels = plt.subplots(2, 2, figsize=(10, 6))
for axes, (episodes, values) in zip(panels.flat, pictures.items(), strict=True):
    for row, column in WALL:
        values[row, column] = np.nan
    image = axes.imshow(values, cmap="viridis", vmin=0, vmax=1)
    axes.text(GOAL[1], GOAL[0], "goal", ha="center", va="center", color="white")
    axes.text(START[1], START[0], "start", ha="center", va="center", color="white")
    axes.set(
        title=f"after {episodes} episode{'s' * (episodes > 1)}", xticks=[], yticks=[]
    )
figure.colorbar(image, ax=panels, label="max Q, in rewards")
plt.show()

# %% [markdown]
# At first only the field beside the goal knows anything. Each visit carries the value one field further
# back, until it has reached the start. This is *bootstrapping*: a guess is improved by a later guess.
#
# ## The truth, for comparison
#
# In so small a world we can compute Q exactly. The best way from a field d steps from the goal is worth
# gamma^(d - 1); a breadth-first search gives d.


# %% mystnb={"image": {"alt": "Mean and largest error of the table against episodes: the mean falls to 0.02, the largest to 0.28."}}
def distances():
    """Steps to the goal from each field: the truth that Q-learning never sees."""
    far = np.full((HEIGHT, WIDTH), np.inf)
    far[GOAL] = 0
    edge = [GOAL]
    while edge:
        row, column = edge.pop(0)
        for down, across in MOVES:
            field = row + down, column + across
            inside = (
                0 <= field[0] < HEIGHT and 0 <= field[1] < WIDTH and field not in WALL
            )
            if inside and far[field] == np.inf:
                far[field] = far[row, column] + 1
                edge.append(field)
    return far


def exact_values():
    far = distances()
    values = np.where(np.isfinite(far), GAMMA ** (np.maximum(far, 1) - 1), np.nan)
    values[GOAL] = 0.0  # the episode is over there
    return values


exact, errors = exact_values(), {"mean": [], "largest": []}
q, count = np.zeros((HEIGHT, WIDTH, 4), np.float32), 0
rng = np.random.default_rng(0)
for _ in range(60):
    learn(q, 10, rng)
    wrong = np.abs(q.max(axis=2) - exact)
    errors["mean"].append(np.nanmean(wrong))
    errors["largest"].append(np.nanmax(wrong))
plt.figure(figsize=(7, 3.5))
for (name, of), style in zip(errors.items(), ("-", "--"), strict=True):
    plt.semilogy(10 * np.arange(1, 61), of, style, label=f"{name} over all fields")
plt.xlabel("episodes")
plt.ylabel("error of max Q, in rewards")
plt.legend(frameon=False)
plt.show()
print(f"Value of the start: exact {exact[START]:.4f}, learned {q[START].max():.4f}")

# %% [markdown]
# Where the agent often comes, the table is right: the start, to four digits. Fields that it seldom visits are still
# wrong. With more visits they would become right too. But a table has one entry
# for every state and action; CartPole has four real
# numbers as its state, and no two states are ever the same. That is what the network is for.
#
# ## Exercises
#
# **1.** Write y for one step. `terminated` says that nothing comes after it.


# %%
def my_target(reward, next_q, terminated, gamma=0.9):
    return reward  # your answer; next_q has one value for each action


# %% tags=["checker"]
def check_1(answer):
    for terminated in (False, True):
        for reward, next_q in (
            (0.0, [0.5, 1.0, 0.2]),
            (1.0, [-2.0, -1.0]),
            (0.5, [3.0, 3.0, 0.0]),
        ):
            discount = 0.0 if terminated else 0.9
            expected = target(reward, discount, np.array(next_q))
            if not np.isclose(answer(reward, np.array(next_q), terminated), expected):
                hint = f"reward {reward}, next {next_q}, terminated {terminated}: {expected:.2f}"
                return right(False, hint)
    return right(True, "")


check_1(my_target)


# %% tags=["solution"]
def solution_1(reward, next_q, terminated, gamma=0.9):
    return reward if terminated else reward + gamma * next_q.max()


# %% [markdown]
# **2.** A field is 5 steps from the goal. What is max Q there, in the end?

# %%
my_value = 1.0  # your answer


# %% tags=["checker"]
def check_2(answer):
    (expected,) = set(np.round(exact_values()[distances() == 5], 6))
    return right(
        bool(np.isclose(answer, expected, atol=1e-3)), "the fifth step earns the reward"
    )


check_2(my_value)

# %% tags=["solution"]
solution_2 = 0.9**4
