"""The query and the body of a request, read as its route declares them."""

import typing
from typing import Any

import msgspec

from durable_graph_http.messages import Request
from durable_graph_http.problems import Problem
from durable_graph_http.routes import Route

_MOST = 200


def query_of(route: Route, request: Request) -> dict[str, Any]:
    """The query's parameters by name, converted. A list may be given as several parameters or with commas, and an
    empty parameter is left out. Raises `Problem` with 422."""
    if route.is_absent:
        return {}
    known, given = dict(route.query), dict[str, list[str]]()
    for name, text in request.query:
        if name not in known:
            raise Problem(422, f"This operation has no query parameter {name!r:.100}")
        if text:
            given.setdefault(name, []).append(text)
    return {name: _converted(name, texts, known[name]) for name, texts in given.items()}


def _converted(name: str, texts: list[str], kind: Any) -> Any:
    if typing.get_origin(kind) is list:
        texts = [part for text in texts for part in text.split(",") if part]
        given: Any = texts
    elif len(texts) > 1:
        raise Problem(422, f"The query has the parameter {name!r} {len(texts)} times: give it once")
    else:
        (given,) = texts
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Problem(422, f"The query parameter {name!r} is invalid: {error!s:.{_MOST}}") from None


def body_of(route: Route, request: Request) -> Any:
    """The decoded body. An empty body stands for an empty object. Raises `Problem` with 400 for no JSON, and with 422
    for JSON of another form."""
    if route.is_absent or route.body is None:
        return None
    given = request.body or b"{}"
    try:
        return msgspec.json.decode(given, type=route.body)
    except msgspec.ValidationError as error:
        # The decoder stops at the first fault, which may be before the end of the JSON.
        _check_is_json(given)
        raise Problem(422, f"The body is invalid: {error!s:.{_MOST}}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {_why(error)}") from None


def _check_is_json(given: bytes) -> None:
    try:
        msgspec.json.decode(given)
    except msgspec.ValidationError:
        # A number that is out of range.
        return
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {_why(error)}") from None


def _why(error: Exception) -> str:
    match error:
        case RecursionError():
            return "it is nested too deep"
        case UnicodeDecodeError():
            return "it is not UTF-8"
        case _:
            return f"{error!s:.{_MOST}}"
