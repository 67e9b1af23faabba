"""Bugs to plant in cancellation, and the sentence that finds each of them."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from durable_graph import Durability
from durable_graph._runtime.commit import writer
from durable_graph._runtime.entry import resume, start
from durable_graph._runtime.superstep.run_tasks import Superstep
from durable_graph._runtime.task import invoke


@dataclass(frozen=True, slots=True)
class CancellationBug:
    """A bug, the mode that shows it, and a part of the expected violation."""

    name: str
    plant: Callable[[pytest.MonkeyPatch], None]
    mode: Durability
    found_as: str


async def _only_wait(call: Coroutine[Any, Any, Any], grace: float) -> Any:
    return await call


def finished_tasks_are_not_saved(patch: pytest.MonkeyPatch) -> None:
    async def save_rest(self: Superstep, status: Any = None) -> None:
        return None

    patch.setattr(Superstep, "_save_rest", save_rest)


def pending_commits_are_not_settled(patch: pytest.MonkeyPatch) -> None:
    async def settle(run: Any, store: Any, error: BaseException) -> None:
        return None

    patch.setattr(start, "_settle_after", settle)


def calls_of_the_store_are_cancelled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(writer, "finish", _only_wait)
    patch.setattr(resume, "finish", _only_wait)


def plain_functions_are_abandoned(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(invoke, "finish", _only_wait)


CANCELLATION_BUGS = (
    CancellationBug("finished tasks are not saved", finished_tasks_are_not_saved, "sync", "ran again"),
    CancellationBug("pending commits are not settled", pending_commits_are_not_settled, "exit", "ran again"),
    CancellationBug("the backlog is left behind", pending_commits_are_not_settled, "async", "left behind"),
    CancellationBug("calls of the store are cancelled", calls_of_the_store_are_cancelled, "sync", "left behind"),
    CancellationBug("plain functions are abandoned", plain_functions_are_abandoned, "sync", "ran again"),
)
