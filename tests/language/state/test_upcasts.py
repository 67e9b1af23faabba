"""A deployment changes the type of a key of existing threads: `compile(upcasts=...)` converts their stored values."""

import dataclasses
import operator
from enum import Enum
from typing import Annotated, Any, NamedTuple, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    Durability,
    GraphChangedError,
    GraphValidationError,
    InvalidOptionError,
    StateGraph,
    StoredType,
    Topic,
    add_messages,
    entrypoint,
    interrupt,
    task,
)
from tests.errors.kinds import of_kind
from tests.language.state.conftest import Reopen

THREAD: Any = {"configurable": {"thread_id": "t"}}


def state(declared: Any) -> Any:
    make: Any = TypedDict
    return make("State", {"value": declared, "log": Annotated[list[str], operator.add]}, total=False)


def builder(declared: Any, writes: Any = None) -> Any:
    """A graph whose node interrupts and then writes `writes`."""

    def ask(_: Any) -> Any:
        return {"log": [interrupt("?")], **({} if writes is None else {"value": writes})}

    graph = StateGraph(state(declared))
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    return graph


async def resumed(
    saver: Checkpointer,
    reopen: Reopen,
    before: Any,
    given: Any,
    after: Any,
    upcasts: Any,
    writes: Any = None,
    durability: Durability = "sync",
) -> Any:
    """The result of a thread that starts with the type `before` and is resumed with the type `after`."""
    await builder(before).compile(saver).ainvoke({"value": given}, thread_id="t")
    again = builder(after, writes).compile(await reopen(), upcasts=upcasts)
    return await again.ainvoke(Command(resume="yes"), thread_id="t", durability=durability)


@dataclasses.dataclass
class Line:
    text: str
    size: int


def line(text: str) -> Line:
    return Line(text, len(text))


async def test_a_value_of_an_older_type_goes_through_the_upcast(saver: Checkpointer, reopen: Reopen) -> None:
    result = await resumed(saver, reopen, int, 5, str, {"value": lambda older: f"{older} EUR"})

    assert result == {"value": "5 EUR", "log": ["yes"]}


async def test_each_stored_update_goes_through_the_upcast_separately(saver: Checkpointer, reopen: Reopen) -> None:
    given: list[Any] = []

    def lines(older: Any) -> list[Line]:
        given.append(older)
        return [line(text) for text in older]

    before = builder(Annotated[list[str], operator.add], ["b", "c"])
    await before.compile(saver).ainvoke({"value": ["a"]}, thread_id="t")
    await before.compile(saver).ainvoke(Command(resume="first"), thread_id="t")
    after = builder(Annotated[list[Line], operator.add], [line("d")]).compile(await reopen(), upcasts={"value": lines})
    await after.ainvoke({"value": [line("new")]}, thread_id="t")
    result = await after.ainvoke(Command(resume="second"), thread_id="t")

    assert [each.text for each in result["value"]] == ["a", "b", "c", "new", "d"]
    assert given[:2] == [["a"], ["b", "c"]]
    assert all(isinstance(each, list) and isinstance(each[0], str) for each in given)


List, Added, Collected = list[str], Annotated[list[str], operator.add], Annotated[list[str], Topic(accumulate=True)]
Dicts, Messages = Annotated[list[dict[str, str]], operator.add], Annotated[list[dict[str, str]], add_messages]
Merged, Text = Annotated[dict[str, int], operator.or_], Annotated[str, operator.add]
ONE, TWO = {"id": "m", "content": "one"}, {"id": "m", "content": "two"}


def keys(older: list[str]) -> dict[str, int]:
    return dict.fromkeys(older, 1)


def contents(older: list[dict[str, str]]) -> list[str]:
    return [each["content"] for each in older]


