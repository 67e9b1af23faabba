"""MemorySaver passes the conformance suite of savers."""

from typing import Literal

from durable_graph import Checkpointer, MemorySaver
from durable_graph.records import Committed, Conflict, Saved
from durable_graph.testing.conformance import CheckpointerConformance, StoredRow
from durable_graph.testing.rows import Step, Writer
from tests.checkpointing.tampering import tamper


class TestMemorySaver(CheckpointerConformance):
    async def open(self) -> Checkpointer:
        return MemorySaver()

    async def damage(self, saver: Checkpointer, row: StoredRow, how: Literal["flip", "remove"]) -> None:
        assert isinstance(saver, MemorySaver)
        tamper(saver, row, how)


async def test_arguments_may_be_given_by_name() -> None:
    saver, writer = MemorySaver(), Writer.of("t")

    assert await saver.commit(unit=writer.unit(Step({"count": b"1"}))) == Committed(1)
    assert isinstance(await saver.save_writes(batch=writer.batch()), Saved | Conflict)
