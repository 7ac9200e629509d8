# %% [markdown]
# # 7. The parts
#
# Many ideas have been added to DQN since 2015. What does each of them do? Here are four, each in a world so small
# that we know the right answer. For each part we ask: what should it do, and what does it really do?

# %%
import gymnasium as gym
import numpy as np
from matplotlib import pyplot as plt
from tour import exercise, hint_for, source

from minidqn import DQN, DQNConfig, train
from minidqn.batch import n_step_returns
from minidqn.parts.prioritized import set_priorities
from minidqn.parts.quantiles import quantile_huber_loss
from minidqn.replay import Replay
from minidqn.targets import td_targets

# %% [markdown]
# ## A corridor
#
# All four worlds are corridors. The fields are numbered from 0, where each episode starts. A rule says where an action
# leads, and which reward it gives. The episode terminates when the agent leaves the corridor, at either end. The state
# is a row of zeros with a 1 at the field of the agent.


# %%
class Corridor(gym.Env):
    def __init__(self, length, n_actions, rule):
        self.rule = rule
        self.fields = np.eye(length, dtype=np.float32)  # the state of each field
        self.observation_space = gym.spaces.Box(0, 1, (length,), np.float32)
        self.action_space = gym.spaces.Discrete(n_actions)

    def state(self):
        return (
            self.fields[self.field]
            if self.is_inside()
            else np.zeros_like(self.fields[0])
        )

    def is_inside(self):
        return 0 <= self.field < len(self.fields)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.field = 0
        return self.state(), {}

    def step(self, action):
        self.field, reward = self.rule(self.field, action, self.np_random)
        terminated = not self.is_inside()
        return self.state(), float(reward), terminated, False, {}


SEEDS = range(8)
SAME = {
    "hidden": (32,),
    "n_step": 1,
    "double": False,
    "batch_size": 32,
    "learning_starts": 500,
    "tau": 1.0,
    "target_every": 100,
}


def learn(env, steps, seed, on_step=(), **settings):
    """An agent that has learned; `settings` replace those in SAME."""
    config = DQNConfig(**(SAME | settings))
    agent = DQN(env.observation_space, env.action_space, config, seed)
    train(agent, env, steps, on_step=on_step, progress=False)
    return agent


def draw(axes, x, curves, style, label):
    """The mean over the seeds, and a band from lowest to highest; curves (seeds, x)."""
    (line,) = axes.plot(x, curves.mean(axis=0), style, lw=2, label=label)
    low, high = curves.min(axis=0), curves.max(axis=0)
    axes.fill_between(x, low, high, alpha=0.2, color=line.get_color())


# %% [markdown]
# In the pictures, lines are means over eight seeds. Bands go from the lowest seed to the highest.
#
# ## Double DQN: values that are too high
#
# The corridor has six fields and eight actions. Each action leads to the next field, and gives a random reward with
# mean 0. So every value is exactly 0. But the agent has seen only a few rewards of each action, and some of them were
# lucky. So its eight estimates have errors. The largest estimate is usually one with an error upwards. It is too
# high, and it goes into the target of the field before.
#
# *Double DQN* uses both networks. The online network says which action is best: `next_actions`. The target network
# says how good this action is: `q_next`. If the two have different errors, an action that looks too good to one network
# need not look too good to the other.

# %%
source(td_targets)


# %% mystnb={"image": {"alt": "How much too high the values are, field by field. Left: Double DQN is much lower than DQN near the start. Right: both are the same."}}
def noisy(field, action, rng):
    return field + 1, rng.normal()


