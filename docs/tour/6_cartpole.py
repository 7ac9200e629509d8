# %% [markdown]
# # 6. CartPole
#
# A cart carries a pole. Each step pushes the cart to the left or to the right. It gives a reward of 1 while the pole
# stands. We now have nearly all the parts that are needed to learn this. What does the network know after 500 steps?
# And what after 20,000?
#
# ## All of it on one page
#
# [examples/one_page.py](../../examples/one_page.py) is all of DQN in about 200 lines. From chapters 1 to 5 you know the
# network with its backprop, Adam, the ring with its bridges, the target network, Huber's loss, and the random actions.
# These are new:
#
# - `N_STEP` and `look_ahead`: a target has up to 40 rewards, where chapter 5 had one. See below, and chapter 7.
# - *Double DQN*: the online network chooses the next action, and the target network says how good it is. See chapter 7.
# - The end of an episode is `TERMINATED` or `TRUNCATED`. Chapter 5 only named them. This chapter shows the difference.
# - `BOUNDS`: the position and the angle are divided by their bounds, so that a small angle counts as much as a large
#   position. The two speeds have no bounds. They are divided by 1.
# - The learning rate and epsilon become smaller during the run. See below.
#
# Open the page beside this chapter and read it from top to bottom. It takes about ten seconds to learn CartPole, and
# several times as long on a busy computer:

# %%
import gymnasium as gym
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patheffects import withStroke
from tour import exercise, hint_for, load_page, source

page = load_page()
page_agent = page.Agent([(4, 64), (64, 64), (64, 2)], capacity=50_000, seed=0)
page_env = gym.wrappers.RecordEpisodeStatistics(gym.make("CartPole-v1"))
page.train(page_agent, page_env)
page.test(page_agent, page_env)

# %% [markdown]
# The last line is the test: 100 new episodes without random actions. The largest possible return is 500.
#
# Below is one update of the page. The line with `y =` is the target of chapter 5. `look_ahead` adds up the rewards: its
# code comes later in this chapter. `next_actions` is what makes it Double DQN. The loss is Huber's.

# %%
source(page.Agent.learn)

# %% [markdown]
# minidqn is this page, made general and fast. Its tests compare the two: from the same parameters and the same
# batches they arrive at the same parameters. From here on we use minidqn.

# %%
from dataclasses import replace

from minidqn import DQN, DQNConfig, LinearDecay, evaluate, train

# %% [markdown]
# ## Six moments of a run
#
# The settings are those of the page. Only the run is half as long here. Five of them are new:
#
# - `normalize_obs` scales each number of an observation to -1 to 1, if the environment gives bounds for it. On the
#   page, `BOUNDS` does this.
# - `n_step` says how many rewards are added up before the network is asked what follows.
# - `train_every`: there is one update every four steps. In chapter 5 there was one after each step.
# - The learning rate falls to 0.
# - epsilon falls from 1 to 0.1: at first the agent tries everything, later it mostly does what is best.
#
# May 40 rewards be added up, although some of the 40 actions were random? Random actions earn less than the best
# ones, so the targets are too low: this is a *bias*. It is the price for speed, because a fall changes the targets of
# the last 40 steps at once. Chapter 7 measures both.

# %%
STEPS, GAMMA = 20_000, 0.995
config = DQNConfig(
    normalize_obs=True,
    gamma=GAMMA,
    n_step=40,
    batch_size=128,
    train_every=4,
    learning_rate=LinearDecay(3e-3, 0.0, STEPS),
    epsilon=LinearDecay(1.0, 0.1, STEPS / 10),
    learning_starts=200,
)


def new_agent(seed):
    env = gym.make("CartPole-v1")
    return DQN(env.observation_space, env.action_space, config, seed)


# %% [markdown]
# Six agents learn, from six seeds. At six moments each of them plays ten greedy episodes. We look at the first agent
# more closely: what does it think of the pole's angle and speed, with the cart in the middle and at rest?

