"""What one task of a fan-out costs."""

import asyncio
import operator
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypedDict

from benchmarks.measure import Figure, median_of, report
from benchmarks.peers import has_langgraph, peer_graph_class, peer_memory, peer_send
from durable_graph import START, MemorySaver, Send, StateGraph


class State(TypedDict, total=False):
    results: Annotated[list[int], operator.add]


async def work(item: Any) -> State:
    return {"results": [item]}


def in_a_task_group(width: int) -> Callable[[], Awaitable[object]]:
    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(item)) for item in range(width)]
        assert len(tasks) == width

    return run


def fanning_out(
    width: int, graph_class: Any, send: Any, saver: Callable[[], Any], config: dict[str, Any]
) -> Callable[[], Awaitable[object]]:
    async def run() -> None:
        builder = graph_class(State)
        builder.add_node("work", work)
        builder.add_conditional_edges(START, lambda _: [send("work", item) for item in range(width)], ["work"])
        result = await builder.compile(checkpointer=saver()).ainvoke({"results": []}, config)
        assert len(result["results"]) == width

    return run


def main() -> None:
    thread = {"configurable": {"thread_id": "t"}}
    for width in (100, 1000):
        figures: list[Figure] = [
            median_of("durable_graph, no checkpointer", width, fanning_out(width, StateGraph, Send, lambda: None, {})),
            median_of("durable_graph, MemorySaver", width, fanning_out(width, StateGraph, Send, MemorySaver, thread)),
        ]
        if has_langgraph():
            peer, send = peer_graph_class(), peer_send()
            figures += [
                median_of("LangGraph, no checkpointer", width, fanning_out(width, peer, send, lambda: None, {})),
                median_of("LangGraph, InMemorySaver", width, fanning_out(width, peer, send, peer_memory, thread)),
            ]
        floor = median_of("a task of an asyncio.TaskGroup", width, in_a_task_group(width))
        report(f"A task in a fan-out of {width}", floor, figures)


if __name__ == "__main__":
    main()
