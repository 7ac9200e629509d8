"""minidqn: a Deep Q-Network from scratch, small enough to read in an afternoon."""

from minidqn.agent import DQN, Metrics
from minidqn.checkpoint import CheckpointError, load, load_run, save
from minidqn.config import DQNConfig
from minidqn.history import History
from minidqn.plotting import Axis, animate, plot_learning_curve, plot_value_function
from minidqn.schedules import ExponentialDecay, GeometricDecay, LinearDecay
from minidqn.training import TEST, TRAIN, episode_seed, evaluate, stop_on_interrupt, train

__version__ = "0.1.0"
__all__ = [
    "DQN",
    "TEST",
    "TRAIN",
    "Axis",
    "CheckpointError",
    "DQNConfig",
    "ExponentialDecay",
    "GeometricDecay",
    "History",
    "LinearDecay",
    "Metrics",
    "animate",
    "episode_seed",
    "evaluate",
    "load",
    "load_run",
    "plot_learning_curve",
    "plot_value_function",
    "save",
    "stop_on_interrupt",
    "train",
]