# %%
angles, speeds = np.linspace(-0.21, 0.21, 60), np.linspace(-2.0, 2.0, 60)
states = np.zeros((60, 60, 4), np.float32)  # cart: position, speed; pole: angle, speed
states[:, :, 2], states[:, :, 3] = np.meshgrid(angles, speeds)


def values_in_the_middle(agent):
    """Q of both actions, for all angles and speeds: (60, 60, 2)."""
    return agent.q_values(states.reshape(-1, 4)).reshape(60, 60, 2)


SEEDS = range(6)
MOMENTS = [500, 1_000, 2_000, 4_000, 8_000, STEPS]
env, test_env = gym.make("CartPole-v1"), gym.make("CartPole-v1")
returns = np.zeros((len(SEEDS), len(MOMENTS)))
q_values = np.zeros((len(SEEDS), len(MOMENTS), 60, 60, 2))
for seed in SEEDS:
    agent, history = new_agent(seed), None
    for at, moment in enumerate(MOMENTS):
        steps = moment - agent.steps
        history = train(agent, env, steps, history=history, progress=False)
        returns[seed, at] = evaluate(agent, test_env, 10, progress=False).mean()
        q_values[seed, at] = values_in_the_middle(agent)

for at, moment in enumerate(MOMENTS):
    mean, lowest = returns[:, at].mean(), returns[:, at].min()
    print(f"{moment:6,} steps: mean return {mean:.0f}, of the worst seed {lowest:.0f}")

# %% mystnb={"image": {"alt": "Six pictures of max Q over pole angle and speed, after 500 to 20,000 steps: a bright area grows in the middle, and a white line, the policy's border, runs through it."}}
figure, panels = plt.subplots(2, 3, figsize=(11, 6.2), sharex=True, sharey=True)
for axes, at in zip(panels.flat, range(len(MOMENTS)), strict=True):
    q = q_values[0, at]
    best, right_is_better = q.max(axis=2), q[:, :, 1] - q[:, :, 0]
    image = axes.pcolormesh(angles, speeds, best, cmap="viridis", vmin=0, vmax=200)
    for colour, width in (("black", 4), ("white", 2)):
        axes.contour(
            angles, speeds, right_is_better, [0.0], colors=colour, linewidths=width
        )
    axes.set_title(f"seed 0 after {MOMENTS[at]:,} steps")
for row, column in ((12, 12), (47, 47)):  # what is the greedy action here, at the end?
    push = "right" if right_is_better[row, column] > 0 else "left"
    spot = angles[column], speeds[row]
    label = axes.text(*spot, push, color="white", ha="center", va="center", size=13)
    label.set_path_effects([withStroke(linewidth=3, foreground="black")])
figure.supxlabel("pole angle, radians (the episode ends at 0.21)")
figure.supylabel("pole speed, radians / s")
figure.colorbar(image, ax=panels, label="max Q, in steps (discounted)")
plt.show()

# %% [markdown]
# The white line is the policy: on its two sides the greedy action differs. The last picture says where it pushes to the
# left, and where to the right. At the end, the agent pushes to the side to which the pole leans or falls. (In the dark
# corners the pole cannot be saved. Both actions are equally bad there, and white lines mean nothing.)
#
# The colours are the values. They grow over the whole run, in the middle to about 200.
#
# This is one agent of six. Another seed looks different on the way, and so may your computer, which rounds differently.
# Learning is not steady, either: between two moments an agent may become worse. So look at the means above, too.
#
# ## Why 200, and why 475
#
# A reward of 1 in every step, for ever, is worth 1 + gamma + gamma² + ... = 1 / (1 - gamma). Here this is 200. So a
# value near 200 means: this pole will not fall.
#
# The *return* that people report is something else: the sum of an episode's rewards, not discounted. Gymnasium says
# which return counts as "solved":

# %%
spec = gym.spec("CartPole-v1")
print(f"an episode ends after {spec.max_episode_steps} steps at the latest")
print(f"the task is solved at a mean return of {spec.reward_threshold}")

