"""Stores that fail, are slow or die, under Commands, Sends, questions and answers."""

import asyncio
from typing import Any

import pytest

from durable_graph import (
    END,
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    InterruptAnsweredError,
    MemorySaver,
    NothingToResumeError,
    Send,
    StateGraph,
    interrupt,
)
from durable_graph._runtime.run import Durability, Run
from durable_graph.records import CommitResult, CommitUnit
from durable_graph.testing.crash import CrashingSaver, CrashPoint, SimulatedCrashError, crash_points
from tests.language.nodes import Nodes, State, asked, ids


class Talk:
    """plan goes to ask and sends two jobs; ask asks twice; last runs after all of them."""

    def __init__(self) -> None:
        self.nodes = Nodes()
        self.started: list[str] = []

    def graph(self, saver: Checkpointer) -> CompiledGraph[State]:
        async def plan(state: State) -> Command[Any]:
            self.started.append("plan")
            return Command(update={"log": ["plan"]}, goto=["ask", Send("work", "x"), Send("work", "y")])

        async def work(job: Any) -> State:
            self.started.append(f"work {job}")
            return {"log": [f"work {job}"]}

        async def ask(state: State) -> State:
            self.started.append("ask")
            return {"log": [f"asked:{interrupt('first?')},{interrupt('second?')}"]}

        async def last(state: State) -> State:
            self.started.append("last")
            return {"log": ["last"]}

        builder = StateGraph(State)
        builder.add_node("plan", plan, destinations=("ask", "work"))
        builder.add_node("ask", ask)
        builder.add_node("work", work)
        builder.add_node("last", last)
        builder.add_edge(START, "plan")
        builder.add_edge("ask", "last")
        return builder.compile(saver)


WHOLE = ["plan", "asked:1,2", "work x", "work y", "last"]
ANSWERS = {"first?": "1", "second?": "2"}


async def carry_through(graph: CompiledGraph[State], durability: Durability) -> Any:
    """What a caller does who knows nothing of the crash: begin or go on, and answer what is asked."""
    snapshot = await graph.aget_state(thread_id="t")
    given: Any = None if snapshot.next else {}
    if snapshot.created_at is not None and not snapshot.next:
        return dict(snapshot.values)
    result: Any = await graph.ainvoke(given, thread_id="t", durability=durability)
    while "__interrupt__" in result:
        answers = {id_: ANSWERS[question] for question, id_ in ids(result).items()}
        result = await graph.ainvoke(Command(resume=answers), thread_id="t", durability=durability)
    return result


async def calls_of_a_talk(durability: Durability) -> int:
    counting = CrashingSaver(MemorySaver())
    result = await carry_through(Talk().graph(counting), durability)
    assert result["log"] == WHOLE
    return counting.calls


async def test_a_process_may_die_at_any_call_of_the_store_and_the_talk_goes_on(durability: Durability) -> None:
    for point in crash_points(await calls_of_a_talk(durability)):
        store = MemorySaver()
        with pytest.raises(SimulatedCrashError):  # noqa: PT012  # after the last reply, only the next call notices
            dying = Talk().graph(CrashingSaver(store, point))
            await carry_through(dying, durability)
            await dying.aget_state(thread_id="t")

        result = await carry_through(Talk().graph(store), durability)

        assert result["log"] == WHOLE, point


async def test_nothing_that_was_recorded_before_the_process_died_runs_again() -> None:
    for point in crash_points(await calls_of_a_talk("sync")):
        store = MemorySaver()
        first, second = Talk(), Talk()
        with pytest.raises(SimulatedCrashError):  # noqa: PT012  # after the last reply, only the next call notices
            dying = first.graph(CrashingSaver(store, point))
            await carry_through(dying, "sync")
            await dying.aget_state(thread_id="t")
        snapshot = await second.graph(store).aget_state(thread_id="t")
        recorded = set(snapshot.values.get("log", []))

        await carry_through(second.graph(store), "sync")

        assert not recorded & set(second.started), point


async def test_an_answer_that_was_acknowledged_is_never_asked_for_again(durability: Durability) -> None:
    """An answer is durable before the node that asked runs on."""
    for point in crash_points(await calls_of_a_talk(durability)):
        store = MemorySaver()
        dying = Talk().graph(CrashingSaver(store, point))
        acknowledged: str | None = None
        try:
            result = await dying.ainvoke({}, thread_id="t", durability=durability)
            question = ids(result)["first?"]
            await dying.ainvoke(Command(resume={question: "1"}), thread_id="t", durability=durability)
            acknowledged = question
        except SimulatedCrashError:
            continue

        graph = Talk().graph(store)
        with pytest.raises((InterruptAnsweredError, NothingToResumeError)):
            await graph.ainvoke(Command(resume={acknowledged: "again"}), thread_id="t")
        assert asked((await graph.aget_state(thread_id="t")).interrupts) == ["second?"]


async def test_a_store_that_cannot_be_written_starts_no_new_node(durability: Durability) -> None:
    """Reference P5 and P6: every node ran, and the error came at the end."""
    for call in range(1, await calls_of_a_talk(durability) + 1):
        failing = CrashingSaver(MemorySaver(), CrashPoint(call, "before"))
        talk = Talk()
        graph = talk.graph(failing)
        started_before: list[int] = []

        class Noticing(list[str]):
            """The names of nodes that start, and how many did once the store had failed."""

            def append(self, name: str, failing: CrashingSaver = failing, before: list[int] = started_before) -> None:
                if failing.crashed:
                    before.append(len(self))
                super().append(name)

        talk.started = Noticing()
        with pytest.raises(SimulatedCrashError):
            await carry_through(graph, durability)

        # With "async" nodes may be starting in the very moment in which the store fails behind them.
        assert len(started_before) <= (3 if durability == "async" else 0), call


class SlowSaver(CrashingSaver):
    """Commits only when it is let."""

    def __init__(self) -> None:
        super().__init__(MemorySaver())
        self.gate = asyncio.Event()

    async def commit(self, unit: CommitUnit) -> CommitResult:
        if self.calls > 1:
            await self.gate.wait()
        return await super().commit(unit)


async def test_a_loop_of_commands_is_ahead_of_a_slow_store_by_a_bounded_number() -> None:
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

    assert 1 <= ran <= Run.__struct_defaults__[-1] + 1
    saver.gate.set()
    assert len((await run)["log"]) == 100


async def test_a_question_is_told_only_when_it_is_durable(durability: Durability) -> None:
    for call in range(1, await calls_of_a_talk(durability) + 1):
        store = MemorySaver()
        dying = Talk().graph(CrashingSaver(store, CrashPoint(call, "before")))
        try:
            result = await dying.ainvoke({}, thread_id="t", durability=durability)
        except SimulatedCrashError:
            continue

        snapshot = await Talk().graph(store).aget_state(thread_id="t")
        assert ids(snapshot.interrupts) == ids(result)
