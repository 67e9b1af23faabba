"""A reducer inside a union or a type alias is dropped: the last write wins, without an error."""

import operator
from typing import Annotated, TypedDict

from typing_extensions import TypeAliasType

from tests.cases._case import one_node, run

Log = Annotated[list[str], operator.add]
SPELLINGS = {"control": Log, "Annotated | None": Log | None, "type alias": TypeAliasType("Alias", Log)}


async def case(store):
    ends = {}
    async with store.saver() as saver:
        for name, declared in SPELLINGS.items():
            schema = TypedDict("State", {"log": declared}, total=False)
            graph = one_node(schema, lambda s: {"log": ["node"]}).compile(saver)
            ends[name] = (await graph.ainvoke({"log": ["input"]}, thread_id=name))["log"]
    return "['input', 'node'] each time", ends, all(end == ["input", "node"] for end in ends.values())


run(case)
