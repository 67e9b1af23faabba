"""The part of docs/performance.md about runs: its tables are made from a record of their own.

`python -m benchmarks.runs.page` makes them from the committed record again.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from benchmarks.page import PAGE, figure_of, ratio_of, run_table, table
from benchmarks.record import OURS, Record, record_of
from benchmarks.runs.contenders import DBOS_NAME, PROCRASTINATE

RECORD: Final = PAGE.parent / "performance/runs.json"
_BLOCK: Final = re.compile(r"(<!-- made from the record of runs: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def write(record: Record) -> None:
    """Write the record, and the tables of the page."""
    RECORD.write_bytes(record.to_json())
    render(record)


def render(record: Record) -> None:
    """Write the tables of the page."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), record), encoding="utf-8")


def with_tables(page: str, record: Record) -> str:
    """The page with the tables of this record."""
    return _BLOCK.sub(lambda block: f"{block[1]}{_TABLES[block[2]](record)}{block[3]}", page)


def _one_step(record: Record) -> str:
    peers = (PROCRASTINATE, DBOS_NAME)
    head = ["work", "for each", OURS, *peers, *(f"/ {name}" for name in peers)]
    rows = [
        [
            f"{row.work}{' (CPU)' if row.clock == 'CPU' else ''}",
            row.of,
            *(figure_of(row, name) if name in row.samples else "" for name in (OURS, *peers)),
            *(ratio_of(row.ratio(OURS, name)) if name in row.samples else "" for name in peers),
        ]
        for row in record.rows
        if row.question == "one_step"
    ]
    return table(head, rows, numbers_from=2)


def _sleeping(record: Record) -> str:
    rows = [
        [f"{row.work}{' (CPU)' if row.clock == 'CPU' else ''}", row.of, figure_of(row, OURS)]
        for row in record.rows
        if row.question == "sleeping"
    ]
    return table(["work", "for each", OURS], rows, numbers_from=2)


_TABLES: Final[Mapping[str, Callable[[Record], str]]] = {
    "run": run_table,
    "one_step": _one_step,
    "sleeping": _sleeping,
}


if __name__ == "__main__":
    render(record_of(RECORD.read_bytes()))
