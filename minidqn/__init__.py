"""minidqn: a Deep Q-Network from scratch, small enough to read in an afternoon."""

from minidqn.agent import DQN, DQNConfig, Metrics
from minidqn.schedules import ExponentialDecay, LinearDecay
from minidqn.training import History, evaluate, stop_on_interrupt, train
