"""Of several answers to one interrupt one is recorded, and every other caller gets an error with that answer."""

import asyncio
from typing import Any

import pytest

from durable_graph import (
    CheckpointConflictError,
    Checkpointer,
    Command,
    CompiledGraph,
    Durability,
    InterruptAnsweredError,
    NothingToResumeError,
    StateGraph,
    UnknownInterruptError,
    interrupt,
)
from durable_graph.testing import CrashingSaver
from tests.graphs import Nodes, State, chain, fan_out, interrupt_ids, questions_of
from tests.language.interrupts.meeting import BothRead, Preceded

pytestmark = pytest.mark.every_store

by_id_or_not = pytest.mark.parametrize("is_by_id", [True, False], ids=["by_id", "without_id"])


def asking(*questions: str) -> StateGraph[State]:
    return chain(("ask", Nodes().asking("ask", *questions)))


def answer(value: Any, id_: str, *, is_by_id: bool) -> Command[Any]:
    return Command(resume={id_: value} if is_by_id else value)


async def outcome(graph: CompiledGraph[Any], given: Any, **options: Any) -> Any:
    try:
        return await graph.ainvoke(given, thread_id="t", **options)
    except Exception as error:
        return error


@by_id_or_not
@pytest.mark.parametrize("if_busy", ["reject", "wait"])
async def test_of_many_concurrent_answers_one_is_accepted_and_reported_to_all_callers(
    saver: Checkpointer, is_by_id: bool, if_busy: str, durability: Durability
) -> None:
    savers = [saver, saver, saver, CrashingSaver(saver), CrashingSaver(saver)]
    graphs = [asking("sure?").compile(each) for each in savers]
    question = interrupt_ids(await graphs[0].ainvoke({}, thread_id="t"))["sure?"]

    found = await asyncio.gather(
        *(
            outcome(graph, answer(number, question, is_by_id=is_by_id), if_busy=if_busy, durability=durability)
            for number, graph in enumerate(graphs)
        )
    )

    (won,) = [number for number, end in enumerate(found) if isinstance(end, dict)]
    refused = [end for end in found if not isinstance(end, dict)]
    assert all(type(end) is InterruptAnsweredError for end in refused), refused
    assert [(end.id, end.answer, end.answers) for end in refused] == [(question, won, {question: won})] * 4
    assert (await graphs[0].aget_state(thread_id="t")).values == {"log": [f"ask:{won}"]}


@by_id_or_not
async def test_a_second_answer_is_refused_while_the_run_of_the_first_is_in_progress(
    saver: Checkpointer, is_by_id: bool
) -> None:
    entered, gate = asyncio.Event(), asyncio.Event()

    async def node(state: State) -> State:
        value = interrupt("sure?")
        entered.set()
        await gate.wait()
        return {"log": [value]}

    graph = chain(("node", node)).compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]
    first = asyncio.create_task(graph.ainvoke(Command(resume="first"), thread_id="t"))
    await entered.wait()

    for each in (graph, chain(("node", node)).compile(CrashingSaver(saver))):
        with pytest.raises(InterruptAnsweredError) as refused:
            await each.ainvoke(answer("second", question, is_by_id=is_by_id), thread_id="t")
        assert (refused.value.id, refused.value.answer) == (question, "first")

    gate.set()
    assert await first == {"log": ["first"]}


@by_id_or_not
async def test_a_second_answer_is_refused_after_the_thread_has_finished_or_continued(
    saver: Checkpointer, is_by_id: bool
) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?")), ("after", Nodes().noting("after"))).compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]
    await graph.ainvoke(Command(resume="first"), thread_id="t")

    with pytest.raises(InterruptAnsweredError) as refused:
        await graph.ainvoke(answer("second", question, is_by_id=is_by_id), thread_id="t")
    assert refused.value.answer == "first"

    noting = chain(("ask", Nodes().noting("again")), ("after", Nodes().noting("after"))).compile(saver)
    await noting.ainvoke({}, thread_id="t")
    with pytest.raises(InterruptAnsweredError) as refused:
        await graph.ainvoke(answer("third", question, is_by_id=is_by_id), thread_id="t")
    assert (refused.value.id, refused.value.answer) == (question, "first")


