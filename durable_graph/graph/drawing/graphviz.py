"""A drawing as text in Graphviz's language, for `dot` and other programs that read it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from durable_graph.graph.drawing.elements import Direction, DrawnEdge, DrawnNode
from durable_graph.graph.drawing.status import NodeStatus
from durable_graph.graph.drawing.texts import identifiers_of, indented, marks_of, shown, title_of

_SHAPES: Final = {
    "start": ("shape=oval",),
    "node": ("shape=box",),
    "subgraph": ("shape=box", "peripheries=2"),
    "end": ("shape=oval",),
}
_COLOURS: Final[Mapping[NodeStatus, tuple[str, str]]] = {
    "done": ("#d3f9d8", "#2b8a3e"),
    "next": ("#d0ebff", "#1971c2"),
    "interrupted": ("#fff3bf", "#e67700"),
    "failed": ("#ffe3e3", "#c92a2a"),
}


def graphviz_text(
    name: str,
    nodes: Sequence[DrawnNode],
    edges: Sequence[DrawnEdge],
    status: Mapping[str, NodeStatus],
    direction: Direction,
) -> str:
    """A digraph: dashed arrows are conditional, bold arrows are joins, a double frame is a subgraph."""
    identifiers = identifiers_of(node.id for node in nodes)
    lines = [
        f"digraph {_quoted(shown(name))} {{",
        f"    rankdir={'TB' if direction == 'TD' else direction};",
        *indented(_nodes_inside(None, nodes, identifiers, status)),
        *indented(_edge(edge, identifiers) for edge in edges),
        "}",
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
        looks = _looks(node, status.get(node.id))
        if node.is_open:
            yield f'subgraph "cluster_{identifiers[node.id]}" {{'
            yield from indented(f"{look};" for look in looks)
            yield from indented(_nodes_inside(node.id, nodes, identifiers, status))
            yield "}"
        else:
            yield f'"{identifiers[node.id]}" [{", ".join((*_SHAPES[node.kind], *looks))}];'


def _looks(node: DrawnNode, status: NodeStatus | None) -> tuple[str, ...]:
    marks = marks_of(node, status)
    title = _quoted(title_of(node))
    label = f'{title[:-1]}\\n({marks})"' if marks else title
    styles = [*(["filled"] if status else []), *(["dashed"] if node.is_deferred else [])]
    fill, line = _COLOURS[status] if status else ("", "")
    return (
        f"label={label}",
        *([f'style="{",".join(styles)}"'] if styles else []),
        *([f'fillcolor="{fill}"', f'color="{line}"'] if status else []),
    )


def _edge(edge: DrawnEdge, identifiers: Mapping[str, str]) -> str:
    style = ["style=bold"] if edge.is_join else ["style=dashed"] if edge.is_conditional else []
    label = [] if edge.label is None else [f"label={_quoted(shown(edge.label))}"]
    looks = ", ".join([*style, *label])
    return f'"{identifiers[edge.source]}" -> "{identifiers[edge.target]}"' + (f" [{looks}];" if looks else ";")


def _quoted(text: str) -> str:
    # Graphviz resolves escapes such as \\N, and HTML entities, in labels.
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return f'"{escaped}"'
