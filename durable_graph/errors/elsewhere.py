"""LangGraph's names that this library does not have, and the replacement of each.

A user who changes the imports of a LangGraph program gets these texts one by one; `docs/coming-from-langgraph.md` lists
all of them.
"""

import sys
from collections.abc import Callable, Mapping
from opcode import opmap
from typing import Final, Never

from durable_graph.errors.tree import bounded

_STORE: Final = "memory across threads is an object of your own, such as a database: give it to `compile(store=...)`"
_EVENTS: Final = "read the typed events of `graph.stream()`"
_ASYNC: Final = "the library is async only"
_SAVERS: Final = "a saver of your own implements the protocol `Checkpointer`"
_AT_THE_CALL: Final = "pass it to `ainvoke` or `astream`"
_DESCRIBED: Final = "`graph.topology` is the checked graph"
_SCHEMAS: Final = (
    "the schemas are the classes that the graph was given; `get_input_jsonschema()`, `get_output_jsonschema()` and "
    "`get_context_jsonschema()` return their JSON schemas"
)
_RUNNABLE: Final = "a graph is no `Runnable`: wrap `ainvoke` in a function, such as `RunnableLambda(graph.ainvoke)`"
_VALUE: Final = "a drawing cannot be changed: draw the graph that you mean"


def _table(*rows: tuple[str, str]) -> dict[str, str]:
    return {name: replacement for names, replacement in rows for name in names.split()}


