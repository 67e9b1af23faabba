"""Policies for retries, timeouts and caching, as values."""

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Self, TypeAlias

import msgspec

from durable_graph.errors import InvalidOptionError

_NOT_RETRIED = (
    ValueError,
    TypeError,
    ArithmeticError,
    ImportError,
    LookupError,
    NameError,
    SyntaxError,
    RuntimeError,
    ReferenceError,
    StopIteration,
    StopAsyncIteration,
    OSError,
)

_REFUSALS = (("httpx", "HTTPStatusError"), ("requests", "HTTPError"), ("aiohttp", "ClientResponseError"))
"""The errors of these libraries for the status of a response."""

_BROKEN = (("requests", "ConnectionError"), ("requests", "Timeout"), ("aiohttp", "ClientConnectionError"))
"""Their connection errors that are an `OSError` and no `ConnectionError`; those of httpx are neither."""


def default_retry_on(error: Exception) -> bool:
    """Whether a failure may be temporary: broken connections and timeouts are retried, mistakes of the program not.

    The errors of requests, httpx and aiohttp are included; an HTTP response is retried if its status is 5xx. An
    exception group is retried if all of its errors are. Errors that Python raises for mistakes and refusals of the
    system, such as `ValueError` and `PermissionError`, are not retried. All other errors are.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(isinstance(each, Exception) and default_retry_on(each) for each in error.exceptions)
    if isinstance(error, (ConnectionError, TimeoutError, *_imported(_BROKEN))):
        return True
    if isinstance(error, _imported(_REFUSALS)):
        answer: Any = getattr(error, "response", None)
        status = getattr(error, "status", None) if answer is None else getattr(answer, "status_code", None)
        return status is None or 500 <= status < 600
    return not isinstance(error, _NOT_RETRIED)


def _imported(classes: Iterable[tuple[str, str]]) -> tuple[type, ...]:
    # If the error is of one of these libraries, the program has imported the library.
    found = (getattr(sys.modules.get(module), name, None) for module, name in classes)
    return tuple(each for each in found if isinstance(each, type))


RetryOn: TypeAlias = type[Exception] | Sequence[type[Exception]] | Callable[[Exception], bool]


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When and how often a failed node is retried. Times are in seconds.

    The n-th wait is `initial_interval * backoff_factor ** (n - 1)`, at most `max_interval`, and with `jitter` up to a
    second longer. `max_attempts` includes the first attempt. `retry_on` is an exception class, several, or a predicate.

    Raises `InvalidOptionError`.
    """

    initial_interval: float = 0.5
    backoff_factor: float = 2.0
    max_interval: float = 128.0
    max_attempts: int = 3
    jitter: bool = True
    retry_on: RetryOn = default_retry_on

    def __post_init__(self) -> None:
        for name in ("initial_interval", "backoff_factor", "max_interval"):
            given = getattr(self, name)
            if not _is_number(given) or not 0 <= given < math.inf:
                raise InvalidOptionError(name, given, allowed="a number from 0")
        if not isinstance(self.max_attempts, int) or isinstance(self.max_attempts, bool) or self.max_attempts < 1:
            option = "max_attempts"
            raise InvalidOptionError(option, self.max_attempts, allowed="a whole number from 1")
        if not isinstance(self.jitter, bool):
            option = "jitter"
            raise InvalidOptionError(option, self.jitter, allowed="True or False")
        msgspec.structs.force_setattr(self, "retry_on", _retry_on(self.retry_on))


def _retry_on(given: Any) -> RetryOn:
    """The given option, with a list as a tuple, because policies are immutable. Raises `InvalidOptionError`."""
    if isinstance(given, list | tuple) and all(_is_error(each) for each in given):
        return tuple(given)
    # A class that is no exception would be called as a predicate, and its instances are true.
    if _is_error(given) or (callable(given) and not isinstance(given, type)):
        found: RetryOn = given
        return found
    option = "retry_on"
    raise InvalidOptionError(option, given, allowed="an exception class, several, or a function of the exception")


def _is_error(given: object) -> bool:
    return isinstance(given, type) and issubclass(given, Exception)


