"""Errors as HTTP problem details (RFC 9457): a status, and a `detail` that names the thing and the remedy."""

from collections.abc import Mapping
from http import HTTPStatus

from durable_graph import errors
from durable_graph_http.messages import NO_HEADERS, Reply
from durable_graph_http.values import encoded

PROBLEM_JSON = "application/problem+json"

_RETRY_AFTER = {"Retry-After": "1"}


class Problem(Exception):  # noqa: N818  # HTTP's name for it
    """A request that is refused with `status`. `facts` are more members of the problem's JSON object."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] = NO_HEADERS, **facts: object) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.facts = status, detail, headers, facts

    def reply(self) -> Reply:
        """The problem as a reply."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.facts,
        }
        return Reply(self.status, {"Content-Type": PROBLEM_JSON, **self.headers}, encoded(body))


# The first class that matches decides.
_STATUS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], int], ...] = (
    ((errors.UnknownThreadError, errors.UnknownRunError, errors.UnknownInterruptError), 404),
    (errors.MissingPowerError, 501),
    (errors.StoreUnavailableError, 503),
    (
        (
            errors.ThreadBusyError,
            errors.ThreadExistsError,
            errors.ThreadFinishedError,
            errors.ThreadCancelledError,
            errors.InterruptAnsweredError,
            errors.KeyReusedError,
            errors.CheckpointConflictError,
            errors.NothingToResumeError,
            errors.UnfinishedThreadError,
            errors.WrongGraphError,
            errors.GraphChangedError,
            errors.RunFailedError,
            errors.CorruptCheckpointError,
        ),
        409,
    ),
    (
        (
            errors.InvalidOptionError,
            errors.UnknownOptionError,
            errors.UnknownNameError,
            errors.InvalidUpdateError,
            errors.AmbiguousResumeError,
            errors.UnstorableValueError,
            errors.ValueTooLargeError,
            errors.DecodeError,
        ),
        422,
    ),
)


def problem_of(error: errors.DurableGraphError, prefix: str = "") -> Problem | None:
    """The problem that an error of the library is for a client. None for an error that is a fault of the service.

    `prefix` begins the stored ids of a tenant's threads: the tenant reads its own ids.
    """
    if isinstance(error, errors.InterruptAnsweredError):
        text = "The question has been answered: answers has the answers that stand"
        return Problem(409, text, interrupt_id=error.id, answer=error.answer, answers=error.answers)
    for kinds, status in _STATUS:
        if isinstance(error, kinds):
            headers = _RETRY_AFTER if status == 503 else NO_HEADERS
            return Problem(status, _text(error, prefix), headers=headers)
    return None


def _text(error: errors.DurableGraphError, prefix: str) -> str:
    """The text for a client: without the names of Python's functions, where a client has other ones."""
    thread = getattr(error, "thread_id", None)
    named = f"thread {thread.removeprefix(prefix)!r:.300}" if isinstance(thread, str) else "thread"
    match error:
        case errors.UnknownThreadError():
            return f"There is no {named}"
        case errors.UnknownRunError() if thread is None:
            return f"There is no run {error.run_id!r:.100}"
        case errors.UnknownRunError():
            return f"The {named} has no unfinished run: start one"
        case errors.ThreadExistsError():
            return f"The {named} exists already: choose another id, or set if_exists to do_nothing"
        case errors.ThreadBusyError() if error.run_id is not None:
            return f"The {named} is busy with the run {error.run_id}: wait for its end, or cancel it"
        case errors.ThreadBusyError():
            return f"The {named} is busy: repeat the request later"
        case errors.ThreadCancelledError():
            return f"The last run of the {named} was cancelled: retry the run, or start one with new input"
        case errors.ThreadFinishedError():
            return f"The {named} has no unfinished run to receive this: start one"
        case errors.StoreUnavailableError():
            return "The store is not available: repeat the request"
        case _:
            return str(error).replace(f"'{prefix}", "'").replace(f'"{prefix}', '"') if prefix else str(error)
