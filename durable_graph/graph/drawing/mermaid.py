"""A drawing as Mermaid text, which GitHub, notebooks and editors render."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from durable_graph.graph.drawing.elements import Direction, DrawnEdge, DrawnNode
from durable_graph.graph.drawing.status import STATUSES, NodeStatus
from durable_graph.graph.drawing.texts import identifiers_of, indented, marks_of, shown, title_of

_SHAPES: Final = {"start": '(["{}"])', "node": '["{}"]', "subgraph": '[["{}"]]', "end": '(["{}"])'}
# Dark text on light colours, in any theme of the page.
_STYLES: Final = {
    "deferred": "stroke-dasharray:4 3",
    "done": "fill:#d3f9d8,stroke:#2b8a3e,color:#1e1e1e",
    "next": "fill:#d0ebff,stroke:#1971c2,color:#1e1e1e",
    "interrupted": "fill:#fff3bf,stroke:#e67700,color:#1e1e1e",
    "failed": "fill:#ffe3e3,stroke:#c92a2a,color:#1e1e1e",
}


def mermaid_text(
    nodes: Sequence[DrawnNode],
    edges: Sequence[DrawnEdge],
    status: Mapping[str, NodeStatus],
    direction: Direction,
) -> str:
    """A flowchart: dotted arrows are conditional, thick arrows are joins, a double frame is a subgraph."""
    identifiers = identifiers_of(node.id for node in nodes)
    lines = [
        f"flowchart {direction}",
        *indented(_nodes_inside(None, nodes, identifiers, status)),
        *indented(_edge(edge, identifiers) for edge in edges),
        *indented(_classes(nodes, identifiers, status)),
    ]
    return "\n".join(lines) + "\n"


def _nodes_inside(
    parent: str | None,
    nodes: Sequence[DrawnNode],
    identifiers: Mapping[str, str],
    status: Mapping[str, NodeStatus],
) -> Iterator[str]:
    for node in nodes:
        if node.inside != parent:
            continue
        label = _label(node, status.get(node.id))
        if node.is_open:
            yield f'subgraph {identifiers[node.id]}["{label}"]'
            yield from indented(_nodes_inside(node.id, nodes, identifiers, status))
            yield "end"
        else:
            yield identifiers[node.id] + _SHAPES[node.kind].format(label)


def _label(node: DrawnNode, status: NodeStatus | None) -> str:
    marks = marks_of(node, status)
    return _escaped(title_of(node)) + (f"<br/><small>{marks}</small>" if marks else "")


def _edge(edge: DrawnEdge, identifiers: Mapping[str, str]) -> str:
    arrow = "==>" if edge.is_join else "-.->" if edge.is_conditional else "-->"
    label = "" if edge.label is None else f'|"{_escaped(shown(edge.label))}"|'
    return f"{identifiers[edge.source]} {arrow}{label} {identifiers[edge.target]}"


def _classes(
    nodes: Sequence[DrawnNode], identifiers: Mapping[str, str], status: Mapping[str, NodeStatus]
) -> Iterator[str]:
    members = {"deferred": [node.id for node in nodes if node.is_deferred]}
    members |= {each: [node.id for node in nodes if status.get(node.id) == each] for each in STATUSES}
    for name, ids in members.items():
        if ids:
            yield f"classDef {name} {_STYLES[name]}"
            yield f"class {','.join(identifiers[each] for each in ids)} {name}"


def _escaped(text: str) -> str:
    # Mermaid reads labels as Markdown and HTML, and some words inside them as statements. Entities avoid all three. "_"
    # and "-" inside a word have no meaning, and stay as they are, so that the text is readable.
    escaped = re.sub(r"(?<![^\W_])[_-]|[_-](?![^\W_])|[^\w -]|ﬂ", _entity, text)
    # Mermaid drops leading, trailing and repeated spaces.
    escaped = re.sub(r"^ | $|(?<= ) ", "#160;", escaped)
    # "direction LR" at any place turns the whole line into a statement.
    return escaped.replace("direction ", "direction#32;")


def _entity(found: re.Match[str]) -> str:
    entity = f"#{ord(found[0])};"
    # Mermaid resolves entities before it looks for "\n", for "$$" around formulas, for icons such as "fa:fa-car", and
    # for the ligatures that it uses to encode entities. An invisible word joiner separates the two parts of each.
    return f"{entity}#8288;" if found[0] in "\\$:ﬂ¶" else entity
