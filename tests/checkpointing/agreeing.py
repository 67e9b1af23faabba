"""Equal random calls on two savers, which must give equal results: valid calls, stale calls and repeated calls."""

from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import Any

import msgspec

from durable_graph import Checkpointer
from durable_graph.checkpointing import rules
from durable_graph.errors import DurableGraphError
from durable_graph.records import (
    STATUSES,
    Committed,
    HistoryPage,
    Rank,
    Saved,
    StoredCheckpoint,
    TaskRecord,
    ThreadInfo,
    ValueRow,
)
from durable_graph.testing.rows import Step, Writer

Call = Callable[[Checkpointer], Awaitable[Any]]

_NAMESPACES = (
    "",
    "",
    "",
    "node",
    "node:1.0",
    "node:2.0",
    "node:3.0|1",
    "node:2.0|inner:4.1",
    "node|inner:3.0",
    "x:y|z",
)
_CHANNELS = ("log", "count", "notes")


class Disagreement(AssertionError):  # noqa: N818 - a finding of a test, not an error of a library
    """The results of the two savers differ."""


class Walk:
    """Random calls on threads whose ids begin with `prefix`."""

    def __init__(self, left: Checkpointer, right: Checkpointer, random: Random, prefix: str) -> None:
        self._savers = left, right
        self._random = random
        self._threads = [f"{prefix}-{name}" for name in "abc"]
        self._writers: dict[str, list[Writer]] = {name: [Writer.of(name)] for name in self._threads}
        self._asked: list[tuple[str, Call]] = []

    async def go(self, calls: int) -> None:
        """Make that many random calls, and compare everything at the end. Raises `Disagreement`."""
        kinds = (self._commit,) * 8 + (self._save,) * 6 + (self._fork,) * 2 + (self._read,) * 3
        rare = self._repeat, self._repeat, self._join, self._prune, self._copy, self._delete
        for _ in range(calls):
            await self._random.choice((*kinds, *rare))()
        for thread in self._threads:
            await self._look(thread)

    async def _ask(self, what: str, call: Call) -> Any:
        answers = [await _answer(saver, call) for saver in self._savers]
        if answers[0] != answers[1]:
            raise Disagreement(f"{what}:\n  {answers[0]}\n  {answers[1]}")
        return answers[0]

    # Writes

    async def _commit(self, fork_of: int | None = None) -> None:
        writer = self._writer()
        await self._send(writer, fork_of)

    async def _send(self, writer: Writer, fork_of: int | None) -> None:
        random = self._random
        steps = [self._step(writer) for _ in range(random.choice((1, 1, 1, 2, 3)))]
        records = [self._record(writer) for _ in range(random.choice((0, 0, 1, 2)))]
        unit = writer.unit(*steps, records=records, status=random.choice(STATUSES[:4]), fork_of=fork_of, at=self._at())
        answer = await self._write(f"commit {unit}", lambda saver: saver.commit(unit))
        if isinstance(answer, Committed) and writer.thread.version < unit.version:
            writer.applied(unit)

    async def _fork(self) -> None:
        writer = self._writer()
        found = await self._savers[0].load(writer.thread.thread, "", None)
        bases = [no for no in writer.known() if no] if found is not None and found.checkpoint is not None else []
        for no in self._random.sample(bases, min(len(bases), 3)):
            # Only a stored checkpoint can be forked: a caller has loaded it.
            places = [await self._savers[0].load(writer.thread.thread, ns, no) for ns in set(_NAMESPACES)]
            if any(place is not None and place.checkpoint is not None for place in places):
                await self._send(writer, no)
                return

    async def _save(self) -> None:
        random, writer = self._random, self._writer()
        records = [self._record(writer) for _ in range(random.choice((0, 1, 1, 2, 4)))]
        status = random.choice((None, *STATUSES[:4]))
        batch = writer.batch(*records, status=status, at=self._at(), if_unmoved=random.random() < 0.4)
        answer = await self._write(f"save {batch}", lambda saver: saver.save_writes(batch))
        if isinstance(answer, Saved) and random.random() < 0.8:
            writer.thread = msgspec.structs.replace(writer.thread, wseq=answer.wseq)

    async def _repeat(self) -> None:
        if self._asked:
            await self._ask("again", self._random.choice(self._asked)[1])

    async def _prune(self) -> None:
        thread, keep = self._random.choice(self._threads), self._random.choice((1, 2, 4, 9))
        before = self._random.choice((None, None, self._at()))
        await self._ask(
            f"prune {thread} to {keep} before {before}",
            lambda saver: saver.prune(thread, keep_last=keep, before=before),
        )
        await self._look(thread)

    async def _copy(self) -> None:
        source, target = self._random.sample(self._threads, 2)
        answer = await self._ask(f"copy {source} to {target}", lambda saver: saver.copy_thread(source, target))
        found = await self._savers[0].load(target)
        if answer is None and found is not None:
            copy = self._writers[source][-1].rival()
            copy.thread = found.thread
            self._writers[target].append(copy)

    async def _delete(self) -> None:
        thread = self._random.choice(self._threads)
        if self._random.random() < 0.5:
            return
        seen = self._random.choice((None, None, rules.thread_info(self._writers[thread][-1].thread)))
        await self._ask(f"delete {thread} {seen}", lambda saver: saver.delete_thread(thread, seen=seen))
        grave = await self._savers[0].load(thread)
        if grave is not None and grave.thread.status == "deleted":
            self._writers[thread].append(self._writers[thread][-1].reborn(grave.thread))

    async def _join(self) -> None:
        """Add a writer at the position of an existing one, or bring a writer up to date with the stored thread."""
        thread = self._random.choice(self._threads)
        writer = self._writers[thread][-1]
        found = await self._savers[0].load(thread)
        if self._random.random() < 0.5:
            self._writers[thread].append(writer.rival(bytes([self._random.randrange(256)]) * 16))
        elif found is not None and found.thread.status != "deleted":
            writer.thread = found.thread

    async def _write(self, what: str, call: Call) -> Any:
        self._asked.append((what, call))
        return await self._ask(what, call)

    # Reads

    async def _read(self) -> None:
        random, thread = self._random, self._random.choice(self._threads)
        ns, no = random.choice(_NAMESPACES), random.choice((None, None, random.randrange(1, 20)))
        before, limit = random.choice((None, random.randrange(1, 20))), random.choice((1, 2, 3, 50))
        status = random.choice((None, *STATUSES))
        await self._ask(f"load {thread} {ns} {no}", lambda saver: saver.load(thread, ns, no))
        await self._ask(f"records {thread} {ns}", lambda saver: saver.load_records(thread, ns))
        await self._ask(f"history {thread} {ns}", lambda saver: saver.history(thread, ns, before=before, limit=limit))
        since = random.choice((None, self._at()))
        await self._ask(f"list {status} {since}", lambda saver: self._listed(saver, status, since))

    async def _listed(self, saver: Checkpointer, status: Any, before: int | None) -> Any:
        after = self._threads[0][:-1]
        cursor = after if status is None else ThreadInfo(after, status, before or 0)
        infos = await saver.list_threads(status=status, after=cursor, limit=3, before=before)
        return [info for info in infos if info.thread in self._threads]

    async def _look(self, thread: str) -> None:
        for ns in _NAMESPACES:
            await self._ask(f"load {thread} {ns}", lambda saver, ns=ns: saver.load(thread, ns))  # type: ignore[misc]
            await self._ask(f"records {thread} {ns}", lambda saver, ns=ns: saver.load_records(thread, ns))  # type: ignore[misc]
            await self._ask(f"history {thread} {ns}", lambda saver, ns=ns: saver.history(thread, ns, limit=99))  # type: ignore[misc]

    # Arguments of calls

    def _writer(self) -> Writer:
        writers = self._writers[self._random.choice(self._threads)]
        return writers[-1] if self._random.random() < 0.8 else self._random.choice(writers)

    def _step(self, writer: Writer) -> Step:
        random = self._random
        ns = random.choice(_NAMESPACES)
        changed = random.sample(_CHANNELS, random.randrange(3))
        values = {channel: random.choice((b"whole", None)) for channel in changed if random.random() < 0.5}
        added = {channel: b"more," for channel in changed if channel not in values}
        born = random.choice((None, None, max(writer.thread.head, 1)))
        return Step(values, added, ns=ns, gap=random.choice((0, 0, 0, 2)), born=born)

    def _record(self, writer: Writer) -> TaskRecord:
        random = self._random
        version = max(writer.thread.version, 1)
        return writer.record(
            born=random.choice((version, max(writer.thread.head, 1), random.randrange(1, version + 1))),
            number=random.randrange(3),
            rank=random.choice(tuple(Rank)),
            revision=random.randrange(1, 4),
            value=random.choice((b"one", b"another")),
            ns=random.choice(_NAMESPACES),
        )

    def _at(self) -> int:
        return self._random.randrange(1, 100)


async def _answer(saver: Checkpointer, call: Call) -> Any:
    try:
        return _in_order(await call(saver))
    except DurableGraphError as error:
        return type(error), str(error)


def _in_order(answer: Any) -> Any:
    """The result with its rows sorted: a saver may return them in any order, except checkpoints and task records."""
    match answer:
        case StoredCheckpoint():
            nested = tuple(sorted(answer.nested, key=repr))
            # The base belongs to its saver, and two savers may differ in it.
            return msgspec.structs.replace(answer, values=_sorted(answer.values), nested=nested, base=None)
        case HistoryPage():
            bases = {no: _sorted(values) for no, values in answer.bases.items()}
            of_head = tuple(sorted(answer.head_records, key=repr))
            return msgspec.structs.replace(answer, values=_sorted(answer.values), bases=bases, head_records=of_head)
        case _:
            return answer


def _sorted(rows: Iterable[ValueRow]) -> tuple[ValueRow, ...]:
    return tuple(sorted(rows, key=lambda row: (row.channel, row.no)))
