"""Two branches of different length, and a node that waits for both: `add_edge([...], "name")` is a join.

python -m examples.fan_out_join
"""

import asyncio
import operator
from typing import Annotated, TypedDict

from durable_graph import END, START, StateGraph


class Trip(TypedDict):
    """Both branches write to `notes`, so it needs a reducer."""

    notes: Annotated[list[str], operator.add]


async def book_flight(trip: Trip) -> Trip:
    """The short branch: one superstep."""
    return {"notes": ["flight"]}


async def find_hotel(trip: Trip) -> Trip:
    """The long branch begins in the same superstep as the flight."""
    return {"notes": ["hotel found"]}


async def book_hotel(trip: Trip) -> Trip:
    """The long branch ends one superstep later."""
    return {"notes": ["hotel booked"]}


async def pack(trip: Trip) -> Trip:
    """After both branches, and once."""
    return {"notes": [f"packed, knowing of {len(trip['notes'])} notes"]}


async def main() -> None:
    """Tell what runs in which superstep, from the events of the run."""
    builder = StateGraph(Trip)
    for node in (book_flight, find_hotel, book_hotel, pack):
        builder.add_node(node)
    builder.add_edge(START, "book_flight").add_edge(START, "find_hotel")
    builder.add_edge("find_hotel", "book_hotel")
    # An edge from each would run `pack` twice: after the flight, and again after the hotel.
    builder.add_edge(["book_flight", "book_hotel"], "pack")
    builder.add_edge("pack", END)

    async for update in builder.compile().astream({"notes": []}):
        print(update)


if __name__ == "__main__":
    asyncio.run(main())
