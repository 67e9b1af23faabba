"""Matching repeated calls to the records of an earlier attempt: by function or graph and arguments, never by position.

User code that runs again repeats its calls of tasks and nested graphs. Each call has a `Mark`, and so has each record.
The rules, for all kinds of calls:

    1. A call claims the record with the same name and digest that no other call has claimed. Order decides among
       equals.
    2. A call without a record runs, unless both the call and an unclaimed record are in sequence at the same point:
       then the code awaited another call there before. The call is refused before it runs.
    3. If records are unclaimed when the code returns, the code made other calls than before: its result is not kept.

Matching never waits for another call. A call is in sequence if its caller awaited it before making another call; its
point is the number of calls that had returned, and the number that had failed, before it.

The place of a call is derived from its mark. If two processes run the same code at the same time, a call has the same
place in both, where the first record counts for both, and different calls have different places.
"""

from collections.abc import Container, Mapping
from hashlib import blake2b
from itertools import count
from typing import Literal

import msgspec

Kind = Literal["task", "graph"]

NOTE = -1
"""The place of the note about a caller's calls. No task and no call has this place."""


class Point(msgspec.Struct, frozen=True, gc=False):
    """The progress of a caller: how many of its calls had returned, and how many had failed."""

    results: int = 0
    failures: int = 0


class Mark(msgspec.Struct, frozen=True, gc=False):
    """The identity of a call. `nth` numbers calls that are equal otherwise.

    `nodes` identifies unnamed graphs: graphs that share no node are different, a graph that gained or lost nodes is the
    same.
    """

    kind: Kind
    name: str
    digest: bytes
    nodes: tuple[str, ...] = ()
    nth: int = 0
    is_in_sequence: bool = False
    point: Point = Point()

    def is_like(self, other: "Mark") -> bool:
        """Whether two calls are of one function or graph, with the same arguments."""
        mine, theirs = (self.kind, self.name, self.digest), (other.kind, other.name, other.digest)
        return mine == theirs and (self.nodes == other.nodes or not set(self.nodes).isdisjoint(other.nodes))


def matching_place(mark: Mark, unclaimed: Mapping[int, Mark]) -> int | None:
    """The place of the record that matches the call: among several, one with the same nodes, then the earliest."""
    equals = [(each.nodes != mark.nodes, each.nth, place) for place, each in unclaimed.items() if mark.is_like(each)]
    return min(equals)[2] if equals else None


def places_in_the_way(mark: Mark, unclaimed: Mapping[int, Mark]) -> tuple[int, ...]:
    """The places of unclaimed records at the same point, for which an unmatched call is refused."""
    if not mark.is_in_sequence:
        return ()
    return tuple(sorted(place for place, each in unclaimed.items() if each.is_in_sequence and each.point == mark.point))


def new_place(mark: Mark, taken: Container[int]) -> tuple[int, Mark]:
    """The place of a call without a record, and its mark there: the first place for its mark that is not taken."""
    for nth in count():
        place = _place(mark, nth)
        if place not in taken:
            return place, msgspec.structs.replace(mark, nth=nth)
    raise AssertionError


def _place(mark: Mark, nth: int) -> int:
    hashed = blake2b(digest_size=8, person=b"dg-call-place")
    for field in (mark.kind, mark.name, *mark.nodes, nth):
        data = str(field).encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(4, "big"))
        hashed.update(data)
    hashed.update(mark.digest)
    # At most 18 digits: the place is a part of namespaces, where numbers have no more.
    return int.from_bytes(hashed.digest(), "big") >> 5
