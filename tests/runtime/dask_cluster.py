"""`make cluster`: a fan-out on a real dask cluster, of which one worker is killed while it runs a task.

Each cluster is a scheduler and three workers in processes of their own. A worker that has begun a task is ended with
SIGKILL. All tasks finish, the results are right and in their order, and no task is lost. In the first cluster dask runs
the lost task again by itself. The second one gives up at once (`allowed-failures: 0`), which is a failed attempt of the
node, and its retry policy runs it again. In the third one the node has no policy: the run fails, and a resume runs the
tasks that are not recorded.
"""

import asyncio
import logging
import operator
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict

from distributed import Client

from durable_graph import START, ExecutorFailedError, RetryPolicy, Send, StateGraph
from durable_graph_sqlite import SqliteSaver

WORKERS: Final = 3
TASKS: Final = 60
KILLED_AT: Final = 20
"""The task whose worker is killed."""

AT_ONCE: Final = RetryPolicy(initial_interval=0, jitter=False)


class State(TypedDict, total=False):
    results: Annotated[list[int], operator.add]
    workers: Annotated[list[int], operator.add]


class Piece(TypedDict):
    n: int
    folder: str


def compute(piece: Piece) -> State:
    """The square of a number. Each call leaves a file; the first call of one task waits until its process is killed."""
    number, folder = piece["n"], Path(piece["folder"])
    calls = len(list(folder.glob(f"call-{number}-*")))
    (folder / f"call-{number}-{os.getpid()}-{calls}").touch()
    if number == KILLED_AT and not calls:
        time.sleep(60)
    time.sleep(0.02)
    return {"results": [number**2], "workers": [os.getpid()]}


@contextmanager
def cluster(folder: Path, allowed_failures: int) -> Iterator[str]:
    """A scheduler and its workers. Gives the scheduler's address."""
    file = folder / "scheduler.json"
    environment = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures)}
    dask = [sys.executable, "-m", "dask"]
    own = ["--scheduler-file", str(file), "--no-dashboard"]
    with ExitStack() as processes, (folder / "log").open("wb") as log:

        def start(*arguments: str) -> None:
            process = processes.enter_context(
                subprocess.Popen([*dask, *arguments, *own], env=environment, stdout=log, stderr=log)
            )
            processes.callback(process.terminate)

        start("scheduler", "--host", "127.0.0.1", "--port", "0")
        for _ in range(WORKERS):
            start("worker", "--no-nanny", "--nthreads", "1")
        with Client(scheduler_file=str(file), timeout=60) as client:
            client.wait_for_workers(WORKERS, timeout=60)
            yield client.scheduler.address


async def kill_its_worker(folder: Path) -> int:
    """Wait until the task has begun, and kill its process."""
    while not (found := list(folder.glob(f"call-{KILLED_AT}-*"))):  # noqa: ASYNC110, ASYNC240  # of another process
        await asyncio.sleep(0.005)
    killed = int(found[0].name.split("-")[2])
    os.kill(killed, signal.SIGKILL)
    return killed


def calls_in(folder: Path) -> list[int]:
    """How often each task was called."""
    return [len(list(folder.glob(f"call-{number}-*"))) for number in range(TASKS)]


async def run_once(address: str, folder: Path, options: dict[str, Any], *, fails: bool) -> None:
    """Run the fan-out, and check what it says. With `fails` the first call of the graph fails, and a resume ends it."""

    clients: list[Client] = []

    def connected() -> Executor:
        clients.append(Client(address))
        executor: Executor = clients[-1].get_executor()
        return executor

    builder = StateGraph(State).add_node("compute", compute, input_schema=Piece, executor=connected, **options)
    pieces = [Send("compute", Piece(n=number, folder=str(folder))) for number in range(TASKS)]
    builder.add_conditional_edges(START, lambda _: pieces, ["compute"])
    async with SqliteSaver(folder / "runs.db") as saver:
        graph = builder.compile(saver)
        killing = asyncio.create_task(kill_its_worker(folder))
        failure: Exception | None = None
        try:
            result = await graph.ainvoke({}, thread_id="t")
        except ExecutorFailedError as error:
            failure = error
            print(f"  the run failed: {str(error)[:100]}...")
            result = await graph.ainvoke(None, thread_id="t")
        killed = await killing
    assert (failure is not None) == fails, failure
    for client in clients:
        await asyncio.to_thread(client.close)

    assert result["results"] == [number**2 for number in range(TASKS)], result["results"]
    calls = calls_in(folder)
    assert min(calls) == 1, calls
    again = [number for number, count in enumerate(calls) if count > 1]
    assert KILLED_AT in again, again
    print(f"  process {killed} was killed; {TASKS} tasks finished on {len(set(result['workers']))} workers")
    print(f"  {sum(calls)} calls: task {', '.join(map(str, again))} ran again")


FORMS: Final[tuple[tuple[str, int, dict[str, Any], bool], ...]] = (
    ("dask runs a lost task again", 3, {}, False),
    ("dask gives up, and the node's retry policy runs it again", 0, {"retry_policy": AT_ONCE}, False),
    ("dask gives up, the run fails, and a resume runs it again", 0, {}, True),
)


def main() -> None:
    # dask logs an error for each call that a failed run takes back.
    for name in ("distributed.client", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for said, allowed_failures, options, fails in FORMS:
        print(f"{said}:", flush=True)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            with cluster(folder, allowed_failures) as address:
                asyncio.run(run_once(address, folder, options, fails=fails))
    print(f"{len(FORMS)} passed, 0 failed")


if __name__ == "__main__":
    main()
