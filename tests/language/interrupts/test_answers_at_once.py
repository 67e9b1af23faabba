"""Of any number of answers to one question one is recorded, and every other caller learns which."""

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

by_id_or_not = pytest.mark.parametrize("is_by_id", [True, False], ids=["by_id", "without"])


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
async def test_of_many_answers_in_one_process_and_in_others_one_wins_and_the_others_are_told(
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
    told = [end for end in found if not isinstance(end, dict)]
    assert all(type(end) is InterruptAnsweredError for end in told), told
    assert [(end.id, end.answer, end.answers) for end in told] == [(question, won, {question: won})] * 4
    assert (await graphs[0].aget_state(thread_id="t")).values == {"log": [f"ask:{won}"]}


@by_id_or_not
async def test_a_caller_is_told_while_the_run_of_the_first_answer_works(saver: Checkpointer, is_by_id: bool) -> None:
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
        with pytest.raises(InterruptAnsweredError) as told:
            await each.ainvoke(answer("second", question, is_by_id=is_by_id), thread_id="t")
        assert (told.value.id, told.value.answer) == (question, "first")

    gate.set()
    assert await first == {"log": ["first"]}


@by_id_or_not
async def test_a_caller_is_told_once_the_thread_has_ended_or_gone_on(saver: Checkpointer, is_by_id: bool) -> None:
    graph = chain(("ask", Nodes().asking("ask", "sure?")), ("after", Nodes().noting("after"))).compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]
    await graph.ainvoke(Command(resume="first"), thread_id="t")

    with pytest.raises(InterruptAnsweredError) as told:
        await graph.ainvoke(answer("second", question, is_by_id=is_by_id), thread_id="t")
    assert told.value.answer == "first"

    noting = chain(("ask", Nodes().noting("again")), ("after", Nodes().noting("after"))).compile(saver)
    await noting.ainvoke({}, thread_id="t")
    with pytest.raises(InterruptAnsweredError) as told:
        await graph.ainvoke(answer("third", question, is_by_id=is_by_id), thread_id="t")
    assert (told.value.id, told.value.answer) == (question, "first")


@by_id_or_not
async def test_an_answer_to_a_question_of_a_nested_graph_learns_which_one_stands(
    saver: Checkpointer, is_by_id: bool
) -> None:
    inner = chain(("ask", Nodes().asking("ask", "sure?"))).compile()
    graph = chain(("inner", inner), ("after", Nodes().noting("after"))).compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]
    await graph.ainvoke(Command(resume="first"), thread_id="t")

    with pytest.raises(InterruptAnsweredError) as told:
        await graph.ainvoke(answer("second", question, is_by_id=is_by_id), thread_id="t")

    assert (told.value.id, told.value.answer) == (question, "first")


@by_id_or_not
@pytest.mark.parametrize("before", ["save_writes", "load"])
async def test_an_answer_does_not_reach_the_question_that_comes_next(
    saver: Checkpointer, is_by_id: bool, before: str
) -> None:
    """The call has read the thread with the first question open; before it records, another answer is recorded, and
    the node asks on."""
    graph = asking("first?", "second?").compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["first?"]

    async def answered_elsewhere() -> None:
        await asking("first?", "second?").compile(CrashingSaver(saver)).ainvoke(Command(resume="A"), thread_id="t")

    late = asking("first?", "second?").compile(Preceded(saver, before, answered_elsewhere))
    if before == "load" and not is_by_id:
        # The thread is read for the first time with the second question open: without an id that is what is meant.
        assert await late.ainvoke(Command(resume="B"), thread_id="t") == {"log": ["ask:A,B"]}
        return
    with pytest.raises(InterruptAnsweredError) as told:
        await late.ainvoke(answer("B", question, is_by_id=is_by_id), thread_id="t")

    assert (told.value.id, told.value.answer) == (question, "A")
    snapshot = await graph.aget_state(thread_id="t")
    assert questions_of(snapshot.interrupts) == ["second?"]
    assert await graph.ainvoke(Command(resume="C"), thread_id="t") == {"log": ["ask:A,C"]}


async def test_in_one_process_an_answer_that_waits_does_not_reach_the_question_that_comes_next(
    saver: Checkpointer,
) -> None:
    """Both calls have read the thread with the first question open before either of them records."""
    await asking("first?", "second?").compile(saver).ainvoke({}, thread_id="t")
    graph = asking("first?", "second?").compile(BothRead(saver))

    found = await asyncio.gather(*(outcome(graph, Command(resume=value), if_busy="wait") for value in "AB"))

    (won,) = [value for value, end in zip("AB", found, strict=True) if isinstance(end, dict)]
    (told,) = [end for end in found if not isinstance(end, dict)]
    assert isinstance(told, InterruptAnsweredError)
    assert told.answer == won
    assert questions_of((await graph.aget_state(thread_id="t")).interrupts) == ["second?"]


