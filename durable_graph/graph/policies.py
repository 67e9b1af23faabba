"""What is done about a node that fails, hangs, or has been run with the same input before: policies, as values."""

import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Literal, Self

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


def default_retry_on(error: Exception) -> bool:
    """Whether a failure may go away by itself: connections that break do, mistakes of the program do not."""
    return isinstance(error, ConnectionError) or not isinstance(error, _NOT_RETRIED)


RetryOn = type[Exception] | Sequence[type[Exception]] | Callable[[Exception], bool]


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When and how often a node that failed is tried again. Times are in seconds.

    The n-th wait is `initial_interval * backoff_factor ** (n - 1)`, at most `max_interval`, and with `jitter` up to a
    second more. `max_attempts` counts the first attempt. `retry_on` is an exception class, several, or a predicate.
    """

    initial_interval: float = 0.5
    backoff_factor: float = 2.0
    max_interval: float = 128.0
    max_attempts: int = 3
    jitter: bool = True
    retry_on: Any = default_retry_on

    def __post_init__(self) -> None:
        for name in ("initial_interval", "backoff_factor", "max_interval"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidOptionError(name, getattr(self, name), allowed="a number from 0")
        if self.max_attempts < 1:
            option = "max_attempts"
            raise InvalidOptionError(option, self.max_attempts, allowed="a whole number from 1")
        kinds = (self.retry_on,) if isinstance(self.retry_on, type) else self.retry_on
        is_listed = isinstance(kinds, list | tuple) and all(_is_error(kind) for kind in kinds)
        if not (is_listed or (callable(kinds) and not isinstance(kinds, list | tuple))):
            option = "retry_on"
            allowed = "an exception class, several, or a function of the exception"
            raise InvalidOptionError(option, self.retry_on, allowed=allowed)


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception)


def matching(policies: Sequence[RetryPolicy], error: Exception) -> RetryPolicy | None:
    """The first policy that is about this failure."""
    return next((policy for policy in policies if _matches(policy, error)), None)


def _matches(policy: RetryPolicy, error: Exception) -> bool:
    retry_on = policy.retry_on
    if isinstance(retry_on, type):
        return isinstance(error, retry_on)
    if isinstance(retry_on, Sequence):
        return isinstance(error, tuple(retry_on))
    return bool(retry_on(error))


def delay(policy: RetryPolicy, failed_attempts: int, drawn: float) -> float:
    """Seconds to wait after so many failed attempts. `drawn` is from 0 to 1."""
    interval = policy.initial_interval * policy.backoff_factor ** (failed_attempts - 1)
    return min(interval, policy.max_interval) + (drawn if policy.jitter else 0.0)


class TimeoutPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long one attempt at a node may take, and how long it may give no sign of life: in seconds, or timedeltas.

    A sign of life is what it streams and `runtime.heartbeat()`, or with `refresh_on="heartbeat"` the latter alone.
    """

    run_timeout: float | None = None
    idle_timeout: float | None = None
    refresh_on: Literal["auto", "heartbeat"] = "auto"

    def __post_init__(self) -> None:
        for name in ("run_timeout", "idle_timeout"):
            if getattr(self, name) is not None:
                msgspec.structs.force_setattr(self, name, _seconds(name, getattr(self, name)))
        if self.refresh_on not in ("auto", "heartbeat"):
            option = "refresh_on"
            raise InvalidOptionError(option, self.refresh_on, allowed="'auto' or 'heartbeat'")

    @classmethod
    def of(cls, given: object) -> Self:
        """A policy as it is given: seconds, a timedelta, or a policy. Raises `InvalidOptionError`."""
        return given if isinstance(given, cls) else cls(run_timeout=_seconds("timeout", given))


def _seconds(option: str, given: object) -> float:
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise InvalidOptionError(option, given, allowed="seconds above 0, a timedelta, or a TimeoutPolicy")
    return float(seconds)


class CachePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """That a node's result may be taken from a cache. `ttl` is in seconds."""

    key_func: Any = None
    ttl: float | None = None


class NodeError(msgspec.Struct, frozen=True):
    """What an error handler is told: which node failed, and with what."""

    node: str
    error: BaseException
