"""kill -9, for real: what tasks had returned is found by the next process."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from durable_graph import Durability
from tests.language.functional.flow_process import CALLS

pytestmark = pytest.mark.slow


def live(folder: Path, mode: Durability, kill_after: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "error", "-m", "tests.language.functional.flow_process"]
    arguments = [str(folder / "runs.db"), str(folder / "ledger"), mode, str(kill_after)]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("kill_after", [0, 4, CALLS - 1])
def test_no_call_that_returned_runs_again_and_the_input_is_kept(
    tmp_path: Path, durability: Durability, kill_after: int
) -> None:
    """P3, P2, P4."""
    killed = live(tmp_path, durability, kill_after)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "ledger").read_text().split() == [f"{number}" for number in range(kill_after + 1)]

    went_on = live(tmp_path, durability, kill_after=-1)

    assert went_on.stderr == ""
    assert went_on.stdout.strip() == str([number * 20 for number in range(CALLS)])
    assert (tmp_path / "ledger").read_text().split() == [f"{number}" for number in range(CALLS)]


def test_killed_again_and_again_it_gets_to_its_end(tmp_path: Path) -> None:
    """P3."""
    for kill_after in range(CALLS):
        assert live(tmp_path, "sync", kill_after).returncode == -signal.SIGKILL

    assert live(tmp_path, "sync", kill_after=-1).stdout.strip() == str([number * 20 for number in range(CALLS)])
    assert (tmp_path / "ledger").read_text().split() == [f"{number}" for number in range(CALLS)]
