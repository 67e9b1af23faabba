"""Stored types of installed packages."""

from collections.abc import Mapping
from threading import Lock
from typing import Any

from durable_graph.codec import StoredType
from durable_graph.codec.registry import UnstorableType
from durable_graph.errors.shown import shown
from durable_graph.installed import EntryPoint, entry_points

GROUP = "durable_graph.types"
"""The entry-point group. An entry's name is the class, as `numpy.ndarray`, its value a `StoredType` of that class."""

_lock = Lock()
_found: dict[str, EntryPoint] | None = None
_loaded: dict[str, StoredType[Any]] = {}


def stored_type_of(cls: type) -> StoredType[Any] | None:
    """The `StoredType` of an installed package for the class, or for the first of its bases that has one.

    `compile` looks up classes that a graph names and that cannot be stored otherwise. The first call in a process reads
    the metadata of installed packages. An entry is loaded for the first graph that names its class, and never by a name
    in stored data.

    Raises `UnstorableType` for an entry that cannot be loaded; `compile` turns it into a `GraphValidationError`.
    """
    for base in cls.__mro__:
        stored = _stored_type(base)
        if stored is not None:
            return stored
    return None


def _stored_type(cls: type) -> StoredType[Any] | None:
    if cls is object:
        return None
    name = f"{cls.__module__}.{cls.__qualname__}"
    entry = _entries().get(name)
    if entry is not None and name not in _loaded:
        # Without the lock, because the imported module may compile graphs. Two threads may both load an entry; both get
        # the same object.
        _loaded[name] = _load(entry, cls)
    return _loaded.get(name)


def _entries() -> Mapping[str, EntryPoint]:
    global _found  # noqa: PLW0603 - read once in a process, by the first look-up
    with _lock:
        if _found is None:
            _found = {entry.name: entry for entry in entry_points(GROUP)}
        return _found


def _load(entry: EntryPoint, cls: type) -> StoredType[Any]:
    brought = entry.dist.name if entry.dist is not None else "an installed package"
    where = f"the entry point {entry.name!r} ({GROUP}) of {brought}"
    remedy = "repair or remove that package, or pass compile(types=[StoredType(...)])"
    try:
        loaded = entry.load()
    except Exception as error:
        raise UnstorableType(cls, f"{where} cannot be loaded: {shown(error)[:150]}", remedy) from error
    if not isinstance(loaded, StoredType) or loaded.cls is not cls:
        raise UnstorableType(cls, f"{where} is not a StoredType of the class", remedy)
    return loaded
