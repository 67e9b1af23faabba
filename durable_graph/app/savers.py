"""The checkpointer and the cache that a graph is compiled with."""

from durable_graph.caching import Cache
from durable_graph.checkpointing import Checkpointer
from durable_graph.errors import InvalidOptionError


def check_savers(checkpointer: object, cache: object) -> None:
    """Raises `InvalidOptionError` for a checkpointer or a cache that is none."""
    if checkpointer is not None and not isinstance(checkpointer, bool | Checkpointer):
        option = "checkpointer"
        raise InvalidOptionError(option, checkpointer, allowed="a saver, such as SqliteSaver('runs.db'), or None")
    if cache is not None and not isinstance(cache, Cache):
        option = "cache"
        raise InvalidOptionError(option, cache, allowed="a cache, such as InMemoryCache(), or None")


def saver_of(checkpointer: Checkpointer | bool | None) -> Checkpointer | None:
    """The saver of a graph's own threads. A subgraph that was compiled with True or False has none."""
    return None if isinstance(checkpointer, bool) else checkpointer
