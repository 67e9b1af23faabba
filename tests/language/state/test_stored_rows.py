"""A committed state is restored unchanged, for any writes of nodes and any grouping of supersteps into commits."""

import operator
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_graph import (
    START,
    AnyValue,
    EphemeralValue,
    Overwrite,
    RemoveMessage,
    StateGraph,
    Topic,
    UntrackedValue,
    add_messages,
)
from durable_graph._engine.apply import apply
from durable_graph._engine.build_commit import NamespaceStep, NextCheckpoint, build_unit
from durable_graph._engine.restore import nothing_stored, restore
from durable_graph._engine.rows import add_rows, encode_whole
from durable_graph._engine.state import Changes, State, initial_state, merged
from durable_graph._engine.task import Done, Task, Write
from durable_graph._runtime.commit.thread import new_thread
from durable_graph._runtime.task.writes import node_writes
from durable_graph.checkpointing.chains import Stored
from durable_graph.checkpointing.pieces import at_once
from durable_graph.errors import InvalidUpdateError
from durable_graph.graph import Topology
from durable_graph.records import StoredCheckpoint, ValueRow

pytestmark = pytest.mark.slow

LIMIT = 1 << 20
THREAD = new_thread("t")


class Every(TypedDict, total=False):
    plain: str
    log: Annotated[list[str], operator.add]
    tags: Annotated[dict[str, int], operator.or_]
    best: Annotated[int, max]
    note: Annotated[str, EphemeralValue(str, guard=False)]
    any_of: Annotated[str, AnyValue]
    topic: Annotated[list[str], Topic]
    kept: Annotated[list[str], Topic(accumulate=True)]
    messages: Annotated[list[Any], add_messages]
    hidden: Annotated[Any, UntrackedValue(Any, guard=False)]


async def nothing(state: Every) -> None:
    """A node that is never called: the tests generate its results."""


def _topology() -> Topology:
    builder: StateGraph[Every] = StateGraph(Every)
    for name in "ab":
        builder.add_node(name, nothing).add_edge(START, name)
    return builder.topology()


TOPOLOGY = _topology()

_TEXT = st.text("xyz", max_size=3)
_MESSAGE = st.one_of(
    st.builds(lambda id_, text: {"id": id_, "content": text}, st.sampled_from("abc"), _TEXT),
    st.builds(lambda text: {"content": text}, _TEXT),
    st.sampled_from(["a", "b", "c", "__remove_all__"]).map(RemoveMessage),
)
_LISTS = st.lists(_TEXT, max_size=3)
_UPDATES: dict[str, st.SearchStrategy[Any]] = {
    "plain": _TEXT,
    "log": _LISTS,
    "tags": st.dictionaries(_TEXT, st.integers(0, 9), max_size=2),
    "best": st.integers(0, 9),
    "note": _TEXT,
    "any_of": _TEXT,
    "topic": st.one_of(_TEXT, _LISTS),
    "kept": st.one_of(_TEXT, _LISTS),
    "messages": st.lists(_MESSAGE, max_size=3),
    "hidden": st.builds(object),
}
# A whole value may contain nothing that the rule of its channel would merge, such as a removal.
_WHOLES = {**_UPDATES, "messages": st.lists(st.builds(lambda text: {"content": text}, _TEXT), max_size=3)}


def _result(keys: set[str], overwritten: set[str]) -> st.SearchStrategy[dict[str, Any]]:
    plain = {key: _UPDATES[key] for key in keys - overwritten}
    return st.fixed_dictionaries({**plain, **{key: _WHOLES[key].map(Overwrite) for key in keys & overwritten}})


_KEYS = st.sets(st.sampled_from(sorted(_UPDATES)))
_ALONE = frozenset({"plain"})
# If one node of a superstep overwrites a key, or the key takes one write, the other node does not write the key.
_SUPERSTEP = st.tuples(_KEYS, _KEYS, _KEYS).flatmap(
    lambda sets: st.tuples(_result(sets[0], sets[2]), _result(sets[1] - (_ALONE | sets[2]) & sets[0], set()))
)


