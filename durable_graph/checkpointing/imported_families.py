"""Ends of child runs that parents have missed, because the threads of a family are copied one after the other."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import msgspec

from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.run_ends import NOTHING, child_topic, is_end, may_receive_end
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.run_records import NewMessage, RunRow, RunState, WaitsOn


async def send_ends(runs: RunStore, thread: str, imported: Iterable[Mapping[str, Any]]) -> None:
    """Send ends of children to their parents, for the runs of a thread that was imported.

    A child may have ended after its parent was copied, or before its parent was imported. An end that the parent knows
    is not sent again.
    """
    async for parent, child in _families(runs, thread, imported):
        if is_end(child.state) and may_receive_end(parent):
            topic = child_topic(key_of(child.thread), child.seq)
            await runs.send(NewMessage(parent.thread, topic, str(child.ended_at), NOTHING))


async def _families(
    runs: RunStore, thread: str, imported: Iterable[Mapping[str, Any]]
) -> AsyncIterator[tuple[RunRow, RunRow]]:
    """The parents and the children of these runs that the store has now: each parent with its child."""
    for columns in imported:
        is_waiting = columns["state"] == RunState.WAITING
        awaited = _awaited(columns["waits_on"]) if is_waiting else []
        if not (awaited or columns["parent_key"]):
            continue
        run = await runs.find_run(thread, columns["seq"])
        if run is None:
            continue
        for key, seq in awaited:
            child = await runs.find_run(key, seq)
            if child is not None:
                yield run, child
        parent = await runs.find_run(run.parent_key, run.parent_seq) if run.parent_key else None
        if parent is not None:
            yield parent, run


def _awaited(waits_on: str | None) -> list[tuple[int, int]]:
    """The children that a run waits for: the keys of their threads and their numbers."""
    try:
        topics = msgspec.json.decode(waits_on or "{}", type=WaitsOn).topics
    except msgspec.MsgspecError:
        # Whoever reads the run's status gets the error of this damage.
        return []
    found: list[tuple[int, int]] = []
    for topic in topics:
        kind, _, child = topic.partition(":")
        key, _, seq = child.partition(".")
        # Other topics are those of signals.
        if kind == "child" and key.removeprefix("-").isdecimal() and seq.isdecimal():
            found.append((int(key), int(seq)))
    return found
