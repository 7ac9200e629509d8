"""The README's Python runs as it stands there, block after block, in shorter runs."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Gymnasium's advice on versions
def test_the_code_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) > 5
    text = "\n".join(blocks)
    for long, short in (("50_000", "1_500"), ("20_000", "1_200"), ("episodes=100", "episodes=2")):
        assert long in text
        text = text.replace(long, short)
    # only runs are shortened: the settings keep their length, and are valid with it
    text = text.replace("learning_rate=LinearDecay(1e-3, 0.0, 1_500)", "buffer_size=2_000")
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}
    exec(compile(text, "README.md", "exec"), known)
    assert {path.name for path in tmp_path.iterdir()} == {"agent.safetensors", "run.safetensors"}
    assert known["agent"].steps == 1_500  # type: ignore[attr-defined]  # the last block's
