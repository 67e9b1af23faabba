"""A writer and a critic take turns until the score is good or the rounds are used up."""

import asyncio
import json
from typing import Annotated, NotRequired, TypedDict

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.runtime import Runtime


class Context(TypedDict):
    max_rounds: int


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    rounds: int
    score: NotRequired[int]


def make_graph():
    writer = GenericFakeChatModel(messages=iter(AIMessage(f"Draft {n}") for n in range(1, 9)))
    critic = GenericFakeChatModel(messages=iter(AIMessage(f"{n * 3}/10: be clearer") for n in range(1, 9)))

    async def generate(state: State):
        return {"messages": [await writer.ainvoke(state["messages"])], "rounds": state.get("rounds", 0) + 1}

    async def reflect(state: State):
        # To the critic, the writer is the user.
        swap = {"ai": HumanMessage, "human": AIMessage}
        first, *rest = state["messages"]
        response = await critic.ainvoke([first, *(swap[m.type](content=m.content) for m in rest)])
        return {
            "messages": [HumanMessage(content=response.content)],
            "score": int(response.content.split("/")[0]),
        }

    def should_continue(state: State, runtime: Runtime[Context]):
        return "stop" if state["rounds"] >= runtime.context["max_rounds"] else "reflect"

    def good_enough(state: State):
        return state["score"] >= 8

    builder = StateGraph(State, context_schema=Context)
    builder.add_node("generate", generate)
    builder.add_node("reflect", reflect)
    builder.add_edge(START, "generate")
    builder.add_conditional_edges("generate", should_continue, {"reflect": "reflect", "stop": END})
    builder.add_conditional_edges("reflect", good_enough, {True: END, False: "generate"})
    return builder.compile(checkpointer=InMemorySaver())


async def main():
    outcomes = {}
    for limit in (1, 2, 9):
        graph = make_graph()
        config = {"configurable": {"thread_id": f"essay-{limit}"}}
        output = await graph.ainvoke(
            {"messages": [HumanMessage("Write an essay.")], "rounds": 0}, config, context={"max_rounds": limit}
        )
        steps = [s.metadata["step"] async for s in graph.aget_state_history(config) if s.next != (START,)]
        outcomes[f"at most {limit}"] = {
            "messages": [f"{m.type}: {m.content}" for m in output["messages"]],
            "rounds": output["rounds"],
            "score": output.get("score"),
            "steps": steps,
        }
    return outcomes


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
