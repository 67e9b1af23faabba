"""Limits on the work that a few stored bytes can cause. Writing has the same limits, so every stored value can be
read."""

from collections import Counter
from collections.abc import Collection
from typing import Any, Final

MAX_NUMBER_BYTES: Final = 16_384
"""Bytes of an int, or digits of a Decimal: the time to compare an int with a Decimal grows with the square."""

MAX_EQUAL_HASHES: Final = 1_000
"""The maximum number of keys or set items with the same hash, because each is compared with all others."""


def most_equal_hashes(values: Collection[Any]) -> int:
    """The largest number of values with the same hash; 0 if there are too few values to reach the limit."""
    if len(values) <= MAX_EQUAL_HASHES:
        return 0
    return Counter(map(hash, values)).most_common(1)[0][1]
