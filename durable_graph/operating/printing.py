"""What commands print: aligned text for people, JSON for machines. Functions of values."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

LONGEST_CELL = 60
"""Characters. Longer cells of a table are cut."""


def as_json(found: object) -> str:
    """One JSON document, with times in ISO 8601."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, longest: int = LONGEST_CELL) -> list[str]:
    """The lines of a table with aligned columns; none without rows. Cells are cut after `longest` characters."""
    cells = [[_cell(value, longest) for value in row] for row in rows]
    if not cells:
        return []
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in (head, *cells)]


def fields(pairs: Iterable[tuple[str, object]]) -> list[str]:
    """A line for each pair, with aligned values. A pair whose value is None or empty is left out."""
    kept = [(name, shown) for name, value in pairs if (shown := printable(_text(value)))]
    width = max((len(name) for name, _ in kept), default=0)
    return [f"{name.ljust(width)}  {shown}" for name, shown in kept]


def age(since: datetime | None, now: datetime) -> str:
    """The time since then in its largest unit: `12s`, `5m`, `3h`, `4d`."""
    if since is None:
        return ""
    seconds = max(round((now - since).total_seconds()), 0)
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def until(due: datetime | None, now: datetime) -> str:
    """The time until then, such as `in 5m`, or `now`."""
    if due is None:
        return ""
    return "now" if due <= now else f"in {age(now, due)}"


def printable(text: str) -> str:
    """The text in one line, with control characters escaped: stored text must not reach the terminal as commands."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _cell(value: object, longest: int) -> str:
    shown = printable(_text(value))
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return value.astimezone().isoformat(sep=" ", timespec="seconds")
        case tuple() | list():
            return ", ".join(map(_text, value))
        case _:
            return str(value)
