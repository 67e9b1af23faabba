"""Problems in the definition of a graph, which are all reported at once."""

import operator
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, TypedDict

import pytest

from durable_graph import END, START, Command
from durable_graph.errors import DurableGraphError, GraphValidationError
from durable_graph.graph import GraphBuilder
from tests.errors.kinds import of_kind


class State(TypedDict):
    topic: str
    drafts: Annotated[list[str], operator.add]


async def plan(state: State) -> None: ...


def route(state: State) -> str:
    return END


def working() -> Any:
    """A valid graph. Untyped: the tests pass arguments that a type checker would refuse."""
    return GraphBuilder(State).add_node("a", plan).add_node("b", plan).add_edge(START, "a").add_edge("a", "b")


def problems_of(builder: Any, **options: Any) -> tuple[str, ...]:
    with pytest.raises(GraphValidationError, check=of_kind("graph")) as caught:
        builder.topology(**options)
    assert isinstance(caught.value, DurableGraphError)
    assert isinstance(caught.value, ValueError)
    return caught.value.problems


def takes_nothing() -> None: ...


def takes_keywords_alone(*, state: State) -> None: ...


def takes_more(state: State, tool: Any, /, *, runtime: Any, model: str) -> None: ...


def yields(state: State) -> Iterator[None]:
    yield


async def streams(state: State) -> Any:
    yield


def wrong_router(state: State, writer: Any) -> str:
    return END


def waits(state: State) -> None: ...


async def goes_nowhere(state: State) -> Command[Literal["a", "nowhere"]]:
    return Command(goto="nowhere")


NO_NODE_OF_THREE = (
    "which is no node; the graph has: a, b, c; if it is a node of the parent graph, "
    "put it into the destinations of the node that runs this graph"
)


class OtherReducer(TypedDict):
    drafts: Annotated[list[str], operator.concat]


class OwnMisfit(TypedDict):
    score: Annotated[int, lambda value: value]


class Unresolved(TypedDict):
    draft: "Nowhere"  # type: ignore[name-defined]  # noqa: F821 - what the test is about


def wants_other_reducer(state: OtherReducer) -> None: ...


def wants_own_misfit(state: OwnMisfit) -> None: ...


def wants_unresolved(state: Unresolved) -> None: ...


def routes_unresolved(state: Unresolved) -> str:
    return END


