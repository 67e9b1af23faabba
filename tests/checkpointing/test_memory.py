"""MemorySaver keeps to the clauses of every saver."""

from typing import Literal

from durable_graph.checkpointing import Checkpointer, MemorySaver
from durable_graph.testing.conformance import CheckpointerConformance, StoredRow
from tests.checkpointing.tampering import tamper


class TestMemorySaver(CheckpointerConformance):
    async def open(self) -> Checkpointer:
        return MemorySaver()

    async def damage(self, saver: Checkpointer, row: StoredRow, how: Literal["flip", "remove"]) -> None:
        assert isinstance(saver, MemorySaver)
        tamper(saver, row, how)
