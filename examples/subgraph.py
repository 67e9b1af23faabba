"""A graph that is a node of another graph. It asks a question, and what it has done so far can be looked at meanwhile.

python -m examples.subgraph
"""

import asyncio
from typing import TypedDict

from durable_graph import END, START, Command, MemorySaver, StateGraph, interrupt


class Trip(TypedDict, total=False):
    """The outer state. The keys that both graphs have go in and come out again: `city` and `hotel`."""

    city: str
    train: str
    hotel: str


class Search(TypedDict, total=False):
    """The inner state. `offers` is the inner graph's own: the outer one never sees it."""

    city: str
    offers: list[str]
    hotel: str


async def search(search: Search) -> Search:
    """Runs once, however long the question below stays open."""
    print("  search runs")
    return {"offers": [f"{search['city']} Inn", f"Hotel {search['city']}"]}


async def choose(search: Search) -> Search:
    """Asks whoever called the outer graph."""
    return {"hotel": interrupt(search["offers"])}


async def book_train(trip: Trip) -> Trip:
    """A node of the outer graph."""
    print("  book_train runs")
    return {"train": f"to {trip['city']}"}


async def main() -> None:
    """Run until the inner graph asks, look inside, answer."""
    hotel = StateGraph(Search).add_node(search).add_node(choose)
    hotel.add_edge(START, "search").add_edge("search", "choose").add_edge("choose", END)

    # The inner graph needs no saver of its own: its checkpoints are kept in the thread of the graph that runs it.
    outer = StateGraph(Trip).add_node(book_train).add_node("hotel", hotel.compile())
    outer.add_edge(START, "book_train").add_edge("book_train", "hotel").add_edge("hotel", END)
    trips = outer.compile(MemorySaver())

    await trips.ainvoke({"city": "Oslo"}, thread_id="t")

    state = await trips.aget_state(thread_id="t", subgraphs=True)
    (task,) = state.tasks
    print(f"Outer: {state.values}, next: {task.name}")
    print(f"Inner: {task.state.values}, next: {task.state.next[0]}")
    print(f"Asked: {state.interrupts[0].value}")

    result = await trips.ainvoke(Command(resume="Hotel Oslo"), thread_id="t")
    print(f"The end: {result}")


if __name__ == "__main__":
    asyncio.run(main())