def _writes(values: Any, node: str, result: dict[str, Any]) -> tuple[Write, ...]:
    """The writes of the node, without the keys that their rule refuses."""
    written: list[Write] = []
    for pair in result.items():
        try:
            written.extend(node_writes(TOPOLOGY, TOPOLOGY.nodes[node], [pair], values, LIMIT))
        except InvalidUpdateError:
            assert pair[0] == "messages"
    return tuple(written)


def ran(state: State, results: tuple[dict[str, Any], dict[str, Any]]) -> tuple[State, Changes]:
    """The state after a superstep in which two nodes returned these results."""
    no = state.no + 1
    done = [
        Done(Task(node, no, ord_), 1, _writes(state.values, node, result), ())
        for ord_, (node, result) in enumerate(zip("ab", results, strict=True))
    ]
    return apply(TOPOLOGY, state, done, no)


def read_back(state: State, stored: Stored, rows: list[ValueRow]) -> dict[str, Any]:
    """The values that are restored from all rows that were ever written."""
    unit, _ = build_unit(
        THREAD,
        {"": stored},
        [NamespaceStep(TOPOLOGY, "", NextCheckpoint(state, {}, parent=0, source="loop"))],
        commit_id=b"c" * 16,
        at=0,
        metadata={},
        max_value_bytes=LIMIT,
    )
    found = StoredCheckpoint(THREAD, unit.checkpoints[0].row, tuple(rows))
    restored = at_once(restore(TOPOLOGY, found, LIMIT))
    assert restored is not None
    return dict(restored.state.values)


def tracked(state: State) -> dict[str, Any]:
    return {key: value for key, value in state.values.items() if key != "hidden"}


@settings(max_examples=150)
@given(st.lists(_SUPERSTEP, min_size=1, max_size=8))
def test_each_checkpoint_is_restored_as_it_was_committed(
    supersteps: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    state, stored, rows = initial_state(TOPOLOGY), nothing_stored(THREAD.origin, ""), list[ValueRow]()
    for results in supersteps:
        state, changes = ran(state, results)
        new, stored = add_rows(TOPOLOGY, stored, state, changes, LIMIT)
        rows.extend(new)

        assert read_back(state, stored, rows) == tracked(state)


@settings(max_examples=150)
@given(st.lists(_SUPERSTEP, min_size=1, max_size=8))
def test_supersteps_that_are_committed_together_are_restored_as_the_last_of_them(
    supersteps: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    state, together = initial_state(TOPOLOGY), dict[str, Any]()
    for results in supersteps:
        state, changes = ran(state, results)
        together = dict(merged(together, changes))
    rows, stored = add_rows(TOPOLOGY, nothing_stored(THREAD.origin, ""), state, together, LIMIT)

    assert read_back(state, stored, list(rows)) == tracked(state)


@settings(max_examples=100)
@given(st.lists(_SUPERSTEP, min_size=1, max_size=4))
def test_each_changed_channel_except_an_untracked_value_has_a_row_with_its_value(
    supersteps: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    state, stored = initial_state(TOPOLOGY), nothing_stored(THREAD.origin, "")
    for results in supersteps:
        state, changes = ran(state, results)
        new, stored = add_rows(TOPOLOGY, stored, state, changes, LIMIT)

        assert {row.channel for row in new} == changes.keys() - {"hidden"}
        for row in new:
            if row.kind.name == "FULL":
                assert row.value == encode_whole(TOPOLOGY, row.channel, state, LIMIT)


@settings(max_examples=100)
@given(st.lists(_SUPERSTEP, min_size=1, max_size=5))
def test_a_transient_value_is_the_last_write_of_its_superstep(
    supersteps: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    state = initial_state(TOPOLOGY)
    for first, second in supersteps:
        state, _ = ran(state, (first, second))

        for key in ("note", "any_of"):
            written = [result[key] for result in (first, second) if key in result]
            last = written[-1] if written else None
            assert state.values.get(key) == (last.value if isinstance(last, Overwrite) else last)