# %% [markdown]
# This is a mean over 100 episodes. An agent that drops the pole half-way in one episode of ten has 475. A perfect
# agent has 500.
#
# ## Truncated is not terminated
#
# An episode of CartPole ends in one of two ways.
#
# - *Terminated*: the pole falls, or the cart leaves the track. Nothing follows. The value behind the last step is 0.
# - *Truncated*: the time limit ends the episode. The pole still stands. So the network is asked what would have
#   followed, as after any other step.
#
# On the page this is the line `discounts[i] *= ...` in the loop below. The loop adds up the rewards of k steps. Then
# the network's answer counts GAMMA^k times, or 0 times if the episode terminated. `starts` are the slots of the steps
# in the batch, and `ends` are the slots of the states that were reached. If the episode ended, this slot is the bridge:
# it holds the final observation. `head` is the slot of the newest observation, where the stored steps end.

# %%
source(page.look_ahead)

# %% [markdown]
# minidqn does the same in `n_step_returns` (minidqn/batch.py), also for several environments at once.

# %% [markdown]
# Much code has only one flag, `done`, for both kinds of end. What does this mistake cost? We train with a time limit of
# 50 steps, because with 500 an episode is seldom truncated. The test has the usual 500 steps. Eight seeds learn each
# way. (This takes about half a minute.)


# %%
class Done(gym.Wrapper):
    """Says terminated when the time is up: the mistake."""

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        return obs, reward, terminated or truncated, False, info


tested, first_values = {}, {}
for name in ("truncated", "done"):
    tested[name], first_values[name] = [], []
    for seed in range(8):
        short_env = gym.make("CartPole-v1", max_episode_steps=50)
        if name == "done":
            short_env = Done(short_env)
        learner = new_agent(seed)
        train(learner, short_env, STEPS, progress=False)
        test = evaluate(learner, test_env, 20, progress=False)
        tested[name].append(test.mean())
        upright = np.zeros((1, 4), np.float32)  # all at rest, in the middle
        first_values[name].append(learner.q_values(upright).max())
    print(
        f"{name}: mean return {np.mean(tested[name]):.0f}, "
        f"mean value of the upright pole {np.mean(first_values[name]):.0f}"
    )

# %% mystnb={"image": {"alt": "Test return and value of the upright pole for eight seeds each: those told truncated have returns of hundreds and values near 200, those told done have low returns and values near 50."}}
plt.figure(figsize=(8, 4))
for name, mark in (("truncated", "o"), ("done", "x")):
    plt.plot(first_values[name], tested[name], mark, ms=9, mew=2, label=name)
plt.axvline(1 / (1 - GAMMA), color="0.6", ls=":", label="for ever: 200")
plt.xlabel("max Q of the upright pole, in steps (discounted)")
plt.ylabel("return, mean of 20 tests")
plt.xlim(0, None)
plt.ylim(0, 520)
plt.legend(frameon=False, title="the limit is", loc="upper center")
plt.show()

# %% [markdown]
# Neither kind of agent has ever seen step 51. The "truncated" agents value the upright pole at about 200: it can stand
# for ever. The "done" agents learned that even a well balanced pole soon brings nothing more. They value it far too
# low, and their poles fall much earlier in the test.
#
# (The "truncated" agents are not perfect. Some values are above 200, which is impossible. Chapter 7 shows
# where such values come from.)
#
# ## Does it need the target network?
#
# On the page, write `self.target = self.online` where it makes the copy. Then it has no target network. Run it again:
# it learns as well as before. Was chapter 5 wrong? We try it with minidqn, with `n_step=40` and with `n_step=1`. With
# tau = 1 the target network is always equal to the online one, so it is as if there were none. Four seeds learn each
# way, for 10,000 steps. (This takes about a quarter of a minute.)


