"""LangChain's messages, models and tools in graphs of durable_graph: `pip install "durable-graph[langchain]"`."""

import importlib.util

if importlib.util.find_spec("langchain_core") is None:
    raise ImportError(
        'durable_graph_langchain needs langchain-core: pip install "durable-graph[langchain]"', name="langchain_core"
    )

__all__: list[str] = []
