"""Changes of one run that are one statement each, unless another write of its thread is in progress.

`run_transactions` has the same changes. A statement makes no change if it waited for another write of its thread that
it cannot see: see `and_runs_are_known`. Then the result is None, and the caller repeats the statement or uses a
transaction.
"""

from collections.abc import Mapping
from typing import Any

from durable_graph.checkpointing.columns import Columns, key_of
from durable_graph.checkpointing.run_changes import run_from
from durable_graph.checkpointing.run_rules import was_settled
from durable_graph.run_records import NewMessage, Sent, Settlement
from durable_graph_postgres.session import Session
from durable_graph_postgres.statements import PARAMETERS


async def rows(db: Session, name: str, sought: Mapping[str, Any]) -> list[Columns]:
    """The rows of a statement with named parameters."""
    return await db.rows(name, *(sought[parameter] for parameter in PARAMETERS[name]))


async def settle(db: Session, settlement: Settlement, skew: int) -> bool | None:
    """See `RunStore.settle`. The statement does not change the thread's row."""
    given = {
        "thread_key": key_of(settlement.thread),
        "seq": settlement.seq,
        "worker": settlement.worker,
        "attempt": settlement.attempt,
        "state": int(settlement.state),
        "due": settlement.due,
        "delay": settlement.delay,
        "inbox": settlement.inbox,
        "error": settlement.error,
        "waits_on": settlement.waits_on,
        "skew": skew,
    }
    ((is_thread, is_locked, is_held, *run),) = await rows(db, "settle_run", given)
    if is_held:
        return True
    if is_thread and not is_locked:
        return None
    return run[0] is not None and was_settled(run_from(tuple(run)), settlement)


async def send(db: Session, message: NewMessage, skew: int) -> Sent | None:
    """See `RunStore.send`."""
    given = {
        "thread_key": key_of(message.thread),
        "topic": message.topic,
        "key": message.key,
        "value": message.value,
        "skew": skew,
    }
    ((status, is_locked, is_known, is_added),) = await rows(db, "send_message", given)
    if status in (None, "deleted"):
        return Sent.NO_THREAD
    if not is_locked:
        return None
    if is_known or is_added:
        return Sent.KNOWN if is_known else Sent.NEW
    return Sent.CANCELLED if status == "cancelled" else Sent.NO_RUN
