"""The error of a run as clients read it."""

import ast
import re

from durable_graph.errors import RunFailedError
from durable_graph_http.problems import without_prefix


def error_object(error: RunFailedError, prefix: str) -> dict[str, str]:
    """The error of a run, as LangGraph's clients read it: the class and the text. Its text has the ids of threads
    without the tenant's prefix."""
    text = without_prefix(prefix, error.error)
    named = _SHOWN.match(text) if error.kind == "failed" else None
    if named is None:
        return {"error": _KINDS[error.kind], "message": text}
    return {"error": named[1], "message": _message(named[2]) or text}


def _message(arguments: str) -> str | None:
    """The only argument of an error, if it is a text."""
    try:
        argument = ast.literal_eval(arguments)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return argument if isinstance(argument, str) else None


_SHOWN = re.compile(r"([A-Za-z_]\w*)\((.*)\)$", re.DOTALL)
"""The text of an error in the row of its run: the repr of most errors."""

_KINDS = {
    "failed": "RunFailed",
    "cancelled": "RunCancelled",
    "deadline": "TimeoutError",
    "quarantined": "RunQuarantined",
}
