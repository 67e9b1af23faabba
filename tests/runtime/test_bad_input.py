"""Bad input raises an error that names the bad value and the remedy, and no data is lost."""

import asyncio
import operator
import pickle
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    ConcurrentUpdateError,
    DurableGraphError,
    InvalidInputError,
    InvalidNodeResultError,
    InvalidOptionError,
    InvalidUpdateError,
    MemorySaver,
    MissingCheckpointerError,
    NothingToResumeError,
    Send,
    StateGraph,
    StateKeyError,
    UnknownNameError,
    UnknownOptionError,
    UnstorableValueError,
    ValueTooLargeError,
)
from tests.errors.kinds import of_kind


class State(TypedDict, total=False):
    topic: str
    count: int
    log: Annotated[list[str], operator.add]
    anything: Any


def one_node(result: Any, route: Callable[[State], Any] | None = None) -> StateGraph[State]:
    async def node(state: State) -> Any:
        return result

    builder = StateGraph(State)
    builder.add_node("a", node)
    builder.add_edge(START, "a")
    if route is not None:
        builder.add_conditional_edges("a", route)
    return builder


async def refused(
    saver: Checkpointer, builder: StateGraph[State], error: type[DurableGraphError], kind: str | None = None
) -> Any:
    """The error of a run that leaves its thread at the input, resumable and readable."""
    graph = builder.compile(saver)
    with pytest.raises(error, check=of_kind(kind)) as raised:
        await graph.ainvoke({"topic": "tea"}, thread_id="t")
    snapshot = await graph.aget_state(thread_id="t")
    assert snapshot.values["topic"] == "tea"
    assert snapshot.next == ("a",)
    return raised.value


async def test_an_unknown_key_in_the_result_of_a_node_is_named_with_the_known_keys(saver: Checkpointer) -> None:
    error = await refused(saver, one_node({"topci": "x"}), StateKeyError, "unknown")

    assert (error.key, error.where) == ("topci", "the result of node 'a'")
    assert error.known == ("anything", "count", "log", "topic")
    assert "'topci'" in str(error)
    assert isinstance(error, InvalidUpdateError)


async def test_an_unknown_key_in_the_input_is_refused_and_nothing_is_stored(saver: Checkpointer) -> None:
    graph = one_node(None).compile(saver)

    with pytest.raises(StateKeyError, check=of_kind("unknown"), match="the input has the key 'tpic'"):
        await graph.ainvoke({"tpic": "x"}, thread_id="t")

    assert await saver.load("t") is None


async def test_the_error_for_two_writes_to_a_channel_without_reducer_names_both_nodes_and_the_remedy(
    saver: Checkpointer,
) -> None:
    calls: Counter[str] = Counter()

    async def node(state: State) -> State:
        calls["node"] += 1
        return {"count": 1}

    builder = StateGraph(State)
    for name in "ab":
        builder.add_node(name, node)
        builder.add_edge(START, name)
    graph = builder.compile(saver)

    with pytest.raises(ConcurrentUpdateError, match=r"'count'.*from: a, b; declare it as Annotated") as raised:
        await graph.ainvoke({}, thread_id="t")
    assert (raised.value.channel, raised.value.nodes) == ("count", ("a", "b"))

    # Results that cannot be merged do not block new input.
    with pytest.raises(ConcurrentUpdateError):
        await graph.ainvoke({}, thread_id="t")
    assert calls["node"] == 4


@pytest.mark.parametrize("result", [5, "text", [1], ("topic", "x"), object])
async def test_a_result_of_the_wrong_kind_is_refused(saver: Checkpointer, result: Any) -> None:
    error = await refused(saver, one_node(result), InvalidNodeResultError, "update")

    assert "node 'a' returned" in str(error)
    assert "a dict of updates to State" in str(error)


@pytest.mark.parametrize("given", [5, "text", ["topic"], object()])
async def test_an_input_of_the_wrong_kind_is_refused(saver: Checkpointer, given: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"the input is an? .*; it has to be a dict of State's keys"):
        await one_node(None).compile(saver).ainvoke(given, thread_id="t")


async def test_a_value_of_the_wrong_type_fails_the_node_that_returned_it(saver: Checkpointer) -> None:
    error = await refused(saver, one_node({"log": ["fine", 5]}), UnstorableValueError)

    assert "log" in error.channel
    assert "[1]" in error.path
    assert error.type_name == "int"
    assert error.remedy


