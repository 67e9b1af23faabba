"""A second process uses a thread at any store call, and dies anywhere: nothing is lost, repeated or reported wrongly.

With real processes: `tests/runtime/test_processes.py`.
"""

import pytest

from durable_graph import Durability
from tests.crash.conftest import IS_LONG, Echo, in_modes, name_of
from tests.crash.engine.two_processes import (
    Act,
    copy,
    delete,
    edit,
    interleave,
    interleavings,
    prune,
    resume,
    supersede,
)
from tests.crash.scenarios.order_free_graphs import GRAPH_CASES, GraphCase

# A prime, so that moments before and after a call have their turns.
SOME = 1 if IS_LONG else 7


@pytest.mark.parametrize(("case", "mode"), in_modes(GRAPH_CASES), ids=name_of)
async def test_a_second_process_that_runs_the_thread_to_its_end_loses_and_repeats_nothing(
    case: GraphCase, mode: Durability, echo: Echo
) -> None:
    tried = await interleavings(case, mode, ("before", "inside", "after") if IS_LONG else ("after",))

    broken = [
        (interleaving, found) for interleaving in tried if (found := await interleave(case, mode, interleaving, resume))
    ]

    assert broken == []
    assert len(tried) > 10
    echo(f"{case.name}, {mode}: joined by a second process {len(tried)} times, 0 violations")


@pytest.mark.parametrize(
    ("act", "mode"),
    in_modes([edit, supersede, copy, delete, prune]),
    ids=name_of,
)
async def test_a_second_process_that_edits_copies_deletes_or_prunes_the_thread_breaks_nothing(
    act: Act, mode: Durability, echo: Echo
) -> None:
    tried = [(case, each) for case in GRAPH_CASES for each in await interleavings(case, mode, ("inside", "after"))][
        ::SOME
    ]

    broken = [(case.name, each, found) for case, each in tried if (found := await interleave(case, mode, each, act))]

    assert broken == []
    assert len(tried) > 10
    echo(f"{act.__name__}, {mode}: done to a running thread {len(tried)} times, 0 violations")
