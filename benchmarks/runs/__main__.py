"""Measure, and print a line for each row.

usage: python -m benchmarks.runs [--tiny] [--rounds=N] [--size=N] [--store=NAME] [--write] [one_step] [sleeping]

`--size` is the number of runs: by default 2,000 one-step runs a round, and 100,000 that sleep. `--store` is PostgreSQL
or SQLite, by default both. With `--write`, also write the record, and the tables of docs/performance.md; the rows of a
question or a store that is left out stay as they are.
procrastinate and DBOS are measured where they are installed: `make bench-runs`.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from benchmarks.lab import Lab
from benchmarks.langchain import leave_out
from benchmarks.options import has_unknown
from benchmarks.page import line_of
from benchmarks.record import Record, Row, record_of
from benchmarks.run import run_of
from benchmarks.runs import page
from benchmarks.runs.contenders import StoreName
from benchmarks.runs.one_step import measure_one_step
from benchmarks.runs.sleeping import measure_sleeping
from benchmarks.runs.stores import Stores, stores

QUESTIONS: Final[Mapping[str, tuple[Callable[[Lab, Stores, int, Sequence[StoreName]], Awaitable[None]], int]]] = {
    "one_step": (measure_one_step, 2_000),
    "sleeping": (measure_sleeping, 100_000),
}
"""Each question, and its usual number of runs."""
STORES: Final[tuple[StoreName, ...]] = ("PostgreSQL", "SQLite")


def report(row: Row) -> None:
    print(line_of(row), flush=True)


def number(arguments: list[str], option: str) -> int | None:
    """The number of an option `--option=N`."""
    given = [each.partition("=")[2] for each in arguments if each.startswith(f"--{option}=")]
    return int(given[0]) if given else None


def main(arguments: list[str]) -> int:
    if has_unknown(arguments, {"--tiny", "--rounds", "--size", "--store", "--write"}, __doc__):
        return 2
    chosen = [each for each in arguments if not each.startswith("--")] or list(QUESTIONS)
    if unknown := set(chosen) - set(QUESTIONS):
        print(f"There is no question {', '.join(sorted(unknown))}. There are: {', '.join(QUESTIONS)}", file=sys.stderr)
        return 2
    names: list[StoreName] = [name for name in STORES if f"--store={name}" in arguments] or list(STORES)
    leave_out()
    lab = Lab([], [], is_tiny="--tiny" in arguments, rounds=number(arguments, "rounds"), report=report)
    start = time.monotonic()
    with stores() as found:
        for question in chosen:
            measure, usual = QUESTIONS[question]
            lab.question, began = question, time.monotonic()
            asyncio.run(ask(measure(lab, found, number(arguments, "size") or usual, names)))
            print(f"{question} took {time.monotonic() - began:,.0f} s", flush=True)
        run = run_of(time.monotonic() - start, asyncio.run(found.server_version()), {"disk": found.flush_microseconds})
    if "--write" in arguments:
        others = record_of(page.RECORD.read_bytes()).rows if page.RECORD.exists() else []
        asked = [(question, f", {name}") for question in chosen for name in names]
        kept = [row for row in others if not any(row.question == each and name in row.work for each, name in asked)]
        page.write(Record(run=run, rows=sorted([*kept, *lab.rows], key=_order)))
    return 0


def _order(row: Row) -> tuple[int, int]:
    store = next(number for number, name in enumerate(STORES) if f", {name}" in row.work)
    return list(QUESTIONS).index(row.question), store


async def ask(question: Awaitable[None]) -> None:
    await question


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