def matching(policies: Sequence[RetryPolicy], error: Exception) -> RetryPolicy | None:
    """The first policy that matches this failure, None if there is none."""
    return next((policy for policy in policies if _matches(policy, error)), None)


def _matches(policy: RetryPolicy, error: Exception) -> bool:
    retry_on = policy.retry_on
    if isinstance(retry_on, Sequence):
        return isinstance(error, tuple(retry_on))
    return isinstance(error, retry_on) if isinstance(retry_on, type) else bool(retry_on(error))


def delay(policy: RetryPolicy, failed_attempts: int, drawn: float) -> float:
    """The wait in seconds after this number of failed attempts. `drawn` is a random number from 0 to 1."""
    try:
        interval = policy.initial_interval * float(policy.backoff_factor) ** (failed_attempts - 1)
    except OverflowError:
        # The power overflows at about the thousandth wait, which is `max_interval` by then, or 0.
        interval = math.inf if policy.initial_interval else 0.0
    return min(interval, policy.max_interval) + (drawn if policy.jitter else 0.0)


@dataclass(frozen=True, slots=True, init=False)
class TimeoutPolicy:
    """Limits for one attempt at a node, for its whole time and for its time without activity: seconds or timedeltas.

    Activity is streamed data and `runtime.heartbeat()`; with `refresh_on="heartbeat"`, heartbeats alone. None sets no
    limit: `TimeoutPolicy()` exempts a node from the defaults for all nodes.

    Raises `InvalidOptionError`.
    """

    run_timeout: float | None
    idle_timeout: float | None
    refresh_on: Literal["auto", "heartbeat"]

    def __init__(
        self,
        *,
        run_timeout: float | timedelta | None = None,
        idle_timeout: float | timedelta | None = None,
        refresh_on: Literal["auto", "heartbeat"] = "auto",
    ) -> None:
        if refresh_on not in ("auto", "heartbeat"):
            option = "refresh_on"
            raise InvalidOptionError(option, refresh_on, allowed="'auto' or 'heartbeat'")
        object.__setattr__(self, "run_timeout", time_limit("run_timeout", run_timeout))
        object.__setattr__(self, "idle_timeout", time_limit("idle_timeout", idle_timeout))
        object.__setattr__(self, "refresh_on", refresh_on)

    @classmethod
    def of(cls, given: object, option: str = "timeout") -> Self:
        """A policy from seconds, a timedelta, or a policy. Raises `InvalidOptionError`."""
        if isinstance(given, cls):
            return given
        return cls(run_timeout=_seconds(option, given, "seconds above 0, a timedelta, or a TimeoutPolicy"))


def time_limit(option: str, given: Any) -> float | None:
    """Seconds, from seconds or a timedelta; None sets no limit. Raises `InvalidOptionError`."""
    return None if given is None else _seconds(option, given, "seconds above 0, a timedelta, or None")


def _is_number(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)


def _seconds(option: str, given: Any, allowed: str) -> float:
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if not _is_number(seconds) or not 0 < seconds < math.inf:
        raise InvalidOptionError(option, given, allowed=allowed)
    return float(seconds)


@dataclass(frozen=True, slots=True, init=False)
class CachePolicy:
    """Lets a node's result come from a cache.

    `key_func` makes the key of a result from the node's input; by default the key is a digest of the encoded input.
    `ttl` is the lifetime of a result, in seconds or as a timedelta; with None the cache keeps it without a limit.

    Raises `InvalidOptionError`.
    """

    key_func: Callable[..., Any] | None
    ttl: float | None

    def __init__(self, *, key_func: Callable[..., Any] | None = None, ttl: float | timedelta | None = None) -> None:
        if key_func is not None and not callable(key_func):
            option = "key_func"
            raise InvalidOptionError(option, key_func, allowed="a function of the node's input, or None")
        object.__setattr__(self, "key_func", key_func)
        object.__setattr__(self, "ttl", time_limit("ttl", ttl))


class NodeError(msgspec.Struct, frozen=True):
    """The argument of an error handler: the failed node and its error.

    If the handler runs in a later call than the node, because it interrupted, failed, or its process died, `error` is a
    `RuntimeError` with the error's text: exceptions cannot be stored.
    """

    node: str
    error: BaseException
