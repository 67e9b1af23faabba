"""A worker as a process: signals drain it, a second signal ends it at once."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from durable_graph.runs import App
from tests.operating.conftest import Shop

SIGNALS = [signal.SIGTERM, signal.SIGINT]

pytestmark = pytest.mark.slow

Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def begin(shop: Shop) -> Iterator[Begin]:
    """`begin("--grace", "1")` begins a worker of the shop, and returns once it executes runs."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*options: str) -> "subprocess.Popen[str]":
        process = shop.begin("worker", "shop:app", *options)
        begun.append(process)
        wait_for_line(process, "executes runs of: order, print, pack, hang, block, rest, listen")
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def wait_for_line(process: "subprocess.Popen[str]", part: str) -> None:
    """Read what the process reports, to the line with this part."""
    assert process.stderr is not None
    read: list[str] = []
    for line in process.stderr:
        read.append(line)
        if part in line:
            return
    raise AssertionError(f"the process ended with {process.wait()}: {''.join(read)}")


def wait_for_file(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def wait_for_state(shop: Shop, run: str, state: str) -> Any:
    """The status of the run once it has this state."""
    until = time.monotonic() + 60
    while (status := shop.status(run)).state != state:
        assert time.monotonic() < until
    return status


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_lets_the_superstep_in_flight_finish_and_releases_the_run(
    shop: Shop, begin: Begin, number: signal.Signals
) -> None:
    run = shop.start("pack", "t-1")
    worker = begin()
    wait_for_file(shop.folder / "began")
    worker.send_signal(number)
    wait_for_line(worker, "drains 1 runs")
    (shop.folder / "released").touch()
    assert worker.wait(60) == 0

    async def left(app: App) -> tuple[tuple[str, ...], dict[str, object]]:
        state = await app.graph("pack").aget_state(thread_id="t-1")
        return state.next, state.values

    assert shop.call(left) == (("reserve",), {"sum": 240, "log": "packed"})
    status = shop.status(run)
    assert (status.state, status.crashes, status.worker) == ("ready", 0, None)
    assert shop.work("done") == ["done"]


def test_a_superstep_that_exceeds_the_grace_is_cancelled_and_its_run_released(shop: Shop, begin: Begin) -> None:
    run = shop.start("hang", "t-1")
    worker = begin("--grace", "0.1")
    wait_for_file(shop.folder / "began")
    worker.terminate()
    assert worker.wait(60) == 0
    status = shop.status(run)
    assert (status.state, status.crashes) == ("ready", 0)


def test_an_idle_worker_ends_at_the_first_signal(begin: Begin) -> None:
    worker = begin()
    worker.terminate()
    assert worker.wait(60) == 0
    assert worker.stderr is not None
    assert "the worker has stopped" in worker.stderr.read()


def test_a_second_signal_ends_the_process_at_once_and_another_worker_takes_over(shop: Shop, begin: Begin) -> None:
    run = shop.start("pack", "t-1")
    worker = begin("--lease", "1", "--grace", "3600")
    wait_for_file(shop.folder / "began")
    worker.terminate()
    wait_for_line(worker, "a second signal ends it at once")
    worker.terminate()
    assert worker.wait(60) == -signal.SIGTERM
    assert shop.status(run).state == "running"
    (shop.folder / "released").touch()
    begin()
    assert wait_for_state(shop, run, "done").attempt == 2


def test_a_second_signal_ends_a_process_whose_event_loop_is_blocked(shop: Shop, begin: Begin) -> None:
    shop.start("block", "t-1")
    worker = begin()
    wait_for_file(shop.folder / "began")
    # Nothing tells when the first signal was handled: signals of one kind are merged while one is pending.
    while worker.poll() is None:
        worker.terminate()
        time.sleep(0.01)
    assert worker.returncode == -signal.SIGTERM


def test_runs_of_a_killed_worker_are_quarantined_after_max_crashes(shop: Shop, begin: Begin) -> None:
    run = shop.start("hang", "t-1")
    options = ("--lease", "0.5", "--max-crashes", "2")
    for _ in range(2):
        worker = begin(*options)
        wait_for_file(shop.folder / "began")
        (shop.folder / "began").unlink()
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    begin(*options)
    assert "2 times in a row in 'hang'" in wait_for_state(shop, run, "quarantined").error


def test_an_unknown_app_ends_the_process_with_1(shop: Shop) -> None:
    process = shop.begin("worker", "shop:nothing")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "app='shop:nothing' is not possible" in err
