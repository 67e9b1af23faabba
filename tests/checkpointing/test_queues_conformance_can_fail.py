"""Every clause of the suite for queues with limits fails on queues with the bug that it is for."""

import pytest

from durable_graph import Checkpointer, MemorySaver
from durable_graph.errors import DurableGraphError
from durable_graph.testing import QueueStoreConformance
from tests.checkpointing.queue_plants import PLANTS, Plant
from tests.checkpointing.sharing import SharingSaver

CLAUSES = sorted(name.removeprefix("test_") for name in dir(QueueStoreConformance) if name.startswith("test_"))
CASES = [
    pytest.param(clause, plant, id=f"{clause}-{number}")
    for clause, plants in PLANTS.items()
    for number, plant in enumerate(plants)
]


class Planted(QueueStoreConformance):
    """The suite on queues with a bug."""

    def __init__(self, kind: type[MemorySaver]) -> None:
        self.kind = kind

    async def open(self) -> Checkpointer:
        return self.kind()

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return SharingSaver(saver)


def test_every_clause_has_queues_that_it_fails_on() -> None:
    assert sorted(PLANTS) == CLAUSES


@pytest.mark.parametrize(("clause", "plant"), CASES)
async def test_the_clause_fails_on_the_bug_that_it_is_for(
    monkeypatch: pytest.MonkeyPatch, clause: str, plant: Plant
) -> None:
    with pytest.raises((AssertionError, DurableGraphError)):
        await getattr(Planted(plant(monkeypatch)), f"test_{clause}")()