async def test_a_value_that_cannot_be_stored_fails_its_node_and_the_results_of_siblings_are_kept(
    saver: Checkpointer,
) -> None:
    """LangGraph: six more nodes ran before the error, and with `exit` everything was lost."""
    calls: Counter[str] = Counter()
    recorded = asyncio.Event()

    async def good(state: State) -> State:
        calls["good"] += 1
        return {"log": ["good"]}

    async def bad(state: State) -> State:
        calls["bad"] += 1
        await recorded.wait()
        return {"anything": lambda: None}

    builder = StateGraph(State)
    builder.add_node("good", good)
    builder.add_node("bad", bad)
    builder.add_edge(START, "good")
    builder.add_edge(START, "bad")
    graph = builder.compile(saver)

    async def release() -> None:
        # The store emits no event for a record of another run.
        while not any(task.result for task in (await graph.aget_state(thread_id="t")).tasks):  # noqa: ASYNC110  # as said
            await asyncio.sleep(0)
        recorded.set()

    watching = asyncio.create_task(release())
    with pytest.raises(UnstorableValueError, match="function") as raised:
        await graph.ainvoke({}, thread_id="t")
    await watching

    assert any("node 'bad'" in note for note in raised.value.__notes__)
    assert (await graph.aget_state(thread_id="t")).next == ("bad",)
    with pytest.raises(UnstorableValueError):
        await graph.ainvoke(None, thread_id="t")
    assert calls == {"good": 1, "bad": 2}


async def test_a_decimal_may_be_written_to_a_channel_of_type_any(saver: Checkpointer) -> None:
    builder = one_node({"anything": Decimal("1.50")})

    assert (await builder.compile(saver).ainvoke({}, thread_id="t"))["anything"] == Decimal("1.50")


async def test_the_error_for_a_value_above_the_limit_names_its_channel_and_the_limit() -> None:
    saver = MemorySaver(max_value_bytes=100)
    graph = one_node({"topic": "x" * 1000}).compile(saver)

    with pytest.raises(ValueTooLargeError, match=r"'topic'.*limit is 100.*keep a reference") as raised:
        await graph.ainvoke({}, thread_id="t")
    assert raised.value.size > 1000

    with pytest.raises(ValueTooLargeError, match="'topic'"):
        await graph.ainvoke({"topic": "y" * 1000}, thread_id="other")
    assert await saver.load("other") is None


# Routers


async def test_an_unknown_node_chosen_by_a_router_is_an_error_that_lists_the_nodes(saver: Checkpointer) -> None:
    error = await refused(saver, one_node(None, lambda _: "wrte"), UnknownNameError, "route")

    assert error.name == "wrte"
    assert error.known == ("a",)
    assert "of node 'a' chose 'wrte'; the graph has: a" in str(error)


async def test_a_choice_that_is_missing_in_the_path_map_is_an_error_that_lists_the_known_choices(
    saver: Checkpointer,
) -> None:
    builder = one_node(None)
    builder.add_conditional_edges("a", lambda _: "maybe", {"yes": "a", "no": "__end__"})

    error = await refused(saver, builder, UnknownNameError, "route")

    assert error.known == ("no", "yes")


async def test_a_send_to_an_unknown_node_is_an_error(saver: Checkpointer) -> None:
    error = await refused(saver, one_node(None, lambda _: [Send("wrk", 1)]), UnknownNameError, "send")

    assert error.name == "wrk"


@pytest.mark.parametrize("target", [["wrk"], {"node": "wrk"}, {"wrk"}])
async def test_a_send_to_a_target_that_is_no_string_is_an_error(saver: Checkpointer, target: Any) -> None:
    error = await refused(saver, one_node(None, lambda _: [Send(target, 1)]), UnknownNameError, "send")

    assert error.name == target


@pytest.mark.parametrize("target", [["a"], {"node": "a"}])
async def test_an_update_as_a_node_that_is_no_string_is_an_error(saver: Checkpointer, target: Any) -> None:
    graph = one_node(None).compile(saver)
    await graph.ainvoke({}, thread_id="t")

    with pytest.raises(UnknownNameError, check=of_kind("node")):
        await graph.aupdate_state({"configurable": {"thread_id": "t"}}, {}, as_node=target)


async def test_a_send_argument_that_cannot_be_stored_is_an_error_of_the_router(saver: Checkpointer) -> None:
    error = await refused(saver, one_node(None, lambda _: [Send("a", print)]), UnstorableValueError)

    assert "Send" in error.channel


@pytest.mark.parametrize("choice", [None, 5, {"a": 1}, [["a"]]])
async def test_a_router_result_that_is_no_choice_is_an_error(saver: Checkpointer, choice: Any) -> None:
    await refused(saver, one_node(None, lambda _: choice), InvalidNodeResultError, "route")


# The call


async def test_a_thread_id_is_required_with_a_checkpointer(saver: Checkpointer) -> None:
    graph = one_node(None).compile(saver)

    for call in (graph.ainvoke({}), graph.ainvoke({}, {"configurable": {}}), graph.aget_state({})):
        with pytest.raises(InvalidOptionError, check=of_kind("missing"), match=r"thread_id='...'"):
            await call


