"""Real kill -9 of code whose calls and interrupts have another order in each process: no value is wrong."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.crash.conftest import IS_LONG, Echo
from tests.crash.engine.racing_process import WANTED
from tests.postgres.server import started

KILLS = 100 if IS_LONG else 4
"""The number of kills for each store."""


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    """The place of the threads: files, or a server."""
    if request.param == "sqlite":
        yield ""
    else:
        with started() as database:
            yield database.url


class Process:
    """A process that resumes the thread of a folder, with its own hash seed."""

    def __init__(self, folder: Path, dsn: str, seconds: float, seed: int, *planted: str) -> None:
        began = time.monotonic()
        done = subprocess.run(
            [
                sys.executable,
                "-W",
                "error",
                "-m",
                "tests.crash.engine.racing_process",
                str(folder),
                dsn,
                f"{seconds}",
                *planted,
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": f"{seed}"},
        )
        self.seconds = time.monotonic() - began
        self.was_killed = done.returncode == -signal.SIGKILL
        assert self.was_killed or done.returncode == 0, done.stderr
        self.values = sorted(done.stdout.splitlines())


def test_no_value_is_wrong_if_calls_and_interrupts_change_their_order_after_a_kill(
    dsn: str, tmp_path: Path, echo: Echo
) -> None:
    chance = random.Random(20_26)
    folder = tmp_path / "undisturbed"
    folder.mkdir()
    undisturbed = Process(folder, dsn, -1, seed=0)
    assert undisturbed.values == WANTED
    kills = threads = wrong = 0

    while kills < KILLS:
        folder = tmp_path / f"{threads}"
        folder.mkdir()
        for life in count(1):
            # Later processes get more time, so that each thread reaches its end.
            process = Process(folder, dsn, chance.uniform(0, undisturbed.seconds) * life / 8, chance.randrange(2**32))
            kills += process.was_killed
            if not process.was_killed:
                break
        threads += 1
        wrong += process.values != WANTED

    assert wrong == 0
    echo(f"{kills} kills of {threads} threads that race: {wrong} with wrong values")


def test_matching_records_by_position_is_detected(tmp_path: Path) -> None:
    """No kill is needed: random delays change the order of calls in a process that resumes its own thread."""
    folder = tmp_path / "planted"
    folder.mkdir()

    try:
        process = Process(folder, "", -1, 1, "by position")
        noticed = process.values != WANTED
    except AssertionError:
        noticed = True

    assert noticed
