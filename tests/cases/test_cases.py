"""Every case is right on every store that it is about."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases._case import KINDS, SKIPPED

FOLDER = Path(__file__).parent


CASES = sorted(path.stem for path in FOLDER.glob("[a-z][0-9]*_*.py"))


@pytest.mark.parametrize("case", CASES)
def test_nothing_wrong_comes_back(case: str, postgres: str) -> None:
    environment = {**os.environ, "DURABLE_GRAPH_TEST_POSTGRES": postgres}
    environment.pop("DURABLE_GRAPH_DEBUG", None)
    # Each saver's run is a process of its own; they run side by side.
    processes = {
        kind: subprocess.Popen(
            [sys.executable, "-m", f"tests.cases.{case}", kind],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            cwd=FOLDER.parents[1],
        )
        for kind in KINDS
    }
    printed = {kind: process.communicate(timeout=110)[0] for kind, process in processes.items()}
    codes = {kind: process.returncode for kind, process in processes.items()}
    assert 0 in codes.values() or 1 in codes.values(), printed
    assert all(code in (0, SKIPPED) for code in codes.values()), printed
