"""Stores that fail, are slow or crash during Commands, Sends, interrupts and answers."""

import asyncio
from typing import Any

import pytest

from durable_graph import (
    END,
    START,
    Command,
    Durability,
    InterruptAnsweredError,
    MemorySaver,
    StateGraph,
)
from durable_graph._runtime.request.run import Request
from durable_graph.records import CommitResult, CommitUnit
from durable_graph.testing.crash import CrashingSaver, CrashPoint, SimulatedCrashError, crash_points
from tests.crash.conftest import IS_LONG, in_modes
from tests.crash.scenarios.conversation import KINDS, WHOLE, Conversation, Kind, run_to_end
from tests.graphs import State, interrupt_ids, questions_of


async def store_calls_of(durability: Durability, kind: Kind = "node") -> int:
    counting = CrashingSaver(MemorySaver())
    result = await run_to_end(Conversation(kind).graph(counting), durability)
    assert result["log"] == WHOLE
    return counting.calls


@pytest.mark.parametrize(("kind", "durability"), in_modes(KINDS))
async def test_a_conversation_resumes_after_a_crash_at_any_store_call(durability: Durability, kind: Kind) -> None:
    for point in crash_points(await store_calls_of(durability, kind)):
        store = MemorySaver()
        with pytest.raises(SimulatedCrashError):  # noqa: PT012  # after the last reply, only the next call notices
            dying = Conversation(kind).graph(CrashingSaver(store, point))
            await run_to_end(dying, durability)
            await dying.aget_state(thread_id="t")

        result = await run_to_end(Conversation(kind).graph(store), durability)

        assert result["log"] == WHOLE, point


@pytest.mark.parametrize("kind", KINDS if IS_LONG else KINDS[1::2])
async def test_recorded_nodes_do_not_run_again_after_a_crash(kind: Kind) -> None:
    for point in crash_points(await store_calls_of("sync", kind)):
        store = MemorySaver()
        first, second = Conversation(kind), Conversation(kind)
        with pytest.raises(SimulatedCrashError):  # noqa: PT012  # after the last reply, only the next call notices
            dying = first.graph(CrashingSaver(store, point))
            await run_to_end(dying, "sync")
            await dying.aget_state(thread_id="t")
        snapshot = await second.graph(store).aget_state(thread_id="t")
        recorded = set(snapshot.values.get("log", []))

        await run_to_end(second.graph(store), "sync")

        assert not recorded & set(second.started), point


@pytest.mark.parametrize(("kind", "durability"), in_modes(KINDS))
async def test_an_interrupt_whose_answer_was_acknowledged_is_never_open_again(
    durability: Durability, kind: Kind
) -> None:
    """An answer is durable before the interrupted node continues."""
    for point in crash_points(await store_calls_of(durability, kind)):
        store = MemorySaver()
        dying = Conversation(kind).graph(CrashingSaver(store, point))
        acknowledged: str | None = None
        try:
            result = await dying.ainvoke({}, thread_id="t", durability=durability)
            question = interrupt_ids(result)["first?"]
            await dying.ainvoke(Command(resume={question: "1"}), thread_id="t", durability=durability)
            acknowledged = question
        except SimulatedCrashError:
            continue

        graph = Conversation(kind).graph(store)
        with pytest.raises(InterruptAnsweredError):
            await graph.ainvoke(Command(resume={acknowledged: "again"}), thread_id="t")
        assert questions_of((await graph.aget_state(thread_id="t")).interrupts) == ["second?"]


async def test_no_new_node_starts_after_the_store_has_failed(durability: Durability) -> None:
    """Reference P5 and P6: every node ran, and the error came at the end."""
    for call in range(1, await store_calls_of(durability) + 1):
        failing = CrashingSaver(MemorySaver(), CrashPoint(call, "before"))
        conversation = Conversation()
        graph = conversation.graph(failing)
        started_before: list[int] = []

        class Noticing(list[str]):
            """The names of nodes that start. `before` gets an entry for each start after the store had failed."""

            def append(self, name: str, failing: CrashingSaver = failing, before: list[int] = started_before) -> None:
                if failing.crashed:
                    before.append(len(self))
                super().append(name)

        conversation.started = Noticing()
        with pytest.raises(SimulatedCrashError):
            await run_to_end(graph, durability)

        # In the mode "async", nodes may start at the moment at which the store fails in the background.
        assert len(started_before) <= (3 if durability == "async" else 0), call


class SlowSaver(CrashingSaver):
    """Commits only while its gate is open."""

    def __init__(self) -> None:
        super().__init__(MemorySaver())
        self.gate = asyncio.Event()

    async def commit(self, unit: CommitUnit) -> CommitResult:
        if self.calls > 1:
            await self.gate.wait()
        return await super().commit(unit)


async def test_the_backlog_of_a_slow_store_is_bounded() -> None:
    """Reference P7: 196 of 200 checkpoints were waiting in memory."""
    ran = 0
    saver = SlowSaver()

    async def again(state: State) -> Command[Any]:
        nonlocal ran
        ran += 1
        return Command(update={"log": [str(ran)]}, goto="again" if ran < 100 else END)

    builder = StateGraph(State)
    builder.add_node("again", again, destinations=("again", END))
    builder.add_edge(START, "again")
    run = asyncio.create_task(builder.compile(saver).ainvoke({}, thread_id="t", durability="async"))
    for _ in range(2000):
        await asyncio.sleep(0)

    # The backlog, the commit in progress, and the superstep that waits for space in the backlog.
    assert 1 <= ran <= Request(None).backlog + 2
    saver.gate.set()
    assert len((await run)["log"]) == 100


@pytest.mark.parametrize("kind", KINDS)
async def test_an_interrupt_is_reported_only_when_it_is_durable(durability: Durability, kind: Kind) -> None:
    for call in range(1, await store_calls_of(durability, kind) + 1):
        store = MemorySaver()
        dying = Conversation(kind).graph(CrashingSaver(store, CrashPoint(call, "before")))
        try:
            result = await dying.ainvoke({}, thread_id="t", durability=durability)
        except SimulatedCrashError:
            continue

        snapshot = await Conversation(kind).graph(store).aget_state(thread_id="t")
        assert interrupt_ids(snapshot.interrupts) == interrupt_ids(result)
