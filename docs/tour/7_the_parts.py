# %% [markdown]
# # 7. The parts
#
# What has been added to DQN since 2015, and what does each part do? Four of them, each in a world so small
# that the right answer is known. From each we ask what it should do, and what it does.

# %%
import gymnasium as gym
import numpy as np
from matplotlib import pyplot as plt
from tour import right, source

from minidqn import DQN, DQNConfig, train
from minidqn.batch import n_step_returns
from minidqn.parts.prioritized import set_priorities
from minidqn.parts.quantiles import quantile_huber_loss
from minidqn.replay import Replay
from minidqn.targets import td_targets

# %% [markdown]
# ## A corridor
#
# The fields are numbered from 0, the start. A rule says where an action leads, and with which reward. Who
# leaves the corridor, at either end, has terminated. What the agent sees is a 1 at its field, else zeros.


# %%
class Corridor(gym.Env):
    def __init__(self, length, n_actions, rule):
        self.rule, self.seen = rule, np.eye(length + 1, length, dtype=np.float32)
        self.fields = self.seen[
            :length
        ]  # what is seen in each field; beyond them, zeros
        self.observation_space = gym.spaces.Box(0, 1, (length,), np.float32)
        self.action_space = gym.spaces.Discrete(n_actions)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.field = 0
        return self.seen[0], {}

    def step(self, action):
        self.field, reward = self.rule(self.field, action, self.np_random)
        outside = not 0 <= self.field < len(self.fields)
        return self.seen[self.field], float(reward), outside, False, {}


SEEDS = range(6)
SAME = {
    "hidden": (32,),
    "n_step": 1,
    "double": False,
    "batch_size": 32,
    "learning_starts": 500,
}


def learn(env, steps, seed, watch=(), **settings):
    config = DQNConfig(**(SAME | {"tau": 1.0, "target_every": 100} | settings))
    agent = DQN(env.observation_space, env.action_space, config, seed)
    train(agent, env, steps, on_step=watch, progress=False)
    return agent


def draw(axes, x, curves, style, label):
    """The mean over the seeds, and a band from the lowest to the highest: curves (seeds, x)."""
    (line,) = axes.plot(x, np.mean(curves, axis=0), style, lw=2, label=label)
    axes.fill_between(
        x, *np.quantile(curves, (0, 1), 0), alpha=0.2, color=line.get_color()
    )


# %% [markdown]
# ## Double DQN: values that are too high
#
# Six fields, eight actions, and each of them leads to the next field with a random reward whose mean is 0.
# So each value is exactly 0. But an agent knows each action from a few rewards only, some lucky. The
# maximum of eight noisy estimates is too high, and the field before takes it as its target.
#
# *Double DQN* lets the online network say which action is best, `next_actions`, and the target network how good
# it is, `q_next`. An action that was lucky for one need not have been lucky for the other.

# %%
source(td_targets)


# %% mystnb={"image": {"alt": "How much too high the values are, field by field: Double DQN about a third of DQN at the start on the left, the same as DQN on the right."}}
def noisy(field, action, rng):
    return field + 1, rng.normal()


world, too_high = Corridor(6, 8, noisy), {}
copied, following = {"target_every": 1_000}, {"tau": 0.01, "target_every": 1}
targets = {
    "target copied every 1,000 updates": copied,
    "target follows, tau = 0.01": following,
}
settings = {"gamma": 1.0, "epsilon": 1.0, "buffer_size": 1_000}
figure, panels = plt.subplots(1, 2, figsize=(10, 3.5), sharey=True)
for axes, (name, target) in zip(panels, targets.items(), strict=True):
    for double, style, label in ((False, "s--", "DQN"), (True, "o-", "Double DQN")):
        of = [
            learn(world, 6_000, seed, double=double, **settings, **target)
            for seed in SEEDS
        ]
        values = np.array([agent.q_values(world.fields).max(axis=1) for agent in of])
        too_high[name, label] = values[:, 0]
        draw(axes, range(6), values, style, label)
        print(f"{name}, {label}: the start is {values[:, 0].mean():.2f} too high")
    axes.axhline(0, color="black", lw=1, ls=":")
    axes.set(title=name, xlabel="field")
panels[0].set_ylabel("max Q less the exact value, in rewards")
panels[0].legend(frameon=False)
plt.show()

# %% [markdown]
# (Lines are means over six seeds; bands go from the lowest seed to the highest.) In plain DQN the error grows
# from the last field back to the start: each adds a maximum of its own. On the left, Double DQN takes away two thirds
# of it at the start, and nearly half in the next two fields. (In the last there is nothing to take away: no maximum
# is in its target.) On the right it does almost nothing: there the target network is close behind the online one,
# both learned from the same 1,000 steps, and the same luck deceives both. On the left, the memory has been
# renewed between two copies. And tau = 0.01 is minidqn's default.
#
# ## n-step returns: how fast a reward travels
#
# In a corridor of 20 fields, action 1 goes right and action 0 stays. Only the way out gives a reward, 1. In
# chapter 4 each update carried it one field back. With n-step returns it is carried up to n fields:
#
# y = r₁ + gamma r₂ + ... + gamma^(n-1) rₙ + gamma^n · max Q(the state after n steps)

