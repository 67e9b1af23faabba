"""LangGraph's config dict and the keyword arguments, read into one `Request`. Unknown options and keys are errors."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, TypedDict, TypeVar, get_args
from uuid import UUID

from durable_graph._engine.header import Metadata
from durable_graph._runtime.request.callbacks import RESERVED, callbacks_in_use
from durable_graph._runtime.request.identifiers import MAX_ID_BYTES, is_id, key_of_call
from durable_graph._runtime.request.namespaces import Place
from durable_graph._runtime.request.run import (
    DEFAULT_RECURSION_LIMIT,
    DURABILITIES,
    Durability,
    IfBusy,
    IfFinished,
    IfUnfinished,
    Request,
    RunControl,
)
from durable_graph._runtime.task.context import meant
from durable_graph.caching import Cache
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import (
    InvalidOptionError,
    MissingCheckpointerError,
    UnknownNameError,
    UnknownOptionError,
)
from durable_graph.errors.tree import quoted
from durable_graph.records import checkpoint_no, is_text

T = TypeVar("T")
Config = Mapping[str, Any]
ThreadId = str | int | UUID
Breakpoints = Sequence[str] | Literal["*"]

CONFIG_KEYS = (
    "configurable",
    "recursion_limit",
    "max_concurrency",
    "metadata",
    "tags",
    "run_id",
    "run_name",
)
_NOT_HERE = {
    "callbacks": "durable-graph[langchain] takes LangChain's handlers; or read the typed events of graph.stream()",
    "thread_id": "put it into config['configurable'], or pass thread_id=...",
    "checkpoint_id": "put it into config['configurable'], or pass checkpoint_id=...",
}
_TEXT = "text that UTF-8 can encode, without lone surrogates"
_OWN_METADATA = ("source", "step", "writers")


class RunOptions(TypedDict, total=False):
    """The keyword arguments of a run besides its input and its config."""

    thread_id: ThreadId | None
    checkpoint_id: str | None
    durability: Durability | None
    recursion_limit: int | None
    max_concurrency: int | None
    if_unfinished: IfUnfinished
    if_finished: IfFinished
    if_busy: IfBusy
    key: str | None
    context: object
    interrupt_before: Breakpoints | None
    interrupt_after: Breakpoints | None
    control: RunControl | None
    debug: bool
    memory: str | None


RUN_OPTIONS = frozenset(RunOptions.__annotations__)


def read_run(
    config: Config | None,
    options: RunOptions,
    *,
    input: object,  # noqa: A002  # the name of the argument that callers know
    has_checkpointer: bool,
    nodes: Collection[str],
    defaults: Request,
) -> Request:
    """Every argument of a call, checked. `defaults` are the settings that the graph was compiled with.

    Raises `InvalidOptionError`, `UnknownOptionError`, `MissingCheckpointerError`, `UnknownNameError`.
    """
    check_options(options)
    read = check_config(config)
    ns = _namespace(read)
    if ns and not has_checkpointer:
        what = "checkpoint_ns"
        raise MissingCheckpointerError(what)
    fork_of = _one("checkpoint_id", options.get("checkpoint_id"), read.get("configurable", {}).get("checkpoint_id"))
    is_elsewhere = bool(ns or fork_of)
    key = key_of_call(options.get("key"), input, has_checkpointer=has_checkpointer, is_elsewhere=is_elsewhere)
    place = read_place(config, has_checkpointer and key is None, options.get("thread_id"), options.get("checkpoint_id"))
    thread, checkpoint = place
    if key is not None and thread is None:
        # The same key names the same thread, wherever the call is made.
        thread = _thread_id(f"run-{key}")
    limit = _one("recursion_limit", options.get("recursion_limit"), read.get("recursion_limit"))
    width = _one("max_concurrency", options.get("max_concurrency"), read.get("max_concurrency"))
    run_id, durability = read.get("run_id"), options.get("durability")
    return Request(
        input=input,
        thread_id=thread,
        checkpoint=checkpoint,
        checkpoint_ns=ns,
        durability="sync" if durability is None else _member("durability", durability, DURABILITIES),
        recursion_limit=DEFAULT_RECURSION_LIMIT if limit is None else _positive("recursion_limit", limit),
        max_concurrency=None if width is None else _positive("max_concurrency", width),
        if_unfinished=_member("if_unfinished", options.get("if_unfinished", "supersede"), get_args(IfUnfinished)),
        if_finished=_member("if_finished", options.get("if_finished", "run"), get_args(IfFinished)),
        if_busy=_member("if_busy", options.get("if_busy", "reject"), get_args(IfBusy)),
        key=key,
        metadata=_run_metadata(read),
        config={**read, "configurable": _configurable(read, thread)},
        context=options.get("context"),
        store=defaults.store,
        run_id=None if run_id is None else str(run_id),
        name=read.get("run_name"),
        callbacks=(config or {}).get("callbacks") or None,
        tags=tuple(read.get("tags", ())),
        control=_control(options.get("control")),
        stop_before=breakpoints("interrupt_before", options.get("interrupt_before"), nodes, defaults.stop_before),
        stop_after=breakpoints("interrupt_after", options.get("interrupt_after"), nodes, defaults.stop_after),
        is_checked=bool(options.get("debug", defaults.is_checked)),
    )


def merged_config(under: Config | None, over: Config | None) -> Config | None:
    """Two configs as one: values of `over` take precedence, dicts are merged, and tags are joined."""
    if not under or not isinstance(under, Mapping):
        return over
    if over is None or not isinstance(over, Mapping):
        return under if over is None else over
    together = {**under, **{key: value for key, value in over.items() if value is not None}}
    for key in ("configurable", "metadata"):
        parts = [part for part in (under.get(key), over.get(key)) if isinstance(part, Mapping)]
        if len(parts) > 1:
            together[key] = {**parts[0], **parts[1]}
    library = callbacks_in_use() if under.get("callbacks") and over.get("callbacks") else None
    if library is not None:
        together["callbacks"] = library.joined(under["callbacks"], over["callbacks"])
    if under.get("tags") and over.get("tags"):
        together["tags"] = [*under["tags"], *(tag for tag in over["tags"] if tag not in under["tags"])]
    return together


def _configurable(read: Config, thread: str | None) -> dict[str, object]:
    given = {key: value for key, value in read.get("configurable", {}).items() if key != "thread_id"}
    return given if thread is None else {"thread_id": thread, **given}


def call_config(bound: Config | None, config: Config | None, keywords: Mapping[str, object]) -> Config | None:
    """The config of a call merged over the graph's bound config, whose values the call's keywords override."""
    if not bound:
        return config
    limits = [key for key in ("recursion_limit", "max_concurrency") if keywords.get(key) is not None]
    places = [key for key in ("thread_id", "checkpoint_id") if keywords.get(key) is not None]
    remaining = {key: value for key, value in bound.items() if key not in limits}
    if places and bound.get("configurable"):
        remaining["configurable"] = {key: value for key, value in bound["configurable"].items() if key not in places}
    return merged_config(remaining, config)


def check_bound(config: Config | None) -> None:
    """Check a graph's bound config. Raises as `read_run` does."""
    read = check_config(config)
    _run_metadata(read)
    _thread_id(read["configurable"].get("thread_id") if "configurable" in read else None)
    for limit in ("recursion_limit", "max_concurrency"):
        if limit in read:
            _positive(limit, read[limit])


