"""A separate process that answers an interrupt once it reads a line from stdin:
`python -m tests.language.interrupts.answering_process FILE INTERRUPT_ID ANSWER`."""

import asyncio
import sys
from pathlib import Path

from durable_graph import Command, InterruptAnsweredError, StateGraph, interrupt
from durable_graph_sqlite import SqliteSaver
from tests.graphs import State, chain


async def ask(state: State) -> State:
    return {"log": [interrupt("which colour?"), interrupt("are you sure?")]}


def asking() -> StateGraph[State]:
    """A graph with two interrupts, so that its thread still waits after the first answer."""
    return chain(("ask", ask))


async def answer(path: Path, interrupt_id: str, colour: str) -> str:
    """`accepted <colour>`, or `answered <colour of the first answer>`."""
    async with SqliteSaver(path) as saver:
        graph = asking().compile(saver)
        await graph.aget_state(thread_id="t")
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            await graph.ainvoke(Command(resume={interrupt_id: colour}), thread_id="t")
        except InterruptAnsweredError as error:
            return f"answered {error.answer}"
        return f"accepted {colour}"


if __name__ == "__main__":
    print(asyncio.run(answer(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