# %%
source(n_step_returns)


# %% mystnb={"image": {"alt": "The value of the start against steps for n = 1, 3 and 10: the larger n, the sooner it rises, and the lower it ends."}}
def long(field, action, rng):
    return field + action, field + action == 20


def values_of_start(seed, n):
    curve, start = [], world.fields[0]
    look = [lambda agent, history: curve.append(agent.q_values(start).max())]
    learn(
        world, 5_000, seed, look, n_step=n, gamma=0.95, epsilon=0.5, learning_rate=3e-3
    )
    return curve


world, exact, travel = Corridor(20, 2, long), 0.95**19, {}
figure, axes = plt.subplots(figsize=(8, 3.5))
for n, style in ((1, "-"), (3, "--"), (10, ":")):
    curves = np.array([values_of_start(seed, n) for seed in SEEDS])
    draw(axes, range(100, 5_001, 100), curves[:, 99::100], style, f"n = {n}")
    half = 5_001 - np.argmax(
        curves[:, ::-1] < exact / 2, axis=1
    )  # after the last that was below
    travel[n] = half, curves[:, -1] / exact
    print(
        f"n = {n}: above half of the exact value from step {np.median(half):.0f} on, ",
        end="",
    )
    print(f"in the end at {travel[n][1].mean():.2f} of it")
axes.axhline(exact, color="black", lw=1, label="exact")
axes.set(xlabel="steps", ylabel="max Q of the start, in rewards")
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# With n = 1 the reward comes one field further with each copy of the target network: 500 steps without
# learning, then 19 copies, 100 steps apart. With larger n it comes sooner. The price: half of the actions are
# random, so a quarter of them stay, and the n - 1 actions after the first count as they were, not as the best
# ones would be. So the values end too low. minidqn does not correct this; as epsilon falls, it becomes less.
#
# ## Quantiles: a picture of what may come
#
# Three fields. In the last, action 0 gives 0.2, and action 1 about +1 in seven cases of ten, else about -1. Its Q
# is 0.4, a return that hardly ever comes. *QR-DQN* learns N numbers for each action, theta₁ to theta_N: a share
# (k - ½) / N of the returns should be below theta_k. Their mean is Q. To get there, the error of a target
# above theta_k weighs (k - ½) / N and that of one below it 1 - (k - ½) / N, so that the two sides balance where a
# share (k - ½) / N lies below. The targets are the N quantiles of what follows, and each theta_k is compared with
# each of them. `delta` says from which size on an
# error counts as a straight line and no longer squared (*Huber's loss*, which plain DQN has too):

# %%
source(quantile_huber_loss)


# %% mystnb={"image": {"alt": "Learned quantiles beside the true distribution of two outcomes: close with a small delta, drawn towards the mean with delta 1."}}
def gamble(field, action, rng):
    if field < 2 or action == 0:
        return field + 1, 0.2 * (field == 2)
    return field + 1, rng.normal(1 if rng.random() < 0.7 else -1, 0.2)


world, N, theta, rng = Corridor(3, 2, gamble), 20, {}, np.random.default_rng(0)
outcomes = np.sort([gamble(2, 1, rng)[1] for _ in range(20_000)])
shares = (np.arange(N) + 0.5) / N
figure, axes = plt.subplots(figsize=(8, 3.5))
axes.plot(outcomes, np.linspace(0, 1, 20_000), "k", lw=1, label="the true distribution")
for delta, style in ((1.0, "s"), (0.02, "o")):
    settings = {"quantiles": N, "huber_delta": delta, "gamma": 1.0, "epsilon": 0.5}
    of = [learn(world, 6_000, seed, **settings) for seed in range(3)]
    outputs = [agent.online.forward(world.fields).reshape(3, 2, N) for agent in of]
    theta[delta] = np.array(outputs)[:, :, 1]  # of action 1: seeds, fields, quantiles
    label = f"learned, delta = {delta}"
    axes.plot(theta[delta][0, 0], shares, style, mfc="none", ms=7, label=label)
    start, _, last = np.abs(theta[delta] - np.quantile(outcomes, shares)).mean(
        axis=(0, 2)
    )
    print(
        f"{label}: mean error {last:.2f} in the last field, {start:.2f} at the start",
        end="; ",
    )
    print(f"Q there {theta[delta][:, 0].mean():.2f}, exact 0.40")
axes.set(
    xlabel="return of action 1 at the start, in rewards",
    ylabel="share of returns below",
)
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# With a small delta, the quantiles show both outcomes and how likely each is. (Between the two lie almost no
# returns, so a quantile there is uncertain.) With delta = 1, minidqn's default, which suits plain DQN, they are
# drawn towards the mean, more with each field back from the end; and even Q, their mean, becomes too low.
#
# ## Priorities: drawing what surprises
#
# Each field has one action that goes on, 0 and 1 in turn; the other one falls out. Only the way out gives a
# reward. We store 5,000 random steps and then only learn: how many updates until the values of all
# actions that go on are right within 0.1?
# *Prioritised replay* draws a transition in proportion to a power of its last error, so that the few with a
# reward are drawn sooner. (`alpha` is that power, and `errors` are the last ones. What is drawn too often weighs
# less in the loss.)

