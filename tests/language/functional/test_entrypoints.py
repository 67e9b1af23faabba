"""`@entrypoint`: a function as a graph, which gets its previous return value."""

from typing import Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    Durability,
    GraphValidationError,
    InvalidUpdateError,
    MissingCheckpointerError,
    Runtime,
    StateGraph,
    UnstorableValueError,
    entrypoint,
    interrupt,
    task,
)
from tests.errors.kinds import of_kind
from tests.graphs import THREAD, history, questions_of


async def test_an_entrypoint_is_run_like_a_graph(saver: Checkpointer, durability: Durability) -> None:
    @entrypoint(checkpointer=saver)
    async def double(number: int) -> int:
        return number * 2

    assert await double.ainvoke(21, THREAD, durability=durability) == 42


async def test_an_entrypoint_runs_without_a_checkpointer() -> None:
    seen: list[Any] = []

    @entrypoint()
    async def echo(given: Any, *, previous: Any) -> Any:
        seen.append(previous)
        return given

    assert [await echo.ainvoke({"a": "1"}) for _ in range(2)] == [{"a": "1"}] * 2
    assert seen == [None, None]


async def test_an_entrypoint_gets_its_previous_return_value(saver: Checkpointer, durability: Durability) -> None:
    seen: list[Any] = []

    @entrypoint(checkpointer=saver)
    async def chain(given: Any, *, previous: Any) -> Any:
        seen.append(previous)
        return {"previous": previous, "current": given}

    first = await chain.ainvoke("1", THREAD, durability=durability)
    second = await chain.ainvoke("2", THREAD, durability=durability)

    assert first == {"previous": None, "current": "1"}
    assert second == {"previous": first, "current": "2"}
    assert seen == [None, first]


