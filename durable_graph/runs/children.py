"""The children of the runs that a worker executes: starting, reading and cancelling them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from durable_graph._runtime.entry.options import read_thread_place
from durable_graph.app.compiled import CompiledGraph
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.run_parents import ABANDON, CANCEL, is_end
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.codec import TypeCodec
from durable_graph.errors import (
    InvalidOptionError,
    KeyReusedError,
    UnknownNameError,
    WrongGraphError,
)
from durable_graph.run_records import RunRow, RunState
from durable_graph.runs import graph_calls
from durable_graph.runs.changes import Changes
from durable_graph.runs.handle import RunStatus, status_of
from durable_graph.runs.new_run import new_run
from durable_graph.runs.operations import cancel_children, find_run
from durable_graph.runs.queues import Queues

Graph = CompiledGraph[Any, Any, Any, Any]
_ON_PARENT: Mapping[str, int] = {"abandon": ABANDON, "cancel": CANCEL}


class Children:
    """Starts, reads and cancels the children of runs. See `RunChildren`."""

    def __init__(
        self,
        graphs: Mapping[str, Graph],
        contexts: Mapping[str, Any],
        saver: Checkpointer,
        runs: RunStore,
        changes: Changes,
        queues: Queues,
    ) -> None:
        """`contexts` has the names of the graphs whose contexts the app makes."""
        self._graphs, self._contexts, self._saver = graphs, contexts, saver
        self._runs, self._changes, self._queues = runs, changes, queues

    def codec_of(self, graph: str) -> TypeCodec:
        """The codec of any value of the graph's types. Raises `UnknownNameError`."""
        return self._graph(graph).topology.argument

    async def start(
        self, parent: tuple[str, int], graph: str, given: object, key: str, options: Mapping[str, Any]
    ) -> tuple[str, int]:
        """Accept the run, once for each key. Returns its thread and number.

        Raises as `App.start` does, and `InvalidOptionError` for the thread of the parent.
        """
        own = {name: options[name] for name in ("priority", "deadline")}
        thread = options["thread_id"]
        if thread is not None and read_thread_place(None, thread, None).thread_id == parent[0]:
            allowed = "another thread: the parent's run holds its own until it has ended"
            raise InvalidOptionError("thread_id", thread, allowed=allowed)
        run = new_run(
            self._graph(graph),
            self._saver,
            given,
            has_context=graph in self._contexts,
            key=key,
            thread_id=key if thread is None else thread,
            **own,
        )
        run = self._queues.placed(run, options["queue"], options["limit_key"])
        run = msgspec.structs.replace(
            run, parent_key=key_of(parent[0]), parent_seq=parent[1], on_parent=_ON_PARENT[options["on_parent"]]
        )
        accepted = await self._runs.accept(run)
        if accepted.stored_graph is not None:
            raise WrongGraphError(run.thread, stored=accepted.stored_graph, called=run.graph)
        if not accepted.is_new and accepted.input_digest != run.input_digest:
            raise KeyReusedError.of_run(run.thread, key, stored=accepted.input_digest, given=run.input_digest)
        self._changes.is_ready(run.queue)
        return run.thread, accepted.seq

    async def outcome(self, id_: str) -> tuple[str, Any] | None:
        """The outcome of a run that has ended: "done" and its output, or its kind of failure and the reason. None for a
        run that has not ended.

        Raises `UnknownRunError`.
        """
        row = await find_run(self._runs, id_)
        if not is_end(row.state):
            return None
        if row.state is RunState.DONE:
            return "done", await self._output(row)
        failure = status_of(row).failure
        return None if failure is None else (failure.kind, failure.error)

    async def status(self, id_: str) -> RunStatus:
        """The status of the run. Raises `UnknownRunError`."""
        return status_of(await find_run(self._runs, id_))

    async def cancel(self, thread: str, seq: int) -> None:
        """Cancel the children of this run that have `on_parent="cancel"`, if the run was cancelled."""
        row = await self._runs.find_run(thread, seq)
        if row is not None:
            for child in await cancel_children(self._runs, row):
                self._changes.is_cancelled(child)

    async def _output(self, row: RunRow) -> Any:
        return await graph_calls.output_at(self._graph(row.graph), self._saver, row.thread, row.checkpoint)

    def _graph(self, name: str) -> Graph:
        if not isinstance(name, str) or name not in self._graphs:
            raise UnknownNameError.of_graph(name, known=self._graphs)
        return self._graphs[name]
