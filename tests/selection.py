"""Which forms of a whole-graph test run.

A whole-graph test takes the fixture `saver`, and often `durability`: its forms are all combinations of stores,
durability modes and its own parameters. `--forms` chooses among them:

- `memory` (`make quick`): every combination of the test's own parameters, on MemorySaver in the mode "sync". Tests that
  need a server or a process of their own, and those with the mark `slow`, are left out.
- `usual` (`make test`): those, and of each test function one form on SQLite in the mode "exit" and one on PostgreSQL in
  the mode "async". In the folders `_ON_ONE_DATABASE`, whose subject is the language of graphs, each function runs on
  one of the two: half of the functions on each. Tests with the mark `every_store`, whose subject is the stored data,
  run on every store in all modes, with the exception of two pairs (`_LEFT_OUT`). Tests of LangGraph's client run on
  FastAPI with SQLite, and on aiohttp with PostgreSQL.
- `all` (`make long`): every form of every test.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from zlib import crc32

import pytest

FORMS: Final = ("memory", "usual", "all")

_LEFT_OUT: Final = {("sqlite", "async"), ("postgres", "exit")}
"""The engine, which is the same for every store, decides when to write: MemorySaver is tested in all three modes, and
each mode on at least one database."""

_MODES: Final = {"memory": "sync", "sqlite": "exit", "postgres": "async"}
"""The mode in which a test without the mark runs on each store."""

_LEFT_OUT_SERVERS: Final = ("fastapi, postgres", "aiohttp, sqlite")
"""Values of the fixture `either` in tests/services: each framework and each database runs once."""

_DATABASES: Final = ("sqlite", "postgres")

_ON_ONE_DATABASE: Final = ("tests/langchain/", "tests/language/", "tests/runtime/")

_NEEDS_A_DATABASE: Final = {"postgres", "server", "run_example"}
"""Fixtures that start a server or another process."""


def selected(items: Iterable[pytest.Item], forms: str) -> list[pytest.Item]:
    """The items that run, in their order."""
    items = list(items)
    if forms == "all":
        return items
    if forms == "memory":
        return [item for item in items if _is_in_memory(item)]
    chosen = _chosen(items)
    return [item for item in items if _is_usual(item, chosen)]


def _is_in_memory(item: pytest.Item) -> bool:
    if item.get_closest_marker("slow") is not None:
        return False
    params = _params(item)
    if any(value in _DATABASES for value in params.values() if isinstance(value, str)):
        return False
    is_sync = params.get("durability") in {None, "sync"}
    return is_sync and not _NEEDS_A_DATABASE & set(getattr(item, "fixturenames", ()))


def _is_usual(item: pytest.Item, chosen: set[pytest.Item]) -> bool:
    store, mode = _pair(item)
    if store is None:
        return _params(item).get("either") not in _LEFT_OUT_SERVERS
    if item.get_closest_marker("every_store") is not None:
        return (store, mode) not in _LEFT_OUT
    if store == "memory":
        return mode in {None, "sync"}
    return item in chosen


def _chosen(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """The forms that run on databases: of each function the first one on SQLite and the last one on PostgreSQL."""
    forms: dict[tuple[Any, ...], list[pytest.Item]] = {}
    for item in items:
        store, mode = _pair(item)
        if store is not None:
            in_its_mode = mode in {None, _MODES[store]}
            forms.setdefault((*_function(item), store, in_its_mode), []).append(item)
    preferred = {key[:-1]: found for key, found in sorted(forms.items())}
    return {
        found[0 if store == "sqlite" else -1]
        for (file, function, store), found in preferred.items()
        if not file.startswith(_ON_ONE_DATABASE) or store == _database_of(function)
    }


def _database_of(function: str) -> str:
    """One of the databases, always the same one."""
    return _DATABASES[crc32(function.encode()) % len(_DATABASES)]


def _function(item: pytest.Item) -> tuple[str, str]:
    return item.location[0], item.location[2].partition("[")[0]


def _pair(item: pytest.Item) -> tuple[Any, Any]:
    """The kind of its store and its durability mode."""
    params = _params(item)
    saver = params.get("saver")
    # A fixture of the same name in a module may have other parameters.
    return saver if saver in _MODES else None, params.get("durability")


def _params(item: pytest.Item) -> Mapping[str, Any]:
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec is not None else {}
