"""Whenever a second process comes to a thread, and wherever it dies: nothing is lost, repeated, or told wrongly.

With real processes: `tests/runtime/test_processes.py`.
"""

import pytest

from durable_graph import Durability
from tests.crash.conftest import IS_LONG, Tell
from tests.crash.language.meeting import Act, copy, delete, edit, go_on, meet, meetings, prune, supersede
from tests.crash.language.plots import PLOTS, Plot

MODES: tuple[Durability, ...] = ("sync", "async", "exit")

# A prime, so that what comes before and what comes after a call have their turns.
SOME = 1 if IS_LONG else 7


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
async def test_two_processes_that_see_one_thread_through(plot: Plot, mode: Durability, tell: Tell) -> None:
    tried = await meetings(plot, mode, ("before", "inside", "after") if IS_LONG else ("after",))

    broken = [(meeting, found) for meeting in tried if (found := await meet(plot, mode, meeting, go_on))]

    assert broken == []
    assert len(tried) > 10
    tell(f"{plot.name}, {mode}: met by a second process {len(tried)} times, 0 violations")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("act", [edit, supersede, copy, delete, prune], ids=lambda act: act.__name__)
async def test_a_process_that_does_something_else_to_the_thread(act: Act, mode: Durability, tell: Tell) -> None:
    tried = [(plot, each) for plot in PLOTS for each in await meetings(plot, mode, ("inside", "after"))][::SOME]

    broken = [(plot.name, each, found) for plot, each in tried if (found := await meet(plot, mode, each, act))]

    assert broken == []
    assert len(tried) > 10
    tell(f"{act.__name__}, {mode}: done to a thread at work {len(tried)} times, 0 violations")
