"""Counts of Python's work during an await, which do not depend on its speed."""

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Coroutine
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

import durable_graph
import durable_graph_postgres
import durable_graph_sqlite

_PACKAGES = tuple(
    f"{Path(module.__file__ or '').parent}/" for module in (durable_graph, durable_graph_sqlite, durable_graph_postgres)
)


class Entered(msgspec.Struct, frozen=True):
    """The calls of the library's functions, in order: a module and a function for each call."""

    calls: list[tuple[str, str]]

    @property
    def modules(self) -> list[str]:
        """Each module once, in the order of the first calls."""
        return list(dict.fromkeys(module for module, _ in self.calls))

    @property
    def functions(self) -> int:
        return len(set(self.calls))

    @property
    def jumps(self) -> int:
        """The number of calls that lead from one module to another."""
        modules = [module for module, _ in self.calls]
        return sum(1 for before, after in pairwise(modules) if before != after)


class Tracer:
    """Records calls of the library. It sees threads that start while it is open, so open it before the store."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, str]] | None = None

    def __enter__(self) -> "Tracer":
        threading.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        threading.setprofile(None)

    async def entered_by(self, work: Coroutine[Any, Any, object]) -> Entered:
        calls = self._calls = []
        sys.setprofile(self._note)
        try:
            await work
        finally:
            sys.setprofile(None)
            self._calls = None
        return Entered(calls)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and self._calls is not None and code.co_filename.startswith(_PACKAGES):
            package = next(each for each in _PACKAGES if code.co_filename.startswith(each))
            name = code.co_filename.removeprefix(f"{Path(package).parent}/")
            self._calls.append((name, code.co_qualname))


class Counts(Counter[str]):
    """Calls of Python functions ("calls"), asyncio tasks, iterations of the event loop, values that msgspec encoded
    and BLAKE2b digests, in the thread of the event loop."""

    def each(self, fewer: "Counts", number: int) -> dict[str, float]:
        """The counts that one of `number` additional units of work adds."""
        return {name: (self[name] - fewer[name]) / number for name in self}


async def counted(work: Coroutine[Any, Any, object]) -> Counts:
    counts = Counts({"calls": 0, "tasks": 0, "iterations": 0, "encodes": 0, "digests": 0})
    loop: Any = asyncio.get_running_loop()
    run_once, create_task = loop._run_once, loop.create_task

    def note(_: FrameType, event: str, function: Any) -> None:
        if event == "call":
            counts["calls"] += 1
        elif event == "c_call":
            name = getattr(function, "__qualname__", "")
            if name in ("Encoder.encode", "Encoder.encode_into"):
                counts["encodes"] += 1
            elif name in ("blake2b.digest", "blake2b.hexdigest"):
                counts["digests"] += 1

    def counting_iterations() -> None:
        counts["iterations"] += 1
        run_once()

    def counting_tasks(*arguments: Any, **options: Any) -> Any:
        counts["tasks"] += 1
        return create_task(*arguments, **options)

    loop._run_once, loop.create_task = counting_iterations, counting_tasks
    sys.setprofile(note)
    try:
        await work
    finally:
        sys.setprofile(None)
        del loop._run_once, loop.create_task
    # The calls of the two counting functions are not part of the work.
    counts["calls"] -= counts["iterations"] + counts["tasks"]
    return counts


def suspended_in_the_library(coroutine: Any) -> int:
    """The number of coroutines of the library among this one and those that it awaits, at any depth."""
    found = 0
    while coroutine is not None:
        code = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
        if code is None:
            break
        found += code.co_filename.startswith(_PACKAGES)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return found
