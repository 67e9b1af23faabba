"""What both languages write alike: any name as readable text on one line, and as an identifier; and indented lines."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from durable_graph.graph.control import END, START
from durable_graph.graph.drawing.elements import DrawnNode
from durable_graph.graph.drawing.status import NodeStatus

LONGEST: Final = 60
"""Characters of a name that are shown. Wider boxes push everything else out of sight."""

# Words of Mermaid's grammar, and those that every object of JavaScript has: as names of nodes they stop the layout.
# Graphviz takes any word in quotes.
_RESERVED: Final = re.compile(
    "acctitle|accdescr|call|class|classdef|click|default|direction|end|flowchart|graph|href|interpolate|linkstyle"
    "|style|subgraph"
    "|constructor|hasownproperty|isprototypeof|propertyisenumerable|tolocalestring|tostring|valueof"
    "|__proto__|__(define|lookup)[gs]etter__",
    re.IGNORECASE,
)


def shown(text: str) -> str:
    """As it is where it is short and printable. The rest as `repr` has it, and without its middle."""
    visible = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    if len(visible) <= LONGEST:
        return visible
    half = LONGEST // 2
    return f"{visible[: half - 1]}…{visible[-half:]}"


def title_of(node: DrawnNode) -> str:
    return {START: "START", END: "END"}.get(node.name, shown(node.name))


def marks_of(node: DrawnNode, status: NodeStatus | None) -> str:
    """What is special about it. In words, because not everybody sees colours."""
    marks = [
        *(["deferred"] if node.is_deferred else []),
        *(["error handler"] if node.has_error_handler else []),
        *([f"interrupt {' and '.join(node.interrupts)}"] if node.interrupts else []),
        *([status] if status else []),
    ]
    return ", ".join(marks)


def indented(lines: Iterable[str]) -> Iterator[str]:
    """Lines that are inside of something."""
    return (f"    {line}" for line in lines)


def identifiers_of(ids: Iterable[str]) -> dict[str, str]:
    """A different identifier for each: the name itself wherever it is one, so that the text can be read."""
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