def check_options(options: Mapping[str, object]) -> None:
    """Raises `UnknownOptionError` for an unknown keyword argument."""
    UnknownOptionError.check("a run", options, known=RUN_OPTIONS)


def check_savers(checkpointer: object, cache: object) -> None:
    """Raises `InvalidOptionError` for a checkpointer or a cache that is none."""
    if checkpointer is not None and not isinstance(checkpointer, bool | Checkpointer):
        option = "checkpointer"
        raise InvalidOptionError(option, checkpointer, allowed="a saver, such as SqliteSaver('runs.db'), or None")
    if cache is not None and not isinstance(cache, Cache):
        option = "cache"
        raise InvalidOptionError(option, cache, allowed="a cache, such as InMemoryCache(), or None")


def breakpoints(
    option: str, given: Breakpoints | None, nodes: Collection[str], default: frozenset[str] | None
) -> frozenset[str] | None:
    """The nodes of a breakpoint option, None for all nodes. Raises `InvalidOptionError` for unknown nodes."""
    if given is None:
        return default
    if given == "*":
        return None
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InvalidOptionError(option, given, allowed='a list of nodes\' names, or "*" for all of them')
    for name in given:
        if name not in nodes:
            known = ", ".join(sorted(nodes))
            raise InvalidOptionError(option, name, allowed=f"a node of the graph: {known}")
    return frozenset(given)


