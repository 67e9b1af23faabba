"""The rows of a channel: short chains, few bytes, and values that round-trip."""

import operator
from functools import reduce
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_graph._engine.apply import number
from durable_graph._engine.build_commit import NamespaceStep, NextCheckpoint, build_unit
from durable_graph._engine.restore import nothing_stored, restore
from durable_graph._engine.rows import add_rows
from durable_graph._engine.state import Absent, Change, Full, State, Updates
from durable_graph._runtime.commit.thread import new_thread
from durable_graph.checkpointing.chains import (
    FAN,
    PIECE_UPDATES,
    chains_of,
    channel_rows,
    frames_of,
    newest_update,
    updates_of,
)
from durable_graph.checkpointing.digests import EMPTY_STATE
from durable_graph.checkpointing.pieces import PIECE_BYTES, at_once
from durable_graph.errors import DecodeError, ValueTooLargeError
from durable_graph.graph import Topology
from durable_graph.records import StoredCheckpoint, ThreadRow, ValueKind, ValueRow
from tests.engine.graphs import diamond

LIMIT = 1 << 20


def item(no: int) -> str:
    """An item long enough that a chain of single items is not much larger than the list of them."""
    return f"item {no} of a long list"


def delta(value: bytes) -> ValueRow:
    return ValueRow("log", 7, 0, ValueKind.DELTA, value, b"")


def updates_in(row: ValueRow) -> list[bytes]:
    return [data for piece in updates_of([row], LIMIT) for data in piece]


def appended(topology: Topology, count: int, limit: int = LIMIT) -> list[ValueRow]:
    """The rows of `count` supersteps that each append one item to `log`."""
    stored = nothing_stored(b"o" * 16, "")
    rows: list[ValueRow] = []
    for no in range(1, count + 1):
        change = Updates((topology.codecs["log"].update.encode([item(no)]),))
        state = State(no, no, {"log": [item(n) for n in range(1, no + 1)]}, ())
        new, stored = add_rows(topology, stored, state, {"log": change}, limit)
        rows.extend(new)
    return rows


def test_a_thousand_appends_are_read_back_from_few_rows() -> None:
    rows = appended(diamond(), 1000)

    chain = chains_of(rows)["log"]
    codec = diamond().codecs["log"].update

    assert len(chain) == 1000 // FAN + 1000 % FAN == 39
    assert [data for row in chain for data in updates_in(row)] == [codec.encode([item(n)]) for n in range(1, 1001)]


def test_segments_of_segments_bound_the_chain_of_a_long_list() -> None:
    rows = appended(diamond(), 1100)

    chain = chains_of(rows)["log"]

    assert [row.value[0] for row in chain] == [2] + [1] * 2 + [0] * 12
    assert len(chain) == 1100 // FAN**2 + 1100 % FAN**2 // FAN + 1100 % FAN == 15


def test_each_byte_is_written_once_per_level() -> None:
    rows = appended(diamond(), 1024)
    payload = sum(len(row.value) - 1 for row in rows if row.value[0] == 0)

    assert sum(len(row.value) for row in rows) < payload * 3.2


def test_a_restart_does_not_change_the_links_of_a_chain() -> None:
    topology = diamond()
    rows = appended(topology, 40)
    restored = channel_rows(chains_of(rows)["log"])
    stored = nothing_stored(b"o" * 16, "")
    for no in range(1, 41):
        change = Updates((topology.codecs["log"].update.encode([item(no)]),))
        stored = add_rows(topology, stored, State(no, no, {}, ()), {"log": change}, LIMIT)[1]

    assert restored.links == stored.channels["log"].links


def test_a_chain_larger_than_its_value_is_replaced_by_the_value() -> None:
    topology = diamond()
    stored = nothing_stored(b"o" * 16, "")
    rows: list[ValueRow] = []
    for no in range(1, 2000):
        change = Updates((topology.codecs["seen"].update.encode({"the same key": no}),))
        new, stored = add_rows(
            topology, stored, State(no, no, {"seen": {"the same key": no}}, ()), {"seen": change}, LIMIT
        )
        rows.extend(new)

    chain = chains_of(rows)["seen"]

    assert chain[0].kind == ValueKind.FULL
    assert sum(len(row.value) for row in chain) < 10_000


def test_a_list_may_grow_beyond_the_size_limit_of_a_row() -> None:
    rows = appended(diamond(), 500, limit=5000)

    chain = chains_of(rows)["log"]

    assert sum(len(row.value) for row in chain) > 2 * 5000
    assert all(row.kind == ValueKind.DELTA for row in chain)
    assert max(len(row.value) for row in rows) <= 5000


def test_no_segment_is_written_that_would_exceed_the_size_limit_of_a_row() -> None:
    topology = diamond()
    stored = nothing_stored(b"o" * 16, "")
    rows: list[ValueRow] = []
    for no in range(1, 100):
        change = Updates((topology.codecs["log"].update.encode(["x" * 100]),))
        new, stored = add_rows(topology, stored, State(no, no, {"log": []}, ()), {"log": change}, 1000)
        rows.extend(new)

    assert max(len(row.value) for row in rows) < 1000
    assert len(chains_of(rows)["log"]) == 99


