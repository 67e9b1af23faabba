"""Drawings as Mermaid, Graphviz, JSON and plain text."""

import json
import re
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durable_graph import END, START, Drawing, DrawnEdge, DrawnNode
from durable_graph.errors import InvalidOptionError, UnknownNameError
from durable_graph.graph.drawing import Direction, NodeStatus, status_of
from tests.errors.kinds import of_kind


def drawing(*names: str, edges: tuple[DrawnEdge, ...] = ()) -> Drawing:
    """These nodes between START and END, in a row unless there are other edges."""
    nodes = (DrawnNode(START, START, "start"), *(DrawnNode(each, each, "node") for each in names))
    ids = [START, *names, END]
    row = tuple(DrawnEdge(*pair) for pair in pairwise(ids))
    return Drawing("essay", (*nodes, DrawnNode(END, END, "end")), edges or row)


REVIEW: Final = Drawing(
    "review",
    (
        DrawnNode(START, START, "start"),
        DrawnNode("draft", "draft", "node", metadata={"owner": "ops"}),
        DrawnNode("check", "check", "subgraph", is_open=True),
        DrawnNode("check:__start__", START, "start", inside="check"),
        DrawnNode("check:facts", "facts", "node", inside="check"),
        DrawnNode("check:__end__", END, "end", inside="check"),
        DrawnNode("style", "style", "subgraph"),
        DrawnNode("approve", "approve", "node", is_deferred=True, interrupts=("before", "after")),
        DrawnNode(END, END, "end"),
    ),
    (
        DrawnEdge(START, "draft"),
        DrawnEdge("draft", "check:__start__"),
        DrawnEdge("draft", "style", "long text", is_conditional=True),
        DrawnEdge("check:__start__", "check:facts"),
        DrawnEdge("check:facts", "check:__end__"),
        DrawnEdge("check:__end__", "approve", is_join=True),
        DrawnEdge("style", "approve", is_join=True),
        DrawnEdge("approve", END),
    ),
)


# Golden texts


def test_a_drawing_is_rendered_as_mermaid() -> None:
    assert REVIEW.draw_mermaid() == (
        """\
flowchart TD
    __start__(["START"])
    draft["draft"]
    subgraph check["check"]
        check___start__(["START"])
        check_facts["facts"]
        check___end__(["END"])
    end
    node_style[["style"]]
    approve["approve<br/><small>deferred, interrupt before and after</small>"]
    __end__(["END"])
    __start__ --> draft
    draft --> check___start__
    draft -.->|"long text"| node_style
    check___start__ --> check_facts
    check_facts --> check___end__
    check___end__ ==> approve
    node_style ==> approve
    approve --> __end__
    classDef deferred stroke-dasharray:4 3
    class approve deferred
"""
    )


def test_a_drawing_is_rendered_as_graphviz() -> None:
    assert REVIEW.draw_dot() == (
        """\
digraph "review" {
    rankdir=TB;
    "__start__" [shape=oval, label="START"];
    "draft" [shape=box, label="draft"];
    subgraph "cluster_check" {
        label="check";
        "check___start__" [shape=oval, label="START"];
        "check_facts" [shape=box, label="facts"];
        "check___end__" [shape=oval, label="END"];
    }
    "node_style" [shape=box, peripheries=2, label="style"];
    "approve" [shape=box, label="approve\\n(deferred, interrupt before and after)", style="dashed"];
    "__end__" [shape=oval, label="END"];
    "__start__" -> "draft";
    "draft" -> "check___start__";
    "draft" -> "node_style" [style=dashed, label="long text"];
    "check___start__" -> "check_facts";
    "check_facts" -> "check___end__";
    "check___end__" -> "approve" [style=bold];
    "node_style" -> "approve" [style=bold];
    "approve" -> "__end__";
}
"""
    )


