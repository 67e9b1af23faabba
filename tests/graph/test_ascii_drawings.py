"""Drawings in ASCII characters."""

import itertools
from typing import Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph import END, START, Drawing, DrawnEdge, DrawnNode, StateGraph


class State(TypedDict, total=False):
    k: str


def node(_: State) -> State:
    return {}


def agent() -> Any:
    """A model and its tools, in a loop."""
    builder = StateGraph(State).add_node("agent", node).add_node("tools", node).add_edge(START, "agent")
    return builder.add_conditional_edges("agent", node, ["tools", END]).add_edge("tools", "agent").compile()


def test_conditional_edges_are_dotted_and_loops_are_listed() -> None:
    assert (
        agent().get_graph().draw_ascii()
        == """\
     +-----------+
     | __start__ |
     +-----------+
           |
           |
           v
       +-------+
       | agent |
       +-------+
          :
     +....+......+
     v           v
+-------+   +---------+
| tools |   | __end__ |
+-------+   +---------+

tools -> agent"""
    )


def test_the_edges_of_several_nodes_to_one_node_have_separate_lines() -> None:
    builder = StateGraph(State)
    for name in ("a", "b", "c", "d"):
        builder.add_node(name, node)
    builder.add_edge(START, "a").add_edge(START, "b").add_edge("a", "c").add_edge("b", "c")
    builder.add_conditional_edges("b", node, ["c", "d"]).add_edge("c", END).add_edge("d", END)

    assert (
        builder.compile().get_graph().draw_ascii()
        == """\
  +-----------+
  | __start__ |
  +-----------+
        |
   +----+----+
   v         v
+-----+   +-----+
|  a  |   |  b  |
+-----+   +-----+
  |       : |
  ++      : |
   +------:-+
   +......+..+
   v         v
+-----+   +-----+
|  c  |   |  d  |
+-----+   +-----+
  |         |
  +------+  |
         +--+
         v
   +---------+
   | __end__ |
   +---------+"""
    )


def test_an_edge_that_skips_a_row_is_listed() -> None:
    builder = StateGraph(State).add_node("a", node).add_node("b", node).add_edge(START, "a")
    drawing = builder.add_conditional_edges("a", node, ["b", END]).add_edge("b", END).compile().get_graph()

    picture, _, listed = drawing.draw_ascii().partition("\n\n")
    assert listed == "a -> __end__ (conditional)"
    assert picture.count("v\n") == 3


def test_an_expanded_nested_graph_is_drawn_with_its_nodes() -> None:
    builder = StateGraph(State).add_node("inner", agent()).add_edge(START, "inner").add_edge("inner", END)

    text = builder.compile().get_graph(xray=True).draw_ascii()

    assert "| inner:agent |" in text
    assert "inner:tools -> inner:agent" in text


def test_print_ascii_prints_the_drawing(capsys: pytest.CaptureFixture[str]) -> None:
    drawing = agent().get_graph()

    drawing.print_ascii()

    assert capsys.readouterr().out == drawing.draw_ascii() + "\n"


def test_names_are_drawn_in_ascii_and_shortened() -> None:
    drawing = Drawing("g", tuple(DrawnNode(each, each, "node") for each in ("ä", "x" * 500)), ())

    assert drawing.draw_ascii().isascii()
    assert "\\xe4" in drawing.draw_ascii()
    assert max(map(len, drawing.draw_ascii().splitlines())) < 100


def test_a_drawing_without_nodes_is_empty() -> None:
    assert Drawing("g", (), ()).draw_ascii() == ""


def test_a_long_chain_and_a_wide_graph_are_drawn() -> None:
    names = [str(number) for number in range(2_000)]
    nodes = tuple(DrawnNode(each, each, "node") for each in names)
    chain = Drawing("g", nodes, tuple(DrawnEdge(a, b) for a, b in itertools.pairwise(names)))
    wide = Drawing("g", nodes[:100], tuple(DrawnEdge("0", each, None, is_conditional=True) for each in names[1:100]))

    assert chain.draw_ascii().count("v\n") == 1_999
    assert wide.draw_ascii().count("v") == 99


@given(st.integers(1, 8), st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7), st.booleans()), max_size=20))
def test_every_edge_is_drawn_or_listed(size: int, pairs: list[tuple[int, int, bool]]) -> None:
    names = [f"n{number}" for number in range(size)]
    edges = tuple(DrawnEdge(names[a % size], names[b % size], None, is_conditional=kind) for a, b, kind in pairs)
    drawing = Drawing("g", tuple(DrawnNode(each, each, "node") for each in names), edges)

    text = drawing.draw_ascii()

    listed = [line for line in text.splitlines() if " -> " in line]
    arrows = sum(line.count("v") for line in text.splitlines() if " -> " not in line)
    reached = {edge.target for edge in edges}
    assert all(f" {name} " in text for name in names)
    assert arrows <= len(reached)
    assert arrows + len(listed) >= len(reached)
    assert text == drawing.draw_ascii()


@pytest.mark.parametrize("name", ["draw_mermaid_png", "draw_png"])
def test_the_error_of_a_png_method_names_the_text_to_pass_to_a_renderer(name: str) -> None:
    with pytest.raises(AttributeError, match=r"`draw_(mermaid|dot)\(\)`"):
        getattr(agent().get_graph(), name)
