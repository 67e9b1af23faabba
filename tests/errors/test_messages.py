"""Messages of errors stay short and readable with any content; the facts of errors are never truncated."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.errors import (
    ConcurrentUpdateError,
    DurableGraphError,
    GraphValidationError,
    InvalidOptionError,
    ReducerError,
    StateKeyError,
    UnknownNameError,
)
from durable_graph.errors.shown import add_note, read_back, shown
from durable_graph.errors.tree import MAX_TEXT, bounded, listed, names, quoted
from tests.errors.hostile import LONG, Maker, makers


@pytest.mark.parametrize("maker", makers(), ids=str)
def test_no_message_is_longer_than_400_characters(maker: Maker) -> None:
    error = maker()

    assert 0 < len(str(error)) <= MAX_TEXT == 400
    assert all(len(str(each)) <= MAX_TEXT for each in error.args)
    assert str(error).encode("utf-8")


WORDS = {
    "text",
    "result",
    "value",
    "expected",
    "whose",
    "can_wait",
    "is_droppable",
}
"""Parameters that are only words of the message. Of a result and of an input, the class alone is a fact."""


@pytest.mark.parametrize("maker", makers(), ids=str)
def test_the_facts_of_an_error_are_not_truncated(maker: Maker) -> None:
    held = vars(maker())

    for name, given_value in maker.facts.items():
        expected: Any = tuple(given_value) if isinstance(given_value, list) else given_value
        if name in held:
            assert held[name] == expected, name
        elif name not in WORDS:
            # Another kind of the class names this fact differently.
            assert any(holds(each, expected) for each in held.values()), name


def holds(fact: Any, value: Any) -> bool:
    """Whether the fact is the value, or has it as a part."""
    if isinstance(fact, str) and isinstance(value, str):
        return value in fact or repr(value)[1:-1] in fact
    return bool(fact == value) or (isinstance(fact, tuple) and any(holds(each, value) for each in fact))


OURS = [maker for maker in makers() if issubclass(maker.cls, DurableGraphError)]


@pytest.mark.parametrize("maker", OURS, ids=str)
def test_errors_survive_pickling_with_their_message(maker: Maker) -> None:
    error = maker()

    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # made here

    assert (type(again), str(again), vars(again)) == (maker.cls, str(error), vars(error))


def test_the_remedy_of_a_long_message_is_kept() -> None:
    error = ConcurrentUpdateError("c" * 1_000, nodes=["a", "b"])

    assert str(error).startswith("channel 'cccc")
    assert str(error).endswith("declare it as Annotated[<type>, <reducer>] to merge them")
    assert error.channel == "c" * 1_000


def test_a_message_that_fits_is_left_as_it_is() -> None:
    text = "node 'a' returned a list; a node returns a dict"

    assert bounded(text) == text == str(DurableGraphError(text))


@given(st.text(st.characters(categories=None), max_size=3_000), st.integers(30, 500))
def test_a_bounded_text_is_short_and_encodable(text: str, limit: int) -> None:
    short = bounded(text, limit)

    assert len(short) <= limit
    short.encode("utf-8")


@given(st.lists(st.text(max_size=100), max_size=100))
def test_a_list_of_names_in_a_message_is_short(texts: list[str]) -> None:
    assert len(names(texts)) <= 260


def test_a_long_list_in_a_message_counts_the_omitted_items() -> None:
    text = listed(f"node {number}" for number in range(1_000))

    assert text.startswith("node 0, node 1, ")
    count = text.count(", ") + 1
    assert text.endswith(f" and {1_000 - count} more")
    assert names([]) == "(none)"


def test_a_value_whose_repr_fails_is_shown_by_its_class() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert "Broken" in str(InvalidOptionError("debug", Broken(), allowed="True or False"))


@pytest.mark.parametrize("wrap", [lambda it: it, lambda it: [it], lambda it: {1: {2: it}}], ids=["int", "list", "dict"])
def test_a_number_with_too_many_digits_for_a_repr_is_shown_by_its_class(wrap: Callable[[int], object]) -> None:
    value = wrap(10**5_000)
    assert f"<{type(value).__name__} instance" in str(InvalidOptionError("debug", value, allowed="True or False"))


@pytest.mark.parametrize("value", [LONG, [LONG] * 10, {LONG: LONG}, {"a": {"b": {"c": {"d": [LONG]}}}}, 10**4_000])
def test_a_quoted_value_is_short(value: object) -> None:
    assert len(quoted(value)) <= 80


def test_a_state_key_error_shows_its_message_and_not_its_repr() -> None:
    error = StateKeyError.of_unknown("k", where="the input", known=["a"])

    assert str(error) == "the input has the key 'k', which the state does not have; its keys: a"


# Several problems at once


def test_as_many_problems_as_fit_are_in_the_message_and_the_others_are_notes() -> None:
    problems = [f"node 'n{number:02}' has an edge to 'nowhere', which is no node of the graph" for number in range(20)]

    error = GraphValidationError.of_problems(problems)

    shown_ones = [problem for problem in problems if problem in str(error)]
    assert shown_ones == problems[: len(shown_ones)]
    assert len(shown_ones) >= 3
    assert str(error).endswith(f"and {20 - len(shown_ones)} more, in `problems`")
    assert [note.removeprefix("  - ") for note in error.__notes__] == problems[len(shown_ones) :]
    assert error.problems == tuple(problems)


def test_few_problems_are_all_in_the_message() -> None:
    error = GraphValidationError.of_problems(["one", "two"])

    assert str(error) == "the graph cannot be compiled:\n  - one\n  - two"
    assert not hasattr(error, "__notes__")


# Errors as text


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionError("reset by peer"), "ConnectionError('reset by peer')"),
        (KeyError("k"), "KeyError('k')"),
        (TimeoutError(), "TimeoutError()"),
        (OSError(2, "No such file"), "FileNotFoundError('[Errno 2] No such file')"),
        (ValueError("it's"), 'ValueError("it\'s")'),
    ],
    ids=str,
)
def test_an_error_as_text_is_its_repr_with_its_message(error: Exception, text: str) -> None:
    assert shown(error) == text


def test_the_text_of_an_error_includes_a_message_made_by_its_own_str_method() -> None:
    class StatusError(Exception):
        def __init__(self, code: int) -> None:
            self.code = code

        def __str__(self) -> str:
            return f"status {self.code}"

    assert shown(StatusError(404)) == "StatusError('status 404')"


def test_a_note_is_as_short_as_a_message() -> None:
    error = ValueError()

    add_note(error, LONG)

    assert [len(note) <= MAX_TEXT for note in error.__notes__] == [True]


# Errors of reducers


class RefusedError(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("k"), OSError(2, "gone"), RefusedError(7)], ids=repr)
def test_an_error_of_a_reducer_is_caught_by_its_own_class_and_by_reducer_error(error: Exception) -> None:
    made_of_it = ReducerError.of(error, "log", nodes=["a", "b"])
    again = pickle.loads(pickle.dumps(made_of_it))  # noqa: S301  # made here

    for each in (made_of_it, again):
        assert isinstance(each, type(error))
        assert isinstance(each, ReducerError)
        assert (each.channel, each.nodes) == ("log", ("a", "b"))
        assert "the reducer of channel 'log' failed on the writes of a, b" in str(each)
    assert getattr(again, "code", None) == getattr(error, "code", None)


NOT_EXTENDED = [
    ExceptionGroup("several", [ValueError()]),
    StopIteration(3),
    UnknownNameError.of_node("n", where="a router chose", known=["a"]),
]


@pytest.mark.parametrize("error", NOT_EXTENDED, ids=lambda error: type(error).__name__)
def test_an_error_whose_class_cannot_be_extended_becomes_a_plain_reducer_error(error: Exception) -> None:
    made_of_it = ReducerError.of(error, "log", nodes=["a"])

    assert type(made_of_it) is ReducerError
    assert made_of_it.why == shown(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        ValueError("no money"),
        ValueError('it\'s "broken"\n: (1, 2)'),
        ValueError("a", 2),
        KeyError("k"),
        FileNotFoundError("[Errno 2] no such file"),
    ],
    ids=repr,
)
def test_a_stored_error_is_restored_with_its_class_name_message_and_repr(error: Exception) -> None:
    again = read_back(shown(error))

    assert (type(again).__name__, str(again), repr(again)) == (type(error).__name__, str(error), repr(error))
    assert isinstance(again, RuntimeError)


@pytest.mark.parametrize(
    "text", ["Odd(code=1)", "Odd({[]: 1})", "Odd(<x>)", "1 problem (of y)", "Odd('x... (9 characters)"]
)
def test_a_stored_error_whose_arguments_cannot_be_read_has_the_text_as_its_message(text: str) -> None:
    again = read_back(text)

    assert (str(again), repr(again)) == (text, text)
