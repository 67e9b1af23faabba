"""Graphs for tests of LangGraph's clients: a chat, a team with every kind of step, and a node that fails.

A model answers word by word. If a run names a `gate`, the model stops after its second word until a file of that
name is in the working directory of the server: so a test can act in the middle of a message.
"""

import asyncio
import operator
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk

from durable_graph import START, Command, Runtime, Send, StateGraph, add_messages, interrupt

ROUTES = ("by sea", "by train")


class Writer(GenericFakeChatModel):
    """A model that stops at a gate."""

    gate: Path | None = None

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **options: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        words = 0
        for chunk in self._stream(messages, stop, None, **options):
            if self.gate is not None and words >= 2:
                while not self.gate.exists():  # noqa: ASYNC110  # another process makes the file
                    await asyncio.sleep(0.02)
            words += 1 if str(chunk.message.content).strip() else 0
            if run_manager is not None:
                await run_manager.on_llm_new_token(str(chunk.message.content), chunk=chunk)
            yield chunk


class Talk(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    gate: str


class Trip(Talk, total=False):
    topic: str
    found: Annotated[list[str], operator.add]


class Find(TypedDict):
    topic: str
    route: str


async def say(state: Talk) -> Talk:
    """A model repeats the last message."""
    gate = state.get("gate")
    text = f"You said {state['messages'][-1].content} to me"
    model = Writer(messages=iter([AIMessage(text)]), gate=Path(gate) if gate else None)
    return {"messages": [await model.ainvoke(state["messages"])]}


async def plan(state: Trip, runtime: Runtime) -> Command[Any]:
    """Sends each route to a task of its own."""
    runtime.stream_writer({"name": "progress", "looking for": state["topic"]})
    return Command(goto=[Send("find", {"topic": state["topic"], "route": route}) for route in ROUTES])


async def find(state: Find) -> Trip:
    """Looks for one route."""
    return {"found": [f"{state['topic']} {state['route']}"]}


async def approve(state: Trip) -> Trip:
    """Asks a person."""
    answer = interrupt({"question": "Book it?", "found": sorted(state["found"])})
    return {"messages": [AIMessage(f"Booked: {answer}")]}


async def fail(state: Talk) -> Talk:
    """Fails."""
    raise ValueError("no luck")


def _tour() -> StateGraph[Any, Any, Any, Any]:
    tour = StateGraph(Trip)
    tour.add_node("plan", plan, destinations=("find",)).add_node("find", find, input_schema=Find).add_node(
        "write", _chat().compile()
    )
    return tour.add_edge(START, "plan").add_edge("find", "write")


def _chat() -> StateGraph[Any, Any, Any, Any]:
    return StateGraph(Talk).add_node("say", say).add_edge(START, "say")


def team() -> dict[str, Any]:
    """The graphs by name: "chat", "tour", "team" (a tour that asks a question) and "fails"."""
    asking = _tour().add_node("approve", approve).add_edge("write", "approve")
    fails = StateGraph(Talk).add_node("fail", fail).add_edge(START, "fail")
    graphs = {"chat": _chat(), "tour": _tour(), "team": asking, "fails": fails}
    return {name: graph.compile() for name, graph in graphs.items()}
