"""Every clause of the suite for stores of schedules fails on a store with the bug that it is for."""

import pytest

from durable_graph import Checkpointer, MemorySaver
from durable_graph.errors import DurableGraphError
from durable_graph.testing import ScheduleStoreConformance
from tests.checkpointing.schedule_plants import PLANTS, Plant
from tests.checkpointing.sharing import SharingSaver

CLAUSES = sorted(name.removeprefix("test_") for name in dir(ScheduleStoreConformance) if name.startswith("test_"))
CASES = [
    pytest.param(clause, plant, id=f"{clause}-{number}")
    for clause, plants in PLANTS.items()
    for number, plant in enumerate(plants)
]


class Planted(ScheduleStoreConformance):
    """The suite on a store with a bug."""

    def __init__(self, kind: type[MemorySaver]) -> None:
        self.kind = kind

    async def open(self) -> Checkpointer:
        return self.kind()

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return SharingSaver(saver)


def test_every_clause_has_a_store_that_it_fails_on() -> None:
    assert sorted(PLANTS) == CLAUSES


@pytest.mark.parametrize(("clause", "plant"), CASES)
async def test_the_clause_fails_on_the_bug_that_it_is_for(
    monkeypatch: pytest.MonkeyPatch, clause: str, plant: Plant
) -> None:
    with pytest.raises((AssertionError, DurableGraphError)):
        await getattr(Planted(plant(monkeypatch)), f"test_{clause}")()
