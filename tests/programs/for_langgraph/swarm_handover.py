"""Two agents pass a conversation to each other by `Command(graph=Command.PARENT)`."""

import asyncio
import json
from typing import Annotated

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, ToolNode, tools_condition
from langgraph.types import Command


class SwarmState(MessagesState):
    active_agent: str


def make_handoff(agent: str):
    @tool(f"transfer_to_{agent}", description=f"Hand over to {agent}.")
    def handoff(state: Annotated[dict, InjectedState], tool_call_id: Annotated[str, InjectedToolCallId]):
        done = ToolMessage(f"Transferred to {agent}", name=f"transfer_to_{agent}", tool_call_id=tool_call_id)
        return Command(
            goto=agent,
            graph=Command.PARENT,
            update={"messages": [*state["messages"], done], "active_agent": agent},
        )

    return handoff


@tool
def book_hotel(city: str) -> str:
    """Book a hotel."""
    return f"booked in {city}"


def make_agent(name: str, tools: list, responses: list[AIMessage]):
    model = GenericFakeChatModel(messages=iter(responses))

    async def call_model(state: SwarmState):
        response = await model.ainvoke(state["messages"])
        response.name = name
        return {"messages": [response]}

    builder = StateGraph(SwarmState)
    builder.add_node("model", call_model).add_node("tools", ToolNode(tools))
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", tools_condition)
    builder.add_edge("tools", "model")
    return builder.compile(name=name)


def call(name, call_id, **args):
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": call_id, "type": "tool_call"}])


flights = make_agent(
    "flights",
    [make_handoff("hotels")],
    [call("transfer_to_hotels", "f1"), AIMessage("Your flight is at nine.")],
)
hotels = make_agent(
    "hotels",
    [book_hotel, make_handoff("flights")],
    [call("book_hotel", "h1", city="Rome"), AIMessage("Hotel booked."), call("transfer_to_flights", "h2")],
)

builder = StateGraph(SwarmState)
builder.add_node("flights", flights, destinations=("hotels",))
builder.add_node("hotels", hotels, destinations=("flights",))
builder.add_conditional_edges(START, lambda state: state.get("active_agent") or "flights", ["flights", "hotels"])
graph = builder.compile(checkpointer=InMemorySaver())


async def main():
    config = {"configurable": {"thread_id": "trip"}}
    first = await graph.ainvoke({"messages": [{"role": "user", "content": "A hotel in Rome, please."}]}, config)
    second = await graph.ainvoke({"messages": [{"role": "user", "content": "When do I fly?"}]}, config)
    return {
        "after the first turn": [first["active_agent"], first["messages"][-1].content],
        "after the second turn": [second["active_agent"], second["messages"][-1].content],
        "transcript": [[m.type, m.name, m.content] for m in second["messages"]],
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