# %%
source(set_priorities)


# %% mystnb={"image": {"alt": "Updates needed for corridors of 3, 6 and 9 fields, uniform and with priorities: where rewards are rarest, priorities need about half."}}
def updates_needed(length, seed, alpha):
    def cliff(field, action, rng):
        return (field + 1, field + 1 == length) if action == field % 2 else (-1, 0)

    world, way = Corridor(length, 2, cliff), np.arange(length)
    settings = {
        "learning_starts": 5_000,
        "target_every": 10,
        "gamma": 0.9,
        "epsilon": 1.0,
    }
    agent, wrong = learn(world, 5_000, seed, priority_alpha=alpha, **settings), np.inf
    while wrong > 0.1 and agent.updates < 5_000:
        agent.learn()
        values = agent.q_values(world.fields)[way, way % 2]  # of the actions that go on
        wrong = np.abs(values - 0.9 ** way[::-1]).max()
    return agent.updates


lengths, needed = np.array([3, 6, 9]), {}
figure, axes = plt.subplots(figsize=(8, 3.5))
for alpha, style, label in ((0.0, "C0s", "uniform"), (0.6, "C1o", "with priorities")):
    of = np.array(
        [[updates_needed(length, seed, alpha) for seed in SEEDS] for length in lengths]
    )
    needed[alpha] = np.median(of, axis=1)
    x = lengths.repeat(len(SEEDS)) + 0.6 * alpha - 0.2
    axes.plot(x, of.ravel(), style, mfc="none", label=label)
    print(f"{label}: {needed[alpha]} updates (medians) for {lengths} fields")
axes.set(yscale="log", xlim=(1.5, 10.5), ylabel="updates needed (a mark for each seed)")
axes.set_yticks([100, 200, 500, 1000, 2000], ["100", "200", "500", "1,000", "2,000"])
axes.set_xticks(
    lengths,
    [f"{n} fields:\none step in {2 ** (n + 1) - 2:,} rewarded" for n in lengths],
)
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# Where rewards are common, priorities do not help; where one step in a thousand has one, they save nearly half of
# the updates. Nor do they always help elsewhere: in
# [minidqn's own comparison](../../benchmarks/results/ablation.md), adding them to plain DQN made no clear
# difference on CartPole, Acrobot and LunarLander. What a part does in your world, only seeds can tell.
#
# ## Exercises
#
# **1.** Write the target of Double DQN for one transition. `online_q` and `target_q` are what the two networks
# say of the next state, one value for each action; `discount` is gamma^k, or 0 where the episode terminated.


# %%
def my_double_target(R, discount, online_q, target_q):
    return R  # your answer


# %% tags=["checker"]
def check_1(answer):
    rng = np.random.default_rng(0)
    for discount in (0.9, 0.5, 0.0):
        R, online_q, target_q = np.split(rng.normal(size=9).round(1), (1, 5))
        best, y = np.array([online_q.argmax()]), np.empty(1)
        td_targets(R, np.array([discount]), target_q[None], best, y)
        if not np.isclose(answer(R[0], discount, online_q, target_q), y[0]):
            q = f"online {online_q}, target {target_q}"
            return right(False, f"R {R[0]}, discount {discount}, {q}: {y[0]:.2f}")
    return right(True, "")


check_1(my_double_target)


# %% tags=["solution"]
def solution_1(R, discount, online_q, target_q):
    return R + discount * target_q[np.argmax(online_q)]


# %% [markdown]
# **2.** From the rewards of the steps that follow a state, in order, and whether each of them terminated,
# compute the n-step return R and the discount of the bootstrap. After an end come the steps of the next
# episode, which do not count.


# %%
def my_return(rewards, terminated, n, gamma):
    return rewards[0], gamma  # your answer: R and the discount


# %% tags=["checker"]
def check_2(answer):
    rewards, seen = [1.0, 2.0, 4.0, 8.0, 16.0], np.zeros(1, np.float32)
    for end in (0, 2, 4):
        terminated = [step == end for step in range(5)]
        replay = Replay(20, (1,), np.float32, 2)
        replay.begin(seen)
        for reward, over in zip(rewards, terminated, strict=True):
            replay.add(0, reward, seen, over, False)
            if over:
                replay.begin(seen)
        for n in (1, 2, 3, 4):
            batch = replay.batch(np.array([0]), n, 0.5)
            expected = float(batch.returns[0]), float(batch.discounts[0])
            if not np.allclose(answer(rewards, terminated, n, 0.5), expected):
                hint = f"rewards {rewards}, step {end + 1} terminates, n {n}, gamma 0.5: {expected}"
                return right(False, hint)
    return right(True, "")


check_2(my_return)


# %% tags=["solution"]
def solution_2(rewards, terminated, n, gamma):
    total = 0.0
    for k in range(n):
        total += gamma**k * rewards[k]
        if terminated[k]:
            return total, 0.0
    return total, gamma**n
