"""Errors as HTTP problem details (RFC 9457): a status, and a `detail` that names the thing and the remedy."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from durable_graph import errors
from durable_graph_http.messages import NO_HEADERS, Reply

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
        return Reply(self.status, {"Content-Type": PROBLEM_JSON, **self.headers}, msgspec.json.encode(body))


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


def problem_of(error: errors.DurableGraphError) -> Problem | None:
    """The problem that an error of the library is for a client. None for an error that is a fault of the service."""
    for kinds, status in _STATUS:
        if isinstance(error, kinds):
            return Problem(status, str(error), headers=_RETRY_AFTER if status == 503 else NO_HEADERS)
    return None