@pytest.mark.parametrize(
    ("before", "given", "after", "upcast", "wrote", "expected"),
    [
        (Added, ["a"], List, list, ["b"], ["b"]),
        (Added, ["a"], Collected, list, ["b"], ["a", "b"]),
        (Collected, ["a"], Added, list, ["b"], ["a", "b"]),
        (Collected, ["a"], Merged, keys, {"b": 2}, {"a": 1, "b": 2}),
        (Messages, [ONE], Added, contents, ["b"], ["one", "b"]),
        (Dicts, [ONE], Messages, list, [TWO], [TWO]),
    ],
)
async def test_the_value_under_a_former_rule_goes_through_the_upcast(
    saver: Checkpointer,
    reopen: Reopen,
    durability: Durability,
    before: Any,
    given: Any,
    after: Any,
    upcast: Any,
    wrote: Any,
    expected: Any,
) -> None:
    upcasts = {"value": upcast}
    result = await resumed(saver, reopen, before, given, after, upcasts, writes=wrote, durability=durability)
    assert result["value"] == expected

    # The value was written again with the new type: no upcast is needed any more.
    snapshot = await builder(after).compile(await reopen()).aget_state(THREAD)
    assert snapshot.values["value"] == expected


@pytest.mark.parametrize(
    ("before", "given", "after", "upcast", "wrote", "expected"),
    [
        (Added, ["a"], Text, "".join, "b", "ab"),
        (Added, ["a"], Merged, keys, {"b": 2}, {"a": 1, "b": 2}),
        (Merged, {"a": 1}, Added, list, ["b"], ["a", "b"]),
    ],
)
async def test_updates_of_another_type_under_the_same_rule_go_through_the_upcast(
    saver: Checkpointer, reopen: Reopen, before: Any, given: Any, after: Any, upcast: Any, wrote: Any, expected: Any
) -> None:
    upcasts = {"value": upcast}
    result = await resumed(saver, reopen, before, given, after, upcasts, writes=wrote)
    snapshot = await builder(after).compile(await reopen(), upcasts=upcasts).aget_state(THREAD)

    assert (result["value"], snapshot.values["value"]) == (expected, expected)


async def test_history_is_read_through_the_upcast_on_both_sides_of_a_changed_reducer(
    saver: Checkpointer, reopen: Reopen
) -> None:
    upcasts = {"value": keys}
    await resumed(saver, reopen, Collected, ["a"], Merged, upcasts, writes={"b": 2})
    graph = builder(Merged).compile(await reopen(), upcasts=upcasts)

    history = [snapshot.values["value"] async for snapshot in graph.aget_state_history(THREAD)]

    assert history == [{"a": 1, "b": 2}, {"a": 1}]


async def test_an_upcast_may_apply_to_the_values_of_one_older_type(saver: Checkpointer, reopen: Reopen) -> None:
    upcasts = {"value": {int: lambda euros: euros * 100.0}}

    assert (await resumed(saver, reopen, int, 5, float, upcasts))["value"] == 500.0
    # A value that was written with the current type is not converted.
    assert (await builder(float).compile(await reopen(), upcasts=upcasts).ainvoke({"value": 5.0}, thread_id="u"))[
        "value"
    ] == 5.0
    assert (
        await builder(float).compile(saver, upcasts=upcasts).aget_state({"configurable": {"thread_id": "u"}})
    ).values["value"] == 5.0


async def test_a_value_that_fits_the_current_type_is_not_passed_to_the_upcast(
    saver: Checkpointer, reopen: Reopen
) -> None:
    def upcast(older: Any) -> Any:
        raise AssertionError(older)

    assert (await resumed(saver, reopen, int, 5, int | str, {"value": upcast}))["value"] == 5


async def test_an_int_is_passed_to_the_upcast_of_a_key_whose_type_changed_to_float(
    saver: Checkpointer, reopen: Reopen
) -> None:
    upcasts = {"value": lambda cents: cents / 100}

    assert (await resumed(saver, reopen, int, 500, float, upcasts))["value"] == 5.0
    # A float was written after the change.
    graph = builder(float).compile(await reopen(), upcasts=upcasts)
    assert (await graph.ainvoke({"value": 7}, thread_id="u"))["value"] == 7.0
    again = builder(float).compile(await reopen(), upcasts=upcasts)
    assert (await again.aget_state({"configurable": {"thread_id": "u"}})).values["value"] == 7.0


class Mood(Enum):
    GOOD = 1


class Spot(NamedTuple):
    x: int


@dataclasses.dataclass(frozen=True)
class Key:
    name: str


@dataclasses.dataclass
class Whole:
    mood: Mood
    spot: Spot
    inner: list[Key]
    keyed: dict[Any, Any]
    kinds: set[Any]


