"""Wake-ups are measured between two processes. No test asserts a time."""

from benchmarks.flush import Disk
from benchmarks.wake_ups.measure import TINY, line_of, measure


async def test_every_row_of_each_store_has_its_figures(disk: Disk) -> None:
    rows = [row async for row in measure(disk, TINY)]

    assert [(row.unit, len(row.figures)) for row in rows] == [
        *[("ms", 2), ("ms", 1), ("%", 1)] * 2,
        *[("commits/s", 1)] * 3,
    ]
    assert all(line_of(row).startswith(f"{row.name}: ") for row in rows)
    assert all(figure > 0 for row in rows if row.unit != "%" for figure in row.figures)