# %%
with_and_without = {"with": {"tau": 0.01}, "without": {"tau": 1.0}}
short = replace(config, learning_rate=LinearDecay(3e-3, 0.0, 10_000))
means = {}
for n_step in (40, 1):
    for name, target in with_and_without.items():
        settings = replace(short, n_step=n_step, **target)
        scores, tops = [], []
        for seed in range(4):
            learner = DQN(env.observation_space, env.action_space, settings, seed)
            train(learner, env, 10_000, progress=False)
            scores.append(evaluate(learner, test_env, 10, progress=False).mean())
            tops.append(learner.q_values(upright).max())
        means[n_step, name] = np.mean(scores), np.mean(tops)
        print(
            f"n_step = {n_step}, {name} a target network: mean return "
            f"{np.mean(scores):.0f}, mean value of the upright pole {np.mean(tops):,.0f}"
        )

# %% [markdown]
# No value can be above 200. With `n_step=1` and no target network the values explode. The next state is only one step
# away and looks nearly the same. So when Q(s) rises, its target rises too, again and again. (With a target network,
# `n_step=1` is only slow: 10,000 steps are too few.)
#
# With `n_step=40` there is a brake. The network is asked about a state 40 steps later, which looks different. And where
# the pole falls within these 40 steps, it is not asked at all. At first this is nearly always so. So `n_step=40` hides
# what a target network is good for. Do not conclude from one setting that a part is not needed.
#
# ## Exercises
#
# **1.** The pole falls after n more steps. Each of them gives a reward of 1. What is that worth?


# %%
def my_value(n, gamma):
    return 0.0  # your answer


# %% tags=["checker"]
@exercise
def check_1(answer):
    for n, gamma in ((10, 0.8), (1, 0.9), (500, 0.995)):
        expected = sum(gamma**k for k in range(n))
        mistakes = {
            "gamma counts once more with each step: 1 + gamma + gamma² + ...": n
            * gamma,
            "later rewards count less: gamma is missing.": n,
            "that is the worth if the pole never falls.": 1 / (1 - gamma),
            "the first reward counts in full: gamma^0 = 1.": gamma * expected,
            "that is one reward, the last. Add up all n of them.": gamma ** (n - 1),
            "that is what follows after the fall, if there were something.": gamma**n
            / (1 - gamma),
            "that is one reward too many: n steps, from gamma^0 to gamma^(n-1).": expected
            + gamma**n,
        }
        word = "step is" if n == 1 else "steps are"
        otherwise = f"with gamma = {gamma}, {n} {word} worth {expected:.4f}."
        hint = hint_for(answer(n, gamma), expected, mistakes, otherwise)
        if hint:
            return hint
    return None


check_1(my_value)


# %% tags=["solution"]
def solution_1(n, gamma):
    return (1 - gamma**n) / (1 - gamma)


# %% [markdown]
# **2.** Write the target y of a step. R is the discounted sum of k rewards. `best_q` is the value of the best action in
# the state that is reached after them.


# %%
def my_target(R, k, gamma, best_q, terminated, truncated):
    return R + best_q  # your answer


# %% tags=["checker"]
@exercise
def check_2(answer):
    R, k, gamma, best_q = 3.0, 4, 0.9, 7.0
    for terminated in (False, True):
        for truncated in (False, True):
            bootstrapped = R + gamma**k * best_q
            expected = R if terminated else bootstrapped
            if terminated:
                mistakes = {
                    "nothing follows if the episode terminated.": bootstrapped,
                }
            else:
                mistakes = {
                    "the state comes k steps later, so gamma counts k times.": R
                    + gamma * best_q,
                    "gamma is missing: `best_q` comes k steps later.": R + best_q,
                    "truncated is not terminated: the network must be asked.": R,
                }
            otherwise = (
                f"with R = 3, k = 4, gamma = 0.9, best_q = 7, terminated {terminated} "
                f"and truncated {truncated} it is {expected:.4f}."
            )
            found = answer(R, k, gamma, best_q, terminated, truncated)
            hint = hint_for(found, expected, mistakes, otherwise)
            if hint:
                return hint
    return None


check_2(my_target)


# %% tags=["solution"]
def solution_2(R, k, gamma, best_q, terminated, truncated):
    return R + (0.0 if terminated else gamma**k * best_q)
