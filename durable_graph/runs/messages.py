"""Messages to the runs of an `App`: answers, signals and updates."""

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from durable_graph._runtime.entry.options import ThreadId, read_thread_place
from durable_graph._runtime.request.identifiers import read_key, read_topic
from durable_graph._runtime.task.writes import encode_anything
from durable_graph.app.compiled import CompiledGraph
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.errors import NothingToResumeError, UnknownInterruptError, UnknownNameError, UnknownRunError
from durable_graph.graph import Command, Send
from durable_graph.graph.durations import Duration
from durable_graph.run_records import NewMessage, RunRow
from durable_graph.runs import graph_calls
from durable_graph.runs.arguments import answer_by_id
from durable_graph.runs.changes import Changes
from durable_graph.runs.handle import status_of
from durable_graph.runs.questions import OpenQuestion, family_of, open_questions
from durable_graph.runs.queues import Queues
from durable_graph.runs.updates import discard_update, is_new, send_empty_update, send_update

Graph = CompiledGraph[Any, Any, Any, Any]


class Messages:
    """The methods of an `App` that send something to the unfinished run of a thread."""

    _saver: Checkpointer
    _runs: RunStore
    _changes: Changes
    _graphs: dict[str, Graph]
    _queues: Queues

    def graph(self, name: str) -> Graph:
        """The graph of this name, bound to the store: for state and history. Raises `UnknownNameError`."""
        if not isinstance(name, str) or name not in self._graphs:
            raise UnknownNameError.of_graph(name, known=self._graphs)
        return self._graphs[name]

    async def answer(self, thread_id: ThreadId, value: Any, *, interrupt_id: str | None = None) -> tuple[str, ...]:
        """Answer an interrupt of the thread's unfinished run: recorded when this returns, also while sibling branches
        run. A worker continues the run. Returns the ids of the answered interrupts.

        Without an `interrupt_id`, `value` is as in `Command(resume=value)`. An `interrupt_id` may also be the id of a
        question of a child run, which `questions` lists.

        Raises `UnknownRunError` for a thread without an unfinished run, and the errors of a `Command`:
        `InterruptAnsweredError` with the first answer, `UnknownInterruptError`, `AmbiguousResumeError`; and
        `InvalidOptionError` for an `interrupt_id` that is no id.
        """
        thread = read_thread_place(None, thread_id, None).thread_id
        command: Command[Any] = Command(resume=value if interrupt_id is None else answer_by_id(interrupt_id, value))
        row = await self._runs.find_unfinished(thread)
        if row is None:
            # The run may have ended since another caller answered it.
            await graph_calls.refuse_answer(self._graphs, self._saver, thread, command)
            raise UnknownRunError.of_thread(thread)
        try:
            return await self._answer(row, command)
        except (UnknownInterruptError, NothingToResumeError):
            children = [] if interrupt_id is None else (await family_of(self._runs, row))[1:]
            for child in children:
                with suppress(UnknownInterruptError, NothingToResumeError):
                    return await self._answer(child, command)
            raise

    async def _answer(self, row: RunRow, command: Command[Any]) -> tuple[str, ...]:
        answered = await graph_calls.answer(self.graph(row.graph), self._saver, row.thread, command)
        self._changes.is_ready(row.queue)
        return answered

    async def questions(self, thread_id: ThreadId) -> list[OpenQuestion]:
        """The open questions of the thread's unfinished run, of its child runs, and of their child runs.

        `answer(thread_id, value, interrupt_id=question.interrupt.id)` answers a question of the list. The list is empty
        for a thread without an unfinished run.
        """
        row = await self._runs.find_unfinished(read_thread_place(None, thread_id, None).thread_id)
        return [] if row is None else await open_questions(self._graphs, self._runs, row)

    async def resume(self, thread_id: ThreadId) -> bool:
        """Continue the thread's unfinished run past a breakpoint: recorded when this returns. False if it is at none.

        Raises `UnknownRunError` for a thread without an unfinished run.
        """
        thread = read_thread_place(None, thread_id, None).thread_id
        row = await self._runs.find_unfinished(thread)
        if row is None:
            raise UnknownRunError.of_thread(thread)
        if not status_of(row).is_at_breakpoint:
            return False
        # Two callers at once continue it once.
        is_first = await send_empty_update(self._runs, thread, f"resume-{row.seq}-{row.checkpoint}")
        self._changes.is_ready(row.queue)
        return is_first

    async def signal(self, thread_id: ThreadId, topic: str, value: Any, *, key: str | None = None) -> bool:
        """Send a message to the thread's unfinished run: recorded when this returns, whatever the run does meanwhile.

        `await receive(topic)` in a node returns it, in the order of arrival; until then it stays in the inbox. With a
        `key` a message of the topic is sent once: a repetition does nothing and returns False. The key is stored
        until at least `keep_results` after a run received the message.

        Raises `UnknownThreadError`, `ThreadFinishedError`, `ThreadCancelledError` for a thread without an unfinished
        run, `InvalidOptionError` for a topic or a key that is no text of 1 to 255 bytes, and `UnstorableValueError`.
        """
        thread = read_thread_place(None, thread_id, None).thread_id
        row = await self._runs.find_unfinished(thread)
        topology = next(iter(self._graphs.values())).topology if row is None else self.graph(row.graph).topology
        data = encode_anything(topology, value, "the value of a signal", self._saver.max_value_bytes) or b""
        name = os.urandom(16).hex() if key is None else read_key(key)
        sent = await self._runs.send(NewMessage(thread, read_topic(topic), name, data))
        is_new_message = is_new(sent, thread)
        # Without a row, the run was accepted after the query.
        self._changes.is_ready(*(self._queues if row is None else [row.queue]))
        return is_new_message

    async def update(
        self,
        thread_id: ThreadId,
        values: Any = None,
        *,
        goto: str | Send | Sequence[str | Send] = (),
        after: Duration | None = None,
        key: str | None = None,
    ) -> bool:
        """Update the state of a running graph, and plan nodes: recorded when this returns, whatever the run does
        meanwhile. A run that waits continues.

        Between two supersteps, the run applies all updates in the order of their recording, each once, as
        `Command(update=values, goto=goto, after=after)`: `values` are merged by the rules of their keys, and the nodes
        of `goto` run beside the tasks that are planned. An update that arrives during the last superstep is applied
        after it. With a `key` an update is sent once: a repetition does nothing and returns False. The key is stored
        until at least `keep_results` after the run applied the update.

        Raises `UnknownThreadError`, `ThreadFinishedError`, `ThreadCancelledError` for a thread without an unfinished
        run, and the errors of a `Command` as input for values and nodes that the graph does not have:
        `InvalidInputError`, `InvalidUpdateError`, `UnknownNameError`, `InvalidOptionError`.
        """
        thread = read_thread_place(None, thread_id, None).thread_id
        command: Command[Any] = Command(update=values, goto=goto, after=after)
        is_new_update = await send_update(self._graphs, self._saver, self._runs, thread, command, key)
        self._changes.has_update(thread, await self._runs.find_unfinished(thread))
        return is_new_update

    async def discard_update(self, thread_id: ThreadId, key: str) -> bool:
        """Remove an update that no run has applied, such as one that fails each run of its thread. Recorded when this
        returns. False if the thread has no such update: it was applied, or discarded before.

        `key` is that of `update`; the error of a run that cannot apply an update names it. The key stays stored: a
        repetition of the update does nothing.

        Raises `UnknownThreadError`, `ThreadBusyError` while a worker executes the thread's run, and
        `InvalidOptionError` for a key that is no text of 1 to 255 bytes.
        """
        thread = read_thread_place(None, thread_id, None).thread_id
        return await discard_update(self._runs, thread, key)