@by_id_or_not
async def test_after_a_prune_a_caller_learns_what_can_be_known(saver: Checkpointer, is_by_id: bool) -> None:
    graph = asking("sure?").compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]
    await graph.ainvoke(Command(resume="first"), thread_id="t")
    assert await saver.prune("t", keep_last=1)

    with pytest.raises((UnknownInterruptError, NothingToResumeError), match="pruned") as told:
        await graph.ainvoke(answer("second", question, is_by_id=is_by_id), thread_id="t")

    assert isinstance(told.value, UnknownInterruptError) == is_by_id
    assert getattr(told.value, "is_pruned", True)


@pytest.mark.parametrize("how", ["input", "update"])
async def test_an_answer_to_a_question_that_was_superseded_gets_an_error(saver: Checkpointer, how: str) -> None:
    graph = asking("sure?").compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]
    if how == "input":
        await chain(("ask", Nodes().noting("noted"))).compile(saver).ainvoke({}, thread_id="t")
    else:
        await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {"log": ["noted"]}, as_node="ask")

    with pytest.raises(UnknownInterruptError, match="superseded it") as told:
        await graph.ainvoke(Command(resume={question: "yes"}), thread_id="t")
    assert (told.value.is_superseded, told.value.is_pruned) == (True, False)
    with pytest.raises(NothingToResumeError):
        await graph.ainvoke(Command(resume="yes"), thread_id="t")

    assert (await graph.aget_state(thread_id="t")).values == {"log": ["noted"]}


@by_id_or_not
@pytest.mark.parametrize("how", ["input", "update", "delete"])
async def test_an_answer_that_loses_against_input_or_an_edit_learns_why(
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
    with pytest.raises((UnknownInterruptError, CheckpointConflictError)) as told:
        await late.ainvoke(answer("yes", question, is_by_id=is_by_id), thread_id="t")

    if how == "delete":
        assert isinstance(told.value, CheckpointConflictError)
        assert (told.value.is_deleted, told.value.answered) == (True, ())
    else:
        # New input asks a question of its own, which the answer must not reach.
        assert isinstance(told.value, UnknownInterruptError)
        assert (told.value.id, told.value.is_superseded) == (question, True)
    assert "yes" not in str((await graph.aget_state(thread_id="t")).values)


async def test_an_id_that_never_was_is_unknown_and_nothing_else(saver: Checkpointer) -> None:
    graph = asking("sure?").compile(saver)
    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke(Command(resume="yes"), thread_id="t")

    with pytest.raises(UnknownInterruptError) as told:
        await graph.ainvoke(Command(resume={"0" * 32: "no"}), thread_id="t")

    assert (told.value.is_superseded, told.value.is_pruned, told.value.open_ids) == (False, False, ())


async def test_an_answer_that_came_too_late_brings_no_update_either(saver: Checkpointer) -> None:
    graph = asking("sure?").compile(saver)
    question = interrupt_ids(await graph.ainvoke({}, thread_id="t"))["sure?"]

    async def answered_elsewhere() -> None:
        await asking("sure?").compile(CrashingSaver(saver)).ainvoke(Command(resume="first"), thread_id="t")

    late = asking("sure?").compile(Preceded(saver, "commit", answered_elsewhere))
    with pytest.raises(InterruptAnsweredError) as told:
        await late.ainvoke(Command(resume="second", update={"log": ["update"]}), thread_id="t")

    assert (told.value.id, told.value.answer) == (question, "first")
    assert (await graph.aget_state(thread_id="t")).values == {"log": ["ask:first"]}


async def test_a_map_of_answers_is_told_of_all_that_stand(saver: Checkpointer) -> None:
    builder = fan_out(*((name, Nodes().asking(name, f"{name}?")) for name in "abc"))
    graph = builder.compile(saver)
    found = interrupt_ids(await graph.ainvoke({}, thread_id="t"))
    await graph.ainvoke(Command(resume={found["a?"]: 1, found["b?"]: 2}), thread_id="t")

    with pytest.raises(InterruptAnsweredError) as told:
        await graph.ainvoke(Command(resume={found["c?"]: 30, found["b?"]: 20, found["a?"]: 10}), thread_id="t")

    assert told.value.answers == {found["b?"]: 2, found["a?"]: 1}
    assert questions_of((await graph.aget_state(thread_id="t")).interrupts) == ["c?"]


async def test_a_large_answer_is_not_repeated_whole(saver: Checkpointer) -> None:
    graph = asking("sure?").compile(saver)
    await graph.ainvoke({}, thread_id="t")
    await graph.ainvoke(Command(resume="x" * 100_000), thread_id="t")

    with pytest.raises(InterruptAnsweredError) as told:
        await graph.ainvoke(Command(resume="y"), thread_id="t")

    assert len(str(told.value)) <= 400
    assert told.value.answer == "x" * 100_000
