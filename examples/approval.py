"""A run asks a person, and waits for the answer as long as it takes, also while no process runs.

python -m examples.approval
"""

import asyncio
from typing import TypedDict

from durable_graph import START, Checkpointer, Command, CompiledGraph, StateGraph, interrupt
from durable_graph_sqlite import SqliteSaver


class Payment(TypedDict, total=False):
    """What is to be paid, and what became of it."""

    amount: int
    fee: int
    outcome: str


async def add_fee(payment: Payment) -> Payment:
    """Has finished when the question is asked, so it is not run again."""
    print("  add_fee runs")
    return {"fee": payment["amount"] // 100}


async def approve(payment: Payment) -> Command[str]:
    """The node ends at `interrupt`. With an answer it runs again from its start, and `interrupt` returns the answer.

    So what comes before the question happens twice: keep it free of effects, or put it into a node of its own.
    """
    print("  approve runs")
    answer = interrupt({"question": "Pay this?", "total": payment["amount"] + payment["fee"]})
    if answer["approved"]:
        return Command(goto="pay")
    return Command(update={"outcome": f"refused by {answer['by']}"})


async def pay(payment: Payment) -> Payment:
    """Only if a person said so."""
    print("  pay runs")
    return {"outcome": f"paid {payment['amount'] + payment['fee']}"}


def payments(saver: Checkpointer) -> CompiledGraph[Payment]:
    """The graph, with its threads in `saver`."""
    builder = StateGraph(Payment).add_node(add_fee).add_node(pay)
    # Where a Command may lead is not in any edge: `destinations` says it, to whoever reads or draws the graph.
    builder.add_node("approve", approve, destinations=("pay",))
    builder.add_edge(START, "add_fee").add_edge("add_fee", "approve")
    return builder.compile(saver)


async def ask() -> None:
    """The process in which the payment begins."""
    async with SqliteSaver("payments.db") as saver:
        # The result of version 2 has the questions beside the state. That of version 1 has them in it, as LangGraph's:
        # under "__interrupt__".
        result = await payments(saver).ainvoke({"amount": 5000}, thread_id="invoice-7", version="v2")
    print(f"The run asks: {result.interrupts[0].value}")


async def answer() -> None:
    """Another process, days later: it finds the question, and answers it."""
    async with SqliteSaver("payments.db") as saver:
        graph = payments(saver)
        waiting = (await graph.aget_state(thread_id="invoice-7")).interrupts
        print(f"Still open: {waiting[0].value['question']}")
        result = await graph.ainvoke(Command(resume={"approved": True, "by": "Ada"}), thread_id="invoice-7")
    print(f"The end: {result['outcome']}")


if __name__ == "__main__":
    print("The first process:")
    asyncio.run(ask())
    print("The second process:")
    asyncio.run(answer())
