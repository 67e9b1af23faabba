"""Every directory of threads gives the results of that of MemorySaver, for any calls."""

from pathlib import Path
from random import Random
from typing import Any, get_args

import msgspec
import pytest

from durable_graph import Checkpointer, MemorySaver
from durable_graph.checkpointing.directory import (
    DirectoryStatus,
    KeepsDirectory,
    SortKey,
    ThreadDirectory,
    ThreadEntry,
    ThreadQuery,
)
from durable_graph.checkpointing.directory_rules import encoded_metadata, entries_of
from durable_graph.errors import DurableGraphError
from durable_graph.records import Status, Summary
from durable_graph.testing.conformance.directory_under_test import new_thread
from durable_graph.testing.conformance.run_store_under_test import new_run, runs_of
from durable_graph.testing.rows import Writer
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver
from tests.savers import schema_of_its_own

_VALUES: list[Any] = [0, 1, 1.0, True, None, "1", "é\0", [1, 2], [2, 1], {"a": 1}, {"a": 1, "b": [None]}, 2.5]
_KEYS = ["user", "", "é'\"", "n"]
_STATUSES: list[Status] = ["running", "interrupted", "failed", "done", "cancelled"]


def _directory(saver: Checkpointer) -> ThreadDirectory:
    assert isinstance(saver, KeepsDirectory)
    return saver.directory


class Walk:
    """Random calls on two savers, whose threads begin with `prefix`."""

    def __init__(self, left: Checkpointer, right: Checkpointer, random: Random, prefix: str) -> None:
        self.savers = left, right
        self.random = random
        self.prefix = prefix
        self.threads = [f"{prefix}{name}" for name in ("a", "a/1", "a/2", "b", "é/\ud7ff", "é/\U0010ffff")]

    async def go(self, calls: int) -> None:
        changes = [self._create, self._create, self._update, self._commit, self._accept, self._cancel, self._copy]
        for _ in range(calls):
            await self.random.choice([*changes, *changes, self._delete, self._drop])()
            await self._search()

    async def _both(self, call: Any) -> None:
        results = []
        for saver in self.savers:
            try:
                results.append(_shown(await call(saver)))
            except DurableGraphError as error:
                results.append((type(error), str(error)))
        assert results[0] == results[1]

    def _thread(self) -> str:
        return self.random.choice(self.threads)

    def _metadata(self) -> dict[str, Any]:
        return {self.random.choice(_KEYS): self.random.choice(_VALUES) for _ in range(self.random.randrange(3))}

    async def _create(self) -> None:
        new = new_thread(self._thread(), self._metadata())
        await self._both(lambda saver: _directory(saver).create(new))

    async def _update(self) -> None:
        thread, metadata = self._thread(), encoded_metadata(self._metadata())
        await self._both(lambda saver: _directory(saver).update(thread, metadata))

    async def _delete(self) -> None:
        thread = self._thread()
        await self._both(lambda saver: _is_deleted(saver, thread))

    async def _drop(self) -> None:
        thread, purge = self._thread(), self.random.random() < 0.5
        await self._both(lambda saver: saver.delete_thread(thread, purge=purge))

    async def _copy(self) -> None:
        source, target = self._thread(), self._thread()
        await self._both(lambda saver: saver.copy_thread(source, target))

    async def _commit(self) -> None:
        thread, status, graph = self._thread(), self.random.choice(_STATUSES), self.random.choice(["x", "y", None])

        async def commit(saver: Checkpointer) -> Any:
            found = await saver.load(thread)
            if found is None or found.thread.status == "deleted":
                return None
            # Far in the future: later than all other changes, so that it ends errors of runs in every store.
            unit = Writer.at(found).unit(status=status, at=1 << 60)
            return type(await saver.commit(msgspec.structs.replace(unit, summary=Summary(graph, next=("n",)))))

        await self._both(commit)

    async def _accept(self) -> None:
        run = new_run(self._thread(), graph=self.random.choice(["x", "y"]))

        async def accept(saver: Checkpointer) -> Any:
            accepted = await runs_of(saver).accept(run)
            return accepted.is_new, accepted.state

        await self._both(accept)

    async def _cancel(self) -> None:
        thread = self._thread()

        async def cancel(saver: Checkpointer) -> Any:
            found = await runs_of(saver).find_unfinished(thread)
            return found and await runs_of(saver).cancel_run(thread, found.seq, "reason")

        await self._both(cancel)

    async def _search(self) -> None:
        random = self.random
        ids = tuple(random.sample(self.threads, 3)) if random.random() < 0.3 else None
        query = ThreadQuery(
            entries=entries_of(self._metadata()) if random.random() < 0.5 else (),
            status=random.choice([None, None, *get_args(DirectoryStatus)]),
            ids=ids,
            prefix=self.prefix + random.choice(["", "", "a", "a/", "é/", "zz"]),
            graph=random.choice([None, None, None, "x"]),
        )
        # Times differ between the stores.
        sort_by: SortKey = random.choice(["thread_id", "status"])
        page: dict[str, Any] = {"sort_by": sort_by, "descending": random.random() < 0.5}
        page |= {"limit": random.choice([1, 2, 50]), "offset": random.choice([0, 0, 1, 3])}
        await self._both(lambda saver: _directory(saver).search(query, **page))
        await self._both(lambda saver: _directory(saver).count(query))


async def _is_deleted(saver: Checkpointer, thread: str) -> tuple[bool, bool]:
    # The numbers of runs are times.
    deleted = await _directory(saver).delete(thread)
    return deleted.is_deleted, bool(deleted.busy_seq)


def _shown(result: Any) -> Any:
    """The result without its times, which differ between the stores."""
    if isinstance(result, list):
        return [_shown(each) for each in result]
    if isinstance(result, ThreadEntry):
        return msgspec.structs.replace(result, created_at=0, updated_at=0)
    if isinstance(result, msgspec.Struct) and hasattr(result, "entry"):
        return msgspec.structs.replace(result, entry=_shown(result.entry))
    return result


async def _walk_through(left: Checkpointer, right: Checkpointer, walks: int) -> None:
    for seed in range(walks):
        try:
            await Walk(left, right, Random(seed), f"{seed:03}-").go(40)
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise


async def test_sqlite_agrees_on_random_calls(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        await _walk_through(MemorySaver(), saver, 25)


@pytest.mark.slow
async def test_postgres_agrees_on_random_calls(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        await _walk_through(MemorySaver(), saver, 8)
