"""A graph as boxes and lines of ASCII characters, for a terminal."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from durable_graph.graph.drawing.elements import DrawnEdge, DrawnNode
from durable_graph.graph.drawing.texts import shown

_GAP: Final = 3
"""Columns between two boxes."""

_LINES: Final = {False: ("|", "-"), True: (":", ".")}
"""The characters of vertical and horizontal lines, by whether the edge is conditional."""


def ascii_text(nodes: Sequence[DrawnNode], edges: Sequence[DrawnEdge]) -> tuple[str, tuple[DrawnEdge, ...]]:
    """The drawing, from START down, and the omitted edges, which lead back or skip a row of nodes.

    Each drawn edge ends in the next row of boxes. Its line is horizontal or vertical, and meets other lines only at a
    `+`.
    """
    ends = {end for edge in edges for end in (edge.source, edge.target)}
    drawn = [node.id for node in nodes if node.id in ends or not node.is_open]
    ahead = _without_loops(drawn, edges)
    rank = _ranks(drawn, ahead)
    between = [edge for edge in ahead if rank[edge.target] == rank[edge.source] + 1]
    rows = _rows(drawn, rank, between)
    boxes = _boxes(rows)
    lines: list[str] = []
    for number, row in enumerate(rows):
        if number:
            above = set(rows[number - 1])
            lines += _gap([edge for edge in between if edge.source in above], boxes)
        lines += _row([boxes[each] for each in row])
    kept = set(map(id, between))
    return "\n".join(lines), tuple(edge for edge in edges if id(edge) not in kept)


def _without_loops(nodes: Sequence[str], edges: Iterable[DrawnEdge]) -> list[DrawnEdge]:
    """The edges, except those that close a loop."""
    leaving: dict[str, list[DrawnEdge]] = {each: [] for each in nodes}
    for edge in edges:
        leaving[edge.source].append(edge)
    ahead: list[DrawnEdge] = []
    seen: set[str] = set()
    on_path: set[str] = set()
    for root in nodes:
        # No recursion, because a graph may be a long chain.
        paths = [] if root in seen else [(root, iter(leaving[root]))]
        seen.add(root)
        on_path.add(root)
        while paths:
            node, left = paths[-1]
            following = next(left, None)
            if following is None:
                on_path.discard(node)
                paths.pop()
            elif (target := following.target) not in on_path:
                ahead.append(following)
                if target not in seen:
                    seen.add(target)
                    on_path.add(target)
                    paths.append((target, iter(leaving[target])))
        on_path.discard(root)
    return ahead


def _ranks(nodes: Sequence[str], edges: Sequence[DrawnEdge]) -> dict[str, int]:
    """The row of each node: below all nodes that have an edge to it."""
    rank = dict.fromkeys(nodes, 0)
    missing = dict.fromkeys(nodes, 0)
    leaving: dict[str, list[str]] = {each: [] for each in nodes}
    for edge in edges:
        missing[edge.target] += 1
        leaving[edge.source].append(edge.target)
    ready = [each for each in nodes if not missing[each]]
    for node in ready:
        for target in leaving[node]:
            rank[target] = max(rank[target], rank[node] + 1)
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    return rank


def _rows(nodes: Sequence[str], rank: Mapping[str, int], edges: Sequence[DrawnEdge]) -> list[list[str]]:
    """The nodes of each row, each near the nodes that have an edge to it."""
    rows: list[list[str]] = [[] for _ in range(max(rank.values(), default=-1) + 1)]
    for node in nodes:
        rows[rank[node]].append(node)
    sources: dict[str, list[str]] = {}
    for edge in edges:
        sources.setdefault(edge.target, []).append(edge.source)
    place: dict[str, float] = {}
    for row in rows:
        wanted = {node: sum(place[each] for each in found) / len(found) for node in row if (found := sources.get(node))}
        row.sort(key=lambda node: wanted.get(node, 0.0))
        place.update((node, number / len(row)) for number, node in enumerate(row))
    return rows


@dataclass(frozen=True, slots=True)
class _Box:
    """The position of a node. A single line meets the box in the column `middle`."""

    label: str
    left: int

    @property
    def width(self) -> int:
        return len(self.label) + 4

    @property
    def middle(self) -> int:
        return self.left + self.width // 2


def _boxes(rows: Sequence[Sequence[str]]) -> dict[str, _Box]:
    # Each box is wide enough for two outgoing lines.
    labels = {node: f"{_plain(node):^3}" for row in rows for node in row}
    widths = [sum(len(labels[node]) + 4 + _GAP for node in row) - _GAP for row in rows]
    boxes: dict[str, _Box] = {}
    for row, width in zip(rows, widths, strict=True):
        left = (max(widths) - width) // 2
        for node in row:
            boxes[node] = _Box(labels[node], left)
            left += boxes[node].width + _GAP
    return boxes


def _plain(text: str) -> str:
    return shown(text).encode("ascii", "backslashreplace").decode()


def _row(boxes: Sequence[_Box]) -> list[str]:
    def line(parts: Iterable[str]) -> str:
        text = ""
        for box, part in zip(boxes, parts, strict=True):
            text = text.ljust(box.left) + part
        return text

    edge = line(f"+{'-' * (box.width - 2)}+" for box in boxes)
    return [edge, line(f"| {box.label} |" for box in boxes), edge]


@dataclass(slots=True)
class _Track:
    """A horizontal line from one node to the targets of its edges of one kind, conditional or not."""

    start: int
    is_conditional: bool
    targets: list[int] = field(default_factory=list)

    @property
    def columns(self) -> range:
        return range(min(self.start, *self.targets), max(self.start, *self.targets) + 1)


def _gap(edges: Sequence[DrawnEdge], boxes: Mapping[str, _Box]) -> list[str]:
    """The lines of text between two rows of boxes, with one line of text for each track."""
    tracks = list(_tracks(edges, boxes).values())
    height = len(tracks) + 2
    width = max((column for track in tracks for column in (track.start, *track.targets)), default=0) + 1
    grid = [[" "] * width for _ in range(height)]
    for level, track in enumerate(tracks, 1):
        upright, _ = _LINES[track.is_conditional]
        for line in range(level):
            grid[line][track.start] = upright
        for target in track.targets:
            for line in range(level + 1, height):
                # A line that joins edges of both kinds is drawn as unconditional.
                grid[line][target] = upright if grid[line][target] in (" ", upright) else "|"
            grid[-1][target] = "v"
    for level, track in enumerate(tracks, 1):
        _, flat = _LINES[track.is_conditional]
        for column in track.columns:
            if column in (track.start, *track.targets):
                grid[level][column] = grid[0][column] if len(track.columns) == 1 else "+"
            elif grid[level][column] == " ":
                grid[level][column] = flat
    return ["".join(line).rstrip() for line in grid]


def _tracks(edges: Sequence[DrawnEdge], boxes: Mapping[str, _Box]) -> dict[tuple[str, bool], _Track]:
    """A track for each node and kind of edge. Lines leave in even columns and arrive in odd columns, so no line lies on
    another; only a line without another one at either end may go straight down."""
    leaving, arriving = Counter(edge.source for edge in edges), Counter(edge.target for edge in edges)
    plain = {edge.source for edge in edges if not edge.is_conditional}
    tracks: dict[tuple[str, bool], _Track] = {}
    for edge in edges:
        source, target = boxes[edge.source].middle, boxes[edge.target].middle
        is_alone = leaving[edge.source] == arriving[edge.target] == 1
        if is_alone and abs(source - target) <= 1:
            tracks[edge.source, edge.is_conditional] = _Track(target, edge.is_conditional, [target])
            continue
        kind = (edge.source, edge.is_conditional)
        if kind not in tracks:
            # The two kinds of edges of a node leave in different columns.
            aside = 2 if edge.is_conditional and edge.source in plain else 0
            tracks[kind] = _Track(source // 2 * 2 - aside, edge.is_conditional)
        if (column := target // 2 * 2 + 1) not in tracks[kind].targets:
            tracks[kind].targets.append(column)
    return tracks
