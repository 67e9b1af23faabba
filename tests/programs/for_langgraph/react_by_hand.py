"""An agent with tools, made of a model's node, `ToolNode` and `tools_condition`."""

import asyncio
import json

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


@tool
async def capital(country: str) -> str:
    """Look up the capital of a country."""
    return {"France": "Paris", "Peru": "Lima"}[country]


@tool
def divide(a: int, b: int) -> float:
    """Divide two integers."""
    return a / b


def call(name, call_id, **args):
    return {"name": name, "args": args, "id": call_id, "type": "tool_call"}


class ToolModel(GenericFakeChatModel):
    def bind_tools(self, tools, **kwargs):
        return self.bind(tools=[t.name for t in tools])


tools = [multiply, capital, divide]


def describe_error(error: ZeroDivisionError) -> str:
    return f"Please correct the arguments: {error}"


def build(responses: list[AIMessage]):
    model = ToolModel(messages=iter(responses)).bind_tools(tools)

    async def assistant(state: MessagesState):
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("assistant", assistant)
    builder.add_node("tools", ToolNode(tools, handle_tool_errors=describe_error)).add_edge(START, "assistant")
    builder.add_conditional_edges("assistant", tools_condition)
    builder.add_edge("tools", "assistant")
    return builder.compile()


async def main():
    graph = build(
        [
            AIMessage("", tool_calls=[call("multiply", "c1", a=6, b=7), call("capital", "c2", country="Peru")]),
            AIMessage("42 and Lima."),
        ]
    )
    order = []
    async for update in graph.astream({"messages": [HumanMessage("Work!")]}, stream_mode="updates"):
        order.extend(update)

    graph = build(
        [
            AIMessage("", tool_calls=[call("multiply", "d1", a=6, b=7)]),
            AIMessage("", tool_calls=[call("divide", "d2", a=1, b=0), call("no_such_tool", "d3")]),
            AIMessage("Half of it failed."),
        ]
    )
    output = await graph.ainvoke({"messages": [("human", "Again!")]})
    answers = [m for m in output["messages"] if m.type == "tool"]
    return {
        "order": order,
        "types": [m.type for m in output["messages"]],
        "tools": [[m.name, m.tool_call_id, m.status] for m in answers],
        "contents": [m.content for m in answers[:2]],
        "unknown tool is named": "no_such_tool" in answers[2].content,
        "last": output["messages"][-1].content,
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
