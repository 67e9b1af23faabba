"""A key with a reducer that may also be None: `Annotated[<type>, <reducer>] | None`."""

import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import Checkpointer, Command, InvalidStateValueError, Overwrite, interrupt
from tests.errors.kinds import of_kind
from tests.graphs import Inputs, chain_of, fan_out_of
from tests.language.state.conftest import Reopen


def joined(value: list[str], write: list[str]) -> list[str]:
    return [*value, *write]


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add] | None


class OfOwn(TypedDict, total=False):
    log: Annotated[list[str], joined] | None


class Always(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


STATES = [State, OfOwn]


def ask(state: Any) -> dict[str, Any]:
    return {"log": [interrupt("what next?")]}


@pytest.mark.parametrize("state", STATES)
async def test_writes_are_merged_also_in_another_process(saver: Checkpointer, reopen: Reopen, state: Any) -> None:
    def graph(saver: Checkpointer) -> Any:
        return chain_of(state, Inputs(), ("a", {"log": ["a"]}), ("b", ask)).compile(saver)

    await graph(saver).ainvoke({"log": ["input"]}, thread_id="t")
    result = await graph(await reopen()).ainvoke(Command(resume="answer"), thread_id="t")

    assert result == {"log": ["input", "a", "answer"]}


@pytest.mark.parametrize("state", STATES)
async def test_none_is_replaced_by_the_first_value_that_is_written(saver: Checkpointer, state: Any) -> None:
    seen = Inputs()
    graph = fan_out_of(state, seen, ("a", {"log": None}), ("b", {"log": ["b"]}), then=("end", {"log": ["end"]}))

    assert await graph.compile(saver).ainvoke({"log": None}, thread_id="t") == {"log": ["b", "end"]}
    assert seen.of("a") == [{"log": None}]
    assert seen.of("end") == [{"log": ["b"]}]


@pytest.mark.parametrize("state", STATES)
async def test_none_in_place_of_a_value_is_refused_with_the_remedy_overwrite_none(
    saver: Checkpointer, state: Any
) -> None:
    refused = chain_of(state, Inputs(), ("a", {"log": None})).compile(saver)
    dropped = chain_of(state, Inputs(), ("a", {"log": Overwrite(None)}), ("b", {"log": ["b"]})).compile(saver)

    with pytest.raises(InvalidStateValueError, check=of_kind("rule"), match=r"write Overwrite\(None\) to replace"):
        await refused.ainvoke({"log": ["input"]}, thread_id="t")

    assert await dropped.ainvoke({"log": ["input"]}, thread_id="other") == {"log": ["b"]}


@pytest.mark.parametrize(("before", "after"), [(Always, State), (State, Always)])
async def test_a_deployment_may_add_none_to_the_type_of_a_key_or_remove_it(
    saver: Checkpointer, reopen: Reopen, before: Any, after: Any
) -> None:
    await (
        chain_of(before, Inputs(), ("a", {"log": ["a"]}), ("b", {"log": ["b"]}))
        .compile(saver)
        .ainvoke({"log": ["input"]}, thread_id="t")
    )
    graph = chain_of(after, Inputs(), ("a", {"log": ["c"]})).compile(await reopen())

    assert (await graph.ainvoke({}, thread_id="t"))["log"] == ["input", "a", "b", "c"]
