"""The page docs/performance.md, and the figures of the README: tables and plots are made from the record.

`python -m benchmarks.page` makes them from the committed record again.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from benchmarks.plots import Bar, plot
from benchmarks.record import FLOOR, LANGGRAPH, OURS, SKELETON, Flush, Record, Row, Spread, record_of

_ROOT: Final = Path(__file__).parents[1]
_DOCS: Final = _ROOT / "docs"
README: Final = _ROOT / "README.md"
PAGE: Final = _DOCS / "performance.md"
RECORD: Final = _DOCS / "performance/record.json"

_PAYLOAD: Final = "the payload"
SUMMARY: Final[Mapping[tuple[str, Flush], str]] = {
    ("chain, no store", "none"): "a superstep without a store",
    ("chain, memory", "none"): "a superstep in memory",
    ("chain, SQLite, sync", "simulated"): 'a superstep on a SQLite file, `"sync"`',
    ("chain, PostgreSQL, sync", "simulated"): 'a superstep on PostgreSQL, `"sync"`',
    ("200 threads of 20, PostgreSQL", "simulated"): "a superstep of 200 threads at once, PostgreSQL",
    ("fan-out of 1,000, no store", "none"): "a task in a fan-out of 1,000",
    ("chat of 1,000 turns, PostgreSQL", "simulated"): "a turn of a chat of 1,000 turns, PostgreSQL",
    ("@task, PostgreSQL", "simulated"): "a `@task`, PostgreSQL",
    ("interrupt and resume, PostgreSQL", "simulated"): "an interrupt and its resumption, PostgreSQL",
    ("custom token of a stream", "none"): "a custom token of a stream",
    ("aget_state, 1,000 turns, SQLite", "none"): "`aget_state` after 1,000 turns, SQLite",
    ("1,000 turns of 500 bytes, SQLite", "none"): "the file of 1,000 turns of 500 bytes, SQLite",
    ("1,000 turns of 500 bytes, PostgreSQL", "none"): "the tables of 1,000 turns of 500 bytes, PostgreSQL",
}
"""The rows of the README, and their names there."""

_BLOCK: Final = re.compile(r"(<!-- made from the record: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def write(record: Record) -> None:
    """Write the record, the plots, and the tables of both pages."""
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_bytes(record.to_json())
    render(record)


def render(record: Record) -> None:
    """Write the plots, and the tables of both pages."""
    for path, svg in plots_of(record).items():
        path.write_text(svg, encoding="utf-8")
    for page in (PAGE, README):
        page.write_text(with_tables(page.read_text(encoding="utf-8"), record), encoding="utf-8")


def with_tables(page: str, record: Record) -> str:
    """The page with the tables of this record."""
    return _BLOCK.sub(lambda block: f"{block[1]}{_TABLES[block[2]](record)}{block[3]}", page)


def line_of(row: Row) -> str:
    """A row for the terminal."""
    figures = "; ".join(f"{name} {figure_of(row, name)}" for name in row.samples)
    ratios = [f"/ {name} {ratio_of(row.ratio(OURS, name))}" for name in row.samples if row.is_compared and name != OURS]
    return f"{_work(row)}: {figures}" + "".join(f"\n    {ratio}" for ratio in ratios)


def best_peer(row: Row) -> str | None:
    """LangGraph with the connection that is fastest in this row."""
    peers = [name for name in row.samples if name.startswith(LANGGRAPH)]
    return min(peers, key=lambda name: row.figure(name).median, default=None)


def plots_of(record: Record) -> dict[Path, str]:
    """Each plot and its file."""
    # Of the two kinds of flush the simulated one says more, and the tables have both.
    compared = [row for row in record.rows if row.is_compared and row.unit != "bytes" and row.flush != "disk"]
    bases: dict[str, Callable[[Row], str | None]] = {
        "langgraph": best_peer,
        "skeleton": lambda row: SKELETON if SKELETON in row.samples else None,
        "floor": lambda row: FLOOR if FLOOR in row.samples else None,
    }
    titles = {
        "langgraph": "durable_graph / LangGraph: left of 1 durable_graph takes less",
        "skeleton": "durable_graph / skeleton",
        "floor": "durable_graph / floor",
    }
    return {
        _DOCS / f"performance/{name}.svg": plot(titles[name], list(_bars(compared, base)))
        for name, base in bases.items()
    }


def _bars(rows: list[Row], base: Callable[[Row], str | None]) -> Iterable[Bar]:
    for row in rows:
        name = base(row)
        found = None if name is None else row.ratio(OURS, name)
        if found is not None:
            yield Bar(row.work, found)


def _summary(record: Record) -> str:
    rows = {(row.work, row.flush): row for row in record.rows}
    return table(
        ["", "durable_graph / LangGraph"],
        [[title, _ratio_or_none(rows[key], best_peer(rows[key]))] for key, title in SUMMARY.items() if key in rows],
        numbers_from=1,
    )


def run_table(record: Record) -> str:
    """Where and when a record was measured."""
    run = record.run
    modified = ", with changes that are not committed" if run.is_modified else ""
    machine = ", ".join([run.machine["processor"], f"{run.machine['cores']} cores", run.machine["system"]])
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    flushes = ", ".join(f"{name} {_number(microseconds)} us" for name, microseconds in run.flushes.items())
    return table(
        ["", ""],
        [
            ["date", run.date],
            ["commit", f"`{run.commit}`{modified}"],
            ["machine", machine],
            ["versions", versions],
            ["one flush", flushes],
            ["the run took", f"{run.seconds // 60} minutes"],
        ],
    )


def _compared(record: Record) -> str:
    rows = []
    for row in record.rows:
        if row.is_compared and row.unit in ("us", "ms"):
            peer = best_peer(row)
            figures = [_figure_or_none(row, name) for name in (OURS, FLOOR, SKELETON)]
            ratios = [_ratio_or_none(row, name) for name in (FLOOR, SKELETON, peer)]
            rows.append([_work(row), row.of, *figures, _peer_figure(row, peer), *ratios])
    head = ["work", "for each", OURS, FLOOR, SKELETON, LANGGRAPH, "/ floor", "/ skeleton", "/ LangGraph"]
    return table(head, rows, numbers_from=2)


def _others(record: Record) -> str:
    rows = []
    for row in record.rows:
        if row.is_compared and row.unit in ("us", "ms"):
            shown = {OURS, FLOOR, SKELETON, best_peer(row)}
            rows += [
                [_work(row), row.of, name, figure_of(row, name), ratio_of(row.ratio(OURS, name))]
                for name in row.samples
                if name not in shown
            ]
    return table(["work", "for each", "contender", "it", "durable_graph / it"], rows, numbers_from=3)


def _sizes(record: Record) -> str:
    rows = []
    for row in record.rows:
        if row.unit == "bytes" and row.is_compared:
            payload = _ratio_or_none(row, _PAYLOAD)
            figures = [_figure_or_none(row, name) for name in (OURS, LANGGRAPH)]
            rows.append([row.work, *figures, payload, _ratio_or_none(row, LANGGRAPH)])
    return table(["stored", OURS, LANGGRAPH, "/ payload", "/ LangGraph"], rows, numbers_from=1)


def _variants(record: Record) -> str:
    rows = []
    for row in record.rows:
        if not row.is_compared:
            first = next(iter(row.samples))
            rows += [
                [
                    _work(row),
                    row.of,
                    name,
                    figure_of(row, name),
                    "" if name == first else ratio_of(row.ratio(name, first)),
                ]
                for name in row.samples
            ]
    return table(["work", "for each", "variant", "it", "/ the first"], rows, numbers_from=3)


_TABLES: Final[Mapping[str, Callable[[Record], str]]] = {
    "run": run_table,
    "summary": _summary,
    "compared": _compared,
    "others": _others,
    "sizes": _sizes,
    "variants": _variants,
}


def table(head: list[str], rows: list[list[str]], numbers_from: int = 9) -> str:
    """A table in Markdown, whose columns from `numbers_from` on are numbers."""
    marks = ["---" if place < numbers_from else "---:" for place in range(len(head))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [head, marks, *rows])


def _work(row: Row) -> str:
    return row.work if row.flush == "none" else f"{row.work} ({row.flush} flush)"


def _figure_or_none(row: Row, name: str | None) -> str:
    return figure_of(row, name) if name in row.samples and name is not None else ""


def _ratio_or_none(row: Row, name: str | None) -> str:
    return ratio_of(row.ratio(OURS, name)) if name in row.samples and name is not None else ""


def _peer_figure(row: Row, peer: str | None) -> str:
    variant = (peer or "").removeprefix(LANGGRAPH)
    return _figure_or_none(row, peer) + variant


def figure_of(row: Row, name: str) -> str:
    """The median figure of a contender, with its unit."""
    median = row.figure(name).median
    if row.unit == "bytes":
        return f"{median:,.0f} bytes"
    return f"{_number(median)} {row.unit}"


def ratio_of(found: Spread | None) -> str:
    """The median and the quartiles of a ratio."""
    if found is None:
        return ""
    low, median, high = (_number(part) for part in found)
    return median if low == high else f"{median} ({low}-{high})"


def _number(value: float) -> str:
    """Two or three significant digits, and all digits before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.4f}"


if __name__ == "__main__":
    render(record_of(RECORD.read_bytes()))
