"""The names of SQL statements: no two statements of a backend share one."""

import pytest

import durable_graph_postgres.statements
import durable_graph_sqlite.statements


def test_two_statements_of_one_name_are_refused() -> None:
    texts = "-- name: find_it\nSELECT 1;", "-- name: lose_it\nSELECT 2;\n\n-- name: find_it\nSELECT 3;"
    with pytest.raises(ValueError, match="two statements or parts have the name 'find_it'"):
        durable_graph_sqlite.statements.named(*texts)
    with pytest.raises(ValueError, match="two statements or parts have the name 'find_it'"):
        durable_graph_postgres.statements.named(texts)
    with pytest.raises(ValueError, match="'find_it'"):
        durable_graph_sqlite.statements.named(texts[0] + "\n" + texts[0])


def test_a_part_has_a_name_of_its_own() -> None:
    with pytest.raises(ValueError, match="two statements or parts have the name 'now'"):
        durable_graph_postgres.statements.named(["-- part: now\n1\n", "-- name: now\nSELECT {now};"])
