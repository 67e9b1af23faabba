"""The open questions of a thread's unfinished run, and of the child runs that it waits for."""

from collections.abc import Mapping
from typing import Any

import msgspec

from durable_graph.app.compiled import CompiledGraph
from durable_graph.checkpointing.columns import key_of
from durable_graph.checkpointing.run_ids import run_id
from durable_graph.checkpointing.run_store import RunStore
from durable_graph.graph import Interrupt
from durable_graph.run_records import RunRow

Graph = CompiledGraph[Any, Any, Any, Any]


class OpenQuestion(msgspec.Struct, frozen=True):
    """A question that waits for an answer, and the run that asks it: `App.answer` takes the id of its interrupt."""

    thread_id: str
    run_id: str
    graph: str
    interrupt: Interrupt


async def family_of(runs: RunStore, row: RunRow) -> list[RunRow]:
    """The run, its unfinished children, and theirs, each parent before its children."""
    found = [row]
    for each in found:
        found += await runs.find_children(each.thread, each.seq)
    return found


async def open_questions(graphs: Mapping[str, Graph], runs: RunStore, row: RunRow) -> list[OpenQuestion]:
    """The open questions of the run and of its unfinished children, of graphs that the app has."""
    found: list[OpenQuestion] = []
    for each in await family_of(runs, row):
        graph = graphs.get(each.graph)
        if graph is None or not each.first_checkpoint:
            continue
        snapshot = await graph.aget_state({"configurable": {"thread_id": each.thread}})
        id_ = run_id(key_of(each.thread), each.seq)
        asked = (ask for ask in snapshot.interrupts if ask.topic is None and not ask.is_sleep)
        found += [OpenQuestion(each.thread, id_, each.graph, ask) for ask in asked]
    return found
