"""A node raises, its cause is put right, the run goes on. The sibling that had finished is not run again.

python -m examples.resume_after_error
"""

import asyncio
import operator
from typing import Annotated, TypedDict

from durable_graph import END, START, MemorySaver, StateGraph


class Order(TypedDict):
    """What was done for an order."""

    done: Annotated[list[str], operator.add]


CARD_IS_VALID = asyncio.Event()
STOCK_IS_RESERVED = asyncio.Event()


async def reserve_stock(order: Order) -> Order:
    """The sibling that succeeds."""
    print("  reserve_stock runs")
    STOCK_IS_RESERVED.set()
    return {"done": ["stock reserved"]}


async def charge_card(order: Order) -> Order:
    """Fails as long as the card is not valid. It fails late, so that its sibling has finished by then."""
    await STOCK_IS_RESERVED.wait()
    print("  charge_card runs")
    if not CARD_IS_VALID.is_set():
        raise ValueError("the card is expired")
    return {"done": ["card charged"]}


async def ship(order: Order) -> Order:
    """Once both are done."""
    print("  ship runs")
    return {"done": ["shipped"]}


async def main() -> None:
    """Fail, look, put right, resume."""
    builder = StateGraph(Order).add_node(reserve_stock).add_node(charge_card).add_node(ship)
    builder.add_edge(START, "reserve_stock").add_edge(START, "charge_card")
    builder.add_edge(["reserve_stock", "charge_card"], "ship").add_edge("ship", END)
    orders = builder.compile(MemorySaver())

    print("The first call:")
    try:
        await orders.ainvoke({"done": []}, thread_id="order-7")
    except ValueError as error:
        print(f"It failed: {error}")

    state = await orders.aget_state(thread_id="order-7")
    print(f"Still to run: {', '.join(state.next)}. Recorded: {state.values['done']}")

    CARD_IS_VALID.set()
    print("The second call, with None for input:")
    result = await orders.ainvoke(None, thread_id="order-7")
    print(f"The end: {result['done']}")


if __name__ == "__main__":
    asyncio.run(main())
