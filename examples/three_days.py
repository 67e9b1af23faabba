"""An order that is sent after three days, in which the customer may change it. The example moves the clock.

python -m examples.three_days
"""

import asyncio
from datetime import timedelta
from typing import TypedDict

from durable_graph import START, Command, StateGraph
from durable_graph.runs import App
from durable_graph.testing import run_app

DAY = timedelta(days=1)


class Order(TypedDict, total=False):
    """What is ordered, and where it is sent."""

    item: str
    address: str
    log: str


async def accept(order: Order) -> Command[str]:
    """Plans the next node for later. Until then the run is a row in the store, and no process holds it."""
    print(f"  accept {order['item']} for {order['address']}")
    return Command(goto="send", after=3 * DAY)


async def send(order: Order) -> Order:
    """Begins after three days, with the state of that time."""
    print(f"  send {order['item']} to {order['address']}")
    return {"log": f"sent to {order['address']}"}


async def confirm(order: Order) -> Order:
    """No edge leads here: the update names it."""
    print(f"  confirm {order['address']}")
    return {}


builder = StateGraph(Order).add_node("accept", accept, destinations=("send", "confirm"))
builder.add_node(send).add_node(confirm).add_edge(START, "accept")
app = App({"order": builder.compile()}, store="sqlite:///orders.db")


async def main() -> None:
    """Three days of an order."""
    async with app, run_app(app) as running:
        handle = await app.start("order", {"item": "kettle", "address": "Oslo"}, thread_id="order-7")
        await running.settle()
        print(f"The order is {(await handle.status()).state}, and a worker executes {running.worker.running} runs.")
        (task,) = (await app.graph("order").aget_state(thread_id="order-7")).tasks
        print(f"Next: {task.name}, which waits for its time: {task.interrupts[0].is_sleep}")

        print("One day later the customer moves:")
        await running.move(DAY)
        # A webhook that is delivered twice is one update, by its key.
        for _ in range(2):
            is_new = await app.update("order-7", {"address": "Rome"}, goto="confirm", key="change-1")
            print(f"an update: {is_new}")
        await running.settle()
        print(f"The order is {(await handle.status()).state}.")

        print("Two days later:")
        await running.move(2 * DAY)
        print(f"result: {await handle.result()}")


if __name__ == "__main__":
    asyncio.run(main())
