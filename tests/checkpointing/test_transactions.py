"""Writes prepared without reading equal the writes of a transaction that reads; other writes are not prepared."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from durable_graph.checkpointing import CommitHandle
from durable_graph.checkpointing.columns import Columns, signed
from durable_graph.checkpointing.digests import request_digest
from durable_graph.checkpointing.prepared import prepare
from durable_graph.checkpointing.queries import Query
from durable_graph.checkpointing.transactions import Batch, Transaction, begun, commit, save_writes
from durable_graph.records import Committed, CommitUnit, RequestRow, Saved, StoredThread, Sums, WritesBatch
from durable_graph.testing.conformance.saver_under_test import save, some_thread
from durable_graph.testing.rows import Step, Writer
from durable_graph_sqlite import SqliteSaver

replace = msgspec.structs.replace


async def written(saver: SqliteSaver, wanted: CommitUnit | WritesBatch) -> Committed | Saved:
    """The result of a transaction that reads: without the base, nothing can be prepared."""
    handle: Any = saver.commit if isinstance(wanted, CommitUnit) else saver.save_writes
    answer = await handle(replace(wanted, base=None))
    assert isinstance(answer, Committed | Saved)
    return answer


async def test_a_prepared_write_makes_the_row_that_a_transaction_makes(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        writer = await some_thread(saver)
        wanted = (
            lambda: writer.unit(Step({"count": b"4"})),
            lambda: writer.unit(Step({"count": b"5"}), status="interrupted", at=9),
            lambda: writer.batch(writer.record(), writer.record(number=1), status="failed", at=10),
            lambda: writer.batch(writer.record(born=5, ns="calls"), at=11),
            lambda: writer.unit(Step({"memory": b"m"}, ns="child"), records=[writer.record(ns="child", born=5)]),
            lambda: writer.unit(Step({"count": b"6"}), Step({"memory": b"n"}, ns="child"), Step({"count": b"7"})),
            lambda: writer.batch(status="cancelled", at=12),
        )
        for each in wanted:
            request = each()
            prepared = prepare(request)
            assert prepared is not None

            answer = await written(saver, request)

            assert prepared.result == answer
            assert prepared.after == answer.base
            if isinstance(request, CommitUnit):
                writer.applied(request, answer.base)
            elif isinstance(answer, Saved):
                writer.thread = replace(writer.thread, wseq=answer.wseq, status=prepared.after.row.status)
                writer.base = answer.base


async def test_the_first_commit_of_a_thread_is_prepared(tmp_path: Path) -> None:
    unit = Writer.of("thread").unit(Step({"count": b"1"}))
    prepared = prepare(unit)
    assert prepared is not None
    assert prepared.before is None
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        answer = await saver.commit(unit)
        found = await saver.load("thread")
    assert isinstance(answer, Committed)
    assert found is not None
    assert prepared.after == answer.base == found.base


def _writer() -> Writer:
    writer = Writer.of("thread")
    writer.applied(writer.unit(Step({"count": b"1"})))
    assert writer.base is not None
    return writer


def _with_base(request: CommitUnit | WritesBatch, base: StoredThread | None) -> CommitUnit | WritesBatch:
    return replace(request, base=base)


def _of_another_row(base: StoredThread, **changes: Any) -> StoredThread:
    return signed(replace(base.row, **changes), Sums(), base.born)


@pytest.mark.parametrize("kind", ["commit", "save"])
def test_writes_that_only_the_store_can_decide_are_not_prepared(kind: str) -> None:
    writer = _writer()
    base = writer.base
    assert base is not None
    request: CommitUnit | WritesBatch = writer.unit() if kind == "commit" else writer.batch(writer.record())
    assert prepare(request) is not None
    keyed = RequestRow("key", b"i" * 16, 0, 1, 1, b"")
    keyed = replace(keyed, digest=request_digest(writer.thread.origin, keyed))

    not_prepared = {
        "no row": _with_base(request, None),
        "a row without a digest": _with_base(request, replace(base, digest=b"")),
        "a row of another thread": _with_base(request, _of_another_row(base, thread="another")),
        "a deleted thread": _with_base(request, _of_another_row(base, thread="", status="deleted")),
        "another version": _with_base(request, _of_another_row(base, version=7)),
        "another epoch": _with_base(request, _of_another_row(base, epoch=1)),
        "a request with a key": replace(request, request=keyed),
        "a later record": replace(request, records=(writer.record(revision=2),)),
    }
    assert {why: prepare(each) for why, each in not_prepared.items()} == dict.fromkeys(not_prepared)


def test_forks_and_commits_with_records_of_the_next_plan_are_not_prepared() -> None:
    writer = _writer()
    assert prepare(writer.unit(fork_of=1)) is None
    # The record is of a task that the new checkpoint plans, so that the sum over its records is read.
    assert prepare(writer.unit(Step({}), records=[writer.record(born=2)])) is None
    assert prepare(writer.unit(Step({}, born=1))) is None
    assert prepare(replace(writer.unit(), wseq=1)) is None


def _asked(transaction: Transaction[Any], *found: Sequence[Columns]) -> list[str]:
    """The names of the statements of a transaction whose queries find these rows, and then no rows."""
    names: list[str] = []
    answers = iter(found)
    try:
        asked = next(transaction)
        while True:
            assert isinstance(asked, Query | Batch)
            names.append(asked.name)
            asked = transaction.send(next(answers, ()))
    except StopIteration:
        return names


def test_a_transaction_runs_only_the_queries_that_its_decision_needs() -> None:
    writer = Writer.of("thread")
    unit = writer.unit(Step({"count": b"1"}))

    started = ["lock_thread", "find_orphan", "add_branch", "find_lineage", "add_checkpoint", "add_channel_row"]
    assert _asked(commit(unit)) == [*started, "add_thread"]
    assert _asked(save_writes(writer.batch(writer.record()))) == ["lock_thread"]
    assert _asked(begun(unit)) == _asked(commit(unit))


async def test_a_prepared_write_of_a_record_that_is_already_stored_is_no_error(tmp_path: Path) -> None:
    """Records of an older plan are in no sum: only their keys show that they are stored."""
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        writer = await some_thread(saver)
        record = writer.record(born=1)
        assert await save(saver, writer, writer.batch(record)) == (record,)
        others = [await some_thread(saver, f"other {number}") for number in range(3)]
        again = writer.batch(writer.record(born=1, value=b"another"))
        assert prepare(again) is not None

        calls = [saver.save_writes(again), *(saver.commit(other.unit(Step({"count": b"4"}))) for other in others)]
        saved, *committed = await asyncio.gather(*(CommitHandle.of(call) for call in calls))

        assert isinstance(saved, Saved)
        assert saved.standing == (record,)
        assert committed == [Committed(4)] * 3
