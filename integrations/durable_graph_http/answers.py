"""Answers, messages and updates for the unfinished run of a thread. LangGraph's servers have no such paths."""

from typing import Any

from durable_graph_http.bodies import Body, SendBody
from durable_graph_http.call import Call, json_reply
from durable_graph_http.messages import Reply
from durable_graph_http.problems import Problem
from durable_graph_http.routes import Route
from durable_graph_http.shapes import Json
from durable_graph_http.starting import targets_of


class AnswerBody(Body, frozen=True, kw_only=True):
    """The answer to a question, or without `interrupt_id` to the only open one; or the answers by id."""

    value: Any
    interrupt_id: str | None = None


class SignalBody(Body, frozen=True, kw_only=True):
    """A message of a topic. With a `key` it is sent once."""

    topic: str
    value: Any = None
    key: str | None = None


class UpdateBody(Body, frozen=True, kw_only=True):
    """An update of the state, and nodes to run. With a `key` it is applied once."""

    values: Any = None
    goto: str | SendBody | list[str | SendBody] | None = None
    key: str | None = None


def _key(call: Call, given: str | None) -> str | None:
    if given is not None and call.key is not None and given != call.key:
        raise Problem(422, "The key and the header Idempotency-Key differ: give one of them")
    return given if given is not None else call.key


async def answer(call: Call) -> Reply:
    """Answer a question: recorded when the reply is sent. If another caller was first, the status is 409, and `answers`
    has the answers that stand by the ids of their questions."""
    body: AnswerBody = call.body
    answered = await call.service.app.answer(call.thread_id, body.value, interrupt_id=body.interrupt_id)
    return json_reply({"answered": answered})


async def signal(call: Call) -> Reply:
    """Send a message to the thread's unfinished run. `is_new` is false for a repetition with the same key."""
    body: SignalBody = call.body
    key = _key(call, body.key)
    is_new = await call.service.app.signal(call.thread_id, body.topic, body.value, key=key)
    return json_reply({"is_new": is_new})


async def update(call: Call) -> Reply:
    """Update the state of a running graph, and plan nodes. `is_new` is false for a repetition with the same key."""
    body: UpdateBody = call.body
    key = _key(call, body.key)
    is_new = await call.service.app.update(call.thread_id, body.values, goto=targets_of(body.goto), key=key)
    return json_reply({"is_new": is_new})


_STATUSES = (404, 409, 422)

ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/threads/{thread_id}/answers",
        operation="threads.answer",
        handler=answer,
        summary="Answer a question",
        body=AnswerBody,
        answer=Json,
        statuses=_STATUSES,
    ),
    Route(
        method="POST",
        path="/threads/{thread_id}/signals",
        operation="threads.signal",
        handler=signal,
        summary="Send a message to a run",
        body=SignalBody,
        answer=Json,
        statuses=_STATUSES,
    ),
    Route(
        method="POST",
        path="/threads/{thread_id}/updates",
        operation="threads.send_update",
        handler=update,
        summary="Update a running graph",
        body=UpdateBody,
        answer=Json,
        statuses=_STATUSES,
    ),
)
