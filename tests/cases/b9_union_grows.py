"""A deployment adds a class to a union: list[A] becomes list[A | B]. All older threads are refused."""

import dataclasses
from typing import TypedDict

from tests.cases._case import one_node, outcome, run, shown


@dataclasses.dataclass
class A:
    x: int


@dataclasses.dataclass
class B:
    y: int


async def case(store):
    async with store.saver() as saver:
        ends = {}
        for name, old, new, value in (("list", list[A], list[A | B], [A(1)]), ("None", A | None, A | B | None, A(1))):
            before, after = (TypedDict("State", {"v": declared}, total=False) for declared in (old, new))
            await one_node(before, lambda s, value=value: {"v": value}).compile(saver).ainvoke({}, thread_id=name)
            snapshot = await outcome(one_node(after, lambda s: {}).compile(saver).aget_state(thread_id=name))
            ends[name] = snapshot if isinstance(snapshot, Exception) else snapshot.values["v"]
    is_right = ends == {"list": [A(1)], "None": A(1)}
    return {"list": [A(1)], "None": A(1)}, {name: shown(end, 300) for name, end in ends.items()}, is_right


run(case)