async def test_each_thread_has_its_own_previous_value(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    async def last(given: str, *, previous: str | None) -> str:
        return f"{previous}>{given}"

    assert await last.ainvoke("a", THREAD) == "None>a"
    assert await last.ainvoke("b", thread_id="other") == "None>b"


async def test_the_saved_value_may_differ_from_the_returned_value(saver: Checkpointer, durability: Durability) -> None:
    @entrypoint(checkpointer=saver)
    async def counting(given: int, *, previous: int | None) -> entrypoint.final[str, int]:
        total = (previous or 0) + given
        return entrypoint.final(value=f"total {total}", save=total)

    assert [await counting.ainvoke(n, THREAD, durability=durability) for n in (1, 2, 3)] == [
        "total 1",
        "total 3",
        "total 6",
    ]


async def test_the_runtime_has_the_previous_value(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    async def last(given: str, runtime: Runtime[Any]) -> str:
        return f"{runtime.previous}>{given}"

    assert await last.ainvoke("a", THREAD) == "None>a"
    assert await last.ainvoke("b", THREAD) == "None>a>b"


async def test_none_is_a_result_like_any_other(saver: Checkpointer) -> None:
    seen: list[Any] = []

    @entrypoint(checkpointer=saver)
    async def nothing(given: Any, *, previous: Any) -> None:
        seen.append(previous)

    flow: CompiledGraph[Any] = nothing
    assert await flow.ainvoke(1, THREAD) is None
    assert await flow.ainvoke(0, THREAD) is None
    assert seen == [None, None]


async def test_a_plain_function_may_be_an_entrypoint(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    def double(number: int, *, previous: int | None) -> int:
        return number * 2 + (previous or 0)

    assert [await double.ainvoke(n, THREAD) for n in (1, 2)] == [2, 6]


async def test_the_state_of_an_entrypoint_is_its_saved_value(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    async def double(number: int) -> int:
        return number * 2

    await double.ainvoke(21, THREAD)

    state = await double.aget_state(THREAD)
    assert (state.values, state.next, state.tasks) == (42, (), ())
    assert [((each.metadata or {})["source"], each.next) for each in await history(double)] == [
        ("loop", ()),
        ("input", ("double",)),
    ]


async def test_the_previous_value_may_be_updated(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    async def chain(given: Any, *, previous: Any) -> Any:
        return [previous, given]

    await chain.aupdate_state(THREAD, "before the first")
    assert await chain.ainvoke("1", THREAD) == ["before the first", "1"]
    await chain.aupdate_state(THREAD, "edited")
    assert await chain.ainvoke("2", THREAD) == ["edited", "2"]


async def test_an_update_needs_a_checkpointer() -> None:
    @entrypoint()
    async def echo(given: Any) -> Any:
        return given

    with pytest.raises(MissingCheckpointerError):
        await echo.aupdate_state(THREAD, "edited")


async def test_an_entrypoint_is_replayed_from_its_input(saver: Checkpointer) -> None:
    turns: list[str] = []

    @entrypoint(checkpointer=saver)
    async def note(given: str, *, previous: str | None) -> str:
        turns.append(given)
        return f"{given}{len(turns)}"

    await note.ainvoke("a", THREAD)
    started = (await history(note))[-1]

    assert await note.ainvoke(None, started.config) == "a2"
    assert turns == ["a", "a"]


async def test_an_entrypoint_streams_its_result_under_its_name(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    async def double(number: int) -> int:
        return number * 2

    assert [chunk async for chunk in double.astream(21, THREAD)] == [{"double": 42}]
    assert [chunk async for chunk in double.astream(4, thread_id="v", stream_mode="values")] == [8]


async def test_an_entrypoint_streams_the_results_of_its_tasks(saver: Checkpointer, durability: Durability) -> None:
    @task
    async def foo(state: dict[str, str]) -> dict[str, str]:
        return {"a": state["a"] + "foo", "b": "bar"}

    @task
    async def bar(a: str, b: str, c: str | None = None) -> dict[str, str]:
        return {"a": a + b, "c": (c or "") + "bark"}

    @entrypoint(checkpointer=saver)
    async def flow(state: dict[str, str]) -> dict[str, str]:
        first = await foo(state)
        return await bar(first["a"], first["b"])

    assert [chunk async for chunk in flow.astream({"a": "0"}, THREAD, durability=durability)] == [
        {"foo": {"a": "0foo", "b": "bar"}},
        {"bar": {"a": "0foobar", "c": "bark"}},
        {"flow": {"a": "0foobar", "c": "bark"}},
    ]


async def test_an_entrypoint_interrupts_and_resumes(saver: Checkpointer, durability: Durability) -> None:
    @entrypoint(checkpointer=saver)
    async def ask(given: str) -> str:
        return f"{given}:{interrupt('well?')}"

    result = await ask.ainvoke("in", THREAD, durability=durability)
    assert questions_of(result) == ["well?"]
    assert [each.value for each in (await ask.aget_state(THREAD)).interrupts] == ["well?"]

    assert await ask.ainvoke(Command(resume="yes"), THREAD, durability=durability) == "in:yes"


async def test_a_failed_entrypoint_can_be_resumed(saver: Checkpointer, durability: Durability) -> None:
    is_failing = True

    @entrypoint(checkpointer=saver)
    async def flaky(given: str, *, previous: str | None) -> str:
        if is_failing:
            raise ConnectionError
        return f"{previous}>{given}"

    with pytest.raises(ConnectionError):
        await flaky.ainvoke("in", THREAD, durability=durability)
    is_failing = False

    assert (await flaky.aget_state(THREAD)).next == ("flaky",)
    assert await flaky.ainvoke(None, THREAD, durability=durability) == "None>in"


async def test_a_failed_run_leaves_the_previous_value_unchanged(saver: Checkpointer) -> None:
    is_failing = False

    @entrypoint(checkpointer=saver)
    async def flaky(given: str, *, previous: str | None) -> str:
        if is_failing:
            raise ConnectionError
        return f"{previous}>{given}"

    await flaky.ainvoke("1", THREAD)
    is_failing = True
    with pytest.raises(ConnectionError):
        await flaky.ainvoke("2", THREAD)
    is_failing = False

    assert await flaky.ainvoke("3", THREAD) == "None>1>3"


async def test_a_generator_is_refused() -> None:
    with pytest.raises(GraphValidationError, check=of_kind("argument"), match="generator"):

        @entrypoint()
        async def generate(given: Any) -> Any:
            yield given


async def test_a_function_without_an_input_is_refused() -> None:
    async def nothing() -> None: ...

    function: Any = nothing
    with pytest.raises(GraphValidationError, check=of_kind("argument"), match="takes no positional parameter"):
        entrypoint()(function)


async def test_an_unstorable_result_is_refused_and_leaves_the_entrypoint_pending(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    async def odd(given: int) -> Any:
        return object()

    with pytest.raises(UnstorableValueError):
        await odd.ainvoke(1, THREAD)
    assert (await odd.aget_state(THREAD)).next == ("odd",)


async def test_an_update_as_an_unknown_node_is_refused(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    async def echo(given: Any) -> Any:
        return given

    await echo.ainvoke(1, THREAD)

    with pytest.raises((InvalidUpdateError, LookupError), match="'other'"):
        await echo.aupdate_state(THREAD, 2, as_node="other")


async def test_the_error_of_an_unstorable_result_names_the_entrypoint(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    async def flow(given: str) -> object:
        return object()

    with pytest.raises(UnstorableValueError, match=r"^a value of the entrypoint 'flow' is an object"):
        await flow.ainvoke("x", thread_id="t")


class Number(TypedDict):
    number: int


async def test_an_entrypoint_that_returns_updates_is_a_node_of_a_graph(saver: Checkpointer) -> None:
    calls: list[int] = []

    class Counter:
        async def note(self, number: int) -> int:
            calls.append(number)
            return number

    note = task(Counter().note)

    @entrypoint()
    async def add(state: Number) -> dict[str, int]:
        return {"number": await note(state["number"]) + interrupt("how many?")}

    graph = StateGraph(Number).add_node("add", add).add_edge(START, "add").compile(saver)
    await graph.ainvoke({"number": 1}, THREAD)

    assert await graph.ainvoke(Command(resume=2), THREAD) == {"number": 3}
    assert calls == [1]
