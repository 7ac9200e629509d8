# %% [markdown]
# # 6. CartPole
#
# A cart carries a pole. Each step pushes the cart to the left or to the right. It gives a reward of 1 while the pole
# stands. We now have all the parts that are needed to learn this. What does the network know after 500 steps? And
# what after 20,000?
#
# ## All of it on one page
#
# [examples/one_page.py](../../examples/one_page.py) contains everything from chapters 1 to 5, in less than 200
# lines: a network with backprop, Adam, a memory, the targets, an agent, the loop and a test. Open it beside this
# chapter and read it from top to bottom. You know each of its parts by now. It takes about ten seconds to learn
# CartPole:

# %%
import gymnasium as gym
import numpy as np
from matplotlib import pyplot as plt
from tour import exercise, hint_for, load_page, source

page = load_page()
page_agent = page.Agent([(4, 64), (64, 64), (64, 2)], capacity=50_000, seed=0)
page_env = gym.wrappers.RecordEpisodeStatistics(gym.make("CartPole-v1"))
page.train(page_agent, page_env)
page.test(page_agent, page_env)

# %% [markdown]
# The last line is the test: 100 new episodes without random actions. The largest possible return is 500.
#
# Below is one update of the page. The line with `y =` is the target of chapter 5. Chapter 7 explains how
# many steps `look_ahead` looks ahead, and why.

# %%
source(page.Agent.learn)

# %% [markdown]
# minidqn is this page, made general and fast. Its tests compare the two: from the same parameters and the same
# batches they arrive at the same parameters. From here on we use minidqn.

# %%
from minidqn import DQN, DQNConfig, LinearDecay, evaluate, train
from minidqn.batch import n_step_returns

# %% [markdown]
# ## Six moments of a run
#
# The settings are those of examples/cartpole.py, which gives the reason for each of them. Only the run is half as
# long here. Three of the settings are new:
#
# - epsilon falls from 1 to 0.1: at first the agent tries everything, later it mostly does what is best.
# - The learning rate falls to 0.
# - `n_step` says how many rewards are added up before the network is asked what follows. See chapter 7.

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
figure.supxlabel("pole angle, radians (the episode ends at 0.21)")
figure.supylabel("pole speed, radians / s")
figure.colorbar(image, ax=panels, label="max Q, in steps (discounted)")
plt.show()

# %% [markdown]
# The white line is the policy. On one side of it the greedy action pushes to the right, on the other side to the left.
# At the end, the agent pushes to the side to which the pole leans or falls. (In the dark corners the pole cannot be
# saved. Both actions are equally bad there, and white lines mean nothing.)
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
# In minidqn this is the line `discount *= ...` in the loop below. It adds up the rewards of k steps. Then the network's
# answer counts gamma^k times, or 0 times if the episode terminated. In the code, `place` is where a step is stored, and
# `ends` is where the state is that was reached. At the end of an episode this is the last observation: the memory keeps
# it in a slot of its own. `ended` is true for both kinds of end, and `head` is where the stored steps end.

# %%
source(n_step_returns)

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
# ## Exercises
#
# **1.** The pole falls after n more steps. Each of them gives a reward of 1. What is that worth?


# %%
def my_value(n, gamma):
    return 0.0  # your answer


# %% tags=["checker"]
@exercise
def check_1(answer):
    for n, gamma in ((1, 0.9), (10, 0.9), (500, 0.995)):
        expected = sum(gamma**k for k in range(n))
        mistakes = {
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
