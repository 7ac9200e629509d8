# %% [markdown]
# # 4. Q-learning, in a table
#
# Now there is a world that answers to what we do. Nobody tells us which action is right. Only some steps give a
# reward, often long after the action that led to it. How can we learn the value of an action from that?

# %%
import numpy as np
from matplotlib import pyplot as plt
from tour import exercise, hint_for, source

from minidqn.targets import td_targets

# %% [markdown]
# ## A small world
#
# The world is a grid of 6 x 9 fields with a wall. From each field the agent can go up, right, down or left. If there
# is a wall, or the edge of the grid, it stays where it is. The goal is at the right. A step to the goal gives a reward
# of 1 and ends the episode: the episode has *terminated*. Every other step gives 0.
#
# **Q(s, a)** is the sum of the rewards that follow if we take action a in state s, and then always the best action.
# Later rewards count less. The reward of the first step counts in full, the next one *gamma* times, the one after it
# gamma² times, and so on. With gamma = 0.9, a goal that is reached with the tenth step is worth 0.9⁹ = 0.39.

# %%
HEIGHT, WIDTH, GAMMA = 6, 9, 0.9
GOAL, START = (2, 8), (2, 0)
WALL = {(row, 4) for row in range(1, 6)}
MOVES = [(-1, 0), (0, 1), (1, 0), (0, -1)]  # up, right, down, left


def is_free(field):
    row, column = field
    return 0 <= row < HEIGHT and 0 <= column < WIDTH and field not in WALL


def step(state, action):
    """The next state, the reward, and whether the episode terminated."""
    down, across = MOVES[action]
    neighbour = (state[0] + down, state[1] + across)
    next_state = neighbour if is_free(neighbour) else state
    terminated = next_state == GOAL
    reward = 1.0 if terminated else 0.0
    return next_state, reward, terminated


# %% [markdown]
# ## Values spread from the goal
#
# After a step we know more than before: the reward, and where the step led. So Q(s, a) should have been
#
# y = reward + gamma · max Q(next state)
#
# "max Q(next state)" is the value of the best action there. If the episode terminated, nothing follows, and y is only
# the reward. y is called the *target*.
#
# *Q-learning* moves Q(s, a) a part of the way to y. That is all. minidqn computes y with the function below, for a
# batch of B steps at once. `returns` are the rewards. `discounts` is gamma, or 0 if the episode terminated. `q_next`
# is Q of the next states, and `next_actions` are the best actions there. (Chapter 7 makes other choices.)

# %%
source(td_targets)

# %% [markdown]
# We use this function for one step at a time.


# %%
def target(reward, discount, q_next):
    """y of one step, a batch of one; q_next has a value for each action."""
    y = np.empty(1)
    best = np.array([q_next.argmax()])
    td_targets(np.array([reward]), np.array([discount]), q_next[None], best, y)
    return y[0]


# %% [markdown]
# A *policy* says which action to take in each state. The *greedy* policy takes the action with the largest Q. If we
# were always greedy, we would never try anything new. So we take a random action with probability *epsilon*, here
# one half. Random actions do not make y wrong: y asks what the best next action would give, whether we take it or not.


# %% mystnb={"image": {"alt": "Values in the grid after 1, 5, 20 and 300 episodes: they spread from the goal back to the start."}}
def learn(q, episodes, rng, rate=0.5, epsilon=0.5):
    """Q-learning: changes the table q, (HEIGHT, WIDTH, 4)."""
    for _ in range(episodes):
        state, terminated = START, False
        while not terminated:
            if rng.random() < epsilon:
                action = rng.integers(4)
            else:  # if several actions are best, one of them at random
                action = rng.choice(np.flatnonzero(q[state] == q[state].max()))
            next_state, reward, terminated = step(state, action)
            discount = 0.0 if terminated else GAMMA
            y = target(reward, discount, q[next_state])
            q[state][action] += rate * (y - q[state][action])
            state = next_state


def new_table():
    return np.zeros((HEIGHT, WIDTH, 4), np.float32)


def draw(axes, values, title):
    """The values as colours; the goal and the wall have none."""
    values = values.copy()
    for field in [*WALL, GOAL]:
        values[field] = np.nan
    image = axes.imshow(values, cmap="viridis", vmin=0, vmax=1)
    axes.set_facecolor("0.85")
    axes.text(GOAL[1], GOAL[0], "goal", ha="center", va="center")
    axes.text(START[1], START[0], "start", ha="center", va="center", color="white")
    axes.text(4, 3, "wall", ha="center", va="center", rotation=90)
    axes.set(title=title, xticks=[], yticks=[])
    return image


q, rng, episodes = new_table(), np.random.default_rng(0), 0
figure, panels = plt.subplots(2, 2, figsize=(10, 6.4))
for axes, moment in zip(panels.flat, (1, 5, 20, 300), strict=True):
    learn(q, moment - episodes, rng)
    episodes = moment
    plural = "" if moment == 1 else "s"
    image = draw(axes, q.max(axis=2), f"after {moment} episode{plural}")
figure.colorbar(image, ax=panels, label="max Q, in rewards")
plt.show()

# %% [markdown]
# After the first episode, only the field from which the agent reached the goal has a value. The later episodes carry
# it back, field by field, until it reaches the start. This is *bootstrapping*: a guess is improved with the help of
# the next guess.
#
# ## The right values, for comparison
#
# In such a small world we can compute Q exactly. From a field that is d steps from the goal, the best way is worth
# gamma^(d - 1). To find d for all fields, we begin at the goal and go outwards, one step at a time.


