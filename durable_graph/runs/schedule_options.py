"""The arguments of `App.schedule`, checked, as the declared part of a schedule's row."""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Literal, get_args

import msgspec

from durable_graph._engine.digesting import digest_of
from durable_graph._runtime.entry.options import Config, ThreadId, read_thread_place
from durable_graph._runtime.request.identifiers import is_id
from durable_graph._runtime.task.writes import encode_anything
from durable_graph.app.compiled import CompiledGraph
from durable_graph.checkpointing.directory_rules import encoded_metadata
from durable_graph.checkpointing.schedule_rules import LAST_TIME
from durable_graph.checkpointing.schedule_store import LAST, Overlap, ScheduleRow
from durable_graph.errors import DamagedRowError, InvalidOptionError
from durable_graph.graph.durations import Duration, microseconds
from durable_graph.run_records import NEVER, NewRun
from durable_graph.runs.claimed_request import StartOptions, input_of
from durable_graph.runs.new_run import Priority
from durable_graph.runs.occurrences import read_cron, read_zone

CatchUp = Literal["last"] | timedelta | None

_LONGEST_NAME = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Graph = CompiledGraph[Any, Any, Any, Any]


class ScheduledOptions(StartOptions, total=False):
    """The options of the runs of a schedule, as for `App.start`."""

    deadline: Duration | None
    priority: Priority
    events: Literal["all", "followed"]
    queue: str | None
    limit_key: str | None


class ScheduleChanges(ScheduledOptions, total=False):
    """The parameters of `ScheduleHandle.change`, as for `App.schedule`."""

    cron: str
    zone: str
    overlap: Overlap
    catch_up: CatchUp
    jitter: Duration
    until: datetime | None
    thread_id: ThreadId | None
    input: Any
    config: Config | None
    metadata: Mapping[str, Any] | None


SCHEDULED_OPTIONS: Collection[str] = list(ScheduledOptions.__annotations__)
CHANGES: Collection[str] = list(ScheduleChanges.__annotations__)


class ScheduledStart(msgspec.Struct, frozen=True):
    """The input and the options of the runs of a schedule, as they are stored."""

    input: bytes
    input_digest: bytes
    options: bytes
    priority: int
    time_limit: int
    metadata: str
    queue: str
    limit_key: int


class Declaration(msgspec.Struct, frozen=True):
    """The declared content of a schedule: columns of its row by their names, and the start of its runs."""

    columns: dict[str, Any]
    start: ScheduledStart
    metadata: str

    def stored(self) -> dict[str, Any]:
        """All declared columns of the row."""
        start = msgspec.msgpack.encode(self.start)
        content = msgspec.msgpack.encode([sorted(self.columns.items()), self._start_content(), self.metadata])
        digest = blake2b(content, digest_size=16).digest()
        return {**self.columns, "metadata": self.metadata, "start": start, "digest": digest}

    def _start_content(self) -> list[Any]:
        # The bytes of equal inputs may differ.
        start = self.start
        place = start.queue, start.limit_key
        return [start.input_digest, start.options, start.priority, start.time_limit, start.metadata, place]

    def differences(self, row: ScheduleRow) -> list[str]:
        """The names of the options whose stored values differ."""
        names = {"thread": "thread_id"}
        found = [names.get(name, name) for name, value in self.columns.items() if getattr(row, name) != value]
        stored = start_of(row)
        if stored.input_digest != self.start.input_digest:
            found.append("input")
        if msgspec.structs.replace(stored, input=b"", input_digest=b"") != msgspec.structs.replace(
            self.start, input=b"", input_digest=b""
        ):
            found.append("the options of its runs")
        if row.metadata != self.metadata:
            found.append("metadata")
        return found


def start_of(row: ScheduleRow) -> ScheduledStart:
    """The stored input and options. Raises `DamagedRowError`."""
    try:
        return msgspec.msgpack.decode(row.start, type=ScheduledStart)
    except msgspec.MsgspecError as error:
        raise DamagedRowError("schedule", row.name, why="the start of its runs cannot be read") from error


def started(graph: Graph, given: Any, run: NewRun) -> ScheduledStart:
    """The start of the schedule's runs, of which `run` is one."""
    topology = graph.topology
    found = digest_of(topology.argument.encode, topology.graph_name or "", type(given).__name__, given)
    digest = blake2b(run.input, digest_size=16).digest() if found.opaque else found.digest
    return ScheduledStart(
        input=run.input,
        input_digest=digest,
        options=run.options,
        priority=run.priority,
        time_limit=run.time_limit,
        metadata=run.metadata,
        queue=run.queue,
        limit_key=run.limit_key,
    )


