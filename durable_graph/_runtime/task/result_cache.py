"""Results of nodes and tasks out of a cache, and into it."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from durable_graph._engine.digesting import bound_parts, digest_of
from durable_graph._engine.header import decode_result, encode_result
from durable_graph._engine.task import Done, Route, Task
from durable_graph._runtime.request import log
from durable_graph._runtime.task.read_result import Result
from durable_graph._runtime.task.run_context import GraphRun
from durable_graph.caching import Cache, CacheKey
from durable_graph.errors import DecodeError, UnknownNameError, UnstorableValueError
from durable_graph.errors.shown import add_note
from durable_graph.graph import Node, Topology
from durable_graph.graph.policies import CachePolicy
from durable_graph.records import Rank

NAMESPACE = "durable_graph"


async def lookup(run: GraphRun, node: Node, task: Task, given: object) -> tuple[CacheKey | None, Result | None]:
    """The key that the node's result goes by, and the result if the cache has it. No key where there is no caching."""
    if node.cache is None or run.cache is None:
        return None, None
    key = key_of(run.topology, node.name, node.action, node.cache, given)
    found = await get_cached(run.cache, key)
    if found is None:
        return key, None
    try:
        outcome = decode_result(run.topology, task, Rank.DONE, 1, found)
    except DecodeError:
        # A result of another version of the graph: as good as none.
        return key, None
    assert isinstance(outcome, Done)  # noqa: S101  # it is decoded as one
    if any(route.node not in run.topology.nodes for route in outcome.routes):
        return key, None
    return key, Result(outcome.writes, _moved(outcome.routes, run.shared.now()))


async def put(run: GraphRun, node: Node, task: Task, key: CacheKey, own: Result) -> None:
    """Cache the node's own result. Its routers choose again each time.

    A result that writes a value that is never stored is not cached: the rest alone would be another result.
    """
    if any(write.data is None for write in own.writes):
        return
    if run.cache is not None and node.cache is not None:
        _, data = encode_result(Done(task, 1, own.writes, _moved(own.routes, -run.shared.now())))
        await put_cached(run.cache, key, data, node.cache.ttl)


def _moved(routes: tuple[Route, ...], by: int) -> tuple[Route, ...]:
    """The routes, whose tasks are due so many microseconds later. A cache has the times counted from the result."""
    return tuple(msgspec.structs.replace(route, due=max(route.due + by, 1)) if route.due else route for route in routes)


async def get_cached(cache: Cache, key: CacheKey) -> bytes | None:
    """The cached value of the key. A failing cache is logged and skipped."""
    try:
        return (await cache.aget([key])).get(key)
    except Exception as error:
        log.cache_failed(key, error)
        return None


async def put_cached(cache: Cache, key: CacheKey, data: bytes, ttl: float | None) -> None:
    """Put a result under the key. A cache that fails goes without: the result itself is recorded all the same."""
    try:
        await cache.aset({key: (data, ttl)})
    except Exception as error:
        log.cache_failed(key, error)


def key_of(topology: Topology, name: str, action: Callable[..., Any], policy: CachePolicy, given: Any) -> CacheKey:
    """The cache key of a result: the function, its name here, and its input.

    Raises `UnstorableValueError` where that cannot be told from other inputs.
    """
    chosen = given if policy.key_func is None else policy.key_func(given)
    if isinstance(chosen, str):
        return namespace_of_node(name, action), chosen
    encode = topology.argument.encode
    content = digest_of(encode, chosen)
    if content.opaque:
        try:
            encode(chosen)
        except UnstorableValueError as error:
            add_note(error, f"the cache of {name!r} needs a key: pass key_func to its CachePolicy")
            raise
    # Methods of different objects, and partials of different arguments, are different functions.
    bound = digest_of(encode, bound_parts(action))
    return namespace_of_node(name, action), digest_of(encode, content.digest, bound.digest).digest.hex()


async def clear_results(cache: Cache, topology: Topology, nodes: Iterable[str] | None) -> None:
    """Delete the cached results of these nodes, None for all of them. Raises `UnknownNameError`."""
    chosen = list(topology.nodes if nodes is None else nodes)
    for name in chosen:
        if name not in topology.nodes:
            raise UnknownNameError.of_node(name, where="aclear_cache() was given", known=topology.nodes)
    await cache.aclear([namespace_of_node(name, topology.nodes[name].action) for name in chosen])


def namespace_of_node(name: str, action: Callable[..., Any]) -> tuple[str, ...]:
    """The part of the cache key that all results of a node share."""
    while isinstance(action, functools.partial):
        action = action.func
    where = getattr(action, "__module__", ""), getattr(action, "__qualname__", type(action).__qualname__)
    return (NAMESPACE, ".".join(where), name)
