"""A client, and the process that serves it now, which may not be the process that it started with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from durable_graph import (
    CheckpointConflictError,
    CompiledGraph,
    Durability,
    InterruptAnsweredError,
    StateSnapshot,
)
from tests.crash.engine.process_log import LogLine, log_line_of
from tests.crash.scenarios.graph_shapes import THREAD
from tests.crash.scenarios.scenario import Answer, Call, Edit, Give, Progress, Resume, Scenario


class UnluckyError(Exception):
    """Raised by nodes that fail on purpose. A client retries then."""


class WrongAnswerError(Exception):
    """The graph reported something impossible to its client."""


@dataclass(frozen=True, slots=True)
class Client:
    """One client, at one process.

    `remember` is called whenever its progress has changed. An impatient client first runs the remaining work, before it
    repeats an answer that may have arrived.
    """

    scenario: Scenario
    progress: Progress
    graph: CompiledGraph[Any]
    mode: Durability
    note: Callable[[LogLine], None]
    remember: Callable[[], None] = lambda: None
    is_impatient: bool = False

    async def resume(self) -> None:
        """Make the remaining calls, beginning with the one that was in progress."""
        progress, calls = self.progress, self.scenario.calls
        is_again = progress.has_begun
        while progress.number < len(calls):
            if not is_again:
                await self._begin(calls[progress.number])
                self.remember()
            await self._make(calls[progress.number], is_again=is_again)
            progress.number, progress.has_begun, is_again = progress.number + 1, False, False
            self.remember()

    async def _begin(self, call: Call) -> None:
        """Save the facts that a later process needs if this one dies."""
        progress = self.progress
        snapshot = await self._look()
        progress.ids = {each.value: each.id for each in snapshot.interrupts}
        progress.ns = ""
        if isinstance(call, Edit) and call.inside is not None:
            nested = await self.graph.aget_state(thread_id=THREAD, subgraphs=True)
            (snapshot,) = (task.state for task in nested.tasks if task.name == call.inside)
            progress.ns = snapshot.config["configurable"]["checkpoint_ns"]
        progress.head = _id_of(snapshot)
        progress.has_begun = True

    async def _make(self, call: Call, *, is_again: bool) -> None:
        if is_again and self.is_impatient and isinstance(call, Answer):
            await self._run_rest()
        match call:
            case Give(value):
                if is_again and _id_of(await self._look()) != self.progress.head:
                    await self._run_rest()
                else:
                    self.note(LogLine(is_input=True, head=self.progress.head))
                    await self._run(value)
            case Resume():
                await self._run_rest()
            case Answer():
                await self._answer(call, is_again=is_again)
            case Edit():
                await self._edit(call, is_again=is_again)

    async def _answer(self, call: Answer, *, is_again: bool) -> None:
        for question in call.answers:
            if question not in self.progress.ids:
                raise WrongAnswerError(f"no interrupt asks {question!r}")
        try:
            await self._run(call.command(self.progress.ids))
        except InterruptAnsweredError as error:
            if not is_again:
                raise WrongAnswerError("a first answer was rejected as a second one") from error
            await self._run_rest()

    async def _edit(self, call: Edit, *, is_again: bool) -> None:
        config = {"configurable": {"thread_id": THREAD, "checkpoint_ns": self.progress.ns}}
        head = self.progress.head
        try:
            await self.graph.aupdate_state(config, dict(call.values), as_node=call.as_node, expected_checkpoint_id=head)
        except CheckpointConflictError as error:
            if not is_again:
                raise WrongAnswerError("a first edit was rejected as a second one") from error

    async def _run_rest(self) -> None:
        if (await self._look()).next:
            await self._run(None)

    async def _run(self, given: Any) -> None:
        """Run until the end or an interrupt. Retries after a failure on purpose."""
        while True:
            try:
                async with self.graph.stream(given, thread_id=THREAD, durability=self.mode) as events:
                    async for event in events:
                        self.note(log_line_of(event))
            except UnluckyError:
                given = None
            else:
                return

    async def _look(self) -> StateSnapshot:
        return await self.graph.aget_state(thread_id=THREAD)


def _id_of(snapshot: StateSnapshot) -> str | None:
    found: str | None = snapshot.config["configurable"].get("checkpoint_id")
    return found
