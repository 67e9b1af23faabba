"""The fingerprint of a declared type: equal for all spellings of a type, in every process.

It covers all properties that determine how values are read: kinds of containers, tags of classes, names of fields and
whether they are required, members of enums and literals. Aliases, modules, the names of TypedDicts and the order of a
union's members do not change it.

It only selects the upcast. The wire form alone determines the value, so a collision of two fingerprints never changes a
value.
"""

from hashlib import blake2b
from typing import Final

from durable_graph.codec.plan import Plan
from durable_graph.codec.wire import FINGERPRINT_SIZE

_MAX_DEPTH: Final = 24
"""The number of levels that are described. A recursive type has any number of levels."""

_LONG: Final = 64


class Describer:
    """Makes fingerprints, and caches the descriptions of inner types."""

    def __init__(self) -> None:
        # The plan is kept with its description, so that no other plan gets the same id.
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
            # With its parts in full, a description would double in size with each level that mentions a part twice.
            text = f"#{blake2b(text.encode(), digest_size=16).hexdigest()}"
        self._known[id(plan), depth] = plan, text
        return text
