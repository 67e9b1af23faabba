"""Ids that callers choose, such as the key of a request."""

import unicodedata
from typing import Final

from durable_graph.errors import InvalidOptionError, MissingCheckpointerError
from durable_graph.records import is_text

MAX_ID_BYTES: Final = 255
_MAX_KEY_BYTES: Final = MAX_ID_BYTES - len("run-")
"""A key is shorter than an id, because the thread `run-<key>` may be named after it."""


def key_of_call(given: object, input_: object, *, has_checkpointer: bool, is_elsewhere: bool) -> str | None:
    """The key of a call's request, None for a call without one.

    `is_elsewhere`: the call is about an older checkpoint or a nested graph, and the thread's head does not accept it as
    a request. Raises `MissingCheckpointerError` and `InvalidOptionError`.
    """
    if given is None:
        return None
    what = "key"
    if not has_checkpointer:
        raise MissingCheckpointerError(what)
    if input_ is None:
        raise InvalidOptionError(
            what, given, allowed="left out without an input: a key belongs to an input, an answer or an update"
        )
    key = read_key(given)
    if is_elsewhere:
        raise InvalidOptionError(what, key, allowed="left out with checkpoint_id or checkpoint_ns: a fork has no key")
    return key


def read_key(given: object) -> str:
    """The key of a request. Raises `InvalidOptionError`."""
    if not isinstance(given, str) or not is_id(given, _MAX_KEY_BYTES):
        allowed = f"1 to {_MAX_KEY_BYTES} bytes of text without control characters"
        raise InvalidOptionError("key", given, allowed=allowed)
    return given


def read_topic(given: object) -> str:
    """The topic of a message. Raises `InvalidOptionError`."""
    if not isinstance(given, str) or not is_id(given) or (given.startswith("__") and given.endswith("__")):
        allowed = f"1 to {MAX_ID_BYTES} bytes of text without control characters, and no name as '__this__'"
        raise InvalidOptionError("topic", given, allowed=allowed)
    return given


def is_id(text: str, most: int = MAX_ID_BYTES) -> bool:
    """Whether the text has 1 to `most` bytes, and no control characters."""
    if text.isascii() and text.isprintable():
        return 0 < len(text) <= most
    size = len(text.encode()) if is_text(text) else 0
    return 0 < size <= most and not any(unicodedata.category(letter) == "Cc" for letter in text)
