"""kill -9, for real, of code that calls and asks in an order that is another one in each process: no value is wrong."""

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
"""For each store."""


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the threads are: in files, or on a server."""
    if request.param == "sqlite":
        yield ""
    else:
        with started() as database:
            yield database.url


class Process:
    """A process that resumes the thread of a folder, with a hash seed of its own."""

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


def test_whatever_order_calls_and_questions_are_in_after_a_kill_no_value_is_wrong(
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
            # The later lives are given more time, so that each thread comes to its end.
            process = Process(folder, dsn, chance.uniform(0, undisturbed.seconds) * life / 8, chance.randrange(2**32))
            kills += process.was_killed
            if not process.was_killed:
                break
        threads += 1
        wrong += process.values != WANTED

    assert wrong == 0
    echo(f"{kills} kills of {threads} threads that race: {wrong} with wrong values")


def test_records_that_are_matched_by_position_are_detected(tmp_path: Path) -> None:
    """One process asks, and another one with another seed resumes: it takes no kill."""
    folder = tmp_path / "planted"
    folder.mkdir()

    try:
        process = Process(folder, "", -1, 1, "by position")
        noticed = process.values != WANTED
    except AssertionError:
        noticed = True

    assert noticed