def with_stored_options(graph: Graph, start: ScheduledStart, stored: ScheduledStart, most: int) -> ScheduledStart:
    """The new input with the stored options."""
    topology = graph.topology
    settings, given = topology.argument.decode(stored.options), topology.argument.decode(start.options)
    settings = {key: value for key, value in settings.items() if key != "is_command"}
    settings |= {"is_command": True} if given.get("is_command") else {}
    options = encode_anything(topology, settings, "an option of the run", most) or b""
    return msgspec.structs.replace(stored, input=start.input, input_digest=start.input_digest, options=options)


def stored_input(graph: Graph, stored: ScheduledStart) -> Any:
    """The stored input as a caller passes it."""
    decode = graph.topology.argument.decode
    return input_of(decode(stored.input), bool(decode(stored.options).get("is_command")))


def read_name(name: object) -> str:
    """The name of a schedule. Raises `InvalidOptionError`."""
    # It begins the ids of threads.
    if not isinstance(name, str) or not is_id(name, _LONGEST_NAME):
        allowed = f"a text of 1 to {_LONGEST_NAME} bytes, without control characters"
        raise InvalidOptionError("name", name, allowed=allowed)
    return name


def read_columns(given: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the row for the options that are given. Raises `InvalidOptionError`.

    `calendar_of` checks what a cron expression and a zone mean.
    """
    return {_COLUMNS.get(option, option): _READ[option](value) for option, value in given.items() if option in _READ}


def declared_columns(row: ScheduleRow) -> dict[str, Any]:
    """The declared columns of a stored row."""
    return {name: getattr(row, name) for name in _DECLARED}


_DECLARED = ("graph", "cron", "zone", "overlap", "catch_up", "jitter", "until", "thread")


def check_overlap(overlap: Overlap, thread: str | None) -> None:
    """Raises `InvalidOptionError` for an overlap that is not possible: a thread executes one run at a time."""
    if overlap == "parallel" and thread is not None:
        allowed = "'skip', 'queue_one', 'queue' or 'cancel' with a thread_id, because a thread has one run at a time"
        raise InvalidOptionError("overlap", overlap, allowed=allowed)


def read_metadata(metadata: Mapping[str, Any] | None) -> str:
    """The metadata of a schedule as JSON. Raises `InvalidOptionError`."""
    return encoded_metadata({} if metadata is None else metadata)


def catch_up_of(row: ScheduleRow) -> CatchUp:
    """The stored option, as a caller gives it."""
    if row.catch_up == LAST:
        return "last"
    return timedelta(microseconds=row.catch_up) if row.catch_up else None


_COLUMNS = {"thread_id": "thread"}


def _overlap(given: object) -> str:
    if not isinstance(given, str) or given not in get_args(Overlap):
        raise InvalidOptionError("overlap", given, allowed=", ".join(map(repr, get_args(Overlap))))
    return given


def _catch_up(given: object) -> int:
    if given == "last" or given is None:
        return LAST if given else 0
    if not isinstance(given, timedelta) or given < timedelta(0):
        raise InvalidOptionError("catch_up", given, allowed="'last', None, or a timedelta of at least 0")
    return microseconds("catch_up", given)


def _jitter(given: Any) -> int:
    if given is None:
        raise InvalidOptionError("jitter", given, allowed="seconds or a timedelta, from 0")
    return microseconds("jitter", given)


def _until(given: object) -> int:
    if given is None:
        return NEVER
    if not isinstance(given, datetime) or given.utcoffset() is None:
        raise InvalidOptionError("until", given, allowed="a datetime with a time zone, or None")
    # Beside a zone, the first and the last year reach over the ends of what UTC can show.
    return min(max((given - _EPOCH) // timedelta(microseconds=1), 0), LAST_TIME)


def _thread(given: ThreadId | None) -> str | None:
    return None if given is None else read_thread_place(None, given, None).thread_id


_READ: Mapping[str, Callable[[Any], Any]] = {
    "cron": read_cron,
    "zone": read_zone,
    "overlap": _overlap,
    "catch_up": _catch_up,
    "jitter": _jitter,
    "until": _until,
    "thread_id": _thread,
}
