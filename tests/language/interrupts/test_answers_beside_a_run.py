"""An answer to a thread with a current run is recorded and starts no run; the current run continues with it."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

import pytest

from durable_graph import (
    START,
    AnswersRecorded,
    CheckpointConflictError,
    Checkpointer,
    Command,
    CompiledGraph,
    Durability,
    GraphOutput,
    Interrupt,
    RunInterrupted,
    StateGraph,
    TaskInterrupted,
    ThreadBusyError,
)
from durable_graph.records import SaveResult, WritesBatch
from durable_graph.testing import CrashingSaver, SimulatedCrashError
from tests.graphs import Nodes, State, chain, fan_out, interrupt_ids, questions_of
from tests.language.interrupts.meeting import Preceded
from tests.language.interrupts.test_answers_at_once import by_id_or_not

pytestmark = pytest.mark.every_store

SAME, OTHER = "same process", "another process"
from_where = pytest.mark.parametrize("where", [SAME, OTHER])


class Slow:
    """A node that waits for `gate`, in parallel with a node that interrupts."""

    def __init__(self) -> None:
        self.nodes = Nodes()
        self.gate = asyncio.Event()
        self.asked: list[Interrupt] = []
        self._has_interrupted = asyncio.Event()

    async def slow(self, state: State) -> State:
        self.nodes.calls["slow"] += 1
        await self.gate.wait()
        return {"log": ["slow"]}

    async def after_the_interrupt(self, state: State) -> State:
        await self.open_interrupts(1)
        return {"log": ["slow"]}

    def builder(self, *questions: str) -> StateGraph[State]:
        return fan_out(("ask", self.nodes.asking("ask", *(questions or ("sure?",)))), ("slow", self.slow))

    def quick_builder(self) -> StateGraph[State]:
        """The second node ends once the interrupt is recorded, so that the run is about to stop."""
        return fan_out(("ask", self.nodes.asking("ask", "sure?")), ("slow", self.after_the_interrupt))

    async def run(self, graph: CompiledGraph[Any], given: Any, durability: Durability = "sync") -> Any:
        """The result of the run. Each interrupt is added to `asked` once it is recorded."""
        async with graph.stream(given, thread_id="t", durability=durability) as events:
            async for event in events:
                if isinstance(event, TaskInterrupted):
                    self.asked.extend(event.interrupts)
                    self._has_interrupted.set()
        return events.output

    async def open_interrupts(self, count: int) -> dict[Any, str]:
        """The ids of the open interrupts by their values, as soon as the run has raised `count` of them."""
        while len(self.asked) < count:
            self._has_interrupted.clear()
            await self._has_interrupted.wait()
        return interrupt_ids(self.asked)


def saver_for(where: str, saver: Checkpointer) -> Checkpointer:
    return saver if where == SAME else CrashingSaver(saver)


@from_where
async def test_the_current_run_continues_with_the_answer(saver: Checkpointer, where: str) -> None:
    beside = Slow()
    graph = beside.builder().compile(saver)
    running = asyncio.create_task(beside.run(graph, {}))
    question = (await beside.open_interrupts(1))["sure?"]
    assert (await graph.aget_state(thread_id="t")).status == "running"

    answered = await beside.builder().compile(saver_for(where, saver)).ainvoke(Command(resume="yes"), thread_id="t")

    assert answered == {"log": [], "__answered__": [question]}
    snapshot = await graph.aget_state(thread_id="t")
    assert (snapshot.status, snapshot.interrupts) == ("running", ())
    beside.gate.set()
    assert await running == {"log": ["ask:yes", "slow"]}
    assert beside.nodes.calls == {"ask": 2, "slow": 1}
    assert (await graph.aget_state(thread_id="t")).status == "done"


@from_where
async def test_the_current_run_stops_at_the_next_interrupt_after_the_answer(saver: Checkpointer, where: str) -> None:
    beside = Slow()
    graph = beside.builder("first?", "second?").compile(saver)
    running = asyncio.create_task(beside.run(graph, {}))
    await beside.open_interrupts(1)
    elsewhere = beside.builder("first?", "second?").compile(saver_for(where, saver))
    await elsewhere.ainvoke(Command(resume="1"), thread_id="t")
    beside.gate.set()

    assert questions_of(await running) == ["second?"]
    assert (await graph.aget_state(thread_id="t")).status == "interrupted"
    assert await elsewhere.ainvoke(Command(resume="2"), thread_id="t") == {"log": ["ask:1,2", "slow"]}
    assert beside.nodes.calls["slow"] == 1


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_an_answer_that_arrives_while_the_run_stops_is_not_lost(saver: Checkpointer, mode: Durability) -> None:
    """The answer arrives after the run has last checked for answers and before it records that it stops."""
    beside = Slow()
    answered: list[Any] = []

    class AtTheStop(CrashingSaver):
        async def save_writes(self, batch: WritesBatch) -> SaveResult:
            if batch.status == "interrupted" and not answered:
                elsewhere = beside.quick_builder().compile(CrashingSaver(saver))
                answering = elsewhere.ainvoke(Command(resume="yes"), thread_id="t")
                # An empty context: another process shares no context variable with this code.
                answered.append(await asyncio.create_task(answering, context=Context()))
            return await super().save_writes(batch)

    result = await beside.run(beside.quick_builder().compile(AtTheStop(saver)), {}, mode)

    assert [list(each) for each in answered] == [["log", "__answered__"]]
    assert result == {"log": ["ask:yes", "slow"]}
    assert beside.nodes.calls["ask"] == 2


@pytest.mark.parametrize("left_by", ["cancellation", "crash"])
async def test_an_answer_to_an_abandoned_run_waits_for_the_next_resume(saver: Checkpointer, left_by: str) -> None:
    """Only the status of the thread says that a run is current, and a killed or cancelled run leaves it unchanged."""
    beside = Slow()
    process = CrashingSaver(saver)
    running = asyncio.create_task(beside.run(beside.builder().compile(process), {}))
    graph = beside.builder().compile(saver)
    question = (await beside.open_interrupts(1))["sure?"]
    process.crashed = left_by == "crash"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    answered = await graph.ainvoke(Command(resume="yes"), thread_id="t")
    assert answered == {"log": [], "__answered__": [question]}
    assert beside.nodes.calls == {"ask": 1, "slow": 1}

    beside.gate.set()
    assert (await graph.aget_state(thread_id="t")).status == "running"
    assert await graph.ainvoke(None, thread_id="t") == {"log": ["ask:yes", "slow"]}
    assert beside.nodes.calls == {"ask": 2, "slow": 2}


async def test_resuming_an_abandoned_thread_with_only_open_interrupts_marks_it_as_interrupted(
    saver: Checkpointer,
) -> None:
    """So the next answer starts a run again."""
    beside = Slow()

    class Dying(CrashingSaver):
        async def save_writes(self, batch: WritesBatch) -> SaveResult:
            self.crashed = batch.status == "interrupted"
            return await super().save_writes(batch)

    graph = beside.quick_builder().compile(saver)
    with pytest.raises(SimulatedCrashError):
        await beside.run(beside.quick_builder().compile(Dying(saver)), {})
    assert (await graph.aget_state(thread_id="t")).status == "running"

    assert questions_of(await graph.ainvoke(None, thread_id="t")) == ["sure?"]

    assert (await graph.aget_state(thread_id="t")).status == "interrupted"
    assert await graph.ainvoke(Command(resume="yes"), thread_id="t") == {"log": ["ask:yes", "slow"]}


async def test_every_kind_of_result_reports_an_answer_that_was_recorded_without_a_run(saver: Checkpointer) -> None:
    beside = Slow()
    names = "abcde"
    builder = beside.builder()
    for name in names:
        builder.add_node(name, beside.nodes.asking(name, f"{name}?"))
        builder.add_edge(START, name)
    graph = builder.compile(saver)
    running = asyncio.create_task(beside.run(graph, {}))
    found = await beside.open_interrupts(6)
    answers: list[Command[Any]] = [Command(resume={found[f"{name}?"]: name}) for name in names]

    first = await graph.ainvoke(answers[0], thread_id="t")
    second = await graph.ainvoke(answers[1], thread_id="t", version="v2")
    third = [chunk async for chunk in graph.astream(answers[2], thread_id="t")]
    fourth = [chunk async for chunk in graph.astream(answers[3], thread_id="t", stream_mode=["values", "tasks"])]
    async with graph.stream(answers[4], thread_id="t") as events:
        fifth = [event async for event in events]

    assert first == {"log": [], "__answered__": [found["a?"]]}
    assert second == GraphOutput({"log": []}, (), is_stopped=True, answered=(found["b?"],))
    assert third == [{"__answered__": (found["c?"],)}]
    assert fourth == [("values", {"__answered__": (found["d?"],)})]
    assert [(type(event), event.answered) for event in fifth if isinstance(event, AnswersRecorded)] == [
        (AnswersRecorded, (found["e?"],))
    ]
    assert len(fifth) == 1
    assert events.output == {"log": [], "__answered__": [found["e?"]]}
    beside.gate.set()
    assert questions_of(await running) == ["sure?"]
    result = await graph.ainvoke(Command(resume="yes"), thread_id="t")
    assert sorted(result["log"]) == ["a:a", "ask:yes", "b:b", "c:c", "d:d", "e:e", "slow"]


async def test_a_nested_breakpoint_still_stops_a_run_that_continues_with_an_answer(
    saver: Checkpointer,
) -> None:
    beside = Slow()
    inner = chain(("before", beside.nodes.noting("before")), ("stop", beside.nodes.noting("stop")))
    builder = beside.builder()
    builder.add_node("inner", inner.compile(interrupt_before=["stop"]))
    builder.add_edge(START, "inner")
    graph = builder.compile(saver)
    running = asyncio.create_task(beside.run(graph, {}))
    await beside.open_interrupts(1)
    await graph.ainvoke(Command(resume="yes"), thread_id="t")
    beside.gate.set()

    await running

    assert beside.nodes.calls["stop"] == 0
    snapshot = await graph.aget_state(thread_id="t")
    assert (snapshot.status, snapshot.next) == ("interrupted", ("inner",))
    assert sorted((await graph.ainvoke(None, thread_id="t"))["log"]) == ["ask:yes", "before", "slow", "stop"]


class BesideNested:
    """An interrupt in parallel with a nested graph of two nodes, the first of which waits for the gate."""

    def __init__(self) -> None:
        self.beside = Slow()
        self.is_inside, self.has_committed = asyncio.Event(), asyncio.Event()

    def builder(self) -> StateGraph[State]:
        async def first(state: State) -> State:
            self.is_inside.set()
            await self.beside.gate.wait()
            return {"log": ["first"]}

        async def second(state: State) -> State:
            self.has_committed.set()
            return {"log": ["second"]}

        inner = chain(("first", first), ("second", second)).compile()
        return fan_out(("ask", self.beside.nodes.asking("ask", "sure?")), ("inner", inner))


@pytest.mark.parametrize("mode", ["sync", "async"])
@from_where
async def test_a_nested_graph_parallel_to_the_interrupted_node_continues_after_the_answer(
    saver: Checkpointer, where: str, mode: Durability
) -> None:
    """Commits of the nested graph compare and swap the same thread. They must not look as if the run had lost it."""
    nested = BesideNested()
    running = asyncio.create_task(nested.beside.run(nested.builder().compile(saver), {}, mode))
    await nested.beside.open_interrupts(1)
    await nested.is_inside.wait()
    await nested.builder().compile(saver_for(where, saver)).ainvoke(Command(resume="yes"), thread_id="t")
    nested.beside.gate.set()

    assert await running == {"log": ["ask:yes", "first", "second"]}


@by_id_or_not
async def test_a_commit_of_a_parallel_nested_graph_does_not_cause_the_answer_to_be_refused(
    saver: Checkpointer, is_by_id: bool
) -> None:
    """The nested graph commits after the answering call has read the thread and before it records the answer."""
    nested = BesideNested()
    running = asyncio.create_task(nested.beside.run(nested.builder().compile(saver), {}))
    question = (await nested.beside.open_interrupts(1))["sure?"]
    await nested.is_inside.wait()

    async def act() -> None:
        nested.beside.gate.set()
        await nested.has_committed.wait()

    graph = nested.builder().compile(Preceded(saver, "save_writes", act))
    await graph.ainvoke(Command(resume={question: "yes"} if is_by_id else "yes"), thread_id="t")

    result = await running
    if "__interrupt__" in result:
        # The run had already stopped, so the call with the answer continued the thread.
        result = (await graph.aget_state(thread_id="t")).values
    assert result == {"log": ["ask:yes", "first", "second"]}


async def test_the_reader_of_a_stream_may_answer_as_soon_as_it_receives_the_interrupt(saver: Checkpointer) -> None:
    """The run still holds the thread when it emits `RunInterrupted`."""
    graph = chain(("ask", Nodes().asking("ask", "sure?"))).compile(saver)

    async with graph.stream({}, thread_id="t") as events:
        async for event in events:
            if isinstance(event, RunInterrupted):
                result = await graph.ainvoke(Command(resume={event.interrupts[0].id: "yes"}), thread_id="t")

    assert result == {"log": ["ask:yes"]}


def _update(graph: Any) -> Any:
    return graph.ainvoke(Command(resume="yes", update={"log": ["update"]}), thread_id="t")


def _input(graph: Any) -> Any:
    return graph.ainvoke({"log": ["input"]}, thread_id="t")


def _edit(graph: Any) -> Any:
    return graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"log": ["edit"]}, as_node="slow")


@pytest.mark.parametrize("act", [_update, _input, _edit])
async def test_a_call_that_commits_a_checkpoint_takes_the_thread_over_from_a_run_of_another_process(
    saver: Checkpointer, act: Callable[[Any], Any]
) -> None:
    """In the process of the current run the call is refused. In another process it succeeds, and the error of the run
    says which of its checkpoints stays."""
    beside = Slow()
    graph = beside.builder().compile(saver)
    running = asyncio.create_task(beside.run(graph, {"log": ["first"]}))
    await beside.open_interrupts(1)
    with pytest.raises(ThreadBusyError):
        await act(graph)
    other = Slow()
    other.gate.set()

    await act(other.builder().compile(CrashingSaver(saver)))

    beside.gate.set()
    with pytest.raises(CheckpointConflictError) as raised:
        await running
    assert raised.value.input_checkpoint_id == "0000000000000001"
    log = (await graph.aget_state(thread_id="t")).values["log"]
    assert log.count("first") == 1
    assert log.count("slow") <= 1
