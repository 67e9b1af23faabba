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
        self.status: int = status
        self.detail: str = detail
        self.headers: Mapping[str, str] = headers
        self.facts: dict[str, object] = facts

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
    (errors.UnknownScheduleError, 404),
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
            errors.ScheduleExistsError,
            errors.CorruptCheckpointError,
            errors.DamagedRowError,
        ),
        409,
    ),
    (
        (
            errors.InvalidOptionError,
            errors.UnknownOptionError,
            errors.InvalidUpdateError,
            errors.AmbiguousResumeError,
            errors.UnstorableValueError,
            errors.ValueTooLargeError,
            errors.ReducerError,
            errors.DecodeError,
        ),
        422,
    ),
)


_UNKNOWN = {"checkpoint": 404, "namespace": 404, "graph": 409}
"""A name that is a part of a resource's address is not found. Others are values of a body."""


def problem_of(error: errors.DurableGraphError, prefix: str = "") -> Problem | None:
    """The problem that an error of the library is for a client. None for an error that is a fault of the service.

    `prefix` begins the stored ids of a tenant's threads: the tenant reads its own ids.
    """
    if isinstance(error, errors.InterruptAnsweredError):
        text = "The question has been answered: answers has the answers that stand"
        return Problem(409, text, interrupt_id=error.id, answer=error.answer, answers=error.answers)
    if isinstance(error, errors.UnknownNameError):
        return Problem(_UNKNOWN.get(error.kind, 422), _text(error, prefix))
    for kinds, status in _STATUS:
        if isinstance(error, kinds):
            headers = _RETRY_AFTER if status == 503 else NO_HEADERS
            return Problem(status, _text(error, prefix), headers=headers)
    return None


_Texts = tuple[tuple[type[errors.DurableGraphError], str], ...]
_OF_THREADS: _Texts = (
    (errors.DamagedRowError, "The cron cannot be read: its row in the store is damaged"),
    (errors.UnknownThreadError, "There is no {thread}"),
    (errors.UnknownRunError, "The {thread} has no unfinished run: start one"),
    (errors.ThreadExistsError, "The {thread} exists already: choose another id, or set if_exists to do_nothing"),
    (errors.ThreadCancelledError, "The last run of the {thread} was cancelled: retry the run, or start one with input"),
    (errors.ThreadFinishedError, "The {thread} has no unfinished run to receive this: start one"),
)
"""The texts for clients, where the error's own text names functions of Python."""


def _text(error: errors.DurableGraphError, prefix: str) -> str:
    id_ = getattr(error, "thread_id", None)
    thread = f"thread {id_.removeprefix(prefix)!r:.300}" if isinstance(id_, str) else "thread"
    match error:
        case errors.UnknownRunError(thread_id=None):
            return f"There is no run {error.run_id!r:.100}"
        case errors.UnknownScheduleError():
            return f"There is no cron {error.schedule!r:.100}: POST /runs/crons/search lists the crons"
        case errors.ScheduleExistsError():
            return "The Idempotency-Key made another cron: give this request another key"
        case errors.ThreadBusyError():
            run = f"the run {error.run_id}" if error.run_id is not None else "another request"
            return f"The {thread} is busy with {run}: wait for its end, or cancel it"
        case errors.UnknownNameError(kind="checkpoint"):
            return f"The {thread} has no such checkpoint: POST /threads/{{thread_id}}/history lists them"
        case errors.ReducerError():
            # The error's own text quotes the exception, which may have values of the state.
            return f"The reducer of the key {error.channel!r:.100} failed on these values"
        case errors.StoreUnavailableError():
            return "The store is not available: repeat the request"
    for kind, text in _OF_THREADS:
        if isinstance(error, kind):
            return text.format(thread=thread)
    return without_prefix(prefix, str(error))


def without_prefix(prefix: str, text: str) -> str:
    """The text, with the quoted ids of a tenant's threads as the tenant names them."""
    return text.replace(f"'{prefix}", "'").replace(f'"{prefix}', '"') if prefix else text
