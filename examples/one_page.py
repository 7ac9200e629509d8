"""The whole of DQN on one page. Read it from top to bottom, then run it.

    OPENBLAS_NUM_THREADS=1 python examples/one_page.py --seed 3  # 10 s, on one core

A cart carries a pole. Each step pushes the cart left or right, and gives a reward of 1
while the pole stands. Q(s, a) is the mean sum of the rewards after action a in state
s, if the best actions follow; a reward t steps later counts GAMMA^t. DQN (Mnih et al.
2015) trains a network to predict Q, and takes the action with the largest Q.

Shapes: B batch, D numbers in an observation, A actions, I inputs, O outputs of a layer.
dW is the gradient of the loss by W. The package minidqn is this page, general and fast.
"""

import argparse
import copy

import gymnasium as gym
import numpy as np
from numba import njit

STEPS = 40_000  # environment steps in all
BATCH = 128  # transitions (s, a, R, s') in an update; one update every 4 steps
N_STEP = 40  # rewards that are added up; the network estimates the rest
GAMMA = 0.995  # discount
BOUNDS = np.array([4.8, 1.0, 0.418, 1.0])  # observations are divided by these


class Network:
    """Linear layers, with a ReLU after each except the last: (B, D) to (B, A)."""

    def __init__(self, sizes, rng):
        self.W = [rng.normal(size=(i, o)) * np.sqrt(2.0 / i) for i, o in sizes]
        self.b = [rng.uniform(-1.0, 1.0, size=o) / np.sqrt(i) for i, o in sizes]
        self.params = [*self.W, *self.b]

    def forward(self, x):
        self.h = [x / BOUNDS]  # the input of each layer: backward needs them
        for W, b in zip(self.W, self.b, strict=True):
            z = self.h[-1] @ W + b  # (B, O)
            self.h.append(np.maximum(z, 0.0))  # not used after the last layer
        return z

    def backward(self, dz):
        """The gradients of `params`, from dz, the gradient of the outputs, (B, A)."""
        dW, db = [], []
        for W, h in zip(reversed(self.W), reversed(self.h[:-1]), strict=True):
            dW.insert(0, h.T @ dz)  # (I, O)
            db.insert(0, dz.sum(axis=0))  # (O,)
            dz = np.where(h > 0.0, dz @ W.T, 0.0)  # (B, I), below the ReLU of h
        return [*dW, *db]


class Adam:
    """Steps of similar size for all parameters (Kingma & Ba 2015)."""

    def __init__(self, params):
        self.m = [np.zeros_like(p) for p in params]  # mean gradient of recent steps
        self.v = [np.zeros_like(p) for p in params]  # and mean square of it
        self.t = 0

    def step(self, params, grads, learning_rate):
        self.t += 1
        for p, g, m, v in zip(params, grads, self.m, self.v, strict=True):
            m[:] = 0.9 * m + 0.1 * g
            v[:] = 0.999 * v + 0.001 * g * g
            m_hat = m / (1.0 - 0.9**self.t)  # corrected: m and v started at 0
            v_hat = v / (1.0 - 0.999**self.t)
            p -= learning_rate * m_hat / (np.sqrt(v_hat) + 1e-8)


BRIDGE, STEP, TRUNCATED, TERMINATED = range(4)  # kinds of slots


class Replay:
    """A ring of slots, one for each step: observation, action, reward, kind of step.

    The next observation is in the next slot. A slot without an action is a bridge: it
    holds an episode's final observation, or the current one, or nothing yet.
    """

    def __init__(self, capacity, n_obs):
        self.obs = np.zeros((capacity + 1, n_obs))  # one more, for the current one
        self.action = np.zeros(capacity + 1, int)
        self.reward = np.zeros(capacity + 1)
        self.kind = np.full(capacity + 1, BRIDGE, np.int8)
        self.head = -1  # the slot of the current observation

    def move_to(self, obs):
        """Go on to the next slot, and store the observation of a reset or a step."""
        self.head = (self.head + 1) % len(self.kind)
        self.obs[self.head] = obs
        self.kind[self.head] = BRIDGE  # until an action is taken there

    def add(self, action, reward, next_obs, terminated, truncated):
        self.action[self.head] = action
        self.reward[self.head] = reward
        kind = TERMINATED if terminated else TRUNCATED if truncated else STEP
        self.kind[self.head] = kind
        self.move_to(next_obs)


