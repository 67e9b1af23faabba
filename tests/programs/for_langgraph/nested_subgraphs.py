"""Three nested graphs. The innermost graph, which is called in a node, interrupts."""

import asyncio
import json
import operator
from typing import Annotated, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph, add_messages
from langgraph.types import Command, interrupt


class ChildState(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    trail: Annotated[list[str], operator.add]
    secret: str


class GrandchildState(TypedDict):
    question: str
    answer: str


class ParentState(MessagesState):
    trail: Annotated[list[str], operator.add]
    verdict: str


async def ask(state: GrandchildState):
    return {"answer": interrupt(state["question"]).upper()}


grandchild = StateGraph(GrandchildState).add_node("ask", ask).add_edge(START, "ask").compile()


async def prepare(state: ChildState):
    return {"secret": f"{len(state['messages'])} message", "trail": ["prepare"]}


async def consult(state: ChildState):
    # The two states have no key in common.
    found = await grandchild.ainvoke({"question": f"May I? ({state['secret']})"})
    return {"messages": [AIMessage(f"They said {found['answer']}")], "trail": ["consult"]}


child = (
    StateGraph(ChildState)
    .add_node("prepare", prepare)
    .add_node("consult", consult)
    .add_edge(START, "prepare")
    .add_edge("prepare", "consult")
    .compile()
)


async def conclude(state: ParentState):
    return {"verdict": state["messages"][-1].content, "trail": ["conclude"]}


builder = StateGraph(ParentState)
builder.add_node("child", child).add_node("conclude", conclude)
builder.add_edge(START, "child").add_edge("child", "conclude")
graph = builder.compile(checkpointer=InMemorySaver())


async def main():
    config = {"configurable": {"thread_id": "nested"}}
    before = []
    async for namespace, update in graph.astream(
        {"messages": [HumanMessage("Please.")]}, config, stream_mode="updates", subgraphs=True
    ):
        if "__interrupt__" not in update or not namespace:
            before.append([[part.split(":")[0] for part in namespace], list(update)])

    paused = await graph.aget_state(config, subgraphs=True)
    inner = paused.tasks[0].state
    asked = [i.value for i in paused.interrupts]
    output = await graph.ainvoke(Command(resume="yes"), config)
    return {
        "before": before,
        "asked": asked,
        "parent next": list(paused.next),
        "child next": list(inner.next),
        "child secret": inner.values["secret"],
        "child trail": inner.values["trail"],
        "keys": sorted(output),
        "trail": output["trail"],
        "messages": [[m.type, m.content] for m in output["messages"]],
        "verdict": output["verdict"],
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
