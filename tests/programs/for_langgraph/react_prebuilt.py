"""An agent of `create_react_agent`, with tools that read and update its state."""

import asyncio
import json
import warnings
from typing import Annotated

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import InjectedState, create_react_agent
from langgraph.types import Command

warnings.simplefilter("ignore")
prompts: list[list[str]] = []


class ToolModel(GenericFakeChatModel):
    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, *args, **kwargs):
        prompts.append([m.type for m in messages])
        return super()._generate(messages, *args, **kwargs)


@tool
async def weather(city: str) -> str:
    """Get the weather of a city."""
    return f"It is sunny in {city}."


@tool
def count_messages(state: Annotated[dict, InjectedState]) -> str:
    """Say how many messages there are."""
    return f"{len(state['messages'])} messages"


@tool
def note(text: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Command:
    """Write a note."""
    return Command(update={"messages": [ToolMessage(f"noted: {text}", tool_call_id=tool_call_id, name="note")]})


def call(name, call_id, **args):
    return {"name": name, "args": args, "id": call_id, "type": "tool_call"}


model = ToolModel(
    messages=iter(
        [
            AIMessage("", tool_calls=[call("weather", "1", city="Oslo"), call("weather", "2", city="Rome")]),
            AIMessage("Sunny in both."),
            AIMessage("", tool_calls=[call("count_messages", "3"), call("note", "4", text="likes sun")]),
            AIMessage("All done."),
        ]
    )
)
agent = create_react_agent(
    model,
    [weather, count_messages, note],
    prompt="You are a weather assistant.",
    checkpointer=InMemorySaver(),
    name="weather_agent",
)


async def main():
    config = {"configurable": {"thread_id": "t"}}
    first = await agent.ainvoke({"messages": [{"role": "user", "content": "Oslo and Rome?"}]}, config)
    nodes = []
    async for update in agent.astream({"messages": [("user", "And now?")]}, config, stream_mode="updates"):
        nodes.extend(update)
    messages = (await agent.aget_state(config)).values["messages"]
    return {
        "first": [[m.type, m.content] for m in first["messages"]],
        "nodes": sorted(nodes),
        "tool answers": [[m.name, m.content, m.tool_call_id] for m in messages if m.type == "tool"],
        "last": messages[-1].content,
        "prompts": prompts,
        "names": sorted({m.name for m in messages if m.type == "ai"}),
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
