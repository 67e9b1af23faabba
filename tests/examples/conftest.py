"""Examples run as a reader runs them: each in its own process."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Ended = subprocess.CompletedProcess[str]
RunExample = Callable[..., Ended]


@pytest.fixture
def run_example(tmp_path: Path) -> RunExample:
    """`run_example("fork", *arguments)` runs `python -m examples.fork` in an empty folder."""
    # The interpreter gets the paths of the source tree, so that the project need not be installed.
    paths = [str(ROOT / folder) for folder in ("", "backends", "integrations")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    def run(name: str, *arguments: str | Path) -> Ended:
        command = [sys.executable, "-W", "error", "-m", f"examples.{name}", *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
        )

    return run
