"""Checking every row of a store's threads, as a reader of each would."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

import msgspec

from durable_graph.checkpointing import Checkpointer, Transferable
from durable_graph.checkpointing.integrity import damaged, verify, verify_records, verify_request
from durable_graph.checkpointing.transfer import COLUMNS
from durable_graph.errors import CorruptCheckpointError, UnknownThreadError
from durable_graph.operating.threads import listed_threads

T = TypeVar("T")

_PAGE = 100


class Damage(msgspec.Struct, frozen=True):
    """A damaged or missing row of a thread."""

    thread_id: str
    checkpoint_id: str | None
    row: str
    why: str


class Checked(msgspec.Struct, frozen=True):
    """The number of threads that were checked, and the damage in them."""

    threads: int
    damage: list[Damage]


async def check_threads(saver: Checkpointer, threads: Iterable[str] = ()) -> Checked:
    """Check these threads, by default all. Runs may continue meanwhile. Raises `UnknownThreadError`.

    It reads every checkpoint, value, record and request, in all namespaces; of a saver that cannot export threads, only
    the checkpoints of the outermost graphs.
    """
    named = list(dict.fromkeys(threads))
    count, found = 0, dict[Damage, None]()
    async for thread in _each(saver, named):
        errors = await _damage(saver, thread)
        if errors is None:
            if named:
                raise UnknownThreadError(thread)
            # The thread was deleted since it was listed.
            continue
        count += 1
        found.update(dict.fromkeys(Damage(thread, each.checkpoint_id, each.row, each.why) for each in errors))
    return Checked(count, list(found))


async def _each(saver: Checkpointer, named: list[str]) -> AsyncIterator[str]:
    for thread in named:
        yield thread
    if not named:
        async for info in listed_threads(saver, None):
            yield info.thread_id


async def _damage(saver: Checkpointer, thread: str) -> list[CorruptCheckpointError] | None:
    """The damage in a thread; None if there is no such thread."""
    errors: list[CorruptCheckpointError] = []
    found = await _read(errors, saver.load(thread), verify)
    if not errors and (found is None or found.thread.status == "deleted"):
        return None
    namespaces, keys = await _parts(saver, thread)
    for ns in namespaces:
        await _check_namespace(errors, saver, thread, ns)
    for key in keys:
        await _read(errors, saver.find_request(thread, key), verify_request)
    return errors


async def _parts(saver: Checkpointer, thread: str) -> tuple[list[str], list[str]]:
    """The namespaces of a thread, and the keys of its requests; with one that no request has, so that a missing request
    is noticed."""
    exported = await saver.export_thread(thread) if isinstance(saver, Transferable) else None
    if exported is None:
        return [""], [""]
    namespaces = {
        row[COLUMNS[table].index("namespace")] for table in ("checkpoints", "tasks") for row in exported.tables[table]
    }
    keys = (row[COLUMNS["requests"].index("key")] for row in exported.tables["requests"])
    return sorted(namespaces | {""}), ["", *keys]


async def _check_namespace(errors: list[CorruptCheckpointError], saver: Checkpointer, thread: str, ns: str) -> None:
    before: int | None = None
    while before != 0:
        page = await _read(errors, saver.history(thread, ns, before=before, limit=_PAGE), None)
        if page is None:
            break
        errors += damaged(page).values()
        before = page.older
    await _read(errors, saver.load_records(thread, ns), verify_records)


async def _read(
    errors: list[CorruptCheckpointError], reading: Awaitable[T | None], check: Callable[[T], object] | None
) -> T | None:
    """What was read, after checking it. An error of the read or of the check goes into `errors`."""
    try:
        found = await reading
        if found is not None and check is not None:
            check(found)
    except CorruptCheckpointError as error:
        errors.append(error)
        return None
    return found
