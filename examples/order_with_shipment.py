"""An order with two child runs: the payment is in a queue with a limited rate, and the shipment asks a person.

python -m examples.order_with_shipment

The example moves the clock, because the payment service of the example takes two payments in a minute.
"""

import asyncio
from datetime import timedelta
from typing import TypedDict

from durable_graph import START, ChildFailedError, StateGraph, interrupt, start_child
from durable_graph.runs import App, Rate
from durable_graph.testing import run_app


class Order(TypedDict, total=False):
    """The item, the customer, and the log of the order."""

    item: str
    customer: str
    log: str


async def pay(order: Order) -> Order:
    """Starts the payment as a child run in the queue of payments. The order uses no slot while the payment waits."""
    payment = await start_child("payment", order, queue="payments", limit_key=order["customer"])
    return {"log": (await payment.result())["log"]}


async def ship(order: Order) -> Order:
    """Starts the shipment as a child run. If it fails or is cancelled, the node catches the error."""
    shipment = await start_child("shipment", {"item": order["item"], "customer": order["customer"]})
    try:
        return {"log": f"{order['log']}, {(await shipment.result())['log']}"}
    except ChildFailedError as error:
        return {"log": f"{order['log']}, not shipped: {error.error}"}


async def charge(order: Order) -> Order:
    """Calls the payment service, which allows two calls in a minute over all processes."""
    print(f"  {order['customer']} pays for the {order['item']}")
    return {"log": "paid"}


async def pack(order: Order) -> Order:
    """Asks a person. `app.questions` of the order's thread lists the question."""
    answer = interrupt(f"Which box for the {order['item']}?")
    return {"log": f"shipped in a {answer} box"}


order = StateGraph(Order).add_node(pay).add_node(ship).add_edge(START, "pay").add_edge("pay", "ship").compile()
payment = StateGraph(Order).add_node(charge).add_edge(START, "charge").compile()
shipment = StateGraph(Order).add_node(pack).add_edge(START, "pack").compile()
app = App({"order": order, "payment": payment, "shipment": shipment}, store="sqlite:///orders.db")
# Every process that executes payments declares the queue.
app.queue("payments", concurrency=5, per_key=1, rate=Rate(2, per=60))


async def main() -> None:
    """Three orders, of which two are paid in the first minute."""
    async with app, run_app(app) as running:
        handles = {
            item: await app.start("order", {"item": item, "customer": "Ada"}, key=item) for item in ("kettle", "lamp")
        }
        handles["map"] = await app.start("order", {"item": "map", "customer": "Bob"}, key="map")
        await running.settle()
        (payments,) = [queue for queue in (await app.stats()).queues if queue.queue == "payments"]
        print(f"{payments.ready} payment waits for its turn.")

        print("One minute later:")
        await running.move(timedelta(minutes=1))

        for item, handle in handles.items():
            for question in await app.questions(handle.thread_id):
                print(f"{question.interrupt.value}")
                await app.answer(handle.thread_id, "small", interrupt_id=question.interrupt.id)
            await running.settle()
            print(f"{item}: {(await handle.result())['log']}")


if __name__ == "__main__":
    asyncio.run(main())
