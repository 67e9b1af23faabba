"""Measure the layouts, and print a table for each database, flush and size of a transaction.

usage: python -m benchmarks.row_layouts [--tiny] [--rounds=N]
"""

import asyncio
import os
import platform
import sqlite3
import sys
from typing import Final

from benchmarks.flush import disks, with_simulated_flush
from benchmarks.lab import Lab
from benchmarks.options import has_unknown
from benchmarks.record import FLOOR, Row, Spread
from benchmarks.row_layouts.measure import measure
from benchmarks.row_layouts.on_sqlite import FRAME

_INSIDE: Final = "DURABLE_GRAPH_BENCHMARK"


def table_of(row: Row) -> str:
    """The title and the table of a row. It has medians and, in parentheses, the lower and the upper quartiles."""
    title = f"{row.work} ({row.flush} flush)" if row.unit == "us" else row.work
    rows = [["layout", f"{row.unit} a {row.of}", "/ floor"], ["---", "---:", "---:"]]
    pages = ["pages", "---:"]
    for name in row.samples:
        median, ratio = row.figure(name).median, row.ratio(name, FLOOR)
        rows.append([name, _spread(row.figure(name), ".1f"), "" if ratio is None else _spread(ratio, ".2f")])
        pages.append(f"{median / FRAME:.2f}")
    if row.unit == "bytes" and row.work.startswith("SQLite"):
        rows = [[*cells, page] for cells, page in zip(rows, pages, strict=True)]
    return "\n".join([title, "", *(f"| {' | '.join(cells)} |" for cells in rows), ""])


def _spread(found: Spread, form: str) -> str:
    return f"{found.median:{form}} ({found.low:{form}}-{found.high:{form}})"


def report(row: Row) -> None:
    print(table_of(row), flush=True)


def main(arguments: list[str]) -> int:
    if has_unknown(arguments, {"--tiny", "--rounds"}, __doc__):
        return 2
    rounds = next((int(option.partition("=")[2]) for option in arguments if option.startswith("--rounds=")), None)
    with disks() as found:
        flushes = ", ".join(f"{disk.flush} {disk.flush_microseconds} us" for disk in found)
        asyncio.run(measure(Lab([], found, is_tiny="--tiny" in arguments, rounds=rounds, report=report)))
        versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
        print(f"{versions}, PostgreSQL {found[-1].server_version}, {os.cpu_count()} cores")
        again = ", ".join(f"{disk.flush} {disk.flush_microseconds} us" for disk in found)
        print(f"One flush before: {flushes}; after: {again}")
    return 0


if __name__ == "__main__":
    if _INSIDE in os.environ:
        sys.exit(main(sys.argv[1:]))
    os.environ[_INSIDE] = "1"
    sys.exit(with_simulated_flush(["-m", "benchmarks.row_layouts", *sys.argv[1:]]))
