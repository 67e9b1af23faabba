"""The error of a call that another writer stopped says which parts of the call are stored, and it is right."""

import asyncio
import operator
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    CheckpointConflictError,
    Checkpointer,
    Command,
    CompiledGraph,
    Durability,
    StateGraph,
    StateUpdate,
    interrupt,
)
from durable_graph.testing import CrashingSaver
from durable_graph_sqlite import SqliteSaver
from tests.graphs import interrupt_ids

pytestmark = pytest.mark.every_store

FIRST = "0000000000000001"


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Held:
    """A graph of two parallel nodes: "slow" runs until `gate` is set, and "quick" ends at once."""

    def __init__(self) -> None:
        self.entered, self.gate = asyncio.Event(), asyncio.Event()
        self.quick_is_recorded = asyncio.Event()

    async def slow(self, state: State) -> State:
        self.entered.set()
        await self.gate.wait()
        return {"log": ["slow"]}

    async def quick(self, state: State) -> State:
        return {"log": ["quick"]}

    def builder(self) -> StateGraph[State]:
        builder = StateGraph(State).add_node("slow", self.slow).add_node("quick", self.quick)
        return builder.add_edge(START, "slow").add_edge(START, "quick")

    async def run(self, graph: CompiledGraph[Any], given: Any, durability: Durability = "sync") -> Any:
        async with graph.stream(given, thread_id="t", durability=durability) as events:
            async for event in events:
                if getattr(event, "update", None) == {"log": ["quick"]}:
                    self.quick_is_recorded.set()
        return events.output


def alone() -> StateGraph[State]:
    async def other(state: State) -> State:
        return {"log": ["other"]}

    return StateGraph(State).add_node("slow", other).add_edge(START, "slow")


def facts_of(error: CheckpointConflictError) -> tuple[object, ...]:
    return error.input_checkpoint_id, error.newest_checkpoint_id, error.recorded, error.answered, error.is_deleted


async def lost(held: Held, running: "asyncio.Task[Any]") -> CheckpointConflictError:
    held.gate.set()
    with pytest.raises(CheckpointConflictError) as caught:
        await running
    assert len(str(caught.value)) <= 400
    return caught.value


async def test_the_error_of_a_run_superseded_by_new_input_says_that_its_input_and_results_are_stored(
    saver: Checkpointer,
) -> None:
    held = Held()
    graph = held.builder().compile(saver)
    running = asyncio.create_task(held.run(graph, {"log": ["pay 10"]}))
    await held.entered.wait()
    await held.quick_is_recorded.wait()

    await alone().compile(CrashingSaver(saver)).ainvoke({"log": ["hello"]}, thread_id="t")

    error = await lost(held, running)
    assert facts_of(error) == (FIRST, FIRST, ("quick",), (), False)
    assert f"its input is stored, as checkpoint '{FIRST}'" in str(error)
    assert "do not repeat the call" in str(error)
    assert (await graph.aget_state(thread_id="t")).values["log"] == ["pay 10", "quick", "hello", "other"]
    assert (await graph.aget_state(thread_id="t", checkpoint_id=FIRST)).values["log"] == ["pay 10"]


@pytest.mark.parametrize("how", ["ainvoke", "astream", "stream"])
async def test_every_way_to_run_raises_the_error_with_the_stored_input(
    saver: Checkpointer, how: str, durability: Durability
) -> None:
    held = Held()
    graph = held.builder().compile(saver)

    async def call() -> Any:
        if how == "ainvoke":
            return await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)
        if how == "astream":
            return [chunk async for chunk in graph.astream({"log": ["in"]}, thread_id="t", durability=durability)]
        return await held.run(graph, {"log": ["in"]}, durability)

    running = asyncio.create_task(call())
    await held.entered.wait()
    await alone().compile(CrashingSaver(saver)).ainvoke({"log": ["hello"]}, thread_id="t")

    error = await lost(held, running)

    assert error.input_checkpoint_id == FIRST
    log = (await graph.aget_state(thread_id="t")).values["log"]
    assert log.count("in") == 1
    assert ("quick" in log) == (error.recorded == ("quick",))