@by_id_or_not
async def test_a_second_answer_to_an_interrupt_of_a_nested_graph_is_refused_with_the_first(
    saver: Checkpointer, is_by_id: bool
) -> None:
    inner = chain(("ask", Nodes().asking("ask", "sure?"))).compile()
    graph = chain(("inner", inner), ("after", Nodes().noting("after"))).compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]
    await graph.ainvoke(Command(resume="first"), thread_id="t")

    with pytest.raises(InterruptAnsweredError) as refused:
        await graph.ainvoke(answer("second", question, is_by_id=is_by_id), thread_id="t")

    assert (refused.value.id, refused.value.answer) == (question, "first")


@by_id_or_not
@pytest.mark.parametrize("before", ["save_writes", "load"])
async def test_a_late_answer_does_not_reach_the_next_interrupt(
    saver: Checkpointer, is_by_id: bool, before: str
) -> None:
    """The call has read the thread while the first interrupt was open. Before it records its answer, another answer is
    recorded, and the node interrupts again."""
    graph = asking("first?", "second?").compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["first?"]

    async def answered_elsewhere() -> None:
        await asking("first?", "second?").compile(CrashingSaver(saver)).ainvoke(Command(resume="A"), thread_id="t")

    late = asking("first?", "second?").compile(Preceded(saver, before, answered_elsewhere))
    if before == "load" and not is_by_id:
        # The second interrupt is open at the first read of the thread, so an answer without an id is for that one.
        assert await late.ainvoke(Command(resume="B"), thread_id="t") == {"log": ["ask:A,B"]}
        return
    with pytest.raises(InterruptAnsweredError) as refused:
        await late.ainvoke(answer("B", question, is_by_id=is_by_id), thread_id="t")

    assert (refused.value.id, refused.value.answer) == (question, "A")
    snapshot = await graph.aget_state(thread_id="t")
    assert questions_of(snapshot.interrupts) == ["second?"]
    assert await graph.ainvoke(Command(resume="C"), thread_id="t") == {"log": ["ask:A,C"]}


async def test_an_answer_that_waits_in_the_same_process_does_not_reach_the_next_interrupt(
    saver: Checkpointer,
) -> None:
    """Both calls read the thread while the first interrupt is open, before either of them records its answer."""
    await asking("first?", "second?").compile(saver).ainvoke({}, thread_id="t")
    graph = asking("first?", "second?").compile(BothRead(saver))

    found = await asyncio.gather(*(outcome(graph, Command(resume=value), if_busy="wait") for value in "AB"))

    (won,) = [value for value, end in zip("AB", found, strict=True) if isinstance(end, dict)]
    (refused,) = [end for end in found if not isinstance(end, dict)]
    assert isinstance(refused, InterruptAnsweredError)
    assert refused.answer == won
    assert questions_of((await graph.aget_state(thread_id="t")).interrupts) == ["second?"]


@by_id_or_not
async def test_the_error_of_a_second_answer_after_a_prune_says_that_the_thread_was_pruned(
    saver: Checkpointer, is_by_id: bool
) -> None:
    graph = asking("sure?").compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]
    await graph.ainvoke(Command(resume="first"), thread_id="t")
    assert await saver.prune("t", keep_last=1)

    with pytest.raises((UnknownInterruptError, NothingToResumeError), match="pruned") as refused:
        await graph.ainvoke(answer("second", question, is_by_id=is_by_id), thread_id="t")

    assert isinstance(refused.value, UnknownInterruptError) == is_by_id
    assert getattr(refused.value, "is_pruned", True)


@pytest.mark.parametrize("how", ["input", "update"])
async def test_an_answer_to_a_superseded_interrupt_is_refused(saver: Checkpointer, how: str) -> None:
    graph = asking("sure?").compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]
    if how == "input":
        await chain(("ask", Nodes().noting("noted"))).compile(saver).ainvoke({}, thread_id="t")
    else:
        await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"log": ["noted"]}, as_node="ask")

    with pytest.raises(UnknownInterruptError, match="superseded it") as refused:
        await graph.ainvoke(Command(resume={question: "yes"}), thread_id="t")
    assert (refused.value.is_superseded, refused.value.is_pruned) == (True, False)
    with pytest.raises(NothingToResumeError):
        await graph.ainvoke(Command(resume="yes"), thread_id="t")

    assert (await graph.aget_state(thread_id="t")).values == {"log": ["noted"]}


