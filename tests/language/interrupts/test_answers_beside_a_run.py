"""An answer to a thread whose run is at work is recorded and starts nothing; the run goes on with it."""

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
    """A node that works until it is told to end, beside one that asks."""

    def __init__(self) -> None:
        self.nodes = Nodes()
        self.gate = asyncio.Event()
        self.asked: list[Interrupt] = []
        self._was_told = asyncio.Event()

    async def slow(self, state: State) -> State:
        self.nodes.calls["slow"] += 1
        await self.gate.wait()
        return {"log": ["slow"]}

    async def after_the_question(self, state: State) -> State:
        await self.questions(1)
        return {"log": ["slow"]}

    def builder(self, *questions: str) -> StateGraph[State]:
        return fan_out(("ask", self.nodes.asking("ask", *(questions or ("sure?",)))), ("slow", self.slow))

    def quick_builder(self) -> StateGraph[State]:
        """The second node ends once the question is recorded, so that the run is about to stop."""
        return fan_out(("ask", self.nodes.asking("ask", "sure?")), ("slow", self.after_the_question))

    async def run(self, graph: CompiledGraph[Any], given: Any, durability: Durability = "sync") -> Any:
        """The result; what is asked meanwhile is noted once it is recorded."""
        async with graph.stream(given, thread_id="t", durability=durability) as events:
            async for event in events:
                if isinstance(event, TaskInterrupted):
                    self.asked.extend(event.interrupts)
                    self._was_told.set()
        return events.output

    async def questions(self, count: int) -> dict[Any, str]:
        """The ids of the questions that are open beside the run, once there are so many."""
        while len(self.asked) < count:
            self._was_told.clear()
            await self._was_told.wait()
        return interrupt_ids(self.asked)


def saver_for(where: str, saver: Checkpointer) -> Checkpointer:
    return saver if where == SAME else CrashingSaver(saver)


@from_where
async def test_the_current_run_continues_with_the_answer(saver: Checkpointer, where: str) -> None:
    beside = Slow()
    graph = beside.builder().compile(saver)
    running = asyncio.create_task(beside.run(graph, {}))
    question = (await beside.questions(1))["sure?"]
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
async def test_the_run_continues_through_several_questions(saver: Checkpointer, where: str) -> None:
    beside = Slow()
    graph = beside.builder("first?", "second?").compile(saver)
    running = asyncio.create_task(beside.run(graph, {}))
    await beside.questions(1)
    elsewhere = beside.builder("first?", "second?").compile(saver_for(where, saver))
    await elsewhere.ainvoke(Command(resume="1"), thread_id="t")
    beside.gate.set()

    assert questions_of(await running) == ["second?"]
    assert (await graph.aget_state(thread_id="t")).status == "interrupted"
    assert await elsewhere.ainvoke(Command(resume="2"), thread_id="t") == {"log": ["ask:1,2", "slow"]}
    assert beside.nodes.calls["slow"] == 1


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_an_answer_that_comes_as_the_run_stops_is_not_left_lying(saver: Checkpointer, mode: Durability) -> None:
    """Between the run's last look and its record that it stops, somebody answers because it still runs."""
    beside = Slow()
    told: list[Any] = []

    class AtTheStop(CrashingSaver):
        async def save_writes(self, batch: WritesBatch) -> SaveResult:
            if batch.status == "interrupted" and not told:
                elsewhere = beside.quick_builder().compile(CrashingSaver(saver))
                answering = elsewhere.ainvoke(Command(resume="yes"), thread_id="t")
                # Another process knows nothing of the code that makes this call.
                told.append(await asyncio.create_task(answering, context=Context()))
            return await super().save_writes(batch)

    result = await beside.run(beside.quick_builder().compile(AtTheStop(saver)), {}, mode)

    assert [list(each) for each in told] == [["log", "__answered__"]]
    assert result == {"log": ["ask:yes", "slow"]}
    assert beside.nodes.calls["ask"] == 2


@pytest.mark.parametrize("left_by", ["cancellation", "crash"])
async def test_where_the_run_was_left_the_answer_waits_for_who_resumes_the_thread(
    saver: Checkpointer, left_by: str
) -> None:
    """That a run is at work is told by the status alone, which a killed or cancelled run leaves as it is."""
    beside = Slow()
    process = CrashingSaver(saver)
    running = asyncio.create_task(beside.run(beside.builder().compile(process), {}))
    graph = beside.builder().compile(saver)
    question = (await beside.questions(1))["sure?"]
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


