"""Every clause of the suite for stores of runs has been seen to fail, on a store with the bug that it is for."""

import pytest

from durable_graph import Checkpointer
from durable_graph.errors import DurableGraphError
from durable_graph.testing.conformance import RunStoreConformance
from tests.checkpointing.child_plants import CHILD_PLANTS
from tests.checkpointing.run_plants import PLANTS as PLANTS_OF_RUNS
from tests.checkpointing.run_plants import Plant
from tests.checkpointing.run_retention_plants import RETENTION_PLANTS
from tests.checkpointing.sharing import SharingSaver, block
from tests.checkpointing.update_plants import UPDATE_PLANTS

CLAUSES = sorted(name.removeprefix("test_") for name in dir(RunStoreConformance) if name.startswith("test_"))
PLANTS = {**PLANTS_OF_RUNS, **RETENTION_PLANTS, **UPDATE_PLANTS, **CHILD_PLANTS}
CASES = [
    pytest.param(clause, plant, id=f"{clause}-{number}")
    for clause, plants in PLANTS.items()
    for number, plant in enumerate(plants)
]


class Planted(RunStoreConformance):
    """The suite on a store with a bug."""

    def __init__(self, plant: Plant, patch: pytest.MonkeyPatch) -> None:
        self.kind = plant(patch)

    async def open(self) -> Checkpointer:
        return self.kind()

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return SharingSaver(saver)

    async def block(self, saver: Checkpointer, thread: str, seq: int) -> None:
        block(saver, thread, seq)


def test_every_clause_has_a_store_that_it_fails_on() -> None:
    assert sorted(PLANTS) == CLAUSES


@pytest.mark.parametrize(("clause", "plant"), CASES)
async def test_the_clause_fails_on_the_bug_that_it_is_for(
    clause: str, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = Planted(plant, monkeypatch)
    with pytest.raises((AssertionError, DurableGraphError)):
        await getattr(suite, f"test_{clause}")()
