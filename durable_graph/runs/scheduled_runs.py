"""The run of an occurrence: its thread, its key, and its metadata, which name the schedule and the occurrence."""

import os
from typing import Any

import msgspec

from durable_graph._runtime.task.writes import encode_anything
from durable_graph.app.compiled import CompiledGraph
from durable_graph.checkpointing.digests import origin_of
from durable_graph.checkpointing.rules import drawn_incarnation
from durable_graph.checkpointing.schedule_store import ScheduleRow
from durable_graph.run_records import NewRun
from durable_graph.runs.occurrences import iso
from durable_graph.runs.schedule_options import start_of

Graph = CompiledGraph[Any, Any, Any, Any]


def run_of(row: ScheduleRow, graph: Graph, occurrence: int, most: int, *, trigger: str = "") -> NewRun:
    """The run of an occurrence, or of a caller's `trigger`, which has a key of its own. `most` limits the bytes of its
    options.

    Raises `DecodeError` for options that this version of the graph cannot read.
    """
    start, at, topology = start_of(row), iso(occurrence), graph.topology
    thread = row.thread or f"{row.name}-{at}{f'-{trigger}' if trigger else ''}"
    own = {"schedule": row.name, "occurrence": at}
    settings = topology.argument.decode(start.options)
    config = settings["config"]
    settings = {**settings, "config": {**config, "metadata": {**config.get("metadata", {}), **own}}}
    metadata = msgspec.json.decode(start.metadata) if start.metadata else {}
    incarnation = drawn_incarnation()
    return NewRun(
        thread=thread,
        graph=row.graph,
        queue=start.queue,
        limit_key=start.limit_key,
        input=start.input,
        input_digest=start.input_digest,
        options=encode_anything(topology, settings, "an option of the run", most) or b"",
        incarnation=incarnation,
        origin=origin_of(thread, incarnation),
        epoch=drawn_incarnation(),
        token=os.urandom(16),
        formerly=topology.formerly,
        key=f"schedule:{row.id}:{trigger or at}",
        priority=start.priority,
        time_limit=start.time_limit,
        metadata=msgspec.json.encode({**metadata, **own}).decode(),
    )
