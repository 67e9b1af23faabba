"""A real `kill -9`: the next process finds the results of finished tasks."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from durable_graph import Durability
from tests.language.functional.flow_process import CALLS

pytestmark = pytest.mark.slow


def run_flow(folder: Path, mode: Durability, kill_after: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "error", "-m", "tests.language.functional.flow_process"]
    arguments = [str(folder / "runs.db"), str(folder / "ledger"), mode, str(kill_after)]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("kill_after", [0, 4, CALLS - 1])
def test_finished_calls_do_not_run_again_after_a_kill_and_the_input_is_kept(
    tmp_path: Path, durability: Durability, kill_after: int
) -> None:
    """P3, P2, P4."""
    killed = run_flow(tmp_path, durability, kill_after)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "ledger").read_text().split() == [f"{number}" for number in range(kill_after + 1)]

    resumed = run_flow(tmp_path, durability, kill_after=-1)

    assert resumed.stderr == ""
    assert resumed.stdout.strip() == str([number * 20 for number in range(CALLS)])
    assert (tmp_path / "ledger").read_text().split() == [f"{number}" for number in range(CALLS)]


def test_a_flow_that_is_killed_after_each_call_reaches_its_end(tmp_path: Path) -> None:
    """P3."""
    for kill_after in range(CALLS):
        assert run_flow(tmp_path, "sync", kill_after).returncode == -signal.SIGKILL

    assert run_flow(tmp_path, "sync", kill_after=-1).stdout.strip() == str([number * 20 for number in range(CALLS)])
    assert (tmp_path / "ledger").read_text().split() == [f"{number}" for number in range(CALLS)]
