"""Programs of other libraries, each in a process of its own, with another Python."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from minidqn.lab.folder import write_json

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def number_of_peer(
    command: list[str], file: Path, name: str, about: dict[str, Any]
) -> float:
    """The number that a program prints. It is kept in a file, as `name`, beside `about`."""
    if not file.exists():
        done = subprocess.run(
            command,
            env=os.environ | ONE_THREAD,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"SB3 failed, {about}: {done.stderr}")
        write_json(file, about | {name: float(done.stdout)})
    return float(json.loads(file.read_text())[name])
