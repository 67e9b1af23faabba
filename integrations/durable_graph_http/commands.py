"""The commands of the thread streaming protocol: they start runs and answer questions."""

from typing import Any

import msgspec

from durable_graph import errors
from durable_graph_http.bodies import Body, ConfigBody, MultitaskStrategy, RunBody
from durable_graph_http.call import Call, json_reply
from durable_graph_http.messages import Reply
from durable_graph_http.problems import Problem, problem_of
from durable_graph_http.routes import Route
from durable_graph_http.run_streams import all_runs
from durable_graph_http.starting import start_run
from durable_graph_http.thread_events import newest_seq


class CommandRequest(Body, frozen=True, kw_only=True):
    """A command: `run.start` or `input.respond`, with its parameters."""

    id: int
    method: str
    params: dict[str, Any] = msgspec.field(default_factory=dict)


class RunStart(Body, frozen=True, kw_only=True):
    """The parameters of `run.start`."""

    assistant_id: str
    input: Any = None
    config: ConfigBody | None = None
    metadata: dict[str, Any] | None = None
    multitask_strategy: MultitaskStrategy | None = None
    # Clients for JavaScript send both spellings, and older ones only this one.
    multitask_strategy_again: MultitaskStrategy | None = msgspec.field(name="multitaskStrategy", default=None)
    # Ignored.
    langsmith_tracer: Any = None


class Response(Body, frozen=True, kw_only=True):
    """An answer to one question."""

    interrupt_id: str
    response: Any
    namespace: tuple[str, ...] = ()


class Respond(Body, frozen=True, kw_only=True):
    """The parameters of `input.respond`: one answer, or several in `responses`."""

    interrupt_id: str | None = None
    response: Any = None
    namespace: tuple[str, ...] = ()
    responses: list[Response] | None = None
    update: Any = None
    goto: Any = None
    config: Any = None
    metadata: Any = None
    strict_resume: Any = None


class CommandError(Exception):
    """A command that is refused, with the protocol's code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code: str = code
        self.message: str = message


async def command(call: Call) -> Reply:
    """Execute a command. A refused one has the status 200, too, as the protocol says."""
    given: CommandRequest = call.body
    try:
        through = await newest_seq(call.service, await all_runs(call.service, call.thread_id))
        result = await _execute(call, given)
    except CommandError as error:
        return _refused(given, error.code, error.message)
    except Problem as problem:
        return _refused(given, _code_of(problem), problem.detail)
    except errors.DurableGraphError as error:
        refused = problem_of(error, call.prefix)
        if refused is None or refused.status == 503:
            raise
        return _refused(given, _code_of(refused), refused.detail)
    meta = {"applied_through_seq": through}
    return json_reply({"type": "success", "id": given.id, "result": result, "meta": meta})


def _refused(given: CommandRequest, code: str, message: str) -> Reply:
    return json_reply({"type": "error", "id": given.id, "error": code, "message": message})


def _code_of(problem: Problem) -> str:
    return {403: "permission_denied", 404: "no_such_interrupt", 501: "not_supported"}.get(
        problem.status, "invalid_argument"
    )


async def _execute(call: Call, given: CommandRequest) -> dict[str, Any]:
    match given.method:
        case "run.start":
            return await _start(call, _read(given, RunStart))
        case "input.respond":
            return await _respond(call, _read(given, Respond))
        case _:
            known = "The service has the commands run.start and input.respond"
            raise CommandError("unknown_command", f"{known}, and not {given.method!r:.100}")


def _read(given: CommandRequest, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(given.params, kind)
    except msgspec.ValidationError as error:
        text = f"The parameters of {given.method} are invalid: {error!s:.200}"
        raise CommandError("invalid_argument", text) from error


async def _start(call: Call, params: RunStart) -> dict[str, Any]:
    body = RunBody(
        assistant_id=params.assistant_id,
        input=params.input,
        config=params.config,
        metadata=params.metadata,
        multitask_strategy=params.multitask_strategy or params.multitask_strategy_again,
        if_not_exists="create",
    )
    try:
        started = await start_run(call, body, call.thread_id)
    except Problem as problem:
        code = "invalid_argument" if problem.status == 404 else _code_of(problem)
        raise CommandError(code, problem.detail) from problem
    return {"run_id": started.handle.run_id}


async def _respond(call: Call, params: Respond) -> dict[str, Any]:
    if params.update is not None or params.goto is not None:
        raise CommandError(
            "not_supported", "An answer has neither update nor goto: POST /threads/{thread_id}/updates first"
        )
    answers = params.responses or []
    if params.interrupt_id is not None:
        answers = [*answers, Response(interrupt_id=params.interrupt_id, response=params.response)]
    if not answers:
        raise CommandError("invalid_argument", "input.respond answers the question interrupt_id, or several responses")
    app = call.service.app
    try:
        run = await app.unfinished(call.thread_id)
        if len(answers) == 1:
            await app.answer(call.thread_id, answers[0].response, interrupt_id=answers[0].interrupt_id)
        else:
            await app.answer(call.thread_id, {each.interrupt_id: each.response for each in answers})
    except errors.InterruptAnsweredError as error:
        raise CommandError("invalid_argument", call.plain(str(error))) from error
    except (errors.UnknownRunError, errors.UnknownInterruptError) as error:
        raise CommandError("no_such_interrupt", call.plain(str(error))) from error
    return {} if run is None else {"run_id": run.run_id}


ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/threads/{thread_id}/commands",
        operation="threads.create_run",
        handler=command,
        summary="Start a run or answer a question, in the thread streaming protocol",
        body=CommandRequest,
        answer=dict[str, Any],
        statuses=(404, 422),
    ),
)
