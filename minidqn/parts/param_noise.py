"""Noise on the weights: the agent explores with a slightly other policy each episode.

A random action now and then changes little: the next greedy action undoes it. On
CartPole, a policy that lets the cart drift to the left only ever sees carts that drift
to the left. So one set of noise is added to all weights, and stays for a whole episode.
In each episode, the agent then behaves a little differently, but in all steps in the
same way: one time the cart drifts to the left, another time to the right.

    weights that explore = weights of the online network + scale * noise

The noise is normal, one number for each parameter, and the scale decides how much it
changes. Nobody can say which scale is right for weights. But how often the noise may
change the greedy action, one can say: this share of the actions is the setting
`param_noise`. So before each episode, the scale is searched that gives this share on a
batch of stored steps. While the online network learns, the noise on it stays.

(Noisy layers are another way, in parts/noisy.py. There the network learns how large the
noise is, and the noise is new in each step.)

Letters: E environments, P parameters, B batch, A actions, O outputs of the network.
Source: Plappert et al. 2018, "Parameter space noise for exploration". There the scale
is a little raised or lowered after each episode.
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

# Powers of two between which the scale is searched. Initial weights are about 0.1, so
# the smallest scale changes nothing, and the largest leaves little but noise.
SMALLEST = -10.0
LARGEST = 4.0
HALVINGS = 7  # of this range: the scale is then right to a tenth or so

NO_NOISE = 0  # in place of a seed


class OnlineWeights:
    """Takes the place of NoisyWeights where the network explores as it is."""

    def __init__(self, online: Network) -> None:
        self.online = online

    def predict(self, obs: Array, rng: np.random.Generator) -> Array:
        """The outputs for the observation of each environment: (E, ...) to (E, O)."""
        return self.online.predict(obs, rng)

    def stop(self, ended: Any = ...) -> None:
        """Called where episodes have `ended`, (E,), by default everywhere."""


class NoisyWeights(OnlineWeights):
    """The online network with noise, other noise for each environment and episode.

    `noisy` is a network with the same layers, in which the sums are made. `share` is
    the part of the greedy actions that the noise changes. There is no noise before
    `batch_size` steps are stored, because the share could not be measured.
    """

    def __init__(
        self,
        online: Network,
        noisy: Network,
        replay: Replay,
        loss: HuberLoss | QuantileLoss,
        share: float,
        batch_size: int,
    ) -> None:
        super().__init__(online)
        self.noisy = noisy
        self.replay = replay
        self.sampler = UniformSampler(replay)
        self.loss = loss
        self.share = share
        self.batch_size = batch_size
        num_envs = replay.num_envs
        self.noise: Array = np.zeros((num_envs, online.params.size), online.dtype)
        self.made_from = np.full(num_envs, NO_NOISE)  # (E,) the seeds of `noise`
        # These two are saved in checkpoints; the noise can be made from them again.
        self.seeds = np.full(num_envs, NO_NOISE)  # (E,)
        self.scales = np.zeros(num_envs)  # (E,)

    @property
    def arrays(self) -> dict[str, Array]:
        """What a checkpoint holds of it, by name: views."""
        return {"seeds": self.seeds, "scales": self.scales}

    def predict(self, obs: Array, rng: np.random.Generator) -> Array:
        outputs = []
        for env in range(len(obs)):
            self.prepare(env, rng)
            self.add_noise(env, self.scales[env])
            output = self.noisy.predict(obs[env : env + 1], rng)  # (1, O)
            outputs.append(output.copy())  # the next forward overwrites it
        return np.concatenate(outputs)

    def stop(self, ended: Any = ...) -> None:
        """Draw new noise before the next actions where episodes have `ended`, (E,)."""
        self.seeds[ended] = NO_NOISE

    def prepare(self, env: int, rng: np.random.Generator) -> None:
        """See that the noise of an environment is there, for this episode."""
        if self.seeds[env] == NO_NOISE:
            if len(self.replay) < self.batch_size:
                return
            seed = int(rng.integers(NO_NOISE + 1, np.iinfo(np.int64).max))
            self.make_noise(env, seed)
            self.scales[env] = self.find_scale(env, rng)
            self.seeds[env] = seed  # last: a Ctrl-C before it leaves no half of this
        elif self.seeds[env] != self.made_from[env]:  # read from a checkpoint
            self.make_noise(env, int(self.seeds[env]))

    def make_noise(self, env: int, seed: int) -> None:
        normal = np.random.default_rng(seed).standard_normal
        self.noise[env] = normal(self.noise.shape[1])
        self.made_from[env] = seed

    def add_noise(self, env: int, scale: float) -> None:
        """Set the parameters of the network that explores, (P,)."""
        np.multiply(self.noise[env], scale, out=self.noisy.params)
        self.noisy.params += self.online.params

    def find_scale(self, env: int, rng: np.random.Generator) -> float:
        """The scale at which the noise changes the wanted share of greedy actions.

        More noise changes more of them, so each try halves the range that is left.
        """
        starts, _ = self.sampler.draw(self.batch_size, rng, 0)  # (B,)
        batch = self.replay.batch(starts, 1, 1.0)
        obs, allowed = batch.next_obs, batch.next_mask  # (B, ...), (B, A)
        without = self.greedy_actions(self.online, obs, allowed)  # (B,)
        low, high = SMALLEST, LARGEST
        for _ in range(HALVINGS):
            middle = (low + high) / 2.0
            self.add_noise(env, 2.0**middle)
            with_noise = self.greedy_actions(self.noisy, obs, allowed)  # (B,)
            if np.mean(with_noise != without) < self.share:
                low = middle
            else:
                high = middle
        return float(2.0**low)

    def greedy_actions(self, network: Network, obs: Array, allowed: Array) -> Array:
        """The actions that a network finds best: (B, ...), (B, A) to (B,)."""
        actions = np.empty(len(obs), np.int64)
        greedy(self.loss.q_values(network.predict(obs)), allowed, actions)
        return actions