world, too_high = Corridor(6, 8, noisy), {}
copied = "target copied every 1,000 updates"
following = "target follows, tau = 0.01"
targets = {
    copied: {"tau": 1.0, "target_every": 1_000},
    following: {"tau": 0.01, "target_every": 1},
}
settings = {"gamma": 1.0, "epsilon": 1.0, "buffer_size": 1_000}
figure, panels = plt.subplots(1, 2, figsize=(10, 3.5), sharey=True)
for axes, (name, target) in zip(panels, targets.items(), strict=True):
    for double, style, label in ((False, "s--", "DQN"), (True, "o-", "Double DQN")):
        values = np.zeros((len(SEEDS), 6))
        for seed in SEEDS:
            agent = learn(world, 6_000, seed, double=double, **settings, **target)
            values[seed] = agent.q_values(world.fields).max(axis=1)
        too_high[name, label] = values[:, 0].mean()
        draw(axes, range(6), values, style, label)
        print(f"{name}, {label}: the start is {too_high[name, label]:.2f} too high")
    axes.axhline(0, color="black", lw=1, ls=":")
    axes.set(title=name, xlabel="field")
panels[0].set_ylabel("max Q less the exact value, in rewards")
panels[0].legend(frameon=False)
plt.show()

# %% [markdown]
# In plain DQN the error grows from the last field back to the start, because each field adds a maximum of its own.
#
# On the left, Double DQN takes away more than half of the error at the start. (In the last field it changes nothing.
# There the target is only the reward.)
#
# On the right it changes almost nothing. The target network there is close behind the online one. Both have learned
# from the same 1,000 steps, and have the same errors. On the left, the memory has been filled with new steps
# between two copies. So the errors are different. Note that tau = 0.01 is minidqn's default.
#
# ## n-step returns: how fast a reward travels
#
# Now the corridor has 20 fields. Action 1 goes right and action 0 stays. Only the step out of the corridor gives a
# reward, 1. In chapter 4 each update carried the value one field back. An *n-step return* carries it up to n
# fields back:
#
# y = r₁ + gamma r₂ + ... + gamma^(n-1) rₙ + gamma^n · max Q(the state after n steps)
#
# Chapter 6 showed this as `look_ahead`, on the page. Below is the same in minidqn. It has more arguments, because it
# fills arrays that are made once, and because several environments may lie side by side in the ring. Read the inner
# loop.

# %%
source(n_step_returns)


# %% mystnb={"image": {"alt": "The value of the start against steps for n = 1, 3 and 10: the larger n, the sooner it rises, and the lower it ends."}}
def long(field, action, rng):
    reward = 1.0 if field + action == 20 else 0.0
    return field + action, reward


def values_of_start(seed, n):
    """max Q of the start after each step of a run."""
    curve, start = [], world.fields[0]

    def note(agent, history):
        curve.append(agent.q_values(start).max())

    settings = {"gamma": 0.95, "epsilon": 0.5, "learning_rate": 3e-3}
    learn(world, 5_000, seed, [note], n_step=n, **settings)
    return curve


world, exact = Corridor(20, 2, long), 0.95**19
steps = np.arange(100, 5_001, 100)
half_way, at_the_end = {}, {}
figure, axes = plt.subplots(figsize=(8, 3.5))
for n, style in ((1, "-"), (3, "--"), (10, ":")):
    curves = np.array([values_of_start(seed, n) for seed in SEEDS])
    draw(axes, steps, curves[:, 99::100], style, f"n = {n}")
    # the first step after the last one that was below half of the exact value
    last_below = [np.flatnonzero(curve < exact / 2)[-1] for curve in curves]
    half_way[n] = np.array(last_below) + 2
    at_the_end[n] = curves[:, -1] / exact
    print(
        f"n = {n}: half of the exact value after {half_way[n].mean():.0f} steps; ",
        end="",
    )
    print(f"in the end {at_the_end[n].mean():.2f} of it")
