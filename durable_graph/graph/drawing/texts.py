"""Text for both languages: a name as readable text on one line, and as an identifier; and indented lines."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from durable_graph.graph.control import END, START
from durable_graph.graph.drawing.elements import DrawnNode
from durable_graph.graph.drawing.status import NodeStatus

LONGEST: Final = 60
"""The maximum number of characters of a name. Wider boxes push other nodes out of sight."""

# Words of Mermaid's grammar, and properties of every JavaScript object: as names of nodes they break the layout.
# Graphviz accepts any word in quotes.
_RESERVED: Final = re.compile(
    "acctitle|accdescr|call|class|classdef|click|default|direction|end|flowchart|graph|href|interpolate|linkstyle"
    "|style|subgraph"
    "|constructor|hasownproperty|isprototypeof|propertyisenumerable|tolocalestring|tostring|valueof"
    "|__proto__|__(define|lookup)[gs]etter__",
    re.IGNORECASE,
)


def shown(text: str) -> str:
    """The text unchanged if it is short and printable, otherwise its `repr`, shortened in the middle."""
    visible = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    if len(visible) <= LONGEST:
        return visible
    half = LONGEST // 2
    return f"{visible[: half - 1]}…{visible[-half:]}"


def title_of(node: DrawnNode) -> str:
    return {START: "START", END: "END"}.get(node.name, shown(node.name))


def marks_of(node: DrawnNode, status: NodeStatus | None) -> str:
    """The marks of a node, such as its status. They are words, because not everybody sees colours."""
    marks = [
        *(["deferred"] if node.is_deferred else []),
        *(["error handler"] if node.has_error_handler else []),
        *([f"interrupt {' and '.join(node.interrupts)}"] if node.interrupts else []),
        *([status] if status else []),
    ]
    return ", ".join(marks)


def indented(lines: Iterable[str]) -> Iterator[str]:
    """The lines, indented by one level."""
    return (f"    {line}" for line in lines)


def identifiers_of(ids: Iterable[str]) -> dict[str, str]:
    """A unique identifier for each id: the name itself if it is an identifier, so that the text is readable."""
    identifiers: dict[str, str] = {}
    others = []
    for each in ids:
        if _identifier(each) == each:
            identifiers[each] = each
        else:
            others.append(each)
    taken = set(identifiers)
    for each in others:
        wanted = free = _identifier(each)
        number = 1
        while free in taken:
            number += 1
            free = f"{wanted}_{number}"
        taken.add(free)
        identifiers[each] = free
    return identifiers


def _identifier(text: str) -> str:
    word = re.sub(r"[^A-Za-z0-9_]+", "_", text)[:LONGEST]
    if not re.search(r"[A-Za-z0-9]", word):
        return "node"
    return f"node_{word}" if word[0].isdigit() or _RESERVED.fullmatch(word) else word
