"""Options of a node, and the defaults for all nodes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, TypedDict

import pytest

from durable_graph import END, START, CachePolicy, Command, NodeError, RetryPolicy, TimeoutPolicy
from durable_graph.errors import GraphValidationError, InvalidOptionError, UnreachableNodeWarning
from durable_graph.graph import GraphBuilder
from durable_graph.graph.drawing import drawing_of
from tests.errors.kinds import of_kind
from tests.ids import without_address


class State(TypedDict, total=False):
    topic: str


async def plan(state: State) -> None: ...


def plain(state: State) -> None: ...


async def handle(state: State, error: NodeError) -> None: ...


def node_with(action: Callable[..., Any] = plan, **options: Any) -> Any:
    builder: Any = GraphBuilder(State).add_node("other", plan).add_edge("it", "other")
    return builder.add_node("it", action, **options).add_edge(START, "it").topology().nodes["it"]


def test_a_node_has_the_options_that_it_was_given() -> None:
    retry, cache = RetryPolicy(max_attempts=5), CachePolicy(ttl=1)
    node = node_with(
        defer=True,
        metadata={"team": "blue"},
        retry_policy=retry,
        cache_policy=cache,
        error_handler=handle,
        destinations=["other", END],
        timeout=timedelta(seconds=3),
    )

    assert (node.defer, node.metadata, node.retry, node.cache) == (True, {"team": "blue"}, (retry,), cache)
    assert (node.timeout, node.destinations) == (TimeoutPolicy(run_timeout=3), ("other", END))
    assert (node.error_handler.action, node.error_handler.is_async) == (handle, True)
    assert node.error_handler.injected == {"error": "error"}
    assert node.subgraph is None


def test_a_node_without_options_has_empty_options() -> None:
    node = node_with()

    assert (node.defer, node.metadata, node.retry, node.destinations) == (False, {}, (), ())
    assert (node.timeout, node.cache, node.error_handler) == (None, None, None)


def test_an_option_of_none_equals_an_omitted_option() -> None:
    names = ("metadata", "retry_policy", "cache_policy", "error_handler", "destinations", "timeout")
    options: dict[str, Any] = dict.fromkeys(names)

    assert node_with(plan, **options) == node_with()


def test_several_retry_policies_keep_their_order() -> None:
    policies = [RetryPolicy(retry_on=KeyError), RetryPolicy(retry_on=ValueError)]

    assert node_with(retry_policy=policies).retry == tuple(policies)


def test_the_topology_knows_its_deferred_nodes() -> None:
    builder = GraphBuilder(State).add_node("a", plan, defer=True).add_node("b", plan).set_entry_point("a")

    assert builder.add_edge("a", "b").topology().deferred == {"a"}


def test_a_later_change_of_metadata_does_not_change_the_topology() -> None:
    metadata = {"team": "blue"}
    node = node_with(metadata=metadata)
    metadata["team"] = "red"

    assert node.metadata == {"team": "blue"}


@pytest.mark.parametrize(
    "refused",
    [
        {"defer": "yes"},
        {"metadata": "blue"},
        {"metadata": [("team", "blue")]},
        {"retry_policy": 3},
        {"retry_policy": [RetryPolicy(), 3]},
        {"cache_policy": 60},
        {"destinations": "other"},
        {"destinations": [3]},
        {"destinations": {"other": 3}},
        {"destinations": 3},
        {"timeout": 0},
        {"timeout": "3"},
    ],
    ids=without_address,
)
def test_an_invalid_option_is_refused_at_once_by_an_error_that_names_its_node(refused: dict[str, Any]) -> None:
    builder: Any = GraphBuilder(State)

    with pytest.raises(InvalidOptionError, match=f"{next(iter(refused))} of node 'it'"):
        builder.add_node("it", plan, **refused)


def test_an_unknown_option_is_refused_with_the_known_options() -> None:
    builder: Any = GraphBuilder(State)

    with pytest.raises(TypeError, match=r"'retries'; it takes: .*retry_policy"):
        builder.add_node("it", plan, retries=3)


@pytest.mark.parametrize("handler", [3, "handle"])
def test_a_handler_that_cannot_be_called_is_refused_at_once(handler: Any) -> None:
    builder: Any = GraphBuilder(State)

    with pytest.raises(
        GraphValidationError, check=of_kind("argument"), match="the error handler of node 'it' cannot be called"
    ):
        builder.add_node("it", plan, error_handler=handler)
    with pytest.raises(
        GraphValidationError, check=of_kind("argument"), match="the error handler of all nodes cannot be called"
    ):
        builder.set_node_defaults(error_handler=handler)


# Destinations of Commands


def test_destinations_come_from_the_option_and_from_the_annotation_of_a_node() -> None:
    async def go(state: State) -> Command[Literal["it", "other"]] | State:
        return {}

    async def go_often(state: State) -> list[Command[Literal["other"]]]:
        return []

    async def go_anywhere(state: State) -> Command[Any]:
        return Command(goto="other")

    assert node_with(go).destinations == ("it", "other")
    assert node_with(go, destinations=(END, "other")).destinations == (END, "other", "it")
    assert node_with(go_often).destinations == ("other",)
    assert node_with(go_anywhere).destinations == ()


def test_labels_of_destinations_are_drawn() -> None:
    builder: Any = GraphBuilder(State).add_node("it", plan, destinations={"other": "if long", END: "if short"})
    topology = builder.add_node("other", plan).set_entry_point("it").topology()

    labels = {(edge.target, edge.label) for edge in drawing_of(topology).edges if edge.source == "it"}
    assert topology.nodes["it"].destinations == ("other", END)
    assert labels == {("other", "if long"), (END, "if short")}


def test_destinations_of_an_error_handler_are_reachable_and_drawn() -> None:
    async def rescue(state: State, error: NodeError) -> Command[Literal["other"]]:
        return Command(goto="other")

    for is_default in (False, True):
        builder: Any = GraphBuilder(State).add_node("it", plan, error_handler=None if is_default else rescue)
        builder.add_node("other", plan, error_handler=handle).set_entry_point("it")
        if is_default:
            builder.set_node_defaults(error_handler=rescue)
        drawn = drawing_of(builder.topology()).edges

        assert [(edge.target, edge.label) for edge in drawn if edge.source == "it"] == [
            ("other", "on error"),
            (END, None),
        ]


def test_a_default_handler_does_not_apply_to_a_node_with_its_own_handler() -> None:
    async def rescue(state: State, error: NodeError) -> Command[Literal["other"]]:
        return Command(goto="other")

    builder = GraphBuilder(State).set_node_defaults(error_handler=rescue)
    builder.add_node("it", plan, error_handler=handle).add_node("other", plan, error_handler=handle)

    with pytest.warns(UnreachableNodeWarning, match="'other'"):
        builder.set_entry_point("it").topology()


# Defaults for all nodes


def with_defaults(*calls: dict[str, Any], **options: Any) -> Any:
    builder: Any = GraphBuilder(State)
    for call in calls:
        builder.set_node_defaults(**call)
    return (
        builder.add_node("it", plan, **options).add_node("plain", plain).add_edge(START, "it").add_edge("it", "plain")
    )


def test_the_defaults_apply_to_a_node_without_options() -> None:
    retry, cache = RetryPolicy(), CachePolicy()
    builder = with_defaults({"retry_policy": retry, "cache_policy": cache, "timeout": 3, "error_handler": handle})
    node = builder.topology().nodes["it"]

    assert (node.retry, node.cache, node.timeout) == ((retry,), cache, TimeoutPolicy(run_timeout=3))
    assert node.error_handler.action is handle


def test_an_empty_option_of_a_node_overrides_the_default() -> None:
    builder = with_defaults({"retry_policy": RetryPolicy(), "timeout": 3}, retry_policy=(), timeout=TimeoutPolicy())
    node = builder.topology().nodes["it"]

    assert (node.retry, node.timeout) == ((), TimeoutPolicy())


def test_a_default_timeout_does_not_apply_to_plain_functions() -> None:
    assert with_defaults({"timeout": 3}).topology().nodes["plain"].timeout is None


def test_a_later_call_changes_only_the_given_defaults() -> None:
    one, two = RetryPolicy(max_attempts=1), RetryPolicy(max_attempts=2)
    builder = with_defaults({"retry_policy": one, "timeout": 3, "error_handler": handle}, {"retry_policy": two})
    node = builder.topology().nodes["it"]

    assert (node.retry, node.timeout) == ((two,), TimeoutPolicy(run_timeout=3))
    assert node.error_handler.action is handle


def test_error_handlers_have_the_default_retry_and_timeout_and_not_those_of_their_nodes() -> None:
    def handle_plainly(state: State, error: NodeError) -> None: ...

    retry = RetryPolicy(max_attempts=7)
    builder = with_defaults(
        {"retry_policy": retry, "timeout": 3}, retry_policy=RetryPolicy(), timeout=1, error_handler=handle
    )
    builder.add_node("b", plan, error_handler=handle_plainly).add_edge("it", "b")
    nodes = builder.topology().nodes

    assert (nodes["it"].error_handler.retry, nodes["it"].error_handler.timeout) == (
        (retry,),
        TimeoutPolicy(run_timeout=3),
    )
    assert nodes["b"].error_handler.timeout is None


def test_a_graph_with_defaults_may_be_compiled_repeatedly() -> None:
    builder = with_defaults({"retry_policy": RetryPolicy(), "error_handler": handle})

    assert builder.topology().nodes == builder.topology().nodes


def test_later_defaults_do_not_change_an_earlier_topology() -> None:
    builder = with_defaults()
    before = builder.topology()
    builder.set_node_defaults(timeout=3)

    assert before.nodes["it"].timeout is None
    assert builder.topology().nodes["it"].timeout == TimeoutPolicy(run_timeout=3)


@pytest.mark.parametrize(
    "refused", [{"retry_policy": 3}, {"cache_policy": 3}, {"timeout": -1}], ids=lambda refused: next(iter(refused))
)
def test_an_invalid_default_is_refused_at_once(refused: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match=next(iter(refused))):
        GraphBuilder(State).set_node_defaults(**refused)


# The graph itself


def test_a_graph_has_the_schemas_and_the_context_that_it_was_given() -> None:
    class Question(TypedDict):
        topic: str

    class Answer(TypedDict):
        topic: str

    class Context(TypedDict):
        user: str

    builder = GraphBuilder(State, Context, input_schema=Question, output_schema=Answer)
    topology = builder.add_node("it", plan).set_entry_point("it").topology()

    assert (topology.input.cls, topology.output.cls, topology.context) == (Question, Answer, Context)


def test_input_and_output_default_to_the_state() -> None:
    topology = GraphBuilder(State).add_node("it", plan).set_entry_point("it").topology()

    assert topology.input is topology.output is topology.state
    assert topology.context is None


@pytest.mark.parametrize("context", [3, "Context", {"user": "a"}, dict[str, str](user="a")])
def test_a_context_that_is_no_class_is_refused(context: Any) -> None:
    with pytest.raises(InvalidOptionError, match="context_schema"):
        GraphBuilder(State, context)


def test_a_context_may_be_a_class_with_type_arguments() -> None:
    topology = GraphBuilder(State, dict[str, str]).add_node("it", plan).set_entry_point("it").topology()

    assert topology.context == dict[str, str]
