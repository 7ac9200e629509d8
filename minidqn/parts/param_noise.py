"""Noise on the parameters: each episode is explored by a slightly different policy.

A random action now and then changes little: the next greedy action undoes it. On
CartPole, a policy that lets the cart drift to the left only ever sees carts that drift
to the left. To see other carts, it must behave differently for many steps in a row. So
noise is added to all parameters, weights and biases, and stays for a whole episode: one
time the cart drifts to the left, another time to the right.

    parameters that explore = parameters of the online network + scale * noise

The noise is normal, one number for each parameter, drawn when an episode begins. How
large is a lot of noise? That depends on the network. So the setting `param_noise` is
not the scale, but a share: that of the greedy actions which the noise changes. When an
episode begins, the scale is searched that gives about this share, on a batch of stored
steps. Within the episode, noise and scale stay, while the parameters below them are
learned. So in a long episode, the share does not stay exactly the same.

A batch of B steps shows no share below 1 / B. And noise alone, without a policy, agrees
with it in one of A actions, so a share above (A - 1) / A cannot be reached. Then the
scale with the nearest share is taken.

(Noisy layers are another way, in parts/noisy.py. There the network learns how large the
noise is, and the noise is new in each step.)

Letters: E environments, P parameters, B batch, A actions, O outputs of the network.
Source: Plappert et al. 2018, "Parameter space noise for exploration". There the scale
is a little raised or lowered from time to time.
"""

from typing import Any

import numpy as np

from minidqn.exploration import greedy
from minidqn.nn.layers import Array
from minidqn.nn.network import Network
from minidqn.parts.quantiles import QuantileLoss
from minidqn.replay import Replay
from minidqn.sampler import UniformSampler
from minidqn.targets import HuberLoss

# The scale is searched from 2^-20 to 2^4, by its exponent. A parameter is about 0.01 to
# 1, so the smallest scale changes nothing, and the largest leaves little but noise.
SMALLEST_EXPONENT = -20.0
LARGEST_EXPONENT = 4.0
HALVINGS = 8  # of this range: what is left is a tenth of an exponent

NOT_DRAWN = 0  # in place of a seed


class OnlineBehaviour:
    """The online network explores as it is: there is no noise."""

    def __init__(self, online: Network) -> None:
        self.online = online

    def predict(self, obs: Array, rng: np.random.Generator) -> Array:
        """The outputs for the observation of each environment: (E, ...) to (E, O)."""
        return self.online.predict(obs, rng)

    def stop(self, ended: Any = ...) -> None:
        """Called where episodes have `ended`, (E,), by default everywhere."""


class NoisyBehaviour(OnlineBehaviour):
    """Explores with noise, which differs between environments and episodes.

    `explorer` is a second network. Before each forward, its parameters are set to those
    of the online network with noise. `share`, from 0 to 1, is the part of the greedy
    actions that the noise changes. As long as fewer than `batch_size` slots are
    stored, there is no noise, because its share could not be measured.
    """

    def __init__(
        self,
        online: Network,
        explorer: Network,
        replay: Replay,
        loss: HuberLoss | QuantileLoss,
        share: float,
        batch_size: int,
    ) -> None:
        super().__init__(online)
        self.explorer = explorer
        self.replay = replay
        self.sampler = UniformSampler(replay)  # even if learning is prioritised
        self.loss = loss
        self.share = share
        self.batch_size = batch_size
        num_envs = replay.num_envs
        n_params = online.params.size
        self.noise: Array = np.zeros((num_envs, n_params), online.dtype)  # (E, P)
        # the seed from which each row of `noise` was made, (E,); none after loading
        self.made_from = np.full(num_envs, NOT_DRAWN)
        # These two are saved in checkpoints, and the noise is made from them again.
        self.seeds = np.full(num_envs, NOT_DRAWN)  # (E,)
        self.scales = np.zeros(num_envs)  # (E,)

    @property
    def arrays(self) -> dict[str, Array]:
        """What a checkpoint holds of it, by name: views."""
        return {"seeds": self.seeds, "scales": self.scales}

    def predict(self, obs: Array, rng: np.random.Generator) -> Array:
        """The outputs for the observation of each environment: (E, ...) to (E, O).

        The first call in an episode draws the noise, and searches its scale.
        """
        outputs = []
        for env in range(len(obs)):
            self.prepare(env, rng)
            self.add_noise(env, float(self.scales[env]))
            output = self.explorer.predict(obs[env : env + 1], rng)  # (1, O)
            outputs.append(output.copy())  # the next forward overwrites it
        return np.concatenate(outputs)

    def stop(self, ended: Any = ...) -> None:
        """Forget the noise where episodes have `ended`, (E,); by default everywhere."""
        self.seeds[ended] = NOT_DRAWN

    def prepare(self, env: int, rng: np.random.Generator) -> None:
        """Draw the noise if the episode is new; make it again after loading."""
        if self.seeds[env] == NOT_DRAWN:
            if len(self.replay) < self.batch_size:
                return  # the noise and its scale are still 0
            seed = int(rng.integers(1, np.iinfo(np.int64).max))
            self.make_noise(env, seed)
            self.scales[env] = self.find_scale(env, rng)
            self.seeds[env] = seed  # last: a Ctrl-C before it leaves no half of this
        elif self.seeds[env] != self.made_from[env]:
            self.make_noise(env, int(self.seeds[env]))

    def make_noise(self, env: int, seed: int) -> None:
        normal = np.random.default_rng(seed).standard_normal
        self.noise[env] = normal(self.noise.shape[1])
        self.made_from[env] = seed

    def add_noise(self, env: int, scale: float) -> None:
        """Set the explorer's parameters, (P,): online + scale * noise."""
        np.multiply(self.noise[env], scale, out=self.explorer.params)
        self.explorer.params += self.online.params

    def find_scale(self, env: int, rng: np.random.Generator) -> float:
        """The scale at which the noise changes about the wanted share of the actions.

        More noise mostly changes more of them, so each try halves the range that is
        left. The best of the tries is taken; of equal ones, the smallest.
        """
        starts, _ = self.sampler.draw(self.batch_size, rng, step=0)  # (B,)
        obs = self.replay.batch(starts, n_step=1, gamma=1.0).obs  # (B, ...)
        allowed = np.ones((len(starts), self.replay.n_actions), np.bool_)  # (B, A)
        self.replay.mask.copy_rows(starts, allowed)
        without = self.greedy_actions(self.online, obs, allowed)  # (B,)

        low = SMALLEST_EXPONENT
        high = LARGEST_EXPONENT
        tries = []  # how far from the wanted share, and the exponent
        for _ in range(HALVINGS):
            exponent = (low + high) / 2.0
            self.add_noise(env, 2.0**exponent)
            with_noise = self.greedy_actions(self.explorer, obs, allowed)  # (B,)
            share = float(np.mean(with_noise != without))
            tries.append((abs(share - self.share), exponent))
            if share < self.share:
                low = exponent
            else:
                high = exponent
        _, best = min(tries)
        return float(2.0**best)

    def greedy_actions(self, network: Network, obs: Array, allowed: Array) -> Array:
        """The actions that a network finds best: (B, ...), (B, A) to (B,)."""
        actions = np.empty(len(obs), np.int64)
        greedy(self.loss.q_values(network.predict(obs)), allowed, actions)
        return actions