async def test_an_upcast_receives_plain_data(saver: Checkpointer, reopen: Reopen) -> None:
    seen: list[Any] = []

    def upcast(older: Any) -> str:
        seen.append(older)
        return "read"

    value = Whole(Mood.GOOD, Spot(1), [Key("k")], {Key("a"): Key("b"), (1, 2): b"x"}, {Mood.GOOD, Key("c")})
    assert (await resumed(saver, reopen, Whole, value, str, {"value": upcast}))["value"] == "read"
    assert seen[0] == {
        "mood": "GOOD",
        "spot": {"x": 1},
        "inner": [{"name": "k"}],
        "keyed": {(("name", "a"),): {"name": "b"}, (1, 2): b"x"},
        "kinds": {"GOOD", (("name", "c"),)},
    }


def orders() -> tuple[Any, Any]:
    """Two versions of one class."""
    return _first(), _second()


def _first() -> Any:
    @dataclasses.dataclass
    class Order:
        price: str

    Order.__qualname__ = "Order"
    return Order


def _second() -> Any:
    @dataclasses.dataclass
    class Order:
        cents: int
        currency: str

    Order.__qualname__ = "Order"
    return Order


def priced(order: Any) -> Any:
    return lambda older: order(int(older["price"]) * 100, "EUR")


@pytest.mark.parametrize(
    ("wrap", "fill"),
    [
        (lambda cls: cls, lambda order: order),
        (list.__class_getitem__, lambda order: [order]),
        (lambda cls: dict.__class_getitem__((str, cls | None)), lambda order: {"k": order, "none": None}),
        (lambda cls: Any, lambda order: (order,)),
    ],
)
async def test_the_upcast_of_a_class_applies_at_any_depth_of_a_value(
    saver: Checkpointer, reopen: Reopen, wrap: Any, fill: Any
) -> None:
    before, after = orders()
    await builder(wrap(before)).compile(saver, types=[before]).ainvoke({"value": fill(before("5"))}, thread_id="t")
    graph = builder(wrap(after)).compile(await reopen(), types=[after], upcasts={after: priced(after)})

    assert (await graph.ainvoke(Command(resume="yes"), thread_id="t"))["value"] == fill(after(500, "EUR"))


async def test_a_renamed_class_is_read_by_its_former_tag(saver: Checkpointer, reopen: Reopen) -> None:
    before, after = orders()
    await builder(before).compile(saver).ainvoke({"value": before("5")}, thread_id="t")
    after.__qualname__ = "Purchase"

    with pytest.raises(GraphChangedError, check=of_kind("channel"), match=r"if it was renamed"):
        await builder(after).compile(await reopen()).aget_state(THREAD)
    graph = builder(after).compile(await reopen(), types=[("Order", after)], upcasts={after: priced(after)})
    assert (await graph.aget_state(THREAD)).values["value"] == after(500, "EUR")


async def test_the_value_of_an_interrupt_goes_through_the_upcast_of_its_class(
    saver: Checkpointer, reopen: Reopen
) -> None:
    before, after = orders()

    def asking(order: Any) -> Any:
        graph = StateGraph(state(str))
        graph.add_node("ask", lambda _: {"log": [interrupt(order)]})
        graph.add_edge(START, "ask")
        return graph

    await asking(before("5")).compile(saver, types=[before]).ainvoke({}, thread_id="t")
    graph = asking(None).compile(await reopen(), types=[after], upcasts={after: priced(after)})

    (asked,) = (await graph.aget_state(THREAD)).interrupts
    assert asked.value == after(500, "EUR")


async def test_a_parent_graph_reads_with_the_upcasts_of_its_nested_graph(saver: Checkpointer, reopen: Reopen) -> None:
    before, after = orders()

    def around(declared: Any, **options: Any) -> Any:
        inner = StateGraph(state(declared))
        inner.add_node("ask", lambda _: {"log": [interrupt(declared("5") if declared is before else None)]})
        inner.add_edge(START, "ask")
        graph = StateGraph(state(Any))
        graph.add_node("inner", inner.compile(**options))
        graph.add_edge(START, "inner")
        return graph

    await around(before).compile(saver).ainvoke({}, thread_id="t")
    graph = around(after, upcasts={after: priced(after)}).compile(await reopen())

    (asked,) = (await graph.aget_state(THREAD)).interrupts
    assert asked.value == after(500, "EUR")


