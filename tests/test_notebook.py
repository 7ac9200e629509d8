"""In a notebook, what a cell returns shows itself: a real kernel runs one."""

from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient", reason="it comes with the extra `test`")
nbformat = pytest.importorskip("nbformat", reason="it comes with the extra `test`")

CELLS = [
    """
import sys

sys.modules["ipywidgets"] = None  # with it, the bar is a widget, and not text

import gymnasium as gym
from minidqn import *

env = gym.make("CartPole-v1", render_mode="rgb_array")
config = DQNConfig(learning_starts=100)
agent = DQN(env.observation_space, env.action_space, config, seed=0)
history = train(agent, env, 1_000)
""",
    "plot_learning_curve(history)",
    "plot_learning_curve(history)\nlen(history) > 0",  # it is not the cell's result
    "angle, speed = Axis(2, -0.2, 0.2, 'angle'), Axis(3, -2, 2, 'speed')\n"
    "plot_value_function(agent, None, angle, speed, points=20)",
    "animate({'trained': agent}, env, None, seeds=[0], max_steps=20)",
    "agent",
    "history",
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_a_cell_returns_shows_itself(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS]
    )
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3")
    client.execute(cwd=str(tmp_path))
    training, curve, beside, values, film, agent, history = notebook.cells
    assert "1000/1000" in str(training.outputs)  # the progress bar

    def shown(cell: Any) -> Any:
        (output,) = [
            each for each in cell.outputs if each.output_type == "execute_result"
        ]
        return output.data

    for cell in (curve, beside, values):  # each once
        [png] = [
            b64decode(each.data["image/png"])
            for each in cell.outputs
            if "image/png" in each.get("data", {})
        ]
        assert png.startswith(b"\x89PNG")
        assert len(png) > 10_000
    assert shown(film)["text/html"].startswith('<img src="data:image/gif;base64,R0lGOD')
    assert len(shown(film)["text/plain"]) < 40
    expected = (
        "DQN(2 actions, 4610 parameters, 1000 steps, 901 updates, "
        "DQNConfig(learning_starts=100))"
    )
    assert shown(agent)["text/plain"] == expected
    assert shown(history)["text/plain"].startswith("History(")
    assert not list(tmp_path.iterdir())  # path=None writes nothing
