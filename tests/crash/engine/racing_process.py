"""A process that resumes a thread whose code makes calls and interrupts in an order that the hash seed decides.

`python -m tests.crash.engine.racing_process <folder> <dsn> <seconds>`: it runs the thread in the folder's file, or on
the server of the DSN, kills itself after that many seconds (never if they are negative), and prints the thread's values
once it is finished. With a fourth argument records are matched by their position, to test that this is detected.
"""

import asyncio
import operator
import os
import random
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, TypedDict

from durable_graph import START, Command, ReplayMismatchError, StateGraph, interrupt, task
from durable_graph._runtime.task import claims
from tests.crash.engine.stores import store_of

THREAD = "t"
NAMES = frozenset({"amy", "bob", "eve", "kim", "leo"})
"""The code runs for each of them, in the order that a set has in this process."""

WANTED = sorted(
    text
    for name in NAMES
    for text in (
        f"task {name}: {name.upper()}",
        f"graph {name}: {name.upper()}",
        f"inside {name}: {name.upper()}",
        f"loop {name}: {name.upper()}",
        f"question {name}: yes to {name}",
        f"nested {name}: yes to nested {name}",
        f"memory {name}: {name}, {name}",
    )
)


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Child(TypedDict, total=False):
    who: str
    report: Annotated[list[str], operator.add]


async def a_while() -> None:
    await asyncio.sleep(random.random() / 200)


@task
async def shout(name: str) -> str:
    await a_while()
    return name.upper()


async def shouts(state: Child) -> Child:
    await a_while()
    return {"report": [await shout(state["who"])]}


async def asks(state: Child) -> Child:
    await a_while()
    return {"report": [interrupt({"may": f"nested {state['who']}"})]}


async def notes(state: Child) -> Child:
    await a_while()
    return {"report": [state["who"]]}


def child(node: Any, **compiled: Any) -> Any:
    return StateGraph(Child).add_node("node", node).add_edge(START, "node").compile(**compiled)


SHOUTING, ASKING, REMEMBERING = child(shouts, name="shouts"), child(asks, name="asks"), child(notes, checkpointer=True)


@task
async def inside(name: str) -> str:
    await a_while()
    found: str = (await SHOUTING.ainvoke({"who": name}))["report"][-1]
    return found


async def race(state: State) -> State:
    """Every kind of call, for all names concurrently."""

    async def one(name: str) -> list[str]:
        await a_while()
        report = (await SHOUTING.ainvoke({"who": name}))["report"][-1]
        return [
            f"task {name}: {await shout(name)}",
            f"graph {name}: {report}",
            f"inside {name}: {await inside(name)}",
        ]

    found = await asyncio.gather(*(one(name) for name in NAMES))
    return {"log": [line for lines in found for line in lines]}


async def loop(state: State) -> State:
    """Calls in sequence, in an order that differs between processes."""
    return {"log": [f"loop {name}: {await shout(name)}" for name in NAMES]}


async def question(state: State) -> State:
    """Concurrent interrupts of the node itself and of nested graphs."""

    async def one(name: str) -> list[str]:
        await a_while()
        report = (await ASKING.ainvoke({"who": name}))["report"][-1]
        return [f"question {name}: {interrupt({'may': name})}", f"nested {name}: {report}"]

    found = await asyncio.gather(*(one(name) for name in NAMES))
    return {"log": [line for lines in found for line in lines]}


async def memory(state: State) -> State:
    """Two calls of a nested graph with a memory for each name."""

    async def one(name: str) -> str:
        await REMEMBERING.ainvoke({"who": name}, memory=name)
        report = (await REMEMBERING.ainvoke({"who": name}, memory=name))["report"]
        return f"memory {name}: {', '.join(report)}"

    return {"log": list(await asyncio.gather(*(one(name) for name in NAMES)))}


async def resume(folder: Path, dsn: str) -> list[str]:
    """Run the thread until it is finished, and return its values."""
    builder = StateGraph(State).add_sequence([race, loop, question, memory]).add_edge(START, "race")
    async with store_of(folder, dsn) as saver:
        graph: Any = builder.compile(saver)
        while True:
            snapshot = await graph.aget_state(thread_id=THREAD)
            if snapshot.metadata is not None and not snapshot.next:
                found: list[str] = snapshot.values["log"]
                return found
            given: Any = {"log": []} if snapshot.metadata is None else None
            if snapshot.interrupts:
                # Answer some of them: the others stay open.
                some = random.sample(snapshot.interrupts, random.randint(1, len(snapshot.interrupts)))
                given = Command(resume={each.id: f"yes to {each.value['may']}" for each in some})
            try:
                await graph.ainvoke(given, thread_id=THREAD)
            except ReplayMismatchError as error:
                # The loop is refused if it resumes in another order; its owner discards the records.
                await graph.adiscard_calls(error.thread_id, error.task_id)


def match_by_position() -> None:
    """Give every call the next record in order, whatever call it was recorded for."""

    def matching_place(mark: Any, unclaimed: Any) -> int | None:
        return next(iter(sorted(store for store, each in unclaimed.items() if each.kind == mark.kind)), None)

    vars(claims)["matching_place"] = matching_place


async def main(folder: str, dsn: str, seconds: str, *planted: str) -> None:
    """Run until the end, or until the kill."""
    if planted:
        match_by_position()
    if float(seconds) >= 0:
        asyncio.get_running_loop().call_later(float(seconds), os.kill, os.getpid(), signal.SIGKILL)
    print("\n".join(await resume(Path(folder), dsn)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
