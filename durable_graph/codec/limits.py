"""What bounds the work that a few stored bytes can cost. The same holds when a value is written: nothing is stored that
is refused when it is read."""

from collections import Counter
from collections.abc import Collection
from typing import Any, Final

MAX_NUMBER_BYTES: Final = 16_384
"""Bytes of an int, digits of a Decimal: comparing an int with a Decimal takes time that grows with the square."""

MAX_EQUAL_HASHES: Final = 1_000
"""Keys or items of a set that have one hash: each is compared with all others."""


def most_equal_hashes(values: Collection[Any]) -> int:
    """How many of them have one hash; 0 where there are too few for that to matter."""
    if len(values) <= MAX_EQUAL_HASHES:
        return 0
    return Counter(map(hash, values)).most_common(1)[0][1]
