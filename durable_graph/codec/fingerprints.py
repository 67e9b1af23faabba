"""The fingerprint of a declared type: the same for two spellings of one type, in every process.

It covers what decides how values are read: kinds of containers, tags of classes, names of fields and which of them may
be absent, members of enums and literals. Aliases, modules, the names of TypedDicts and the order of a union's members
do not change it.

It decides which upcast is called, and nothing else: the wire form alone says what value is read, so a collision of two
fingerprints never changes a value.
"""

from hashlib import blake2b
from typing import Final

from durable_graph.codec.plan import Plan
from durable_graph.codec.wire import FINGERPRINT_SIZE

_MAX_DEPTH: Final = 24
"""Levels that count. A type that mentions itself has no end of them."""

_LONG: Final = 64


class Describer:
    """Makes fingerprints, and remembers the descriptions of the types inside others."""

    def __init__(self) -> None:
        # The plan is kept beside its description: the id of one that is gone could be given to another.
        self._known: dict[tuple[int, int], tuple[Plan, str]] = {}

    def fingerprint(self, plan: Plan) -> bytes:
        return blake2b(self._described(plan, _MAX_DEPTH).encode(), digest_size=FINGERPRINT_SIZE).digest()

    def _described(self, plan: Plan, depth: int) -> str:
        if not depth:
            return "..."
        known = self._known.get((id(plan), depth))
        if known is not None:
            return known[1]
        text = plan.describe(lambda inner: self._described(inner, depth - 1))
        if len(text) > _LONG:
            # A description that holds its parts in full would double with every level that mentions a part twice.
            text = f"#{blake2b(text.encode(), digest_size=16).hexdigest()}"
        self._known[id(plan), depth] = plan, text
        return text
