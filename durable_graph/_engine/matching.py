"""Which record of an earlier attempt a call is the repetition of: by what is called and with what, never by position.

A piece of user code that runs again makes its calls again: of tasks, and of nested graphs. Each call has a `Mark`, and
so has each record. The rules, for all kinds of calls:

    1. A call takes the record with the same name and digest that no other call has taken. Order decides among equals.
    2. A call without a record runs, unless it is in sequence and so is a record at the same point: then the code was
       waiting for one call there and now makes another. It is refused before it runs.
    3. Records that nobody took when the code returns tell that it called something else: what it returned is not kept.

Nothing waits for another call. A call is in sequence if its caller awaited it before it called anything else; its point
is how many calls had returned and how many had failed by then.

The place of a call is derived from its mark. Two processes that run one piece of code at once give one call one place,
where the first record stands for both, and different calls different ones.
"""

from collections.abc import Container, Mapping
from hashlib import blake2b
from itertools import count
from typing import Literal

import msgspec

Kind = Literal["task", "graph"]

NOTE = -1
"""The place, among those of a caller's calls, of what is noted about them. No task and no call has it."""


class Point(msgspec.Struct, frozen=True, gc=False):
    """How far a caller was: how many of its calls had returned, and how many had failed."""

    results: int = 0
    failures: int = 0


class Mark(msgspec.Struct, frozen=True, gc=False):
    """What a call is recognised by. `nth` counts the calls that are equal otherwise.

    `nodes` tells unnamed graphs apart: those that share no node are two, one that gained or lost some is the same.
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
    """The place of the record that is the call's: of several, the one of the very same nodes, then the earliest."""
    equals = [(each.nodes != mark.nodes, each.nth, place) for place, each in unclaimed.items() if mark.is_like(each)]
    return min(equals)[2] if equals else None


def places_in_the_way(mark: Mark, unclaimed: Mapping[int, Mark]) -> tuple[int, ...]:
    """The records for which an unmatched call is refused: it is made in their place."""
    if not mark.is_in_sequence:
        return ()
    return tuple(sorted(place for place, each in unclaimed.items() if each.is_in_sequence and each.point == mark.point))


def new_place(mark: Mark, taken: Container[int]) -> tuple[int, Mark]:
    """The place of a call without a record, and its mark there: the first of its own places that is not taken."""
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
    # 18 digits at most: it is a part of namespaces, in which no number has more.
    return int.from_bytes(hashed.digest(), "big") >> 5
