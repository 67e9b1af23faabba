"""Measure wake-ups between two processes, and print a line for each row. It takes about 4 minutes.

usage: python -m benchmarks.wake_ups [--tiny]
"""

import asyncio
import os
import platform
import sqlite3
import sys

from benchmarks.flush import disks
from benchmarks.options import has_unknown
from benchmarks.wake_ups.measure import TINY, Sizes, line_of, measure


async def main(arguments: list[str]) -> int:
    if has_unknown(arguments, {"--tiny"}, __doc__):
        return 2
    with disks() as (disk, *_):
        async for row in measure(disk, TINY if "--tiny" in arguments else Sizes()):
            print(line_of(row), flush=True)
        versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
        print(f"{versions}, PostgreSQL {disk.server_version}, {os.cpu_count()} cores")
        print(f"One flush: {disk.flush_microseconds} us")
    return 0


if __name__ == "__main__":
    # What it switches on is for tests.
    os.environ.pop("DURABLE_GRAPH_DEBUG", None)
    sys.exit(asyncio.run(main(sys.argv[1:])))
