"""A run that is cancelled at any moment and in any way keeps its finished tasks and leaves nothing behind."""

import asyncio
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_graph import Durability
from tests.crash.conftest import IS_LONG, Echo
from tests.crash.engine.cancelled_runs import HOWS, NEVER, How, Moment, cancelled

TIMES = 200 if IS_LONG else 25


def moments(events: int, seed: str) -> Iterator[Moment]:
    chance = random.Random(seed)
    for _ in range(TIMES):
        yield Moment(event=chance.randint(1, events), turns=chance.choice((0, 0, 1, 2, 3, 5, 8, 13)))


def ends(thread: threading.Thread) -> bool:
    """Whether the thread ends: the threads of plain functions are asked to end, and not awaited."""
    thread.join(timeout=10)
    return not thread.is_alive()


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
@pytest.mark.parametrize("how", HOWS)
def test_a_cancelled_run_keeps_its_finished_tasks_and_leaves_nothing_behind(
    how: How, mode: Durability, tmp_path: Path, echo: Echo
) -> None:
    threads = set(threading.enumerate())
    undisturbed = asyncio.run(cancelled(how, mode, NEVER, tmp_path / "undisturbed.db"))
    were_cancelled = 0

    for number, moment in enumerate(moments(undisturbed.events, f"{how} {mode}")):
        got = asyncio.run(cancelled(how, mode, moment, tmp_path / f"{number}.db"))
        assert got.broken == [], moment
        assert got.state == undisturbed.state, moment
        were_cancelled += got.was_cancelled

    assert not undisturbed.was_cancelled
    assert were_cancelled > TIMES // 2
    assert [thread for thread in threading.enumerate() if thread not in threads and not ends(thread)] == []
    echo(f"{how}, {mode}: {were_cancelled} of {TIMES} runs were cancelled, 0 violations")
