"""A run that no process holds: one process starts it and ends, another one answers its question, a worker finishes it.

python -m examples.approval_worker

It starts itself as five processes, one after the other. With the extra `cli`, a worker that stays is the command
`python -m durable_graph worker examples.approval_worker:app`.
"""

import asyncio
import subprocess
import sys
from typing import TypedDict

from durable_graph import START, StateGraph, interrupt
from durable_graph.runs import App


class Order(TypedDict, total=False):
    """What is ordered, and what became of it."""

    item: str
    log: str


async def reserve(order: Order) -> Order:
    """Recorded before the question is asked, so it runs once."""
    print(f"  reserve {order['item']}")
    return {"log": "reserved"}


async def approve(order: Order) -> Order:
    """Waits for a person. No process has to live meanwhile."""
    answer = interrupt(f"Send the {order['item']}?")
    print(f"  approved by {answer}")
    return {"log": f"{order['log']}, approved by {answer}"}


async def send(order: Order) -> Order:
    """Only after the answer."""
    print(f"  send {order['item']}")
    return {"log": f"{order['log']}, sent"}


builder = StateGraph(Order).add_node(reserve).add_node(approve).add_node(send)
builder.add_edge(START, "reserve").add_edge("reserve", "approve").add_edge("approve", "send")
# The graph's name here is the name of its threads: a worker executes the runs of the graphs that its app has.
app = App({"order": builder.compile()}, store="sqlite:///orders.db")

THREAD = "run-order-7"
"""Without a `thread_id`, a run's thread is named after its key."""


async def start() -> None:
    """The process that takes the order. A second click of the customer is the same request, by its key."""
    async with app:
        for _ in range(2):
            handle = await app.start("order", {"item": "kettle"}, key="order-7")
            print(f"started: {handle.is_new}, state: {(await handle.status()).state}")


async def work() -> None:
    """The process of a worker. It stops once nothing is ready; a real one continues until it gets a signal."""
    async with app, app.worker():
        # No event of this process tells of changes in the store.
        while any(each.ready or each.running for each in (await app.stats()).queues):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for status in await app.runs():
            print(f"state: {status.state}")


async def answer() -> None:
    """The process that has the answer. It returns when the answer is recorded, and runs no node."""
    async with app:
        questions = (await app.graph("order").aget_state(thread_id=THREAD)).interrupts
        print(f"asked: {questions[0].value}")
        await app.answer(THREAD, "Ada", interrupt_id=questions[0].id)


async def look() -> None:
    """Any process reads the result."""
    async with app:
        (status,) = await app.runs(thread_id=THREAD)
        handle = await app.find(status.run_id)
        print(f"result: {await handle.result()}")


PARTS = {"start": start, "work": work, "answer": answer, "look": look}

if __name__ == "__main__":
    if sys.argv[1:]:
        asyncio.run(PARTS[sys.argv[1]]())
        sys.exit()
    for title, part in [
        ("The first process:", "start"),
        ("A worker, which ends while the run waits:", "work"),
        ("Another process, days later:", "answer"),
        ("Another worker:", "work"),
        ("The end:", "look"),
    ]:
        print(title, flush=True)
        subprocess.run([sys.executable, "-m", "examples.approval_worker", part], check=True)  # noqa: S603  # itself