def test_a_drawing_is_rendered_as_plain_text() -> None:
    assert str(REVIEW.with_status({"draft": "done", "check": "next"})) == (
        """\
review
  __start__ -> draft
  draft -> check:__start__
  draft -> style (conditional: long text)
  check:__start__ -> check:facts
  check:facts -> check:__end__
  check:__end__ -> approve (join)
  style -> approve (join)
  approve -> __end__
  draft: done
  check: next
  approve: deferred, interrupt before and after"""
    )


def test_a_drawing_is_rendered_as_json() -> None:
    described = REVIEW.with_status({"draft": "done"}).to_json()

    assert json.loads(json.dumps(described)) == described
    assert described["name"] == "review"
    assert described["nodes"][1] == {
        "id": "draft",
        "name": "draft",
        "kind": "node",
        "status": "done",
        "metadata": {"owner": "ops"},
    }
    assert described["nodes"][2] == {"id": "check", "name": "check", "kind": "subgraph", "open": True}
    assert described["nodes"][4] == {"id": "check:facts", "name": "facts", "kind": "node", "inside": "check"}
    assert described["nodes"][-2]["interrupts"] == ["before", "after"]
    assert described["edges"][0] == {"source": START, "target": "draft"}
    assert described["edges"][2] == {"source": "draft", "target": "style", "data": "long text", "conditional": True}
    assert described["edges"][-2] == {"source": "style", "target": "approve", "join": True}


def test_notebooks_get_the_picture_and_the_text() -> None:
    shown = drawing("plan").with_status({"plan": "failed"})

    bundle = shown._repr_mimebundle_()

    assert bundle == {
        "text/vnd.mermaid": shown.draw_mermaid(),
        "text/markdown": f"```mermaid\n{shown.draw_mermaid()}```\n",
        "text/plain": str(shown),
    }
    assert "class plan failed" in bundle["text/vnd.mermaid"]


@pytest.mark.parametrize(
    ("direction", "rankdir"), [("TD", "TB"), ("TB", "TB"), ("BT", "BT"), ("LR", "LR"), ("RL", "RL")]
)
def test_a_drawing_may_have_any_direction(direction: Direction, rankdir: str) -> None:
    assert REVIEW.draw_mermaid(direction=direction).startswith(f"flowchart {direction}\n")
    assert f"rankdir={rankdir};" in REVIEW.draw_dot(direction=direction)


def test_an_unknown_direction_is_refused() -> None:
    diagonal: Any = "XY"

    with pytest.raises(InvalidOptionError, match="direction='XY' is not possible; it takes TD, TB, BT, LR, RL"):
        REVIEW.draw_mermaid(direction=diagonal)
    with pytest.raises(InvalidOptionError, match="direction='XY'"):
        REVIEW.draw_dot(direction=diagonal)


# The status of a thread

STATUS: Final[dict[str, NodeStatus]] = {"a": "done", "b": "next", "c": "interrupted", "d": "failed"}


def test_a_status_is_a_colour_and_a_word_in_both_formats() -> None:
    mermaid = drawing("a", "b", "c", "d", "e").draw_mermaid(STATUS)
    graphviz = drawing("a", "b", "c", "d", "e").draw_dot(STATUS)

    for name, status in STATUS.items():
        assert f'{name}["{name}<br/><small>{status}</small>"]' in mermaid
        assert f"classDef {status} fill:#" in mermaid
        assert f"class {name} {status}\n" in mermaid
        assert re.search(rf'"{name}" .*label="{name}\\n\({status}\)", style="filled", fillcolor="#', graphviz)
    assert 'e["e"]' in mermaid
    assert '"e" [shape=box, label="e"];' in graphviz


def test_colours_of_unused_statuses_are_not_defined() -> None:
    mermaid = drawing("a", "b").draw_mermaid({"a": "done", "b": "done"})

    assert re.findall(r"classDef (\w+)", mermaid) == ["done"]
    assert "class a,b done" in mermaid