async def test_a_thread_that_was_left_with_nothing_but_questions_waits_once_it_is_resumed(saver: Checkpointer) -> None:
    """So that the next answer goes on by itself again."""
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


async def test_every_kind_of_result_says_that_the_answer_was_recorded_and_nothing_ran(saver: Checkpointer) -> None:
    beside = Slow()
    names = "abcde"
    builder = beside.builder()
    for name in names:
        builder.add_node(name, beside.nodes.asking(name, f"{name}?"))
        builder.add_edge(START, name)
    graph = builder.compile(saver)
    running = asyncio.create_task(beside.run(graph, {}))
    found = await beside.questions(6)
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


async def test_a_breakpoint_together_with_the_question_is_not_passed_when_the_answer_is_taken_on(
    saver: Checkpointer,
) -> None:
    beside = Slow()
    inner = chain(("before", beside.nodes.noting("before")), ("stop", beside.nodes.noting("stop")))
    builder = beside.builder()
    builder.add_node("inner", inner.compile(interrupt_before=["stop"]))
    builder.add_edge(START, "inner")
    graph = builder.compile(saver)
    running = asyncio.create_task(beside.run(graph, {}))
    await beside.questions(1)
    await graph.ainvoke(Command(resume="yes"), thread_id="t")
    beside.gate.set()

    await running

    assert beside.nodes.calls["stop"] == 0
    snapshot = await graph.aget_state(thread_id="t")
    assert (snapshot.status, snapshot.next) == ("interrupted", ("inner",))
    assert sorted((await graph.ainvoke(None, thread_id="t"))["log"]) == ["ask:yes", "before", "slow", "stop"]


class BesideNested:
    """A question beside a nested graph of two nodes, whose first one works until it is told to end."""

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
async def test_a_graph_nested_together_with_the_question_continues_after_the_answer(
    saver: Checkpointer, where: str, mode: Durability
) -> None:
    """Its commits compare and swap the same thread, and were taken for those of a run that had lost it."""
    nested = BesideNested()
    running = asyncio.create_task(nested.beside.run(nested.builder().compile(saver), {}, mode))
    await nested.beside.questions(1)
    await nested.is_inside.wait()
    await nested.builder().compile(saver_for(where, saver)).ainvoke(Command(resume="yes"), thread_id="t")
    nested.beside.gate.set()

    assert await running == {"log": ["ask:yes", "first", "second"]}


@by_id_or_not
async def test_a_graph_nested_together_with_the_question_does_not_turn_the_answer_down(
    saver: Checkpointer, is_by_id: bool
) -> None:
    """It commits between the answer's look at the thread and its record."""
    nested = BesideNested()
    running = asyncio.create_task(nested.beside.run(nested.builder().compile(saver), {}))
    question = (await nested.beside.questions(1))["sure?"]
    await nested.is_inside.wait()

    async def act() -> None:
        nested.beside.gate.set()
        await nested.has_committed.wait()

    graph = nested.builder().compile(Preceded(saver, "save_writes", act))
    await graph.ainvoke(Command(resume={question: "yes"} if is_by_id else "yes"), thread_id="t")

    result = await running
    if "__interrupt__" in result:
        # The run had stopped already: then the answer's call has gone on.
        result = (await graph.aget_state(thread_id="t")).values
    assert result == {"log": ["ask:yes", "first", "second"]}


async def test_the_reader_of_a_run_answers_as_soon_as_it_is_asked(saver: Checkpointer) -> None:
    """It holds the thread still when it tells that it stops."""
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
async def test_what_makes_a_checkpoint_takes_the_thread_over_from_a_run_of_another_process(
    saver: Checkpointer, act: Callable[[Any], Any]
) -> None:
    """In the same process it is refused while a run is at work. In another one the run is told what of it stays."""
    beside = Slow()
    graph = beside.builder().compile(saver)
    running = asyncio.create_task(beside.run(graph, {"log": ["first"]}))
    await beside.questions(1)
    with pytest.raises(ThreadBusyError):
        await act(graph)
    other = Slow()
    other.gate.set()

    await act(other.builder().compile(CrashingSaver(saver)))

    beside.gate.set()
    with pytest.raises(CheckpointConflictError) as told:
        await running
    assert told.value.input_checkpoint_id == "0000000000000001"
    log = (await graph.aget_state(thread_id="t")).values["log"]
    assert log.count("first") == 1
    assert log.count("slow") <= 1
