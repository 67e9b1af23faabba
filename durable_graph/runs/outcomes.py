"""The outcome of one execution of a run: its end, its suspension, or its release."""

import asyncio
import logging
from typing import Any

import msgspec

from durable_graph.app.compiled import CompiledGraph
from durable_graph.checkpointing import Checkpointer
from durable_graph.checkpointing.run_changes import pause_after
from durable_graph.checkpointing.run_rules import DEADLINE_PASSED
from durable_graph.errors import (
    CheckpointConflictError,
    GraphChangedError,
    GraphDrained,
    StoreUnavailableError,
    ThreadBusyError,
    ThreadCancelledError,
)
from durable_graph.run_records import RequestOfRun, RunState, Settlement
from durable_graph.runs import graph_calls
from durable_graph.runs.claimed_request import ClaimedCalls
from durable_graph.runs.execution import Execution, text_of
from durable_graph.runs.run_logs import RunLogs

_logger = logging.getLogger("durable_graph")


async def outcome(
    execution: Execution,
    graph: CompiledGraph[Any, Any, Any, Any],
    saver: Checkpointer,
    calls: ClaimedCalls,
    logs: RunLogs,
) -> Settlement:
    """Execute the run. The result is to be recorded, unless the commits of the run have recorded its end."""
    claim = execution.claim
    if execution.deadline is not None and execution.deadline <= 0:
        return execution.settlement(RunState.FAILED, error=DEADLINE_PASSED)
    deadline = asyncio.timeout(execution.deadline)
    try:
        if claim.request == RequestOfRun.CANCEL:
            if claim.first_checkpoint:
                await graph_calls.cancel(graph, saver, claim)
            return execution.cancelled()
        request, keeps_events = calls.of(claim, execution.owned, execution.control)
        async with deadline:
            sink = await logs.begun(execution.log, claim, keeps_events=keeps_events)
            ended = await graph_calls.execute(graph, saver, request, claim.epoch, sink)
    except GraphDrained:
        return execution.settlement(RunState.READY)
    except ThreadCancelledError:
        return execution.cancelled()
    except (CheckpointConflictError, ThreadBusyError):
        # Another worker has claimed the run. If none has, somebody changed the thread, or is about to: begin again
        # from there.
        return execution.settlement(RunState.READY, delay=pause_after(2))
    except StoreUnavailableError:
        return execution.settlement(RunState.READY, delay=pause_after(3))
    except GraphChangedError as error:
        _logger.warning("a run of thread %r waits for a worker that knows its nodes: %s", claim.thread, error)
        return execution.settlement(RunState.READY, delay=pause_after(claim.attempt + 3))
    except Exception as error:
        return execution.settlement(RunState.FAILED, error=text_of(error, deadline))
    state = RunState.WAITING if ended.is_stopped else RunState.DONE
    settled = execution.settlement(state, due=execution.owned.due)
    return msgspec.structs.replace(settled, waits_on=execution.owned.waits_on if ended.is_stopped else None)
