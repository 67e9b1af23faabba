"""A supervisor chooses the next worker by `Command(goto=...)`."""

import asyncio
import json
from typing import Literal

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

router_model = GenericFakeChatModel(
    messages=iter([AIMessage("researcher"), AIMessage("coder"), AIMessage("researcher"), AIMessage("FINISH")])
)
research_model = GenericFakeChatModel(
    messages=iter([AIMessage("Fibonacci starts with 0, 1."), AIMessage("The code looks right.")])
)
code_model = GenericFakeChatModel(messages=iter([AIMessage("def fib(n): ...")]))


class State(MessagesState):
    next: str
    visits: dict[str, int]


async def supervisor(state: State) -> Command[Literal["researcher", "coder", "__end__"]]:
    decision = await router_model.ainvoke([("system", "Choose the next worker."), *state["messages"]])
    goto = decision.content
    if goto == "FINISH":
        return Command(goto=END, update={"next": "FINISH"})
    visits = dict(state.get("visits") or {})
    visits[goto] = visits.get(goto, 0) + 1
    return Command(goto=goto, update={"next": goto, "visits": visits})


async def researcher(state: State) -> Command[Literal["supervisor"]]:
    answer = await research_model.ainvoke(state["messages"])
    return Command(
        update={"messages": [HumanMessage(content=answer.content, name="researcher")]},
        goto="supervisor",
    )


async def coder(state: State) -> Command[Literal["supervisor"]]:
    answer = await code_model.ainvoke(state["messages"])
    return Command(update={"messages": [HumanMessage(content=answer.content, name="coder")]}, goto="supervisor")


builder = StateGraph(State)
builder.add_edge(START, "supervisor")
builder.add_node("supervisor", supervisor)
builder.add_node("researcher", researcher)
builder.add_node("coder", coder)
graph = builder.compile()


async def main():
    trace = []
    final = None
    async for mode, chunk in graph.astream(
        {"messages": [("user", "Write fibonacci.")]}, stream_mode=["updates", "values"]
    ):
        if mode == "updates":
            for node, update in chunk.items():
                trace.append([node, sorted(update)])
        else:
            final = chunk
    return {
        "trace": trace,
        "messages": [[m.type, m.name, m.content] for m in final["messages"]],
        "next": final["next"],
        "visits": final["visits"],
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
