"""A state that is a pydantic model, and a model that fills objects of a class."""

import asyncio
import json
import operator
from enum import Enum
from typing import Annotated

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph, add_messages
from pydantic import BaseModel, Field, ValidationError


class Priority(str, Enum):
    low = "low"
    high = "high"


class Ticket(BaseModel):
    title: str = Field(min_length=3)
    priority: Priority
    labels: list[str] = []


class State(BaseModel):
    messages: Annotated[list[AnyMessage], add_messages] = []
    tickets: Annotated[list[Ticket], operator.add] = []
    latest: Ticket | None = None
    retries: int = Field(default=0, ge=0)


model = GenericFakeChatModel(
    messages=iter(
        [
            AIMessage('{"title": "Printer on fire", "priority": "urgent"}'),
            AIMessage('{"title": "Printer on fire", "priority": "high", "labels": ["hardware"]}'),
            AIMessage('{"title": "New mouse", "priority": "low"}'),
        ]
    )
)


async def extract(state: State):
    response = await model.ainvoke(state.messages)
    try:
        ticket = Ticket.model_validate_json(response.content)
    except ValidationError as error:
        fields = [".".join(map(str, e["loc"])) for e in error.errors()]
        return {"retries": state.retries + 1, "messages": [response, ("user", f"Correct: {', '.join(fields)}")]}
    return {"messages": [response], "latest": ticket, "tickets": [ticket]}


def route(state: State) -> str:
    if state.latest is None or not state.tickets:
        return "extract"
    return "escalate" if state.latest.priority is Priority.high else END


async def escalate(state: State):
    return {"messages": [("ai", f"Escalated: {state.latest.title}")]}


builder = StateGraph(State)
builder.add_node("extract", extract).add_node("escalate", escalate)
builder.add_edge(START, "extract")
builder.add_conditional_edges("extract", route, ["extract", "escalate", END])
builder.add_edge("escalate", END)
graph = builder.compile(checkpointer=InMemorySaver())


async def main():
    config = {"configurable": {"thread_id": "desk"}}
    first = await graph.ainvoke({"messages": [{"role": "user", "content": "The printer burns!"}]}, config)
    second = await graph.ainvoke({"messages": [("user", "I need a mouse.")]}, config)
    values = (await graph.aget_state(config)).values
    try:
        await graph.ainvoke({"retries": "many"}, {"configurable": {"thread_id": "bad"}})
        refused = False
    except Exception:
        refused = True
    return {
        "first": first["latest"].model_dump(mode="json"),
        "second": second["latest"].model_dump(mode="json"),
        "types": sorted({type(t).__name__ for t in values["tickets"]}),
        "tickets": [[t.title, t.priority.value, t.labels] for t in values["tickets"]],
        "retries": values["retries"],
        "messages": [[m.type, m.content] for m in values["messages"]],
        "bad input refused": refused,
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
