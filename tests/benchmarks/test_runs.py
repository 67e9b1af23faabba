"""The benchmarks of runs, in a few runs: no test asserts a time. The tables of the page are made from their record."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.lab import Lab
from benchmarks.page import PAGE
from benchmarks.record import OURS, record_of
from benchmarks.runs.__main__ import QUESTIONS
from benchmarks.runs.contenders import DBOS_NAME, PROCRASTINATE, StoreName, present
from benchmarks.runs.one_step import measure_one_step
from benchmarks.runs.page import RECORD, with_tables
from benchmarks.runs.sleeping import measure_sleeping
from benchmarks.runs.stores import Stores, stores


@pytest.fixture(scope="module")
def places() -> Iterator[Stores]:
    with stores() as found:
        yield found


@pytest.mark.parametrize("store", ["PostgreSQL", "SQLite"])
def test_one_step_runs_are_accepted_and_executed_by_other_processes(places: Stores, store: StoreName) -> None:
    lab = Lab([], [], is_tiny=True, rounds=1)

    asyncio.run(measure_one_step(lab, places, 4, (store,), workers=(1,)))

    assert [row.clock for row in lab.rows[-2:]] == ["elapsed", "elapsed"]
    assert len(lab.rows) == (6 if store == "PostgreSQL" else 5)
    for row in lab.rows:
        assert row.samples.keys() >= {OURS}
        assert all(len(figures) == 1 and figures[0] >= 0 for figures in row.samples.values())


def test_sleeping_runs_are_stored_and_woken(places: Stores) -> None:
    lab = Lab([], [], is_tiny=True)

    asyncio.run(measure_sleeping(lab, places, 100_000, ("PostgreSQL", "SQLite")))

    assert len({row.work for row in lab.rows}) == len(lab.rows) == 16
    assert all(row.samples.keys() == {OURS} for row in lab.rows)


def test_the_processes_of_the_contenders_import_no_langchain() -> None:
    check = "import benchmarks.runs.processes, sys; sys.exit('langchain_core' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", check], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_procrastinate_keeps_its_jobs_on_postgres_only() -> None:
    assert set(present("SQLite")) <= {OURS, DBOS_NAME}
    assert set(present("PostgreSQL")) <= {OURS, PROCRASTINATE, DBOS_NAME}


def test_the_tables_of_the_page_match_the_record_of_runs() -> None:
    record, page = record_of(RECORD.read_bytes()), PAGE.read_text(encoding="utf-8")
    emptied, number = re.subn(r"(record of runs: \w+ -->\n).*?(<!-- end -->)", r"\1\2", page, flags=re.DOTALL)

    assert number == 3
    assert len(emptied) < len(page)
    assert with_tables(emptied, record) == page


def test_the_record_of_runs_has_every_question_and_the_peers() -> None:
    record = record_of(RECORD.read_bytes())

    assert {row.question for row in record.rows} == set(QUESTIONS)
    assert record.run.versions.keys() >= {"dbos", "procrastinate", "PostgreSQL"}
