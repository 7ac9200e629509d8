# %% [markdown]
# # 6. CartPole
#
# A cart carries a pole. Each step pushes it left or right, and gives a reward of 1 while the pole stands. All parts
# are there now: let them learn it. What does the network know after 500 steps, and what after 20,000?
#
# ## All of it on one page
#
# [examples/one_page.py](../../examples/one_page.py) has everything that chapters 1 to 5 were about, in less than 200
# lines, and nothing else: a network with its backprop, Adam, a memory, the targets, an agent, the loop and a test. It
# takes about ten seconds. Open it beside this page, and read it from top to bottom: you know each of its parts by now.

# %%
import gymnasium as gym
import numpy as np
from matplotlib import pyplot as plt
from tour import load_page, right, source

page = load_page()
page_agent = page.Agent([(4, 64), (64, 64), (64, 2)], capacity=50_000, seed=0)
page_env = gym.wrappers.RecordEpisodeStatistics(gym.make("CartPole-v1"))
page.train(page_agent, page_env)
page.test(page_agent, page_env)

# %% [markdown]
# The last line is of 100 new episodes, without random actions: 500 is perfect. This is its update. The line with
# `y =` is chapter 5's target; how far `look_ahead` looks is explained in chapter 7.

# %%
source(page.Agent.learn)

# %% [markdown]
# minidqn is that page, made general and fast. Its tests hold the two against each other: from the same parameters and
# batches they end on the same parameters. From here on we use minidqn, because it draws and saves as well.

# %%
from minidqn import DQN, DQNConfig, LinearDecay, evaluate, train
from minidqn.batch import n_step_returns

# %% [markdown]
# ## Six moments of a run
#
# The settings are those of examples/cartpole.py, where each has its reason beside it; only the run is half as
# long. (`n_step` comes in chapter 7: minidqn may add up several rewards before it asks the network what follows.
# Epsilon falls from 1 to 0.1: first try everything, then mostly what is best. The learning rate falls to 0.)

# %% mystnb={"image": {"alt": "Six pictures of max Q over pole angle and speed, after 500 to 20,000 steps: a bright band from upper left to lower right forms, and the policy's line through it."}}
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


angles, speeds = np.linspace(-0.21, 0.21, 60), np.linspace(-2.0, 2.0, 60)
states = np.zeros((60, 60, 4), np.float32)  # cart: position, speed; pole: angle, speed
states[:, :, 2], states[:, :, 3] = np.meshgrid(angles, speeds)


def draw(axes, agent):
    """The value of the best action, and a white line where both actions are worth the same."""
    q = agent.q_values(states.reshape(-1, 4)).reshape(60, 60, 2)
    image = axes.pcolormesh(
        angles, speeds, q.max(axis=2), cmap="viridis", vmin=0, vmax=200
    )
    for colour, width in (("black", 4), ("white", 2)):
        axes.contour(
            angles,
            speeds,
            q[:, :, 1] - q[:, :, 0],
            [0.0],
            colors=colour,
            linewidths=width,
        )
    return image


agent, env, test_env = new_agent(0), gym.make("CartPole-v1"), gym.make("CartPole-v1")
history = None
figure, panels = plt.subplots(2, 3, figsize=(11, 6.2), sharex=True, sharey=True)
for axes, moment in zip(
    panels.flat, [500, 1_000, 2_000, 4_000, 8_000, STEPS], strict=True
):
    history = train(agent, env, moment - agent.steps, history=history, progress=False)
    steps_up = evaluate(agent, test_env, 10, progress=False).mean()
    image = draw(axes, agent)
    axes.set_title(f"{moment} steps: stays up for {steps_up:.0f}")
figure.supxlabel("pole angle, radians (the episode ends at 0.21)")
figure.supylabel("pole speed, radians / s")
figure.colorbar(image, ax=panels, label="max Q, in steps (discounted)")
plt.show()

# %% [markdown]
# The white line is the policy: above it the greedy action pushes to the right, below it to the left. From 4000
# steps on it goes from the upper left to the lower right: push to the side to which the pole will fall. Before that
# it only asks which way the pole moves, and after 2000 steps the pole falls as soon as after 1000: learning is not
# steady. (In the dark corners all is lost. No action is better there, and further lines mean nothing.) The *values*
# take longer. In the middle they grow towards 200. Above each picture stands the mean of 10 greedy episodes.
#
# ## Why 200, and why 475
#
# A reward of 1 in every step, for ever, is worth 1 + gamma + gamma^2 + ... = 1 / (1 - gamma), here 200. So the
# network has learned that the pole need never fall.
#
# The *return* that people report is the sum of an episode's rewards, not discounted. Gymnasium says when the task
# counts as solved:

# %%
spec = gym.spec("CartPole-v1")
print(
    f"an episode is cut after {spec.max_episode_steps} steps, solved at {spec.reward_threshold}"
)

# %% [markdown]
# That is a mean over 100 episodes: an agent that falls in one of ten, half-way, has 475. A perfect one has 500.
#
# ## Truncated is not terminated
#
# An episode of CartPole ends in two ways. The pole falls, or the cart leaves the track: *terminated*, nothing
# comes any more, and the value behind the last step is 0. Or the time limit cuts it: *truncated*. Then the pole
# stands as well as before, and the network is asked what would have come. In minidqn it is one line,
# `discount *= ...`, in the loop that sums up k rewards. The network's answer then counts gamma^k times. (`ends` says
# where the state is that was reached. At the end of an episode that is its last observation: the memory keeps it in
# a slot of its own, before the next episode begins. `ended` means either end, and `head` is where the stored steps end.)

# %%
source(n_step_returns)

# %% [markdown]
# Much code has one flag, `done`, for both. Here is the same run done so. The limit is 100 steps, for with
# 500 the mistake hardly shows: the cut comes too seldom. The test is on the usual 500.


# %% mystnb={"image": {"alt": "Max Q on the way through a test episode: three agents with truncation stay at about 200, three that were told done start at about 100, and two of them fall."}}
class Done(gym.Wrapper):
    """Says terminated when the time is up."""

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        return obs, reward, terminated or truncated, False, info


def values_on_the_way(agent):
    """max Q in each step of a greedy episode."""
    obs, _ = test_env.reset(seed=5)
    values, over = [], False
    while not over:
        q = agent.q_values(obs)
        values.append(q.max())
        obs, _, terminated, truncated, _ = test_env.step(int(q.argmax()))
        over = terminated or truncated
    return values


values = {"truncated": [], "done": []}
plt.figure(figsize=(8, 4))
for name, wrapper, style in (
    ("truncated", lambda env: env, "k-"),
    ("done", Done, "k:"),
):
    for seed in range(3):
        learner = new_agent(seed)
        short = wrapper(gym.make("CartPole-v1", max_episode_steps=100))
        train(learner, short, STEPS, progress=False)
        label = f"the limit is {name}" if seed == 0 else None
        values[name].append(values_on_the_way(learner))
        plt.plot(values[name][-1], style, label=label)
        print(
            f"{name}, seed {seed}: {evaluate(learner, test_env, 20, progress=False).mean():.0f} steps"
        )
plt.axhline(
    1 / (1 - GAMMA), color="0.6", lw=6, alpha=0.5, zorder=0, label="for ever: 200"
)
plt.xlabel("step of a test episode")
plt.ylabel("max Q, in steps (discounted)")
plt.ylim(0, 260)
plt.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
plt.show()

# %% [markdown]
# Both were trained in 100 steps at a time, and never saw step 101. The one that was told that the world ends there has
# learned low values, for it has seen well balanced poles come to nothing.
# In two seeds of three its test is worse. (Nor are the others perfect: one overestimates: more than 200 is
# impossible. Where that comes from is in chapter 7; and why Double DQN, which is on here, does little against it.)
#
# ## Exercises
#
# **1.** The pole falls after n more steps, each with a reward of 1. What is that worth?


# %%
def my_value(n, gamma):
    return 0.0  # your answer


# %% tags=["checker"]
def check_1(answer):
    for n, gamma in ((1, 0.9), (10, 0.9), (500, 0.995)):
        truth = sum(gamma**step for step in range(n))
        if not np.isclose(answer(n, gamma), truth):
            return right(False, f"{n} steps with gamma = {gamma} are worth {truth:.4f}")
    return right(True, "")


check_1(my_value)


# %% tags=["solution"]
def solution_1(n, gamma):
    return (1 - gamma**n) / (1 - gamma)


# %% [markdown]
# **2.** Write the target of a step. k rewards sum up to R (discounted), and `best_q` is the value of the best action
# in the state that was reached.


# %%
def my_target(R, k, gamma, best_q, terminated, truncated):
    return R + best_q  # your answer


# %% tags=["checker"]
def check_2(answer):
    for terminated in (False, True):
        for truncated in (False, True):
            truth = 3.0 if terminated else 3.0 + 0.9**4 * 7.0
            if not np.isclose(answer(3.0, 4, 0.9, 7.0, terminated, truncated), truth):
                return right(
                    False,
                    f"terminated {terminated}, truncated {truncated}: {truth:.4f}",
                )
    return right(True, "")


check_2(my_target)


# %% tags=["solution"]
def solution_2(R, k, gamma, best_q, terminated, truncated):
    return R + (0.0 if terminated else gamma**k * best_q)