def test_an_opened_subgraph_has_a_status_of_its_own() -> None:
    status: dict[str, NodeStatus] = {"check": "next", "check:facts": "failed"}

    assert 'subgraph check["check<br/><small>next</small>"]' in REVIEW.draw_mermaid(status)
    assert "class check_facts failed" in REVIEW.draw_mermaid(status)
    assert 'subgraph "cluster_check" {\n        label="check\\n(next)";\n        style="filled";' in REVIEW.draw_dot(
        status
    )


def test_a_passed_status_replaces_the_status_of_the_drawing() -> None:
    shown = drawing("a", "b").with_status({"a": "done"})

    assert shown.draw_mermaid() == drawing("a", "b").draw_mermaid({"a": "done"})
    assert shown.draw_mermaid({"b": "next"}) == drawing("a", "b").draw_mermaid({"b": "next"})
    assert shown.draw_dot({}) == drawing("a", "b").draw_dot()


def test_the_status_of_a_node_that_is_not_drawn_is_an_error_that_names_it() -> None:
    with pytest.raises(
        UnknownNameError, check=of_kind("node"), match=r"not in the drawing: 'wirte'.*the graph has: .*write"
    ):
        drawing("write").draw_mermaid({"wirte": "done"})


def test_an_unknown_status_is_an_error_that_names_it() -> None:
    given: Any = {"write": "waiting"}

    with pytest.raises(InvalidOptionError, match=r"'waiting'.*done, next, interrupted, failed"):
        drawing("write").with_status(given)


def test_a_node_with_several_statuses_shows_the_most_urgent_status() -> None:
    assert status_of(
        done=["draft", "loop", "ask", "send"],
        next=["loop", "ask", "send", "both"],
        interrupted=["ask", "both"],
        failed=["send", "both"],
    ) == {"draft": "done", "loop": "next", "ask": "interrupted", "send": "failed", "both": "failed"}


def test_statuses_of_nodes_inside_a_subgraph_are_named_by_path() -> None:
    assert status_of(next=["facts"], inside="check") == {"check:facts": "next"}


# Any name


TEXT: Final = r"(?:[\w -]|#\d+;)+"
LINE: Final = re.compile(
    rf'flowchart TD|(?P<node>\w+)(?:\["(?P<label>{TEXT})(?:<br/><small>\w+</small>)?"\]|\(\["(?:START|END)"\]\))'
    rf'|(?P<source>\w+) (?:-->|-\.->|==>)(?:\|"{TEXT}"\|)? (?P<target>\w+)'
    r"|classDef \w+ [\w:#,-]+|class [\w,]+ \w+"
)
NAMES: Final = st.text(min_size=1, max_size=80).filter(lambda name: name not in (START, END))


def lines_of(mermaid: str) -> list[re.Match[str]]:
    """The lines as matches of the grammar above; the text has no other lines."""
    found = [LINE.fullmatch(line.strip()) for line in mermaid.removesuffix("\n").split("\n")]
    assert None not in found
    return [line for line in found if line is not None]


def read(label: str) -> str:
    """The text that a renderer shows."""
    return re.sub(r"#(\d+);", lambda entity: chr(int(entity[1])), label).replace("\u2060", "").replace("\xa0", " ")


