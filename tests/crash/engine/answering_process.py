"""Answers to interrupts, from this process or another: `python -m tests.crash.engine.answering_process FOLDER [DSN]`.

It reads jobs as lines of JSON from stdin, and writes their results to stdout.
"""

import asyncio
import operator
import sys
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec

from durable_graph import START, Command, CompiledGraph, InterruptAnsweredError, StateGraph, interrupt
from tests.crash.engine.stores import store_of


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Job(msgspec.Struct):
    """Answer the thread's interrupt after `delay` seconds; by its `id`, if one is given."""

    thread: str
    answer: str
    delay: float
    id: str | None = None


class AnswerResult(msgspec.Struct, frozen=True):
    """The result of an answer: accepted (`won`), rejected in favour of the answer that `stands`, or any other error."""

    won: bool = False
    stands: str | None = None
    other: str | None = None


def asking() -> StateGraph[State]:
    async def ask(state: State) -> State:
        return {"log": [interrupt("which colour?")]}

    async def after(state: State) -> State:
        return {"log": ["after"]}

    builder = StateGraph(State).add_node("ask", ask).add_node("after", after)
    return builder.add_edge(START, "ask").add_edge("ask", "after")


async def give(graph: CompiledGraph[Any], job: Job) -> AnswerResult:
    await asyncio.sleep(job.delay)
    command = Command[Any](resume=job.answer if job.id is None else {job.id: job.answer})
    try:
        await graph.ainvoke(command, thread_id=job.thread)
    except InterruptAnsweredError as error:
        return AnswerResult(stands=error.answer)
    except Exception as error:  # the test shows every error
        return AnswerResult(other=f"{type(error).__name__}: {error}")
    return AnswerResult(won=True)


async def serve(folder: Path, dsn: str) -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with store_of(folder, dsn) as saver:
        graph = asking().compile(saver)
        while line := await lines.readline():
            result = await give(graph, msgspec.json.decode(line, type=Job))
            print(msgspec.json.encode(result).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