async def test_resuming_and_forking_without_a_checkpointer_are_refused() -> None:
    graph = one_node(None).compile()

    with pytest.raises(NothingToResumeError, match="no checkpointer"):
        await graph.ainvoke(None)
    with pytest.raises(MissingCheckpointerError, match="checkpoint_id needs a checkpointer"):
        await graph.ainvoke({}, checkpoint_id="0000000000000001")


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"configurabel": {}}, "'configurabel'"),
        ({"callbacks": [print]}, r"graph\.stream"),
        ({"thread_id": "t"}, r"config\['configurable'\]"),
        ({"configurable": {"thread_id": "t", "checkpoint_map": {}}}, "'checkpoint_map'"),
        ({"configurable": {"thread_id": "t", "__pregel_resuming": True}}, "'__pregel_resuming'"),
    ],
)
async def test_an_unknown_config_key_is_refused_with_a_remedy(
    saver: Checkpointer, config: dict[str, Any], named: str
) -> None:
    with pytest.raises(UnknownOptionError, check=of_kind("config"), match=named):
        await one_node(None).compile(saver).ainvoke({}, config)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"durability": "full"}, "'sync' or 'async' or 'exit'"),
        ({"if_unfinished": "drop"}, "'supersede' or 'resume' or 'reject'"),
        ({"if_busy": "queue"}, "'reject' or 'wait'"),
        ({"recursion_limit": 0}, "recursion_limit=0"),
        ({"recursion_limit": True}, "recursion_limit=True"),
        ({"max_concurrency": -1}, "max_concurrency=-1"),
        ({"config": "t"}, "config='t'"),
        ({"config": {"configurable": []}}, "configurable"),
        ({"config": {"metadata": {"a": [1]}}}, "metadata"),
        ({"config": {"metadata": {"a": 2**70}}}, "64 bits"),
        ({"config": {"metadata": {"step": 1}}}, "which the library sets"),
        ({"config": {"configurable": {"checkpoint_ns": "sub"}}}, "checkpoint_ns"),
        ({"config": {"configurable": {"checkpoint_ns": 1}}}, "checkpoint_ns=1"),
        ({"interrupt_before": "node"}, "interrupt_before='node'.*a list of nodes' names"),
        ({"interrupt_after": ["a", "b"]}, "interrupt_after='b'.*a node of the graph: a"),
        ({"control": "drain"}, "control='drain'.*a RunControl"),
        ({"thread_id": ""}, "thread_id=''"),
        ({"thread_id": "x" * 256}, "255 bytes"),
        ({"thread_id": "a\nb"}, "control characters"),
        ({"thread_id": "\ud800"}, "255 bytes of text"),
        ({"thread_id": 1 << 5_000}, "255 bytes"),
        ({"thread_id": 1 << 50_000}, "255 bytes"),
        ({"thread_id": 1.5}, "a str, an int or a UUID"),
    ],
)
async def test_an_invalid_option_value_is_refused_with_the_allowed_values(
    saver: Checkpointer, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidOptionError, match=named):
        await one_node(None).compile(saver).ainvoke({}, **{"thread_id": "t", **options})
    assert await saver.load("t") is None


async def test_an_unknown_option_is_refused_with_the_known_options(saver: Checkpointer) -> None:
    options: dict[str, Any] = {"thread_id": "t", "durabillity": "exit"}
    graph = one_node(None).compile(saver)

    with pytest.raises(TypeError, match=r"'durabillity'; it takes: .*durability"):
        await graph.ainvoke({}, **options)
    assert await saver.load("t") is None


async def test_a_namespace_needs_a_checkpointer() -> None:
    with pytest.raises(MissingCheckpointerError, match="checkpoint_ns needs a checkpointer"):
        await one_node(None).compile().ainvoke({}, {"configurable": {"checkpoint_ns": "sub"}})


async def test_clearing_the_cache_of_a_graph_without_a_cache_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match=r"compile\(cache=...\)"):
        await one_node(None).compile().aclear_cache()


async def test_the_config_and_a_keyword_may_agree_but_not_differ(saver: Checkpointer) -> None:
    graph = one_node(None).compile(saver)
    config = {"configurable": {"thread_id": "t"}, "recursion_limit": 7}

    await graph.ainvoke({}, config, thread_id="t", recursion_limit=7)
    with pytest.raises(
        InvalidOptionError, check=of_kind("contradiction"), match="thread_id is 'u' as keyword and 't' in the config"
    ):
        await graph.ainvoke({}, config, thread_id="u")
    with pytest.raises(InvalidOptionError, check=of_kind("contradiction"), match="recursion_limit"):
        await graph.ainvoke({}, config, recursion_limit=8)


async def test_a_checkpointer_that_is_no_saver_is_refused() -> None:
    wrong: Any = "runs.db"

    with pytest.raises(InvalidOptionError, match=r"SqliteSaver\('runs.db'\)"):
        one_node(None).compile(wrong)


def test_errors_survive_pickling_between_processes() -> None:
    """A pool that cannot unpickle an error hangs."""
    errors = [
        StateKeyError.of_unknown("k", where="the input", known=["a"]),
        ConcurrentUpdateError("c", nodes=["a", "b"]),
        UnstorableValueError(channel="c", path="[1]", type_name="set", why="w", remedy="r"),
        InvalidOptionError.of_contradiction("o", keyword=1, config=2),
        InvalidOptionError.of_missing_thread_id(),
    ]

    for error in errors:
        back = pickle.loads(pickle.dumps(error))  # noqa: S301  # what a process pool does
        assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))