axes.axhline(exact, color="black", lw=1, label="exact")
axes.set(xlabel="steps", ylabel="max Q of the start, in rewards")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# With n = 1 the reward moves one field back with each copy of the target network. It needs 500 steps without
# learning, and then 19 copies, 100 steps apart. With a larger n it arrives sooner.
#
# This has a price. Half of the actions are random, and half of the random ones stay. Only the first action of a
# return should be judged. The n - 1 actions after it count as they were taken, with the bad ones, where
# the best actions should count. So the values end too low: a bias. minidqn does not correct this. It becomes less as
# epsilon falls.
#
# ## Quantiles: which returns are possible
#
# So far the network learned one number for each action, the mean return Q. *QR-DQN* learns how the returns are spread
# around it. Take a corridor of three fields. In the last field, action 0 gives 0.2. Action 1 gives about +1 in
# seven cases of ten, else about -1. Its Q is 0.4, but a return of 0.4 hardly ever comes.
#
# QR-DQN learns N numbers for each action: theta₁ to theta_N. They are *quantiles*: a share (k - ½) / N of the returns
# should be below theta_k. Q is the mean of all theta_k.
#
# How is a quantile learned? A target above theta_k pulls it up, with the weight (k - ½) / N. A target below theta_k
# pulls it down, with the weight 1 - (k - ½) / N. The two balance when a share (k - ½) / N of the targets is below. The
# targets are the N quantiles of the next state, and each theta_k is compared with all of them.
#
# The weight multiplies *Huber's loss* of chapter 5: it is squared for errors up to `delta`, and a straight line beyond.

# %%
source(quantile_huber_loss)


# %% mystnb={"image": {"alt": "Learned quantiles beside the true distribution of two outcomes: close with a small delta, drawn towards the mean with delta 1."}}
def gamble(field, action, rng):
    if field < 2:
        return field + 1, 0.0
    if action == 0:
        return field + 1, 0.2
    mean = 1.0 if rng.random() < 0.7 else -1.0
    return field + 1, rng.normal(mean, 0.2)


world, N, rng = Corridor(3, 2, gamble), 20, np.random.default_rng(0)
outcomes = np.sort([gamble(2, 1, rng)[1] for _ in range(20_000)])
shares = (np.arange(N) + 0.5) / N
true_quantiles = np.quantile(outcomes, shares)
figure, axes = plt.subplots(figsize=(8, 3.5))
axes.plot(outcomes, np.linspace(0, 1, 20_000), "k", lw=1, label="the true distribution")
theta = {}
for delta, style in ((1.0, "s"), (0.02, "o")):
    settings = {"quantiles": N, "huber_delta": delta, "gamma": 1.0, "epsilon": 0.5}
    theta[delta] = np.zeros((6, 3, N))  # of action 1: seeds, fields, quantiles
    for seed in range(6):
        agent = learn(world, 6_000, seed, **settings)
        outputs = agent.online.forward(world.fields).reshape(3, 2, N)
        theta[delta][seed] = outputs[:, 1]
    mean_theta = theta[delta].mean(axis=0)  # over the seeds
    label = f"learned, delta = {delta}"
    axes.plot(mean_theta[0], shares, style, mfc="none", ms=7, label=label)
    errors = np.abs(theta[delta] - true_quantiles).mean(axis=(0, 2))
    print(f"{label}: mean error {errors[2]:.2f} in the last field, ", end="")
    print(f"{errors[0]:.2f} at the start; Q of the start {mean_theta[0].mean():.2f}")
axes.set(xlabel="return of action 1 at the start, in rewards (mean of 6 seeds)")
axes.set(ylabel="share of returns below")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# With a small delta, the quantiles show both outcomes and how likely each of them is. (Hardly any return lies between
# the two. So a quantile there is uncertain.)
#
# With delta = 1, the loss is nearly always squared. A squared loss learns the mean, so the quantiles move
# towards it, more with each field back from the end. Even Q becomes too low. delta = 1 is minidqn's default. It
# suits plain DQN, but not quantiles.
#
# ## Priorities: draw what surprises
#
# In this corridor each field has one right action: 0 in the first field, 1 in the second, and so on in turn. The right
# action goes on, the other one falls out of the corridor. Only the last step gives a reward. We store 5,000 random
# steps, and then only learn, without new steps. How many updates does it take until the values of all right
# actions have an error below 0.1?
#
# *Prioritised replay* draws a step more often if its last error was large. The probability is proportional to a power
# of the error: `alpha` is that power. So the few steps with a reward are drawn sooner. (What is drawn more often counts
# less in the loss, so that the mean stays right.)

