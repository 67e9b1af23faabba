"""LangGraph's config dict and the keyword arguments, read into one `Run`. What means nothing here is refused."""

import math
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeVar, get_args
from uuid import UUID

from durable_graph._engine.header import Metadata
from durable_graph._runtime.run import (
    DEFAULT_RECURSION_LIMIT,
    DURABILITIES,
    Durability,
    IfBusy,
    IfUnfinished,
    Run,
)
from durable_graph.errors import (
    ContradictingOptionError,
    InvalidOptionError,
    MissingCheckpointerError,
    MissingThreadIdError,
    UnknownCheckpointError,
    UnknownConfigKeyError,
)
from durable_graph.records import checkpoint_no

T = TypeVar("T")
Config = Mapping[str, Any]

CONFIG_KEYS = ("configurable", "recursion_limit", "max_concurrency", "metadata")
_NOT_HERE = {
    "callbacks": "read the typed events of graph.stream() instead",
    "tags": "put them into metadata",
    "run_name": "put it into metadata",
    "run_id": "put it into metadata; a run is found by its thread_id",
    "thread_id": "it belongs into config['configurable'], or pass thread_id=...",
    "checkpoint_id": "it belongs into config['configurable'], or pass checkpoint_id=...",
}
_MAX_ID_BYTES = 255
_OWN_METADATA = ("source", "step", "writers")


def read_run(
    config: Config | None,
    *,
    input: Any,  # noqa: A002  # the name of the argument that callers know
    has_checkpointer: bool,
    thread_id: str | int | UUID | None,
    checkpoint_id: str | None,
    durability: Durability,
    recursion_limit: int | None,
    max_concurrency: int | None,
    if_unfinished: IfUnfinished,
    if_busy: IfBusy,
) -> Run:
    """Every argument of a call, checked.

    Raises `MissingThreadIdError`, `MissingCheckpointerError`, `UnknownConfigKeyError`, `InvalidOptionError`,
    `ContradictingOptionError`, `UnknownCheckpointError`.
    """
    read = check_config(config)
    thread, checkpoint = read_place(config, has_checkpointer, thread_id, checkpoint_id)
    limit = _one("recursion_limit", recursion_limit, read.get("recursion_limit"))
    width = _one("max_concurrency", max_concurrency, read.get("max_concurrency"))
    return Run(
        input=input,
        thread_id=thread,
        checkpoint=checkpoint,
        durability=_member("durability", durability, DURABILITIES),
        recursion_limit=DEFAULT_RECURSION_LIMIT if limit is None else _positive("recursion_limit", limit),
        max_concurrency=None if width is None else _positive("max_concurrency", width),
        if_unfinished=_member("if_unfinished", if_unfinished, get_args(IfUnfinished)),
        if_busy=_member("if_busy", if_busy, get_args(IfBusy)),
        metadata=_metadata(read.get("metadata")),
        config={**read, "configurable": {**read.get("configurable", {}), "thread_id": thread}},
    )


def read_place(
    config: Config | None, has_checkpointer: bool, thread_id: str | int | UUID | None, checkpoint_id: str | None
) -> tuple[str | None, int | None]:
    """Which thread is meant, and which of its checkpoints by number (None: the head)."""
    configurable = check_config(config).get("configurable", {})
    thread = _thread_id(_one("thread_id", thread_id, configurable.get("thread_id")))
    checkpoint = _one("checkpoint_id", checkpoint_id, configurable.get("checkpoint_id"))
    if has_checkpointer and thread is None:
        raise MissingThreadIdError
    if checkpoint is None:
        return thread, None
    if not has_checkpointer or thread is None:
        what = "checkpoint_id"
        raise MissingCheckpointerError(what)
    number = checkpoint_no(checkpoint) if isinstance(checkpoint, str) else None
    if number is None:
        raise UnknownCheckpointError(thread, checkpoint)
    return thread, number


def check_config(config: Config | None) -> dict[str, Any]:
    """The config as a dict of ours. Raises for keys that mean nothing."""
    if config is None:
        return {}
    if not isinstance(config, Mapping):
        option = "config"
        raise InvalidOptionError(option, config, allowed="a dict")
    for key in config:
        if key not in CONFIG_KEYS:
            raise UnknownConfigKeyError(key, known=CONFIG_KEYS, remedy=_NOT_HERE.get(str(key), ""))
    given = config.get("configurable")
    configurable = {} if given is None else given
    if not isinstance(configurable, Mapping):
        option = "config['configurable']"
        raise InvalidOptionError(option, configurable, allowed="a dict")
    for key in configurable:
        if not isinstance(key, str) or (key.startswith(("__", "checkpoint_")) and key not in _CHECKPOINT_KEYS):
            raise UnknownConfigKeyError(key, known=("thread_id", *_CHECKPOINT_KEYS, "your own keys"))
    if configurable.get("checkpoint_ns", ""):
        option = "checkpoint_ns"
        raise InvalidOptionError(option, configurable["checkpoint_ns"], allowed="only '': there are no subgraphs yet")
    return {key: value for key, value in {**config, "configurable": dict(configurable)}.items() if value is not None}


_CHECKPOINT_KEYS = ("checkpoint_id", "checkpoint_ns")


def _one(option: str, keyword: T | None, config: T | None) -> T | None:
    if keyword is not None and config is not None and str(keyword) != str(config):
        raise ContradictingOptionError(option, keyword=keyword, config=config)
    return config if keyword is None else keyword


def _thread_id(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str | int | UUID) or isinstance(value, bool):
        option = "thread_id"
        raise InvalidOptionError(option, value, allowed="a str, an int or a UUID")
    text = str(value)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= _MAX_ID_BYTES or any(unicodedata.category(letter) == "Cc" for letter in text):
        option = "thread_id"
        raise InvalidOptionError(
            option, value, allowed=f"1 to {_MAX_ID_BYTES} bytes of text without control characters"
        )
    return text


def _member(option: str, value: T, allowed: tuple[Any, ...]) -> T:
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
        option = f"config['metadata'][{key!r}]"
        if key in _OWN_METADATA:
            raise InvalidOptionError(option, value, allowed=f"any key but {', '.join(_OWN_METADATA)}, which are ours")
        if not isinstance(key, str) or not (value is None or isinstance(value, str | bool | int | float)):
            raise InvalidOptionError(option, value, allowed="str, int, float, bool or None, under a str")
        if (isinstance(value, int) and not -(2**63) <= value < 2**63) or (
            isinstance(value, float) and math.isnan(value)
        ):
            raise InvalidOptionError(option, value, allowed="numbers of 64 bits")
    return dict(given)
