"""Clauses of the directory of threads about searches."""

import asyncio
from typing import Any

from msgspec.structs import replace

from durable_graph.checkpointing.directory import SortKey, ThreadQuery
from durable_graph.checkpointing.directory_rules import encoded_metadata, entries_of
from durable_graph.errors import InvalidOptionError
from durable_graph.records import Summary
from durable_graph.testing.conformance.directory_threads import DirectoryUnderTest
from durable_graph.testing.conformance.directory_under_test import create, directory_of, entry_at, ids, update
from durable_graph.testing.conformance.run_store_under_test import accept, runs_of, writer_of
from durable_graph.testing.conformance.saver_under_test import raises, some_thread

_NESTED = {"b": [1, {"x": None}], "a": "text"}
_METADATA: dict[str, dict[str, Any]] = {
    "number": {"value": 1},
    "fraction": {"value": 1.5},
    "text": {"value": "1"},
    "true": {"value": True},
    "null": {"value": None},
    "zero": {"value": 0},
    "false": {"value": False},
    "list": {"value": [1, 2]},
    "reversed": {"value": [2, 1]},
    "object": {"value": _NESTED},
    "more": {"value": {**_NESTED, "c": 1}},
    "odd": {"value": "\0'\"\\é\U0001f600", "": {"": ""}},
    "two": {"value": 1, "other": 2},
    "none": {},
}


