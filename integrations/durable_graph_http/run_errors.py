"""How runs without a result ended, as LangGraph's clients read it: `{error, message}`, a class and a text."""

import ast
import re
from collections.abc import Mapping
from contextlib import suppress

from durable_graph.runs import RunStatus

DEADLINE = "its deadline has passed"
"""The error of a run that ended at its deadline."""

_CALL = re.compile(r"([A-Za-z_][\w.]*)\((.*)\)", re.DOTALL)
_KINDS: Mapping[str, str] = {"cancelled": "RunCancelledError", "quarantined": "RunQuarantinedError"}


def error_of(status: RunStatus) -> dict[str, str]:
    """How this run ended: the class of the graph's error, or one that says how the run ended, and a text."""
    text = status.error or "no reason is recorded"
    called = _CALL.fullmatch(text) if status.state == "failed" else None
    if called is None:
        named = "TimeoutError" if text == DEADLINE else "RunFailedError"
        return {"error": _KINDS.get(status.state, named), "message": text}
    name, arguments = called.groups()
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        value = ast.literal_eval(arguments)
        return {"error": name, "message": value if isinstance(value, str) else str(value)}
    return {"error": name, "message": arguments}
