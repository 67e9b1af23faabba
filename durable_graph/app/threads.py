"""The threads of a compiled graph: state, history, updates, copies, cancelling, deleting."""

from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
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
from durable_graph._runtime.request.namespaces import Place
from durable_graph._runtime.request.run import Request
from durable_graph._runtime.threads.cancel_thread import cancel_thread, reopen_thread
from durable_graph._runtime.threads.discard_calls import discard_calls
from durable_graph._runtime.threads.snapshot import StateSnapshot, read_history, read_snapshot
from durable_graph._runtime.threads.update_state import StateUpdate, earlier_edit, edit_state
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import InvalidOptionError, MissingCheckpointerError, ThreadBusyError, UnknownNameError
from durable_graph.graph import Topology
from durable_graph.records import checkpoint_no


class GraphThread(msgspec.Struct, frozen=True):
    """One thread of a graph, or one checkpoint of it. `CompiledGraph` has the documentation of each method."""

    topology: Topology
    saver: Checkpointer
    place: Place
    defaults: Request
    config: Config | None

    def snapshot(self, *, subgraphs: bool) -> Awaitable[StateSnapshot]:
        """See `aget_state`."""
        return read_snapshot(self.topology, self.saver, self.place, subgraphs=subgraphs)

    def history(
        self, wanted: Mapping[str, Any] | None, before: Config | str | None, limit: int | None
    ) -> AsyncGenerator[StateSnapshot, None]:
        """See `aget_state_history`."""
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
            option = "limit"
            raise InvalidOptionError(option, limit, allowed="a whole number from 0, or None")
        if wanted is not None and not isinstance(wanted, Mapping):
            option = "filter"
            raise InvalidOptionError(option, wanted, allowed="a dict of what the metadata has to hold, or None")
        start = msgspec.structs.replace(self.place, no=_before(self.place.thread_id, before))
        return read_history(self.topology, self.saver, start, limit, wanted)

    async def update(
        self, supersteps: Sequence[Sequence[StateUpdate]], expected: str | None, key: str | None
    ) -> dict[str, Any]:
        """See `aupdate_state` and `abulk_update_state`."""
        if not supersteps or not all(map(_is_superstep, supersteps)):
            option = "supersteps"
            raise InvalidOptionError(option, supersteps, allowed="sequences of StateUpdates, none of them empty")
        place = self.place
        run = msgspec.structs.replace(self.defaults, thread_id=place.thread_id, metadata=read_metadata(self.config))
        before = None if expected is None else _before(place.thread_id, expected)
        request = None
        if key is not None:
            if place.ns:
                raise InvalidOptionError("key", key, allowed="left out where the state is a nested graph's")
            content = [list(map(_parts, updates)) for updates in supersteps]
            request = acceptance(self.topology, read_key(key), content if place.no is None else (place.no, content))
        try:
            async with only_run(self.saver, place.thread_id, None):
                made = await edit_state(self.topology, self.saver, place, supersteps, run, before, request)
        except ThreadBusyError:
            # A repetition has the commit of the first call, whatever executes the thread now.
            earlier = None if request is None else await earlier_edit(self.saver, place, request)
            if earlier is None:
                raise
            made = earlier
        return made.config(made.no)

    async def delete(self, *, purge: bool) -> None:
        """See `adelete_thread`."""
        async with only_run(self.saver, self.place.thread_id, None):
            await self.saver.delete_thread(self.place.thread_id, purge=purge)

    def cancel(self) -> Awaitable[bool]:
        """See `acancel`."""
        return cancel_thread(self.topology, self.saver, self.place.thread_id)

    def reopen(self) -> Awaitable[bool]:
        """See `areopen`."""
        return reopen_thread(self.topology, self.saver, self.place.thread_id)

    async def copy_to(self, target: ThreadId) -> None:
        """See `acopy_thread`."""
        await self.saver.copy_thread(self.place.thread_id, read_thread_place(None, target, None).thread_id)

    async def discard_calls(self, task_id: str) -> int:
        """See `adiscard_calls`."""
        async with only_run(self.saver, self.place.thread_id, None):
            return await discard_calls(self.saver, self.place.thread_id, task_id)


class GraphThreads(msgspec.Struct, frozen=True):
    """All threads of a graph. `method` is the name of the called method of `CompiledGraph`, for the error of a graph
    without a checkpointer."""

    topology: Topology
    checkpointer: Checkpointer | None
    defaults: Request
    config: Config | None

    def at(
        self, method: str, config: Config | None, thread_id: ThreadId | None, checkpoint_id: str | None = None
    ) -> GraphThread:
        """The thread of a call with these arguments, at its newest checkpoint or at another one."""
        saver = self._saver(method)
        merged = call_config(self.config, config, {"thread_id": thread_id, "checkpoint_id": checkpoint_id})
        place = read_thread_place(merged, thread_id, checkpoint_id)
        return GraphThread(self.topology, saver, place, self.defaults, merged)

    def named(self, method: str, thread_id: ThreadId) -> GraphThread:
        """The thread with this id, whatever config the graph is bound to."""
        saver = self._saver(method)
        return GraphThread(self.topology, saver, read_thread_place(None, thread_id, None), self.defaults, None)

    def _saver(self, method: str) -> Checkpointer:
        if self.checkpointer is None:
            raise MissingCheckpointerError(method)
        return self.checkpointer


def saver_of(checkpointer: Checkpointer | bool | None) -> Checkpointer | None:
    """The saver of a graph's own threads. A subgraph that was compiled with True or False has none."""
    return None if isinstance(checkpointer, bool) else checkpointer


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
        raise UnknownNameError.of_checkpoint(thread_id, given)
    return no
