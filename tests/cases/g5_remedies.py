"""Remedies that do not help."""

import fractions
from typing import Any, TypedDict

from durable_graph import GraphValidationError, UnstorableValueError
from tests.cases._case import one_node, outcome, run, shown


class Text(str):
    def __call__(self):
        return str(self)


async def case(store):
    found = {}

    async def said(name, declared, value, wrong, right):
        schema = TypedDict("State", {"v": declared}, total=False)
        try:
            graph = one_node(schema, lambda s: {"v": value}).compile(saver)
            end = await outcome(graph.ainvoke({}, thread_id=name))
        except GraphValidationError as error:
            end = error
        if (
            not isinstance(end, UnstorableValueError | GraphValidationError)
            or wrong in str(end)
            or right not in str(end)
        ):
            found[name] = shown(end)

    async with store.saver() as saver:
        await said(
            "a bool where str is declared", str, True, "convert it with int(...)", "declare the type that it has"
        )
        await said(
            "a str that can be called (LangChain's message.text)",
            Any,
            Text("x"),
            "not data",
            "convert it with str(...)",
        )
        text = (
            await one_node(TypedDict("State", {"v": str}, total=False), lambda s: {"v": Text("x")})
            .compile(saver)
            .ainvoke({}, thread_id="converted")
        )
        if type(text["v"]) is not str:
            found["the same where str is declared"] = shown(text)
        half, wrong, right = fractions.Fraction(1, 2), "make it a dataclass", "list StoredType(Fraction, "
        await said("a class of the standard library", fractions.Fraction, half, wrong, right)
        await said("the same in Any", Any, half, wrong, right)
    return "refused, each with a remedy that can be followed", found, not found


run(case)
