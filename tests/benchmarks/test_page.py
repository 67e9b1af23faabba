"""The page of figures is generated from its record."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks.page import PAGE, README, RECORD, SUMMARY, best_peer, line_of, plots_of, with_tables
from benchmarks.plots import Bar, plot
from benchmarks.questions import QUESTIONS
from benchmarks.record import FLOOR, LANGGRAPH, OURS, SKELETON, Record, Row, Spread, record_of, spread


@pytest.fixture(scope="module")
def record() -> Record:
    return record_of(RECORD.read_bytes())


def test_the_tables_of_the_page_and_the_readme_match_the_record(record: Record) -> None:
    for path, tables in ((PAGE, 5), (README, 1)):
        page = path.read_text(encoding="utf-8")
        emptied, number = re.subn(r"(from the record: \w+ -->\n).*?(<!-- end -->)", r"\1\2", page, flags=re.DOTALL)

        assert number == tables
        assert len(emptied) < len(page)
        assert with_tables(emptied, record) == page


def test_the_figures_of_the_readme_are_all_in_the_record(record: Record) -> None:
    assert SUMMARY.keys() <= {(row.work, row.flush) for row in record.rows if row.is_compared}


def test_the_plots_match_the_record_and_are_on_the_page(record: Record) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for path, svg in plots_of(record).items():
        assert path.read_text(encoding="utf-8") == svg
        assert f"({path.relative_to(PAGE.parent).as_posix()})" in page


def test_the_record_has_every_question_and_the_versions_of_the_peers(record: Record) -> None:
    assert {row.question for row in record.rows} == set(QUESTIONS)
    assert record.run.versions.keys() >= {"langgraph", "langgraph-checkpoint-postgres", "psycopg", "dbos"}
    assert {"disk", "simulated"} == set(record.run.flushes)


def test_a_ratio_is_computed_from_each_round() -> None:
    row = Row(question="q", work="w", of="unit", samples={OURS: [10.0, 40.0, 90.0], FLOOR: [1.0, 2.0, 3.0]})

    assert row.ratio(OURS, FLOOR) == Spread(15.0, 20.0, 25.0)
    assert row.figure(FLOOR) == Spread(1.5, 2.0, 2.5)
    assert line_of(row) == "w: durable_graph 40.0 us; floor 2.00 us\n    / floor 20.0 (15.0-25.0)"


def test_a_ratio_to_figures_that_are_not_all_positive_is_omitted() -> None:
    row = Row(question="q", work="w", of="unit", samples={OURS: [10.0, 40.0], SKELETON: [1.0, -0.5]})

    assert row.ratio(OURS, SKELETON) is None
    assert line_of(row).endswith("/ skeleton ")


def test_a_single_figure_has_no_spread() -> None:
    assert spread([3.0]) == Spread(3.0, 3.0, 3.0)


def test_the_best_peer_is_the_one_with_the_fastest_connection() -> None:
    samples = {OURS: [1.0], LANGGRAPH: [9.0], f"{LANGGRAPH}, pool": [7.0], f"{LANGGRAPH}, pipeline": [8.0]}

    assert best_peer(Row(question="q", work="w", of="unit", samples=samples)) == f"{LANGGRAPH}, pool"
    assert best_peer(Row(question="q", work="w", of="unit", samples={OURS: [1.0]})) is None


def test_a_plot_has_a_bar_and_a_number_for_each_ratio() -> None:
    bars = [Bar("half & less", Spread(0.4, 0.5, 0.6)), Bar("twice", Spread(1.9, 2.0, 2.2))]

    drawn = ElementTree.fromstring(plot("title", bars))  # noqa: S314  # it was written two lines above

    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    widths = [float(bar.attrib["width"]) for bar in drawn.iter("{http://www.w3.org/2000/svg}rect")]
    assert {"title", "half & less", "0.50", "twice", "2.00"} <= set(texts)
    assert widths[0] == pytest.approx(widths[1], abs=0.2)
