"""Each question is measured in a few units. The tests assert the shape of the figures, never a time."""

import asyncio

import pytest

from benchmarks.flush import Disk
from benchmarks.lab import Lab, Work
from benchmarks.libraries import OURS_LIBRARY
from benchmarks.page import line_of
from benchmarks.questions import QUESTIONS
from benchmarks.record import FLOOR, OURS, SKELETON, Record, Row, record_of
from benchmarks.run import measured

ROUNDS = 1

ROWS = {
    "chain_bare": 1,
    "chain_memory": 1,
    "chain_sqlite": 3,
    "chain_postgres": 3,
    "chat": 2,
    "threads": 2,
    "fan_out": 6,
    "wide_state": 6,
    "graph_size": 2,
    "subgraphs": 2,
    "task_calls": 3,
    "interrupts": 3,
    "stream_tokens": 2,
    "reading": 4,
    "event_loop": 11,
    "storage": 12,
    "messages": 6,
    "imports": 2,
}
"""The number of rows of each question on one disk."""

WITH_ENGINES = {"chain_bare", "chain_memory", "chain_sqlite", "chain_postgres", "chat", "threads", "fan_out"}


def test_every_question_is_tested() -> None:
    assert list(ROWS) == list(QUESTIONS)


@pytest.mark.parametrize("question", ROWS)
def test_a_question_has_its_rows_with_a_figure_for_each_contender_and_round(question: str, disk: Disk) -> None:
    lab = Lab([OURS_LIBRARY], [disk], is_tiny=True, rounds=ROUNDS)

    record = measured(lab, [question])

    assert record_of(record.to_json()) == record
    assert [row.question for row in record.rows] == [question] * ROWS[question]
    assert len({row.work for row in record.rows}) == len(record.rows)
    for row in record.rows:
        assert len({len(figures) for figures in row.samples.values()}) == 1
        assert all(isinstance(figure, float) for figures in row.samples.values() for figure in figures)
        assert line_of(row).startswith(row.work)
    if question in WITH_ENGINES:
        assert all(row.samples.keys() >= {FLOOR, SKELETON, OURS} for row in record.rows)
        assert all(len(figures) == ROUNDS for row in record.rows for figures in row.samples.values())


def test_a_run_names_its_commit_and_its_versions(disk: Disk) -> None:
    record = measured(Lab([OURS_LIBRARY], [disk], is_tiny=True), ["stream_tokens"])

    assert len(record.run.commit) == 12
    assert record.run.versions.keys() >= {"Python", "SQLite", "PostgreSQL", "durable-graph", "asyncpg"}
    assert record.run.flushes.keys() == {"disk"}


def test_contenders_take_turns_and_each_is_first_in_turn() -> None:
    ran: list[str] = []

    def work(name: str) -> Work:
        async def run() -> None:
            ran.append(name)

        return run

    lab = Lab([OURS_LIBRARY], [], rounds=3)
    works = {name: work(name) for name in "abc"}
    asyncio.run(lab.measure("work", "unit", works, 1, rounds=99))

    warm_up, *rounds = (ran[first : first + 3] for first in range(0, len(ran), 3))
    assert sorted(warm_up) == ["a", "b", "c"]
    assert rounds == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]]
    assert {name: len(figures) for name, figures in lab.rows[0].samples.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_question_that_fails_ends_the_run(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(lab: Lab) -> None:
        raise ArithmeticError("no figure")

    monkeypatch.setitem(QUESTIONS, "chain_bare", failing)

    with pytest.raises(ArithmeticError, match="no figure"):
        measured(Lab([OURS_LIBRARY], [disk]), ["chain_bare"])


def test_a_record_round_trips_through_json() -> None:
    row = Row(question="q", work="w", of="unit", samples={OURS: [1.5, 2.0], FLOOR: [1.0, 4.0]})
    run = measured(Lab([OURS_LIBRARY], []), []).run
    record = Record(run=run, rows=[row])

    assert record_of(record.to_json()) == record
