"""Every clause of the conformance suite fails on a saver with the bug that the clause detects."""

from typing import Literal

import pytest

from durable_graph import Checkpointer, MemorySaver
from durable_graph.errors import DurableGraphError
from durable_graph.testing.conformance import CheckpointerConformance, StoredRow
from tests.checkpointing.plants import PLANTS, Plant
from tests.checkpointing.tampering import tamper

CLAUSES = sorted(name.removeprefix("test_") for name in dir(CheckpointerConformance) if name.startswith("test_"))
CASES = [
    pytest.param(clause, plant, id=f"{clause}-{number}")
    for clause, plants in PLANTS.items()
    for number, plant in enumerate(plants)
]


class Planted(CheckpointerConformance):
    """The suite on a saver with a bug. A bug in a rule is planted once for a test; savers are made as needed."""

    def __init__(self, plant: Plant, patch: pytest.MonkeyPatch) -> None:
        self.kind = type(plant(patch))

    async def open(self) -> Checkpointer:
        return self.kind()

    async def damage(self, saver: Checkpointer, row: StoredRow, how: Literal["flip", "remove"]) -> None:
        assert isinstance(saver, MemorySaver)
        tamper(saver, row, how)


def test_every_clause_has_a_planted_bug() -> None:
    assert sorted(PLANTS) == CLAUSES


@pytest.mark.parametrize(("clause", "plant"), CASES)
async def test_a_clause_fails_on_its_planted_bug(clause: str, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = Planted(plant, monkeypatch)
    # A torn or hidden row shows as an error of the library in clauses that did not expect one.
    with pytest.raises((AssertionError, DurableGraphError)):
        await getattr(suite, f"test_{clause}")()
