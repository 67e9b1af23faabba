"""The graph of an order: four checks side by side, a summary, a person's decision, and a letter to the customer.

This is the part that you would write; the services around it have a few lines each. The nodes only pretend to call
other services: each step takes `PACE` seconds.
"""

import asyncio
import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, TypeGuard

from durable_graph import START, Runtime, StateGraph, interrupt
from durable_graph.runs import App

PACE = float(os.environ.get("EXAMPLE_PACE", "0.7"))
"""Seconds that one step of a node takes. A word of a text takes a tenth of it."""


class Order(TypedDict, total=False):
    """What is ordered, and what became of it."""

    customer: str
    item: str
    quantity: int
    price: float
    payment_fails: bool
    findings: Annotated[list[str], operator.add]
    summary: str
    approved: bool
    decided_by: str
    comment: str
    letter: str


class Decision(TypedDict):
    """A person's answer to the question of the node `approval`."""

    approved: bool
    by: str
    comment: str


class PaymentError(Exception):
    """The payment service does not answer."""


def total_of(order: Order) -> float:
    """The price of all pieces."""
    return round(order["quantity"] * order["price"], 2)


async def take_steps(runtime: Runtime, steps: Iterable[str]) -> None:
    """Take the steps one after the other, and emit a custom event for each: its number, and of how many."""
    texts = list(steps)
    for number, text in enumerate(texts, start=1):
        await asyncio.sleep(PACE)
        runtime.stream_writer({"step": text, "number": number, "of": len(texts)})


async def write_text(runtime: Runtime, text: str) -> str:
    """Write the text word by word, as a language model does, and emit a custom event for each word."""
    words = text.split(" ")
    for number, word in enumerate(words, start=1):
        await asyncio.sleep(PACE / 10)
        runtime.stream_writer(
            {"token": word if number == len(words) else f"{word} ", "number": number, "of": len(words)}
        )
    return text


async def check_order(order: Order, runtime: Runtime) -> Order:
    """An order that cannot be fulfilled ends here, with an error that the run shows."""
    if order["quantity"] < 1 or order["price"] < 0:
        raise ValueError("an order needs a quantity of at least 1, and a price of at least 0")
    await take_steps(runtime, ["The customer is known", "The item is in the catalogue"])
    return {"findings": [f"{order['quantity']} × {order['item']} for {total_of(order):.2f} EUR"]}


async def reserve_stock(order: Order, runtime: Runtime) -> Order:
    """One of four checks that run side by side, each with its own pace."""
    warehouses = ["Lisbon", "Vienna", "Oslo"]
    await take_steps(runtime, [f"Warehouse {each} asked" for each in warehouses])
    return {"findings": [f"{order['quantity']} pieces are reserved in Vienna"]}


async def check_fraud(order: Order, runtime: Runtime) -> Order:
    """The slowest check: the run is killed best while it is on its way."""
    signs = [
        "Address compared",
        "Earlier orders read",
        "Device compared",
        "Name compared",
        "Card compared",
        "Score made",
    ]
    await take_steps(runtime, signs)
    return {"findings": ["The fraud score is 3 of 100"]}


async def authorize_payment(order: Order, runtime: Runtime) -> Order:
    """Fails in its first attempt if the order asks for that: then the run fails, and a retry continues it."""
    info = runtime.execution_info
    if order.get("payment_fails") and info is not None and info.node_attempt == 1:
        await asyncio.sleep(3 * PACE)
        raise PaymentError("the payment service does not answer")
    await take_steps(runtime, ["Payment service called", "Amount authorized", "Receipt stored"])
    return {"findings": [f"{total_of(order):.2f} EUR are authorized"]}


async def quote_shipping(order: Order, runtime: Runtime) -> Order:
    """Asks carriers for their prices."""
    await take_steps(runtime, [f"{each} asked" for each in ("Post", "Rail", "Courier", "Ship")])
    return {"findings": ["Rail delivers in 2 days for 6.90 EUR"]}


async def write_summary(order: Order, runtime: Runtime) -> Order:
    """What the person reads before the decision."""
    text = f"{order['customer']} orders {'. '.join(order['findings'])}. Nothing speaks against this order."
    return {"summary": await write_text(runtime, text)}


async def approval(order: Order) -> Order:
    """Waits for a person, for any length of time: no process has to live meanwhile."""
    question = {
        "question": f"Send {order['quantity']} × {order['item']} to {order['customer']}?",
        "total": total_of(order),
        "summary": order["summary"],
    }
    decision = interrupt(question)
    while not is_decision(decision):
        # An answer is recorded once and for all, so one that is no decision is followed by another question.
        decision = interrupt(
            {**question, "problem": "the last answer was no {approved: bool, by: text, comment: text}"}
        )
    return {"approved": decision["approved"], "decided_by": decision["by"], "comment": decision["comment"]}


def is_decision(answer: object) -> TypeGuard[Decision]:
    """Whether a client's answer has what the node reads."""
    match answer:
        case {"approved": bool(), "by": str(), "comment": str()}:
            return True
        case _:
            return False


def decided(order: Order) -> Literal["dispatch", "release"]:
    """Where the order goes on."""
    return "dispatch" if order["approved"] else "release"


async def dispatch(order: Order, runtime: Runtime) -> Order:
    """The order is sent."""
    await take_steps(runtime, ["Parcel packed", "Label printed", "Carrier informed"])
    return {"findings": ["The parcel is on its way"]}


async def release(order: Order, runtime: Runtime) -> Order:
    """The order is refused: what the checks reserved is given back."""
    await take_steps(runtime, ["Stock released", "Payment released"])
    return {"findings": ["Stock and payment are released"]}


async def write_letter(order: Order, runtime: Runtime) -> Order:
    """The end of the order for the customer."""
    news = (
        "Your order has been approved and is on its way. It arrives in two days, by rail."
        if order["approved"]
        else "We cannot accept your order. Nothing has been charged."
    )
    comment = f" {order['comment']}" if order["comment"] else ""
    text = f"Dear {order['customer']}, thank you for ordering {order['quantity']} × {order['item']}. {news}{comment}"
    return {"letter": await write_text(runtime, f"{text} Yours, {order['decided_by']}")}


CHECKS: tuple[Any, ...] = (reserve_stock, check_fraud, authorize_payment, quote_shipping)

builder = StateGraph(Order).add_node(check_order).add_node(write_summary).add_node(approval)
builder.add_node(dispatch).add_node(release).add_node(write_letter)
builder.add_edge(START, "check_order")
for check in CHECKS:
    builder.add_node(check).add_edge("check_order", check.__name__)
builder.add_edge([check.__name__ for check in CHECKS], "write_summary").add_edge("write_summary", "approval")
builder.add_conditional_edges("approval", decided)
builder.add_edge("dispatch", "write_letter").add_edge("release", "write_letter")

PAGE = Path(__file__).parent / "page"
"""The folder of the page: both services serve its files."""

LEASE = 3
"""Seconds after which the run of a killed process is continued. The default, 10, suits a service better than a demo."""

app = App({"order": builder.compile()}, store=os.environ.get("EXAMPLE_STORE", "sqlite:///orders.db"))
"""The graph by its name, and the store of its runs: a SQLite file, or a PostgreSQL database."""
