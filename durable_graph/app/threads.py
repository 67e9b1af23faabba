"""Methods for a compiled graph's threads: state, history, updates, copies, cancelling, deleting."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import msgspec

from durable_graph._runtime.commit.busy import only_run
from durable_graph._runtime.commit.request_keys import acceptance
from durable_graph._runtime.entry.options import (
    Config,
    ThreadId,
    call_config,
    check_config,
    read_metadata,
    read_thread_place,
)
from durable_graph._runtime.request.identifiers import read_key
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.threads.cancel_thread import cancel_thread, reopen_thread
from durable_graph._runtime.threads.discard_calls import discard_calls
from durable_graph._runtime.threads.snapshot import StateSnapshot, read_history, read_snapshot
from durable_graph._runtime.threads.update_state import StateUpdate, edit_state
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import InvalidOptionError, MissingCheckpointerError, UnknownCheckpointError
from durable_graph.graph import Topology
from durable_graph.records import checkpoint_no


class GraphThreads:
    """A graph with methods for its threads."""

    def __init__(
        self, topology: Topology, checkpointer: Checkpointer | None, defaults: Request, config: Config | None
    ) -> None:
        self._topology = topology
        self._checkpointer = checkpointer
        self._defaults = defaults
        self._config = config

    async def aget_state(
        self,
        config: Config | None = None,
        *,
        thread_id: ThreadId | None = None,
        checkpoint_id: str | None = None,
        subgraphs: bool = False,
    ) -> StateSnapshot:
        """The thread's state now, or at `checkpoint_id`. A thread that was never used has an empty state.

        With `subgraphs`, each task has the state of the graph that it runs. A config with a `checkpoint_ns`, such as a
        task's `state`, returns the state of that subgraph.

        Raises `UnknownCheckpointError`, `UnknownNamespaceError`, `CorruptCheckpointError`, `ChannelChangedError`.
        """
        saver = self._needs_checkpointer("aget_state")
        read = call_config(self._config, config, {"thread_id": thread_id, "checkpoint_id": checkpoint_id})
        place = read_thread_place(read, thread_id, checkpoint_id)
        return await read_snapshot(self._topology, saver, place, subgraphs=subgraphs)

    async def aget_state_history(
        self,
        config: Config | None = None,
        *,
        thread_id: ThreadId | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002  # LangGraph's name
        before: Config | str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[StateSnapshot, None]:
        """The thread's checkpoints, newest first, including those of all forks.

        `filter` is a part of their metadata; `before` a checkpoint id, or a config that holds one; `limit` the maximum
        number. The thread may run meanwhile.

        Raises `CorruptCheckpointError` at a damaged checkpoint; pass its id as `before` to continue.
        """
        saver = self._needs_checkpointer("aget_state_history")
        read = call_config(self._config, config, {"thread_id": thread_id})
        place = read_thread_place(read, thread_id, None, is_history=True)
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
            option = "limit"
            raise InvalidOptionError(option, limit, allowed="a whole number from 0, or None")
        if filter is not None and not isinstance(filter, Mapping):
            option = "filter"
            raise InvalidOptionError(option, filter, allowed="a dict of what the metadata has to hold, or None")
        start = msgspec.structs.replace(place, no=_before(place.thread_id, before))
        async for snapshot in read_history(self._topology, saver, start, limit, filter):
            yield snapshot

    async def aupdate_state(
        self,
        config: Config | None = None,
        values: Any = None,
        as_node: str | None = None,
        task_id: str | None = None,
        *,
        thread_id: ThreadId | None = None,
        checkpoint_id: str | None = None,
        expected_checkpoint_id: str | None = None,
        key: str | None = None,
    ) -> dict[str, Any]:
        """Write `values` as if `as_node` had returned them. This makes a checkpoint, whose config is returned.

        The successors of that node run when the thread is resumed; pending tasks are recorded as superseded. `as_node`
        may be omitted if a single node wrote the newest checkpoint. `START` stands for new input; `END`, without
        values, ends the pending tasks. An older checkpoint is forked. With `expected_checkpoint_id` nothing is written
        unless that checkpoint is the newest. With a `key` the thread applies this update once: a repetition returns the
        same config, another update under the key raises `KeyReusedError`. A cancelled thread stays cancelled.

        Raises `CheckpointConflictError`, `AmbiguousUpdateError`, `UnknownNodeError`, `UnknownTaskError`,
        `ThreadBusyError` and the errors of invalid values; then nothing was written.
        """
        update = StateUpdate(values, as_node, task_id)
        return await self._edit(
            "aupdate_state", config, [[update]], thread_id, checkpoint_id, expected_checkpoint_id, key
        )

    async def abulk_update_state(
        self,
        config: Config | None,
        supersteps: Sequence[Sequence[StateUpdate]],
        *,
        thread_id: ThreadId | None = None,
        expected_checkpoint_id: str | None = None,
        key: str | None = None,
    ) -> dict[str, Any]:
        """Apply several updates, each sequence as one superstep: all of them, or none. As `aupdate_state`."""
        if not supersteps or not all(map(_is_superstep, supersteps)):
            option = "supersteps"
            raise InvalidOptionError(option, supersteps, allowed="sequences of StateUpdates, none of them empty")
        return await self._edit("abulk_update_state", config, supersteps, thread_id, None, expected_checkpoint_id, key)

    async def adelete_thread(self, thread_id: ThreadId, *, purge: bool = False) -> None:
        """Delete all data of the thread. Its id may be used again for a new thread.

        For a day a row without the id stops processes that still write the thread; then `delete_expired_threads`
        removes the row. With `purge` no row remains, and a process that was stopped during the thread's first commit
        may create the thread again.
        """
        saver = self._needs_checkpointer("adelete_thread")
        place = read_thread_place(None, thread_id, None)
        async with only_run(saver, place.thread_id, None):
            await saver.delete_thread(place.thread_id, purge=purge)

    async def acancel(self, thread_id: ThreadId) -> bool:
        """Cancel the thread permanently, whether another process, a call of this process or nobody executes it.

        Returns True if the thread is cancelled, False if no task was pending; the cancellation is stored by then. A
        call of this process is stopped at once. A run of another process notices at its next store call: it records
        the finished results, starts no superstep, and raises `ThreadCancelledError`. Resuming and answering raise
        `ThreadCancelledError` until `areopen`; new input is accepted as on any unfinished thread. Recovery ignores
        cancelled threads: `list_threads(status="running")` does not list them.

        Raises `UnknownThreadError`, `WrongGraphError`.
        """
        saver = self._needs_checkpointer("acancel")
        return await cancel_thread(self._topology, saver, read_thread_place(None, thread_id, None).thread_id)

    async def areopen(self, thread_id: ThreadId) -> bool:
        """Make a cancelled thread resumable at the point where it stopped. Returns whether it was cancelled.

        Raises `UnknownThreadError`, `WrongGraphError`.
        """
        saver = self._needs_checkpointer("areopen")
        return await reopen_thread(self._topology, saver, read_thread_place(None, thread_id, None).thread_id)

    async def acopy_thread(self, source: ThreadId, target: ThreadId) -> None:
        """Copy a thread with its history to another id. The copy runs independently.

        Raises `UnknownThreadError` for the source, `ThreadExistsError` for the target.
        """
        saver = self._needs_checkpointer("acopy_thread")
        first, second = read_thread_place(None, source, None), read_thread_place(None, target, None)
        await saver.copy_thread(first.thread_id, second.thread_id)

    async def adiscard_calls(self, thread_id: ThreadId, task_id: str) -> int:
        """Delete the recorded calls that the last attempt at a task did not match. Returns their number.

        This is a remedy for `ReplayMismatchError`, which names thread and task. When the thread is resumed, the task
        makes the calls again, with their side effects. All other results of the task are kept and used.

        Raises `UnknownThreadError`, `UnknownTaskError`, `ThreadBusyError`, `CheckpointConflictError`.
        """
        saver = self._needs_checkpointer("adiscard_calls")
        place = read_thread_place(None, thread_id, None)
        async with only_run(saver, place.thread_id, None):
            return await discard_calls(saver, place.thread_id, task_id)

    async def _edit(
        self,
        what: str,
        config: Config | None,
        supersteps: Sequence[Sequence[StateUpdate]],
        thread_id: ThreadId | None,
        checkpoint: str | None,
        expected: str | None,
        key: str | None,
    ) -> dict[str, Any]:
        saver = self._needs_checkpointer(what)
        merged = call_config(self._config, config, {"thread_id": thread_id, "checkpoint_id": checkpoint})
        place = read_thread_place(merged, thread_id, checkpoint)
        run = msgspec.structs.replace(self._defaults, thread_id=place.thread_id, metadata=read_metadata(merged))
        before = None if expected is None else _before(place.thread_id, expected)
        request = None
        if key is not None:
            if place.ns:
                raise InvalidOptionError("key", key, allowed="left out where the state is a nested graph's")
            content = [list(map(_parts, updates)) for updates in supersteps]
            request = acceptance(self._topology, read_key(key), content if place.no is None else (place.no, content))
        async with only_run(saver, place.thread_id, None):
            made = await edit_state(self._topology, saver, place, supersteps, run, before, request)
        return made.config(made.no)

    def _needs_checkpointer(self, what: str) -> Checkpointer:
        if self._checkpointer is None:
            raise MissingCheckpointerError(what)
        return self._checkpointer


def _parts(update: StateUpdate) -> tuple[Any, ...]:
    return update.as_node, update.task_id, update.values


def _is_superstep(given: object) -> bool:
    return isinstance(given, list | tuple) and bool(given) and all(isinstance(each, StateUpdate) for each in given)


def _before(thread_id: str, before: Config | str | None) -> int | None:
    if before is None:
        return None
    if isinstance(before, str):
        given: Any = before
    else:
        # The id comes from the given config, because `check_config` drops it if a running node passes its own config.
        check_config(before)
        given = (before.get("configurable") or {}).get("checkpoint_id")
    no = checkpoint_no(given) if isinstance(given, str) else None
    if no is None:
        raise UnknownCheckpointError(thread_id, given)
    return no
