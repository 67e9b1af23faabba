"""Rows of a thread whose own row is missing are damage; a thread that is created during a look-up is not."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from durable_graph.checkpointing.columns import key_of
from durable_graph.errors import CorruptCheckpointError
from durable_graph.records import Conflict
from durable_graph.testing.conformance.saver_under_test import commit, loaded, some_thread
from durable_graph.testing.rows import Step, Writer, state_of
from durable_graph_postgres import PostgresSaver
from durable_graph_postgres.session import Session
from tests.postgres.proxy import Cut, proxied
from tests.savers import schema_of_its_own


@pytest.fixture
async def schema(postgres: str) -> AsyncIterator[str]:
    async with schema_of_its_own(postgres) as made:
        yield made


@pytest.fixture
async def other(postgres: str, schema: str) -> AsyncIterator[PostgresSaver]:
    """A saver that the server sees as another process."""
    async with PostgresSaver(postgres, schema=schema) as saver:
        yield saver


@pytest.fixture
def begun_meanwhile(other: PostgresSaver, monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    """The other saver creates the thread after this saver has not found it and before it looks for orphaned rows."""
    begun: list[Writer] = []
    rows = Session.rows

    async def found(db: Session, name: str, *sought: Any) -> Any:
        if name == "find_orphan" and not begun:
            begun.append(await some_thread(other))
        return await rows(db, name, *sought)

    monkeypatch.setattr(Session, "rows", found)
    return begun


async def test_a_thread_created_during_a_commit_is_a_conflict_and_no_damage(
    postgres: str, schema: str, other: PostgresSaver, begun_meanwhile: list[Writer]
) -> None:
    async with proxied(postgres) as proxy, PostgresSaver(proxy.url, schema=schema) as saver:
        await commit(saver, Writer.of("warm"), Step({"count": b"1"}))
        proxy.expect(Cut(1, "before"))

        answer = await saver.commit(Writer.of("thread", run=b"of-another-run--").unit(Step({"count": b"mine"})))

    assert proxy.has_cut
    assert answer == Conflict(3)
    assert state_of(await loaded(other, "thread")) == begun_meanwhile[0].state()


async def test_a_thread_created_during_a_look_up_of_its_records_is_no_damage(
    postgres: str, schema: str, begun_meanwhile: list[Writer]
) -> None:
    async with PostgresSaver(postgres, schema=schema) as saver:
        assert await saver.load_records("thread", "") is None
    assert begun_meanwhile


async def test_every_call_reports_checkpoints_of_a_missing_thread_as_damage(
    postgres: str, schema: str, other: PostgresSaver
) -> None:
    await some_thread(other)
    connection = await asyncpg.connect(postgres)
    await connection.execute(f'DELETE FROM "{schema}".threads WHERE thread_key = $1', key_of("thread"))  # noqa: S608  # a name of the tests
    await connection.close()

    async with PostgresSaver(postgres, schema=schema) as saver:
        for call in (
            saver.load("thread"),
            saver.load_records("thread", ""),
            saver.history("thread", limit=1),
            saver.commit(Writer.of("thread").unit(Step({"count": b"1"}))),
        ):
            with pytest.raises(CorruptCheckpointError, match="missing, and checkpoints of it exist"):
                await call
