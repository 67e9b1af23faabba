"""Log messages for operators: the logger `durable_graph`, with thread, checkpoint and node as fields of a record."""

import logging

from durable_graph.errors.shown import logged

_logger = logging.getLogger("durable_graph")
# Without a handler, Python would print warnings to stderr. An application without logging gets failures as errors.
_logger.addHandler(logging.NullHandler())


def node_failed(thread_id: str | None, step: int, node: str, attempt: int, error: BaseException) -> None:
    """A node raised. The run raises the error too; the log is for operators, who do not see the results of calls."""
    facts = {"thread_id": thread_id, "step": step, "node": node, "attempt": attempt}
    _logger.warning("node %s failed in superstep %d, attempt %d: %s", node, step, attempt, logged(error), extra=facts)


def answered_in_time(thread: str) -> None:
    """An interrupt was answered in the moment in which its time was over: that answer stands."""
    _logger.debug("thread %r: an interrupt was answered just before its time-out", thread)


def run_resumed(thread_id: str | None, checkpoint_id: str, nodes: list[str]) -> None:
    """A run resumes a thread."""
    facts = {"thread_id": thread_id, "checkpoint_id": checkpoint_id}
    _logger.info("thread %s resumes from checkpoint %s with %s", thread_id, checkpoint_id, nodes, extra=facts)


def tasks_superseded(thread_id: str | None, checkpoint_id: str, nodes: list[str]) -> None:
    """New input superseded tasks without a result."""
    facts = {"thread_id": thread_id, "checkpoint_id": checkpoint_id}
    _logger.info("thread %s: new input supersedes %s", thread_id, nodes, extra=facts)


def no_messages(graph: str) -> None:
    """A stream in mode "messages" ended without any message. Logged once for each graph."""
    message = (
        "stream_mode='messages' of %r told nothing: no node called a chat model of LangChain's, returned a message "
        "of LangChain's, or called push_message()"
    )
    _logger.warning(message, graph, extra={"graph": graph})


def other_nodes(thread_id: str) -> None:
    """A graph without a name continues a thread that an unnamed graph with other nodes made."""
    _logger.warning(
        "thread %s was started by an unnamed graph with other nodes; name your graphs: compile(name=...)",
        thread_id,
        extra={"thread_id": thread_id},
    )


def grace_is_over(what: str, grace: float) -> None:
    """Code that cannot be stopped outlived a cancelled run and its grace period."""
    _logger.warning("%s still runs %g seconds after the run was cancelled; its outcome is not recorded", what, grace)


def failed_after_grace(error: BaseException) -> None:
    """A call that outlived a cancelled run failed, and no caller awaits its error any more."""
    _logger.warning("a call that outlived its cancelled run failed: %s", logged(error))


def error_unread(error: BaseException) -> None:
    """A run failed after its reader had left."""
    _logger.warning("a run failed while its reader was leaving: %s", logged(error))


def cache_failed(key: tuple[tuple[str, ...], str], error: Exception) -> None:
    """A cache could not be read or written. The run continues without it."""
    facts = {"cache_namespace": key[0], "cache_key": key[1]}
    _logger.warning("a cache failed, and the run continues without it: %s", logged(error), extra=facts)
