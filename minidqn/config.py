"""The settings of an agent, in one place."""

from dataclasses import dataclass, fields

from minidqn import checks
from minidqn.schedules import LinearDecay, Schedule


@dataclass(frozen=True, kw_only=True, repr=False)
class DQNConfig:
    """The settings of an agent. Steps are environment steps, updates are calls of `learn`.

    A setting that is out of its range raises ValueError, which names it.
    """

    # the network: convolutions, then fully connected
    frame_stack: int = 1  # how many of the last observations it sees at once
    conv: tuple[tuple[int, int, int], ...] = ()  # for images: channels, kernel, stride of each
    normalize_obs: bool = False  # map entries that the space bounds to -1 to 1
    hidden: tuple[int, ...] = (64, 64)  # widths of the ReLU layers
    layer_norm: bool = False  # normalise what goes into each ReLU
    dueling: bool = False  # learn a state's value apart from its actions' advantages
    quantiles: int = 1  # QR-DQN: values for each action; 1 is plain DQN, which learns the mean
    final_gain: float = 0.1  # scale of the last layer's weights: Q-values start near 0

    # the regression
    gamma: float = 0.99  # discount for each step: it looks about 1 / (1 - gamma) steps ahead
    n_step: int = 3  # rewards summed up before bootstrapping
    double: bool = True  # Double DQN: the online network selects the bootstrap action
    huber_delta: float = 1.0  # errors beyond it count linearly; inf for (half) the squared error
    batch_size: int = 64  # transitions in an update
    learning_rate: Schedule = 1e-3  # Adam's; a number or a function of the step
    max_grad_norm: float = 10.0  # longer gradients are shortened to it; inf for never

    # the replay buffer
    buffer_size: int = 50_000  # steps and episode ends it holds; the oldest are overwritten
    priority_alpha: float = 0.0  # draw in proportion to (error + 0.01)^alpha; 0 is uniform
    priority_beta: Schedule = LinearDecay(0.4, 1.0, 100_000)  # correction of that; 1 is full
    learning_starts: int = 1_000  # steps before the first update
    train_every: int = 1  # steps from one round of updates to the next
    gradient_steps: int = 1  # updates in a round

    # the target network: target += tau (online - target), every target_every updates
    tau: float = 0.01  # 1 for a copy
    target_every: int = 1

    # exploration
    epsilon: Schedule = LinearDecay(1.0, 0.05, 5_000)  # chance that a random action starts
    epsilon_hold: int = 1  # which is repeated for 1 to so many steps
    noisy: bool = False  # noisy layers explore; epsilon may then be 0

    def __post_init__(self) -> None:
        checks.config(self)

    def __repr__(self) -> str:
        """Only what differs from the defaults."""
        values = [(f.name, getattr(self, f.name), f.default) for f in fields(self)]
        changed = [f"{name}={value!r}" for name, value, default in values if value != default]
        return f"DQNConfig({', '.join(changed)})"