# %%
def distances():
    """Steps to the goal from each field; the agent never sees them."""
    steps_to_goal = np.full((HEIGHT, WIDTH), np.inf)
    steps_to_goal[GOAL] = 0
    waiting = [GOAL]
    while waiting:
        field = waiting.pop(0)
        for down, across in MOVES:
            neighbour = (field[0] + down, field[1] + across)
            if is_free(neighbour) and steps_to_goal[neighbour] == np.inf:
                steps_to_goal[neighbour] = steps_to_goal[field] + 1
                waiting.append(neighbour)
    return steps_to_goal


def exact_values():
    steps_to_goal = distances()
    values = GAMMA ** (steps_to_goal - 1)
    values[GOAL] = 0.0  # the episode is over there
    for field in WALL:
        values[field] = np.nan
    return values


# %% [markdown]
# Six tables learn with different random numbers, from six *seeds*. Every ten episodes we compare them with the exact
# values.

# %% mystnb={"image": {"alt": "The error of the table against episodes, at the start and over all fields, means and ranges of six seeds: that of the start falls much lower."}}
SEEDS = range(6)
exact = exact_values()
moments = np.arange(10, 401, 10)
start_errors = np.zeros((len(SEEDS), len(moments)))
mean_errors = np.zeros((len(SEEDS), len(moments)))
for seed in SEEDS:
    q, rng = new_table(), np.random.default_rng(seed)
    for at in range(len(moments)):
        learn(q, 10, rng)
        errors = np.abs(q.max(axis=2) - exact)
        start_errors[seed, at] = errors[START]
        mean_errors[seed, at] = np.nanmean(errors)

plt.figure(figsize=(7, 3.5))
for curves, style, name in (
    (mean_errors, "-", "mean over all fields"),
    (start_errors, "--", "at the start"),
):
    (line,) = plt.plot(moments, curves.mean(axis=0), style, label=name)
    low, high = curves.min(axis=0), curves.max(axis=0)
    plt.fill_between(moments, low, high, color=line.get_color(), alpha=0.2)
plt.xlabel("episodes")
plt.ylabel("error of max Q, in rewards")
plt.legend(frameon=False, title="means of 6 seeds; bands: lowest to highest")
plt.show()
print(f"the start: exact value {exact[START]:.4f}")
print(f"largest error at the start, of 6 seeds: {start_errors[:, -1].max():.4f}")

# %% [markdown]
# At the start, where every episode begins, the table becomes right to three digits. Fields that are seldom visited
# take longer. With more visits they would become right, too.
#
# But a table has one entry for every state and action. CartPole, in chapter 6, has four real numbers as its state. No
# state ever comes twice. This is why we need a network.
#
# ## Exercises
#
# **1.** Write the target y for one step. If `terminated` is true, nothing comes after this step.


# %%
def my_target(reward, next_q, terminated, gamma=0.9):
    return reward  # your answer; next_q has one value for each action


# %% tags=["checker"]
@exercise
def check_1(answer):
    for terminated in (False, True):
        for reward, values in ((0.5, [0.5, 1.0, 0.2]), (1.0, [-2.0, -1.0])):
            next_q = np.array(values)
            discount = 0.0 if terminated else 0.9
            expected = target(reward, discount, next_q)
            mistakes = {
                "that is only the reward. What follows counts too.": reward,
                "nothing follows if the episode terminated.": reward
                + 0.9 * next_q.max(),
                "gamma is missing: what follows counts 0.9 times.": reward
                + next_q.max(),
                "the best action counts, the largest value, not the mean.": reward
                + discount * next_q.mean(),
                "all actions are summed up; only the best one counts.": reward
                + discount * next_q.sum(),
                "the reward is missing.": discount * next_q.max(),
            }
            otherwise = (
                f"with reward {reward}, next_q {values} and terminated {terminated} "
                f"it is {expected:.2f}."
            )
            found = answer(reward, next_q, terminated)
            hint = hint_for(found, expected, mistakes, otherwise)
            if hint:
                return hint
    return None


check_1(my_target)


# %% tags=["solution"]
def solution_1(reward, next_q, terminated, gamma=0.9):
    return reward if terminated else reward + gamma * next_q.max()


# %% [markdown]
# **2.** A field is 5 steps from the goal. What is max Q there, when all is learned?

# %%
my_value = 1.0  # your answer


# %% tags=["checker"]
@exercise
def check_2(answer):
    expected = exact_values()[distances() == 5][0]
    mistakes = {
        "the reward of the first step counts in full, so gamma counts one time less.": 0.9
        ** 5,
        "the reward comes after five steps, so gamma makes it smaller.": 1.0,
        "gamma is multiplied at each step, not only once.": 0.9,
        "the rewards are 0 until the last step; only that one counts.": sum(
            0.9**k for k in range(5)
        ),
        "multiply by gamma at each step: a power, not a product with 5.": 5 * 0.9,
    }
    otherwise = "the fifth step earns the reward. How often does gamma count?"
    return hint_for(answer, expected, mistakes, otherwise, tolerance=1e-3)


check_2(my_value)

# %% tags=["solution"]
solution_2 = 0.9**4