PROBLEMS: list[tuple[Callable[[Any], Any], str]] = [
    # Names
    (lambda graph: graph.add_node("a", plan), "2 nodes are called 'a'"),
    (lambda graph: graph.add_sequence([("c", plan), ("c", plan)]), "2 nodes are called 'c'"),
    (lambda graph: graph.add_node(START, plan), "'__start__' cannot be a node's name: it is reserved"),
    (lambda graph: graph.add_node(END, plan), "'__end__' cannot be a node's name: it is reserved"),
    (lambda graph: graph.add_node("", plan), "a node's name cannot be empty"),
    (lambda graph: graph.add_node("c|d", plan), "'c|d' cannot be a node's name: it contains '|'"),
    (lambda graph: graph.add_node("c:d", plan), "'c:d' cannot be a node's name: it contains ':'"),
    (lambda graph: graph.add_sequence([]), "add_sequence was given no nodes"),
    # Edges
    (
        lambda graph: graph.add_edge("c", "a"),
        "the edge 'c' -> 'a' leads out of 'c', which is no node; the graph has: a, b",
    ),
    (lambda graph: graph.add_edge("a", "c"), "the edge 'a' -> 'c' leads to 'c', which is no node; the graph has: a, b"),
    (lambda graph: graph.add_edge(END, "a"), "the edge '__end__' -> 'a' leads out of END, after which nothing runs"),
    (lambda graph: graph.add_edge("a", START), "the edge 'a' -> '__start__' leads to START, where runs only begin"),
    # Joins
    (lambda graph: graph.add_edge([], "b"), "the join [] -> 'b' waits for no node"),
    (lambda graph: graph.add_edge(["a", "a"], "b"), "the join ['a', 'a'] -> 'b' names 'a' 2 times"),
    (
        lambda graph: graph.add_edge(["a", "c"], "b"),
        "the join ['a', 'c'] -> 'b' leads out of 'c', which is no node; the graph has: a, b",
    ),
    (
        lambda graph: graph.add_edge(["a", START], "b"),
        (
            "the join ['a', '__start__'] -> 'b' leads out of '__start__', "
            "which is no node to wait for; the graph has: a, b"
        ),
    ),
    (
        lambda graph: graph.add_edge(["a", END], "b"),
        "the join ['a', '__end__'] -> 'b' leads out of END, after which nothing runs",
    ),
    (
        lambda graph: graph.add_edge(["a", "b"], "c"),
        "the join ['a', 'b'] -> 'c' leads to 'c', which is no node; the graph has: a, b",
    ),
    # Routers
    (
        lambda graph: graph.add_conditional_edges("c", route),
        "router 'route' of 'c' leads out of 'c', which is no node; the graph has: a, b",
    ),
    (
        lambda graph: graph.add_conditional_edges(END, route),
        "router 'route' of '__end__' leads out of END, after which nothing runs",
    ),
    (
        lambda graph: graph.add_conditional_edges("a", route, {"yes": "c"}),
        "router 'route' of 'a' leads to 'c', which is no node; the graph has: a, b",
    ),
    (
        lambda graph: graph.add_conditional_edges("a", route, [START]),
        "router 'route' of 'a' leads to START, where runs only begin",
    ),
    (
        lambda graph: graph.add_conditional_edges("a", route, {"yes": ["a"]}),
        "router 'route' of 'a' leads to ['a'], which is no node; the graph has: a, b",
    ),
    (
        lambda graph: graph.add_conditional_edges("a", route).add_conditional_edges("a", route),
        "'a' has 2 routers called 'route'; give them functions of different names",
    ),
    (
        lambda graph: graph.add_conditional_edges("a", wrong_router),
        (
            "router 'wrong_router' of 'a' requires the parameter 'writer', which nothing provides; "
            "allowed beside the state: runtime, config, store"
        ),
    ),
    # Signatures
    (
        lambda graph: graph.add_node("c", takes_nothing),
        "node 'c' takes no positional parameter; its first one is the state",
    ),
    (
        lambda graph: graph.add_node("c", takes_keywords_alone),
        "node 'c' takes no positional parameter; its first one is the state",
    ),
    (
        lambda graph: graph.add_node("c", takes_more),
        (
            "node 'c' requires the parameter 'tool', 'model', which nothing provides; "
            "allowed beside the state: runtime, config, store, writer, previous"
        ),
    ),
    (lambda graph: graph.add_node("c", yields), "node 'c' is a generator; it has to return its result, not yield it"),
    (lambda graph: graph.add_node("c", streams), "node 'c' is a generator; it has to return its result, not yield it"),
    # Options
    (
        lambda graph: graph.add_node("c", waits, timeout=3),
        "node 'c' has a timeout, and a plain function cannot be stopped: only an async node can have one",
    ),
    (
        lambda graph: graph.add_node("c", plan, error_handler=takes_nothing),
        "the error handler of node 'c' takes no positional parameter; its first one is the state",
    ),
    (
        lambda graph: graph.add_node("c", plan, error_handler=takes_more),
        (
            "the error handler of node 'c' requires the parameter 'tool', 'model', which nothing provides; "
            "allowed beside the state: runtime, config, store, writer, previous, error"
        ),
    ),
    (
        lambda graph: graph.set_node_defaults(error_handler=yields),
        "the error handler of all nodes is a generator; it has to return its result, not yield it",
    ),
    (
        lambda graph: graph.add_node("c", plan, destinations=["a", "nowhere"]),
        f"a Command of node 'c' goes to 'nowhere', {NO_NODE_OF_THREE}",
    ),
    (
        lambda graph: graph.add_node("c", goes_nowhere),
        f"a Command of node 'c' goes to 'nowhere', {NO_NODE_OF_THREE}",
    ),
    (
        lambda graph: graph.add_node("c", plan, error_handler=goes_nowhere),
        f"a Command of the error handler of node 'c' goes to 'nowhere', {NO_NODE_OF_THREE}",
    ),
    (
        lambda graph: graph.add_node("c", plan).set_node_defaults(error_handler=goes_nowhere),
        f"a Command of the error handler of all nodes goes to 'nowhere', {NO_NODE_OF_THREE}",
    ),
    (
        lambda graph: graph.add_node("c", plan, destinations=[START]),
        "a Command of node 'c' goes to START, where runs only begin",
    ),
    # Inputs
    (
        lambda graph: graph.add_node("c", wants_other_reducer),
        (
            "the input of node 'c': OtherReducer.drafts does not agree with State.drafts: "
            "list[str] with the reducer concat and list[str] with the reducer add"
        ),
    ),
    (
        lambda graph: graph.add_node("c", wants_own_misfit),
        (
            "OwnMisfit.score: <lambda>(value) cannot be a reducer: "
            "a reducer takes two arguments, the value so far and the write"
        ),
    ),
    (
        lambda graph: graph.add_node("c", wants_unresolved),
        (
            "the input of node 'c': Unresolved cannot be used as a state: "
            "the type of 'draft' cannot be resolved: name 'Nowhere' is not defined"
        ),
    ),
    (
        lambda graph: graph.add_conditional_edges("a", routes_unresolved),
        (
            "the input of router 'routes_unresolved' of 'a': Unresolved cannot be used as a state: "
            "the type of 'draft' cannot be resolved: name 'Nowhere' is not defined"
        ),
    ),
    (
        lambda graph: graph.add_node("c", plan, input_schema=int),
        "the input of node 'c': int is one value and State has keys",
    ),
]


