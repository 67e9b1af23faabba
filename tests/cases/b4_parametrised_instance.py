"""An instance made through a parametrised class has __orig_class__, which is mistaken for a field."""

import dataclasses
from typing import Generic, TypedDict, TypeVar

from tests.cases._case import one_node, outcome, run, shown

T = TypeVar("T")


@dataclasses.dataclass
class Result(Generic[T]):
    value: T


class State(TypedDict, total=False):
    result: Result[int]


async def case(store):
    async with store.saver() as saver:
        graph = one_node(State, lambda s: {"result": Result[int](1)}).compile(saver)
        end = await outcome(graph.ainvoke({}, thread_id="t"))
    return {"result": Result(1)}, shown(end, 400), end == {"result": Result(1)}


run(case)
