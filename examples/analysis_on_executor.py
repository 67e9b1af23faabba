"""An embarrassingly parallel analysis: a simulation in many parts, which run in the processes of a pool.

python -m examples.analysis_on_executor

One of the processes is killed in the middle, as the system does when memory runs out. The retry policy runs the lost
parts again on a new pool, and the result is the same as without the kill: each part has its own seed.
"""

import asyncio
import operator
import os
import random
import signal
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, TypedDict

from durable_graph import END, START, RetryPolicy, Send, StateGraph
from durable_graph_sqlite import SqliteSaver

POINTS = 50_000


class Analysis(TypedDict, total=False):
    """The reducer of `inside` collects the results of the parts."""

    parts: int
    folder: str
    inside: Annotated[list[int], operator.add]
    estimate: float


class Part(TypedDict):
    """The input of one task."""

    seed: int
    folder: str


def split(analysis: Analysis) -> list[Send]:
    """A task for each part."""
    return [Send("simulate", Part(seed=seed, folder=analysis["folder"])) for seed in range(analysis["parts"])]


def simulate(part: Part) -> Analysis:
    """The number of points inside the circle. It runs in a process of the pool, which imports this module."""
    if part["seed"] == 5 and kills_now(Path(part["folder"])):
        os.kill(os.getpid(), signal.SIGKILL)
    drawn = random.Random(part["seed"])  # noqa: S311  # a simulation
    return {"inside": [sum(drawn.random() ** 2 + drawn.random() ** 2 < 1 for _ in range(POINTS))]}


def kills_now(folder: Path) -> bool:
    """True once for each folder."""
    try:
        (folder / "killed").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


async def combine(analysis: Analysis) -> Analysis:
    """The estimate of pi. It runs in the event loop, once all parts have finished."""
    return {"estimate": 4 * sum(analysis["inside"]) / (analysis["parts"] * POINTS)}


pools: list[ProcessPoolExecutor] = []


def make_pool() -> ProcessPoolExecutor:
    """The library calls this for the first part, and again once the pool is broken."""
    pools.append(ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")))
    return pools[-1]


async def main() -> None:
    """Run the analysis once."""
    builder = StateGraph(Analysis)
    builder.add_node(
        simulate,
        input_schema=Part,
        executor=make_pool,
        retry_policy=RetryPolicy(initial_interval=0.01, jitter=False),
    )
    builder.add_node(combine)
    builder.add_conditional_edges(START, split, ["simulate"])
    builder.add_edge("simulate", "combine").add_edge("combine", END)

    with tempfile.TemporaryDirectory() as folder:
        async with SqliteSaver(Path(folder) / "analysis.db") as saver:
            graph = builder.compile(saver)
            result = await graph.ainvoke({"parts": 12, "folder": folder}, thread_id="pi")
    print(f"{len(result['inside'])} parts on {len(pools)} pools, because a process of the first one was killed")
    print(f"pi is about {result['estimate']:.4f}")


if __name__ == "__main__":
    asyncio.run(main())
