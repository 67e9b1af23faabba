"""A plan is made, executed step by step, revised, and turned into an answer."""

import asyncio
import json
import operator
from typing import Annotated, Literal, TypedDict

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, StateGraph


class PlanExecute(TypedDict):
    input: str
    plan: list[str]
    past_steps: Annotated[list[tuple[str, str]], operator.add]
    response: str


class Input(TypedDict):
    input: str


class Output(TypedDict):
    response: str
    past_steps: Annotated[list[tuple[str, str]], operator.add]


planner_model = GenericFakeChatModel(messages=iter(["find the winner;find the home town", "find it;find it;find it"]))
replan_model = GenericFakeChatModel(
    messages=iter(["PLAN find the home town", "ANSWER Ada lives in London", *["PLAN find it"] * 20])
)
prompt = ChatPromptTemplate.from_messages([("system", "Make a plan."), ("user", "{objective}")])
planner = prompt | planner_model | StrOutputParser()
replanner = prompt | replan_model | StrOutputParser()
ANSWERS = {"find the winner": "Ada", "find the home town": "London"}


async def plan(state: PlanExecute):
    text = await planner.ainvoke({"objective": state["input"]})
    return {"plan": text.split(";")}


async def execute(state: PlanExecute):
    step = state["plan"][0]
    return {"past_steps": [(step, ANSWERS.get(step, "nothing"))]}


async def replan(state: PlanExecute):
    done = ", ".join(f"{step}: {found}" for step, found in state["past_steps"])
    verdict, _, rest = (await replanner.ainvoke({"objective": f"{state['input']} ({done})"})).partition(" ")
    return {"response": rest} if verdict == "ANSWER" else {"plan": rest.split(";")}


def should_end(state: PlanExecute) -> Literal["execute", "__end__"]:
    return END if state.get("response") else "execute"


builder = StateGraph(PlanExecute, input_schema=Input, output_schema=Output)
builder.add_node("planner", plan).add_node("execute", execute)
builder.add_node("replan", replan).add_edge(START, "planner")
builder.add_edge("planner", "execute").add_edge("execute", "replan")
builder.add_conditional_edges("replan", should_end)
graph = builder.compile(checkpointer=InMemorySaver())


async def main():
    config = {"configurable": {"thread_id": "p"}, "recursion_limit": 10}
    output = await graph.ainvoke({"input": "Where does the winner live?"}, config)
    state = await graph.aget_state(config)
    try:
        await graph.ainvoke({"input": "Never found."}, {"configurable": {"thread_id": "q"}, "recursion_limit": 6})
        limit = "not reached"
    except GraphRecursionError:
        limit = "reached"
    unfinished = await graph.aget_state({"configurable": {"thread_id": "q"}})
    return {
        "output": {"response": output["response"], "past_steps": [list(pair) for pair in output["past_steps"]]},
        "keys": sorted(output),
        "all keys": sorted(state.values),
        "limit": limit,
        "unfinished": [list(unfinished.next), len(unfinished.values["past_steps"])],
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
