"""Bugs to plant in what a cancellation does, and the sentence that finds them."""

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
    """A bug, the mode that shows it, and what is found to be wrong then."""

    name: str
    plant: Callable[[pytest.MonkeyPatch], None]
    mode: Durability
    found_as: str


async def _only_wait(call: Coroutine[Any, Any, Any], grace: float) -> Any:
    return await call


def what_finished_is_not_saved(patch: pytest.MonkeyPatch) -> None:
    async def save_rest(self: Superstep, status: Any = None) -> None:
        return None

    patch.setattr(Superstep, "_save_rest", save_rest)


def what_was_taken_on_is_not_settled(patch: pytest.MonkeyPatch) -> None:
    async def settle(run: Any, store: Any, error: BaseException) -> None:
        return None

    patch.setattr(start, "_settle_after", settle)


def calls_of_the_store_are_cancelled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(writer, "finish", _only_wait)
    patch.setattr(resume, "finish", _only_wait)


def plain_functions_are_abandoned(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(invoke, "finish", _only_wait)


CANCELLATION_BUGS = (
    CancellationBug("what finished is not saved", what_finished_is_not_saved, "sync", "ran again"),
    CancellationBug("what was taken on is not settled", what_was_taken_on_is_not_settled, "exit", "ran again"),
    CancellationBug("the backlog is left behind", what_was_taken_on_is_not_settled, "async", "left behind"),
    CancellationBug("calls of the store are cancelled", calls_of_the_store_are_cancelled, "sync", "left behind"),
    CancellationBug("plain functions are abandoned", plain_functions_are_abandoned, "sync", "ran again"),
)
