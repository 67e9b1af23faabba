"""The channels of a graph change between two runs of a thread: an added key starts empty, a removed key is kept and
reported, and a change that would misread stored values is refused."""

import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    Checkpointer,
    Command,
    Durability,
    EphemeralValue,
    GraphChangedError,
    LastValue,
    Overwrite,
    RemainingSteps,
    Topic,
    UntrackedValue,
    add_messages,
    interrupt,
)
from tests.errors.kinds import of_kind
from tests.graphs import Inputs, chain_of
from tests.language.state.conftest import Reopen

CONFIG = {"configurable": {"thread_id": "t"}}
A = {"id": "a", "content": "one"}


def with_key(declared: Any, key: str = "value") -> Any:
    """A state with a log and one key of this type."""
    fields: Any = {"log": Annotated[list[str], operator.add], key: declared}
    make: Any = TypedDict
    return make("State", fields, total=False)


def asking(schema: Any, seen: Inputs) -> Any:
    """A graph that interrupts once."""
    return chain_of(schema, seen, ("ask", lambda _: {"log": [interrupt("?")]}))


async def changed(saver: Checkpointer, reopen: Reopen, before: Any, given: Any, after: Any, key: str = "value") -> Any:
    """The input of a node that is interrupted with a key of the type `before` and resumed with the type `after`."""
    await asking(with_key(before, key), Inputs()).compile(saver).ainvoke({key: given}, thread_id="t")
    seen = Inputs()
    await asking(with_key(after), seen).compile(await reopen()).ainvoke(Command(resume="yes"), thread_id="t")
    return seen.of("ask")[-1]


List, Added = list[dict[str, str]], Annotated[list[dict[str, str]], operator.add]
Merged, Collected = (
    Annotated[list[dict[str, str]], add_messages],
    Annotated[list[dict[str, str]], Topic(accumulate=True)],
)


@pytest.mark.parametrize(
    ("before", "given", "after"),
    [
        (str, "text", int),
        (Added, [A], list[int]),
        (Added, [A], Annotated[dict[str, str], operator.or_]),
        (Added, [A], List),
        (Added, [A], Merged),
        (Added, [A], Collected),
        (Merged, [A], Added),
        (Merged, [A], Collected),
        (Collected, [A], Added),
        (Collected, [A], Merged),
        (Collected, [A], Annotated[list[dict[str, str]], Topic]),
    ],
)
async def test_a_change_that_would_misread_stored_values_is_refused_and_loses_nothing(
    saver: Checkpointer, reopen: Reopen, before: Any, given: Any, after: Any
) -> None:
    with pytest.raises(
        GraphChangedError, check=of_kind("channel"), match=r"'value'.*declare it as it was.* or give .* another name"
    ) as raised:
        await changed(saver, reopen, before, given, after)

    assert raised.value.name == "value"
    again = asking(with_key(before), Inputs()).compile(saver)
    result = await again.ainvoke(Command(resume="yes"), thread_id="t")
    assert (result["log"], result["value"]) == (["yes"], given)


@pytest.mark.parametrize(
    ("before", "given", "after"),
    [
        (str, "text", Annotated[str, LastValue]),
        (str, "text", Annotated[str, max]),
        (str, "text", str | None),
        (str, "text", Any),
        (Annotated[str, EphemeralValue], "text", str),
        (str, "text", Annotated[str, EphemeralValue]),
        (List, [A], Added),
        (List, [A], Merged),
        (Added, Overwrite([A]), Merged),
    ],
)
async def test_a_thread_continues_after_a_compatible_change_of_a_type(
    saver: Checkpointer, reopen: Reopen, before: Any, given: Any, after: Any
) -> None:
    value = given.value if isinstance(given, Overwrite) else given

    assert (await changed(saver, reopen, before, given, after))["value"] == value


@pytest.mark.parametrize(
    "added", [Annotated[list[str], operator.add], Annotated[list[Any], add_messages], Annotated[int, max]]
)
async def test_an_added_key_starts_as_in_a_new_thread(saver: Checkpointer, reopen: Reopen, added: Any) -> None:
    received = await changed(saver, reopen, str, "text", added, key="other")

    assert received == {"log": [], "value": [] if added != Annotated[int, max] else 0}


@pytest.mark.parametrize("without", [Annotated[str, UntrackedValue], RemainingSteps])
async def test_the_value_of_a_key_that_is_no_longer_stored_is_kept_and_the_key_is_reported(
    saver: Checkpointer, reopen: Reopen, without: Any, durability: Durability
) -> None:
    stored = asking(with_key(str), Inputs())
    await stored.compile(saver).ainvoke({"value": "text"}, thread_id="t", durability=durability)
    graph = asking(with_key(without), Inputs()).compile(await reopen())

    before = await graph.aget_state(CONFIG)
    result = await graph.ainvoke(Command(resume="yes"), thread_id="t")

    assert (before.unknown_channels, "value" in before.values) == (("value",), False)
    assert result == {"log": ["yes"]}
    assert (await stored.compile(await reopen()).aget_state(CONFIG)).values["value"] == "text"


async def test_the_value_of_a_removed_key_is_kept_and_the_key_is_reported(saver: Checkpointer, reopen: Reopen) -> None:
    await changed(saver, reopen, Added, [A], str, key="old")
    graph = asking(with_key(str), Inputs()).compile(await reopen())

    assert (await graph.aget_state(CONFIG)).unknown_channels == ("old",)
    assert (await asking(with_key(Added, "old"), Inputs()).compile(saver).aget_state(CONFIG)).values["old"] == [A]


async def test_a_removed_key_without_a_value_is_not_reported(saver: Checkpointer, reopen: Reopen) -> None:
    cleared = chain_of(with_key(Annotated[str, EphemeralValue]), Inputs(), ("a", {}))
    await cleared.compile(saver).ainvoke({"value": "text"}, thread_id="t")

    graph = chain_of(with_key(str, "other"), Inputs(), ("a", {})).compile(await reopen())

    assert (await graph.aget_state(CONFIG)).unknown_channels == ()