class SearchClauses(DirectoryUnderTest):
    """Clauses of `search` and `count`."""

    async def test_metadata_are_compared_as_json_key_by_key(self) -> None:
        async with self.saver() as saver:
            for thread, metadata in _METADATA.items():
                await create(saver, thread, metadata)
            for sought, expected in (
                ({"value": 1}, ["number", "two"]),
                ({"value": 1.0}, ["number", "two"]),
                ({"value": 1.5}, ["fraction"]),
                ({"value": "1"}, ["text"]),
                ({"value": True}, ["true"]),
                ({"value": None}, ["null"]),
                ({"value": 0}, ["zero"]),
                ({"value": -0.0}, ["zero"]),
                ({"value": False}, ["false"]),
                ({"value": [1, 2]}, ["list"]),
                ({"value": [1.0, 2.0]}, ["list"]),
                ({"value": {"a": "text", "b": [1.0, {"x": None}]}}, ["object"]),
                ({"value": {"a": "text"}}, []),
                ({"value": [1]}, []),
                ({"value": "\0'\"\\é\U0001f600"}, ["odd"]),
                ({"": {"": ""}}, ["odd"]),
                ({"value": 1, "other": 2}, ["two"]),
                ({"other": 2}, ["two"]),
                ({"value": 2, "other": 1}, []),
                ({}, sorted(_METADATA)),
            ):
                assert await ids(saver, sought) == expected, sought

    async def test_a_prefix_selects_the_ids_that_begin_with_it(self) -> None:
        async with self.saver() as saver:
            threads = ["a", "a/", "a/1", "a/\U0010ffff", "a0", "A/1", "ab/1", "b", "é/1", "é/\ud7ff", "é/\ue000"]
            threads += ["\U0010ffff", "\U0010ffff\U0010ffff/1", "%", "_/1"]
            for thread in threads:
                await create(saver, thread)
            for prefix in ("", "a", "a/", "a/1", "a/\U0010ffff", "é/", "é/\ud7ff", "\U0010ffff", "%", "_", "zz"):
                assert await ids(saver, prefix=prefix) == sorted(each for each in threads if each.startswith(prefix))

    async def test_ids_select_threads(self) -> None:
        async with self.saver() as saver:
            for thread in ("a", "b", "c"):
                await create(saver, thread)
            assert await ids(saver, ids=("c", "a", "unknown", "a")) == ["a", "c"]
            assert await ids(saver, ids=()) == []
            assert await ids(saver, ids=("a", "b"), prefix="b") == ["b"]

    async def test_a_graph_selects_its_threads(self) -> None:
        async with self.saver() as saver:
            await create(saver, "created")
            await create(saver, "ended")
            seq = await accept(saver, "ended", graph="order")
            await runs_of(saver).cancel_run("ended", seq, "reason")
            await create(saver, "accepted")
            await accept(saver, "accepted", graph="order")
            await accept(saver, "new", graph="order")
            await accept(saver, "other", graph="invoice")
            await create(saver, "committed")
            writer = await writer_of(saver, "committed")
            await saver.commit(replace(writer.unit(status="done"), summary=Summary("order")))
            assert await ids(saver, graph="order") == ["accepted", "committed", "new"]
            assert await ids(saver, graph="invoice") == ["other"]
            assert await ids(saver, graph="unknown") == []

    async def test_all_conditions_have_to_be_fulfilled(self) -> None:
        async with self.saver() as saver:
            for thread in ("a/1", "a/2", "b/1", "b/2"):
                await create(saver, thread, {"user": thread[0], "number": int(thread[-1])})
            for thread in ("a/1", "a/2", "b/1"):
                await accept(saver, thread, graph="order" if thread != "a/2" else "invoice")
            every: dict[str, Any] = {
                "prefix": "a/",
                "graph": "order",
                "status": "busy",
                "ids": ("a/1", "a/2", "b/1", "b/2"),
            }
            sought = {"user": "a", "number": 1}
            assert await ids(saver, sought, **every) == ["a/1"]
            for name, other in (("prefix", "b/"), ("graph", "invoice"), ("status", "idle"), ("ids", ("a/2", "b/1"))):
                assert await ids(saver, sought, **{**every, name: other}) == [], name
            for metadata in ({"user": "a", "number": 2}, {"user": "b", "number": 1}):
                assert await ids(saver, metadata, **every) == []

    async def test_threads_are_sorted_in_both_directions_and_then_by_id(self) -> None:
        async with self.saver() as saver:
            for thread in ("d", "a", "c", "B", "é"):
                await create(saver, thread)
            # The time of its last change is later than that of all others.
            await update(saver, {"user": "ann"}, "a")
            for thread in ("c", "é"):
                await accept(saver, thread)
            for thread in ("t2", "t1"):
                await some_thread(saver, thread)
            for sort_by in ("thread_id", "created_at", "updated_at", "status"):
                expected = await self._sorted(saver, sort_by)
                assert await ids(saver, sort_by=sort_by) == expected
                assert await ids(saver, sort_by=sort_by, descending=True) == expected[::-1]
            assert (await self._sorted(saver, "updated_at"))[-1] == "a"

    async def _sorted(self, saver: Any, sort_by: SortKey) -> list[str]:
        entries = [await entry_at(saver, thread) for thread in ("d", "a", "c", "B", "é", "t2", "t1")]
        field = "thread" if sort_by == "thread_id" else sort_by
        return [entry.thread for entry in sorted(entries, key=lambda each: (getattr(each, field), each.thread))]

    async def test_pages_follow_each_other(self) -> None:
        async with self.saver() as saver:
            threads = [f"thread {number}" for number in range(7)]
            for thread in threads:
                await create(saver, thread, {"user": "ann"})
            for conditions in ({}, {"metadata": {"user": "ann"}}, {"prefix": "thread"}, {"ids": tuple(threads)}):
                pages = [await ids(saver, limit=3, offset=offset, **conditions) for offset in (0, 3, 6, 9)]
                assert pages == [threads[:3], threads[3:6], threads[6:], []]
                assert await ids(saver, descending=True, limit=2, offset=1, **conditions) == ["thread 5", "thread 4"]

    async def test_impossible_pages_are_refused(self) -> None:
        async with self.saver() as saver:
            for limit, offset in ((0, 0), (-1, 0), (True, 0), (1, -1), (1, True), (1, 1 << 63), (1 << 63, 0)):
                with raises(InvalidOptionError):
                    await ids(saver, limit=limit, offset=offset)

    async def test_a_found_thread_fulfils_the_conditions_as_it_is_returned(self) -> None:
        async with self.saver() as saver, await self.open_another(saver) as other:
            await create(saver, metadata={"number": 0})
            writer = await writer_of(saver)
            await saver.commit(writer.unit())
            ended = asyncio.Event()

            async def count_up() -> None:
                for number in range(40):
                    await directory_of(other).update("thread", encoded_metadata({"number": number % 2}))
                    await asyncio.sleep(0)
                ended.set()

            counting = asyncio.ensure_future(count_up())
            query = ThreadQuery(entries_of({"number": 1}))
            while not ended.is_set():
                found = await directory_of(saver).search(
                    query, sort_by="updated_at", descending=True, limit=5, offset=0
                )
                assert [each.metadata for each in found] in ([], [{"number": 1}])
                await asyncio.sleep(0)
            await counting
