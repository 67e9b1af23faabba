"""A separate process that makes a number of writes to one thread: `python -m tests.runtime.writer_process`."""

import asyncio
import operator
import sys
from pathlib import Path
from typing import Annotated, TypedDict

from durable_graph import START, CheckpointConflictError, StateGraph
from durable_graph_sqlite import SqliteSaver


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


async def note(state: State) -> State:
    return {"log": ["noted"]}


def builder() -> StateGraph[State]:
    """A graph of one node."""
    made = StateGraph(State)
    made.add_node("note", note)
    made.add_edge(START, "note")
    return made


async def write(path: Path, writer: str, turns: int) -> None:
    """Print `ack <word>` for every run that returned, `lost <word>` for every one that was refused."""
    async with SqliteSaver(path) as saver:
        graph = builder().compile(saver)
        for turn in range(turns):
            word = f"{writer}.{turn}"
            try:
                await graph.ainvoke({"log": [word]}, thread_id="t")
                verdict = "ack"
            except CheckpointConflictError as error:
                verdict = "lost" if names_its_place(error) else "mute"
            print(verdict, word)


def names_its_place(error: CheckpointConflictError) -> bool:
    """Whether the error says which thread and which checkpoint."""
    return error.thread_id == "t" and "'t'" in str(error) and error.checkpoint_id in str(error)


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
