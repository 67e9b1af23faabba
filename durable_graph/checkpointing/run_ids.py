"""The id of a run, made of its thread's key and its number: the same in every process, and stored nowhere.

It is a UUID of version 8 (RFC 9562), whose 122 free bits hold the key (64 bits) and the number (58 bits).
"""

from uuid import UUID

from durable_graph.errors import UnknownRunError

_SEQ_BITS = 58
_MOST_SEQ = (1 << _SEQ_BITS) - 1
_MOST_KEY = (1 << 63) - 1


def run_id(thread_key: int, seq: int) -> str:
    """The id of run `seq` of the thread with this key."""
    free = thread_key << _SEQ_BITS | seq
    high, middle, low = free >> 74, free >> 62 & 0xFFF, free & (1 << 62) - 1
    return str(UUID(int=high << 80 | 8 << 76 | middle << 64 | 2 << 62 | low))


def parts_of(given: str) -> tuple[int, int]:
    """The thread's key and the number of a run. Raises `UnknownRunError` for a text that is no run's id."""
    try:
        value = UUID(given)
    except (ValueError, TypeError, AttributeError):
        raise UnknownRunError(str(given)) from None
    number = value.int
    if value.version != 8:
        raise UnknownRunError(given)
    free = number >> 80 << 74 | (number >> 64 & 0xFFF) << 62 | number & (1 << 62) - 1
    key = free >> _SEQ_BITS
    # The key of a thread has 63 bits; a database refuses a larger number.
    if key > _MOST_KEY:
        raise UnknownRunError(given)
    return key, free & _MOST_SEQ