@njit  # Numba compiles it: in plain Python such a loop is slow
def look_ahead(starts, head, reward, kind):
    """R, the discount and the slot of s' in the TD target, for each start: (B,) each.

    The TD target is what Q(s, a) should be: y = R + discount * Q(s', a'). R sums N_STEP
    rewards, or fewer at the end of an episode or at `head`. After k rewards the
    discount is GAMMA^k, or 0 if the episode terminated: no reward follows. A truncated
    episode was only cut by a time limit, so its final observation has a value. Some
    actions were random, so R is a little too low: a price for learning faster.
    """
    returns, discounts = np.zeros(len(starts)), np.ones(len(starts))
    ends = starts.copy()
    for i in range(len(starts)):
        for _ in range(N_STEP):
            slot = ends[i]
            returns[i] += discounts[i] * reward[slot]
            discounts[i] *= 0.0 if kind[slot] == TERMINATED else GAMMA
            ends[i] = (slot + 1) % len(kind)
            if kind[slot] != STEP or ends[i] == head:
                break
    return returns, discounts, ends


class Agent:
    def __init__(self, sizes, capacity, seed):
        self.rng = np.random.default_rng(seed)
        self.online = Network(sizes, self.rng)
        self.target = copy.deepcopy(self.online)  # a slow copy keeps y steady
        self.adam = Adam(self.online.params)
        self.replay = Replay(capacity, n_obs=sizes[0][0])

    def act(self, obs, epsilon):
        """A random action with probability epsilon, else the one with the largest Q."""
        q = self.online.forward(obs)  # (A,)
        return self.rng.integers(len(q)) if self.rng.random() < epsilon else q.argmax()

    def learn(self, learning_rate):
        """One update; returns the targets, the loss and its gradients."""
        ring = self.replay
        # old steps at random: neighbours in time are too alike
        starts = self.rng.choice(np.flatnonzero(ring.kind != BRIDGE), BATCH)  # (B,)
        actions, rows = ring.action[starts], np.arange(BATCH)

        # the targets of Q(s, a). The largest of several inexact values is too large, so
        # one network selects and the other evaluates (Double DQN, van Hasselt 2016)
        returns, discounts, ends = look_ahead(starts, ring.head, ring.reward, ring.kind)
        next_actions = self.online.forward(ring.obs[ends]).argmax(axis=1)  # (B,)
        q_next = self.target.forward(ring.obs[ends])  # (B, A)
        y = returns + discounts * q_next[rows, next_actions]  # (B,), constants

        # Huber's loss: u^2 / 2 if |u| < 1, else |u| - 1/2; both slope * (u - slope/2)
        q = self.online.forward(ring.obs[starts])  # (B, A), kept for backward
        u = y - q[rows, actions]  # (B,)
        slope = np.clip(u, -1.0, 1.0)
        loss = (slope * (u - 0.5 * slope)).mean()

        # its gradient: only the action that was taken has an error
        dq = np.zeros_like(q)  # (B, A)
        dq[rows, actions] = -slope / BATCH
        grads = self.online.backward(dq)
        self.adam.step(self.online.params, grads, learning_rate)
        for p, p_target in zip(self.online.params, self.target.params, strict=True):
            p_target += 0.01 * (p - p_target)
        return y, loss, grads


def train(agent, env):
    over = True  # the first episode has not begun
    for step in range(STEPS):
        if over:
            obs, _ = env.reset(seed=int(agent.rng.integers(2**31)))
            agent.replay.move_to(obs)
        action = agent.act(obs, epsilon=max(1.0 - 9.0 * step / STEPS, 0.1))
        obs, reward, terminated, truncated, _ = env.step(action)
        agent.replay.add(action, reward, obs, terminated, truncated)
        if step >= 200 and step % 4 == 0:
            agent.learn(learning_rate=3e-3 * (1.0 - step / STEPS))
        over = terminated or truncated
        if over and env.episode_count % 20 == 0:
            print("step", step, "mean return", np.mean(list(env.return_queue)[-20:]))


def test(agent, env):
    for seed in range(100):  # greedy, in episodes that it was not trained on
        obs, _ = env.reset(seed=seed)
        over = False
        while not over:
            obs, _, terminated, truncated, _ = env.step(agent.act(obs, epsilon=0.0))
            over = terminated or truncated
    print("mean return", np.mean(env.return_queue), "minimum", min(env.return_queue))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Learn CartPole-v1.")
    parser.add_argument("--seed", type=int, default=0)
    agent = Agent([(4, 64), (64, 64), (64, 2)], 50_000, parser.parse_args().seed)
    env = gym.wrappers.RecordEpisodeStatistics(gym.make("CartPole-v1"))
    train(agent, env)
    test(agent, env)
