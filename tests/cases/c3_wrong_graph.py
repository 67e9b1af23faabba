"""A graph resumes the thread of another graph whose node has the same name."""

from typing import TypedDict

from durable_graph import Command, WrongGraphError, interrupt
from tests.cases._case import one_node, outcome, run, shown


class Mail(TypedDict, total=False):
    to: str
    out: str


class Pay(TypedDict, total=False):
    amount: int
    out: str


async def case(store):
    async with store.saver() as saver:
        mail = one_node(Mail, lambda s: {"out": interrupt("send it?") and "MAILED"}, "approve").compile(
            saver, name="mail"
        )
        pay = one_node(Pay, lambda s: {"out": interrupt("pay?") and "PAID"}, "approve").compile(saver, name="pay")
        await mail.ainvoke({"to": "amy"}, thread_id="42")
        end = await outcome(pay.ainvoke(Command(resume=True), thread_id="42"))
    is_right = isinstance(end, WrongGraphError) and (end.stored, end.called) == ("mail", "pay")
    return "WrongGraphError, which names both graphs", shown(end), is_right


run(case)