async def test_the_error_of_a_call_with_a_late_input_says_that_nothing_is_stored(saver: Checkpointer) -> None:
    class Preceded(CrashingSaver):
        async def commit(self, unit: Any) -> Any:
            await alone().compile(CrashingSaver(saver)).ainvoke({"log": ["first"]}, thread_id="t")
            return await super().commit(unit)

    with pytest.raises(CheckpointConflictError, match=r"nothing of this call was stored.*repeat the call") as caught:
        await alone().compile(Preceded(saver)).ainvoke({"log": ["late"]}, thread_id="t")

    assert facts_of(caught.value) == (None, None, (), (), False)
    assert (await alone().compile(saver).aget_state(thread_id="t")).values["log"] == ["first", "other"]


def _update(graph: CompiledGraph[Any]) -> Any:
    return graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"log": ["late"]}, as_node="slow")


def _bulk(graph: CompiledGraph[Any]) -> Any:
    updates = [[StateUpdate({"log": ["late"]}, "slow")], [StateUpdate({"log": ["late"]}, "slow")]]
    return graph.abulk_update_state({"configurable": {"thread_id": "t"}}, updates)


def _fork(graph: CompiledGraph[Any]) -> Any:
    return graph.ainvoke({"log": ["late"]}, thread_id="t", checkpoint_id=FIRST)


@pytest.mark.parametrize("act", [_update, _bulk, _fork])
async def test_edits_and_forks_are_stored_whole_or_not_at_all(
    saver: Checkpointer, act: Callable[[CompiledGraph[Any]], Any]
) -> None:
    await alone().compile(saver).ainvoke({"log": ["first"]}, thread_id="t")

    class Preceded(CrashingSaver):
        async def commit(self, unit: Any) -> Any:
            await alone().compile(CrashingSaver(saver)).ainvoke({"log": ["second"]}, thread_id="t")
            return await super().commit(unit)

    with pytest.raises(CheckpointConflictError) as caught:
        await act(alone().compile(Preceded(saver)))

    assert facts_of(caught.value) == (None, None, (), (), False)
    history = [each.values.get("log", []) async for each in alone().compile(saver).aget_state_history(thread_id="t")]
    assert not any("late" in log for log in history)


async def test_the_error_of_an_answer_with_an_update_says_that_both_are_stored(saver: Checkpointer) -> None:
    held = Held()

    async def ask(state: State) -> State:
        answer = interrupt("sure?")
        held.entered.set()
        await held.gate.wait()
        return {"log": [answer]}

    builder = StateGraph(State).add_node("slow", ask).add_edge(START, "slow")
    graph = builder.compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]
    command = Command[Any](resume={question: "yes"}, update={"log": ["update"]})
    running = asyncio.create_task(graph.ainvoke(command, thread_id="t"))
    await held.entered.wait()
    await alone().compile(CrashingSaver(saver)).ainvoke({"log": ["hello"]}, thread_id="t")

    error = await lost(held, running)

    assert facts_of(error) == ("0000000000000002", "0000000000000002", (), (question,), False)
    assert (await graph.aget_state(thread_id="t")).values["log"] == ["update", "hello", "other"]


async def test_the_error_of_a_resumed_run_says_which_of_its_supersteps_are_stored(saver: Checkpointer) -> None:
    """With if_unfinished="resume" the input is applied after these supersteps, and was not stored."""
    held = Held()

    async def fails(state: State) -> State:
        message = "not yet"
        raise ValueError(message)

    def builder(first: Any) -> StateGraph[State]:
        made = StateGraph(State).add_node("first", first).add_node("slow", held.slow)
        return made.add_edge(START, "first").add_edge("first", "slow")

    with pytest.raises(ValueError, match="not yet"):
        await builder(fails).compile(saver).ainvoke({"log": ["before"]}, thread_id="t")
    graph = builder(held.quick).compile(saver)
    running = asyncio.create_task(graph.ainvoke({"log": ["late"]}, thread_id="t", if_unfinished="resume"))
    await held.entered.wait()
    await alone().compile(CrashingSaver(saver)).ainvoke({"log": ["hello"]}, thread_id="t")

    error = await lost(held, running)

    assert facts_of(error) == (None, "0000000000000002", (), (), False)
    assert "its input was not stored, its steps up to checkpoint '0000000000000002' are stored" in str(error)
    assert "late" not in (await graph.aget_state(thread_id="t")).values["log"]