def test_a_value_above_the_size_limit_made_by_a_reducer_is_refused() -> None:
    topology = diamond()
    state = State(1, 1, {"best": 10**500}, ())

    with pytest.raises(ValueTooLargeError, match=r"'best'.*reference"):
        add_rows(topology, nothing_stored(b"o" * 16, ""), state, {"best": Full(None)}, 100)


@pytest.mark.parametrize("lost", [1, 3, 4, 6])
def test_truncated_frames_are_an_error_and_not_read_as_fewer_updates(lost: int) -> None:
    whole = delta(b"\0" + frames_of((b"one", b"two")))
    cut = delta(whole.value[:-lost])

    assert updates_in(whole) == [b"one", b"two"]
    assert newest_update(whole) == b"two"
    with pytest.raises(DecodeError, match=r"channel 'log' by checkpoint '0000000000000007'.*cut short"):
        updates_in(cut)
    with pytest.raises(DecodeError, match=r"channel 'log' by checkpoint '0000000000000007'.*cut short"):
        newest_update(cut)


def test_an_empty_row_is_an_error_that_names_the_row() -> None:
    with pytest.raises(DecodeError, match=r"channel 'log' by checkpoint '0000000000000007'.*empty"):
        updates_in(delta(b""))


def test_updates_are_read_in_pieces_of_bounded_size() -> None:
    updates = tuple(bytes(300_000) for _ in range(20))
    small = (b"x" * 20,) * 20_000

    pieces = list(updates_of([delta(b"\0" + frames_of(updates))], LIMIT))

    assert [data for piece in pieces for data in piece] == list(updates)
    assert max(sum(map(len, piece)) for piece in pieces) < PIECE_BYTES + 300_000
    assert max(len(piece) for piece in updates_of([delta(b"\0" + frames_of(small))], LIMIT)) < 2 * PIECE_UPDATES
    assert list(updates_of([delta(b"\0" + frames_of((b"x",)))] * 3, LIMIT)) == [[b"x"] * 3]


def test_an_update_above_the_limit_is_refused_by_its_length() -> None:
    row = delta(b"\0" + frames_of((b"small", b"x" * 1001)))

    with pytest.raises(
        ValueTooLargeError, match="channel 'log' takes 1001 bytes and the limit is 1000; it was not read"
    ):
        list(updates_of([row], 1000))


# The law: restore(commit(x)) == x


def write_to(channel: str) -> st.SearchStrategy[tuple[str, Any]]:
    text = st.text(max_size=5)
    values: dict[str, st.SearchStrategy[Any]] = {
        "topic": text,
        "log": st.lists(text, max_size=3),
        "seen": st.dictionaries(text, st.integers(), max_size=3),
        "total": st.integers(),
        "#join:a+b:c": st.sampled_from([("a",), ("a", "b"), None]),
    }
    return st.tuples(st.just(channel), values[channel])


steps = st.lists(
    st.lists(
        st.sampled_from(["topic", "log", "seen", "total", "#join:a+b:c"]).flatmap(write_to),
        max_size=3,
        unique_by=lambda write: write[0],
    ),
    min_size=1,
    max_size=80,
)


@settings(max_examples=60)
@given(steps)
def test_restoring_a_commit_gives_the_committed_state(steps: list[list[tuple[str, Any]]]) -> None:
    topology = diamond()
    thread: ThreadRow = new_thread("t")
    stored = nothing_stored(thread.origin, "")
    values: dict[str, Any] = {"log": [], "seen": {}, "total": 0, "best": 0}
    rows: list[ValueRow] = []
    for no, writes in enumerate(steps, 1):
        changes = {channel: _apply(topology, values, channel, value) for channel, value in writes}
        state = State(no, no, dict(values), number("ab", [], no))
        unit, after = build_unit(
            thread,
            {"": stored},
            [NamespaceStep(topology, "", NextCheckpoint(state, changes, parent=no - 1, source="loop"))],
            commit_id=b"c" * 16,
            at=no,
            metadata={},
            max_value_bytes=LIMIT,
        )
        stored = after[""]
        rows.extend(unit.checkpoints[0].values)

        needed = tuple(row for chain in chains_of(rows).values() for row in chain)
        found = StoredCheckpoint(thread, unit.checkpoints[0].row, needed)
        restored = at_once(restore(topology, found, LIMIT))

        assert restored is not None
        assert restored.state == state
        assert restored.stored.digest == stored.digest != EMPTY_STATE or not rows


def _apply(topology: Topology, values: dict[str, Any], channel: str, value: Any) -> Change:
    codecs = topology.codecs[channel]
    if channel.startswith("#"):
        if value is None:
            values.pop(channel, None)
            return Absent()
        values[channel] = value
        return Full(None)
    if channel in ("log", "seen"):
        values[channel] = reduce(operator.add if channel == "log" else operator.or_, [value], values[channel])
        return Updates((codecs.update.encode(value),))
    values[channel] = value
    return Full(codecs.value.encode(value))
