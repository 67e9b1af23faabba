"""Reading and validating the options of nodes and graphs."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import timedelta
from typing import Any, Literal, TypedDict, get_args

from durable_graph.errors import GraphValidationError, InvalidOptionError
from durable_graph.errors.tree import quoted
from durable_graph.graph.description import DescribedHandler, NodeOptions
from durable_graph.graph.executors import ExecutorOption, executor_of
from durable_graph.graph.policies import CachePolicy, RetryPolicy, TimeoutPolicy
from durable_graph.graph.runnables import as_function
from durable_graph.graph.signatures import HANDLER_INJECTABLE, destinations_of, signature_of
from durable_graph.records import is_text

_LONGEST_NAME = 255

ExtraKeys = Literal["refuse", "ignore"]


def names_formerly(name: str | None, formerly: Iterable[str]) -> tuple[str, ...]:
    """The validated earlier names of a graph. Raises `InvalidOptionError`, also for an invalid current name."""
    if not isinstance(formerly, Iterable) or isinstance(formerly, bytes):
        raise InvalidOptionError("formerly", formerly, allowed="the names that the graph had before")
    earlier = (formerly,) if isinstance(formerly, str) else tuple(formerly)
    if name is None and earlier:
        raise InvalidOptionError("formerly", earlier, allowed="left out for a graph without a name; give it name=")
    for option, each in (("name", name), *(("formerly", each) for each in earlier)):
        if (option, each) != ("name", None) and not is_graph_name(each):
            raise InvalidOptionError(option, each, allowed=f"text of 1 to {_LONGEST_NAME} bytes in UTF-8, without NUL")
    return earlier


def is_graph_name(name: object) -> bool:
    """Whether a graph may have this name."""
    return isinstance(name, str) and is_text(name) and "\0" not in name and 0 < len(name.encode()) <= _LONGEST_NAME


def checked_extra_keys(given: ExtraKeys) -> ExtraKeys:
    """The given option. Raises `InvalidOptionError` if `ExtraKeys` does not have it."""
    if given not in get_args(ExtraKeys):
        raise InvalidOptionError("extra_keys", given, allowed="'refuse' or 'ignore'")
    return given


class NodeArguments(TypedDict, total=False):
    """The keyword arguments of `add_node`."""

    defer: bool
    metadata: Mapping[str, Any] | None
    retry_policy: RetryPolicy | Sequence[RetryPolicy] | None
    cache_policy: CachePolicy | None
    error_handler: Callable[..., Any] | None
    destinations: Sequence[str] | Mapping[str, str] | None
    timeout: float | timedelta | TimeoutPolicy | None
    executor: ExecutorOption | None


def node_options(node: str, action: Callable[..., Any], given: NodeArguments) -> NodeOptions:
    """The options of a node. Raises `InvalidOptionError`."""
    defer = given.get("defer", False)
    if not isinstance(defer, bool):
        raise InvalidOptionError(f"defer of node {node!r}", defer, allowed="True or False")
    metadata = given.get("metadata") or {}
    if not isinstance(metadata, Mapping):
        raise InvalidOptionError(f"metadata of node {node!r}", metadata, allowed="a dict, or None")
    destinations = _destinations(node, given.get("destinations") or ())
    return NodeOptions(
        defer=defer,
        metadata=dict(metadata),
        retry=retries_of(given.get("retry_policy"), f"retry_policy of node {node!r}"),
        cache=caching_of(given.get("cache_policy"), f"cache_policy of node {node!r}"),
        timeout=timeout_of(given.get("timeout"), f"timeout of node {node!r}"),
        destinations=tuple(dict.fromkeys((*destinations, *destinations_of(action)))),
        destination_labels={name: label for name, label in destinations.items() if label is not None},
        executor=executor_of(given.get("executor"), f"executor of node {node!r}"),
    )


def _destinations(node: str, given: object) -> dict[str, str | None]:
    """The names with their labels, None for a name without label. Raises `InvalidOptionError`."""
    # A str is a sequence of one-letter names, and excluded.
    if isinstance(given, Mapping | Sequence | Set) and not isinstance(given, str):
        found = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given)
        if all(isinstance(name, str) and isinstance(label, str | None) for name, label in found.items()):
            return found
    raise InvalidOptionError(
        f"destinations of node {node!r}", given, allowed="the names of nodes, or a dict from these to labels"
    )


def retries_of(given: object, option: str = "retry_policy") -> tuple[RetryPolicy, ...] | None:
    """The policies as a tuple, None if the option is not set. Raises `InvalidOptionError`."""
    if given is None or isinstance(given, RetryPolicy):
        return None if given is None else (given,)
    if not isinstance(given, Sequence) or not all(isinstance(policy, RetryPolicy) for policy in given):
        raise InvalidOptionError(option, given, allowed="a RetryPolicy, or a sequence of them")
    return tuple(given)


def caching_of(given: object, option: str = "cache_policy") -> CachePolicy | None:
    """The policy, None if the option is not set. Raises `InvalidOptionError`."""
    if given is None or isinstance(given, CachePolicy):
        return given
    raise InvalidOptionError(option, given, allowed="a CachePolicy, or None")


def timeout_of(given: object, option: str = "timeout") -> TimeoutPolicy | None:
    """The policy, None if the option is not set. Raises `InvalidOptionError`."""
    return None if given is None else TimeoutPolicy.of(given, option)


def described_handler(where: str, action: Callable[..., Any]) -> DescribedHandler:
    """An error handler; `where` is its name in error texts. Raises `GraphValidationError` if it is not callable."""
    action = as_function(action)
    if not callable(action):
        raise GraphValidationError(f"{where} cannot be called: {quoted(action)} is no function")
    signature = signature_of(action, injectable=HANDLER_INJECTABLE)
    return DescribedHandler(where, action, signature, destinations_of(action))