async def test_the_error_of_a_run_of_a_deleted_thread_says_that_nothing_is_stored(saver: Checkpointer) -> None:
    held = Held()
    graph = held.builder().compile(saver)
    running = asyncio.create_task(graph.ainvoke({"log": ["in"]}, thread_id="t"))
    await held.entered.wait()
    await saver.delete_thread("t")

    error = await lost(held, running)

    assert facts_of(error) == (None, None, (), (), True)
    assert "deleted by another writer, with everything that this call had stored" in str(error)
    assert (await graph.aget_state(thread_id="t")).values == {}


Outcomes = list[tuple[str, CheckpointConflictError | None]]
TURNS = 8


def racer(saver: Checkpointer, drawn: random.Random) -> CompiledGraph[Any]:
    async def slow(state: State) -> State:
        await asyncio.sleep(drawn.random() / 300)
        return {"log": ["slow"]}

    async def quick(state: State) -> State:
        return {"log": ["quick"]}

    builder = StateGraph(State).add_node("slow", slow).add_node("quick", quick)
    return builder.add_edge(START, "slow").add_edge(START, "quick").compile(saver)


async def write(saver: Checkpointer, name: int, drawn: random.Random) -> Outcomes:
    """The outcomes of sequential calls with one word each."""
    graph, outcomes = racer(saver, drawn), Outcomes()
    for turn in range(TURNS):
        word, mode = f"{name}.{turn}", drawn.choice(["sync", "async", "exit", "edit"])
        try:
            if mode == "edit":
                await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"log": [word]}, as_node="quick")
            else:
                durability: Any = mode
                await graph.ainvoke({"log": [word]}, thread_id="t", durability=durability)
        except CheckpointConflictError as error:
            outcomes.append((word, error))
        else:
            outcomes.append((word, None))
    return outcomes


async def race(savers: Sequence[Checkpointer], seed: int) -> int:
    """The number of refused calls among many racing calls. Each outcome is compared with the stored state."""
    drawn = random.Random(seed)
    all_outcomes = await asyncio.gather(*(write(each, name, drawn) for name, each in enumerate(savers)))
    graph = racer(savers[0], drawn)
    log = (await graph.aget_state(thread_id="t")).values["log"]
    refused = [(word, error) for outcomes in all_outcomes for word, error in outcomes if error is not None]
    assert sum(len(outcomes) for outcomes in all_outcomes) == len(savers) * TURNS
    assert all(log.count(word) == 1 for outcomes in all_outcomes for word, error in outcomes if error is None)
    stayed = [(word, error.input_checkpoint_id) for word, error in refused if error.input_checkpoint_id is not None]
    for word, made in stayed:
        snapshot = await graph.aget_state(thread_id="t", checkpoint_id=made)
        assert (snapshot.values["log"][-1], (snapshot.metadata or {})["source"]) == (word, "input")
    assert {word: log.count(word) for word, _ in refused} == {word: word in dict(stayed) for word, _ in refused}
    return len(refused)


@pytest.mark.parametrize("seed", range(3))
async def test_results_of_racing_calls_agree_with_the_final_state(saver: Checkpointer, seed: int) -> None:
    assert await race([CrashingSaver(saver) for _ in range(5)], seed) > 0


async def test_results_of_racing_calls_of_several_savers_agree_with_the_final_state(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        savers = [await stack.enter_async_context(SqliteSaver(tmp_path / "runs.db")) for _ in range(5)]
        assert await race(savers, 0) > 0
