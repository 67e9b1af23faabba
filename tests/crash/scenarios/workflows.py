"""The scenarios of entrypoints and tasks: in sequence, concurrent, nested, with interrupts, and with a nested graph."""

import asyncio
from functools import cache
from typing import Any

from durable_graph import Checkpointer, CompiledGraph, entrypoint, task
from tests.crash.engine.reporting import ask, seen, working
from tests.crash.scenarios.nodes import asking, inside, node
from tests.crash.scenarios.scenario import Answer, Give, Scenario


@task
async def double(number: int, turns: int = 1) -> int:
    async with working(number, turns):
        return 2 * number


@task
async def sum_of_doubles(first: int, second: int) -> int:
    """Calls tasks itself."""
    async with working(first):
        label = f"flow/sum_of_doubles/double {first}"
        one: int = await seen(double(first), label)
        return one + await double(second)


@task
async def approve(what: str) -> str:
    async with working(what):
        return f"{what} {ask(f'is {what} right?')}"


@cache
def _inner() -> Any:
    return inside(("a", node()), ("b", asking("inside?"))).compile(name="inner")


async def flow(number: int) -> list[Any]:
    async with working(number):
        a = await seen(double(number), f"flow/double {number}")
        b = await seen(double(a), f"flow/double {a}")
        calls = [
            seen(double(number + store, turns=4 - store), f"flow/double {number + store}") for store in (100, 200, 300)
        ]
        many = await asyncio.gather(*calls)
        nested = await seen(sum_of_doubles(number + 10, number + 20), f"flow/sum_of_doubles {number + 10}")
        graph = await _inner().ainvoke({"turn": number})
        approved = await asyncio.gather(approve(f"{number}a"), approve(f"{number}b"))
        c = await seen(double(number + 1000), f"flow/double {number + 1000}")
        return [a, b, many, nested, graph["log"], approved, c]


def build(saver: Checkpointer) -> CompiledGraph[Any]:
    """The workflow on a store."""
    return CompiledGraph(_described().topology, saver)


@cache
def _described() -> CompiledGraph[Any]:
    return entrypoint()(flow)


WORKFLOW = Scenario(
    "workflow",
    build,
    (Give(3), Answer({"inside? 3": "yes"}), Answer({"is 3b right?": "no"}), Answer({"is 3a right?": "yes"})),
    width=3,
)


# Calls in sequence


async def counting(number: int, previous: Any = None) -> Any:
    async with working(number):
        counted = await seen(double(number), f"counting/double {number}")
        approved = await approve(f"{number}")
        return entrypoint.final(value=[counted, approved, previous], save=(previous or 0) + counted)


def build_counting(saver: Checkpointer) -> CompiledGraph[Any]:
    """The workflow that keeps a value between runs, on a store."""
    return CompiledGraph(_counting().topology, saver)


@cache
def _counting() -> CompiledGraph[Any]:
    return entrypoint()(counting)


PREVIOUS = Scenario(
    "previous",
    build_counting,
    (Give(3), Answer({"is 3 right?": "yes"}), Give(5), Answer({"is 5 right?": "no"})),
)
