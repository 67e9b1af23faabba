"""One question a file, in the order of the report. Each module has a function `measure` that adds rows to the lab."""

from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Final

from benchmarks.lab import Lab
from benchmarks.questions import (
    chain_bare,
    chain_memory,
    chain_postgres,
    chain_sqlite,
    chat,
    event_loop,
    fan_out,
    graph_size,
    imports,
    interrupts,
    messages,
    reading,
    storage,
    stream_tokens,
    subgraphs,
    task_calls,
    threads,
    wide_state,
)

_MODULES: Final[tuple[ModuleType, ...]] = (
    chain_bare,
    chain_memory,
    chain_sqlite,
    chain_postgres,
    chat,
    threads,
    fan_out,
    wide_state,
    graph_size,
    subgraphs,
    task_calls,
    interrupts,
    stream_tokens,
    reading,
    event_loop,
    storage,
    messages,
    imports,
)

QUESTIONS: Final[Mapping[str, Callable[[Lab], Awaitable[None]]]] = {
    module.__name__.rpartition(".")[2]: module.measure for module in _MODULES
}