async def test_the_result_of_a_task_goes_through_the_upcast_of_its_class(saver: Checkpointer, reopen: Reopen) -> None:
    before, after = orders()
    ran: list[Any] = []

    def workflow(checkpointer: Checkpointer, order: Any, **options: Any) -> Any:
        async def fetch() -> Any:
            ran.append(order)
            return order("5")

        fetch.__annotations__["return"] = order
        recorded = task(fetch)

        @entrypoint(checkpointer=checkpointer, types=[order], **options)
        async def main(given: Any) -> Any:
            return [await recorded(), interrupt("?")]

        return main

    await workflow(saver, before).ainvoke({}, thread_id="t")
    resumed = workflow(await reopen(), after, upcasts={after: priced(after)})

    assert await resumed.ainvoke(Command(resume="yes"), thread_id="t") == [after(500, "EUR"), "yes"]
    assert ran == [before]


def fail(older: Any) -> Any:
    raise KeyError("currency")


@pytest.mark.parametrize(
    ("upcast", "words"),
    [
        (fail, "its upcast raised KeyError\\('currency'\\)"),
        (lambda older: older, "what its upcast returned is int: str is declared"),
        (lambda older: None, "what its upcast returned is NoneType"),
    ],
)
async def test_a_failing_upcast_is_an_error_and_the_stored_value_is_kept(
    saver: Checkpointer, reopen: Reopen, upcast: Any, words: str
) -> None:
    with pytest.raises(GraphChangedError, check=of_kind("channel"), match=words) as refused:
        await resumed(saver, reopen, int, 5, str, {"value": upcast})

    assert len(str(refused.value)) <= 400
    assert (await builder(int).compile(await reopen()).aget_state(THREAD)).values["value"] == 5


@pytest.mark.parametrize(
    ("upcast", "words"),
    [
        (fail, "the upcast of .*Order raised KeyError\\('currency'\\)"),
        (dict, "the upcast of .*Order returned dict"),
    ],
)
async def test_a_failing_upcast_of_a_class_is_an_error(saver: Checkpointer, upcast: Any, words: str) -> None:
    before, after = orders()
    await builder(before).compile(saver).ainvoke({"value": before("5")}, thread_id="t")

    with pytest.raises(GraphChangedError, check=of_kind("channel"), match=words):
        await builder(after).compile(saver, upcasts={after: upcast}).aget_state(THREAD)
    wrong = {after: lambda older: after(older["price"], "EUR")}
    with pytest.raises(GraphChangedError, check=of_kind("channel"), match=r"has at \.cents str: int is declared"):
        await builder(after).compile(saver, upcasts=wrong).aget_state(THREAD)


@pytest.mark.parametrize(
    ("upcasts", "words"),
    [
        ({"values": str}, r"'values' is no stored channel; there are: log, value"),
        ({Key: str}, "no declared type names the class Key"),
        ({"value": {int: str}}, "'value' has one for values of the type that it is declared as today"),
        ({"value": {list: len, list[Any]: str}}, "two upcasts are for values of this type"),
    ],
)
def test_upcasts_that_do_not_match_the_graph_are_refused(upcasts: Any, words: str) -> None:
    with pytest.raises(GraphValidationError, check=of_kind("graph"), match=words):
        builder(int).compile(upcasts=upcasts)


@pytest.mark.parametrize("upcasts", [{"value": 5}, {"value": {int: 5}}, {5: str}, [("value", str)], {Key: {int: str}}])
def test_invalid_upcasts_are_refused(upcasts: Any) -> None:
    with pytest.raises(InvalidOptionError, match="upcasts"):
        builder(Key).compile(upcasts=upcasts)


@pytest.mark.parametrize("types", [[("durable_graph.Mine", Key)], [("", Key)], [(Key, "tag")], [("a", Key, 3)]])
def test_invalid_tags_are_refused(types: Any) -> None:
    with pytest.raises(InvalidOptionError, match="types"):
        builder(Key).compile(types=types)


@pytest.mark.parametrize("types", [5, Key, StoredType(complex, "complex", repr, complex)])
def test_types_that_are_not_a_list_are_refused(types: Any) -> None:
    with pytest.raises(InvalidOptionError, match="types="):
        builder(Key).compile(types=types)
