"""Chat models and graphs for these tests: LangChain's own fake models, which stream word by word."""

from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage

from durable_graph import END, START, CompiledGraph, MessagesState, StateGraph

HELLO: dict[str, Any] = {"messages": [HumanMessage("hi", id="h")]}


class State(MessagesState):
    other: Any


def model(text: str = "good day", **options: Any) -> GenericFakeChatModel:
    """A model that gives the same answer at each call."""
    return GenericFakeChatModel(messages=_repeated(text), **options)


def _repeated(text: str) -> Iterator[AIMessage]:
    while True:
        yield AIMessage(text)


def one_node(node: Any, at: str = "node", **options: Any) -> CompiledGraph[Any, Any, Any, Any]:
    """A graph of one node, called `at`, compiled with the options."""
    builder: Any = StateGraph(State)
    builder.add_node(at, node).add_edge(START, at).add_edge(at, END)
    graph: CompiledGraph[Any, Any, Any, Any] = builder.compile(**options)
    return graph


async def received(graph: Any, given: Any = None, config: Any = None, **options: Any) -> list[tuple[str, str, str]]:
    """The class, the content and the node of each message that is streamed."""
    given = HELLO if given is None else given
    parts = graph.astream(given, config, stream_mode="messages", **options)
    return [(type(message).__name__, message.content, metadata["langgraph_node"]) async for message, metadata in parts]


def streamed(node: str = "node", *words: str) -> list[tuple[str, str, str]]:
    """The result of `received` for a model that answers with these words, by default with its default answer."""
    return [("AIMessageChunk", word, node) for word in words or ("good", " ", "day")]


class RunLog(BaseCallbackHandler):
    """Records the parent of each started run, and how runs end."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str | None]] = []
        self.ends: list[tuple[str, Any]] = []
        self.tags: dict[str, list[str]] = {}
        self.metadata: dict[str, dict[str, Any]] = {}
        self._names: dict[Any, str] = {}

    def _begin(self, name: str, facts: dict[str, Any]) -> None:
        self._names[facts["run_id"]] = name
        self.begun.append((name, self._names.get(facts["parent_run_id"])))
        self.tags[name] = facts["tags"]
        self.metadata[name] = facts["metadata"]

    def on_chain_start(self, serialized: Any, inputs: Any, **facts: Any) -> None:
        self._begin(facts["name"], facts)

    def on_chat_model_start(self, serialized: Any, messages: Any, **facts: Any) -> None:
        self._begin("model", facts)

    def on_tool_start(self, serialized: Any, input_str: Any, **facts: Any) -> None:
        self._begin(serialized["name"], facts)

    def on_chain_end(self, outputs: Any, **facts: Any) -> None:
        self.ends.append((self._names[facts["run_id"]], None))

    def on_chain_error(self, error: BaseException, **facts: Any) -> None:
        self.ends.append((self._names[facts["run_id"]], type(error).__name__))