@pytest.mark.parametrize(("spoil", "problem"), PROBLEMS, ids=[problem[:60] for _, problem in PROBLEMS])
def test_a_problem_is_reported(spoil: Callable[[Any], Any], problem: str) -> None:
    assert problems_of(spoil(working())) == (problem,)


def test_a_graph_without_an_entry_point_is_reported() -> None:
    problem = "no edge leads out of START, so no run can start; add one with set_entry_point"

    assert problems_of(GraphBuilder(State)) == (problem,)
    assert problems_of(GraphBuilder(State).add_node("a", plan)) == (problem,)


def no_reducer_at_all(value: int) -> int:
    return value


def test_a_reducer_of_the_wrong_shape_is_reported() -> None:
    class Plain: ...

    class Misfits(TypedDict):
        one: Annotated[int, no_reducer_at_all]
        three: Annotated[int, lambda value, write, more: value]
        a_class: Annotated[int, operator.add, Plain]

    problems = problems_of(GraphBuilder(Misfits).add_node("a", lambda state: None).add_edge(START, "a"))
    shape = "cannot be a reducer: a reducer takes two arguments, the value so far and the write"

    assert problems == (
        f"Misfits.one: no_reducer_at_all(value: int) -> int {shape}",
        f"Misfits.three: <lambda>(value, write, more) {shape}",
        f"Misfits.a_class: Plain() {shape}",
    )


async def async_reducer(value: int, write: int) -> int:
    return value + write


def test_an_async_reducer_is_reported() -> None:
    """The state would hold the coroutine that it returns."""

    class Waiting(TypedDict):
        total: Annotated[int, async_reducer]

    (problem,) = problems_of(GraphBuilder(Waiting).add_node("a", lambda state: None).add_edge(START, "a"))

    assert problem.startswith("Waiting.total: async_reducer cannot be a reducer: it is async")


def test_a_type_that_can_never_be_stored_is_reported_with_its_channel() -> None:
    class Unstorable(TypedDict):
        ask: Callable[[int], int]
        answers: Iterator[int]

    problems = problems_of(GraphBuilder(Unstorable).add_node("a", lambda state: None).add_edge(START, "a"))

    assert len(problems) == 2
    assert "'ask'" in problems[0]
    assert "'answers'" in problems[1]


def test_classes_that_share_a_tag_are_reported() -> None:
    class Other: ...

    problems = problems_of(working(), types=[("tag", Exception), ("tag", Other)])

    assert len(problems) == 1
    assert "'tag'" in problems[0]


def test_all_problems_of_a_graph_are_reported_at_once() -> None:
    class Misfit(TypedDict):
        topic: str
        score: Annotated[int, no_reducer_at_all]
        ask: Callable[[int], int]

    graph: Any = GraphBuilder(Misfit)
    graph.add_node("c|d", wants_other_reducer).add_node("e", wants_unresolved).add_node("e", takes_nothing)
    graph.add_edge("e", "f").add_edge(["e", "e"], "c|d").add_conditional_edges(END, wrong_router)

    reported = "\n".join(problems_of(graph))

    for fragment in (
        "contains '|'",
        "OtherReducer.drafts",
        "Nowhere",
        "takes no positional",
        "2 nodes are called 'e'",
        "leads to 'f'",
        "names 'e' 2 times",
        "leads out of END",
        "'writer'",
        "no edge leads out of START",
        "Misfit.score",
        "'ask'",
    ):
        assert fragment in reported


def test_the_error_lists_one_problem_per_line() -> None:
    with pytest.raises(GraphValidationError, check=of_kind("graph")) as caught:
        working().add_edge("a", "c").add_node("", plan).topology()

    assert str(caught.value) == (
        "the graph cannot be compiled:\n"
        "  - a node's name cannot be empty\n"
        "  - the edge 'a' -> 'c' leads to 'c', which is no node; the graph has: , a, b"
    )
