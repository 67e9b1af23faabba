"""Every clause of the suite for notifiers fails on a notifier with the bug that it is for."""

from collections.abc import Mapping

import pytest

from durable_graph import Checkpointer, MemorySaver
from durable_graph.checkpointing.listeners import LocalNotifier
from durable_graph.testing import NotifierConformance
from durable_graph.testing.conformance import notifiers
from tests.checkpointing import planted_notifiers as planted
from tests.checkpointing.sharing import SharingSaver

PLANTS: Mapping[str, tuple[type[LocalNotifier], ...]] = {
    "a_notice_reaches_every_listener_of_its_saver": (planted.TellsOneListener, planted.TellsTheFirstNotice),
    "an_accepted_run_is_noticed_by_another_saver": (planted.DropsReadyRuns,),
    "an_earlier_due_time_is_noticed_by_another_saver": (planted.TellsOnce,),
    "the_end_of_a_run_is_noticed_by_another_saver": (planted.DropsChangedRuns,),
    "a_request_to_a_worker_is_noticed_by_another_saver": (planted.DropsRequests,),
    "new_events_of_a_thread_are_noticed_by_another_saver": (planted.DropsEvents,),
    "many_notices_at_once_all_arrive": (planted.TellsFewNotices,),
    "a_closed_listener_gets_no_notices": (planted.KeepsListeners,),
    "a_listener_gets_notices_after_all_before_it_were_closed": (planted.ListensOnce,),
    "notices_without_listeners_and_of_a_closed_saver_raise_nothing": (planted.NeedsAnOpenSaver,),
    "a_saver_that_is_closed_with_listeners_and_opened_again_has_a_notifier": (planted.ListensOnce,),
}
"""The notifiers on which each clause has to fail, by the clause's name without `test_`."""

CLAUSES = sorted(name.removeprefix("test_") for name in dir(NotifierConformance) if name.startswith("test_"))


class Planted(NotifierConformance):
    """The suite on a notifier with a bug."""

    def __init__(self, kind: type[LocalNotifier]) -> None:
        self.kind = kind

    async def open(self) -> Checkpointer:
        saver = planted.ClosesForGood() if self.kind is planted.NeedsAnOpenSaver else MemorySaver()
        saver.notifier = self.kind()
        return saver

    async def open_another(self, saver: Checkpointer) -> Checkpointer:
        return SharingSaver(saver)


def test_every_clause_has_a_notifier_that_it_fails_on() -> None:
    assert sorted(PLANTS) == CLAUSES


@pytest.mark.parametrize(("clause", "kind"), [(clause, kind) for clause, kinds in PLANTS.items() for kind in kinds])
async def test_the_clause_fails_on_the_bug_that_it_is_for(
    clause: str, kind: type[LocalNotifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    # In memory, a notice that has not arrived at once never does.
    monkeypatch.setattr(notifiers, "_PATIENCE", 0.05)

    with pytest.raises(AssertionError):
        await getattr(Planted(kind), f"test_{clause}")()
