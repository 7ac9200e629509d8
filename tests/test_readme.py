"""The README's Python runs as it stands there, block after block, in shorter runs."""

import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from minidqn import DQN, train

END = "\n# the next block\n"
README = Path(__file__).parent.parent / "README.md"


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Gymnasium's advice on versions
def test_the_code_in_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(
        r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(blocks) > 5
    text = END.join(blocks)
    shorter = {
        "50_000": "1_500",
        "20_000": "1_200",
        "10_000": "700",
        "episodes=100": "episodes=2",
    }
    for long, short in shorter.items():
        assert long in text
        text = text.replace(long, short)
    # only runs are shortened: the settings keep their length, and are valid with it
    text = text.replace(
        "learning_rate=LinearDecay(1e-3, 0.0, 1_500)", "buffer_size=2_000"
    )
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}
    loops = 0
    for block in text.split(END):
        exec(compile(block, "README.md", "exec"), known)
        if (
            "episode_seed" in block
        ):  # its own loop is said to be the same run as train's
            mine: Any = known["agent"]
            other = DQN(mine.observation_space, mine.action_space, mine.config, seed=0)
            history = train(other, gym.make("Acrobot-v1"), mine.steps, progress=False)
            np.testing.assert_array_equal(mine.online.params, other.online.params)
            made: Any = known["history"]
            np.testing.assert_array_equal(made.rows, history.rows)
            loops += 1
    assert loops == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        *("agent.safetensors", "policy.safetensors", "run.safetensors"),
        *("best.safetensors", "log.csv", "curve.png"),
    }
    assert (tmp_path / "policy.safetensors").stat().st_size < 30_000
    assert known["agent"].steps == 1_500  # type: ignore[attr-defined]  # the last block's
    assert known["env"].spec.id == "Acrobot-v1"  # type: ignore[attr-defined]  # not Pong, which takes an hour
