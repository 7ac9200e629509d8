"""minidqn: a Deep Q-Network from scratch, small enough to read in an afternoon."""

from minidqn.agent import DQN, Metrics
from minidqn.config import DQNConfig
from minidqn.lab.checkpoint import load, load_run, save
from minidqn.lab.envs import TEST, TRAIN, episode_seed
from minidqn.lab.films import animate
from minidqn.lab.history import History
from minidqn.lab.plotting import (
    Axis,
    plot_filters,
    plot_learning_curve,
    plot_value_function,
)
from minidqn.lab.snapshot import CheckpointError
from minidqn.lab.training import evaluate, stop_on_interrupt, train
from minidqn.lab.tuned import tuned
from minidqn.parts.decays import ExponentialDecay, GeometricDecay
from minidqn.schedules import LinearDecay

__version__ = "0.1.0"
# one name a line would be too long
# fmt: off
__all__ = [
    "DQN", "TEST", "TRAIN", "Axis", "CheckpointError", "DQNConfig", "ExponentialDecay",
    "GeometricDecay", "History", "LinearDecay", "Metrics", "animate", "episode_seed",
    "evaluate", "load", "load_run", "plot_filters", "plot_learning_curve",
    "plot_value_function", "save", "stop_on_interrupt", "train", "tuned",
]
