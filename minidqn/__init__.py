"""minidqn: a Deep Q-Network from scratch, small enough to read in an afternoon."""

from minidqn.agent import DQN, Metrics
from minidqn.config import DQNConfig
from minidqn.lab.checkpoint import load, load_run, save
from minidqn.lab.envs import TEST, TRAIN, episode_seed
from minidqn.lab.evaluation import evaluate
from minidqn.lab.films import animate
from minidqn.lab.filters import plot_filters
from minidqn.lab.folder import read_results
from minidqn.lab.history import History
from minidqn.lab.masking import MaskToInfo
from minidqn.lab.plotting import plot_learning_curve
from minidqn.lab.run import run
from minidqn.lab.signals import stop_on_interrupt
from minidqn.lab.soundness import CheckpointError
from minidqn.lab.spec import Spec
from minidqn.lab.sweep import sweep
from minidqn.lab.training import train
from minidqn.lab.tuned import tuned, tuned_spec
from minidqn.lab.value_function import Axis, plot_value_function
from minidqn.parts.decays import ExponentialDecay, GeometricDecay
from minidqn.schedules import LinearDecay

__version__ = "0.1.0"
# one name per line would be too long
# fmt: off
__all__ = [
    "DQN", "TEST", "TRAIN", "Axis", "CheckpointError", "DQNConfig", "ExponentialDecay",
    "GeometricDecay", "History", "LinearDecay", "MaskToInfo", "Metrics", "Spec",
    "animate", "episode_seed", "evaluate", "load", "load_run", "plot_filters",
    "plot_learning_curve", "plot_value_function", "read_results", "run", "save",
    "stop_on_interrupt", "sweep", "train", "tuned", "tuned_spec",
]
