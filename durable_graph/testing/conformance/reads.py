"""Clauses of `load`, `history` and `list_threads`."""

from typing import cast

import msgspec

from durable_graph.checkpointing import Checkpointer, verify_page
from durable_graph.errors import InvalidOptionError
from durable_graph.records import HistoryPage, ListedStatus, Summary
from durable_graph.testing.conformance.saver_under_test import SaverUnderTest, commit, loaded, raises, save, some_thread
from durable_graph.testing.rows import Step, Writer, state_of, states_of


class ReadClauses(SaverUnderTest):
    """Clauses of reads."""

    async def test_missing_threads_and_checkpoints_are_not_found(self) -> None:
        async with self.saver() as saver:
            assert await saver.load("thread") is None
            assert await saver.history("thread", limit=5) is None
            assert await saver.list_threads() == []
            await some_thread(saver)
            unknown = await saver.load("thread", no=9)
            assert unknown is not None
            assert unknown.checkpoint is None
            other = await saver.load("thread", "child")
            assert other is not None
            assert other.checkpoint is None

    async def test_an_older_checkpoint_has_its_own_values(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver, length=40)
            for no in (1, 2, 31, 32, 33, 40):
                found = await loaded(saver, "thread", no=no)
                assert state_of(found) == writer.state(no)
                assert all(row.no <= no for row in found.values)

    async def test_a_removed_value_stays_removed(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver)
            await commit(saver, writer, Step({"log": None}))
            assert "log" not in state_of(await loaded(saver, "thread"))
            await commit(saver, writer, Step({}, {"log": b"anew,"}))
            assert state_of(await loaded(saver, "thread")) == writer.state()

    async def test_history_is_complete_page_by_page(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver, length=40)
            await commit(saver, writer, Step({"memory": b"not the root's"}, ns="child"))
            await save(saver, writer, writer.batch(writer.record(born=40)))
            pages = await _pages(saver, limit=7)
            assert [len(page.checkpoints) for page in pages] == [7, 7, 7, 7, 7, 5]
            assert [row.no for page in pages for row in page.checkpoints] == list(range(40, 0, -1))
            states = {no: state for page in pages for no, state in states_of(page).items()}
            assert states == {no: writer.state(no) for no in range(1, 41)}
            assert pages[0].records == (writer.record(born=40),)

    async def test_history_pages_are_consistent_during_concurrent_writes(self) -> None:
        async with self.saver() as saver:
            writer = await some_thread(saver, length=9)
            seen: list[int] = []
            before: int | None = None
            # The loop is bounded, because a saver that pages by counting would follow the writer forever.
            for _ in range(9):
                page = await saver.history("thread", before=before, limit=2)
                assert page is not None
                verify_page(page)
                seen += [row.no for row in page.checkpoints]
                before = page.older
                if before == 0:
                    break
                await commit(saver, writer, Step({"count": b"later"}, {"log": b"later,"}))
                await commit(saver, writer, Step({"count": b"fork"}), fork_of=4)
            assert seen == list(range(9, 0, -1))

    async def test_a_page_before_the_first_checkpoint_is_empty(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            page = await saver.history("thread", before=1, limit=5)
            assert page is not None
            verify_page(page)
            assert (page.checkpoints, page.older) == ((), 0)

    async def test_a_page_size_below_one_is_refused(self) -> None:
        async with self.saver() as saver:
            await some_thread(saver)
            for limit in (0, -1):
                with raises(InvalidOptionError):
                    await saver.history("thread", limit=limit)
                with raises(InvalidOptionError):
                    await saver.list_threads(limit=limit)

    async def test_threads_are_listed_by_id_page_by_page(self) -> None:
        async with self.saver() as saver:
            for name in ("b", "d", "a", "c", "é"):
                await some_thread(saver, name)
            first = await saver.list_threads(limit=2)
            rest = await saver.list_threads(after=first[-1].thread)
            assert [info.thread for info in (*first, *rest)] == ["a", "b", "c", "d", "é"]
            assert (first[0].head, first[0].version, first[0].status, first[0].since) == (3, 3, "running", 1)

    async def test_threads_are_listed_by_status(self) -> None:
        async with self.saver() as saver:
            done = await some_thread(saver, "done")
            await saver.commit(done.unit(status="done", at=7))
            failed = await some_thread(saver, "failed")
            await saver.save_writes(failed.batch(status="failed"))
            await some_thread(saver, "running")
            await some_thread(saver, "deleted")
            await saver.delete_thread("deleted")
            cancelled = await some_thread(saver, "cancelled")
            await saver.save_writes(cancelled.batch(status="cancelled"))
            for status in ("done", "failed", "running", "cancelled"):
                infos = await saver.list_threads(status=status)
                assert [(info.thread, info.status) for info in infos] == [(status, status)]
            assert [info.thread for info in await saver.list_threads()] == ["cancelled", "done", "failed", "running"]
            (info,) = await saver.list_threads(status="done")
            assert (info.since, info.head) == (7, 4)

    async def test_threads_of_a_status_are_paged_in_order_of_its_time(self) -> None:
        async with self.saver() as saver:
            times = {"a": 30, "b": 10, "c": 20, "d": 20, "e": 5}
            for name, time in times.items():
                await saver.commit(Writer.of(name).unit(Step({"count": b"1"}), at=time, status="done"))
            listed: list[str] = []
            page = await saver.list_threads(status="done", limit=2)
            for _ in times:
                listed += [info.thread for info in page]
                page = await saver.list_threads(status="done", limit=2, after=page[-1]) if page else []
            assert listed == ["e", "b", "c", "d", "a"]
            with raises(InvalidOptionError):
                await saver.list_threads(status="done", after="b")

    async def test_an_unknown_status_is_refused(self) -> None:
        async with self.saver() as saver:
            for status in ("deleted", "bogus", ""):
                with raises(InvalidOptionError):
                    await saver.list_threads(status=cast("ListedStatus", status))

    async def test_a_listing_has_the_fields_of_the_last_commit(self) -> None:
        async with self.saver() as saver:
            writer = Writer.of("thread")
            summary = Summary("orders", b"digest", ("pay", "ship"), '{"tenant": "amy"}')
            unit = msgspec.structs.replace(writer.unit(Step({"count": b"1"}), at=5), summary=summary)
            await saver.commit(unit)
            writer.applied(unit)
            (info,) = await saver.list_threads()
            assert (info.graph, info.next, info.metadata, info.error) == (
                "orders",
                ("pay", "ship"),
                '{"tenant": "amy"}',
                None,
            )
            assert (info.created_at, info.updated_at) == (5, 5)
            failed = msgspec.structs.replace(
                writer.batch(writer.record(), status="failed", at=7), error="ValueError: x"
            )
            await save(saver, writer, failed)
            (info,) = await saver.list_threads()
            assert (info.status, info.error, info.next, info.updated_at) == (
                "failed",
                "ValueError: x",
                ("pay", "ship"),
                7,
            )
            # Without a summary the plain columns stay unchanged; a commit clears the error.
            await commit(saver, writer, Step({"count": b"2"}))
            (info,) = await saver.list_threads()
            assert (info.graph, info.next, info.error, info.created_at) == ("orders", ("pay", "ship"), None, 5)

    async def test_threads_are_listed_by_the_time_of_their_status(self) -> None:
        async with self.saver() as saver:
            for name, time in (("a", 30), ("b", 10), ("c", 20), ("d", 5)):
                writer = Writer.of(name)
                await saver.commit(
                    writer.unit(Step({"count": b"1"}), at=time, status="running" if time == 5 else "done")
                )
            assert [info.thread for info in await saver.list_threads(before=21)] == ["b", "c", "d"]
            assert [info.thread for info in await saver.list_threads(status="done", before=20)] == ["b"]
            assert [info.thread for info in await saver.list_threads(before=31, after="a", limit=2)] == ["b", "c"]
            assert await saver.list_threads(before=5) == []


async def _pages(saver: Checkpointer, limit: int) -> list[HistoryPage]:
    pages: list[HistoryPage] = []
    while not pages or pages[-1].older:
        page = await saver.history("thread", before=pages[-1].older if pages else None, limit=limit)
        assert page is not None
        verify_page(page)
        pages.append(page)
    return pages