def _control(given: object) -> RunControl | None:
    if given is not None and not isinstance(given, RunControl):
        option = "control"
        raise InvalidOptionError(option, given, allowed="a RunControl, or None")
    return given


def _run_metadata(read: Config) -> Metadata:
    """The metadata that every checkpoint of the run stores: the call's own metadata, `run_id` and `run_name`."""
    metadata = _metadata(read.get("metadata"))
    for key in ("run_id", "run_name"):
        value = read.get(key)
        if value is not None:
            metadata[key] = str(value)
    return metadata


def read_place(
    config: Config | None, has_checkpointer: bool, thread_id: str | int | UUID | None, checkpoint_id: str | None
) -> tuple[str | None, int | None]:
    """The thread of a call, and the number of its checkpoint (None: the head)."""
    configurable = check_config(config).get("configurable", {})
    thread = _thread_id(_one("thread_id", thread_id, configurable.get("thread_id")))
    checkpoint = _one("checkpoint_id", checkpoint_id, configurable.get("checkpoint_id"))
    if has_checkpointer and thread is None:
        raise InvalidOptionError.of_missing_thread_id()
    if checkpoint is None:
        return thread, None
    if not has_checkpointer or thread is None:
        what = "checkpoint_id"
        raise MissingCheckpointerError(what)
    number = checkpoint_no(checkpoint) if isinstance(checkpoint, str) else None
    if number is None:
        raise UnknownNameError.of_checkpoint(thread, checkpoint)
    return thread, number


def read_thread_place(config: Config | None, thread_id: ThreadId | None, checkpoint_id: str | None) -> Place:
    """The thread, namespace and checkpoint of a call."""
    thread, no = read_place(config, True, thread_id, checkpoint_id)  # noqa: FBT003  # callers have a checkpointer
    if thread is None:
        raise InvalidOptionError.of_missing_thread_id()
    return Place(thread, _namespace(check_config(config)), no)


def _namespace(config: Config) -> str:
    ns = config.get("configurable", {}).get("checkpoint_ns") or ""
    if not isinstance(ns, str) or not is_text(ns):
        option = "checkpoint_ns"
        raise InvalidOptionError(option, ns, allowed="a str, as a task's state has it")
    return ns


def read_metadata(config: Config | None) -> Metadata:
    """User metadata, stored in the checkpoint's header."""
    return _run_metadata(check_config(config))


def check_config(config: Config | None) -> dict[str, Any]:
    """The config as a new dict, without unset values. Raises for unknown keys."""
    if config is None:
        return {}
    if not isinstance(config, Mapping):
        option = "config"
        raise InvalidOptionError(option, config, allowed="a dict")
    for key, value in config.items():
        if key not in CONFIG_KEYS and not (key == "callbacks" and (_is_empty(value) or _are_taken(value))):
            raise UnknownOptionError.of_config(key, known=CONFIG_KEYS, remedy=_NOT_HERE.get(str(key), ""))
    given = config.get("configurable")
    configurable = {} if given is None else given
    if not isinstance(configurable, Mapping):
        option = "config['configurable']"
        raise InvalidOptionError(option, configurable, allowed="a dict")
    for key in configurable:
        if key == RESERVED:
            # A node may pass its own config to the call, which contains the reserved key.
            continue
        if not isinstance(key, str) or (key.startswith(("__", "checkpoint_")) and key not in _CHECKPOINT_KEYS):
            raise UnknownOptionError.of_config(key, known=("thread_id", *_CHECKPOINT_KEYS, "your own keys"))
    _check_names(config)
    read = {**config, "configurable": {key: value for key, value in meant(configurable) if key != RESERVED}}
    return {key: value for key, value in read.items() if key in CONFIG_KEYS and value is not None}


