"""Every case is right on every store that it applies to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cases._case import KINDS, SKIPPED
from tests.programs.fork_server import ForkServer, fork_server_of

CASES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z][0-9]*_*.py"))

IMPORTED = ("durable_graph", "durable_graph_postgres", "durable_graph_sqlite", "pydantic")
"""Modules that most cases import, which takes longer than most cases."""


@pytest.fixture(scope="module")
def server(postgres: str) -> Iterator[ForkServer]:
    with fork_server_of(IMPORTED, DURABLE_GRAPH_TEST_POSTGRES=postgres) as running:
        yield running


@pytest.mark.parametrize("case", CASES)
def test_fixed_faults_stay_fixed(case: str, server: ForkServer) -> None:
    ended = {kind: server.run(program_of(case, kind)) for kind in KINDS}

    codes = {kind: process.code for kind, process in ended.items()}
    assert 0 in codes.values(), ended
    assert set(codes.values()) <= {0, SKIPPED}, ended


def program_of(case: str, kind: str) -> str:
    """A program that runs a case on a kind of store, as `python -m tests.cases.<case> <kind>` does."""
    # Annotations are resolved in the module that sys.modules has under the name.
    call = f"runpy.run_module('tests.cases.{case}', run_name='__main__', alter_sys=True)"
    return f"import runpy, sys\nsys.argv[1:] = [{kind!r}]\n{call}\n"
