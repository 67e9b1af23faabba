"""Remedies that do not help."""

import fractions
from typing import Any, TypedDict

from durable_graph import GraphValidationError
from tests.cases._case import one_node, outcome, run


class Text(str):
    def __call__(self):
        return str(self)


async def case(store):
    found = {}

    async def said(name, declared, value, wrong):
        schema = TypedDict("State", {"v": declared}, total=False)
        try:
            graph = one_node(schema, lambda s: {"v": value}).compile(saver)
            end = await outcome(graph.ainvoke({}, thread_id=name))
        except GraphValidationError as error:
            end = error
        if isinstance(end, Exception) and wrong in str(end):
            found[name] = wrong

    async with store.saver() as saver:
        await said("a bool where str is declared", str, True, "convert it with int(...)")
        await said("a str that can be called (LangChain's message.text)", str, Text("x"), "not data")
        await said(
            "a class of the standard library", fractions.Fraction, fractions.Fraction(1, 2), "make it a dataclass"
        )
        await said("the same in Any", Any, fractions.Fraction(1, 2), "make it a dataclass")
    return "no remedy that cannot be followed", found, not found


run(case)
