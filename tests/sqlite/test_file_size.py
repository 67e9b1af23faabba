"""The bytes that a step adds to the closed file. The figures are promises: a step costs only the bytes it changes."""

import random
from pathlib import Path

from durable_graph.testing.conformance.saver_under_test import commit, loaded
from durable_graph.testing.rows import Step, Writer, state_of
from durable_graph_sqlite import SqliteSaver

HEADER_BYTES = 100


async def test_a_thousand_appends_take_less_than_a_megabyte(tmp_path: Path) -> None:
    path, noise = tmp_path / "runs.db", random.Random(1)
    writer = Writer.of("0f8fad5b-d9cb-469f-a165-70867728950e", noise.randbytes(16))
    async with SqliteSaver(path) as saver:
        for _ in range(1000):
            await commit(
                saver, writer, Step({}, {"messages": noise.randbytes(200)}, header=noise.randbytes(HEADER_BYTES))
            )
        found = await loaded(saver, writer.thread.thread)
        assert state_of(found) == writer.state()
        assert len(found.values) <= 31 + 31
    assert path.stat().st_size <= 1_000_000


async def test_one_changed_channel_of_300_takes_less_than_a_kilobyte(tmp_path: Path) -> None:
    noise = random.Random(2)
    sizes = {}
    for steps in (10, 510):
        path = tmp_path / f"{steps}.db"
        writer = Writer.of("0f8fad5b-d9cb-469f-a165-70867728950e", noise.randbytes(16))
        async with SqliteSaver(path) as saver:
            await commit(saver, writer, Step({f"channel_{number:03}": noise.randbytes(100) for number in range(300)}))
            for _ in range(steps):
                change = {f"channel_{noise.randrange(300):03}": noise.randbytes(100)}
                await commit(saver, writer, Step(change, header=noise.randbytes(HEADER_BYTES)))
            assert state_of(await loaded(saver, writer.thread.thread)) == writer.state()
        sizes[steps] = path.stat().st_size
    assert (sizes[510] - sizes[10]) / 500 <= 1000


async def test_forking_copies_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    writer = Writer.of("thread")
    async with SqliteSaver(path) as saver:
        await commit(saver, writer, Step({f"channel_{number:03}": bytes(1000) for number in range(300)}))
    before = path.stat().st_size
    async with SqliteSaver(path) as saver:
        for base in range(1, 101):
            await commit(saver, writer, Step({"one": b"changed"}), fork_of=base)
    assert path.stat().st_size - before <= 100 * 1000


async def test_forks_of_forks_are_read_correctly(tmp_path: Path) -> None:
    writer = Writer.of("thread")
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        await commit(saver, writer, Step({f"channel_{number:03}": b"first" for number in range(30)}, {"log": b"0,"}))
        await commit(saver, writer, Step({"dead": b"end"}))
        for number in range(200):
            # Every second fork starts at the last checkpoint but one, and leaves the newest one on its branch.
            base = writer.thread.version - (1 if number % 2 else 0)
            change = Step({f"channel_{number % 30:03}": b"%d" % number}, {"log": b"%d," % number})
            await commit(saver, writer, change, fork_of=base)
        for no in (None, 3, 50, 101, 202):
            assert state_of(await loaded(saver, "thread", no=no)) == writer.state(no)
