"""A saver checks the outcome of a call whose answer was lost, and others may have continued from it meanwhile."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from durable_graph.testing.conformance.run_store_under_test import new_run
from durable_graph.testing.conformance.saver_under_test import commit, loaded, some_thread
from durable_graph.testing.rows import Step, Writer, state_of
from durable_graph_postgres.database import Database
from durable_graph_postgres.session import Session
from tests.postgres.cutting import Wire, wired
from tests.postgres.proxy import Cut
from tests.postgres.trips import named

Action = Callable[[], Awaitable[None]]


@pytest.fixture
async def wire(postgres: str) -> AsyncIterator[Wire]:
    async with wired(postgres) as made:
        yield made


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> list[Action]:
    """Actions of others after the answer of a call was lost, and before the saver checks its outcome."""
    waiting: list[Action] = []
    write = Database.write

    async def looking(db: Database, function: Callable[[Session], Awaitable[Any]], thread: str) -> Any:
        async def attempt(session: Session) -> Any:
            while waiting and has_tried:
                await waiting.pop()()
            has_tried.append(True)
            return await function(session)

        has_tried: list[bool] = []
        return await write(db, attempt, thread)

    monkeypatch.setattr(Database, "write", looking)
    return waiting


async def test_a_repeated_deletion_does_not_remove_a_thread_started_after_the_first_attempt(
    wire: Wire, meanwhile: list[Action]
) -> None:
    reborn: list[Writer] = []

    async def begin_anew() -> None:
        found = await wire.around.load("thread")
        assert found is not None
        assert found.thread.status == "deleted"
        reborn.append(Writer.of("thread").reborn(found.thread))
        await commit(wire.around, reborn[0], Step({"count": b"anew"}))

    async with wire.saver() as saver:
        # The first deletion prepares its statements.
        for name in ("first", "rehearsed"):
            await some_thread(saver, name)
            wire.proxy.expect()
            await saver.delete_thread(name)
        trips = named(wire.proxy.trips, wire.schema)
        await some_thread(saver)
        wire.proxy.expect(Cut(trips.index("COMMIT") + 1, "after"))
        meanwhile.append(begin_anew)

        assert await saver.delete_thread("thread")

    assert wire.proxy.has_cut
    assert state_of(await loaded(wire.around, "thread")) == reborn[0].state()


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_an_acceptance_of_a_new_thread_is_made_again_if_its_commit_was_lost(wire: Wire, moment: Any) -> None:
    async with wire.saver() as saver:
        # A run of a renamed graph is accepted by a transaction. The first one prepares its statements.
        for name in ("first", "rehearsed"):
            wire.proxy.expect()
            await saver.runs.accept(new_run(name, formerly=("old name",)))
        trips = named(wire.proxy.trips, wire.schema)
        wire.proxy.expect(Cut(trips.index("COMMIT") + 1, moment))

        accepted = await saver.runs.accept(new_run("thread", formerly=("old name",)))

        assert wire.proxy.has_cut
        assert accepted.is_new
        assert await saver.runs.find_run("thread", accepted.seq) is not None
        assert len(await saver.runs.list_runs(thread="thread")) == 1
