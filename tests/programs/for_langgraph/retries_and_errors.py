"""A node that fails twice and is retried, an answer that is no JSON, and a thread that continues after an error."""

import asyncio
import json
import operator
from collections import Counter
from typing import Annotated, Literal, TypedDict

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy

attempts = Counter()
model = GenericFakeChatModel(messages=iter([AIMessage("not json"), AIMessage('{"price": 7}')]))
audited = asyncio.Event()
database_is_up = False


class State(TypedDict):
    url: str
    page: str
    price: int
    errors: Annotated[list[str], operator.add]
    done: Annotated[list[str], operator.add]


class DatabaseDownError(Exception):
    pass


async def fetch(state: State):
    attempts["fetch"] += 1
    if attempts["fetch"] < 3:
        raise ConnectionError(f"attempt {attempts['fetch']}")
    return {"page": f"page of {state['url']}", "done": ["fetch"]}


async def parse(state: State) -> Command[Literal["parse", "store", "audit"]]:
    attempts["parse"] += 1
    answer = await model.ainvoke(f"Extract the price from {state['page']}")
    try:
        price = json.loads(answer.content)["price"]
    except json.JSONDecodeError:
        return Command(goto="parse", update={"errors": ["not JSON"]})
    return Command(goto=["store", "audit"], update={"price": price, "done": ["parse"]})


async def store(state: State):
    attempts["store"] += 1
    await audited.wait()
    if not database_is_up:
        raise DatabaseDownError("no connection")
    return {"done": ["store"]}


async def audit(state: State):
    attempts["audit"] += 1
    audited.set()
    return {"done": ["audit"]}


builder = StateGraph(State)
quick = RetryPolicy(initial_interval=0.001, backoff_factor=1.0, max_attempts=3, jitter=False)
builder.add_node("fetch", fetch, retry_policy=quick).add_node("parse", parse)
builder.add_node("store", store, retry_policy=RetryPolicy(max_attempts=5, retry_on=(ConnectionError, TimeoutError)))
builder.add_node(audit).add_edge(START, "fetch")
builder.add_edge("fetch", "parse")
graph = builder.compile(checkpointer=InMemorySaver())


async def main():
    global database_is_up
    config = {"configurable": {"thread_id": "shop"}}
    try:
        await graph.ainvoke({"url": "shop.example", "errors": []}, config)
        raised = None
    except DatabaseDownError as error:
        raised = str(error)
    failed = await graph.aget_state(config)
    counts = dict(attempts)

    database_is_up = True
    output = await graph.ainvoke(None, config)
    return {
        "raised": raised,
        "failed": [sorted(failed.next), {t.name: bool(t.error) for t in failed.tasks}],
        "attempts": counts,
        "attempts in all": attempts,
        "output": {**output, "done": sorted(output["done"])},
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
