"""A CPU-bound fan-out on executors beside the same in one process, and the cost of a task on each executor.

usage: python -m benchmarks.executors [--tiny]

The contenders take turns in rounds, on a SQLite file. A line for each has the median of its rounds, and the median of
the rounds' ratios to the plain node in one process. The processes of an executor are started before. dask is measured
where it is installed, as by `make bench-executors`. It takes about 3 minutes.
"""

import asyncio
import importlib.util
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec

from benchmarks.executors.work import Piece, State, count_primes, count_primes_in_loop
from benchmarks.options import has_unknown
from durable_graph import START, Send, StateGraph
from durable_graph_sqlite import SqliteSaver


class Sizes(msgspec.Struct, frozen=True):
    """How many rounds; the tasks of a fan-out, and what each computes; and the tasks that compute nothing."""

    rounds: int = 5
    tasks: int = 200
    limit: int = 12_000
    empty_tasks: int = 500


TINY: Final = Sizes(rounds=2, tasks=4, limit=10, empty_tasks=4)

PLAIN: Final = "a plain node, one process"
IN_LOOP: Final = "an async node, one process"
PROCESSES: Final = "a process pool of 2"
THREADS: Final = "a thread pool of 2"
DASK: Final = "dask.distributed, 2 workers"


@contextmanager
def executors() -> Iterator[dict[str, Executor]]:
    """The executors, started."""
    with ExitStack() as opened:
        processes = opened.enter_context(ProcessPoolExecutor(2, mp_context=get_context("spawn")))
        found: dict[str, Executor] = {
            PROCESSES: processes,
            THREADS: opened.enter_context(ThreadPoolExecutor(2)),
        }
        if importlib.util.find_spec("distributed") is not None:
            from distributed import Client, LocalCluster

            cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
            client = opened.enter_context(Client(opened.enter_context(cluster)))
            found[DASK] = client.get_executor()
        yield found


async def seconds(saver: SqliteSaver, executor: Executor | None, node: Any, pieces: list[Send]) -> float:
    """The time of one run."""
    builder = StateGraph(State).add_node("count", node, input_schema=Piece, executor=executor)
    builder.add_conditional_edges(START, lambda _: pieces, ["count"])
    graph = builder.compile(saver)
    started = time.perf_counter()
    result = await graph.ainvoke({}, thread_id=str(uuid4()))
    taken = time.perf_counter() - started
    assert len(result["results"]) == len(pieces)
    return taken


async def measured(sizes: Sizes, limit: int, tasks: int) -> dict[str, list[float]]:
    """The times of each contender, in milliseconds for a task."""
    pieces = [Send("count", Piece(limit=limit)) for _ in range(tasks)]
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, executors() as opened:
        contenders: dict[str, tuple[Executor | None, Any]] = {
            PLAIN: (None, count_primes),
            IN_LOOP: (None, count_primes_in_loop),
            **{name: (executor, count_primes) for name, executor in opened.items()},
        }
        async with SqliteSaver(Path(folder) / "runs.db") as saver:
            for executor, node in contenders.values():
                # Processes import the library with their first call; there are two of them.
                await seconds(saver, executor, node, pieces[:4])
            for _ in range(sizes.rounds):
                for name, (executor, node) in contenders.items():
                    taken = await seconds(saver, executor, node, pieces)
                    found.setdefault(name, []).append(taken * 1000 / tasks)
    return found


def report(title: str, found: dict[str, list[float]]) -> None:
    print(title)
    for name, rounds in found.items():
        ratio = statistics.median(plain / own for plain, own in zip(found[PLAIN], rounds, strict=True))
        low, high = min(rounds), max(rounds)
        print(f"  {name:30} {statistics.median(rounds):8.3f} ms a task ({low:.3f}-{high:.3f}) {ratio:6.2f} x")


async def main(sizes: Sizes) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Measure, and print a line for each contender."""
    busy = await measured(sizes, sizes.limit, sizes.tasks)
    report(f"{sizes.tasks} tasks that count primes below {sizes.limit}:", busy)
    empty = await measured(sizes, 0, sizes.empty_tasks)
    report(f"{sizes.empty_tasks} tasks that compute nothing:", empty)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores{load}")
    return busy, empty


if __name__ == "__main__":
    if has_unknown(sys.argv[1:], {"--tiny"}, __doc__):
        sys.exit(2)
    # What it switches on is for tests.
    os.environ.pop("DURABLE_GRAPH_DEBUG", None)
    asyncio.run(main(TINY if "--tiny" in sys.argv else Sizes()))