MODULE: Final = _table(
    ("AsyncSqliteSaver SqliteSaver", "use `durable_graph_sqlite.SqliteSaver(path)`"),
    ("AsyncPostgresSaver PostgresSaver", "use `durable_graph_postgres.PostgresSaver(dsn)`"),
    ("PersistentDict", "use `durable_graph_sqlite.SqliteSaver(path)`"),
    ("SqliteCache", "use `durable_graph_sqlite.SqliteCache(path)`"),
    ("BaseCache RedisCache", "a cache of your own implements the protocol `Cache`"),
    ("BaseCheckpointSaver", _SAVERS),
    ("Checkpoint CheckpointMetadata CheckpointTuple", "the records that are stored are in `durable_graph.records`"),
    ("MessageGraph", "use `StateGraph(MessagesState)`"),
    ("AnyMessage", "import it from `langchain_core.messages`"),
    ("CompiledStateGraph Pregel", "use `CompiledGraph`"),
    ("NodeBuilder", "describe the graph with `StateGraph` or `@entrypoint`"),
    (
        "AnyUIMessage UIMessage RemoveUIMessage push_ui_message delete_ui_message ui_message_reducer",
        "use a key with a reducer, and `get_stream_writer()`",
    ),
    ("TracePolicy omit_payload", "there is no tracer"),
    ("PregelTask", "use `SnapshotTask`"),
    ("All", 'write `"*"`'),
    ("ensure_valid_checkpointer", "`compile` checks its checkpointer"),
    (
        """StreamPart ValuesStreamPart UpdatesStreamPart MessagesStreamPart CustomStreamPart
        CheckpointStreamPart TasksStreamPart DebugStreamPart TaskPayload TaskResultPayload CheckpointTask
        CheckpointPayload DebugPayload""",
        f'`version="v2"` yields the same dicts; for types {_EVENTS}',
    ),
    ("ServerInfo BaseUser", "pass what nodes need as `context`"),
    ("NodeInterrupt", "call `interrupt()`"),
    (
        "is_invalid_resume",
        "catch `UnknownInterruptError`, `AmbiguousResumeError` and `InterruptAnsweredError`",
    ),
    ("EmptyInputError", "catch `InvalidInputError`, or `NothingToResumeError` for None"),
    ("EmptyChannelError", 'catch `StateKeyError`, whose kind is then "missing"'),
    ("TaskNotFound", 'catch `UnknownNameError`, whose kind is then "task"'),
    ("ErrorCode", "catch the class of the error, and read its `kind`"),
    ("BinaryOperatorAggregate BaseChannel", "annotate the key: `Annotated[<type>, <reducer>]`"),
    ("DeltaChannel", "reducers such as `operator.add` on a list are stored as deltas automatically"),
    (
        "NamedBarrierValue NamedBarrierValueAfterFinish LastValueAfterFinish",
        "use `add_edge([...], target)` and `defer=True`",
    ),
    ("ManagedValueSpec ManagedValueMapping", "annotate a key with `IsLastStep` or `RemainingSteps`"),
    (
        "SerializerProtocol JsonPlusSerializer EncryptedSerializer CipherProtocol",
        "values are encoded by their declared types; encrypt the disk or the values",
    ),
    (
        """BaseStore InMemoryStore SqliteStore AsyncSqliteStore PostgresStore AsyncPostgresStore Item
        SearchItem Op GetOp PutOp SearchOp ListNamespacesOp MatchCondition NamespaceMatchType NamespacePath
        IndexConfig TTLConfig Embeddings ensure_embeddings""",
        _STORE,
    ),
    ("RemoteGraph RemoteException", "durable_graph does not call LangGraph's server"),
    (
        """create_react_agent ToolNode ToolRuntime ToolCallRequest ToolInvocationError InjectedState InjectedStore
        tools_condition AgentState""",
        'it is in `durable_graph_langchain`: pip install "durable-graph[langchain]"',
    ),
    (
        """AgentStatePydantic AgentStateWithStructuredResponse AgentStateWithStructuredResponsePydantic""",
        "make a state of your own, such as a subclass of `durable_graph_langchain.AgentState`",
    ),
    ("ToolCallTransformer", _EVENTS),
    ("ValidationNode", "a `ToolNode` of `durable_graph_langchain` tells the model of arguments that do not fit"),
    ("HumanInterrupt HumanInterruptConfig HumanResponse ActionRequest", "`interrupt()` asks with any value"),
    (
        """AsyncGraphRunStream GraphRunStream AsyncSubgraphRunStream SubgraphRunStream StreamChannel
        StreamTransformer ProtocolEvent LifecyclePayload SubgraphStatus CheckpointsTransformer
        CustomTransformer DebugTransformer LifecycleTransformer MessagesTransformer SubgraphTransformer
        TasksTransformer UpdatesTransformer ValuesTransformer""",
        _EVENTS,
    ),
    (
        "GraphCallbackHandler GraphInterruptEvent GraphResumeEvent GraphLifecycleEvent GraphLifecycleStatus",
        f"{_EVENTS}: `RunInterrupted`, `RunResumed`",
    ),
    ("TAG_HIDDEN", "nothing is hidden"),
    ("TAG_NOSTREAM", 'write `"nostream"`'),
    ("CONF CONFIG_KEY_CHECKPOINTER TASKS", "a config has no reserved keys: use the parameter `runtime` of the node"),
    ("StateT StateT_co StateT_contra ContextT InputT OutputT", "use type variables of your own"),
    (
        """LangGraphDeprecationWarning LangGraphDeprecatedSinceV05 LangGraphDeprecatedSinceV10
        LangGraphDeprecatedSinceV11""",
        "deprecated options raise a `DeprecationWarning`",
    ),
    ("__version__", 'use `importlib.metadata.version("durable-graph")`'),
)
"""The error texts of `from <package> import <name>`, for each package of this library that lacks the name."""

