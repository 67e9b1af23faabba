"""`EphemeralValue`, `AnyValue` and `Topic`: transient values, which only the next superstep sees."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    AnyValue,
    Checkpointer,
    Command,
    ConcurrentUpdateError,
    Durability,
    EphemeralValue,
    GraphValidationError,
    LastValue,
    Overwrite,
    StateGraph,
    Topic,
    interrupt,
)
from durable_graph.records import ValueKind
from tests.errors.kinds import of_kind
from tests.graphs import Inputs, OnceError, chain_of, fails_once, fan_out_of
from tests.language.state.conftest import Reopen


class State(TypedDict, total=False):
    note: Annotated[str, EphemeralValue]
    notes: Annotated[str, EphemeralValue(str, guard=False)]
    any_of: Annotated[str, AnyValue]
    topic: Annotated[Sequence[str], Topic]
    log: Annotated[list[str], Topic(accumulate=True)]
    kept: Annotated[str, LastValue]


ALL: dict[str, Any] = {"note": "n", "notes": "n", "any_of": "a", "topic": "t", "log": "l", "kept": "k"}
GIVEN = {"note": "n", "notes": "n", "any_of": "a", "topic": ["t"], "log": ["l"], "kept": "k"}
LEFT = {"log": ["l"], "kept": "k"}


async def test_transient_values_of_an_input_are_visible_in_the_first_superstep_only(
    saver: Checkpointer, durability: Durability
) -> None:
    seen = Inputs()
    graph = chain_of(State, seen, ("a", {}), ("b", {})).compile(saver)

    result = await graph.ainvoke(ALL, thread_id="t", durability=durability)

    assert (seen.of("a"), seen.of("b"), result) == ([GIVEN], [LEFT], LEFT)


async def test_transient_values_of_a_node_are_visible_in_the_next_superstep_only(
    saver: Checkpointer, durability: Durability
) -> None:
    seen = Inputs()
    graph = chain_of(State, seen, ("a", ALL), ("b", {}), ("c", {})).compile(saver)

    result = await graph.ainvoke({"kept": "in"}, thread_id="t", durability=durability)

    assert (seen.of("b"), seen.of("c"), result) == ([GIVEN], [LEFT], LEFT)


async def test_transient_values_that_are_written_again_are_visible_again(saver: Checkpointer) -> None:
    seen = Inputs()
    anew = {"note": "new", "any_of": "new", "topic": ["new", "items"]}
    graph = chain_of(State, seen, ("a", ALL), ("b", anew), ("c", {})).compile(saver)

    await graph.ainvoke({"kept": "in"}, thread_id="t")

    assert seen.of("c") == [{**anew, **LEFT}]


async def test_of_several_writes_of_one_superstep_the_last_or_all_are_kept_or_they_are_refused(
    saver: Checkpointer,
) -> None:
    seen = Inputs()

    def writing(key: str) -> Any:
        return fan_out_of(State, seen, ("a", {key: "a"}), ("b", {key: "b"}), then=("end", {})).compile(saver)

    with pytest.raises(ConcurrentUpdateError, match="'note'"):
        await writing("note").ainvoke({"kept": ""}, thread_id="note")
    for key in ("notes", "any_of", "topic", "log"):
        await writing(key).ainvoke({}, thread_id=key)

    ends = [{key: value for key, value in given.items() if key in ALL} for given in seen.of("end")]
    assert ends == [{"notes": "b"}, {"any_of": "b"}, {"topic": ["a", "b"]}, {"log": ["a", "b"]}]


async def test_cleared_values_are_stored_as_absent(saver: Checkpointer, reopen: Reopen, durability: Durability) -> None:
    graph = chain_of(State, Inputs(), ("a", ALL), ("b", {}))
    await graph.compile(saver).ainvoke({"note": "in"}, thread_id="t", durability=durability)

    stored = await saver.load("t")

    assert stored is not None
    newest = {row.channel: row.kind for row in sorted(stored.values, key=lambda row: row.no)}
    assert {newest[key] for key in ("note", "notes", "any_of", "topic")} == {ValueKind.ABSENT}
    assert (await graph.compile(await reopen()).aget_state(thread_id="t")).values == LEFT


async def test_a_run_resumed_in_another_process_sees_the_transient_values_of_the_previous_superstep(
    saver: Checkpointer, reopen: Reopen, durability: Durability
) -> None:
    seen = Inputs()
    graph = chain_of(State, seen, ("a", ALL), ("b", fails_once({"log": ["b"]})), ("c", {}))
    with pytest.raises(OnceError):
        await graph.compile(saver).ainvoke({"kept": "in"}, thread_id="t", durability=durability)

    await graph.compile(await reopen()).ainvoke(None, thread_id="t")

    assert (seen.of("b"), seen.of("c")) == ([GIVEN, GIVEN], [{"kept": "k", "log": ["l", "b"]}])


async def test_transient_values_are_kept_while_their_superstep_is_interrupted(
    saver: Checkpointer, reopen: Reopen
) -> None:
    seen = Inputs()
    graph = chain_of(State, seen, ("a", ALL), ("ask", lambda _: {"log": interrupt("?")}), ("c", {}))
    await graph.compile(saver).ainvoke({"kept": "in"}, thread_id="t")

    await graph.compile(await reopen()).ainvoke(Command(resume="yes"), thread_id="t")

    assert (seen.of("ask"), seen.of("c")) == ([GIVEN, GIVEN], [{"kept": "k", "log": ["l", "yes"]}])


async def test_an_edit_counts_as_a_superstep(saver: Checkpointer) -> None:
    config = {"configurable": {"thread_id": "t"}}
    graph = chain_of(State, Inputs(), ("a", ALL)).compile(saver)
    await graph.ainvoke({"kept": "in"}, thread_id="t")

    before = (await graph.aget_state(config)).values
    await graph.aupdate_state(config, {"note": "edited"}, as_node="a")

    assert before == GIVEN
    assert (await graph.aget_state(config)).values == {"note": "edited", **LEFT}


async def test_new_input_is_a_superstep_of_its_own(saver: Checkpointer) -> None:
    seen = Inputs()
    graph = chain_of(State, seen, ("a", ALL)).compile(saver)

    await graph.ainvoke({"kept": "in"}, thread_id="t")
    await graph.ainvoke({"any_of": "in"}, thread_id="t")

    assert seen.of("a")[1] == {"any_of": "in", **LEFT}


async def test_a_topic_may_be_overwritten(saver: Checkpointer) -> None:
    nodes = ("a", {"kept": "a"}), ("b", {"topic": Overwrite(["b"]), "log": Overwrite(["b"])})
    seen = Inputs()
    await fan_out_of(State, seen, *nodes, then=("end", {})).compile(saver).ainvoke(ALL, thread_id="t")

    assert seen.of("end") == [{"topic": ["b"], "log": ["b"], "kept": "a"}]


async def test_writing_no_items_leaves_a_topic_without_value(saver: Checkpointer) -> None:
    graph = chain_of(State, Inputs(), ("a", {"topic": []}), ("b", {"log": []})).compile(saver)

    assert await graph.ainvoke({"topic": "in"}, thread_id="t") == {}


def test_a_topic_that_is_not_declared_as_a_list_is_refused_at_compile_time() -> None:
    class Wrong(TypedDict, total=False):
        topic: Annotated[dict[str, str], Topic]

    with pytest.raises(GraphValidationError, check=of_kind("graph"), match=r"Wrong\.topic: a Topic holds a list"):
        chain_of(Wrong, Inputs(), ("a", {})).compile()


@dataclass
class AsDataclass:
    note: Annotated[str | None, EphemeralValue] = None
    topic: Annotated[list[str], Topic] = field(default_factory=list)


async def test_a_dataclass_has_its_defaults_for_cleared_values(saver: Checkpointer) -> None:
    seen = Inputs()
    graph: StateGraph[Any] = chain_of(AsDataclass, seen, ("a", AsDataclass("n", ["t"])), ("b", {}), ("c", {}))

    await graph.compile(saver).ainvoke({}, thread_id="t")

    assert (seen.of("b"), seen.of("c")) == ([AsDataclass("n", ["t"])], [AsDataclass()])


class Mixed(TypedDict, total=False):
    note: Annotated[str, EphemeralValue]
    log: Annotated[list[str], operator.add]


async def test_new_input_does_not_clear_the_transient_value_of_a_finished_sibling(
    saver: Checkpointer,
) -> None:
    seen = Inputs()
    nodes = ("a", {"note": "of a"}), ("b", fails_once({"log": ["b"]}))
    graph = fan_out_of(Mixed, seen, *nodes, then=("end", {})).compile(saver)
    with pytest.raises(OnceError):
        await graph.ainvoke({"log": ["in"]}, thread_id="t")

    await graph.ainvoke({"log": ["again"]}, thread_id="t")

    assert seen.of("b")[1] == {"note": "of a", "log": ["in", "again"]}