# %%
source(set_priorities)


# %% mystnb={"image": {"alt": "Updates needed for corridors of 3, 6 and 8 fields, uniform and with priorities: where rewards are rarest, priorities need fewer."}}
def cliff_of(length):
    def cliff(field, action, rng):
        if action != field % 2:
            return -1, 0.0  # falls out
        reward = 1.0 if field + 1 == length else 0.0
        return field + 1, reward

    return cliff


def updates_needed(length, seed, alpha):
    world = Corridor(length, 2, cliff_of(length))
    settings = {"learning_starts": 5_000, "gamma": 0.9, "epsilon": 1.0}
    agent = learn(world, 5_000, seed, priority_alpha=alpha, target_every=10, **settings)
    fields = np.arange(length)
    exact = 0.9 ** fields[::-1]
    error = np.inf
    while error > 0.1 and agent.updates < LIMIT:
        agent.learn()
        right_actions = agent.q_values(world.fields)[fields, fields % 2]
        error = np.abs(right_actions - exact).max()
    return agent.updates


LIMIT = 5_000
lengths = np.array([3, 6, 8])
needed = {}
figure, axes = plt.subplots(figsize=(8, 3.5))
for alpha, style, label in ((0.0, "C0s", "uniform"), (0.6, "C1o", "with priorities")):
    needed[label] = np.array(
        [[updates_needed(n, seed, alpha) for seed in SEEDS] for n in lengths]
    )
    shift = -0.1 if alpha == 0.0 else 0.1
    x = np.arange(3).repeat(len(SEEDS)) + shift
    axes.plot(x, needed[label].ravel(), style, mfc="none", label=label)
    means = needed[label].mean(axis=1)
    for n, mean in zip(lengths, means, strict=True):
        print(f"{label}, {n} fields: {mean:.0f} updates, the mean of 8 seeds")
axes.set(yscale="log", xlim=(-0.5, 2.5), ylabel="updates needed (a mark for each seed)")
axes.set_yticks([100, 200, 500, 1000, 2000], ["100", "200", "500", "1,000", "2,000"])
axes.minorticks_off()
names = [f"{n} fields:\none step in {2 ** (n + 1) - 2:,} rewarded" for n in lengths]
axes.set_xticks(range(3), names)
axes.legend(frameon=False, loc="upper left")
plt.show()

# %% [markdown]
# Where rewards are common, priorities do not help. Where they are rare, priorities save many of the updates.
#
# In other worlds they may not help at all. In [minidqn's own comparison](../../benchmarks/results/ablation.md),
# priorities added to plain DQN made no clear difference on CartPole, Acrobot and LunarLander. So what does a part do
# in your world? Only a comparison over many seeds can tell. That is chapter 9.
#
# ## The other parts
#
# The folder [minidqn/parts](../../minidqn/parts) has more of them. Each file begins with its idea and its source. The
# agent of [examples/cartpole.py](../../examples/cartpole.py) uses one of these:
# [noise on the parameters](../../minidqn/parts/param_noise.py). A random action now and then changes little, because
# the next greedy action undoes it. So noise is added to all weights and biases, and stays for a whole episode: the agent
# explores with a policy that is a little different in each episode. Chapter 9 looks at a hundred seeds without this
# noise, of which six fail.
#
# ## Exercises
#
# **1.** Write the target of Double DQN for one step. `online_q` and `target_q` are what the two networks say of
# the next state, one value for each action. `discount` is gamma^k, or 0 if the episode terminated.