GRAPH: Final = _table(
    ("invoke", f"{_ASYNC}: `await graph.ainvoke(...)`, or `asyncio.run(graph.ainvoke(...))`"),
    ("stream_events astream_events astream_log atransform transform", _EVENTS),
    ("get_state", f"{_ASYNC}: `await graph.aget_state(...)`"),
    ("get_state_history", f"{_ASYNC}: `async for snapshot in graph.aget_state_history(...)`"),
    ("update_state", f"{_ASYNC}: `await graph.aupdate_state(...)`"),
    ("bulk_update_state", f"{_ASYNC}: `await graph.abulk_update_state(...)`"),
    ("get_subgraphs", f"{_ASYNC}: `async for name, subgraph in graph.aget_subgraphs(...)`"),
    ("clear_cache", f"{_ASYNC}: `await graph.aclear_cache(...)`"),
    (
        "abatch abatch_as_completed batch batch_as_completed map",
        "start an `ainvoke` for each input in an `asyncio.TaskGroup`, a thread for each",
    ),
    ("copy", "use `with_config`, or compile again"),
    ("config", "use `with_config`, or give the config to the call"),
    ("cache store cache_policy retry_policy context_schema", "give it to `compile`, `add_node` or `StateGraph`"),
    ("stream_mode stream_eager stream_channels stream_channels_list stream_channels_asis debug", _AT_THE_CALL),
    (
        """nodes channels input_channels output_channels trigger_to_nodes node_error_handler_map
        interrupt_before_nodes interrupt_after_nodes builder""",
        _DESCRIBED,
    ),
    ("validate attach_node attach_edge attach_branch", "`compile` checks a graph, which does not change afterwards"),
    (
        """InputType OutputType get_input_schema get_output_schema get_config_jsonschema config_schema config_specs
        input_schema output_schema""",
        _SCHEMAS,
    ),
    ("get_name", "use `graph.name`"),
    ("draw_ascii print_ascii draw_mermaid draw_mermaid_png draw_png", "draw `graph.get_graph()`, as in `str(...)`"),
    (
        "get_prompts as_tool assign bind pick pipe with_fallbacks with_listeners with_alisteners with_retry with_types",
        _RUNNABLE,
    ),
)
"""The error texts for missing attributes of a compiled graph."""

DRAWING: Final = _table(
    (
        "draw_mermaid_png",
        "pass the text of `draw_mermaid()` to a Mermaid renderer, or show the drawing in a notebook",
    ),
    ("draw_png", "pass the text of `draw_dot()` to Graphviz: `dot -Tpng`"),
    (
        "add_node add_edge remove_node extend reid next_id first_node last_node trim_first_node trim_last_node",
        _VALUE,
    ),
)
"""The error texts for missing attributes of a drawing."""

RUNTIME: Final = _table(
    ("merge override patch_execution_info", "use `dataclasses.replace`"),
    ("drain_reason", "use `runtime.control.drain_reason`"),
)
"""The error texts for missing attributes of a node's runtime."""

OPTIONS: Final = _table(
    ("checkpoint_during", 'use durability="async" or durability="exit"'),
    ("callbacks print_mode transformers", _EVENTS),
    ("trace_policy", "there is no tracer"),
    ("stream_eager", "events are published as soon as they are durable"),
    ("serde", "values are encoded by their declared types"),
)
"""The error texts for keyword arguments that a call does not have."""


def module_attribute(module: str) -> Callable[[str], Never]:
    """The `__getattr__` of a package: raises an `ImportError` if the name is imported, else an `AttributeError`.

    Python drops the message of an `AttributeError` during an import, and `hasattr` accepts no other error.
    """

    def look_up(name: str) -> Never:
        text = _text(f"module {module!r}", name, MODULE)
        caller = sys._getframe(1)  # there is no other way to find the caller
        if name in MODULE and caller.f_code.co_code[caller.f_lasti] == opmap["IMPORT_FROM"]:
            raise ImportError(text, name=module)
        raise AttributeError(text, name=name)

    return look_up


class ClassAttribute:
    """An attribute that only LangGraph's class of the same name has. Reading it raises an `AttributeError`."""

    def __init__(self, replacement: str) -> None:
        self._replacement = replacement

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Never:
        text = _text(f"{owner.__name__!r}", self._name, {self._name: self._replacement})
        raise AttributeError(text, name=self._name, obj=owner if instance is None else instance)


def missing_attribute(owner: object, name: str, table: Mapping[str, str]) -> Never:
    """Raise the `AttributeError` for an attribute that `owner` does not have."""
    raise AttributeError(_text(f"{type(owner).__name__!r} object", name, table), name=name, obj=owner)


def _text(owner: str, name: str, table: Mapping[str, str]) -> str:
    if name in table:
        return f"{owner} has no attribute {name!r}, which is LangGraph's; {table[name]}"
    return bounded(f"{owner} has no attribute {name!r}")
