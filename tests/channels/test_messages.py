"""Messages that are dicts or objects of the user: identified by their ids, whatever their class."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph import REMOVE_ALL_MESSAGES, RemoveMessage, add_messages
from durable_graph.channels import MISSING, Messages, UpdateRefused, libraries

A, B, C = ({"id": id_, "content": id_} for id_ in "abc")
RULE = Messages(list[Any])


@pytest.fixture(autouse=True)
def no_library() -> Iterator[None]:
    """As in a graph that is compiled with `messages="dict"`."""
    using = libraries.current.set(None)
    yield
    libraries.current.reset(using)


def ids() -> Callable[[], str]:
    """Ids that a test can name."""
    numbers: Iterator[int] = count(1)
    return lambda: f"id-{next(numbers)}"


# Merging


def test_a_message_with_a_known_id_replaces_that_message() -> None:
    new = {"id": "a", "content": "new"}

    assert add_messages([A, B], [new, C]) == [new, B, C]


def test_a_single_message_may_be_written_without_a_list() -> None:
    assert add_messages(A, B) == [A, B]
    assert add_messages([], (A, B)) == [A, B]


def test_equal_messages_without_id_are_all_kept() -> None:
    anonymous = {"content": "hi"}

    assert add_messages([anonymous], [anonymous]) == [anonymous, anonymous]


def test_a_message_is_removed_by_its_id() -> None:
    assert add_messages([A, B, C], [RemoveMessage("b")]) == [A, C]
    assert add_messages([A, B, C], [RemoveMessage("a"), RemoveMessage("c")]) == [B]


@pytest.mark.parametrize("removal", [{"role": "remove", "id": "b"}, {"type": "remove", "id": "b"}])
def test_a_removal_may_be_a_dict(removal: dict[str, str]) -> None:
    assert add_messages([A, B], [removal]) == [A]


def test_a_removal_may_be_an_object_of_another_library() -> None:
    class Removal:
        id = "b"
        type = "remove"

    assert add_messages([A, B], [Removal()]) == [A]


def test_the_removal_of_an_unknown_message_is_an_error() -> None:
    with pytest.raises(ValueError, match="no message with the id 'x'"):
        add_messages([A], [RemoveMessage("x")])


def test_two_nodes_may_remove_the_same_message_in_one_superstep() -> None:
    assert RULE.merge([A, B], [[RemoveMessage("a")], [RemoveMessage("a")]]) == [B]
    assert RULE.merge([A, B], [[RemoveMessage(REMOVE_ALL_MESSAGES)], [RemoveMessage("a")]]) == []


def test_a_message_that_was_removed_and_added_again_is_last() -> None:
    assert add_messages([A, B], [RemoveMessage("a"), A]) == [B, A]


def test_a_removal_of_all_messages_removes_the_messages_before_it() -> None:
    assert add_messages([A, B], [C, RemoveMessage(REMOVE_ALL_MESSAGES), B]) == [B]


def test_merging_messages_does_not_change_the_current_list() -> None:
    before = [A, B]

    after = RULE.merge(before, [[RemoveMessage("a"), {"id": "b", "content": "new"}]])

    assert (before, after) == ([A, B], [{"id": "b", "content": "new"}])


_ANY_WRITE = st.lists(
    st.one_of(
        st.builds(lambda id_, no: {"id": id_, "no": no}, st.sampled_from("abcd"), st.integers(0, 99)),
        st.sampled_from("abcd").map(RemoveMessage),
        st.just(RemoveMessage(REMOVE_ALL_MESSAGES)),
    ),
    max_size=4,
)


@given(st.lists(_ANY_WRITE, max_size=6))
def test_merging_messages_superstep_by_superstep_equals_merging_them_at_once(writes: list[list[Any]]) -> None:
    """The writes are stored, and a load merges them all at once."""
    value: Any = RULE.initial()
    for write in writes:
        value = RULE.merge(value, [write])

    assert RULE.merge(RULE.initial(), writes) == value
    assert len({message["id"] for message in value}) == len(value)


# Ids


@dataclass
class Data:
    content: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Frozen:
    content: str
    id: str | None = None


@dataclass
class Unasked:
    content: str
    id: str | None = field(default=None, init=False)


class Struct(msgspec.Struct, frozen=True):
    content: str
    id: str | None = None


class Model(pydantic.BaseModel, frozen=True):
    content: str
    id: str | None = None


class Plain:
    def __init__(self, content: str) -> None:
        self.content = content
        self.id: str | None = None


class OfDict(dict[str, Any]):
    """A subclass of dict."""


@pytest.mark.parametrize("cls", [Data, Frozen, Unasked, Struct, Model, Plain])
def test_a_message_without_id_is_written_with_a_new_id_and_the_callers_object_is_unchanged(cls: Any) -> None:
    given = cls(content="hi")

    (written,) = RULE.prepare([given], ids())

    assert (type(written), written.id, written.content) == (cls, "id-1", "hi")
    assert given.id is None


@pytest.mark.parametrize("cls", [dict, OfDict])
def test_a_dict_without_id_is_copied(cls: Any) -> None:
    given = cls(content="hi")

    (written,) = RULE.prepare(given, ids())

    assert (type(written), written) == (cls, {"content": "hi", "id": "id-1"})
    assert given == {"content": "hi"}


def test_a_message_with_an_id_is_written_as_it_is() -> None:
    data = Data("hi", "mine")

    assert [written is given for written, given in zip(RULE.prepare([A, data], ids()), [A, data], strict=True)] == [
        True,
        True,
    ]


def test_every_message_without_id_gets_an_id_of_its_own() -> None:
    assert [each["id"] for each in RULE.prepare([{"n": 1}, A, {"n": 2}], ids())] == ["id-1", "a", "id-2"]


def test_a_whole_list_is_written_with_ids_and_without_duplicates() -> None:
    assert RULE.prepare_whole([{"n": 1}, A, A], ids()) == [{"n": 1, "id": "id-1"}, A]


# Invalid messages


class Pair(NamedTuple):
    content: str
    id: str | None = None


@pytest.mark.parametrize("message", ["hi", ("user", "hi"), 3, None])
def test_an_invalid_message_is_refused_with_an_example_of_a_valid_one(message: Any) -> None:
    with pytest.raises(UpdateRefused, match=r'write a dict like \{"role": "user"'):
        RULE.prepare([message], ids())


def test_a_message_that_no_id_can_be_set_on_is_refused() -> None:
    with pytest.raises(UpdateRefused, match="set an id when you create the message"):
        RULE.prepare([Pair("hi")], ids())


@pytest.mark.parametrize("id_", [["a"], 1.5, b"a"])
def test_an_id_that_is_no_string_is_refused(id_: Any) -> None:
    with pytest.raises(UpdateRefused, match="a message's id has to be a str"):
        RULE.prepare([{"id": id_}], ids())


def test_a_removal_without_id_is_refused() -> None:
    with pytest.raises(UpdateRefused, match="needs the id of the message"):
        RULE.prepare([{"role": "remove"}], ids())


def test_only_a_removal_is_checked_for_the_message_that_it_removes() -> None:
    assert [RULE.is_checked(update) for update in ([], [A], [A, RemoveMessage("a")])] == [False, False, True]
    RULE.check([A], [RemoveMessage("a")])
    RULE.check(MISSING, [A, RemoveMessage("a")])
    with pytest.raises(UpdateRefused, match="no message with the id 'b'"):
        RULE.check([A], [RemoveMessage("b")])


def test_a_long_message_is_shortened_in_the_error() -> None:
    with pytest.raises(UpdateRefused) as raised:
        RULE.prepare(["x" * 1000], ids())

    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("declared", "update"),
    [
        (list[Data], list[Data | RemoveMessage]),
        (list[Data | Struct], list[Data | Struct | RemoveMessage]),
        (list[Any], list[Any]),
        (list, list[Any]),
    ],
)
def test_the_type_of_an_update_is_a_list_of_the_items_and_removals(declared: Any, update: Any) -> None:
    rule = Messages(declared)

    assert rule.update_type == update
    assert rule.stores_updates


def test_a_messages_channel_without_a_value_is_an_empty_list() -> None:
    assert RULE.merge(MISSING, [[A]]) == [A]
    assert RULE.initial() == []
