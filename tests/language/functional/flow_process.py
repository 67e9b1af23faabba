"""A process that runs an entrypoint of ten tasks: `python -m tests.language.functional.flow_process <four arguments>`.

The arguments are a database, a ledger, a durability mode and the number of a call. Each call writes its number to the
ledger, flushed to the disk before it returns. The process kills itself after the call of that number has returned and
its caller has the result; with -1 it does not.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import get_args

from durable_graph import Durability, entrypoint, task
from durable_graph_sqlite import SqliteSaver
from tests.graphs import THREAD

CALLS = 10


async def flow(file: Path, ledger: Path, mode: Durability, kill_after: int) -> None:
    """Run the thread to its end, or to the kill, and print its result."""
    lines = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @task
    async def work(number: int) -> int:
        os.write(lines, f"{number}\n".encode())
        os.fsync(lines)
        return number * 10

    async with SqliteSaver(file) as saver:

        @entrypoint(checkpointer=saver)
        async def ten(factor: int) -> list[int]:
            results = []
            for number in range(CALLS):
                results.append(await work(number) * factor)
                if number == kill_after:
                    os.kill(os.getpid(), signal.SIGKILL)
            return results

        has_begun = (await ten.aget_state(THREAD)).metadata is not None
        print(await ten.ainvoke(None if has_begun else 2, THREAD, durability=mode))


if __name__ == "__main__":
    _, path, ledger_path, chosen, kill = sys.argv
    (durability,) = (each for each in get_args(Durability) if each == chosen)
    asyncio.run(flow(Path(path), Path(ledger_path), durability, int(kill)))