def _is_empty(callbacks: object) -> bool:
    """Whether there are no callbacks. LangChain's programs pass empty lists."""
    return callbacks is None or (isinstance(callbacks, Sequence) and not callbacks)


def _are_taken(callbacks: object) -> bool:
    library = callbacks_in_use()
    return library is not None and library.takes(callbacks)


_CHECKPOINT_KEYS = ("checkpoint_id", "checkpoint_ns")


def _check_names(config: Config) -> None:
    tags = config.get("tags")
    if tags is not None and (
        isinstance(tags, str) or not isinstance(tags, Sequence) or not all(isinstance(tag, str) for tag in tags)
    ):
        option = "config['tags']"
        raise InvalidOptionError(option, tags, allowed="a list of strings")
    run_id = config.get("run_id")
    if run_id is not None and not isinstance(run_id, str | UUID):
        option = "config['run_id']"
        raise InvalidOptionError(option, run_id, allowed="a str or a UUID")
    run_name = config.get("run_name")
    if run_name is not None and not isinstance(run_name, str):
        option = "config['run_name']"
        raise InvalidOptionError(option, run_name, allowed="a str")
    for key in ("run_id", "run_name"):
        if not is_text(str(config.get(key))):
            raise InvalidOptionError(f"config[{key!r}]", config[key], allowed=_TEXT)


def _one(option: str, keyword: T | None, config: T | None) -> T | None:
    if keyword is not None and config is not None and str(keyword) != str(config):
        raise InvalidOptionError.of_contradiction(option, keyword=keyword, config=config)
    return config if keyword is None else keyword


def _thread_id(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str | int | UUID) or isinstance(value, bool):
        option = "thread_id"
        raise InvalidOptionError(option, value, allowed="a str, an int or a UUID")
    # An int with more bits has too many digits for an id, and `str` may raise for it.
    text = "" if isinstance(value, int) and value.bit_length() > 8 * MAX_ID_BYTES else str(value)
    if not is_id(text):
        option = "thread_id"
        raise InvalidOptionError(option, value, allowed=f"1 to {MAX_ID_BYTES} bytes of text without control characters")
    return text


def _member(option: str, value: T, allowed: tuple[object, ...]) -> T:
    if value not in allowed:
        raise InvalidOptionError(option, value, allowed=" or ".join(repr(each) for each in allowed))
    return value


def _positive(option: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidOptionError(option, value, allowed="a whole number from 1")
    return value


def _metadata(given: object) -> Metadata:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        option = "config['metadata']"
        raise InvalidOptionError(option, given, allowed="a dict")
    for key, value in given.items():
        option = f"config['metadata'][{quoted(key)}]"
        if key in _OWN_METADATA:
            raise InvalidOptionError(
                option, value, allowed=f"any key but {', '.join(_OWN_METADATA)}, which the library sets"
            )
        if not isinstance(key, str) or not (value is None or isinstance(value, str | bool | int | float)):
            raise InvalidOptionError(option, value, allowed="str, int, float, bool or None, under a str")
        if not is_text(key) or (isinstance(value, str) and not is_text(value)):
            raise InvalidOptionError(option, value, allowed=_TEXT)
        if (isinstance(value, int) and not -(2**63) <= value < 2**63) or (
            isinstance(value, float) and math.isnan(value)
        ):
            raise InvalidOptionError(option, value, allowed="numbers of 64 bits")
    return dict(given)
