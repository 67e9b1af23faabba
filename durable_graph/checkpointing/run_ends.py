"""The end of a child run, as its parent receives it."""

from durable_graph.run_records import RunRow, RunState

NOTHING = b""
"""The value of the message: no encoded value is empty. The parent reads the row of its child."""

_ENDS = (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


def child_topic(key: int, seq: int) -> str:
    """The topic of the messages about the end of a child. As `add_end` makes it."""
    return f"child:{key}.{seq}"


def is_end(state: RunState) -> bool:
    """Whether the parent receives this state. A quarantined run may still be retried: its parent waits."""
    return state in _ENDS


def may_receive_end(parent: RunRow) -> bool:
    """Whether the parent may still wait for its children. See `add_end`."""
    return parent.state is not RunState.DONE
