"""What a node may be given beside its function, read from the arguments."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypedDict

from durable_graph.errors import GraphDescriptionError, InvalidOptionError
from durable_graph.graph.description import NodeOptions
from durable_graph.graph.policies import CachePolicy, RetryPolicy, TimeoutPolicy
from durable_graph.graph.signatures import HANDLER_INJECTABLE, Signature, destinations_of, signature_of


class NodeArguments(TypedDict, total=False):
    """The keyword arguments of `add_node`."""

    defer: bool
    metadata: Mapping[str, Any] | None
    retry_policy: RetryPolicy | Sequence[RetryPolicy] | None
    cache_policy: CachePolicy | None
    error_handler: Callable[..., Any] | None
    destinations: Sequence[str] | Mapping[str, str] | None
    timeout: float | timedelta | TimeoutPolicy | None


def node_options(node: str, action: Callable[..., Any], given: NodeArguments) -> NodeOptions:
    """The options of a node. Raises `TypeError` for one that there is not, and `InvalidOptionError`."""
    for name in given:
        if name not in NodeArguments.__annotations__:
            known = ", ".join(NodeArguments.__annotations__)
            raise TypeError(f"add_node() got an unexpected keyword argument {name!r}; there are: {known}")
    cache, limit = given.get("cache_policy"), given.get("timeout")
    if cache is not None and not isinstance(cache, CachePolicy):
        option = f"cache_policy of node {node!r}"
        raise InvalidOptionError(option, cache, allowed="a CachePolicy, or None")
    return NodeOptions(
        defer=bool(given.get("defer", False)),
        metadata=dict(given.get("metadata") or {}),
        retry=retries_of(given.get("retry_policy")),
        cache=cache,
        timeout=None if limit is None else TimeoutPolicy.of(limit),
        destinations=tuple(dict.fromkeys((*(given.get("destinations") or ()), *destinations_of(action)))),
    )


def retries_of(given: RetryPolicy | Sequence[RetryPolicy] | None) -> tuple[RetryPolicy, ...] | None:
    """The policies as a tuple, None where nothing was said. Raises `InvalidOptionError`."""
    if given is None:
        return None
    policies = (given,) if isinstance(given, RetryPolicy) else tuple(given)
    for policy in policies:
        if not isinstance(policy, RetryPolicy):
            option = "retry_policy"
            raise InvalidOptionError(option, policy, allowed="a RetryPolicy, or a sequence of them")
    return policies


def described_handler(node: str, action: Callable[..., Any]) -> tuple[Callable[..., Any], Signature]:
    """An error handler. Raises `GraphDescriptionError` for what cannot be called as one."""
    if not callable(action):
        raise GraphDescriptionError(f"the error handler of node {node!r} cannot be called: {action!r} is no function")
    signature = signature_of(action, injectable=HANDLER_INJECTABLE)
    if signature.problem:
        raise GraphDescriptionError(f"the error handler of node {node!r} {signature.problem}")
    return action, signature
