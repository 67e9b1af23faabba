"""Processes that share a file and a thread: the losers of a race get a conflict, no acknowledged update is lost."""

import asyncio
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from durable_graph_sqlite import SqliteSaver
from tests.runtime.writer_process import builder

pytestmark = pytest.mark.slow

TURNS = 15
WRITERS = 4


async def words_of(path: Path, writer: str) -> list[tuple[str, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.runtime.writer_process",
        str(path),
        writer,
        str(TURNS),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return [(line.split()[0], line.split()[1]) for line in out.decode().splitlines()]


async def test_no_acknowledged_update_of_any_process_is_lost(tmp_path: Path) -> None:
    """LangGraph: 720 of 800 acknowledged updates were gone, without an error."""
    path = tmp_path / "runs.db"

    printed = await asyncio.gather(*(words_of(path, f"{n}") for n in range(WRITERS)))

    outcomes = [outcome for words in printed for outcome in words]
    acknowledged = [word for verdict, word in outcomes if verdict == "ack"]
    assert len(outcomes) == TURNS * WRITERS
    assert {verdict for verdict, _ in outcomes} <= {"ack", "lost"}
    async with SqliteSaver(path) as saver:
        graph = builder().compile(saver)
        log = (await graph.aget_state(thread_id="t")).values["log"]
        history = [snapshot async for snapshot in graph.aget_state_history(thread_id="t")]
    counted = Counter(log)
    assert all(counted[word] == 1 for word in acknowledged)
    assert max(counted[word] for word in counted if word != "noted") == 1
    # Every checkpoint follows from the one before it: no two runs wrote concurrently.
    for newer, older in pairwise(history):
        assert newer.parent_config == older.config
        assert newer.values["log"][: len(older.values["log"])] == older.values["log"]
