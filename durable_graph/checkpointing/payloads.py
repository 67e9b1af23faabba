"""The text form of notices, for stores that pass messages: those of PostgreSQL have up to 8,000 bytes."""

import os
from collections.abc import Iterable, Sequence

import msgspec

from durable_graph.checkpointing.notices import Notice

MOST_BYTES = 7_000


class Payload(msgspec.Struct, frozen=True, array_like=True):
    """Notices of one process. A `probe` is a random text by which a listener recognises its own payload."""

    sender: str
    notices: tuple[Notice, ...] = ()
    probe: str = ""


_decode = msgspec.json.Decoder(Payload).decode


def drawn_name() -> str:
    """A random name, of a sender or a probe."""
    return os.urandom(8).hex()


def payloads_of(sender: str, notices: Iterable[Notice]) -> list[str]:
    """The notices as payloads of up to MOST_BYTES each. A notice that is longer than that is left out."""
    found: list[str] = []
    part: list[Notice] = []
    size = 0
    for notice in notices:
        length = len(msgspec.json.encode(notice)) + 1
        if length > MOST_BYTES:
            continue
        if size + length > MOST_BYTES:
            found.append(_text(sender, part))
            part, size = [], 0
        part.append(notice)
        size += length
    return [*found, _text(sender, part)] if part else found


def probe_of(sender: str, probe: str) -> str:
    """The payload of a probe."""
    return msgspec.json.encode(Payload(sender, probe=probe)).decode()


def payload_of(text: str) -> Payload | None:
    """The payload, None for one that this version does not know."""
    try:
        return _decode(text)
    except msgspec.DecodeError:
        return None


def _text(sender: str, notices: Sequence[Notice]) -> str:
    return msgspec.json.encode(Payload(sender, tuple(notices))).decode()
