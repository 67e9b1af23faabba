"""One file and several processes: concurrent writers, a forked child, and processes that close nothing."""

import os
import subprocess
import sys
from pathlib import Path

from durable_graph.testing.conformance.saver_under_test import loaded
from durable_graph.testing.rows import state_of
from durable_graph_sqlite import SqliteSaver
from tests.sqlite.inside import count

_COMMON = """
import asyncio, os, sys
from durable_graph.errors import CheckpointerMisuseError
from durable_graph.records import Committed
from durable_graph.testing.conformance.saver_under_test import commit, some_thread
from durable_graph.testing.rows import Step, Writer
from durable_graph_sqlite import SqliteSaver

path, name = sys.argv[1], sys.argv[2]
"""

_WRITES = """
async def main():
    # All processes begin at the same moment, once each has started.
    print("ready", flush=True)
    sys.stdin.readline()
    async with SqliteSaver(path) as saver:
        writers = [Writer.of(f"{name}-{number}") for number in range(4)]
        for step in range(15):
            async with asyncio.TaskGroup() as group:
                for writer in writers:
                    group.create_task(commit(saver, writer, Step({}, {"log": b"%d," % step})))

asyncio.run(main())
"""

_FORKS = """
async def main():
    saver = SqliteSaver(path)
    writer = await some_thread(saver, name)
    child = os.fork()
    if child == 0:
        refused = 0
        for call in (lambda: saver.load(name), lambda: saver.commit(writer.unit()), saver.aclose):
            try:
                await call()
            except CheckpointerMisuseError as error:
                refused += error.kind == "forked"
        os._exit(refused)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    await commit(saver, writer, Step({"count": b"4"}))
    await saver.aclose()

asyncio.run(main())
"""

_FORGETS = """
async def main():
    await some_thread(SqliteSaver(path), name)

asyncio.run(main())
print("ended")
"""

_SHUTS_DOWN = """
async def main():
    saver = SqliteSaver(path)
    writer = await some_thread(saver, name)
    units = [writer.unit(Step({"count": b"4"}, {"log": b"4,"})), writer.unit(Step({"count": b"rival"}))]
    calls = [asyncio.ensure_future(saver.commit(unit)) for unit in units]
    for _ in range(3):
        await asyncio.sleep(0)
    # The loop cancels the remaining tasks, including the saver's own.

asyncio.run(main())
print("ended")
"""

_PROCESSES = 8


def _start(script: str, path: Path, name: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _COMMON + script, str(path), name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _output_of(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


async def test_processes_may_create_a_file_and_write_to_it_concurrently(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    processes = [_start(_WRITES, path, f"process-{number}") for number in range(_PROCESSES)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _output_of(process)
    log = b"".join(b"%d," % step for step in range(15))
    async with SqliteSaver(path) as saver:
        for process_number in range(_PROCESSES):
            for number in range(4):
                assert state_of(await loaded(saver, f"process-{process_number}-{number}")) == {"log": log}
    assert count(path, "checkpoints") == _PROCESSES * 4 * 15


async def test_calls_in_a_forked_child_are_refused_and_the_parent_continues(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    refused = _output_of(_start(_FORKS, path, "thread"))
    assert refused == "3\n"
    async with SqliteSaver(path) as saver:
        assert state_of(await loaded(saver, "thread"))["count"] == b"4"


async def test_a_program_that_does_not_close_its_saver_exits_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    assert _output_of(_start(_FORGETS, path, "thread")) == "ended\n"
    async with SqliteSaver(path) as saver:
        assert state_of(await loaded(saver, "thread"))["count"] == b"3"


async def test_the_shutdown_of_a_loop_during_commits_leaves_no_partial_commit(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    assert _output_of(_start(_SHUTS_DOWN, path, "thread")) == "ended\n"
    async with SqliteSaver(path) as saver:
        state = state_of(await loaded(saver, "thread"))
        assert (state["count"], state["log"]) in ((b"3", b"1,2,3,"), (b"4", b"1,2,3,4,"))
