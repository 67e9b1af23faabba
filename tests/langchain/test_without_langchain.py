"""Programs on systems without `langchain_core`, and programs that do not use it, import nothing of it."""

import subprocess
import sys
from textwrap import dedent

import pytest

pytestmark = pytest.mark.slow

HIDDEN = """
import importlib.util as util

found = util.find_spec
util.find_spec = lambda name, *more: None if name == "langchain_core" else found(name, *more)
"""

CONVERSATION = """
import asyncio
from durable_graph import START, MessagesState, StateGraph

graph = StateGraph(MessagesState).add_node("node", lambda _: {}).add_edge(START, "node").compile(**OPTIONS)
print(asyncio.run(graph.ainvoke({"messages": [{"role": "user", "content": "hi", "id": "1"}]})))
"""

OTHER = """
import asyncio
from typing import TypedDict
from durable_graph import START, StateGraph

class State(TypedDict, total=False):
    key: str

graph = StateGraph(State).add_node("node", lambda _: {"key": "a"}).add_edge(START, "node").compile()
print(asyncio.run(graph.ainvoke({})))
"""

LOADED = "print(sorted(name for name in sys.modules if name.startswith(('langchain', 'durable_graph_langchain'))))"


def run(*parts: str) -> subprocess.CompletedProcess[str]:
    source = "\n".join(dedent(part) for part in ("import sys", *parts))
    return subprocess.run([sys.executable, "-c", source], check=False, capture_output=True, text=True, timeout=60)


def test_messages_are_dicts_without_langchain() -> None:
    done = run(
        HIDDEN,
        "OPTIONS = {}",
        CONVERSATION,
        LOADED,
    )
    assert done.stdout.splitlines() == ["{'messages': [{'role': 'user', 'content': 'hi', 'id': '1'}]}", "[]"], (
        done.stderr
    )


def test_errors_without_langchain_name_the_package_to_install() -> None:
    for use in ("OPTIONS = {'messages': 'langchain'}" + CONVERSATION, "import durable_graph_langchain"):
        done = run(
            HIDDEN,
            use,
        )
        assert done.returncode == 1
        assert 'pip install "durable-graph[langchain]"' in done.stderr.splitlines()[-1]


def test_a_graph_without_messages_does_not_import_langchain() -> None:
    done = run(OTHER, LOADED)
    assert done.stdout.splitlines() == ["{'key': 'a'}", "[]"], done.stderr


def test_a_conversation_of_dicts_does_not_import_langchain() -> None:
    done = run("OPTIONS = {'messages': 'dict'}", CONVERSATION, LOADED)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


DOCUMENTS = """
import asyncio
from typing import Any, TypedDict
from durable_graph import START, MemorySaver, StateGraph
from langchain_core.documents import Document

class State(TypedDict, total=False):
    found: Any

builder = StateGraph(State).add_node("node", lambda _: {"found": Document("tea")}).add_edge(START, "node")
print(asyncio.run(builder.compile(MemorySaver()).ainvoke({}, thread_id="t"))["found"].page_content)
"""


def test_a_program_that_imports_only_documents_can_store_them() -> None:
    done = run("import langchain_core.documents", "assert 'langchain_core.messages' not in sys.modules", DOCUMENTS)
    assert done.stdout.splitlines() == ["tea"], done.stderr