@by_id_or_not
@pytest.mark.parametrize("how", ["input", "update", "delete"])
async def test_the_error_of_an_answer_that_races_with_input_an_update_or_a_deletion_names_the_reason(
    saver: Checkpointer, how: str, is_by_id: bool
) -> None:
    graph = asking("sure?").compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]

    async def act() -> None:
        elsewhere = asking("sure?").compile(CrashingSaver(saver))
        if how == "input":
            await elsewhere.ainvoke({"log": ["input"]}, thread_id="t")
        elif how == "update":
            await elsewhere.aupdate_state({"configurable": {"thread_id": "t"}}, {"log": ["edit"]}, as_node="ask")
        else:
            await elsewhere.adelete_thread("t")

    late = asking("sure?").compile(Preceded(saver, "save_writes", act))
    with pytest.raises((UnknownInterruptError, CheckpointConflictError)) as refused:
        await late.ainvoke(answer("yes", question, is_by_id=is_by_id), thread_id="t")

    if how == "delete":
        assert isinstance(refused.value, CheckpointConflictError)
        assert (refused.value.is_deleted, refused.value.answered) == (True, ())
    else:
        # New input raises a new interrupt, which the answer must not reach.
        assert isinstance(refused.value, UnknownInterruptError)
        assert (refused.value.id, refused.value.is_superseded) == (question, True)
    assert "yes" not in str((await graph.aget_state(thread_id="t")).values)


async def test_an_id_that_was_never_used_is_neither_superseded_nor_pruned(saver: Checkpointer) -> None:
    graph = asking("sure?").compile(saver)
    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke(Command(resume="yes"), thread_id="t")

    with pytest.raises(UnknownInterruptError) as refused:
        await graph.ainvoke(Command(resume={"0" * 32: "no"}), thread_id="t")

    assert (refused.value.is_superseded, refused.value.is_pruned, refused.value.open_ids) == (False, False, ())


async def test_the_update_of_a_late_answer_is_not_applied(saver: Checkpointer) -> None:
    graph = asking("sure?").compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]

    async def answered_elsewhere() -> None:
        await asking("sure?").compile(CrashingSaver(saver)).ainvoke(Command(resume="first"), thread_id="t")

    late = asking("sure?").compile(Preceded(saver, "commit", answered_elsewhere))
    with pytest.raises(InterruptAnsweredError) as refused:
        await late.ainvoke(Command(resume="second", update={"log": ["update"]}), thread_id="t")

    assert (refused.value.id, refused.value.answer) == (question, "first")
    assert (await graph.aget_state(thread_id="t")).values == {"log": ["ask:first"]}


async def test_the_error_of_a_map_of_answers_lists_every_recorded_answer(saver: Checkpointer) -> None:
    builder = fan_out(*((name, Nodes().asking(name, f"{name}?")) for name in "abc"))
    graph = builder.compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    await graph.ainvoke(Command(resume={found["a?"]: 1, found["b?"]: 2}), thread_id="t")

    with pytest.raises(InterruptAnsweredError) as refused:
        await graph.ainvoke(Command(resume={found["c?"]: 30, found["b?"]: 20, found["a?"]: 10}), thread_id="t")

    assert refused.value.answers == {found["b?"]: 2, found["a?"]: 1}
    assert questions_of((await graph.aget_state(thread_id="t")).interrupts) == ["c?"]


async def test_a_large_answer_is_truncated_in_the_error_message(saver: Checkpointer) -> None:
    graph = asking("sure?").compile(saver)
    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke(Command(resume="x" * 100_000), thread_id="t")

    with pytest.raises(InterruptAnsweredError) as refused:
        await graph.ainvoke(Command(resume="y"), thread_id="t")

    assert len(str(refused.value)) <= 400
    assert refused.value.answer == "x" * 100_000
