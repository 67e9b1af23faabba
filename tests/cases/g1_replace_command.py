"""`dataclasses.replace(Command(...))`, as LangGraph's users write it."""

import dataclasses

from durable_graph import Command, Send
from tests.cases._case import outcome, run, shown


async def case(store):
    async def replaced():
        command = dataclasses.replace(Command(goto="a"), update={"k": 1})
        return command.goto, command.update, dataclasses.replace(Send("a", 1), node="b").node

    end = await outcome(replaced())
    return ("a", {"k": 1}, "b"), shown(end), end in ((("a"), {"k": 1}, "b"), (("a",), {"k": 1}, "b"))


run(case, kinds=("memory",))