# %%
def my_double_target(R, discount, online_q, target_q):
    return R  # your answer


# %% tags=["checker"]
@exercise
def check_1(answer):
    R = 0.5
    online_q = np.array([1.0, 3.0, 2.0])
    target_q = np.array([0.2, 1.5, 4.0])
    for discount in (0.9, 0.5, 0.0):
        expected = R + discount * target_q[1]
        mistakes = {
            "that is the target of plain DQN. Here the online network chooses.": R
            + discount * target_q.max(),
            "the online network chooses, but the target network gives the value.": R
            + discount * online_q.max(),
            "the two networks are exchanged.": R + discount * online_q[2],
            "the discount is missing.": R + target_q[1],
            "what follows is missing.": R,
            "R is missing.": discount * target_q[1],
        }
        otherwise = (
            f"with R {R}, discount {discount}, online_q {online_q} and target_q "
            f"{target_q} it is {expected:.2f}."
        )
        found = answer(R, discount, online_q, target_q)
        hint = hint_for(found, expected, mistakes, otherwise)
        if hint:
            return hint
    return None


check_1(my_double_target)


# %% tags=["solution"]
def solution_1(R, discount, online_q, target_q):
    return R + discount * target_q[np.argmax(online_q)]


# %% [markdown]
# **2.** `rewards` has the rewards of the steps that follow a state, in order. `terminated` says for each of these steps
# whether it ended the episode. Compute the n-step return R, and the discount of the value that follows. After an
# end come the steps of the next episode. They do not count.


# %%
def my_return(rewards, terminated, n, gamma):
    return rewards[0], gamma  # your answer: R and the discount


# %% tags=["checker"]
@exercise
def check_2(answer):
    gamma = 0.5
    rewards = [1.0, 2.0, 4.0, 8.0, 16.0]
    for end in (4, 2, 0):
        terminated = [step == end for step in range(5)]
        for n in (1, 2, 3, 4):
            R, discount = expected = by_minidqn(rewards, terminated, n, gamma)
            upto = min(n, end + 1)  # the rewards that count
            past_the_end = sum(gamma**k * rewards[k] for k in range(n))
            without_last = sum(gamma**k * rewards[k] for k in range(upto - 1))
            mistakes = {
                "the rewards after an end are of another episode.": (
                    past_the_end,
                    discount,
                ),
                "after an end nothing follows: the discount is 0.": (R, gamma**n),
                "the value that follows comes n steps later: gamma^n.": (R, gamma),
                "the reward of the last step that counts is missing.": (
                    without_last,
                    discount,
                ),
                "the rewards must be discounted, too.": (sum(rewards[:upto]), discount),
                "that is only the first step. There are n of them.": (
                    rewards[0],
                    gamma,
                ),
            }
            otherwise = (
                f"with rewards {rewards}, the end at step {end + 1}, n = {n} and "
                f"gamma = 0.5 it is {R}, {discount}."
            )
            found = answer(rewards, terminated, n, gamma)
            hint = hint_for(found, expected, mistakes, otherwise)
            if hint:
                return hint
    return None


def by_minidqn(rewards, terminated, n, gamma):
    """What minidqn's own memory says: R and the discount."""
    state = np.zeros(1, np.float32)
    replay = Replay(20, (1,), np.float32, 2)
    replay.begin(state)
    for reward, over in zip(rewards, terminated, strict=True):
        replay.add(0, reward, state, over, False)
        if over:
            replay.begin(state)
    batch = replay.batch(np.array([0]), n, gamma)
    return float(batch.returns[0]), float(batch.discounts[0])


check_2(my_return)


# %% tags=["solution"]
def solution_2(rewards, terminated, n, gamma):
    total = 0.0
    for k in range(n):
        total += gamma**k * rewards[k]
        if terminated[k]:
            return total, 0.0
    return total, gamma**n
