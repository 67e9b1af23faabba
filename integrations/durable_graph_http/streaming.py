"""What the requests of streams have in common: the modes that they ask for, and where they begin."""

import json
from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec

from durable_graph_http.call import Call
from durable_graph_http.frames import JOINED_SLOT, LAST_SLOT, MODES, SLOTS, Wanted
from durable_graph_http.messages import Frames, Reply
from durable_graph_http.problems import Problem

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""No proxy stores or collects a stream."""

_ALL, _LONGEST = "-1", 16


class Start(msgspec.Struct, frozen=True):
    """Where a stream begins: with the frames after the one with the id `after`, 0 for every frame. `has_header`: the
    client joins in the middle and has got no frame yet, so the first one says which run it is."""

    after: int = 0
    has_header: bool = False


def wanted_modes(given: str | Sequence[str] | None, known: Sequence[str] = MODES, default: str = "values") -> list[str]:
    """The modes that a request names, in their order. Raises `Problem` with 422 for an unknown one."""
    names = [given] if isinstance(given, str) else list(given or ())
    for name in names:
        if name not in known:
            raise Problem(422, f"There is no stream mode {name!r:.100}; the modes are {', '.join(known)}")
    return list(dict.fromkeys(names)) or [default]


def query_modes(call: Call, known: Sequence[str] = MODES, default: str = "values") -> list[str]:
    """The modes in the query: `stream_mode` once or several times, with a JSON list or with commas."""
    names: list[str] = []
    for name, text in call.request.query:
        if name == "stream_mode":
            names += _listed(text)
    return wanted_modes(names, known, default)


def _listed(text: str) -> list[str]:
    if text.startswith(("[", '"')):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Problem(422, "stream_mode is neither a mode nor a JSON list of modes") from error
        named = [found] if isinstance(found, str) else found
        if isinstance(named, list) and all(isinstance(each, str) for each in named):
            return named
        raise Problem(422, "stream_mode is neither a mode nor a JSON list of modes")
    return [part.strip() for part in text.split(",") if part.strip()]


def last_event_id(call: Call) -> int | None:
    """The `Last-Event-ID` of the request: None without one, 0 for "-1", which asks for every frame.

    Raises `Problem` with 422 for text that is no id.
    """
    given = call.request.headers.get("last-event-id", "").strip()
    if not given:
        return None
    if given == _ALL:
        return 0
    if not (given.isascii() and given.isdigit() and len(given) <= _LONGEST):
        raise Problem(422, f"Last-Event-ID is the id of a frame, or -1 for all frames, and not {given!r:.60}")
    return int(given)


def joined(newest: int) -> Start:
    """The start of a run's stream after the event with this id. The end of the run follows it, if that is its last."""
    return Start(newest * SLOTS + JOINED_SLOT, has_header=True)


def start_of(call: Call, newest: int) -> Start | None:
    """Where a stream begins that a client joins with a `Last-Event-ID`, None without. `newest` is the id of the newest
    event so far.

    Raises `Problem` with 422 for an id that no frame so far can have.
    """
    given = last_event_id(call)
    if given is None:
        return None
    latest = newest * SLOTS + LAST_SLOT
    if given > latest:
        raise Problem(422, f"Last-Event-ID is beyond the newest event of the thread, whose frames end at {latest}")
    return Start(given)


def reconnecting(path: str, wanted: Wanted) -> str:
    """The path at which a client that was cut off continues: it has the modes, since clients repeat only the path."""
    query = [("stream_mode", mode) for mode in sorted(wanted.modes)]
    if wanted.with_subgraphs:
        query.append(("stream_subgraphs", "true"))
    return f"{path}/stream?{urlencode(query)}"


def stream_reply(frames: Frames, **headers: str) -> Reply:
    """The reply of a stream."""
    return Reply(200, {**HEADERS, **headers}, frames)