@given(st.lists(NAMES, min_size=1, max_size=6, unique=True), st.data())
@example(['"]\n    evil["x'], None)
@example(["a b", "a_b", "a-b", "a.b"], None)
@example(["end", "END", "subgraph", "direction LR", "constructor", "__proto__"], None)
@example(["<script>alert(1)</script>", "%%{init: {}}%%", "`**bold**`", "1. list", "&quot;", "#35;"], None)
@example(["\ud800", "\u202e", "\x00", "🙂", "é", "x" * 80], None)
def test_every_node_and_edge_is_drawn_whatever_its_name(names: list[str], data: st.DataObject | None) -> None:
    edges = tuple(
        DrawnEdge(source, target, label, is_conditional=True)
        for source, target, label in (
            [(START, name, name) for name in names]
            if data is None
            else data.draw(st.lists(st.tuples(st.sampled_from([START, *names]), st.sampled_from(names), NAMES)))
        )
    )
    picture = drawing(*names, edges=edges or (DrawnEdge(START, names[0]),))

    lines = lines_of(picture.draw_mermaid({names[0]: "done"}))

    drawn = [line["node"] for line in lines if line["node"]]
    assert len(set(drawn)) == len(drawn) == len(picture.nodes)
    identifiers = dict(zip([node.id for node in picture.nodes], drawn, strict=True))
    assert [(line["source"], line["target"]) for line in lines if line["source"]] == [
        (identifiers[edge.source], identifiers[edge.target]) for edge in picture.edges
    ]
    digraph = picture.draw_dot()
    assert all(f'    "{identifiers[node.id]}" [' in digraph for node in picture.nodes)
    assert digraph.count(" -> ") >= len(picture.edges)
    digraph.encode()


@given(NAMES)
@example("line\nbreak \\n \x00")
@example("  a  b  ")
@example("$$x$$ fa:fa-car ﬂ°°35¶ß direction LR __init__ -x- a_b a-b")
def test_a_label_shows_the_name_of_its_node(name: str) -> None:
    picture = drawing(name)
    (label,) = [line["label"] for line in lines_of(picture.draw_mermaid()) if line["label"]]
    printable = "".join(char if char.isprintable() else repr(char)[1:-1] for char in name)

    shown = read(label)

    if len(printable) <= 60:
        assert shown == printable.replace("\xa0", " ")
    else:
        assert len(shown) == 60
        assert shown.startswith(printable[:29])
        assert shown.endswith(printable[-30:])


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("draft_2-b", "draft_2-b"),
        ("_x_", "#95;x#95;"),
        ('say "hi"', "say #34;hi#34;"),
        ("<b>&", "#60;b#62;#38;"),
        (" a  b ", "#160;a #160;b#160;"),
        ("direction LR", "direction#32;LR"),
        ("a\\nb", "a#92;#8288;nb"),
        ("日本", "日本"),
    ],
)
def test_mermaid_syntax_in_a_name_is_written_as_entities(name: str, label: str) -> None:
    assert f'["{label}"]' in drawing(name).draw_mermaid()


@pytest.mark.parametrize(
    ("name", "label"),
    [('say "hi"', r'"say \"hi\""'), ("a\\", r'"a\\"'), ("<b>&lt;", '"<b>&amp;lt;"'), ("a\nb", r'"a\\nb"')],
)
def test_graphviz_syntax_in_a_name_is_escaped(name: str, label: str) -> None:
    assert f"label={label}]" in drawing(name).draw_dot()


def test_a_name_that_is_a_valid_identifier_keeps_it_among_similar_names() -> None:
    mermaid = drawing("a b", "a-b", "a_b", "a_b_2").draw_mermaid()

    assert [line["node"] for line in lines_of(mermaid) if line["label"]] == ["a_b_3", "a_b_4", "a_b", "a_b_2"]


def test_a_name_cannot_close_the_markdown_fence() -> None:
    assert drawing("```", edges=(DrawnEdge(START, "```", "```"),))._repr_mimebundle_()["text/markdown"].count("`") == 6


@pytest.mark.parametrize("name", ["end", "END", "subgraph", "style", "constructor", "toString", "__proto__"])
def test_reserved_words_of_mermaid_and_its_layout_are_not_used_as_identifiers(name: str) -> None:
    assert f'node_{name}["' in drawing(name).draw_mermaid()


def test_identifiers_have_a_bounded_length_and_stay_unique() -> None:
    mermaid = drawing("x" * 5000, "x" * 5001, "0" * 5000).draw_mermaid()

    drawn = [line["node"] for line in lines_of(mermaid) if line["label"]]

    assert drawn == ["x" * 60, "x" * 60 + "_2", "node_" + "0" * 60]
