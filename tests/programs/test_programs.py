"""Programs written for LangGraph print the same lines after a change of their import lines alone."""

from collections.abc import Iterator

import pytest

from tests.programs.fork_server import ForkServer, fork_server
from tests.programs.imports import TABLE, rewritten
from tests.programs.peers import verdict
from tests.programs.recorded import PROGRAMS, imported_modules, line_of, source_of

NEEDS_LANGGRAPH = {"store_agent"}
"""This program uses one of LangGraph's stores, so only `make peers` runs it."""

PORTED = [program for program in PROGRAMS if program not in NEEDS_LANGGRAPH]


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    with fork_server(rewritten(source_of(program)) for program in PORTED) as running:
        yield running


@pytest.mark.parametrize("program", PORTED)
def test_a_program_prints_the_same_line_after_its_imports_are_changed(program: str, server: ForkServer) -> None:
    ended = server.run(rewritten(source_of(program)))

    assert ended.stderr == ""
    assert ended.printed == line_of(program)


def test_one_of_twenty_programs_still_imports_langgraph() -> None:
    still = {
        program
        for program in PROGRAMS
        if any(module.startswith("langgraph") for module in imported_modules(rewritten(source_of(program))))
    }

    assert len(PROGRAMS) == 20
    assert still == NEEDS_LANGGRAPH


def test_a_program_that_fails_or_prints_another_line_is_reported(server: ForkServer) -> None:
    failed = server.run("import asyncio\nprint('line')\nraise ValueError('no')\n")
    other = server.run("print('lime')\n")

    assert failed.printed == "line\n"
    assert verdict(failed, "line\n") == "FAILS: ValueError: no"
    assert verdict(other, "line\n") == "DIFFERS: 'me\\n' and not 'ne\\n'"
    assert verdict(server.run("print('line')\n"), "line\n") == "same line"


def test_only_import_lines_are_rewritten() -> None:
    source = source_of("approval")
    before, after = source.splitlines(), rewritten(source).splitlines()

    changed = [old for old, new in zip(before, after, strict=True) if old != new]

    assert all(line.startswith("from langgraph.") for line in changed)
    assert len(changed) == 3
    assert TABLE["langgraph.graph"] == "durable_graph"
